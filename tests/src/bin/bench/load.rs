//! Many callers at once, each with one call under way, over a few connections.

use crate::codec::{Length, Prepared};
use crate::generator::Random;
use crate::server::{authorised, connect};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::uri::PathAndQuery;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

/// Callers where nobody says.
const CALLERS: usize = 32;
const CONNECTIONS: usize = 4;
/// The longest time that is told apart.
const LONGEST: Duration = Duration::from_mins(1);

/// A call that is made again and again, each time for another customer.
#[derive(Clone)]
pub struct Call {
    channels: Vec<Channel>,
    path: PathAndQuery,
    token: Option<MetadataValue<Ascii>>,
    request: Arc<dyn Fn(u64) -> Bytes + Send + Sync>,
    customers: u64,
    callers: usize,
}

/// What calls have done.
pub struct Calls {
    /// How long each took, in nanoseconds.
    pub latency: Histogram<u64>,
    /// The bytes of all answers.
    pub answer_bytes: u64,
    /// How long all took.
    pub elapsed: Duration,
}

impl Call {
    /// Calls of a method at a URL; `request` makes the encoded request for a customer's number.
    pub async fn new(
        url: &str,
        path: &'static str,
        token: Option<&MetadataValue<Ascii>>,
        customers: u32,
        request: impl Fn(u64) -> Bytes + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let mut channels = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            channels.push(connect(url).await?);
        }
        Ok(Self {
            channels,
            path: PathAndQuery::from_static(path),
            token: token.cloned(),
            request: Arc::new(request),
            customers: u64::from(customers),
            callers: CALLERS,
        })
    }

    /// The same by one caller, who waits for nobody else.
    pub fn by_one(&self) -> Self {
        Self { callers: 1, ..self.clone() }
    }

    /// Calls until the time is over. `round` tells the customers of one round from those of another.
    pub async fn repeat(&self, time: Duration, round: u64) -> anyhow::Result<Calls> {
        let begun = Instant::now();
        let mut callers = JoinSet::new();
        for caller in 0..self.callers {
            let random = Random::new(round * 1_000 + caller as u64);
            let call = self.clone();
            callers.spawn(async move { call.one_caller(caller, random, begun + time).await });
        }
        let mut all = Calls::new()?;
        while let Some(ended) = callers.join_next().await {
            all.add(&ended??)?;
        }
        all.elapsed = begun.elapsed();
        Ok(all)
    }

    async fn one_caller(self, caller: usize, mut random: Random, until: Instant) -> anyhow::Result<Calls> {
        let mut client = Grpc::new(self.channels[caller % self.channels.len()].clone());
        let mut calls = Calls::new()?;
        loop {
            let begun = Instant::now();
            if begun >= until {
                return Ok(calls);
            }
            let request = authorised((self.request)(1 + random.below(self.customers)), self.token.as_ref());
            client.ready().await?;
            let answer = client.unary(request, self.path.clone(), Prepared::<Length>::default()).await?;
            calls.latency.saturating_record(begun.elapsed().as_nanos() as u64);
            calls.answer_bytes += answer.into_inner() as u64;
        }
    }
}

impl Calls {
    /// No calls yet.
    pub fn new() -> anyhow::Result<Self> {
        let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3)?;
        Ok(Self { latency, answer_bytes: 0, elapsed: Duration::ZERO })
    }

    /// Adds the calls of another round.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latency.add(&other.latency)?;
        self.answer_bytes += other.answer_bytes;
        self.elapsed += other.elapsed;
        Ok(())
    }

    /// Calls in a second.
    pub fn per_second(&self) -> f64 {
        self.latency.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that a share of the calls did not exceed, in milliseconds.
    pub fn milliseconds(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }

    /// The bytes of an answer on average.
    pub fn answer_bytes_on_average(&self) -> usize {
        (self.answer_bytes / self.latency.len().max(1)) as usize
    }
}
