//! The link of the chain that adds scores: it follows ingestion's features and scores every customer that changes, and every
//! customer that time alone changes.

use crate::rfm::{RfmInput, RfmModel};
use crate::store::models::Models;
use quintile_chain::context::{ServiceContext, WorkError};
use quintile_chain::derive::Link;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::WatchFeaturesRequest;
use quintile_proto::ingestion::feature_service_client::FeatureServiceClient;
use quintile_proto::types::{CustomerRecord, ScoreValues, WatchRecordsResponse};
use quintile_rpc::client::Credentials;
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// The name of the model that ships.
pub const RFM: &str = "rfm";
/// The largest message of the feed.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Scores records.
pub struct ScoreLink {
    models: Models,
    credentials: Credentials,
    ingestion: Channel,
}

impl ScoreLink {
    /// A link that scores by the published models and follows ingestion.
    pub fn new(models: Models, context: &ServiceContext) -> Self {
        Self { models, credentials: context.credentials.clone(), ingestion: context.peers.ingestion.clone() }
    }

    /// Makes sure that a tenant has a published model before its first record is scored.
    pub async fn prepare(&self, tenant: &Tenant) -> Result<(), WorkError> {
        self.models.published(tenant).await?;
        Ok(())
    }

    /// The model that scores a tenant's records.
    pub fn model(&self, tenant: &Tenant) -> RfmModel {
        self.models.in_force(tenant)
    }
}

/// What the RFM model asks of a record.
pub fn rfm_input(tenant: &Tenant, record: &CustomerRecord) -> RfmInput {
    let Some(features) = &record.features else {
        return RfmInput::default();
    };
    RfmInput {
        last_order: convert::sent_instant(features.last_order_time.as_ref()),
        orders: features.orders,
        revenue_minor: convert::sent_minor(features.revenue.as_ref(), tenant.currency).unwrap_or_default(),
    }
}

/// The name of a model's version, as records carry it.
pub fn version_name(model: &RfmModel) -> String {
    format!("scoreModels/{RFM}/versions/{}", model.version())
}

impl Link for ScoreLink {
    const FEED: &'static str = "scores";

    fn derive(&self, tenant: &Tenant, record: &mut CustomerRecord, as_of: Instant) -> Option<Instant> {
        let model = self.model(tenant);
        let input = rfm_input(tenant, record);
        let score = model.score(&input, as_of, &tenant.zone);
        let next_change = model.next_change(&input, as_of, &tenant.zone);
        record.scores = Some(ScoreValues {
            model_version: version_name(&model),
            as_of: Some(convert::timestamp(as_of)),
            recency: score.map_or(0, |score| i32::from(score.recency)),
            frequency: score.map_or(0, |score| i32::from(score.frequency)),
            monetary: score.map_or(0, |score| i32::from(score.monetary)),
            next_change_time: next_change.map(convert::timestamp),
        });
        next_change
    }

    async fn upstream(&self, tenant: &Tenant, cursor: String) -> Result<Streaming<WatchRecordsResponse>, Status> {
        let request = self.credentials.request(&tenant.name, WatchFeaturesRequest { cursor }).await?;
        let mut client = FeatureServiceClient::new(self.ingestion.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.watch_features(request).await?.into_inner())
    }
}
