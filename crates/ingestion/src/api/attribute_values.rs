//! Values of custom attributes in bulk: what models of services learn from, and what they tell risks by.

use super::past_features::{MOST_LEFT_OUT, choose};
use crate::Service;
use crate::intake::Declared;
use crate::intake::custom::messages;
use crate::store::customers::{self, StoredCustomer};
use futures::SinkExt;
use futures::channel::mpsc;
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Masked;
use quintile_domain::names::resource_id;
use quintile_proto::ingestion::{
    AttributeValues, ReadAttributeValuesRequest, ReadAttributeValuesResponse, SourceIdentity,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{AnswerStream, ApiError, Caller, convert};
use quintile_store::StoreError;
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::Status;

/// The most attributes: the features of a model, and its label.
const MAX_ATTRIBUTES: usize = 65;
/// The most customers that can be named.
const MAX_CUSTOMERS: usize = 1_000;
/// Customers of a response, each with up to 32 KiB of values.
const CUSTOMERS_AT_ONCE: usize = 500;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// The ids of attributes, in order.
    ids: BTreeSet<String>,
    /// The customers who are named. `None`: everybody.
    named: Option<Vec<CustomerId>>,
    /// One in so many customers is told of.
    one_in: usize,
}

impl Asked {
    fn check(request: &ReadAttributeValuesRequest) -> Result<Self, ApiError> {
        let ReadAttributeValuesRequest { attributes, customers, one_in, .. } = request;
        if !(1..=MAX_ATTRIBUTES).contains(&attributes.len()) {
            return Err(ApiError::invalid_field("attributes", format!("must have 1 to {MAX_ATTRIBUTES} attributes")));
        }
        let mut ids = BTreeSet::new();
        for (index, name) in attributes.iter().enumerate() {
            let wrong = |problem| ApiError::invalid_field(format!("attributes[{index}]"), problem);
            let id = name.strip_prefix("attributes/").filter(|id| resource_id(id).is_ok());
            if !ids.insert(id.ok_or_else(|| wrong("must be attributes/{id}"))?.to_owned()) {
                return Err(wrong("is there twice"));
            }
        }
        if !(0..=MOST_LEFT_OUT).contains(one_in) || (*one_in > 1 && !customers.is_empty()) {
            let problem = format!("must be within 0 and {MOST_LEFT_OUT}, and 0 where customers are named");
            return Err(ApiError::invalid_field("one_in", problem));
        }
        if customers.len() > MAX_CUSTOMERS {
            return Err(ApiError::invalid_field("customers", format!("must have at most {MAX_CUSTOMERS} customers")));
        }
        let mut named = BTreeSet::new();
        for (index, name) in customers.iter().enumerate() {
            named.insert(convert::customer(&format!("customers[{index}]"), name, None)?);
        }
        let named = (!named.is_empty()).then(|| named.into_iter().collect());
        Ok(Self { ids, named, one_in: (*one_in).max(1) as usize })
    }

    /// The next customers, and the number up to which that is all of them.
    fn choose(&self, behind: u32, last: u32) -> (Vec<CustomerId>, u32) {
        let Some(named) = &self.named else { return choose(self.one_in, (behind, last), CUSTOMERS_AT_ONCE) };
        let left = named.iter().filter(|customer| customer.0 > behind);
        let chosen: Vec<CustomerId> = left.take(CUSTOMERS_AT_ONCE).copied().collect();
        let to = if chosen.len() == CUSTOMERS_AT_ONCE { chosen.last().map(|customer| customer.0) } else { None };
        (chosen, to.unwrap_or(last))
    }
}

/// Begins to read.
pub async fn start(
    service: Service,
    caller: Caller,
    request: &ReadAttributeValuesRequest,
) -> Result<AnswerStream<ReadAttributeValuesResponse>, ApiError> {
    let asked = Asked::check(request)?;
    let tenant = caller.tenant().id;
    let query = format!("ReadAttributeValues {asked:?}");
    let behind = page::begin_behind(&service.runtime.sealer, tenant, &query, &request.cursor);
    let behind = behind.map_err(|_| ApiError::invalid_token("cursor"))?;
    let keys: Vec<&str> = asked.ids.iter().map(String::as_str).collect();
    let declared = service.declarations.for_keys(tenant, &keys).await.map_err(|error| store_error(&error))?;
    for (index, name) in request.attributes.iter().enumerate() {
        if !declared.knows(name.trim_start_matches("attributes/")) {
            let problem = format!("attributes[{index}] is not declared");
            return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem));
        }
    }
    let last = if let Some(last) = asked.named.as_ref().and_then(|named| named.last()) {
        last.0
    } else {
        // Not of records: whoever came in bulk has none yet.
        let last = customers::last(service.runtime.database.reader(), tenant).await;
        u32::try_from(last.map_err(|error| store_error(&error))?).unwrap_or(u32::MAX)
    };
    let (sender, receiver) = mpsc::channel(2);
    let mut failed = sender.clone();
    let mut reading = Reading { service, caller, asked, query, last, sender };
    tokio::spawn(async move {
        // A reader that went away is no failure; anything else is told and ends the stream.
        if let Err(Some(status)) = reading.send_all(u32::try_from(behind).unwrap_or(u32::MAX)).await {
            let _ = failed.send(Err(status)).await;
        }
    });
    Ok(Box::pin(receiver))
}

