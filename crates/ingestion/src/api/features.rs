//! Features.

use crate::{FEATURES, Service, worker};
use quintile_chain::{feed, store_error};
use quintile_proto::ingestion::feature_service_server::FeatureService;
use quintile_proto::ingestion::{CustomerFeatures, GetFeaturesRequest, WatchFeaturesRequest};
use quintile_proto::types::WatchRecordsResponse;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::records;
use tonic::{Request, Response, Status};

/// The part of a customer that is read here.
const PART: &str = "features";

/// The handlers.
pub struct FeatureReads {
    pub service: Service,
}

#[tonic::async_trait]
impl FeatureService for FeatureReads {
    type WatchFeaturesStream = AnswerStream<WatchRecordsResponse>;

    async fn get_features(&self, request: Request<GetFeaturesRequest>) -> Answer<CustomerFeatures> {
        let caller = Caller::of(&request)?;
        let name = request.get_ref().name.clone();
        let customer = convert::customer("name", &name, Some(PART))?;
        let (runtime, tenant) = (&self.service.runtime, caller.tenant());
        let watermark = runtime.progress.of(tenant.id).watermark();
        let row = records::get(&runtime.database, tenant.id, customer).await.map_err(|error| store_error(&error))?;
        let row = row.filter(|row| !row.body.is_empty()).ok_or_else(ApiError::not_found)?;
        let now = runtime.business.now();
        let record = if row.next_change.is_some_and(|instant| instant <= now) {
            // Time has passed a boundary that the worker has not come to yet.
            let computed = worker::compute(runtime.database.reader(), tenant, &[customer], now).await;
            let computed = computed.map_err(|error| store_error(&error))?;
            computed.into_iter().next().ok_or_else(ApiError::not_found)?.record
        } else {
            feed::decode(&row).map_err(|error| store_error(&error))?
        };
        let watermark = Some(watermark.to_message());
        Ok(caller.respond(CustomerFeatures { name, features: record.features, watermark }))
    }

    async fn watch_features(
        &self,
        request: Request<WatchFeaturesRequest>,
    ) -> Result<Response<Self::WatchFeaturesStream>, Status> {
        let caller = Caller::of(&request)?;
        let cursor = &request.get_ref().cursor;
        Ok(Response::new(feed::watch(self.service.runtime.clone(), FEATURES, caller, cursor).await?))
    }
}
