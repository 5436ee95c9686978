//! Declarations of custom attributes.

use super::attribute_values;
use crate::Service;
use crate::store::attributes::{self, StoredAttribute};
use crate::store::privacy::{self, Hold};
use prost::Message;
use quintile_chain::{page, store_error};
use quintile_domain::masking::Sensitivity;
use quintile_domain::names::{optional_text, resource_id};
use quintile_proto::ingestion::attribute_service_server::AttributeService;
use quintile_proto::ingestion::{
    Attribute, CreateAttributeRequest, DeleteAttributeRequest, DeleteAttributeResponse, GetAttributeRequest,
    ListAttributesRequest, ListAttributesResponse, ReadAttributeValuesRequest, ReadAttributeValuesResponse,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::StoreError;
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use tonic::{Request, Response, Status};

/// The most declarations of a tenant.
const MAX_ATTRIBUTES: u64 = 200;
/// The most bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 1_024;
/// The query that page tokens of declarations belong to.
const LIST_ATTRIBUTES: &str = "ListAttributes";

/// The handlers.
pub struct Attributes {
    pub service: Service,
}

enum Created {
    Now(StoredAttribute),
    /// By the same request, before. `None`: it was deleted since.
    Before(Option<StoredAttribute>),
    Taken,
    Full,
}

enum Deleted {
    Now,
    Absent,
    Stale,
}

impl Attributes {
    async fn create(
        &self,
        caller: &Caller,
        id: String,
        given: Attribute,
        request: IdempotentRequest<'_>,
    ) -> Result<Created, StoreError> {
        let tenant = caller.tenant().id;
        let transaction = self.service.runtime.database.begin().await?;
        // Nobody takes in customers meanwhile, and nobody else declares.
        privacy::hold(&transaction, tenant, Hold::Alone).await?;
        if !request.id.is_empty()
            && let Some(earlier) = idempotency::earlier_result(&transaction, request).await?
        {
            return Ok(Created::Before(attributes::get(&transaction, tenant, &earlier).await?));
        }
        if attributes::get(&transaction, tenant, &id).await?.is_some() {
            return Ok(Created::Taken);
        }
        if attributes::count(&transaction, tenant).await? >= MAX_ATTRIBUTES {
            return Ok(Created::Full);
        }
        let now = self.service.clock.now();
        let class =
            Sensitivity::of_number(given.sensitivity).ok_or(StoreError::Sealed("a class was checked and is none"))?;
        let attribute = StoredAttribute { id, class, description: given.description, created_at: now };
        attributes::insert(&transaction, tenant, &attribute).await?;
        if !request.id.is_empty() {
            idempotency::remember(&transaction, request, &attribute.id, now).await?;
        }
        transaction.commit().await?;
        self.service.declarations.forget(tenant);
        Ok(Created::Now(attribute))
    }

    async fn delete(&self, caller: &Caller, id: &str, known_etag: &str) -> Result<Deleted, StoreError> {
        let tenant = caller.tenant().id;
        let transaction = self.service.runtime.database.begin().await?;
        privacy::hold(&transaction, tenant, Hold::Alone).await?;
        let Some(attribute) = attributes::get(&transaction, tenant, id).await? else { return Ok(Deleted::Absent) };
        if !known_etag.is_empty() && known_etag != attribute.etag() {
            return Ok(Deleted::Stale);
        }
        attributes::delete(&transaction, tenant, id).await?;
        transaction.commit().await?;
        self.service.declarations.forget(tenant);
        Ok(Deleted::Now)
    }
}

#[tonic::async_trait]
impl AttributeService for Attributes {
    type ReadAttributeValuesStream = AnswerStream<ReadAttributeValuesResponse>;

    async fn create_attribute(&self, request: Request<CreateAttributeRequest>) -> Answer<Attribute> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let body = CreateAttributeRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
        if !request.request_id.is_empty() && uuid::Uuid::try_parse(&request.request_id).is_err() {
            return Err(ApiError::invalid_field("request_id", "must be a UUID").into());
        }
        resource_id(&request.attribute_id).map_err(|error| ApiError::invalid_text("attribute_id", error))?;
        let given = request.attribute.ok_or_else(|| ApiError::invalid_field("attribute", "is required"))?;
        check(&given).map_err(|error| error.within("attribute"))?;
        caller.is_about(name(&request.attribute_id));
        let tenant = caller.tenant().id;
        let repeatable = IdempotentRequest { tenant, method: "CreateAttribute", id: &request.request_id, body: &body };
        let created = self.create(&caller, request.attribute_id, given, repeatable).await;
        match created.map_err(|error| store_error(&error))? {
            Created::Now(attribute) | Created::Before(Some(attribute)) => Ok(caller.respond(message(&attribute))),
            Created::Before(None) => Err(ApiError::not_found().into()),
            Created::Taken => Err(ApiError::already_exists("an attribute with this id").into()),
            Created::Full => {
                let problem = format!("there are {MAX_ATTRIBUTES} attributes already");
                Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem).into())
            }
        }
    }

    async fn get_attribute(&self, request: Request<GetAttributeRequest>) -> Answer<Attribute> {
        let caller = Caller::of(&request)?;
        let id = id_in(&request.get_ref().name)?;
        let found = attributes::get(self.service.runtime.database.reader(), caller.tenant().id, id).await;
        let found = found.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(message(&found)))
    }

    async fn list_attributes(&self, request: Request<ListAttributesRequest>) -> Answer<ListAttributesResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().id;
        let ListAttributesRequest { page_size, page_token } = request.get_ref();
        let size = convert::page_size(*page_size, 100, MAX_ATTRIBUTES)?;
        let sealer = &self.service.runtime.sealer;
        let decode = |id| String::from_utf8(id).ok();
        let after = page::begin(sealer, tenant, LIST_ATTRIBUTES, page_token, String::new(), decode)?;
        let listed = attributes::page(self.service.runtime.database.reader(), tenant, &after, size).await;
        let listed = listed.map_err(|error| store_error(&error))?;
        let next_page_token = match listed.last() {
            Some(last) if listed.len() as u64 == size => {
                sealer.seal(tenant, LIST_ATTRIBUTES.as_bytes(), last.id.as_bytes())
            }
            _ => String::new(),
        };
        let attributes = listed.iter().map(message).collect();
        Ok(caller.respond(ListAttributesResponse { attributes, next_page_token }))
    }

    async fn delete_attribute(&self, request: Request<DeleteAttributeRequest>) -> Answer<DeleteAttributeResponse> {
        let caller = Caller::of(&request)?;
        let DeleteAttributeRequest { name, etag } = request.get_ref();
        let deleted = self.delete(&caller, id_in(name)?, etag).await;
        match deleted.map_err(|error| store_error(&error))? {
            Deleted::Now => Ok(caller.respond(DeleteAttributeResponse {})),
            Deleted::Absent => Err(ApiError::not_found().into()),
            Deleted::Stale => Err(ApiError::stale_etag().into()),
        }
    }

    async fn read_attribute_values(
        &self,
        request: Request<ReadAttributeValuesRequest>,
    ) -> Result<Response<Self::ReadAttributeValuesStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(attribute_values::start(self.service.clone(), caller, request.get_ref()).await?))
    }
}

