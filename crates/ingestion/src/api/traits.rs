//! Traits.

use super::retention;
use crate::Service;
use crate::backfill::{self, CREATE, DELETE};
use crate::defined_traits::{DefinedTrait, MAX_TRAITS};
use crate::store::identities;
use crate::store::privacy::{self, Hold};
use crate::store::traits::{self, StoredTrait};
use crate::traits::{Definition, DefinitionError, Trait};
use prost::Message;
use quintile_chain::operations::message as operation_message;
use quintile_chain::{page, store_error};
use quintile_domain::names::{optional_text, resource_id};
use quintile_proto::ingestion::trait_service_server::TraitService;
use quintile_proto::ingestion::{
    CreateTraitRequest, DeleteTraitRequest, GetTraitRequest, ListTraitsRequest, ListTraitsResponse,
    Trait as TraitMessage, TraitAggregate, TraitFact,
};
use quintile_proto::longrunning::Operation;
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::StoreError;
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use quintile_store::operations::{self, Operation as StoredOperation};
use tonic::Request;

/// The most bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 1_024;
/// The most operations of a tenant that wait.
const MAX_OPEN: u64 = 200;
/// The query that page tokens of traits belong to.
const LIST_TRAITS: &str = "ListTraits";

/// The handlers.
pub struct Traits {
    pub service: Service,
}

enum Begun {
    Now(StoredOperation),
    /// By the same request, before. `None`: it is forgotten.
    Before(Option<StoredOperation>),
    Absent,
    Stale,
    Taken,
    TooManyTraits,
    TooManyOperations,
    /// Facts are kept for less than its window.
    TooLong,
}

impl Begun {
    fn operation(self) -> Result<Operation, ApiError> {
        let refused = |problem: String| ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem);
        match self {
            Self::Now(operation) | Self::Before(Some(operation)) => Ok(operation_message(&operation)),
            Self::Before(None) | Self::Absent => Err(ApiError::not_found()),
            Self::Stale => Err(ApiError::stale_etag()),
            Self::Taken => Err(ApiError::already_exists("a trait with this id")),
            Self::TooManyTraits => Err(refused(format!("there are {MAX_TRAITS} traits already"))),
            Self::TooLong => {
                Err(refused("facts of this kind are kept for less than this window: see RetentionService".to_owned()))
            }
            Self::TooManyOperations => Err(refused(format!("{MAX_OPEN} operations wait already: try again later"))),
        }
    }
}

impl Traits {
    async fn create(
        &self,
        caller: &Caller,
        stored: &mut StoredTrait,
        request: IdempotentRequest<'_>,
    ) -> Result<Begun, StoreError> {
        let tenant = caller.tenant().id;
        let transaction = self.service.runtime.database.begin().await?;
        // Nobody takes in customers meanwhile: those who come later find the trait there.
        privacy::hold(&transaction, tenant, Hold::Alone).await?;
        if !request.id.is_empty()
            && let Some(earlier) = idempotency::earlier_result(&transaction, request).await?
        {
            let id = earlier.parse().unwrap_or_default();
            return Ok(Begun::Before(operations::get(&transaction, tenant, id).await?));
        }
        if traits::get(&transaction, tenant, &stored.id).await?.is_some() {
            return Ok(Begun::Taken);
        }
        if traits::count(&transaction, tenant).await? >= MAX_TRAITS {
            return Ok(Begun::TooManyTraits);
        }
        if operations::count_open(&transaction, tenant).await? >= MAX_OPEN {
            return Ok(Begun::TooManyOperations);
        }
        let business_now = self.service.runtime.business.now();
        if !retention::allows(&transaction, caller.tenant(), &stored.definition, business_now).await? {
            return Ok(Begun::TooLong);
        }
        let now = self.service.clock.now();
        stored.created_at = now;
        traits::insert(&transaction, tenant, stored).await?;
        let last = identities::last_number(&transaction, tenant).await?;
        let operation = backfill::begin(&transaction, tenant, CREATE, &stored.id, last, now).await?;
        if !request.id.is_empty() {
            idempotency::remember(&transaction, request, &operation.id.to_string(), now).await?;
        }
        transaction.commit().await?;
        self.service.wake.notify_one();
        Ok(Begun::Now(operation))
    }

    async fn delete(&self, caller: &Caller, id: &str, known_etag: &str) -> Result<Begun, StoreError> {
        let tenant = caller.tenant().id;
        let transaction = self.service.runtime.database.begin().await?;
        privacy::hold(&transaction, tenant, Hold::Alone).await?;
        let Some(stored) = traits::get(&transaction, tenant, id).await? else { return Ok(Begun::Absent) };
        if !known_etag.is_empty() && known_etag != stored.etag() {
            return Ok(Begun::Stale);
        }
        if operations::count_open(&transaction, tenant).await? >= MAX_OPEN {
            return Ok(Begun::TooManyOperations);
        }
        traits::delete(&transaction, tenant, id).await?;
        let last = identities::last_number(&transaction, tenant).await?;
        let operation = backfill::begin(&transaction, tenant, DELETE, id, last, self.service.clock.now()).await?;
        transaction.commit().await?;
        self.service.wake.notify_one();
        Ok(Begun::Now(operation))
    }
}

