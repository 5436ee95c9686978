//! Rotation of the master key: begun here, carried out by every service, and watched here.

use super::{in_force_error, operator, store_error};
use crate::policy::in_force::InForce;
use quintile_domain::clock::MachineClock;
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_proto::access::master_key_service_server::MasterKeyService;
use quintile_proto::access::{
    KeyState, ListKeyStatesRequest, ListKeyStatesResponse, ReportKeyStateRequest, RewrapKeysRequest, RewrapKeysResponse,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, ApiError};
use std::sync::Arc;
use tonic::Request;

/// The services that keep keys.
const SERVICES: [&str; 5] = ["ingestion", "scoring", "lifecycle", "segmentation", "access-control"];
/// The most bytes of an instance's name.
const MAX_INSTANCE_BYTES: usize = 64;

/// Begins rotations, and knows how far they are.
pub struct MasterKeyApi {
    /// The policy, whose snapshot tells services of the generation.
    pub in_force: Arc<InForce>,
    /// Machine time.
    pub clock: MachineClock,
}

#[tonic::async_trait]
impl MasterKeyService for MasterKeyApi {
    async fn rewrap_keys(&self, request: Request<RewrapKeysRequest>) -> Answer<RewrapKeysResponse> {
        let caller = operator(&request)?;
        let generation = self.in_force.store().next_key_generation().await.map_err(store_error)?;
        self.in_force.refresh().await.map_err(in_force_error)?;
        caller.is_about(format!("keyGenerations/{generation}"));
        tracing::info!(generation, "keys are to be wrapped anew");
        Ok(caller.respond(RewrapKeysResponse { generation }))
    }

    async fn report_key_state(&self, request: Request<ReportKeyStateRequest>) -> Answer<KeyState> {
        let caller = operator(&request)?;
        // Whoever could report what is not so could keep keys from being rotated.
        if caller.suite_service().is_none() {
            return Err(ApiError::method_denied().into());
        }
        let state = checked(request.into_inner().state.unwrap_or_default())?;
        let kept = self.in_force.store().report_key_state(&state, self.clock.now()).await.map_err(store_error)?;
        if kept {
            Ok(caller.respond(state))
        } else {
            let problem = "there are too many instances already";
            Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem).into())
        }
    }

    async fn list_key_states(&self, request: Request<ListKeyStatesRequest>) -> Answer<ListKeyStatesResponse> {
        let caller = operator(&request)?;
        let store = self.in_force.store();
        let generation = store.key_generation().await.map_err(store_error)?;
        let states = store.key_states(self.clock.now()).await.map_err(store_error)?;
        Ok(caller.respond(ListKeyStatesResponse { states, generation }))
    }
}

fn checked(state: KeyState) -> Result<KeyState, ApiError> {
    if !SERVICES.contains(&state.service.as_str()) {
        return Err(ApiError::invalid_field("state.service", "is not a service that keeps keys"));
    }
    for (field, text, max) in
        [("state.instance", &state.instance, MAX_INSTANCE_BYTES), ("state.key_id", &state.key_id, MAX_NAME_BYTES)]
    {
        names::required_text(text, max).map_err(|error| ApiError::invalid_text(field, error))?;
    }
    for (field, number) in [
        ("state.generation", state.generation),
        ("state.rows_rewrapped", state.rows_rewrapped),
        ("state.rows_left", state.rows_left),
    ] {
        if number < 0 {
            return Err(ApiError::invalid_field(field, "must not be negative"));
        }
    }
    Ok(KeyState { report_time: None, silent: false, ..state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_with_a_wrong_part_is_refused_by_the_name_of_the_part() {
        let good = KeyState {
            service: "scoring".to_owned(),
            instance: "one".to_owned(),
            key_id: "id".to_owned(),
            ..KeyState::default()
        };
        assert!(checked(good.clone()).is_ok());
        let long = "x".repeat(MAX_INSTANCE_BYTES + 1);
        for (wrong, field) in [
            (KeyState { service: String::new(), ..good.clone() }, "state.service"),
            (KeyState { service: "billing".to_owned(), ..good.clone() }, "state.service"),
            (KeyState { instance: String::new(), ..good.clone() }, "state.instance"),
            (KeyState { instance: long, ..good.clone() }, "state.instance"),
            (KeyState { key_id: "\n".to_owned(), ..good.clone() }, "state.key_id"),
            (KeyState { generation: -1, ..good.clone() }, "state.generation"),
            (KeyState { rows_rewrapped: -1, ..good.clone() }, "state.rows_rewrapped"),
            (KeyState { rows_left: -1, ..good }, "state.rows_left"),
        ] {
            let error = checked(wrong).unwrap_err();
            assert_eq!((error.code(), error.field()), (tonic::Code::InvalidArgument, Some(field)));
        }
    }
}
