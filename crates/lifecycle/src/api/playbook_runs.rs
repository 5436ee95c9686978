//! Runs of playbooks, and what they amount to.

use super::playbooks::id_in;
use super::reached::{self, Page, Reached, check_numbers};
use super::records::current;
use crate::outcome::{Adjustment, Arm, Effect, Estimate, Interval, Outcome, Verdict};
use crate::store::playbooks;
use crate::store::runs::{self, Of, Stored};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::lifecycle::{
    ListPlaybookRunsRequest, ListPlaybookRunsResponse, MeasuredDifference, MeasuredRevenue, OutcomeArm, OutcomeEffect,
    OutcomeVerdict, PlaybookOutcome, PlaybookRun, RunState,
};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::StoreError;
use quintile_store::history::Position;
use std::collections::HashMap;

/// Runs that are counted at once.
const COUNTED: u64 = 10_000;

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

/// A page of runs.
pub async fn list(
    runtime: &Runtime,
    link: &StageLink,
    caller: &Caller,
    request: ListPlaybookRunsRequest,
) -> Answer<ListPlaybookRunsResponse> {
    let (tenant, sealer, database) = (caller.tenant().id, &runtime.sealer, runtime.database.reader());
    check_numbers::<RunState>("states", &request.states)?;
    let size = convert::page_size(request.page_size, 100, 1_000)?;
    let whose = if let Some(customer) = CustomerId::from_name(&request.parent, None) {
        current(runtime, link, caller, customer).await?;
        Of::Customer(customer)
    } else {
        let wrong = |_| ApiError::invalid_field("parent", "must be playbooks/{id} or customers/{number}");
        let found = playbooks::get(database, tenant, id_in("parent", &request.parent).map_err(wrong)?).await;
        Of::Playbook(found.map_err(failed)?.ok_or_else(ApiError::not_found)?.number)
    };
    let query = format!("ListPlaybookRuns {whose:?} {:?}", request.states);
    let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
    let end = page::begin(sealer, tenant, &query, &request.page_token, Position::END, decode)?;
    let all = playbooks::all(database, tenant).await.map_err(failed)?;
    let names: HashMap<i64, String> = all.into_iter().map(|stored| (stored.number, stored.playbook.name)).collect();
    let read = |end, limit| runs::page(database, tenant, &whose, &request.states, end, limit);
    let Page { items, view, end } = reached::page(runtime, caller, end, size, read).await?;
    let currency = caller.tenant().currency;
    let runs = items.iter().map(|stored| message(stored, names.get(&stored.playbook), currency)).collect();
    let next_page_token = end.map(|end| sealer.seal(tenant, query.as_bytes(), &end.to_bytes())).unwrap_or_default();
    Ok(view.respond(ListPlaybookRunsResponse { runs, next_page_token }))
}

/// A run as callers see it, with the name of its playbook.
pub fn message(stored: &Stored, playbook: Option<&String>, currency: Currency) -> PlaybookRun {
    let run = &stored.run;
    PlaybookRun {
        name: stored.name(),
        playbook: playbook.cloned().unwrap_or_default(),
        version: stored.version,
        state: run.state.into(),
        refusal: run.refusal.into(),
        trigger_time: Some(convert::timestamp(run.triggered_at)),
        variant: run.variant.clone(),
        steps_done: run.steps_done as i32,
        next_step_time: run.step_at.map(convert::timestamp),
        withheld: run.withheld,
        measure_time: run.measure_at.map(convert::timestamp),
        converted: run.measured.map(|measured| measured.converted),
        revenue: run.measured.map(|measured| convert::money(currency, measured.revenue_minor)),
        skipped: run.skipped.clone(),
        enrolled_by: stored.enrolled_by.clone(),
    }
}

/// What the customers of each side did.
#[derive(Default)]
pub struct Arms {
    /// Those who were held out.
    pub holdout: Arm,
    /// By the id of the variant.
    variants: Vec<(String, Arm)>,
    /// Those who are not measured yet.
    waiting: i64,
}

impl Arms {
    /// Those who were not, by variant.
    pub fn treated(&self) -> Vec<Arm> {
        self.variants.iter().map(|(_, arm)| *arm).collect()
    }

    fn count(&mut self, stored: &Stored) {
        let Some(observed) = stored.run.observed() else {
            self.waiting += 1;
            return;
        };
        let variant = &stored.run.variant;
        if variant.is_empty() {
            self.holdout.add(observed);
            return;
        }
        let known = self.variants.iter().position(|(id, _)| id == variant);
        let place = known.unwrap_or_else(|| {
            self.variants.push((variant.clone(), Arm::default()));
            self.variants.len() - 1
        });
        self.variants[place].1.add(observed);
    }
}

