//! What lifecycle holds about a person: warnings, what playbooks did, and what was granted.

use super::{Export, PAGE, Stopped, held};
use quintile_proto::ingestion::{
    ExportPersonalDataResponse, ExportedContact, ExportedGrant, ExportedPlaybookRun, ExportedTierChange,
    ExportedWarning,
};
use quintile_proto::lifecycle::delivery_service_client::DeliveryServiceClient;
use quintile_proto::lifecycle::loyalty_service_client::LoyaltyServiceClient;
use quintile_proto::lifecycle::offer_service_client::OfferServiceClient;
use quintile_proto::lifecycle::playbook_service_client::PlaybookServiceClient;
use quintile_proto::lifecycle::task_service_client::TaskServiceClient;
use quintile_proto::lifecycle::warning_service_client::WarningServiceClient;
use quintile_proto::lifecycle::{
    Delivery, Grant, ListDeliveriesRequest, ListGrantsRequest, ListPlaybookRunsRequest, ListTasksRequest,
    ListTierChangesRequest, ListWarningsRequest, PlaybookRun, Task, TaskState, TierChange, Warning, WarningResolution,
    WarningState,
};
use tonic::{Request, Response, Status};

/// The parts that come from lifecycle.
const PARTS: [&str; 6] = ["warnings", "playbook_runs", "tasks", "deliveries", GRANTS, TIER_CHANGES];
const GRANTS: &str = "grants";
const TIER_CHANGES: &str = "tier_changes";

/// Every value of an enum but the first, which says nothing.
fn every<T: TryFrom<i32> + Into<i32>>() -> Vec<i32> {
    (1..).map_while(|number| T::try_from(number).ok()).map(Into::into).collect()
}

impl Export {
    pub(super) async fn send_from_lifecycle(&mut self) -> Result<(), Stopped> {
        if self.customer.restricted_at.is_some() {
            // They are kept, and not told of before the restriction is lifted.
            self.part.missing_parts.extend(PARTS.map(str::to_owned));
            return Ok(());
        }
        let parent = self.customer.id.to_string();
        let page_size = PAGE as i32;
        let lifecycle = self.service.peers.lifecycle.clone();
        let [warnings, runs, tasks, deliveries, ..] = PARTS;
        let page = |page_token| {
            let states = every::<WarningState>();
            ListWarningsRequest { parent: parent.clone(), states, page_size, page_token, ..Default::default() }
        };
        let ask = |request| {
            let mut client = WarningServiceClient::new(lifecycle.clone());
            async move { client.list_warnings(request).await }
        };
        let take = |part: &mut ExportPersonalDataResponse, page: quintile_proto::lifecycle::ListWarningsResponse| {
            part.warnings.extend(page.warnings.into_iter().map(exported_warning));
            page.next_page_token
        };
        self.send_pages(warnings, page, ask, take).await?;
        let page =
            |page_token| ListPlaybookRunsRequest { parent: parent.clone(), states: Vec::new(), page_size, page_token };
        let ask = |request| {
            let mut client = PlaybookServiceClient::new(lifecycle.clone());
            async move { client.list_playbook_runs(request).await }
        };
        let take = |part: &mut ExportPersonalDataResponse,
                    page: quintile_proto::lifecycle::ListPlaybookRunsResponse| {
            part.playbook_runs.extend(page.runs.into_iter().map(exported_run));
            page.next_page_token
        };
        self.send_pages(runs, page, ask, take).await?;
        let page = |page_token| {
            let states = every::<TaskState>();
            ListTasksRequest { parent: parent.clone(), states, page_size, page_token, ..Default::default() }
        };
        let ask = |request| {
            let mut client = TaskServiceClient::new(lifecycle.clone());
            async move { client.list_tasks(request).await }
        };
        let take = |part: &mut ExportPersonalDataResponse, page: quintile_proto::lifecycle::ListTasksResponse| {
            part.contacts.extend(page.tasks.into_iter().map(exported_task));
            page.next_page_token
        };
        self.send_pages(tasks, page, ask, take).await?;
        let page =
            |page_token| ListDeliveriesRequest { parent: parent.clone(), states: Vec::new(), page_size, page_token };
        let ask = |request| {
            let mut client = DeliveryServiceClient::new(lifecycle.clone());
            async move { client.list_deliveries(request).await }
        };
        let take = |part: &mut ExportPersonalDataResponse, page: quintile_proto::lifecycle::ListDeliveriesResponse| {
            part.contacts.extend(page.deliveries.into_iter().map(exported_delivery));
            page.next_page_token
        };
        self.send_pages(deliveries, page, ask, take).await?;
        self.send_grants(&parent).await?;
        self.send_tier_changes(&parent).await
    }

