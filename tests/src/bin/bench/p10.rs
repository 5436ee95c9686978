//! P10: what a playbook costs, on PostgreSQL: everybody becomes a lead while one runs that is begun by that, asks segmentation for a membership of each, and
//! gives a colleague a task; beside: the same customers without it.

use crate::generator;
use crate::ingest;
use crate::report::{Measurement, Report};
use crate::server::{Server, authorised};
use crate::stage::{Stage, Store};
use quintile_proto::ingestion::{Row, row};
use quintile_proto::lifecycle::playbook_service_client::PlaybookServiceClient;
use quintile_proto::lifecycle::{
    Branch, CreatePlaybookRequest, GetPlaybookOutcomeRequest, MakeTask, Playbook, StageTrigger, StartPlaybookRequest,
    Step, TaskKind, Trigger, Variant, step, trigger,
};
use quintile_proto::types::{Purpose, Stage as CustomerStage};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

const NAME: &str = "p10";
const ROWS_PER_BATCH: usize = 10_000;
const PLAYBOOK: &str = "nurture";
/// How often it is asked how far runs are.
const LOOK: Duration = Duration::from_millis(100);

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let alone = seconds(stage, false).await?;
    let with_playbook = seconds(stage, true).await?;
    report.add(Measurement {
        id: "P10",
        what: "everybody becomes a lead, and has a run of a playbook with a branch and a task; beside: without it"
            .to_owned(),
        ours: with_playbook,
        theirs: Some(alone),
        unit: "s",
        scale: stage.scale,
        target: None,
    })
}

/// The seconds from the first customer that is sent until all have become leads, and all runs are through where there is a playbook.
async fn seconds(stage: &Stage, with_playbook: bool) -> anyhow::Result<f64> {
    let server = stage.empty_server(Store::Postgres, NAME).await?;
    let customers = stage.scale.customers;
    let rows = ingest::encode("leads", customers as usize, ROWS_PER_BATCH, |place| Row {
        fact: Some(row::Fact::Customer(generator::customer(place as u32))),
    });
    let playbooks = PlaybookServiceClient::new(server.connect("lifecycle").await?);
    if with_playbook {
        start(playbooks.clone(), &server).await?;
    }
    let begun = Instant::now();
    let position = ingest::send(&server, rows, 2).await?.facts_position;
    server.settled(position, customers).await?;
    while with_playbook && assigned(playbooks.clone(), &server).await? < i64::from(customers) {
        tokio::time::sleep(LOOK).await;
    }
    let taken = begun.elapsed().as_secs_f64();
    stage.remove(Store::Postgres, NAME, server).await?;
    Ok(taken)
}

async fn start(mut playbooks: PlaybookServiceClient<Channel>, server: &Server) -> anyhow::Result<()> {
    let step = |action| Step { id: String::new(), action: Some(action) };
    let stages = vec![CustomerStage::Lead.into()];
    let branch = Branch { segment: "labelSets/rfm-11/labels/unscored".to_owned(), otherwise: String::new() };
    let task = MakeTask { kind: TaskKind::Call.into(), title: "Call a lead".to_owned(), ..MakeTask::default() };
    let playbook = Playbook {
        trigger: Some(Trigger { kind: Some(trigger::Kind::Stage(StageTrigger { stages, from_stages: Vec::new() })) }),
        purpose: Purpose::Support.into(),
        holdout_basis_points: 1_000,
        variants: vec![Variant {
            id: "call".to_owned(),
            weight: 1,
            steps: vec![step(step::Action::Branch(branch)), step(step::Action::Task(task))],
        }],
        ..Playbook::default()
    };
    let request = CreatePlaybookRequest {
        playbook_id: PLAYBOOK.to_owned(),
        playbook: Some(playbook),
        ..CreatePlaybookRequest::default()
    };
    playbooks.create_playbook(authorised(request, Some(&server.service))).await?;
    let request = StartPlaybookRequest { name: format!("playbooks/{PLAYBOOK}"), ..StartPlaybookRequest::default() };
    playbooks.start_playbook(authorised(request, Some(&server.service))).await?;
    Ok(())
}

/// Customers whose runs are through but for being measured.
async fn assigned(mut playbooks: PlaybookServiceClient<Channel>, server: &Server) -> anyhow::Result<i64> {
    let request = GetPlaybookOutcomeRequest { name: format!("playbooks/{PLAYBOOK}"), version: 0 };
    let outcome = playbooks.get_playbook_outcome(authorised(request, Some(&server.service))).await?;
    Ok(outcome.into_inner().waiting_customers)
}
