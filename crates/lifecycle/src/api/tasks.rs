//! Tasks.

use super::reached::{self, Page, check_assignee, check_number, check_numbers};
use super::records::current;
use crate::store::tasks::{self, Stored, Wanted};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::{page, store_error};
use quintile_proto::lifecycle::task_service_server::TaskService;
use quintile_proto::lifecycle::{
    ClaimTaskRequest, CompleteTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Task, TaskOutcome,
    TaskState,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::StoreError;
use quintile_store::history::Position;
use std::sync::Arc;
use tonic::Request;

/// The handlers.
pub struct Tasks {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

fn refused(problem: &str) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}

/// Refuses to have a caller do a task that has ended, or that somebody else does.
fn check_free(task: &Task, caller: &Caller) -> Result<(), ApiError> {
    if !tasks::goes_on(task.state) {
        return Err(refused("the task has ended"));
    }
    if task.state() == TaskState::Claimed && task.assignee != caller.subject() {
        return Err(refused("somebody else has claimed it"));
    }
    Ok(())
}

impl Tasks {
    /// Has somebody change a task. `change` tells whether it is another one after it.
    async fn change(
        &self,
        caller: &Caller,
        name: &str,
        change: impl FnOnce(&mut Task) -> Result<bool, ApiError> + Send,
    ) -> Answer<Task> {
        let (customer, made) = reached::parse_name("name", name, "tasks")?;
        caller.is_about(name);
        let view = current(&self.runtime, &self.link, caller, customer).await?.view;
        let tenant = caller.tenant().id;
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        let stored = tasks::hold(&transaction, tenant, customer, made).await.map_err(failed)?;
        let mut stored = stored.ok_or_else(ApiError::not_found)?;
        if change(&mut stored.task)? {
            tasks::write(&transaction, tenant, std::slice::from_ref(&stored)).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
        }
        Ok(view.respond(stored.named()))
    }
}

#[tonic::async_trait]
impl TaskService for Tasks {
    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Answer<ListTasksResponse> {
        let caller = Caller::of(&request)?;
        let ListTasksRequest { parent, mut states, assignee, page_size, page_token } = request.into_inner();
        let customer = reached::parse_parent(&parent)?;
        check_numbers::<TaskState>("states", &states)?;
        check_assignee(&assignee)?;
        if states.is_empty() {
            states = [TaskState::Open, TaskState::Claimed].map(i32::from).to_vec();
        }
        let size = convert::page_size(page_size, 100, 1_000)?;
        if let Some(customer) = customer {
            current(&self.runtime, &self.link, &caller, customer).await?;
        }
        let wanted = Wanted { customer, states, assignee };
        let (tenant, sealer, database) = (caller.tenant().id, &self.runtime.sealer, self.runtime.database.reader());
        let query = format!("ListTasks {wanted:?}");
        let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
        let end = page::begin(sealer, tenant, &query, &page_token, Position::END, decode)?;
        let read = |end, limit| tasks::page(database, tenant, &wanted, end, limit);
        let Page { items, view, end } = reached::page(&self.runtime, &caller, end, size, read).await?;
        let tasks = items.into_iter().map(Stored::named).collect();
        let next_page_token = end.map(|end| sealer.seal(tenant, query.as_bytes(), &end.to_bytes())).unwrap_or_default();
        Ok(view.respond(ListTasksResponse { tasks, next_page_token }))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Answer<Task> {
        let caller = Caller::of(&request)?;
        let (customer, made) = reached::parse_name("name", &request.get_ref().name, "tasks")?;
        let view = current(&self.runtime, &self.link, &caller, customer).await?.view;
        let found = tasks::get(self.runtime.database.reader(), caller.tenant().id, customer, made).await;
        let found = found.map_err(failed)?.ok_or_else(ApiError::not_found)?;
        Ok(view.respond(found.named()))
    }

    async fn claim_task(&self, request: Request<ClaimTaskRequest>) -> Answer<Task> {
        let caller = Caller::of(&request)?;
        let claim = |task: &mut Task| {
            check_free(task, &caller)?;
            let is_another = task.state() != TaskState::Claimed;
            task.state = TaskState::Claimed.into();
            caller.subject().clone_into(&mut task.assignee);
            Ok(is_another)
        };
        self.change(&caller, &request.get_ref().name, claim).await
    }

    async fn complete_task(&self, request: Request<CompleteTaskRequest>) -> Answer<Task> {
        let caller = Caller::of(&request)?;
        let CompleteTaskRequest { name, outcome } = request.into_inner();
        reached::parse_name("name", &name, "tasks")?;
        check_number::<TaskOutcome>("outcome", outcome)?;
        let now = self.runtime.business.now();
        let complete = |task: &mut Task| {
            if task.state() == TaskState::Done && task.outcome == outcome {
                return Ok(false);
            }
            check_free(task, &caller)?;
            task.state = TaskState::Done.into();
            task.outcome = outcome;
            caller.subject().clone_into(&mut task.assignee);
            caller.subject().clone_into(&mut task.completed_by);
            let made = convert::sent_instant(task.create_time.as_ref()).unwrap_or(now);
            task.end_time = Some(convert::timestamp(now.max(made)));
            Ok(true)
        };
        self.change(&caller, &name, complete).await
    }
}
