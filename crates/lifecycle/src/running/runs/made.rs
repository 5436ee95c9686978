//! What steps make, as it is kept: tasks and deliveries.

use super::super::follow_ups;
use super::super::granted::Told;
use super::{Looking, message_id};
use crate::playbooks::Message;
use crate::playbooks::triggers::followed_up;
use crate::store::deliveries::{self, Email};
use crate::store::runs::Stored;
use crate::store::tasks;
use prost::Message as _;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::ResponseTargets;
use quintile_proto::lifecycle::{Delivery, DeliveryKind, DeliveryState, MakeTask, Task, TaskState};
use quintile_proto::types::Purpose;
use quintile_rpc::convert;
use quintile_store::history::Position;
use serde_json::{Value, json};

/// What a message is, in events.
const EVENT_TYPE: &str = "quintile.playbook.message";

impl Looking<'_> {
    /// A task. Of a playbook that complaints begin, or low scores, it is to be done until these are to be answered, unless it says its own time.
    pub(super) fn task(
        &self,
        targets: &ResponseTargets,
        stored: &Stored,
        made: Position,
        at: Instant,
        (task, assignee): (MakeTask, String),
    ) -> tasks::Stored {
        let feedback = self.known.get(&stored.playbook).and_then(|known| followed_up(&known.playbook));
        let hours = feedback.map_or(0, |feedback| follow_ups::hours(targets, feedback));
        let due = follow_ups::due(&task, at, stored.run.triggered_at, hours);
        let task = Task {
            playbook: self.name_of(stored),
            run: stored.name(),
            kind: task.kind,
            title: task.title,
            note: task.note,
            state: TaskState::Open.into(),
            assignee,
            create_time: Some(convert::timestamp(at)),
            due_time: due.map(convert::timestamp),
            follows_up_feedback: feedback.is_some(),
            ..Task::default()
        };
        tasks::Stored { customer: stored.customer, made, task }
    }

    /// The name of a run's playbook.
    pub(super) fn name_of(&self, stored: &Stored) -> String {
        self.known.get(&stored.playbook).map(|known| known.playbook.name.clone()).unwrap_or_default()
    }

    /// A delivery, which tells another system what the run has granted.
    pub(super) fn delivery(
        &self,
        stored: &Stored,
        made: Position,
        at: Instant,
        message: Message,
        told: Told,
    ) -> deliveries::Stored {
        let body = |kind: DeliveryKind, endpoint, message| Delivery {
            playbook: self.name_of(stored),
            run: stored.name(),
            kind: kind.into(),
            endpoint,
            message,
            ..Delivery::default()
        };
        let (body, payload) = match message {
            Message::Webhook(webhook) => {
                let body = body(DeliveryKind::Webhook, webhook.endpoint, webhook.message);
                let payload = self.event(stored, made, at, &body, told.events);
                (body, payload)
            }
            // Whom it goes to is asked when it is sent, and kept nowhere here.
            Message::Email { endpoint, message, text } => {
                let known = self.known.get(&stored.playbook).map(|known| known.playbook.purpose());
                let purpose = known.unwrap_or(Purpose::Marketing).into();
                let email = Email { purpose, text: Some(text), grant: told.grant };
                (body(DeliveryKind::Email, endpoint, message), email.encode_to_vec())
            }
        };
        deliveries::Stored {
            customer: stored.customer,
            made,
            playbook: stored.playbook,
            created_at: at,
            state: DeliveryState::Waiting,
            attempts: 0,
            last_status: 0,
            next_attempt_at: Some(self.playbooks.clock.now()),
            last_attempt_at: None,
            body,
            payload,
        }
    }

    /// The event that a webhook is told.
    fn event(&self, stored: &Stored, made: Position, at: Instant, body: &Delivery, told: Vec<Value>) -> Vec<u8> {
        let mut event = json!({
            "specversion": "1.0",
            "id": message_id(self.tenant, made),
            "source": format!("/quintile/{}/{}", self.tenant.name, body.playbook),
            "type": EVENT_TYPE,
            "subject": stored.customer.to_string(),
            "time": at.to_string(),
            "datacontenttype": "application/json",
            "data": {
                "playbook": body.playbook,
                "version": stored.version,
                "variant": stored.run.variant,
                "message": body.message,
                "customer": stored.customer.as_i64(),
                "run": body.run,
                "delivery": deliveries::delivery_name(stored.customer, made),
            },
        });
        if !told.is_empty() {
            event["data"]["grants"] = told.into();
        }
        event.to_string().into_bytes()
    }
}
