//! Whether customers' risks are still spread as they were when the model in force was judged.

use super::{Churning, InForce, fault, labelled_risks, refused, told_of};
use crate::churn::ChurnError;
use quintile_chain::listening::Stopped;
use quintile_chain::{feed, store_error};
use quintile_domain::stability::Verdict;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{ChurnDrift, ChurnDriftVerdict, ChurnProgress};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use quintile_store::StoreError;
use quintile_store::records::{self, Record};
use std::sync::Arc;

/// Records that are read at once.
const SCAN_RECORDS: u64 = 5_000;

/// Compares the risks of everybody at an instant that records tell of with those that the model in force gave when it was judged. `tell` hears how far it
/// is and says whether to go on.
pub async fn measure(
    churning: &Churning,
    tenant: &Arc<Tenant>,
    as_of: Instant,
    mut tell: impl FnMut(ChurnProgress) -> bool,
) -> Result<ChurnDrift, Stopped> {
    let failed = |error: StoreError| Some(store_error(&error));
    let _turn = churning.turn(|| tell(ChurnProgress::default())).await?;
    let model = churning.model(tenant.id).await.map_err(failed)?;
    let model = model.ok_or_else(|| refused("no churn model is in force"))?;
    if let Some(label) = &model.label {
        return labelled_risks::drift(churning, tenant, (&model, label), as_of, tell).await;
    }
    let database = churning.runtime.database.reader();
    let customers = records::last(database, tenant.id).await.map_err(failed)?;
    let (mut risks, mut after) = (Vec::new(), 0);
    loop {
        let rows = records::scan(database, tenant.id, after, SCAN_RECORDS).await.map_err(failed)?;
        let Some(last) = rows.last() else { break };
        after = last.customer.0;
        let (model, tenant) = (model.clone(), tenant.clone());
        // Away from the threads that answer calls.
        let part = tokio::task::spawn_blocking(move || risks_of(&model, &rows, as_of, &tenant)).await;
        risks.extend(part.map_err(|_| ApiError::internal("a measurement panicked"))??);
        if !tell(ChurnProgress { customers_read: i64::from(after), customers }) {
            return Err(None);
        }
    }
    if risks.is_empty() {
        return Err(Some(refused("nobody has bought in 365 days")));
    }
    Ok(found(&model, &risks, as_of).map_err(|error| fault(&error))?)
}

/// What risks now amount to, beside those of then.
pub fn found(model: &InForce, risks: &[f64], as_of: Instant) -> Result<ChurnDrift, ChurnError> {
    let drift = model.learnt.profile.drift(risks)?;
    Ok(ChurnDrift {
        as_of: Some(convert::timestamp(as_of)),
        model: model.name.clone(),
        customers: risks.len() as i64,
        stability_index: drift.stability_index,
        index_by_chance: drift.index_by_chance,
        mean_risk_change: drift.mean_risk_change,
        verdict: match drift.verdict {
            Verdict::Stable => ChurnDriftVerdict::Stable,
            Verdict::Shifting => ChurnDriftVerdict::Shifting,
            Verdict::Shifted => ChurnDriftVerdict::Shifted,
        }
        .into(),
        problem: String::new(),
    })
}

/// The risks of those who have one.
fn risks_of(model: &InForce, records: &[Record], as_of: Instant, tenant: &Tenant) -> Result<Vec<f64>, ApiError> {
    let mut risks = Vec::new();
    for record in records.iter().filter(|record| !record.is_tombstone()) {
        let customer = feed::decode(record).map_err(|error| store_error(&error))?;
        let found = model.risk(&customer, told_of(&customer, as_of), tenant, false).map_err(|error| fault(&error))?;
        risks.extend(found.map(|found| found.risk));
    }
    Ok(risks)
}