    async fn send_grants(&mut self, parent: &str) -> Result<(), Stopped> {
        let lifecycle = self.service.peers.lifecycle.clone();
        let page = |page_token| ListGrantsRequest {
            parent: parent.to_owned(),
            page_size: PAGE as i32,
            page_token,
            ..Default::default()
        };
        let ask = |request| {
            let mut client = OfferServiceClient::new(lifecycle.clone());
            async move { client.list_grants(request).await }
        };
        let take = |part: &mut ExportPersonalDataResponse, page: quintile_proto::lifecycle::ListGrantsResponse| {
            part.grants.extend(page.grants.into_iter().map(exported_grant));
            page.next_page_token
        };
        self.send_pages(GRANTS, page, ask, take).await
    }

    async fn send_tier_changes(&mut self, parent: &str) -> Result<(), Stopped> {
        let lifecycle = self.service.peers.lifecycle.clone();
        let page =
            |page_token| ListTierChangesRequest { parent: parent.to_owned(), page_size: PAGE as i32, page_token };
        let ask = |request| {
            let mut client = LoyaltyServiceClient::new(lifecycle.clone());
            async move { client.list_tier_changes(request).await }
        };
        let take = |part: &mut ExportPersonalDataResponse, page: quintile_proto::lifecycle::ListTierChangesResponse| {
            part.tier_changes.extend(page.changes.into_iter().map(exported_tier_change));
            page.next_page_token
        };
        self.send_pages(TIER_CHANGES, page, ask, take).await
    }

    /// Sends a list of lifecycle's, page by page. `page` makes the request behind a page token, and `take` adds an answer to the part and tells the next one.
    async fn send_pages<M, P, Fut>(
        &mut self,
        name: &str,
        page: impl Fn(String) -> M,
        ask: impl Fn(Request<M>) -> Fut,
        take: impl Fn(&mut ExportPersonalDataResponse, P) -> String,
    ) -> Result<(), Stopped>
    where
        Fut: Future<Output = Result<Response<P>, Status>>,
    {
        let mut page_token = String::new();
        loop {
            let answer = match self.service.credentials.request_for(&self.caller, page(page_token)).await {
                Ok(request) => ask(request).await,
                Err(status) => Err(status),
            };
            let Some(answer) = held(name, answer, &mut self.part.missing_parts) else { return Ok(()) };
            page_token = take(&mut self.part, answer);
            self.send_if_large().await?;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }
}

/// The name of a value of an enum without what all of its values begin with.
fn plain(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_owned()
}

fn exported_run(run: PlaybookRun) -> ExportedPlaybookRun {
    ExportedPlaybookRun {
        trigger_time: run.trigger_time,
        state: plain(run.state().as_str_name(), "RUN_STATE_"),
        refusal: match run.refusal {
            0 => String::new(),
            _ => plain(run.refusal().as_str_name(), "RUN_REFUSAL_"),
        },
        playbook: run.playbook,
        variant: run.variant,
        converted: run.converted,
        revenue: run.revenue,
    }
}

fn exported_task(task: Task) -> ExportedContact {
    ExportedContact {
        kind: "TASK".to_owned(),
        create_time: task.create_time,
        state: plain(task.state().as_str_name(), "TASK_STATE_"),
        outcome: match task.outcome {
            0 => String::new(),
            _ => plain(task.outcome().as_str_name(), "TASK_OUTCOME_"),
        },
        playbook: task.playbook,
        what: task.title,
    }
}

fn exported_delivery(delivery: Delivery) -> ExportedContact {
    ExportedContact {
        kind: "MESSAGE".to_owned(),
        create_time: delivery.create_time,
        state: plain(delivery.state().as_str_name(), "DELIVERY_STATE_"),
        outcome: String::new(),
        playbook: delivery.playbook,
        what: delivery.message,
    }
}

fn exported_grant(grant: Grant) -> ExportedGrant {
    ExportedGrant {
        grant_time: grant.grant_time,
        expire_time: grant.expire_time,
        state: plain(grant.state().as_str_name(), "GRANT_STATE_"),
        offer: grant.offer,
        order_id: grant.order_id,
        code: grant.code,
    }
}

fn exported_tier_change(change: TierChange) -> ExportedTierChange {
    ExportedTierChange { tier: change.tier, set_time: change.set_time, until_time: change.until_time }
}

fn exported_warning(warning: Warning) -> ExportedWarning {
    let resolution = match warning.resolution() {
        WarningResolution::Unspecified => String::new(),
        said => plain(said.as_str_name(), "WARNING_RESOLUTION_"),
    };
    let evidence = warning.evidence.as_ref().and_then(|evidence| evidence.stage.as_ref());
    ExportedWarning {
        kind: warning.kind,
        raise_time: warning.raise_time,
        end_time: warning.end_time,
        state: plain(warning.state().as_str_name(), "WARNING_STATE_"),
        severity: plain(warning.severity().as_str_name(), "WARNING_SEVERITY_"),
        resolution,
        stage: evidence.map_or(0, |stage| stage.stage),
        value_at_stake: warning.value_at_stake,
        customer_value: warning.customer_value,
        value_model: warning.value_model,
    }
}
