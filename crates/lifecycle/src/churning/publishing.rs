//! Putting models in force and taking them out of it: everybody's record follows. And a draft that nobody looks at.

use super::Churning;
use crate::restaging::{self, PUBLISH_MODEL};
use crate::store::churn_models::{self, Stored};
use quintile_proto::lifecycle::ChurnModelState;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, Transaction};

/// Writes where a model stands from now on, and begins the operation by which everybody's record follows. `verb` is the RPC that asks for it.
pub async fn stand(
    churning: &Churning,
    transaction: &Transaction,
    tenant: &Tenant,
    model: Stored,
    verb: &str,
) -> Result<Stored, StoreError> {
    let model = Stored { stands_since: Some(churning.runtime.business.now()), ..model };
    churn_models::update(transaction, tenant.id, &model).await?;
    restaging::begin(transaction, tenant, verb, &model.name(), churning.clock.now()).await?;
    Ok(model)
}

/// Puts a draft in force in the place of the model that it was trained to replace, if it is better. Returns what stands in its way; empty: nothing did.
pub async fn put_in_force(
    churning: &Churning,
    transaction: &Transaction,
    tenant: &Tenant,
    draft: Stored,
    replaced: &str,
) -> Result<&'static str, StoreError> {
    if !draft.body.better {
        return Ok("the draft is not better than every baseline");
    }
    let before = churn_models::in_force(transaction, tenant.id).await?.filter(|before| before.name() == replaced);
    let Some(before) = before else { return Ok("the model in force is another one by now, or none is") };
    if !draft.body.baselines.iter().any(|baseline| baseline.baseline == replaced) {
        return Ok("the draft was not compared with the model in force");
    }
    let revision = draft.revision;
    let retired = Stored { state: ChurnModelState::Retired, revision, ..before };
    churn_models::update(transaction, tenant.id, &retired).await?;
    let published_at = Some(churning.clock.now());
    let published = Stored { state: ChurnModelState::Published, published_at, ..draft };
    stand(churning, transaction, tenant, published, PUBLISH_MODEL).await?;
    Ok("")
}
