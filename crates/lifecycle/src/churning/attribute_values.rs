//! Reading the values of a label's attributes from ingestion: of everybody, to learn, and of some, to tell their risks.

use super::gathering::{Attempts, Failed, next, one_in};
use super::labels::{Label, declared};
use super::{Churning, refused};
use crate::worker::MAX_MESSAGE_BYTES;
use quintile_chain::listening::Stopped;
use quintile_domain::ids::CustomerId;
use quintile_proto::ingestion::attribute_service_client::AttributeServiceClient;
use quintile_proto::ingestion::{AttributeValues, ReadAttributeValuesRequest, ReadAttributeValuesResponse};
use quintile_proto::lifecycle::ChurnProgress;
use quintile_rpc::ApiError;
use quintile_rpc::client::upstream_error;
use quintile_rpc::policy::Tenant;
use std::collections::HashMap;
use tonic::{Code, Status, Streaming};

/// Reads everybody, or one in so many where there are many: in how many is returned. `take` gets each customer once; `tell` hears how far it is, and says
/// whether to go on.
pub async fn read_everybody(
    churning: &Churning,
    tenant: &Tenant,
    label: &Label,
    take: impl FnMut(&AttributeValues) -> Result<(), ApiError>,
    tell: impl FnMut(ChurnProgress) -> bool,
) -> Result<i32, Stopped> {
    let mut reading = Reading { tenant, label, take, tell, one_in: 1, customers_read: 0 };
    let (mut cursor, mut attempts) = (String::new(), Attempts::default());
    loop {
        let before = cursor.clone();
        match reading.stream(churning, &mut cursor).await {
            Ok(()) => return Ok(reading.one_in),
            Err(Failed::Stopped(stopped)) => return Err(stopped),
            Err(Failed::Upstream(status)) if status.code() == Code::FailedPrecondition => {
                return Err(Some(undeclared()));
            }
            // A token that ran out, or a replica that went away: another stream goes on behind what was read.
            Err(Failed::Upstream(status)) => attempts.again(cursor != before, &status).await?,
        }
    }
}

/// Reads some customers, at most 1,000. Whoever is not there any more, or whose processing is restricted, is left out.
pub async fn read_some(
    churning: &Churning,
    tenant: &Tenant,
    label: &Label,
    customers: &[CustomerId],
) -> Result<HashMap<CustomerId, AttributeValues>, ApiError> {
    let mut found = HashMap::with_capacity(customers.len());
    // Nobody named is everybody to ingestion.
    if customers.is_empty() {
        return Ok(found);
    }
    let told = |status: Status| match status.code() {
        Code::FailedPrecondition => undeclared(),
        _ => upstream_error(&status),
    };
    let request = ReadAttributeValuesRequest {
        attributes: label.attributes(),
        customers: customers.iter().map(CustomerId::to_string).collect(),
        ..ReadAttributeValuesRequest::default()
    };
    label.check_declared(&declared(churning, tenant).await.map_err(told)?)?;
    let mut responses = open(churning, tenant, request).await.map_err(told)?;
    while let Some(response) = next(&mut responses).await.map_err(told)? {
        let each = response.customers.into_iter();
        found.extend(each.filter_map(|values| Some((CustomerId::from_name(&values.customer, None)?, values))));
        if response.complete {
            return Ok(found);
        }
    }
    Err(ApiError::unavailable("the stream of values ended early"))
}

/// What is told where that befalls between the look at what is declared and the reading.
fn undeclared() -> ApiError {
    refused("an attribute of the model is not declared any more: train a model anew")
}

async fn open(
    churning: &Churning,
    tenant: &Tenant,
    request: ReadAttributeValuesRequest,
) -> Result<Streaming<ReadAttributeValuesResponse>, Status> {
    let request = churning.credentials.request(&tenant.name, request).await?;
    let client = AttributeServiceClient::new(churning.ingestion.clone());
    let mut client = client.max_decoding_message_size(MAX_MESSAGE_BYTES);
    Ok(client.read_attribute_values(request).await?.into_inner())
}

struct Reading<'a, K, T> {
    tenant: &'a Tenant,
    label: &'a Label,
    take: K,
    tell: T,
    /// One in so many customers is read.
    one_in: i32,
    customers_read: i64,
}

impl<K: FnMut(&AttributeValues) -> Result<(), ApiError>, T: FnMut(ChurnProgress) -> bool> Reading<'_, K, T> {
    async fn stream(&mut self, churning: &Churning, cursor: &mut String) -> Result<(), Failed> {
        let request = ReadAttributeValuesRequest {
            attributes: self.label.attributes(),
            customers: Vec::new(),
            one_in: self.one_in,
            cursor: cursor.clone(),
        };
        let declared = declared(churning, self.tenant).await.map_err(Failed::Upstream)?;
        self.label.check_declared(&declared).map_err(|error| Failed::Stopped(Some(error)))?;
        let mut responses = open(churning, self.tenant, request).await.map_err(Failed::Upstream)?;
        let before = self.customers_read;
        while let Some(response) = next(&mut responses).await.map_err(Failed::Upstream)? {
            let one_in = one_in(response.customer_count);
            if cursor.is_empty() && one_in > self.one_in {
                // It is ingestion who knows how many there are.
                self.one_in = one_in;
                return Err(Failed::Upstream(Status::aborted("fewer customers are enough")));
            }
            for customer in &response.customers {
                (self.take)(customer).map_err(|error| Failed::Stopped(Some(error)))?;
            }
            self.customers_read = before + response.customers_read;
            let progress = ChurnProgress { customers_read: self.customers_read, customers: response.customer_count };
            if !(self.tell)(progress) {
                return Err(Failed::Stopped(None));
            }
            if response.complete {
                return Ok(());
            }
            *cursor = response.cursor;
        }
        Err(Failed::Upstream(Status::unavailable("the stream of values ended early")))
    }
}
