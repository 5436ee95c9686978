//! Changes of segments and label sets, one after the other: what it would do, and that it is done.

use super::population;
use crate::Service;
use crate::engine::Bitmap;
use crate::fields::Classes;
use crate::population::catalogue::{Catalogue, CatalogueError, Key, Kind};
use crate::population::definition::{self, Body, Definition};
use crate::population::membership::Membership;
use crate::population::{LoadedPopulation, Movement, Population};
use crate::store::definitions::{self as stored, Published};
use crate::store::{evaluation, lists, memberships, snapshots};
use quintile_chain::progress::Watermark;
use quintile_chain::store_error;
use quintile_domain::ids::TenantId;
use quintile_domain::names::optional_text;
use quintile_domain::time::Instant;
use quintile_expr::Rule;
use quintile_proto::types::ErrorReason;
use quintile_rpc::{ApiError, Caller};
use quintile_store::StoreError;
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use std::collections::BTreeSet;
use tokio::sync::OwnedMutexGuard;

/// The most bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 1_024;

/// The turn of whoever changes a tenant's definitions or records.
pub struct Turn {
    service: Service,
    tenant: TenantId,
    /// The population.
    pub loaded: LoadedPopulation,
    _guard: OwnedMutexGuard<()>,
}

/// A request that may come again.
#[derive(Clone)]
pub struct Repeatable {
    /// The method.
    pub method: &'static str,
    /// The id by which a repetition is known. Empty: the request is not repeatable.
    pub id: String,
    /// The request without its id.
    pub body: Vec<u8>,
}

impl Repeatable {
    fn of(&self, tenant: TenantId) -> IdempotentRequest<'_> {
        IdempotentRequest { tenant, method: self.method, id: &self.id, body: &self.body }
    }
}

/// What becomes of a definition.
#[derive(Default)]
pub struct Edit {
    /// The definition as it will be. `None`: it is deleted.
    pub definition: Option<Definition>,
    /// What is live then. `None`: what was.
    pub effect: Option<Effect>,
    /// The members of a list, before and after.
    pub listed: Option<(Bitmap, Bitmap)>,
    /// The request that makes it, where it may come again.
    pub request: Option<Repeatable>,
}

/// What a change puts in force.
pub struct Effect {
    /// What would be live.
    pub candidate: Catalogue,
    /// Who enters and leaves what.
    pub movements: Vec<Movement>,
    /// The classes of the fields that the definition reads then, those of what it refers to included.
    pub classes: Classes,
    /// The same with those that it has read before: how many moved tells of what was as much as of what is.
    pub moved_classes: Classes,
}

impl Effect {
    /// Customers who enter and who leave parts of a definition.
    pub fn moved(&self, key: &Key) -> (u64, u64) {
        let name = key.to_string();
        let is_own = |movement: &&Movement| {
            movement.parent.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let of = |entered: bool| {
            let own = self.movements.iter().filter(is_own).filter(|movement| movement.entered == entered);
            own.map(|movement| movement.customers.count()).sum()
        };
        (of(true), of(false))
    }
}

impl Turn {
    /// Waits for one's turn.
    pub async fn wait(service: &Service, caller: &Caller) -> Result<Self, ApiError> {
        let loaded = population(service, caller)?;
        let guard = loaded.changing.clone().lock_owned().await;
        Ok(Self { service: service.clone(), tenant: caller.tenant().id, loaded, _guard: guard })
    }

    /// The key of what a request with this id made before. `None`: it is new.
    pub async fn repeated(&self, request: &Repeatable) -> Result<Option<String>, ApiError> {
        if request.id.is_empty() {
            return Ok(None);
        }
        let database = &self.service.runtime.database;
        let earlier = idempotency::earlier_result(database.reader(), request.of(self.tenant)).await;
        earlier.map_err(|error| store_error(&error))
    }

    /// Writes a change down, and has it known: both, whether or not anybody still waits for it.
    pub async fn commit(self, key: &Key, edit: Edit) -> Result<(), ApiError> {
        let key = key.clone();
        let done = tokio::spawn(async move {
            self.write(&key, &edit).await?;
            let catalogue = edit.effect.map(|effect| effect.candidate);
            self.loaded.population.write().redefine(key, edit.definition, catalogue);
            self.service.runtime.progress.of(self.tenant).raise(Watermark::default());
            Ok::<_, StoreError>(())
        });
        let done = done.await.map_err(|_| ApiError::internal("the change panicked"))?;
        done.map_err(|error| store_error(&error))
    }

