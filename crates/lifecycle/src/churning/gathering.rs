//! Reading everybody as they were at past midnights, and who of them has ordered since.

use super::features::{self, Seen, history};
use super::{Churning, may_be_over, refused, told};
use crate::churn::{ChurnError, Table, Value};
use crate::stages::{Rational, StagePolicy};
use crate::worker::{MAX_MESSAGE_BYTES, stage_input};
use quintile_chain::listening::Stopped;
use quintile_chain::store_error;
use quintile_clv::History;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::ReadPastFeaturesRequest;
use quintile_proto::ingestion::feature_service_client::FeatureServiceClient;
use quintile_proto::lifecycle::ChurnProgress;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::client::upstream_error;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status, Streaming};

/// Models learn from one in so many customers that there are about this many: more teach nothing that so few features could tell.
const CUSTOMERS: i64 = 250_000;
/// How often a stream that ended without a further response is opened anew, and how much later each time.
const MAX_ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
/// For how many days before a midnight facts have to be kept: two windows of 365 days.
const KEPT_DAYS: i32 = 730;
/// How long the next response is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// The midnights that models learn from, and the one that tells what became of the last of them.
const MIDNIGHTS: usize = 4;

/// The customers of a midnight, and what became of them.
pub struct Period {
    /// The local day that begins with it.
    pub day: i32,
    /// What was known of each.
    pub table: Table,
    /// Whether each has left.
    pub left: Vec<bool>,
    /// The days since the last order of each.
    pub recency: Vec<f64>,
    /// These by the rhythm of each, as stages go by it.
    pub silence: Vec<f64>,
    /// The purchases of each.
    pub histories: Vec<History>,
}

/// What models learn from.
pub struct Gathered {
    /// To fit to, to calibrate on, and to judge by.
    pub periods: [Period; 3],
    /// The purchases by the first midnight of all who had ever bought by then: of those who left long ago it is learnt that customers leave.
    pub ever: Vec<History>,
    /// One in so many customers was read.
    pub one_in: i32,
}

/// Reads everybody for a horizon, in days. `tell` hears how far it is, and says whether to go on.
pub async fn gather(
    churning: &Churning,
    tenant: &Tenant,
    horizon: i32,
    tell: impl FnMut(ChurnProgress) -> bool,
) -> Result<Gathered, Stopped> {
    let today = tenant.zone.local_day(churning.runtime.business.now());
    let days: [i32; MIDNIGHTS] = [3, 2, 1, 0].map(|back| today - back * horizon);
    let policy = churning.policies.recent(tenant.id).await.map_err(|error| store_error(&error))?;
    let period = |day| Period::new(day).map_err(|error| told(&error));
    let mut gathering = Gathering {
        tenant,
        policy,
        midnights: days.map(|day| tenant.zone.start_of_day(day)),
        one_in: 1,
        tell,
        customers_read: 0,
        periods: [period(days[0])?, period(days[1])?, period(days[2])?],
        ever: Vec::new(),
    };
    let (mut cursor, mut attempts) = (String::new(), Attempts::default());
    loop {
        let before = cursor.clone();
        match gathering.stream(churning, &mut cursor).await {
            Ok(()) => break,
            Err(Failed::Stopped(stopped)) => return Err(stopped),
            Err(Failed::Upstream(status)) if status.code() == Code::FailedPrecondition => {
                let days = KEPT_DAYS + 3 * horizon;
                return Err(Some(refused(format!(
                    "facts of the last {days} days are needed, and are not kept any more"
                ))));
            }
            // A token that ran out, or a replica that went away: another stream goes on behind what was read.
            Err(Failed::Upstream(status)) => attempts.again(cursor != before, &status).await?,
        }
    }
    let Gathering { periods, ever, one_in, .. } = gathering;
    Ok(Gathered { periods, ever, one_in })
}

/// How often a stream was opened anew without getting any further.
#[derive(Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    /// Waits until a stream that ended early is opened anew, or gives what is told where that is of no use.
    pub(super) async fn again(&mut self, has_advanced: bool, status: &Status) -> Result<(), ApiError> {
        self.0 = if has_advanced { 1 } else { self.0 + 1 };
        if self.0 >= MAX_ATTEMPTS || !may_be_over(status.code()) {
            return Err(upstream_error(status));
        }
        tokio::time::sleep(self.0 * PAUSE).await;
        Ok(())
    }
}

/// Why a stream ended before it was complete.
pub(super) enum Failed {
    Stopped(Stopped),
    Upstream(Status),
}