#[tonic::async_trait]
impl TraitService for Traits {
    async fn create_trait(&self, request: Request<CreateTraitRequest>) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let body = CreateTraitRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
        if !request.request_id.is_empty() && uuid::Uuid::try_parse(&request.request_id).is_err() {
            return Err(ApiError::invalid_field("request_id", "must be a UUID").into());
        }
        resource_id(&request.trait_id).map_err(|error| ApiError::invalid_text("trait_id", error))?;
        let given = request.r#trait.ok_or_else(|| ApiError::invalid_field("trait", "is required"))?;
        let (definition, description) = checked(given).map_err(|error| error.within("trait"))?;
        let tenant = caller.tenant();
        let computed = Trait::new(&definition, digits(&caller)).map_err(|error| wrong(&error).within("trait"))?;
        if let Some(field) = computed.forbidden(|class| caller.reads_in_clear(class)) {
            return Err(ApiError::field_denied(&field).into());
        }
        caller.is_about(name(&request.trait_id));
        let created_at = self.service.clock.now();
        let mut stored = StoredTrait { id: request.trait_id, description, definition, complete: false, created_at };
        let repeatable = IdempotentRequest { tenant: tenant.id, method: CREATE, id: &request.request_id, body: &body };
        let begun = self.create(&caller, &mut stored, repeatable).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(begun.operation()?))
    }

    async fn get_trait(&self, request: Request<GetTraitRequest>) -> Answer<TraitMessage> {
        let caller = Caller::of(&request)?;
        let id = id_in(&request.get_ref().name)?;
        let traits = self.service.traits.of(caller.tenant()).await.map_err(|error| store_error(&error))?;
        let found = traits.iter().find(|defined| defined.id == id).ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(found.message()))
    }

    async fn list_traits(&self, request: Request<ListTraitsRequest>) -> Answer<ListTraitsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant();
        let ListTraitsRequest { page_size, page_token } = request.get_ref();
        let size = convert::page_size(*page_size, 100, MAX_TRAITS)? as usize;
        let sealer = &self.service.runtime.sealer;
        let decode = |id| String::from_utf8(id).ok();
        let after = page::begin(sealer, tenant.id, LIST_TRAITS, page_token, String::new(), decode)?;
        let defined = self.service.traits.of(tenant).await.map_err(|error| store_error(&error))?;
        let listed: Vec<_> = defined.iter().filter(|defined| defined.id > after).take(size).collect();
        let next_page_token = match listed.last() {
            Some(last) if listed.len() == size => sealer.seal(tenant.id, LIST_TRAITS.as_bytes(), last.id.as_bytes()),
            _ => String::new(),
        };
        let traits = listed.into_iter().map(DefinedTrait::message).collect();
        Ok(caller.respond(ListTraitsResponse { traits, next_page_token }))
    }

    async fn delete_trait(&self, request: Request<DeleteTraitRequest>) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let DeleteTraitRequest { name, etag } = request.get_ref();
        let begun = self.delete(&caller, id_in(name)?, etag).await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(begun.operation()?))
    }
}

fn digits(caller: &Caller) -> u8 {
    u8::try_from(caller.tenant().currency.minor_digits()).unwrap_or(u8::MAX)
}

/// The definition and the description of a request, as far as they can be checked without a schema.
fn checked(given: TraitMessage) -> Result<(Definition, String), ApiError> {
    optional_text(&given.description, MAX_DESCRIPTION_BYTES)
        .map_err(|error| ApiError::invalid_text("description", error))?;
    let unknown = |field| ApiError::invalid_field(field, "must be one of the known values");
    let definition = Definition {
        fact: TraitFact::try_from(given.fact).map_err(|_| unknown("fact"))?,
        aggregate: TraitAggregate::try_from(given.aggregate).map_err(|_| unknown("aggregate"))?,
        value: given.value,
        filter: given.filter,
        window_days: given.window_days,
    };
    Ok((definition, given.description))
}

fn wrong(error: &DefinitionError) -> ApiError {
    match error.field {
        "filter" => ApiError::invalid(error.field, ErrorReason::InvalidExpression, error.problem.clone()),
        field => ApiError::invalid_field(field, error.problem.clone()),
    }
}

fn name(id: &str) -> String {
    format!("traits/{id}")
}

fn id_in(name: &str) -> Result<&str, ApiError> {
    let id = name.strip_prefix("traits/").filter(|id| resource_id(id).is_ok());
    id.ok_or_else(|| ApiError::invalid_field("name", "must be traits/{id}"))
}
