//! Models that are fitted to everybody: how everybody is read, what a fit makes of it, and how it is put in force; when somebody asks, and when a
//! schedule says.

pub mod everybody;
pub mod orders;
pub mod recommendation;
pub mod refits;
pub mod value;

use crate::store::fits::{self, Fit, Stored};
use crate::{Service, refused};
use quintile_chain::store_error;
use quintile_domain::ids::TenantId;
use quintile_domain::names;
use quintile_proto::scoring::ScoreModelState;
use quintile_rpc::ApiError;
use quintile_store::{StoreError, Transaction};

pub use quintile_chain::listening::Stopped;

/// The most days that are held out.
pub const MAX_HOLDOUT_DAYS: i32 = 1_826;

/// What stands against a draft that foretold worse than the model in force.
pub const FORETOLD_WORSE: &str = "the draft foretold worse than the model in force";
/// What stands against a draft that was judged by nothing, or beside another model.
pub const NOT_COMPARED: &str = "the draft was not compared with the model in force: it has no holdout report beside it";

/// A kind of models that refits are compared in.
pub trait Compared: Fit {
    /// What stands against putting a draft in force unseen in place of a model: that it foretold worse, or was not compared with it. `None`: nothing
    /// does.
    fn objection(&self, in_force: &str) -> Option<&'static str>;
}

/// What is to be put in force.
pub struct Publishing<'a> {
    /// The resource name.
    pub name: &'a str,
    /// The etag that is known. Empty: any.
    pub etag: &'a str,
    /// Whether to refuse what foretold worse than the model in force, or was not compared with it.
    pub unless_worse: bool,
    /// The model that has to be in force until then. `None`: any, or none.
    pub in_place_of: Option<&'a str>,
}

/// The number in a resource name.
pub fn number_in<M: Fit>(name: &str) -> Result<i64, ApiError> {
    let number = name.strip_prefix(M::COLLECTION).and_then(|rest| rest.strip_prefix('/')).and_then(names::number);
    let wrong = || ApiError::invalid_field("name", format!("must be {}/{{number}}", M::COLLECTION));
    number.filter(|number| *number > 0).ok_or_else(wrong)
}

/// The model in force.
pub async fn in_force<M: Fit>(service: &Service, tenant: TenantId) -> Result<Option<Stored<M>>, ApiError> {
    fits::in_force(service.runtime.database.reader(), tenant).await.map_err(|error| store_error(&error))
}

/// Writes what was found as a new draft, in a transaction that its caller commits.
pub async fn keep<M: Fit>(
    service: &Service,
    tenant: TenantId,
    body: M,
) -> Result<(Transaction, Stored<M>), StoreError> {
    let transaction = service.runtime.database.begin().await?;
    let revision = fits::begin_change::<M>(&transaction, tenant).await?;
    let newest = fits::page::<M>(&transaction, tenant, i64::MAX, 1).await?;
    let number = newest.first().map_or(0, |newest| newest.number) + 1;
    let created_at = service.clock.now();
    let stored =
        Stored { number, state: ScoreModelState::Draft, body, created_at, published_at: None, revision, changed: 0 };
    fits::write(&transaction, tenant, &stored).await?;
    fits::forget::<M>(&transaction, tenant, number - M::KEPT).await?;
    Ok((transaction, stored))
}

/// Writes a draft as the model in force, in a transaction that its caller commits.
pub async fn publish<M: Compared>(
    service: &Service,
    tenant: TenantId,
    asked: &Publishing<'_>,
) -> Result<(Transaction, Stored<M>), ApiError> {
    let failed = |error: StoreError| store_error(&error);
    let number = number_in::<M>(asked.name)?;
    let transaction = service.runtime.database.begin().await.map_err(failed)?;
    let revision = fits::begin_change::<M>(&transaction, tenant).await.map_err(failed)?;
    let found = fits::get::<M>(&transaction, tenant, number).await.map_err(failed)?;
    let before = fits::in_force::<M>(&transaction, tenant).await.map_err(failed)?;
    let draft = found.ok_or_else(ApiError::not_found)?;
    if !asked.etag.is_empty() && asked.etag != draft.etag() {
        return Err(ApiError::stale_etag());
    }
    if draft.state != ScoreModelState::Draft {
        return Err(refused("only a draft can be published: fit a new model"));
    }
    let in_force = before.as_ref().map(Stored::name);
    if asked.in_place_of.is_some_and(|expected| in_force.as_deref() != Some(expected)) {
        return Err(refused("the model that the draft was to take the place of is in force no more"));
    }
    if let Some(before) = before.as_ref().filter(|_| asked.unless_worse)
        && let Some(objection) = draft.body.objection(&before.name())
    {
        return Err(refused(objection));
    }
    if let Some(before) = before {
        let retired = Stored { state: ScoreModelState::Retired, revision, ..before };
        fits::write(&transaction, tenant, &retired).await.map_err(failed)?;
    }
    let published_at = Some(service.clock.now());
    let published = Stored { state: ScoreModelState::Published, published_at, revision, ..draft };
    fits::write(&transaction, tenant, &published).await.map_err(failed)?;
    Ok((transaction, published))
}

/// Writes that the model in force is so no more, in a transaction that its caller commits.
pub async fn retire<M: Fit>(
    service: &Service,
    tenant: TenantId,
    name: &str,
    etag: &str,
) -> Result<(Transaction, Stored<M>), ApiError> {
    let failed = |error: StoreError| store_error(&error);
    let number = number_in::<M>(name)?;
    let transaction = service.runtime.database.begin().await.map_err(failed)?;
    let revision = fits::begin_change::<M>(&transaction, tenant).await.map_err(failed)?;
    let found = fits::get::<M>(&transaction, tenant, number).await.map_err(failed)?;
    let found = found.ok_or_else(ApiError::not_found)?;
    if !etag.is_empty() && etag != found.etag() {
        return Err(ApiError::stale_etag());
    }
    if found.state != ScoreModelState::Published {
        return Err(refused("only the model in force can be retired"));
    }
    let retired = Stored { state: ScoreModelState::Retired, revision, ..found };
    fits::write(&transaction, tenant, &retired).await.map_err(failed)?;
    Ok((transaction, retired))
}
