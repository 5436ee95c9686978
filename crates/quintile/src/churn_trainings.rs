//! Trainings of churn models, for people: begun and waited for, ended, and had by themselves.

use crate::churn::{Asker, show_model};
use crate::commands::CallerArgs;
use crate::output::date;
use crate::progress::Progress;
use anyhow::{Context, bail};
use prost::Message;
use quintile_proto::lifecycle::{
    ChurnLabel, ChurnTraining, ChurnTrainingSchedule, GetChurnModelRequest, GetChurnTrainingScheduleRequest,
    TrainChurnModelRequest, UpdateChurnTrainingScheduleRequest,
};
use quintile_proto::longrunning::operation::Result as Outcome;
use quintile_proto::longrunning::{CancelOperationRequest, Operation, WaitOperationRequest};
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
    let name = operation.name.clone();
    let training = tokio::select! {
        ended = ended(&mut asker, operation) => ended?,
        _ = tokio::signal::ctrl_c() => bail!("the training goes on: `quintile churn list` will tell of its model, \
                                              `quintile churn cancel {name}` ends it"),
    };
    let request = asker.session.request(GetChurnModelRequest { name: training.model });
    let model = asker.models.get_churn_model(request).await?.into_inner();
    asker.show(&model, "ChurnModel", show_model)
}

/// What came of a training, once it has ended.
async fn ended(asker: &mut Asker<'_>, mut operation: Operation) -> anyhow::Result<ChurnTraining> {
    let mut progress = Progress::new("of everybody read");
    while !operation.done {
        let metadata = operation.metadata.as_ref().map(|metadata| metadata.value.as_slice()).unwrap_or_default();
        let told = OperationMetadata::decode(metadata).context("the operation's metadata")?;
        progress.percent(told.progress_percent.unsigned_abs());
        let request = WaitOperationRequest { name: operation.name, timeout: Some(convert::duration(ASK_AGAIN)) };
        operation = asker.operations.wait_operation(asker.session.request(request)).await?.into_inner();
    }
    progress.finish();
    match operation.result {
        Some(Outcome::Response(response)) => {
            ChurnTraining::decode(response.value.as_slice()).context("the operation's response")
        }
        Some(Outcome::Error(error)) if error.code == Code::Cancelled as i32 => bail!("the training was cancelled"),
        Some(Outcome::Error(error)) => Err(Status::new(Code::from_i32(error.code), error.message).into()),
        None => bail!("the operation has no result"),
    }
}

/// Ends a training.
pub async fn cancel(caller: &CallerArgs, name: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(CancelOperationRequest { name: name.clone() });
    asker.operations.cancel_operation(request).await?;
    say!("{name} ends, unless it has ended already.");
    Ok(())
}

/// Tells the schedule, or says it where it is said after how many days.
pub async fn schedule(caller: &CallerArgs, every: Option<i32>, publish: bool) -> anyhow::Result<()> {
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
    }
    if schedule.last_attempt_date.is_some() {
        let made = if schedule.last_model.is_empty() { "no model" } else { schedule.last_model.as_str() };
        say!("The last attempt, by what was known of {}, made {made}.", date(schedule.last_attempt_date.as_ref()));
    }
    if !schedule.problem.is_empty() {
        say!("{}.", schedule.problem);
    }
}
