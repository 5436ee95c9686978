//! Versions of score models: made, read and deleted.

use super::score_models::{message, model_in, version_in};
use super::{check_rights, reads};
use crate::encoding;
use crate::models::Definition;
use crate::models::presets::PRESETS;
use crate::store::models::{self, Version};
use crate::{Service, refused};
use prost::Message;
use quintile_chain::{page, store_error};
use quintile_proto::scoring::{
    CreateScoreModelVersionRequest, DeleteScoreModelVersionRequest, ListScoreModelVersionsRequest,
    ListScoreModelVersionsResponse, RefitScoreModelRequest, ScoreModelState, ScoringMethod,
};
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use quintile_store::{StoreError, Transaction};

/// The most models of a tenant.
const MAX_MODELS: usize = 20;
/// The most versions of a model.
const MAX_VERSIONS: u64 = 1_000;

/// The most bytes of a page, one version aside.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Makes a draft.
pub async fn create(
    service: &Service,
    caller: &Caller,
    request: CreateScoreModelVersionRequest,
) -> Result<Version, ApiError> {
    let body = CreateScoreModelVersionRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
    check_request_id(&request.request_id)?;
    let model = model_in("parent", &request.parent)?;
    let definition = match (&request.version, request.preset.as_str()) {
        (Some(_), preset) if !preset.is_empty() => {
            return Err(ApiError::invalid_field("preset", "is instead of a version: say one of them"));
        }
        (None, "") => return Err(ApiError::invalid_field("version", "is required")),
        (Some(version), _) => {
            let mut version = version.clone();
            // What a preview finds is output only.
            let is_found = |method| matches!(method, ScoringMethod::Quantile | ScoringMethod::Range);
            let found = version.dimensions.iter_mut().filter(|dimension| is_found(dimension.method()));
            found.for_each(|dimension| dimension.cut_offs.clear());
            encoding::definition(model, &version).map_err(|error| error.within("version"))?
        }
        (None, id) => {
            let preset = PRESETS.iter().find(|preset| preset.id == id);
            let preset = preset.ok_or_else(|| ApiError::invalid_field("preset", "is no preset"))?;
            let digits = caller.tenant().currency.minor_digits();
            let message = encoding::message(&(preset.definition)(digits), caller.tenant().currency);
            encoding::definition(model, &message).map_err(|error| error.within("preset"))?
        }
    };
    for (index, dimension) in definition.dimensions.iter().enumerate() {
        if reads(service, caller, &dimension.feature).await?.is_none() {
            let field = format!("version.dimensions[{index}].feature");
            return Err(ApiError::invalid_field(field, "is no trait of the tenant"));
        }
    }
    check_rights(service, caller, &definition).await?;
    let (tenant, id) = (caller.tenant().id, &request.request_id);
    let repeatable = IdempotentRequest { tenant, method: "CreateScoreModelVersion", id, body: &body };
    draft(service, caller, model, definition, repeatable).await
}

/// Makes a draft like the published version, without the cut-offs that were found.
pub async fn refit(service: &Service, caller: &Caller, request: &RefitScoreModelRequest) -> Result<Version, ApiError> {
    let body = RefitScoreModelRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
    check_request_id(&request.request_id)?;
    let model = model_in("name", &request.name)?;
    let mut definition = in_force(service, caller, model).await?.definition;
    check_rights(service, caller, &definition).await?;
    if !definition.is_found_from_others() {
        return Err(refused("nothing of this model is found from the population: there is nothing to fit anew"));
    }
    for dimension in &mut definition.dimensions {
        dimension.forget_found();
    }
    let (tenant, id) = (caller.tenant().id, &request.request_id);
    let repeatable = IdempotentRequest { tenant, method: "RefitScoreModel", id, body: &body };
    draft(service, caller, model, definition, repeatable).await
}

/// The published version of a model. The error says that there is no such model, or that it has none in force.
pub async fn in_force(service: &Service, caller: &Caller, model: &str) -> Result<Version, ApiError> {
    let read = async {
        service.models.of(caller.tenant()).await?;
        models::all(service.runtime.database.reader(), caller.tenant().id).await
    };
    let all = read.await.map_err(|error| store_error(&error))?;
    let (_, published, _) = all.into_iter().find(|(id, ..)| id == model).ok_or_else(ApiError::not_found)?;
    published.ok_or_else(|| refused("no version of this model is in force"))
}

enum Made {
    Now(Version),
    Before(Option<Version>),
    TooManyModels,
    TooManyVersions,
}

async fn draft(
    service: &Service,
    caller: &Caller,
    model: &str,
    definition: Definition,
    request: IdempotentRequest<'_>,
) -> Result<Version, ApiError> {
    caller.is_about(format!("scoreModels/{model}"));
    match write_draft(service, caller, model, definition, request).await.map_err(|error| store_error(&error))? {
        Made::Now(version) | Made::Before(Some(version)) => Ok(version),
        Made::Before(None) => Err(ApiError::not_found()),
        Made::TooManyModels => Err(refused(format!("there are {MAX_MODELS} models already"))),
        Made::TooManyVersions => Err(refused(format!("the model has {MAX_VERSIONS} versions already"))),
    }
}