    async fn write(&self, key: &Key, edit: &Edit) -> Result<(), StoreError> {
        let now = self.service.clock.now();
        let transaction = self.service.runtime.database.begin().await?;
        if let Some(definition) = &edit.definition {
            stored::write(&transaction, self.tenant, definition).await?;
            if let (Some(effect), Some(body), None) = (&edit.effect, &definition.live, &edit.listed) {
                let published = published(key, definition.version, body, effect, now);
                stored::publish(&transaction, self.tenant, key, &published).await?;
            }
        } else {
            stored::delete(&transaction, self.tenant, key).await?;
            if key.kind == Kind::Segment {
                lists::delete(&transaction, self.tenant, &key.id).await?;
            }
            snapshots::delete(&transaction, self.tenant, key).await?;
        }
        if let Some((before, after)) = &edit.listed {
            lists::write(&transaction, self.tenant, &key.id, before, after).await?;
        }
        if let Some(request) = edit.request.as_ref().filter(|request| !request.id.is_empty()) {
            idempotency::remember(&transaction, request.of(self.tenant), &key.id, now).await?;
        }
        if edit.effect.is_some() {
            let as_of = self.loaded.population.read().as_of();
            evaluation::write(&transaction, self.tenant, as_of).await?;
        }
        let movements = edit.effect.as_ref().map_or(&[][..], |effect| &effect.movements);
        memberships::append(&transaction, self.tenant, &[], movements).await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn published(key: &Key, version: i64, body: &Body, effect: &Effect, now: Instant) -> Published {
    let (entered, exited) = effect.moved(key);
    let Effect { classes, moved_classes, .. } = *effect;
    Published { version, body: body.clone(), published_at: now, entered, exited, classes, moved_classes }
}

/// What putting a body in force would do.
///
/// # Errors
/// `FAILED_PRECONDITION` where definitions would refer to one another in a circle, or too deep.
pub fn effect_of(
    population: &Population,
    key: &Key,
    version: i64,
    body: &Body,
    membership: Membership,
) -> Result<Effect, ApiError> {
    let live = definition::live(key, version, body, membership);
    effect(population, key, population.candidate(key, Some(live)))
}

/// What taking a definition away would do.
pub fn effect_of_deletion(population: &Population, key: &Key) -> Result<Effect, ApiError> {
    effect(population, key, population.candidate(key, None))
}

fn effect(
    population: &Population,
    key: &Key,
    candidate: Result<Catalogue, CatalogueError>,
) -> Result<Effect, ApiError> {
    let candidate =
        candidate.map_err(|error| ApiError::failed_precondition(ErrorReason::FailedPrecondition, error.to_string()))?;
    refuse_dangling(population, key, &candidate)?;
    let movements = population.changes_by_definition(key, &candidate);
    let of = |catalogue: &Catalogue| catalogue.find(key).map(|(place, _)| population.classes(catalogue, place));
    let classes = of(&candidate).unwrap_or_default();
    let moved_classes = classes.and(of(population.catalogue()).unwrap_or_default());
    Ok(Effect { candidate, movements, classes, moved_classes })
}

/// Refuses to take away what others refer to.
fn refuse_dangling(population: &Population, key: &Key, candidate: &Catalogue) -> Result<(), ApiError> {
    let Some((_, old)) = population.catalogue().find(key) else { return Ok(()) };
    let gone = old.parts.iter().filter(|part| candidate.referred(&part.reference).is_none());
    let gone: BTreeSet<&str> = gone.map(|part| part.reference.as_str()).collect();
    let refers = |rule: &Rule| rule.references().iter().any(|name| gone.contains(name.as_str()));
    if candidate.live().iter().any(|live| live.rules().iter().any(refers)) {
        let message = "a segment or a label refers to what would be gone";
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
    }
    Ok(())
}

/// The members of a list.
pub fn listed(population: &Population, key: &Key) -> Option<Bitmap> {
    match &population.catalogue().find(key)?.1.membership {
        Membership::List { listed, .. } => Some(listed.clone()),
        Membership::Rules(_) | Membership::Clusters(_) => None,
    }
}

/// Refuses a description that is too long, or that no database keeps alike.
pub fn check_description(field: &str, description: &str) -> Result<(), ApiError> {
    optional_text(description, MAX_DESCRIPTION_BYTES).map_err(|error| ApiError::invalid_text(field, error)).map(drop)
}

/// Refuses a request id that is none.
pub fn check_request_id(id: &str) -> Result<(), ApiError> {
    if id.is_empty() || uuid::Uuid::try_parse(id).is_ok() {
        return Ok(());
    }
    Err(ApiError::invalid_field("request_id", "must be a UUID"))
}

/// Refuses an etag that is given and is not the present one.
pub fn check_etag(definition: &Definition, given: &str) -> Result<(), ApiError> {
    if given.is_empty() || given == definition.etag() { Ok(()) } else { Err(ApiError::stale_etag()) }
}

/// What publishing a draft puts in force: the definition as it will be.
///
/// # Errors
/// `FAILED_PRECONDITION` without a draft.
pub fn promoted(definition: &Definition) -> Result<(Definition, Body), ApiError> {
    let Some(body) = definition.draft.clone() else {
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, "there is no draft"));
    };
    let promoted = Definition {
        version: definition.version + 1,
        revision: definition.revision + 1,
        live: Some(body.clone()),
        draft: None,
        ..definition.clone()
    };
    Ok((promoted, body))
}

/// The paths of an update mask, each one of those that may change.
pub fn paths(mask: Option<prost_types::FieldMask>, known: &[&str]) -> Result<Vec<String>, ApiError> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(ApiError::invalid_field("update_mask", "must name the fields to change"));
    }
    if !paths.iter().all(|path| known.contains(&path.as_str())) {
        return Err(ApiError::invalid_field("update_mask", "names a field that is not there or does not change"));
    }
    Ok(paths)
}
