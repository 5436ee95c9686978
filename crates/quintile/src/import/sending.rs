//! Batches through the public stream, from where it stands.

use crate::config::{Config, Role};
use crate::progress::Progress;
use crate::remote::{Session, connect};
use anyhow::{Context, bail};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use quintile_import::{Batch, ImportError, Place};
use quintile_proto::ingestion::ingest_service_client::IngestServiceClient;
use quintile_proto::ingestion::{GetIngestStreamRequest, IngestRequest, IngestResponse};
use quintile_proto::types::ErrorReason;
use serde::Serialize;
use std::time::{Duration, Instant as Stopwatch};
use tonic::Code;

/// Batches that are sent ahead of their acknowledgements.
const BATCHES_AHEAD: usize = 8;
/// Rejects that are shown; the rest are counted.
const SHOWN_REJECTS: u64 = 10;

/// What the sending has done.
#[derive(Debug, Default, Serialize)]
pub struct Sent {
    /// Rows that were sent now.
    pub rows: u64,
    /// Batches that were acknowledged before: this run went on behind them.
    pub batches_before: u64,
    /// Rows that were new.
    pub applied: i64,
    /// Rows that were there already.
    pub duplicates: i64,
    /// Rows that were refused.
    pub rejected: u64,
    /// The position of the last facts.
    pub facts_position: i64,
    /// How long it took.
    #[serde(skip)]
    pub elapsed: Duration,
}

impl Sent {
    /// Rows that were sent and acknowledged in a second.
    pub fn rows_per_second(&self) -> u64 {
        (self.rows as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)) as u64
    }
}

/// A row that was not taken in.
pub struct Refused {
    /// Where it came from.
    pub place: Place,
    /// The field at fault, as a path.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What is sent, and what becomes of what is refused.
pub struct Sending<'a, B> {
    /// The stream's name.
    pub stream_id: &'a str,
    /// The batches of the stream, from its first.
    pub batches: B,
    /// Sorted facts in all, as the batches count them.
    pub total: u64,
    /// Whether the first refused row ends the sending.
    pub strict: bool,
    /// What hears of refused rows.
    pub refused: &'a mut (dyn FnMut(Refused) -> anyhow::Result<()> + Send),
    /// How a place is shown.
    pub show: &'a (dyn Fn(Place) -> String + Sync),
}

/// What is remembered of a batch until it is acknowledged.
struct Ahead {
    places: Vec<Place>,
    rejected: Vec<Refused>,
    done: u64,
}

/// Sends batches that were not acknowledged before, and gives the iterator back.
pub async fn send<B>(config: &Config, session: &Session, sending: Sending<'_, B>) -> anyhow::Result<(Sent, B)>
where
    B: Iterator<Item = Result<Batch, ImportError>> + Send + 'static,
{
    let Sending { stream_id, batches, total, strict, refused, show } = sending;
    let mut client = IngestServiceClient::new(connect(config, Role::Ingestion)?);
    let name = format!("ingestStreams/{stream_id}");
    let (acked, facts_position) = match client.get_ingest_stream(session.request(GetIngestStreamRequest { name })).await
    {
        Ok(stream) => (stream.get_ref().acked_offset, stream.get_ref().facts_position),
        Err(status) if status.code() == Code::NotFound => (0, 0),
        Err(status) => return Err(status.into()),
    };
    let begun = Stopwatch::now();
    let mut sent = Sent { batches_before: acked.unsigned_abs(), facts_position, ..Sent::default() };
    let mut progress = Progress::new("sent");
    let (sender, requests) = mpsc::channel(BATCHES_AHEAD);
    let (aheads, mut ahead) = mpsc::unbounded();
    let feeding = tokio::task::spawn_blocking({
        let stream_id = stream_id.to_owned();
        move || feed(batches, &stream_id, acked, sender, &aheads)
    });
    let mut hear = |reject: Refused, progress: &Progress, sent: &mut Sent| {
        sent.rejected += 1;
        let said = format!("{}: rejected: {}: {}", show(reject.place), reject.field, reject.message);
        anyhow::ensure!(!strict, "{said}");
        if sent.rejected <= SHOWN_REJECTS {
            progress.say(&said);
        }
        refused(reject)
    };
    let mut answers = client.ingest(session.request(requests)).await?.into_inner();
    while let Some(answer) = answers.next().await {
        let answer = answer.context("the import was interrupted: run it again and it goes on")?;
        let Some(batch) = ahead.next().await else { bail!("the server acknowledged a batch that was not sent") };
        sent.rows += batch.places.len() as u64;
        sent.applied += answer.applied;
        sent.duplicates += answer.duplicates;
        sent.facts_position = sent.facts_position.max(answer.facts_position);
        for reject in of_answer(&answer, &batch.places).chain(batch.rejected) {
            hear(reject, &progress, &mut sent)?;
        }
        progress.at(batch.done, total, sent.rows);
    }
    let batches = feeding.await??;
    // Behind the last batch there may be lines that are no row.
    while let Some(batch) = ahead.next().await {
        for reject in batch.rejected {
            hear(reject, &progress, &mut sent)?;
        }
    }
    sent.elapsed = begun.elapsed();
    progress.finish();
    Ok((sent, batches))
}

/// Hands batches over as they are taken, and what is to be remembered of each.
fn feed<B: Iterator<Item = Result<Batch, ImportError>>>(
    mut batches: B,
    stream_id: &str,
    acked: i64,
    mut sender: mpsc::Sender<IngestRequest>,
    aheads: &mpsc::UnboundedSender<Ahead>,
) -> Result<B, ImportError> {
    for batch in batches.by_ref() {
        let Batch { offset, rows, places, rejected, done } = batch?;
        if offset < acked {
            continue;
        }
        let refused = |(place, problem): (Place, quintile_import::reject::Problem)| Refused {
            place,
            field: problem.field.to_owned(),
            message: problem.message.to_owned(),
        };
        let ahead = Ahead { places, rejected: rejected.into_iter().map(refused).collect(), done };
        // Where nobody listens any more the stream has ended, and its answer says why.
        let heard = aheads.unbounded_send(ahead).is_ok();
        let request = IngestRequest { stream_id: stream_id.to_owned(), offset, rows };
        if !heard || (!request.rows.is_empty() && futures::executor::block_on(sender.send(request)).is_err()) {
            break;
        }
    }
    Ok(batches)
}

fn of_answer<'a>(answer: &'a IngestResponse, places: &'a [Place]) -> impl Iterator<Item = Refused> + 'a {
    answer.rejects.iter().filter_map(|reject| {
        let reason = ErrorReason::try_from(reject.reason).unwrap_or_default().as_str_name();
        Some(Refused {
            place: *places.get(usize::try_from(reject.row).ok()?)?,
            field: reject.field.clone(),
            message: format!("{} ({reason})", reject.message),
        })
    })
}