async fn write_draft(
    service: &Service,
    caller: &Caller,
    model: &str,
    definition: Definition,
    request: IdempotentRequest<'_>,
) -> Result<Made, StoreError> {
    let tenant = caller.tenant();
    // The first version of the model that ships is the preset, whoever comes first.
    service.models.of(tenant).await?;
    let transaction = service.runtime.database.begin().await?;
    let revision = models::begin_change(&transaction, tenant.id).await?;
    if !request.id.is_empty()
        && let Some(earlier) = idempotency::earlier_result(&transaction, request).await?
    {
        let number = earlier.parse().unwrap_or_default();
        return Ok(Made::Before(models::get(&transaction, tenant.id, model, number).await?));
    }
    let all = models::all(&transaction, tenant.id).await?;
    let newest = all.iter().find(|(id, ..)| id == model).map(|(.., newest)| *newest);
    if newest.is_none() && all.len() >= MAX_MODELS {
        return Ok(Made::TooManyModels);
    }
    if models::count(&transaction, tenant.id, model).await? >= MAX_VERSIONS {
        return Ok(Made::TooManyVersions);
    }
    let now = service.clock.now();
    let version = Version {
        model: model.to_owned(),
        number: newest.unwrap_or(0) + 1,
        state: ScoreModelState::Draft,
        definition,
        preview: None,
        created_at: now,
        published_at: None,
        retired_at: None,
        revision,
        changed: 0,
    };
    models::write(&transaction, tenant, &version).await?;
    if !request.id.is_empty() {
        idempotency::remember(&transaction, request, &version.number.to_string(), now).await?;
    }
    transaction.commit().await?;
    Ok(Made::Now(version))
}

fn check_request_id(id: &str) -> Result<(), ApiError> {
    if id.is_empty() || uuid::Uuid::try_parse(id).is_ok() {
        return Ok(());
    }
    Err(ApiError::invalid_field("request_id", "must be a UUID"))
}

/// Gets a version by its name.
pub async fn get(service: &Service, caller: &Caller, name: &str) -> Result<Version, ApiError> {
    let (model, number) = version_in("name", name)?;
    let read = async {
        service.models.of(caller.tenant()).await?;
        models::get(service.runtime.database.reader(), caller.tenant().id, model, number).await
    };
    read.await.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)
}

/// Lists the versions of a model.
pub async fn list(
    service: &Service,
    caller: &Caller,
    request: &ListScoreModelVersionsRequest,
) -> Result<ListScoreModelVersionsResponse, ApiError> {
    let model = model_in("parent", &request.parent)?;
    let tenant = caller.tenant();
    let size = convert::page_size(request.page_size, 20, 100)?;
    let (sealer, query) = (&service.runtime.sealer, format!("ListScoreModelVersions {model}"));
    let decode = |bytes: Vec<u8>| bytes.try_into().ok().map(i64::from_be_bytes);
    let before = page::begin(sealer, tenant.id, &query, &request.page_token, i64::MAX, decode)?;
    let read = async {
        service.models.of(tenant).await?;
        models::page(service.runtime.database.reader(), tenant.id, model, before, size).await
    };
    let read = read.await.map_err(|error| store_error(&error))?;
    if read.is_empty() && before == i64::MAX {
        return Err(ApiError::not_found());
    }
    let mut versions: Vec<_> = read.iter().map(|version| message(caller, version)).collect();
    // By its size too: a version may have hundreds of categories.
    let sizes = versions.iter().scan(0, |sum, version| {
        *sum += version.encoded_len();
        Some(*sum)
    });
    let fitting = sizes.take_while(|sum| *sum <= MAX_PAGE_BYTES).count().max(1);
    versions.truncate(fitting);
    let full = read.len() as u64 == size || versions.len() < read.len();
    let last = read.get(versions.len().saturating_sub(1)).map(|last| last.number);
    Ok(ListScoreModelVersionsResponse {
        versions,
        next_page_token: page::next_behind(sealer, tenant.id, &query, full, last),
    })
}

/// Deletes a draft.
pub async fn delete(
    service: &Service,
    caller: &Caller,
    request: &DeleteScoreModelVersionRequest,
) -> Result<(), ApiError> {
    let (model, number) = version_in("name", &request.name)?;
    // Before anything is locked: it may ask ingestion.
    check_rights(service, caller, &get(service, caller, &request.name).await?.definition).await?;
    let tenant = caller.tenant().id;
    let begun = async {
        let transaction = service.runtime.database.begin().await?;
        models::begin_change(&transaction, tenant).await?;
        let found = models::get(&transaction, tenant, model, number).await?;
        Ok::<_, StoreError>((transaction, found))
    };
    let (transaction, found): (Transaction, _) = begun.await.map_err(|error| store_error(&error))?;
    let version = found.ok_or_else(ApiError::not_found)?;
    if !request.etag.is_empty() && request.etag != version.etag() {
        return Err(ApiError::stale_etag());
    }
    if version.state != ScoreModelState::Draft {
        return Err(refused("only a draft can be deleted"));
    }
    let deleted = async {
        models::delete(&transaction, tenant, model, number).await?;
        Ok(transaction.commit().await?)
    };
    deleted.await.map_err(|error| store_error(&error))
}
