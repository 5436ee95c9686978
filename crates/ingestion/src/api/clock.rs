//! Business time.

use crate::Service;
use quintile_proto::ingestion::clock_service_server::ClockService;
use quintile_proto::ingestion::{AsOf, GetAsOfRequest, SetAsOfRequest};
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::DEFAULT_TENANT;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use tonic::Request;

/// How far frozen time may be moved at once: 10 years.
const MAX_STEP_MICROS: i64 = 3_653 * 86_400_000_000;

/// The handlers.
pub struct Clock {
    pub service: Service,
}

impl Clock {
    fn as_of(&self) -> AsOf {
        let business = &self.service.runtime.business;
        AsOf { as_of: Some(convert::timestamp(business.now())), frozen: business.is_frozen() }
    }
}

#[tonic::async_trait]
impl ClockService for Clock {
    async fn get_as_of(&self, request: Request<GetAsOfRequest>) -> Answer<AsOf> {
        Ok(Caller::of(&request)?.respond(self.as_of()))
    }

    async fn set_as_of(&self, request: Request<SetAsOfRequest>) -> Answer<AsOf> {
        let caller = Caller::of(&request)?;
        // All tenants share business time: one of them does not move it for the others.
        if caller.tenant().name != DEFAULT_TENANT {
            return Err(ApiError::method_denied().into());
        }
        let business = &self.service.runtime.business;
        let to = convert::instant(request.get_ref().as_of.as_ref())
            .map_err(|error| ApiError::invalid_time("as_of", error))?;
        let refused = |message: &str| ApiError::failed_precondition(ErrorReason::FailedPrecondition, message);
        if !business.is_frozen() {
            return Err(refused("business time is live: only a server started with --as-of can move it").into());
        }
        if to > business.now().plus_micros(MAX_STEP_MICROS) {
            return Err(ApiError::invalid("as_of", ErrorReason::InvalidTime, "must be at most 10 years ahead").into());
        }
        if !business.advance_to(to) {
            return Err(refused("business time moves forward only").into());
        }
        tracing::warn!(as_of = %to, "business time was moved");
        self.service.wake.notify_waiters();
        self.service.wake.notify_one();
        Ok(caller.respond(self.as_of()))
    }
}
