//! Signing keys: listed and rotated.

use super::{full, in_force_error, operator, store_error};
use crate::policy::in_force::InForce;
use crate::rotation::{self, Phase, Scheduled};
use crate::store::signing_keys::MAX_KEYS;
use quintile_domain::clock::MachineClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_proto::access::signing_key_service_server::SigningKeyService;
use quintile_proto::access::{
    ListSigningKeysRequest, ListSigningKeysResponse, RotateSigningKeyRequest, SigningKey, SigningKeyState,
};
use quintile_rpc::{Answer, ApiError, convert};
use std::sync::Arc;
use tonic::Request;

/// Lists and rotates signing keys.
pub struct SigningKeyApi {
    /// The policy, which publishes the keys.
    pub in_force: Arc<InForce>,
    /// Machine time.
    pub clock: MachineClock,
    /// Where keys come from.
    pub entropy: Entropy,
}

#[tonic::async_trait]
impl SigningKeyService for SigningKeyApi {
    async fn list_signing_keys(&self, request: Request<ListSigningKeysRequest>) -> Answer<ListSigningKeysResponse> {
        let caller = operator(&request)?;
        let now = self.clock.now();
        let keys = self.in_force.store().key_times().await.map_err(store_error)?;
        let verifying = keys.iter().filter(|scheduled| scheduled.phase(now) != Phase::Gone);
        let signing_keys = verifying.map(|scheduled| message(scheduled, now)).collect();
        Ok(caller.respond(ListSigningKeysResponse { signing_keys }))
    }

    async fn rotate_signing_key(&self, request: Request<RotateSigningKeyRequest>) -> Answer<SigningKey> {
        let caller = operator(&request)?;
        let now = self.clock.now();
        let sign_from = rotation::sign_from(now, request.get_ref().publish_seconds)
            .map_err(|error| ApiError::invalid_field("publish_seconds", error.to_string()))?;
        let made = self.in_force.store().rotate(&self.entropy, now, sign_from).await.map_err(store_error)?;
        let made = made.ok_or_else(|| full("signing keys", MAX_KEYS as u64))?;
        self.in_force.refresh().await.map_err(in_force_error)?;
        tracing::info!(kid = made.key.kid, "signing key published");
        let message = message(&made, now);
        caller.is_about(message.name.clone());
        Ok(caller.respond(message))
    }
}

fn message(scheduled: &Scheduled, now: Instant) -> SigningKey {
    let state = match scheduled.phase(now) {
        Phase::Published => SigningKeyState::Published,
        Phase::Signing => SigningKeyState::Signing,
        Phase::Retired | Phase::Gone => SigningKeyState::Retired,
    };
    SigningKey {
        name: format!("signingKeys/{}", scheduled.key.kid),
        state: state.into(),
        publish_time: Some(convert::timestamp(scheduled.key.published)),
        sign_time: Some(convert::timestamp(scheduled.key.sign_from)),
        retire_time: scheduled.retired.map(convert::timestamp),
        expire_time: scheduled.expires().map(convert::timestamp),
    }
}
