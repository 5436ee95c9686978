//! Trainings of churn models, for people: begun and waited for, ended, and had by themselves.

use crate::churn::{Asker, show_model};
use crate::commands::CallerArgs;
use crate::output::date;
use crate::progress::Progress;
use anyhow::{Context, Error, bail};
use prost::Message;
use quintile_proto::lifecycle::{
    ChurnLabel, ChurnTraining, ChurnTrainingSchedule, GetChurnModelRequest, GetChurnTrainingScheduleRequest,
    TrainChurnModelRequest, UpdateChurnTrainingScheduleRequest,
};
use quintile_proto::longrunning::operation::Result as Outcome;
use quintile_proto::longrunning::{CancelOperationRequest, GetOperationRequest, Operation, WaitOperationRequest};
use quintile_proto::types::OperationMetadata;
use quintile_rpc::convert;
use std::time::Duration;
use tonic::{Code, Status};

/// The tenant's schedule.
const SCHEDULE: &str = "churnTrainingSchedule";
/// How often it is asked how far a training is.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Trains a model, tells how far it is, and shows what came of it.
pub async fn train(caller: &CallerArgs, horizon_days: i32, label: Option<ChurnLabel>) -> anyhow::Result<()> {
    let mut asker = Asker::begin_long(caller).await?;
    let request = TrainChurnModelRequest { horizon_days, label, ..TrainChurnModelRequest::default() };
    let operation = asker.models.train_churn_model(asker.session.request(request)).await?.into_inner();
    let look =
        format!("`quintile churn list` will tell of its model, `quintile churn cancel {}` ends it", operation.name);
    let lost = format!("the server is gone; once it is back, the training goes on or begins anew: {look}");
    let ended = tokio::select! {
        ended = waited_for(&mut asker, operation, "of everybody read", &lost) => ended?,
        _ = tokio::signal::ctrl_c() => bail!("the training goes on: {look}"),
    };
    let training = training(ended)?;
    let request = asker.session.request(GetChurnModelRequest { name: training.model });
    let model = asker.models.get_churn_model(request).await?.into_inner();
    asker.show(&model, "ChurnModel", show_model)
}

/// An operation, once it has ended: meanwhile it is told how far it is. `what` is done in percent, and `lost` says what it means that the server is gone.
pub async fn waited_for(
    asker: &mut Asker<'_>,
    mut operation: Operation,
    what: &str,
    lost: &str,
) -> anyhow::Result<Operation> {
    let mut progress = Progress::new(what);
    while !operation.done {
        progress.percent(metadata(&operation)?.progress_percent.unsigned_abs());
        let request = WaitOperationRequest { name: operation.name, timeout: Some(convert::duration(ASK_AGAIN)) };
        let answer = asker.operations.wait_operation(asker.session.request(request)).await;
        operation = answer.map_err(|status| broken(status, lost))?.into_inner();
    }
    progress.finish();
    Ok(operation)
}

/// What is told of an operation while it goes on.
pub fn metadata(operation: &Operation) -> anyhow::Result<OperationMetadata> {
    let metadata = operation.metadata.as_ref().map(|metadata| metadata.value.as_slice()).unwrap_or_default();
    OperationMetadata::decode(metadata).context("the operation's metadata")
}

/// Says `lost` where nobody answers any more, and otherwise what was answered.
fn broken(status: Status, lost: &str) -> Error {
    let is_lost = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
    // As a break of the connection, of which the command says what it means, whatever the transport calls it.
    if is_lost { Error::new(Status::unknown(status.message())).context(lost.to_owned()) } else { status.into() }
}

/// What came of a training that has ended.
fn training(ended: Operation) -> anyhow::Result<ChurnTraining> {
    match ended.result {
        Some(Outcome::Response(response)) => {
            ChurnTraining::decode(response.value.as_slice()).context("the operation's response")
        }
        Some(Outcome::Error(error)) if error.code == Code::Cancelled as i32 => bail!("the training was cancelled"),
        Some(Outcome::Error(error)) => Err(Status::new(Code::from_i32(error.code), error.message).into()),
        None => bail!("the operation has no result"),
    }
}

/// Ends a training, and says what has become of it.
pub async fn cancel(caller: &CallerArgs, name: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(CancelOperationRequest { name: name.clone() });
    asker.operations.cancel_operation(request).await?;
    let request = asker.session.request(GetOperationRequest { name });
    let operation = asker.operations.get_operation(request).await?.into_inner();
    say!("{}", became(operation));
    Ok(())
}

