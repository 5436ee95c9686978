//! The public stream, as fast as it takes: a bounded number of batches in flight, each encoded before the clock starts.

use crate::codec::Prepared;
use crate::server::{Server, authorised};
use bytes::Bytes;
use futures::channel::mpsc;
use http::uri::PathAndQuery;
use prost::Message;
use quintile_proto::ingestion::{IngestRequest, IngestResponse, Row};
use std::time::{Duration, Instant};
use tonic::client::Grpc;
use tonic_prost::ProstDecoder;

const PATH: &str = "/quintile.ingestion.v1.IngestService/Ingest";

/// What a stream has done.
#[derive(Debug, Default)]
pub struct Ingested {
    /// Rows that were new.
    pub applied: i64,
    /// From the stream's beginning to its last acknowledgement.
    pub elapsed: Duration,
    /// The position of the last facts.
    pub facts_position: i64,
    /// The rows of each commit: batches whose facts have the same position were committed together.
    pub commits: Vec<usize>,
}

impl Ingested {
    /// Rows that were acknowledged in a second.
    pub fn rows_per_second(&self) -> f64 {
        self.applied as f64 / self.elapsed.as_secs_f64()
    }

    /// Rows of a commit on average.
    pub fn rows_per_commit(&self) -> usize {
        self.commits.iter().sum::<usize>() / self.commits.len().max(1)
    }
}

/// The encoded batches of a stream.
pub struct Batches {
    encoded: Vec<Bytes>,
    rows: usize,
    rows_per_batch: usize,
}

/// When the batches of a stream were sent, and when each of them was acknowledged.
pub struct Paced {
    /// By batch.
    pub sent: Vec<Instant>,
    /// By batch.
    pub acknowledged: Vec<Instant>,
}

/// Encodes the rows of a stream.
pub fn encode(stream_id: &str, rows: usize, rows_per_batch: usize, row: impl Fn(usize) -> Row) -> Batches {
    let firsts = (0..rows).step_by(rows_per_batch);
    let encoded = firsts.enumerate().map(|(offset, first)| {
        let places = first..rows.min(first + rows_per_batch);
        let (stream_id, rows) = (stream_id.to_owned(), places.map(&row).collect());
        IngestRequest { stream_id, offset: offset as i64, rows }.encode_to_vec().into()
    });
    Batches { encoded: encoded.collect(), rows, rows_per_batch }
}

/// Sends batches, never more than `in_flight` ahead of their acknowledgements.
pub async fn send(server: &Server, batches: Batches, in_flight: usize) -> anyhow::Result<Ingested> {
    let mut client = Grpc::new(server.connect("ingestion").await?);
    client.ready().await?;
    let mut left = batches.encoded.into_iter();
    let (sender, requests) = mpsc::unbounded();
    let mut send_next = || {
        if let Some(batch) = left.next() {
            // If the stream takes no more, its own end says why.
            let _ = sender.unbounded_send(batch);
        } else {
            sender.close_channel();
        }
    };
    let begun = Instant::now();
    for _ in 0..in_flight {
        send_next();
    }
    let codec = Prepared::<ProstDecoder<IngestResponse>>::default();
    let request = authorised(requests, Some(&server.service));
    let mut answers = client.streaming(request, PathAndQuery::from_static(PATH), codec).await?.into_inner();
    let mut ingested = Ingested::default();
    while let Some(answer) = answers.message().await? {
        send_next();
        anyhow::ensure!(answer.rejects.is_empty(), "rejected: {:?}", answer.rejects[0]);
        let first = (answer.acked_offset as usize - 1) * batches.rows_per_batch;
        let rows = batches.rows_per_batch.min(batches.rows - first);
        match ingested.commits.last_mut() {
            Some(commit) if answer.facts_position == ingested.facts_position => *commit += rows,
            _ => ingested.commits.push(rows),
        }
        ingested.applied += answer.applied;
        ingested.facts_position = answer.facts_position;
    }
    ingested.elapsed = begun.elapsed();
    Ok(ingested)
}

/// Sends a batch every so often, however many are not acknowledged yet, as clients do whose customers buy meanwhile. One that was held up is sent
/// as soon as it can be, so that the rate stays the same.
pub async fn pace(server: &Server, batches: Batches, every: Duration) -> anyhow::Result<Paced> {
    let mut client = Grpc::new(server.connect("ingestion").await?);
    client.ready().await?;
    let Batches { encoded, rows, .. } = batches;
    let count = encoded.len();
    let (sender, requests) = mpsc::unbounded();
    let sending = tokio::spawn(async move {
        let mut sent = Vec::with_capacity(count);
        let mut ticks = tokio::time::interval(every);
        for batch in encoded {
            ticks.tick().await;
            sent.push(Instant::now());
            if sender.unbounded_send(batch).is_err() {
                // The stream's own end says why.
                break;
            }
        }
        sent
    });
    let codec = Prepared::<ProstDecoder<IngestResponse>>::default();
    let request = authorised(requests, Some(&server.service));
    let mut answers = client.streaming(request, PathAndQuery::from_static(PATH), codec).await?.into_inner();
    let (mut acknowledged, mut applied) = (Vec::with_capacity(count), 0);
    while let Some(answer) = answers.message().await? {
        acknowledged.push(Instant::now());
        anyhow::ensure!(answer.rejects.is_empty(), "rejected: {:?}", answer.rejects[0]);
        applied += answer.applied;
    }
    anyhow::ensure!(acknowledged.len() == count, "{} of {count} batches were acknowledged", acknowledged.len());
    anyhow::ensure!(applied == rows as i64, "{applied} of {rows} rows were new");
    Ok(Paced { sent: sending.await?, acknowledged })
}
