//! Features.

use crate::store::merges;
use crate::{FACTS, FEATURES, Service, worker};
use quintile_chain::progress::Watermark;
use quintile_chain::{feed, store_error};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::feature_service_server::FeatureService;
use quintile_proto::ingestion::{CustomerFeatures, GetFeaturesRequest, WatchFeaturesRequest};
use quintile_proto::types::{CustomerRecord, WatchRecordsResponse};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::{StoreError, feed as facts_feed, records};
use tonic::{Request, Response, Status};

/// The part of a customer that is read here.
const PART: &str = "features";

/// The handlers.
pub struct FeatureReads {
    pub service: Service,
}

impl FeatureReads {
    /// The stored record, if it is as true as one computed now: no acknowledged facts wait, and time has passed no boundary.
    async fn stored(
        &self,
        tenant: TenantId,
        customer: CustomerId,
        watermark: Watermark,
        now: Instant,
    ) -> Result<Option<CustomerRecord>, StoreError> {
        let database = &self.service.runtime.database;
        if facts_feed::head(database.reader(), tenant, FACTS).await? > watermark.facts_position {
            return Ok(None);
        }
        let row = records::get(database, tenant, customer).await?;
        let row = row.filter(|row| !row.body.is_empty() && row.next_change.is_none_or(|instant| instant > now));
        row.as_ref().map(feed::decode).transpose()
    }
}

impl FeatureReads {
    /// The record computed now, of a customer or of the one that it was merged into.
    async fn computed(
        &self,
        tenant: &Tenant,
        customer: CustomerId,
        now: Instant,
    ) -> Result<Option<CustomerRecord>, StoreError> {
        let reader = self.service.runtime.database.reader();
        let traits = self.service.traits.of(tenant).await?;
        let mut computed = worker::compute(reader, tenant, &traits, &[customer], now).await?;
        if computed.is_empty() {
            let survivor = merges::survivor(reader, tenant.id, customer).await?;
            if survivor != customer {
                computed = worker::compute(reader, tenant, &traits, &[survivor], now).await?;
            }
        }
        Ok(computed.pop().map(|derived| derived.record))
    }
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
        let now = runtime.business.now();
        let stored = self.stored(tenant.id, customer, watermark, now).await.map_err(|error| store_error(&error))?;
        let record = if let Some(record) = stored {
            record
        } else {
            let computed = self.computed(tenant, customer, now).await.map_err(|error| store_error(&error))?;
            computed.ok_or_else(ApiError::not_found)?
        };
        let customer = CustomerId::try_from(record.customer_id).map_err(|_| ApiError::not_found())?;
        let name = customer.part_name(PART);
        let view = caller.view_of(customer, &record.attributes.unwrap_or_default())?;
        let watermark = Some(watermark.to_message());
        Ok(view.respond(CustomerFeatures { name, features: record.features, watermark }))
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