fn check(given: &Attribute) -> Result<(), ApiError> {
    if Sensitivity::of_number(given.sensitivity).is_none() {
        return Err(ApiError::invalid_field("sensitivity", "must be one of the classes"));
    }
    optional_text(&given.description, MAX_DESCRIPTION_BYTES)
        .map_err(|error| ApiError::invalid_text("description", error))
}

fn name(id: &str) -> String {
    format!("attributes/{id}")
}

fn id_in(name: &str) -> Result<&str, ApiError> {
    let id = name.strip_prefix("attributes/").filter(|id| resource_id(id).is_ok());
    id.ok_or_else(|| ApiError::invalid_field("name", "must be attributes/{id}"))
}

fn message(attribute: &StoredAttribute) -> Attribute {
    Attribute {
        name: name(&attribute.id),
        sensitivity: attribute.class as i32,
        description: attribute.description.clone(),
        create_time: Some(convert::timestamp(attribute.created_at)),
        etag: attribute.etag(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_says_its_class() {
        let attribute = |sensitivity, description: &str| Attribute {
            sensitivity,
            description: description.to_owned(),
            ..Attribute::default()
        };
        for class in Sensitivity::ALL {
            assert_eq!(check(&attribute(class as i32, "")), Ok(()), "{class:?}");
        }
        let table = [
            (attribute(0, ""), "sensitivity"),
            (attribute(99, ""), "sensitivity"),
            (attribute(-1, ""), "sensitivity"),
            (attribute(1, "a\0b"), "description"),
            (attribute(1, &"a".repeat(1_025)), "description"),
        ];
        for (attribute, field) in table {
            assert_eq!(check(&attribute).unwrap_err().field(), Some(field));
        }
    }

    #[test]
    fn only_the_name_of_an_attribute_names_one() {
        assert_eq!(id_in("attributes/work-phone"), Ok("work-phone"));
        for wrong in ["", "attributes/", "work-phone", "attributes/Work", "attributes/a/b", "customers/1"] {
            assert_eq!(id_in(wrong).unwrap_err().field(), Some("name"), "{wrong}");
        }
    }
}
