//! Tasks that follow up complaints and low scores: until when they are to be done; and the calls and meetings that they came to, of which ingestion is
//! told.
//!
//! Whether feedback was answered follows from facts, which are ingestion's. So what a task came to becomes a fact, by the RPC by which all facts come, under
//! an id that follows from the task: told again after a crash, it changes nothing. That it is to be told stands in the row of the task, and commits with its
//! end.

use super::{CALL_TIMEOUT, LOOK, Playbooks};
use crate::churning::Pause;
use crate::playbooks::triggers::{Feedback, followed_up};
use crate::store::tasks::{self, Stored};
use quintile_chain::context::WorkError;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::ingest_service_client::IngestServiceClient;
use quintile_proto::ingestion::response_service_client::ResponseServiceClient;
use quintile_proto::ingestion::{
    GetCustomerRequest, GetResponseTargetsRequest, IngestBatchRequest, Interaction, InteractionKind, ResponseTargets,
    Row, row,
};
use quintile_proto::lifecycle::{MakeTask, Playbook, TaskKind, step};
use quintile_rpc::policy::Tenant;
use quintile_store::history::Position;
use quintile_store::{StoreError, idempotency};
use std::collections::HashMap;
use tonic::{Code, Status};

const HOUR_MICROS: i64 = 3_600_000_000;
/// Tasks that are read at once.
const AT_ONCE: u64 = 100;

/// Whether a playbook has tasks that are to be done until what they follow up is to be answered.
pub fn goes_by_target(playbook: &Playbook) -> bool {
    let mut steps = playbook.variants.iter().flat_map(|variant| &variant.steps);
    let has_own = |task: &MakeTask| task.due_after.is_some();
    followed_up(playbook).is_some()
        && steps.any(|step| matches!(&step.action, Some(step::Action::Task(task)) if !has_own(task)))
}

/// Until when a task is to be done that was made at an instant, of a run that was triggered at another: by itself, or by the hours within which what it
/// follows up is to be answered. `None`: as long as it takes.
pub fn due(task: &MakeTask, made_at: Instant, triggered_at: Instant, hours: i32) -> Option<Instant> {
    match &task.due_after {
        Some(due) => Some(made_at.plus_micros(due.seconds * 1_000_000)),
        None => (hours > 0).then(|| triggered_at.plus_micros(i64::from(hours) * HOUR_MICROS)),
    }
}

/// Within how many hours feedback is to be answered. 0: it need not be.
pub fn hours(targets: &ResponseTargets, feedback: Feedback) -> i32 {
    match feedback {
        Feedback::Complaints => targets.complaint_hours,
        Feedback::LowScores => targets.low_score_hours,
    }
}

/// Within which time feedback is to be answered. `None`: that is not known now.
pub async fn targets(playbooks: &Playbooks, tenant: &Tenant) -> Option<ResponseTargets> {
    let asked = async {
        let mut request = playbooks.credentials.request(&tenant.name, GetResponseTargetsRequest {}).await?;
        request.set_timeout(CALL_TIMEOUT);
        ResponseServiceClient::new(playbooks.ingestion.clone()).get_response_targets(request).await
    };
    match asked.await {
        Ok(answer) => Some(answer.into_inner()),
        Err(status) => {
            tracing::debug!(code = ?status.code(), "ingestion is asked again for response targets");
            None
        }
    }
}

