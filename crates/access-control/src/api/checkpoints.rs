//! Checkpoints: signed for services, and listed for those who verify.

use super::store_error;
use crate::SERVICE;
use crate::witness::Witness;
use quintile_audit::page;
use quintile_domain::names::{self, MAX_NAME_BYTES};
use quintile_proto::access::checkpoint_service_server::CheckpointService;
use quintile_proto::access::{ListCheckpointsRequest, ListCheckpointsResponse, SignCheckpointRequest};
use quintile_proto::audit::AuditCheckpoint;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::audit::{HASH_BYTES, Head};
use quintile_store::sealing::TokenSealer;
use tonic::Request;

/// Signs and lists checkpoints.
pub struct CheckpointApi {
    /// Who signs.
    pub witness: Witness,
    /// Seals page tokens.
    pub sealer: TokenSealer,
}

#[tonic::async_trait]
impl CheckpointService for CheckpointApi {
    async fn sign_checkpoint(&self, request: Request<SignCheckpointRequest>) -> Answer<AuditCheckpoint> {
        let caller = Caller::of(&request)?;
        let service = signed_service(&caller)?;
        let SignCheckpointRequest { seq, hash } = request.into_inner();
        if seq < 1 {
            return Err(ApiError::invalid_field("seq", "must be 1 or more").into());
        }
        if hash.len() != HASH_BYTES {
            return Err(ApiError::invalid_field("hash", "must have 32 bytes").into());
        }
        let signed = self.witness.sign(service, caller.tenant(), &Head { seq, hash }).await?;
        Ok(caller.respond(signed))
    }

    async fn list_checkpoints(&self, request: Request<ListCheckpointsRequest>) -> Answer<ListCheckpointsResponse> {
        let caller = Caller::of(&request)?;
        let request = request.get_ref();
        names::required_text(&request.service, MAX_NAME_BYTES)
            .map_err(|error| ApiError::invalid_text("service", error))?;
        let (tenant, sealer) = (caller.tenant(), &self.sealer);
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let query = format!("ListCheckpoints/{}", request.service);
        let after = page::begin_behind(sealer, tenant.id, &query, &request.page_token)?;
        let checkpoints =
            self.witness.in_force.store().signed(&request.service, tenant, after, size).await.map_err(store_error)?;
        let (full, last) = (checkpoints.len() as u64 == size, checkpoints.last().map(|checkpoint| checkpoint.seq));
        let next_page_token = page::next_behind(sealer, tenant.id, &query, full, last);
        Ok(caller.respond(ListCheckpointsResponse { checkpoints, next_page_token }))
    }
}

/// The service whose log the caller may have signed: its own. Access-control signs its own log without a call.
fn signed_service(caller: &Caller) -> Result<&str, ApiError> {
    caller.suite_service().filter(|service| *service != SERVICE).ok_or_else(ApiError::method_denied)
}
