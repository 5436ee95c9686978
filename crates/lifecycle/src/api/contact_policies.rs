//! What holds for all playbooks.

use crate::running::{Playbooks, skip_dates};
use crate::store::{contact_policies, playbooks as stored};
use quintile_chain::context::Runtime;
use quintile_chain::progress::Watermark;
use quintile_chain::store_error;
use quintile_domain::time::TimeZone;
use quintile_proto::lifecycle::ContactPolicy;
use quintile_rpc::client::upstream_error;
use quintile_rpc::{Answer, ApiError, Caller};
use quintile_store::StoreError;
use std::collections::HashSet;

const MAX_CONTACTS: i32 = 1_000;
const MAX_CAP_DAYS: i32 = 365;
const MAX_ZONES: usize = 300;

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

fn wrong(field: &str, problem: impl Into<String>) -> Result<(), ApiError> {
    Err(ApiError::invalid_field(format!("policy.{field}"), problem))
}

fn check(policy: &ContactPolicy) -> Result<(), ApiError> {
    if !(0..=MAX_CONTACTS).contains(&policy.max_contacts) {
        return wrong("max_contacts", format!("must be 0 to {MAX_CONTACTS}"));
    }
    let days = if policy.max_contacts == 0 { 0..=0 } else { 1..=MAX_CAP_DAYS };
    if !days.contains(&policy.cap_days) {
        return wrong("cap_days", format!("must be 1 to {MAX_CAP_DAYS} with a cap, and 0 without"));
    }
    check_quiet(policy)?;
    if policy.zones.len() > MAX_ZONES {
        return wrong("zones", format!("must have at most {MAX_ZONES} countries"));
    }
    let mut countries = HashSet::new();
    for (index, of) in policy.zones.iter().enumerate() {
        let is_code = of.country.len() == 2 && of.country.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_code {
            return wrong(&format!("zones[{index}].country"), "must be two letters of ISO 3166-1");
        }
        if !countries.insert(of.country.as_str()) {
            return wrong(&format!("zones[{index}].country"), "is there already");
        }
        if TimeZone::from_name(&of.zone).is_err() {
            return wrong(&format!("zones[{index}].zone"), "must be a time zone of the IANA database");
        }
    }
    Ok(())
}

fn check_quiet(policy: &ContactPolicy) -> Result<(), ApiError> {
    let hours = [("quiet_from_hour", policy.quiet_from_hour), ("quiet_to_hour", policy.quiet_to_hour)];
    for (field, hour) in hours {
        if hour.is_some_and(|hour| !(0..24).contains(&hour)) {
            return wrong(field, "must be 0 to 23");
        }
    }
    match (policy.quiet_from_hour, policy.quiet_to_hour) {
        (Some(_), None) => wrong("quiet_to_hour", "is required with quiet_from_hour"),
        (None, Some(_)) => wrong("quiet_from_hour", "is required with quiet_to_hour"),
        (Some(from), Some(to)) if from == to => wrong("quiet_to_hour", "must be another hour than quiet_from_hour"),
        _ => Ok(()),
    }
}

/// Tells the policy.
pub async fn get(runtime: &Runtime, caller: &Caller) -> Answer<ContactPolicy> {
    let policy = contact_policies::get(runtime.database.reader(), caller.tenant().id).await.map_err(failed)?;
    Ok(caller.respond(policy))
}

/// Replaces the policy.
pub async fn update(
    runtime: &Runtime,
    playbooks: &Playbooks,
    caller: &Caller,
    asked: ContactPolicy,
) -> Answer<ContactPolicy> {
    check(&asked)?;
    caller.is_about(contact_policies::POLICY);
    let tenant = caller.tenant().id;
    let is_paused = contact_policies::get(runtime.database.reader(), tenant).await.map_err(failed)?.paused;
    let mut now = runtime.business.now();
    if is_paused && !asked.paused {
        now = playbooks.now(caller.tenant()).await.map_err(|status| upstream_error(&status))?;
    }
    let transaction = runtime.database.begin().await.map_err(failed)?;
    let revision = stored::begin_change(&transaction, tenant).await.map_err(failed)?;
    let found = contact_policies::get(&transaction, tenant).await.map_err(failed)?;
    if !asked.etag.is_empty() && asked.etag != found.etag {
        return Err(ApiError::stale_etag().into());
    }
    if found.paused && !asked.paused {
        skip_dates(&transaction, tenant, now).await.map_err(failed)?;
    }
    let written = contact_policies::replace(&transaction, tenant, asked, revision).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    // What stood still may go on.
    runtime.progress.of(tenant).raise(Watermark::default());
    Ok(caller.respond(written))
}