struct Reading {
    service: Service,
    caller: Caller,
    asked: Asked,
    /// The query that its cursors belong to.
    query: String,
    /// The highest number of a customer.
    last: u32,
    sender: mpsc::Sender<Result<Masked<ReadAttributeValuesResponse>, Status>>,
}

/// Why it ends early: with the status to tell, or with `None` when nobody listens any more.
type Stopped = Option<Status>;

impl Reading {
    async fn send_all(&mut self, mut behind: u32) -> Result<(), Stopped> {
        let first = behind;
        let mut looked_at = 0;
        while behind < self.last {
            let (chosen, to) = self.asked.choose(behind, self.last);
            let (found, declared) = self.read(&chosen).await.map_err(|error| Some(store_error(&error).into()))?;
            let tenant = self.caller.tenant().id;
            let sealer = &self.service.runtime.sealer;
            looked_at += chosen.len();
            let response = ReadAttributeValuesResponse {
                customers: found.iter().map(|customer| self.values(customer, &declared)).collect(),
                cursor: page::next_behind(sealer, tenant, &self.query, true, Some(i64::from(to))),
                ..self.progress(to.saturating_sub(first), looked_at)
            };
            self.send(response, &found).await?;
            behind = to;
        }
        let read = self.progress(self.last.saturating_sub(first), looked_at);
        self.send(ReadAttributeValuesResponse { complete: true, ..read }, &[]).await
    }

    /// How far it is: by numbers, of which one in so many is looked at, or by those who are named.
    fn progress(&self, passed: u32, looked_at: usize) -> ReadAttributeValuesResponse {
        let (customers_read, customer_count) = match &self.asked.named {
            Some(named) => (looked_at as i64, named.len() as i64),
            None => (i64::from(passed), i64::from(self.last)),
        };
        ReadAttributeValuesResponse { customers_read, customer_count, ..ReadAttributeValuesResponse::default() }
    }

    /// Those of customers who are told of, with what is declared now.
    async fn read(&self, customers: &[CustomerId]) -> Result<(Vec<StoredCustomer>, Arc<Declared>), StoreError> {
        let tenant = self.caller.tenant().id;
        let keys = self.service.keys.of(tenant).await?;
        let declared = self.service.declarations.of(tenant).await?;
        let mut found = customers::load(self.service.runtime.database.reader(), tenant, &keys, customers).await?;
        found.retain(|customer| customer.restricted_at.is_none() && self.caller.reaches(&customer.attributes));
        Ok((found, declared))
    }

    fn values(&self, customer: &StoredCustomer, declared: &Declared) -> AttributeValues {
        let custom = customer.person.custom.iter();
        let custom = custom.filter(|(key, value)| self.asked.ids.contains(*key) && declared.covers(key, value.class));
        let custom = custom.map(|(key, value)| (key.clone(), value.clone())).collect();
        let identity = customer.identities.first();
        let identity = identity.map(|it| SourceIdentity { source: it.source.clone(), id: Some(it.id.clone()) });
        AttributeValues { customer: customer.id.to_string(), identity, values: messages(&custom) }
    }

    async fn send(&mut self, response: ReadAttributeValuesResponse, found: &[StoredCustomer]) -> Result<(), Stopped> {
        let view = self.caller.view_of_reached(found.iter().map(|customer| (customer.id, &customer.attributes)));
        self.sender.send(Ok(view.mask(response))).await.map_err(|_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[&str], customers: &[&str], one_in: i32) -> ReadAttributeValuesRequest {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ReadAttributeValuesRequest {
            attributes: owned(attributes),
            customers: owned(customers),
            one_in,
            ..Default::default()
        }
    }

    #[test]
    fn what_is_asked_for_is_checked() {
        let many: Vec<String> = (0..66).map(|number| format!("attributes/a{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let table = [
            (request(&[], &[], 0), "attributes"),
            (request(&many, &[], 0), "attributes"),
            (request(&["attributes/a", "size"], &[], 0), "attributes[1]"),
            (request(&["attributes/a", "attributes/a"], &[], 0), "attributes[1]"),
            (request(&["attributes/a"], &["customers/1", "customers/x"], 0), "customers[1]"),
            (request(&["attributes/a"], &[], -1), "one_in"),
            (request(&["attributes/a"], &[], 1_000_001), "one_in"),
            (request(&["attributes/a"], &["customers/1"], 2), "one_in"),
        ];
        for (request, field) in table {
            assert_eq!(Asked::check(&request).unwrap_err().field(), Some(field));
        }
        assert!(Asked::check(&request(&many[..65], &[], 1_000_000)).is_ok());
    }

    #[test]
    fn those_who_are_named_come_once_in_order() {
        let asked =
            Asked::check(&request(&["attributes/a"], &["customers/9", "customers/2", "customers/9"], 0)).unwrap();
        assert_eq!(asked.choose(0, 9), (vec![CustomerId(2), CustomerId(9)], 9));
        assert_eq!(asked.choose(2, 9), (vec![CustomerId(9)], 9));
        let everybody = Asked::check(&request(&["attributes/a"], &[], 0)).unwrap();
        assert_eq!(everybody.choose(1, 3), (vec![CustomerId(2), CustomerId(3)], 3));
        assert_eq!(everybody.choose(0, 2_000).1, 500);
    }
}