/// What the customers of each side of a version of a playbook did, of those whom a caller reaches.
pub async fn arms(
    runtime: &Runtime,
    caller: &Caller,
    stored: &playbooks::Stored,
    version: i64,
) -> Result<Arms, ApiError> {
    let (tenant, database) = (caller.tenant().id, runtime.database.reader());
    let mut arms = Arms::default();
    if version == stored.playbook.version {
        // In the order of the playbook; those of an earlier version as they come.
        let variants = stored.playbook.variants.iter();
        arms.variants = variants.map(|variant| (variant.id.clone(), Arm::default())).collect();
    }
    let mut behind = Position::default();
    loop {
        let read = runs::assigned(database, tenant, stored.number, version, behind, COUNTED).await.map_err(failed)?;
        let reached = match caller.scope() {
            Some(_) => Some(Reached::of(runtime, caller, &read).await?),
            None => None,
        };
        let is_reached = |stored: &&Stored| reached.as_ref().is_none_or(|reached| reached.has(stored.customer));
        read.iter().filter(is_reached).for_each(|stored| arms.count(stored));
        match read.last() {
            Some(last) if read.len() as u64 == COUNTED => behind = last.position,
            _ => return Ok(arms),
        }
    }
}

/// What a version of a playbook has brought about with those whom a caller reaches.
pub async fn outcome(
    runtime: &Runtime,
    caller: &Caller,
    stored: &playbooks::Stored,
    version: i64,
) -> Result<PlaybookOutcome, ApiError> {
    let arms = arms(runtime, caller, stored, version).await?;
    let measured = Outcome::of(&arms.treated(), &arms.holdout, Adjustment::RevenueBefore);
    let Arms { holdout, variants, waiting } = arms;
    let currency = caller.tenant().currency;
    let ids = std::iter::once("").chain(variants.iter().map(|(id, _)| id.as_str()));
    let effects = std::iter::once(measured.overall).chain(measured.variants);
    let effects = ids.zip(effects).map(|(id, effect)| effect_message(id, effect.as_ref(), currency));
    Ok(PlaybookOutcome {
        name: stored.playbook.name.clone(),
        version,
        waiting_customers: waiting,
        holdout: Some(arm_message("", &holdout, currency)),
        variants: variants.iter().map(|(id, arm)| arm_message(id, arm, currency)).collect(),
        effects: effects.collect(),
    })
}

fn arm_message(variant: &str, arm: &Arm, currency: Currency) -> OutcomeArm {
    OutcomeArm {
        variant: variant.to_owned(),
        customers: arm.customers.cast_signed(),
        converted: arm.converted.cast_signed(),
        revenue: Some(convert::money(currency, i64::try_from(arm.revenue_sum).unwrap_or(i64::MAX))),
    }
}

fn effect_message(variant: &str, effect: Option<&Effect>, currency: Currency) -> OutcomeEffect {
    let verdict = effect.map_or(OutcomeVerdict::Unspecified, |effect| match effect.conversion.verdict() {
        Verdict::TooFew => OutcomeVerdict::TooFew,
        Verdict::Undecided => OutcomeVerdict::Undecided,
        Verdict::Helps => OutcomeVerdict::Helps,
        Verdict::Harms => OutcomeVerdict::Harms,
    });
    let uplift = effect.map(|effect| difference_message(effect.conversion));
    OutcomeEffect {
        variant: variant.to_owned(),
        uplift,
        verdict: verdict.into(),
        revenue_per_customer: effect.map(|effect| revenue_message(effect.revenue_minor, currency)),
    }
}

/// A difference with its bounds.
pub fn difference_message(Estimate { value, interval }: Estimate) -> MeasuredDifference {
    let (low, high) = interval.map(|Interval { low, high }| (low, high)).unzip();
    MeasuredDifference { value, low, high }
}

fn revenue_message(estimate: Estimate, currency: Currency) -> MeasuredRevenue {
    // An estimate: told to the minor unit.
    let money = |minor: f64| -> Money { convert::money(currency, minor.round() as i64) };
    MeasuredRevenue {
        value: Some(money(estimate.value)),
        low: estimate.interval.map(|interval| money(interval.low)),
        high: estimate.interval.map(|interval| money(interval.high)),
    }
}