struct Gathering<'a, T> {
    tenant: &'a Tenant,
    policy: Arc<StagePolicy>,
    midnights: [Instant; MIDNIGHTS],
    one_in: i32,
    tell: T,
    customers_read: i64,
    periods: [Period; 3],
    ever: Vec<History>,
}

/// One in how many customers is enough.
pub(super) fn one_in(customers: i64) -> i32 {
    i32::try_from((customers + CUSTOMERS - 1) / CUSTOMERS).unwrap_or(i32::MAX).max(1)
}

/// The next response, if it comes in time.
pub(super) async fn next<M>(responses: &mut Streaming<M>) -> Result<Option<M>, Status> {
    let response = tokio::time::timeout(PATIENCE, responses.message()).await;
    response.map_err(|_| Status::unavailable("nothing came in time"))?
}

impl<T: FnMut(ChurnProgress) -> bool> Gathering<'_, T> {
    async fn stream(&mut self, churning: &Churning, cursor: &mut String) -> Result<(), Failed> {
        let as_of = self.midnights.iter().copied().map(convert::timestamp).collect();
        let request = ReadPastFeaturesRequest { as_of, one_in: self.one_in, cursor: cursor.clone() };
        let request = churning.credentials.request(&self.tenant.name, request).await.map_err(Failed::Upstream)?;
        let client = FeatureServiceClient::new(churning.ingestion.clone());
        let mut client = client.max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut responses = client.read_past_features(request).await.map_err(Failed::Upstream)?.into_inner();
        let before = self.customers_read;
        while let Some(response) = next(&mut responses).await.map_err(Failed::Upstream)? {
            let one_in = one_in(response.customers);
            if cursor.is_empty() && one_in > self.one_in {
                // It is ingestion who knows how many there are.
                self.one_in = one_in;
                return Err(Failed::Upstream(Status::aborted("fewer customers are enough")));
            }
            for customer in response.records.chunk_by(|one, other| one.customer_id == other.customer_id) {
                self.add(customer).map_err(|error| Failed::Stopped(Some(told(&error))))?;
            }
            self.customers_read = before + response.customers_read;
            let progress = ChurnProgress { customers_read: self.customers_read, customers: response.customers };
            if !(self.tell)(progress) {
                return Err(Failed::Stopped(None));
            }
            if response.complete {
                return Ok(());
            }
            *cursor = response.cursor;
        }
        Err(Failed::Upstream(Status::unavailable("the stream of features ended early")))
    }

    /// Adds a customer to the periods in which it is one.
    fn add(&mut self, records: &[CustomerRecord]) -> Result<(), ChurnError> {
        let at = |midnight: Instant| {
            records.iter().find(|record| {
                let features = record.features.as_ref();
                features.is_some_and(|features| convert::sent_instant(features.as_of.as_ref()) == Some(midnight))
            })
        };
        let zone = &self.tenant.zone;
        let [first, ..] = self.midnights;
        let features = at(first).and_then(|record| record.features.as_ref());
        self.ever.extend(features.and_then(|features| history(features, zone.local_day(first), zone)));
        for (period, midnights) in self.periods.iter_mut().zip(self.midnights.windows(2)) {
            let &[midnight, next] = midnights else { continue };
            let (Some(record), Some(later)) = (at(midnight), at(next)) else { continue };
            let Some(seen) = Seen::active(record, midnight, zone, self.tenant.currency) else { continue };
            let (Some(features), Some(later)) = (&record.features, &later.features) else { continue };
            let decision = self.policy.evaluate(&stage_input(record), midnight, zone);
            let rhythm = decision.rhythm_p80.map_or(1.0, Rational::to_f64).max(1.0);
            let Some(history) = history(features, period.day, zone) else { continue };
            period.add(&seen, rhythm, history, later.orders == features.orders)?;
        }
        Ok(())
    }
}

impl Period {
    fn new(day: i32) -> Result<Self, ChurnError> {
        let table = Table::new(features::all())?;
        Ok(Self { day, table, left: Vec::new(), recency: Vec::new(), silence: Vec::new(), histories: Vec::new() })
    }

    fn add(&mut self, seen: &Seen<'_>, rhythm: f64, history: History, left: bool) -> Result<(), ChurnError> {
        let mut row = seen.row();
        loop {
            match self.table.push(&row) {
                Ok(()) => break,
                // What has more levels than a category is a name, and tells nothing of those who come late.
                Err(ChurnError::TooManyLevels(place)) if place < row.len() => row[place] = Value::Missing,
                Err(error) => return Err(error),
            }
        }
        let recency = seen.silence().unwrap_or(0.0);
        self.left.push(left);
        self.recency.push(recency);
        self.silence.push(recency / rhythm);
        self.histories.push(history);
        Ok(())
    }
}
