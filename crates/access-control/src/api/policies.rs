//! The policy in force, and its changes.

use crate::policy::in_force::InForce;
use quintile_proto::access::policy_service_server::PolicyService;
use quintile_proto::access::{GetPolicyRequest, PolicySnapshot, WatchPolicyRequest};
use quintile_rpc::{Answer, AnswerStream, Caller};
use std::sync::Arc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

/// Answers with the policy.
pub struct PolicyApi {
    /// The policy.
    pub in_force: Arc<InForce>,
}

#[tonic::async_trait]
impl PolicyService for PolicyApi {
    type WatchPolicyStream = AnswerStream<PolicySnapshot>;

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Answer<PolicySnapshot> {
        let caller = Caller::of(&request)?;
        Ok(caller.respond(self.in_force.snapshot().as_ref().clone()))
    }

    async fn watch_policy(
        &self,
        request: Request<WatchPolicyRequest>,
    ) -> Result<Response<Self::WatchPolicyStream>, Status> {
        let caller = Caller::of(&request)?;
        // A reader that is slow misses versions and never the last one: each is whole.
        let snapshots = WatchStream::new(self.in_force.watch())
            .map(move |snapshot: Arc<PolicySnapshot>| Ok(caller.mask(snapshot.as_ref().clone())));
        Ok(Response::new(Box::pin(snapshots)))
    }
}
