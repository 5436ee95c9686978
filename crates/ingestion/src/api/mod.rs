//! The RPCs of ingestion: one file per resource.

mod clock;
mod customers;
mod features;
mod ingest;
pub mod lookups;

use crate::Service;
use quintile_proto::ingestion::clock_service_server::{self, ClockServiceServer};
use quintile_proto::ingestion::customer_service_server::{self, CustomerServiceServer};
use quintile_proto::ingestion::feature_service_server::{self, FeatureServiceServer};
use quintile_proto::ingestion::ingest_service_server::{self, IngestServiceServer};
use tonic::service::Routes;

/// The largest message that is read: a batch of the largest size and its frame.
const MAX_MESSAGE_BYTES: usize = crate::intake::MAX_BATCH_BYTES + 64 * 1024;

/// The services of this server.
pub fn routes(service: &Service) -> Routes {
    let ingest = IngestServiceServer::new(ingest::Ingest::new(service.clone()));
    Routes::default()
        .add_service(CustomerServiceServer::new(customers::Customers { service: service.clone() }))
        .add_service(ingest.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(FeatureServiceServer::new(features::FeatureReads { service: service.clone() }))
        .add_service(ClockServiceServer::new(clock::Clock { service: service.clone() }))
}

/// Their names, for health.
pub fn names() -> Vec<&'static str> {
    vec![
        customer_service_server::SERVICE_NAME,
        ingest_service_server::SERVICE_NAME,
        feature_service_server::SERVICE_NAME,
        clock_service_server::SERVICE_NAME,
    ]
}
