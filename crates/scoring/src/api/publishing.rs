//! Putting versions in force, and taking models out of it.

use super::check_rights;
use super::score_models::{model_in, version_in};
use super::versions;
use crate::fitting;
use crate::models::cut_offs::{Method, TieRule};
use crate::models::{Definition, RFM, Scale};
use crate::rescoring::{self, PUBLISH, RETIRE};
use crate::store::models::{self, Version};
use crate::{Service, refused};
use quintile_chain::store_error;
use quintile_proto::scoring::{PublishScoreModelVersionRequest, RetireScoreModelRequest, ScoreModelState, ValueModel};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, Caller};
use quintile_store::operations::Operation;
use quintile_store::{StoreError, Transaction};

/// Puts a draft in force.
pub async fn publish(
    service: &Service,
    caller: &Caller,
    request: &PublishScoreModelVersionRequest,
) -> Result<Operation, ApiError> {
    let (model, number) = version_in("name", &request.name)?;
    let checked = versions::get(service, caller, &request.name).await?;
    check_rights(service, caller, &checked.definition).await?;
    let tenant = caller.tenant();
    let (transaction, revision) = begin(service, tenant).await?;
    let found = models::get(&transaction, tenant.id, model, number).await.map_err(|error| store_error(&error))?;
    let version = found.ok_or_else(ApiError::not_found)?;
    // What the caller's rights were checked on is what is published: the number of a model that was deleted whole is given again.
    let is_another = version.created_at != checked.created_at;
    if is_another || (!request.etag.is_empty() && request.etag != version.etag()) {
        return Err(ApiError::stale_etag());
    }
    check(&version)?;
    check_value_model(service, tenant, &version).await?;
    let published = async {
        let now = service.clock.now();
        let in_force = models::published(&transaction, tenant.id).await?;
        for before in in_force.into_iter().filter(|before| before.model == model) {
            let retired = Version { state: ScoreModelState::Retired, retired_at: Some(now), revision, ..before };
            models::write(&transaction, tenant, &retired).await?;
        }
        let published = Version { state: ScoreModelState::Published, published_at: Some(now), revision, ..version };
        models::write(&transaction, tenant, &published).await?;
        let operation = rescoring::begin(&transaction, tenant, PUBLISH, &published.name(), now).await?;
        transaction.commit().await?;
        Ok(operation)
    };
    let operation = published.await.map_err(|error: StoreError| store_error(&error))?;
    service.models.apply(tenant).await;
    Ok(operation)
}

/// Whether what a version scores is still said by the model of lifetime value that its preview went by.
async fn check_value_model(service: &Service, tenant: &Tenant, version: &Version) -> Result<(), ApiError> {
    let Some(preview) = version.preview.as_ref().filter(|_| version.definition.scores_lifetime_value()) else {
        return Ok(());
    };
    let in_force = fitting::in_force::<ValueModel>(service, tenant.id).await?;
    if in_force.map(|stored| stored.name()).unwrap_or_default() == preview.value_model {
        return Ok(());
    }
    Err(refused("another model of lifetime value has been put in force since the preview: preview it again"))
}

/// Whether a version can be put in force.
fn check(version: &Version) -> Result<(), ApiError> {
    if version.state != ScoreModelState::Draft {
        return Err(refused("only a draft can be published: make a new version"));
    }
    if parts_ties_by_number(&version.definition) {
        return Err(refused("a version with NTILE is for previews alone: nobody else could be scored by it"));
    }
    if version.definition.is_found_from_others() && version.preview.is_none() {
        return Err(refused("the version's cut-offs have not been found: preview it first"));
    }
    Ok(())
}

/// Whether scores of it are of everybody together.
pub fn parts_ties_by_number(definition: &Definition) -> bool {
    definition.dimensions.iter().any(|dimension| match &dimension.scale {
        Scale::Numbers(cut_offs) => cut_offs.method == Method::Quantile(TieRule::Ntile),
        Scale::Texts(_) => false,
    })
}

/// Takes a model out of force.
pub async fn retire(
    service: &Service,
    caller: &Caller,
    request: &RetireScoreModelRequest,
) -> Result<Operation, ApiError> {
    let model = model_in("name", &request.name)?;
    if model == RFM {
        return Err(refused("rfm can't be retired: labels are made of it"));
    }
    let in_force = versions::in_force(service, caller, model).await?;
    check_rights(service, caller, &in_force.definition).await?;
    let tenant = caller.tenant();
    let (transaction, revision) = begin(service, tenant).await?;
    let published = models::published(&transaction, tenant.id).await.map_err(|error| store_error(&error))?;
    let version = published.into_iter().find(|version| version.model == model);
    let version = version.ok_or_else(|| refused("no version of this model is in force"))?;
    if !request.etag.is_empty() && request.etag != version.etag() {
        return Err(ApiError::stale_etag());
    }
    let retired = async {
        let now = service.clock.now();
        let (state, retired_at) = (ScoreModelState::Retired, Some(now));
        let retired = Version { state, retired_at, revision, ..version };
        models::write(&transaction, tenant, &retired).await?;
        let operation = rescoring::begin(&transaction, tenant, RETIRE, &retired.name(), now).await?;
        transaction.commit().await?;
        Ok(operation)
    };
    let operation = retired.await.map_err(|error: StoreError| store_error(&error))?;
    service.models.apply(tenant).await;
    Ok(operation)
}

/// Begins a change of a tenant's models that asks for a rescoring.
async fn begin(service: &Service, tenant: &Tenant) -> Result<(Transaction, i64), ApiError> {
    let begun = async {
        let transaction = service.runtime.database.begin().await?;
        let revision = models::begin_change(&transaction, tenant.id).await?;
        Ok::<_, StoreError>((transaction, revision))
    };
    let (transaction, revision) = begun.await.map_err(|error| store_error(&error))?;
    rescoring::check_open(&transaction, tenant).await?;
    Ok((transaction, revision))
}
