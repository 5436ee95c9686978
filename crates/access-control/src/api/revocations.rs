//! Revocations: made and listed.

use super::{in_force_error, store_error};
use crate::policy::in_force::InForce;
use quintile_domain::clock::MachineClock;
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_domain::time::Instant;
use quintile_proto::access::revocation::Target;
use quintile_proto::access::revocation_service_server::RevocationService;
use quintile_proto::access::{CreateRevocationRequest, ListRevocationsRequest, ListRevocationsResponse, Revocation};
use quintile_proto::types::ErrorReason;
use quintile_rpc::token::SUITE;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::sealing::TokenSealer;
use std::sync::Arc;
use tonic::Request;

/// What precedes an external subject's own name: the id of its issuer, and a colon.
const MAX_ISSUER_PREFIX_BYTES: usize = 64;
/// What page tokens are sealed for.
const LIST: &[u8] = b"ListRevocations";

/// Makes and lists revocations.
pub struct RevocationApi {
    /// The policy, which holds the revocations.
    pub in_force: Arc<InForce>,
    /// Machine time.
    pub clock: MachineClock,
    /// Seals page tokens.
    pub sealer: TokenSealer,
}

#[tonic::async_trait]
impl RevocationService for RevocationApi {
    async fn create_revocation(&self, request: Request<CreateRevocationRequest>) -> Answer<Revocation> {
        let caller = Caller::of(&request)?;
        let now = self.clock.now();
        let target = request.into_inner().revocation.and_then(|revocation| revocation.target);
        let target = target.ok_or_else(|| ApiError::invalid_field("revocation.target", "is required"))?;
        check(&target, now).map_err(|error| error.within("revocation"))?;
        let tenant = caller.tenant();
        let made = self.in_force.store().create_revocation(tenant.id, &tenant.name, &target, now).await;
        let made = made.map_err(store_error)?.ok_or_else(full)?;
        self.in_force.refresh().await.map_err(in_force_error)?;
        caller.is_about(made.name.as_str());
        tracing::info!(name = made.name, tenant = tenant.name, "tokens revoked");
        Ok(caller.respond(made))
    }

    async fn list_revocations(&self, request: Request<ListRevocationsRequest>) -> Answer<ListRevocationsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant();
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)?;
        let before = self.begin_before(&caller, &request.get_ref().page_token)?;
        // One more, to know whether there is a next page.
        let listed =
            self.in_force.store().revocations(tenant.id, &tenant.name, before, size + 1, self.clock.now()).await;
        let mut revocations = listed.map_err(store_error)?;
        let more = revocations.len() as u64 > size;
        revocations.truncate(size as usize);
        let last = revocations.last().and_then(|revocation| revocation.name.strip_prefix("revocations/"));
        let next_page_token = match last {
            Some(number) if more => self.sealer.seal(tenant.id, LIST, number.as_bytes()),
            _ => String::new(),
        };
        Ok(caller.respond(ListRevocationsResponse { revocations, next_page_token }))
    }
}

impl RevocationApi {
    fn begin_before(&self, caller: &Caller, token: &str) -> Result<i64, ApiError> {
        if token.is_empty() {
            return Ok(i64::MAX);
        }
        let opened = self.sealer.open(caller.tenant().id, LIST, token).ok();
        let number = opened.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
        number.ok_or_else(|| ApiError::invalid_token("page_token"))
    }
}

/// The tenant's are too many, or all tenants' together.
fn full() -> ApiError {
    let problem = "there are as many revocations already as there may be";
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}

fn check(target: &Target, now: Instant) -> Result<(), ApiError> {
    let text = |field: &str, text: &str, most: usize| {
        names::required_text(text, most).map_err(|error| ApiError::invalid_text(field, error))
    };
    match target {
        Target::TokenId(id) => text("token_id", id, MAX_NAME_BYTES),
        Target::Subject(subject) if subject.starts_with(SUITE) => {
            Err(ApiError::invalid_field("subject", "is a service of the suite: change the bootstrap secret instead"))
        }
        Target::Subject(subject) => text("subject", subject, MAX_ISSUER_PREFIX_BYTES + MAX_NAME_BYTES),
        Target::IssuedBefore(timestamp) => {
            let instant =
                convert::instant(Some(timestamp)).map_err(|error| ApiError::invalid_time("issued_before", error))?;
            // It would revoke every token that is issued until then: nobody could call, nor take it back.
            if instant > now {
                return Err(ApiError::invalid_field("issued_before", "must not be in the future"));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_is_said_in_full_and_not_of_the_future() {
        let now = Instant::from_micros(1_709_208_000_000_000);
        let before = |micros: i64| Target::IssuedBefore(convert::timestamp(now.plus_micros(micros)));
        let (id, subject) =
            (|text: &str| Target::TokenId(text.to_owned()), |text: &str| Target::Subject(text.to_owned()));
        for (target, field) in [
            (id("a"), None),
            (id(""), Some("token_id")),
            (id("a\0"), Some("token_id")),
            (id(&"a".repeat(257)), Some("token_id")),
            (subject("okta:ann"), None),
            (subject(" "), Some("subject")),
            (subject(&"a".repeat(320)), None),
            (subject(&"a".repeat(321)), Some("subject")),
            (before(0), None),
            (before(1), Some("issued_before")),
            (Target::IssuedBefore(prost_types::Timestamp { seconds: -1, nanos: 0 }), Some("issued_before")),
        ] {
            let error = check(&target, now).err();
            assert_eq!(error.as_ref().and_then(ApiError::field), field, "{target:?}");
        }
    }
}
