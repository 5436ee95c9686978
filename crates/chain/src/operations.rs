//! `google.longrunning.Operations`: long work is asked about, waited for, cancelled and forgotten. Doing it is the service's worker's.

use crate::context::Runtime;
use crate::{page, store_error};
use prost::Message;
use prost_types::Any;
use quintile_domain::names::number;
use quintile_proto::google_rpc::Status as OperationStatus;
use quintile_proto::longrunning::operation::Result as Outcome;
use quintile_proto::longrunning::operations_server::Operations;
use quintile_proto::longrunning::{
    CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest, ListOperationsResponse,
    Operation, WaitOperationRequest,
};
use quintile_proto::types::{ErrorReason, OperationMetadata};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::operations::{self, Operation as Stored, State};
use std::time::Duration;
use tokio::time::{Instant as MachineInstant, sleep};
use tonic::{Code, Request};

/// The query that page tokens of operations belong to.
const LIST_OPERATIONS: &str = "ListOperations";
/// The longest that one call waits.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// How often a waiting call looks.
const LOOK: Duration = Duration::from_millis(100);

/// The handlers, over the operations of one service.
pub struct LongWork {
    /// What the service runs on.
    pub runtime: Runtime,
}

impl LongWork {
    async fn read(&self, caller: &Caller, name: &str) -> Result<Stored, ApiError> {
        let id = id_in(name)?;
        let found = operations::get(self.runtime.database.reader(), caller.tenant().id, id).await;
        found.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)
    }
}

#[tonic::async_trait]
impl Operations for LongWork {
    async fn list_operations(&self, request: Request<ListOperationsRequest>) -> Answer<ListOperationsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().id;
        let asked = request.get_ref();
        if !matches!(asked.name.as_str(), "" | "operations") {
            return Err(ApiError::invalid_field("name", "must be operations, or empty").into());
        }
        if !asked.filter.is_empty() {
            return Err(ApiError::invalid_field("filter", "is not supported").into());
        }
        if asked.return_partial_success {
            return Err(ApiError::invalid_field("return_partial_success", "is not supported").into());
        }
        let size = convert::page_size(asked.page_size, 100, 1_000)?;
        let sealer = &self.runtime.sealer;
        let decode = |id: Vec<u8>| Some(i64::from_be_bytes(id.try_into().ok()?));
        let before = page::begin(sealer, tenant, LIST_OPERATIONS, &asked.page_token, i64::MAX, decode)?;
        let listed = operations::page(self.runtime.database.reader(), tenant, before, size).await;
        let listed = listed.map_err(|error| store_error(&error))?;
        let full = listed.len() as u64 == size;
        let last = listed.last().map(|last| last.id);
        let next_page_token = page::next_behind(sealer, tenant, LIST_OPERATIONS, full, last);
        let operations = listed.iter().map(message).collect();
        Ok(caller.respond(ListOperationsResponse { operations, next_page_token, unreachable: Vec::new() }))
    }

    async fn get_operation(&self, request: Request<GetOperationRequest>) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let found = self.read(&caller, &request.get_ref().name).await?;
        Ok(caller.respond(message(&found)))
    }

    async fn delete_operation(&self, request: Request<DeleteOperationRequest>) -> Answer<()> {
        let caller = Caller::of(&request)?;
        let found = self.read(&caller, &request.get_ref().name).await?;
        caller.is_about(name(found.id));
        if !found.state.is_ended() {
            let problem = "the operation has not ended: cancel it first";
            return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem).into());
        }
        let deleted = async {
            let transaction = self.runtime.database.begin().await?;
            operations::delete(&transaction, caller.tenant().id, found.id).await?;
            Ok(transaction.commit().await?)
        };
        deleted.await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(()))
    }

    async fn cancel_operation(&self, request: Request<CancelOperationRequest>) -> Answer<()> {
        let caller = Caller::of(&request)?;
        let found = self.read(&caller, &request.get_ref().name).await?;
        caller.is_about(name(found.id));
        if !found.cancellable && !found.state.is_ended() {
            let problem = "this operation can't be cancelled";
            return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem).into());
        }
        let cancelled = async {
            let transaction = self.runtime.database.begin().await?;
            operations::cancel(&transaction, caller.tenant().id, found.id).await?;
            Ok(transaction.commit().await?)
        };
        cancelled.await.map_err(|error| store_error(&error))?;
        Ok(caller.respond(()))
    }

    async fn wait_operation(&self, request: Request<WaitOperationRequest>) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let WaitOperationRequest { name, timeout } = request.get_ref();
        let wait = timeout.map(Duration::try_from).transpose();
        let wait = wait.map_err(|_| ApiError::invalid_field("timeout", "must not be negative"))?;
        let until = MachineInstant::now() + wait.unwrap_or(MAX_WAIT).min(MAX_WAIT);
        loop {
            let found = self.read(&caller, name).await?;
            if found.state.is_ended() || MachineInstant::now() >= until {
                return Ok(caller.respond(message(&found)));
            }
            sleep(LOOK).await;
        }
    }
}

