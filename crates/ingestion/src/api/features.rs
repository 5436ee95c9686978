//! Features.

use super::past_features;
use crate::defined_traits::DefinedTrait;
use crate::store::{merges, retention};
use crate::{FACTS, FEATURES, Service, feature_records};
use quintile_chain::progress::Watermark;
use quintile_chain::{feed, store_error};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::feature_service_server::FeatureService;
use quintile_proto::ingestion::{
    CustomerFeatures, GetFeaturesRequest, ReadPastFeaturesRequest, ReadPastFeaturesResponse, WatchFeaturesRequest,
};
use quintile_proto::types::{CustomerRecord, ErrorReason, WatchRecordsResponse};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::{StoreError, feed as facts_feed, records};
use tonic::{Request, Response, Status};

/// The part of a customer that is read here.
const PART: &str = "features";

/// The longest window and the one before it, in days.
pub const LONGEST_WINDOWS: i32 = 2 * 365;

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
    /// The record computed at an instant, of a customer or of the one that it was merged into.
    async fn computed(
        &self,
        tenant: &Tenant,
        customer: CustomerId,
        now: Instant,
    ) -> Result<Option<CustomerRecord>, StoreError> {
        let reader = self.service.runtime.database.reader();
        let traits = self.service.traits.of(tenant).await?;
        let mut computed = feature_records::compute(reader, tenant, &traits, &[customer], now).await?;
        if computed.is_empty() {
            let survivor = merges::survivor(reader, tenant.id, customer).await?;
            if survivor != customer {
                computed = feature_records::compute(reader, tenant, &traits, &[survivor], now).await?;
            }
        }
        Ok(computed.pop().map(|derived| derived.record))
    }
}

/// A past instant of a request's field, if facts are kept of so many days before it.
pub async fn past(
    service: &Service,
    tenant: &Tenant,
    (field, as_of): (&str, &prost_types::Timestamp),
    days: i32,
) -> Result<Instant, ApiError> {
    let past = convert::instant(Some(as_of)).map_err(|error| ApiError::invalid_time(field, error))?;
    let refused = |problem| ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem);
    if past > service.runtime.business.now() {
        return Err(refused(format!("{field} has not come yet")));
    }
    let kept = retention::get(service.runtime.database.reader(), tenant.id).await;
    let kept = kept.map_err(|error| store_error(&error))?;
    if !kept.horizons.reach(past, days, &tenant.zone) {
        return Err(refused(format!("facts of the windows before {field} are not kept any more")));
    }
    Ok(past)
}

#[tonic::async_trait]
impl FeatureService for FeatureReads {
    type ReadPastFeaturesStream = AnswerStream<ReadPastFeaturesResponse>;
    type WatchFeaturesStream = AnswerStream<WatchRecordsResponse>;

    async fn get_features(&self, request: Request<GetFeaturesRequest>) -> Answer<CustomerFeatures> {
        let caller = Caller::of(&request)?;
        let name = request.get_ref().name.clone();
        let customer = convert::customer("name", &name, Some(PART))?;
        let (runtime, tenant) = (&self.service.runtime, caller.tenant());
        let watermark = runtime.progress.of(tenant.id).watermark();
        let now = runtime.business.now();
        let past = match &request.get_ref().as_of {
            Some(as_of) => {
                let traits = self.service.traits.of(tenant).await.map_err(|error| store_error(&error))?;
                let days = traits.iter().map(DefinedTrait::window_days).fold(LONGEST_WINDOWS, i32::max);
                Some(past(&self.service, tenant, ("as_of", as_of), days).await?)
            }
            None => None,
        };
        let stored = match past {
            Some(_) => None,
            None => self.stored(tenant.id, customer, watermark, now).await.map_err(|error| store_error(&error))?,
        };
        let record = if let Some(record) = stored {
            record
        } else {
            let computed = self.computed(tenant, customer, past.unwrap_or(now)).await;
            computed.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)?
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

    async fn read_past_features(
        &self,
        request: Request<ReadPastFeaturesRequest>,
    ) -> Result<Response<Self::ReadPastFeaturesStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(past_features::start(self.service.clone(), caller, request.get_ref()).await?))
    }
}
