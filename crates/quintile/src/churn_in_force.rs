//! Churn models put in force and taken out of it, for people, and what that changes of customers.

use crate::churn::Asker;
use crate::churn_trainings::{metadata, waited_for};
use crate::commands::CallerArgs;
use crate::output::{Format, thousands};
use anyhow::{Context, bail};
use prost::Message;
use quintile_proto::lifecycle::{PublishChurnModelRequest, Restaging, RetireChurnModelRequest};
use quintile_proto::longrunning::operation::Result as Outcome;
use quintile_proto::longrunning::{ListOperationsRequest, Operation};

/// Of so many operations, the newest, one is looked for that has just begun.
const NEWEST: i32 = 100;

/// Puts a model in force, and waits until all customers are gone through.
pub async fn publish(caller: &CallerArgs, name: String, etag: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin_long(caller).await?;
    let request = asker.session.request(PublishChurnModelRequest { name: name.clone(), etag });
    let answer = asker.models.publish_churn_model(request).await?.into_inner();
    asker.show(&answer, "ChurnModel", |model| say!("{} is in force; etag {}", model.name, model.etag))?;
    followed(caller, &mut asker, "PublishChurnModel", &name).await
}

/// Takes a model out of force, and waits until all customers are gone through.
pub async fn retire(caller: &CallerArgs, name: String, etag: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin_long(caller).await?;
    let request = asker.session.request(RetireChurnModelRequest { name: name.clone(), etag });
    let answer = asker.models.retire_churn_model(request).await?.into_inner();
    asker.show(&answer, "ChurnModel", |model| say!("{} is not in force any more.", model.name))?;
    followed(caller, &mut asker, "RetireChurnModel", &name).await
}

/// Waits for the operation by which records follow, and says to people what it has changed.
async fn followed(caller: &CallerArgs, asker: &mut Asker<'_>, verb: &str, model: &str) -> anyhow::Result<()> {
    let is_told = caller.output == Format::Table;
    let Some(operation) = begun(asker, verb, model).await? else { return Ok(()) };
    if is_told {
        say!("Records follow by {}, also where nobody waits for it.", operation.name);
    }
    let lost = format!("the server is gone; once it is back, records follow by {}", operation.name);
    let ended = waited_for(asker, operation, "of everybody gone through", &lost).await?;
    let Some(Outcome::Response(response)) = ended.result else { bail!("the operation has no result") };
    let restaging = Restaging::decode(response.value.as_slice()).context("the operation's response")?;
    if is_told {
        let changed = thousands(restaging.changed_customers.unsigned_abs());
        say!("It has changed the stage or warnings of {changed} customers.");
    }
    Ok(())
}

/// The operation that was begun last for that, which may have ended meanwhile. `None`: somebody has deleted it.
async fn begun(asker: &mut Asker<'_>, verb: &str, model: &str) -> anyhow::Result<Option<Operation>> {
    let request = ListOperationsRequest { page_size: NEWEST, ..ListOperationsRequest::default() };
    let newest = asker.operations.list_operations(asker.session.request(request)).await?.into_inner();
    for operation in newest.operations {
        let told = metadata(&operation)?;
        if told.verb == verb && told.target == model {
            return Ok(Some(operation));
        }
    }
    Ok(None)
}