/// What has become of a training that was to be ended.
fn became(operation: Operation) -> String {
    let name = operation.name.clone();
    if !operation.done {
        return format!("{name} is being ended: nothing is kept of it.");
    }
    match operation.result.as_ref() {
        Some(Outcome::Error(error)) if error.code == Code::Cancelled as i32 => {
            format!("{name} is ended: nothing is kept of it.")
        }
        Some(Outcome::Error(error)) => format!("{name} had ended already: {}.", error.message),
        _ => match training(operation) {
            Ok(training) if !training.model.is_empty() => format!("{name} had ended already, with {}.", training.model),
            _ => format!("{name} had ended already."),
        },
    }
}

/// Tells the schedule, or says it where it is said after how many days.
pub async fn schedule(caller: &CallerArgs, every: Option<i32>, publish: bool) -> anyhow::Result<()> {
    if publish && every == Some(0) {
        let problem = "--publish is for models that are trained anew, and --every 0 says that none is";
        return Err(Status::invalid_argument(problem).into());
    }
    let mut asker = Asker::begin(caller).await?;
    let name = SCHEDULE.to_owned();
    let answer = match every {
        None => {
            let request = asker.session.request(GetChurnTrainingScheduleRequest { name });
            asker.models.get_churn_training_schedule(request).await?.into_inner()
        }
        Some(every_days) => {
            let said = ChurnTrainingSchedule { name, every_days, publish, ..ChurnTrainingSchedule::default() };
            let request = asker.session.request(UpdateChurnTrainingScheduleRequest { schedule: Some(said) });
            asker.models.update_churn_training_schedule(request).await?.into_inner()
        }
    };
    asker.show(&answer, "ChurnTrainingSchedule", show)
}

fn show(schedule: &ChurnTrainingSchedule) {
    match (schedule.every_days, schedule.publish) {
        (0, _) => say!("Models are not trained anew by themselves: quintile churn schedule --every 28 --publish"),
        (days, true) => say!("A model is trained anew every {days} days, and put in force where it is better."),
        (days, false) => say!("A model is trained anew every {days} days, and stays a draft."),
    }
    if schedule.every_days > 0 && schedule.horizon_days == 0 && schedule.label.is_none() {
        say!("None is in force: train and publish a first one.");
    } else if schedule.every_days > 0 {
        say!("Sooner, where its risks have shifted: `quintile churn list` tells.");
    }
    if schedule.last_attempt_date.is_some() {
        let made = if schedule.last_model.is_empty() { "no model" } else { schedule.last_model.as_str() };
        say!("The last attempt, by what was known of {}, made {made}.", date(schedule.last_attempt_date.as_ref()));
    }
    if !schedule.problem.is_empty() {
        say!("{}.", schedule.problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::explain;
    use prost_types::Any;
    use quintile_proto::google_rpc::Status as OperationStatus;

    #[test]
    fn what_became_of_a_training_is_told() {
        let operation =
            |done, result| Operation { name: "operations/5".to_owned(), done, result, ..Operation::default() };
        let failed = |code: Code, message: &str| {
            Outcome::Error(OperationStatus { code: code as i32, message: message.to_owned(), details: Vec::new() })
        };
        let made = ChurnTraining { model: "churnModels/3".to_owned(), better: true };
        let made = Outcome::Response(Any { type_url: String::new(), value: made.encode_to_vec() });
        for (done, result, expected) in [
            (false, None, "operations/5 is being ended: nothing is kept of it."),
            (true, Some(failed(Code::Cancelled, "cancelled")), "operations/5 is ended: nothing is kept of it."),
            (true, Some(failed(Code::FailedPrecondition, "too few")), "operations/5 had ended already: too few."),
            (true, Some(made), "operations/5 had ended already, with churnModels/3."),
        ] {
            assert_eq!(became(operation(done, result)), expected);
        }
    }

    #[test]
    fn a_break_of_the_connection_reads_as_what_it_means() {
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled] {
            assert_eq!(
                explain(&broken(Status::new(code, "transport error"), "the training goes on")),
                "the training goes on"
            );
        }
        let told = broken(Status::not_found("operations/5 is not there"), "the training goes on");
        assert_eq!(explain(&told), "operations/5 is not there");
    }
}
