//! Putting a draft in force that nobody looks at.

use super::Churning;
use crate::store::churn_models::{self, Stored};
use quintile_domain::ids::TenantId;
use quintile_proto::lifecycle::ChurnModelState;
use quintile_store::{StoreError, Transaction};

/// Puts a draft in force in the place of the model that it was trained to replace, if it is better. Returns what stands in its way; empty: nothing did.
pub async fn put_in_force(
    churning: &Churning,
    transaction: &Transaction,
    tenant: TenantId,
    draft: Stored,
    replaced: &str,
) -> Result<&'static str, StoreError> {
    if !draft.body.better {
        return Ok("the draft is not better than every baseline");
    }
    let before = churn_models::in_force(transaction, tenant).await?.filter(|before| before.name() == replaced);
    let Some(before) = before else { return Ok("the model in force is another one by now, or none is") };
    if !draft.body.baselines.iter().any(|baseline| baseline.baseline == replaced) {
        return Ok("the draft was not compared with the model in force");
    }
    let revision = draft.revision;
    let retired = Stored { state: ChurnModelState::Retired, revision, ..before };
    churn_models::update(transaction, tenant, &retired).await?;
    let published_at = Some(churning.clock.now());
    let published = Stored { state: ChurnModelState::Published, published_at, ..draft };
    churn_models::update(transaction, tenant, &published).await?;
    Ok("")
}