fn name(id: i64) -> String {
    format!("operations/{id}")
}

fn id_in(name: &str) -> Result<i64, ApiError> {
    let id = name.strip_prefix("operations/").and_then(number);
    id.ok_or_else(|| ApiError::invalid_field("name", "must be operations/{number}"))
}

/// A message in the form in which operations carry it; `name` is its full name.
pub fn packed(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// An error in the form in which operations that failed carry it.
pub fn failure(error: ApiError) -> Vec<u8> {
    // What a client of the call would read beside its status is that status, encoded.
    tonic::Status::from(error).details().to_vec()
}

/// An operation as callers see it.
pub fn message(operation: &Stored) -> Operation {
    let metadata = OperationMetadata {
        verb: operation.verb.clone(),
        target: operation.target.clone(),
        progress_percent: percent(operation),
        create_time: Some(convert::timestamp(operation.created_at)),
        update_time: Some(convert::timestamp(operation.updated_at)),
        cancel_requested: matches!(operation.state, State::Cancelling | State::Cancelled),
    };
    let result = match operation.state {
        State::Open | State::Cancelling => None,
        // What was written here was packed here.
        State::Succeeded => Some(Outcome::Response(Any::decode(operation.response.as_slice()).unwrap_or_default())),
        State::Cancelled => Some(Outcome::Error(OperationStatus {
            code: Code::Cancelled as i32,
            message: "cancelled".to_owned(),
            details: Vec::new(),
        })),
        State::Failed => {
            Some(Outcome::Error(OperationStatus::decode(operation.response.as_slice()).unwrap_or_default()))
        }
    };
    Operation {
        name: name(operation.id),
        metadata: Some(packed("quintile.type.v1.OperationMetadata", &metadata)),
        done: operation.state.is_ended(),
        result,
    }
}

fn percent(operation: &Stored) -> i32 {
    if operation.state == State::Succeeded {
        return 100;
    }
    let (done, total) = (i128::from(operation.done), i128::from(operation.total));
    if total < 1 { 0 } else { i32::try_from(done * 100 / total).unwrap_or(100).clamp(0, 100) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::time::Instant;

    fn operation(state: State, done: i64, total: i64) -> Stored {
        Stored {
            id: 7,
            verb: "CreateTrait".to_owned(),
            target: "traits/teas".to_owned(),
            cancellable: true,
            state,
            done,
            total,
            response: packed("google.protobuf.Empty", &()).encode_to_vec(),
            created_at: Instant::from_micros(1),
            updated_at: Instant::from_micros(2),
        }
    }

    #[test]
    fn progress_is_told_in_whole_percent() {
        let table = [(0, 0, 0), (0, 3, 0), (1, 3, 33), (2, 3, 66), (3, 3, 100), (i64::MAX, i64::MAX, 100), (9, 3, 100)];
        for (done, total, expected) in table {
            assert_eq!(percent(&operation(State::Open, done, total)), expected, "{done} of {total}");
        }
        assert_eq!(percent(&operation(State::Succeeded, 0, 0)), 100);
    }

    #[test]
    fn an_operation_ends_with_a_result_or_as_cancelled() {
        let open = message(&operation(State::Cancelling, 1, 3));
        assert_eq!((open.name.as_str(), open.done, open.result), ("operations/7", false, None));
        let Some(Outcome::Response(response)) = message(&operation(State::Succeeded, 3, 3)).result else { panic!() };
        assert_eq!(response.type_url, "type.googleapis.com/google.protobuf.Empty");
        let Some(Outcome::Error(error)) = message(&operation(State::Cancelled, 1, 3)).result else { panic!() };
        assert_eq!(error.code, Code::Cancelled as i32);
    }

    #[test]
    fn an_operation_that_failed_tells_what_a_call_would_have_told() {
        let refused = ApiError::failed_precondition(ErrorReason::FailedPrecondition, "too little");
        let failed = Stored { response: failure(refused), ..operation(State::Failed, 1, 3) };
        let told = message(&failed);
        let Some(Outcome::Error(error)) = told.result else { panic!() };
        assert_eq!(
            (told.done, error.code, error.message.as_str()),
            (true, Code::FailedPrecondition as i32, "too little")
        );
        assert_eq!(error.details[0].type_url, "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(percent(&failed), 33);
    }

    #[test]
    fn only_the_name_of_an_operation_names_one() {
        assert_eq!(id_in("operations/7"), Ok(7));
        for wrong in ["", "operations/", "operations/07", "operations/+7", "operations/-7", "operations/x", "traits/7"]
        {
            assert_eq!(id_in(wrong).unwrap_err().field(), Some("name"), "{wrong}");
        }
    }
}
