//! The RPCs of ingestion: one file per resource.

mod attribute_values;
mod attributes;
mod audiences;
mod clock;
mod consents;
mod customers;
mod erasures;
mod export;
mod facts;
mod features;
mod identities;
mod ingest;
mod opening_balance;
mod past_features;
mod privacy;
mod rejects;
mod responses;
mod retention;
mod rows;
mod traits;
mod waiting;
mod walks;

use crate::Service;
use crate::intake::Terms;
use quintile_chain::operations::LongWork;
use quintile_domain::masking::Sensitivity;
use quintile_proto::ingestion::attribute_service_server::{self, AttributeServiceServer};
use quintile_proto::ingestion::clock_service_server::{self, ClockServiceServer};
use quintile_proto::ingestion::customer_service_server::{self, CustomerServiceServer};
use quintile_proto::ingestion::export_service_server::{self, ExportServiceServer};
use quintile_proto::ingestion::fact_service_server::{self, FactServiceServer};
use quintile_proto::ingestion::feature_service_server::{self, FeatureServiceServer};
use quintile_proto::ingestion::identity_service_server::{self, IdentityServiceServer};
use quintile_proto::ingestion::ingest_service_server::{self, IngestServiceServer};
use quintile_proto::ingestion::privacy_service_server::{self, PrivacyServiceServer};
use quintile_proto::ingestion::response_service_server::{self, ResponseServiceServer};
use quintile_proto::ingestion::retention_service_server::{self, RetentionServiceServer};
use quintile_proto::ingestion::trait_service_server::{self, TraitServiceServer};
use quintile_proto::longrunning::operations_server::{self, OperationsServer};
use quintile_rpc::Caller;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use tonic::service::Routes;
use walks::Walks;

/// Whether a caller writes what it does not read in clear itself, and must not learn by writing whether it was there.
fn is_blind(caller: &Caller) -> bool {
    !Sensitivity::ALL.into_iter().all(|class| caller.reads_in_clear(class))
}

/// The largest message that is read: a batch of the largest size and its frame.
const MAX_MESSAGE_BYTES: usize = crate::intake::MAX_BATCH_BYTES + 64 * 1024;

impl Service {
    /// What the rows of a tenant with these custom attributes are checked against.
    async fn terms(&self, tenant: &Tenant, keys: &[&str]) -> Result<Terms, StoreError> {
        let declared = self.declarations.for_keys(tenant.id, keys).await?;
        Ok(Terms { currency: tenant.currency, now: self.runtime.business.now(), declared })
    }
}

/// The services of this server.
pub fn routes(service: &Service) -> Routes {
    let ingest = IngestServiceServer::new(ingest::Ingest::new(service.clone()));
    Routes::default()
        .add_service(AttributeServiceServer::new(attributes::Attributes { service: service.clone() }))
        .add_service(CustomerServiceServer::new(customers::Customers { service: service.clone() }))
        .add_service(IdentityServiceServer::new(identities::Identities { service: service.clone() }))
        .add_service(ingest.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(FactServiceServer::new(facts::Facts { service: service.clone() }))
        .add_service(ExportServiceServer::new(rows::Rows { service: service.clone() }))
        .add_service(FeatureServiceServer::new(features::FeatureReads { service: service.clone() }))
        .add_service(PrivacyServiceServer::new(privacy::Privacy { service: service.clone() }))
        .add_service(ResponseServiceServer::new(responses::Responses {
            service: service.clone(),
            walks: Walks::default(),
        }))
        .add_service(RetentionServiceServer::new(retention::Retentions { service: service.clone() }))
        .add_service(TraitServiceServer::new(traits::Traits { service: service.clone() }))
        .add_service(OperationsServer::new(LongWork { runtime: service.runtime.clone() }))
        .add_service(ClockServiceServer::new(clock::Clock { service: service.clone() }))
}

/// Their names, for health.
pub fn names() -> Vec<&'static str> {
    vec![
        attribute_service_server::SERVICE_NAME,
        customer_service_server::SERVICE_NAME,
        identity_service_server::SERVICE_NAME,
        ingest_service_server::SERVICE_NAME,
        fact_service_server::SERVICE_NAME,
        export_service_server::SERVICE_NAME,
        feature_service_server::SERVICE_NAME,
        response_service_server::SERVICE_NAME,
        retention_service_server::SERVICE_NAME,
        trait_service_server::SERVICE_NAME,
        operations_server::SERVICE_NAME,
        clock_service_server::SERVICE_NAME,
        privacy_service_server::SERVICE_NAME,
    ]
}