/// Tells ingestion without end.
pub async fn tell(playbooks: &Playbooks, tenant: &Tenant) -> Result<(), WorkError> {
    let mut paused = HashMap::new();
    loop {
        tell_all(playbooks, tenant, &mut paused).await?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells of every task once, but for those that are left alone after they failed: one that never succeeds holds up no other.
async fn tell_all(
    playbooks: &Playbooks,
    tenant: &Tenant,
    paused: &mut HashMap<Position, Pause>,
) -> Result<(), WorkError> {
    let mut behind = Position::default();
    loop {
        let found = tasks::to_tell(playbooks.runtime.database.reader(), tenant.id, behind, AT_ONCE).await?;
        let Some(last) = found.last() else { break };
        behind = last.made;
        for stored in &found {
            if paused.get(&stored.made).is_some_and(|pause| pause.goes_on(stored.made.seq)) {
                continue;
            }
            match tell_one(playbooks, tenant, stored).await {
                Ok(()) => {
                    write_down(playbooks, tenant, stored).await?;
                    paused.remove(&stored.made);
                }
                Err(status) if is_of_all(status.code()) => {
                    tracing::debug!(code = ?status.code(), "ingestion is told of calls again");
                    return Ok(());
                }
                Err(status) => {
                    tracing::warn!(tenant = tenant.name, code = ?status.code(), "ingestion is told of a call again");
                    paused.entry(stored.made).or_default().begin(stored.made.seq);
                }
            }
        }
    }
    if behind == Position::default() {
        // Whoever was erased meanwhile is told of no more.
        paused.clear();
    }
    Ok(())
}

/// Whether what failed by a code would fail for other tasks as well, at this moment.
fn is_of_all(code: Code) -> bool {
    // A call that takes too long ends with the one or the other.
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted)
}

async fn write_down(playbooks: &Playbooks, tenant: &Tenant, stored: &Stored) -> Result<(), StoreError> {
    let transaction = playbooks.runtime.database.begin().await?;
    tasks::note_told(&transaction, tenant.id, stored).await?;
    Ok(transaction.commit().await?)
}

/// Takes in what a task came to. An error: it has to be tried again.
async fn tell_one(playbooks: &Playbooks, tenant: &Tenant, stored: &Stored) -> Result<(), Status> {
    let message = GetCustomerRequest { name: stored.customer.to_string() };
    let mut request = playbooks.credentials.request(&tenant.name, message).await?;
    request.set_timeout(CALL_TIMEOUT);
    // Who was merged into somebody else was called for all that.
    let customer = match playbooks.customers().get_customer(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(()),
        Err(status) => return Err(status),
    };
    let task = stored.clone().named();
    let kind = if task.kind() == TaskKind::Visit { InteractionKind::Meeting } else { InteractionKind::Call };
    let id = uuid::Uuid::from_slice(&idempotency::body_hash(task.name.as_bytes())).unwrap_or_default();
    let interaction = Interaction {
        customer: customer.identities.into_iter().next(),
        event_id: task.name,
        interaction_time: task.end_time,
        kind: kind.into(),
        about: task.playbook,
        ..Interaction::default()
    };
    let rows = vec![Row { fact: Some(row::Fact::Interaction(interaction)) }];
    let message = IngestBatchRequest { request_id: id.to_string(), rows };
    let mut request = playbooks.credentials.request(&tenant.name, message).await?;
    request.set_timeout(CALL_TIMEOUT);
    match IngestServiceClient::new(playbooks.ingestion.clone()).ingest_batch(request).await {
        Ok(answer) => {
            // The row is kept among the rejects of ingestion, where somebody may correct it.
            for reject in answer.into_inner().rejects {
                let reason = reject.reason().as_str_name();
                tracing::warn!(tenant = tenant.name, reason, "a call that a task came to was refused");
            }
            Ok(())
        }
        // Told before, when the customer had another first identity.
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument) => {
            tracing::warn!(tenant = tenant.name, code = ?status.code(), "a call that a task came to was not taken in");
            Ok(())
        }
        Err(status) => Err(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::lifecycle::{Step, Trigger, Variant, WarningTrigger, trigger};
    use quintile_proto::types::WarningKind;

    fn task(seconds: Option<i64>) -> MakeTask {
        MakeTask {
            due_after: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            ..MakeTask::default()
        }
    }

    fn playbook(kinds: &[WarningKind], seconds: Option<i64>) -> Playbook {
        let warning = WarningTrigger { kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(), min_severity: 0 };
        let step = Step { id: String::new(), action: Some(step::Action::Task(task(seconds))) };
        Playbook {
            trigger: Some(Trigger { kind: Some(trigger::Kind::Warning(warning)) }),
            variants: vec![Variant { id: "a".to_owned(), weight: 1, steps: vec![step] }],
            ..Playbook::default()
        }
    }

    #[test]
    fn a_task_is_due_by_its_step_or_by_the_target() {
        let (made, triggered) = (Instant::from_micros(HOUR_MICROS), Instant::from_micros(0));
        let of = |seconds, hours| due(&task(seconds), made, triggered, hours).map(Instant::micros);
        assert_eq!(of(Some(60), 24), Some(HOUR_MICROS + 60_000_000));
        assert_eq!(of(None, 24), Some(24 * HOUR_MICROS), "from when the run was triggered");
        assert_eq!([of(None, 0), of(Some(60), 0)], [None, Some(HOUR_MICROS + 60_000_000)]);
    }

    #[test]
    fn playbooks_of_complaints_alone_or_of_low_scores_alone_go_by_their_target() {
        use WarningKind::{Complaint, LowScore, Silence};
        let targets = ResponseTargets { complaint_hours: 24, low_score_hours: 72, ..ResponseTargets::default() };
        for (kind, expected) in [(Complaint, 24), (LowScore, 72)] {
            let feedback = followed_up(&playbook(&[kind], None));
            assert_eq!(feedback.map(|feedback| hours(&targets, feedback)), Some(expected), "{kind:?}");
            assert!(goes_by_target(&playbook(&[kind], None)), "{kind:?}");
            assert!(!goes_by_target(&playbook(&[kind], Some(60))), "{kind:?}");
        }
        for kinds in [vec![Silence], vec![Complaint, Silence], vec![Complaint, LowScore], vec![]] {
            assert_eq!(followed_up(&playbook(&kinds, None)), None, "{kinds:?}");
            assert!(!goes_by_target(&playbook(&kinds, None)), "{kinds:?}");
        }
    }
}
