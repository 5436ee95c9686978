//! What to do next with a customer: the playbooks that run and are for it, by what they have been measured to bring about.

use super::eligibility::{Asked, memberships};
use super::playbook_runs::{self, Arms};
use super::records::current;
use crate::outcome::{Adjustment, Arm, Candidate, Estimate, Outcome, Ranked, Ranking, Standing};
use crate::running::Playbooks;
use crate::store::playbooks::{self, Stored};
use crate::store::runs;
use crate::worker::StageLink;
use futures::future::try_join_all;
use parking_lot::Mutex;
use quintile_chain::context::Runtime;
use quintile_chain::store_error;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::masking::Sensitivity;
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{ActionStanding, NextBestAction, NextBestActions, RunRefusal};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex as AsyncMutex;

/// How long what was measured is remembered, in microseconds.
const REMEMBERED_MICROS: i64 = 60_000_000;
/// The most that is remembered at once.
const MAX_REMEMBERED: usize = 10_000;
/// Playbooks that are measured at once.
const AT_ONCE: usize = 8;

/// What is measured of a version of a playbook, of those whom somebody reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Version {
    tenant: TenantId,
    number: i64,
    version: i64,
    /// The row scope, with the caller's own attributes put in.
    reach: String,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    /// The uplift of all variants together. `None`: one of the sides has nobody.
    uplift: Option<Estimate>,
    /// What is spent for each customer who buys, in minor units.
    per_buyer_minor: i64,
}

impl Measured {
    fn of(arms: &Arms) -> Self {
        let treated = arms.treated();
        let all = treated.iter().fold(arms.holdout, |all, arm: &Arm| all.merged(arm));
        let buyers = i128::from(all.converted);
        // To the nearest minor unit, as all that is told of estimates.
        let per_buyer = all.revenue_sum.saturating_add(buyers / 2).checked_div(buyers).unwrap_or_default();
        Self {
            uplift: Outcome::of(&treated, &arms.holdout, Adjustment::None).overall.map(|effect| effect.conversion),
            per_buyer_minor: i64::try_from(per_buyer).unwrap_or(i64::MAX),
        }
    }
}

/// What was measured, and when. Whoever holds it measures, and the others wait for that instead of doing the same.
type Remembered = Arc<AsyncMutex<Option<(Instant, Measured)>>>;

/// What playbooks have been measured to bring about, remembered for a minute: it is the same for every customer who is asked about.
pub struct Measurements {
    clock: MachineClock,
    known: Mutex<HashMap<Version, Remembered>>,
}

impl Measurements {
    /// Nothing is known yet.
    pub fn new(clock: MachineClock) -> Self {
        Self { clock, known: Mutex::default() }
    }

    async fn of(&self, runtime: &Runtime, caller: &Caller, stored: &Stored) -> Result<Measured, ApiError> {
        let version = stored.playbook.version;
        let reach = caller.scope().map(|scope| format!("{scope:?}")).unwrap_or_default();
        let remembered = self.remembered(Version { tenant: caller.tenant().id, number: stored.number, version, reach });
        let mut remembered = remembered.lock().await;
        let now = self.clock.now();
        let is_recent = |at: Instant| at.plus_micros(REMEMBERED_MICROS) > now && at <= now;
        if let Some((_, measured)) = remembered.filter(|(at, _)| is_recent(*at)) {
            return Ok(measured);
        }
        let measured = Measured::of(&playbook_runs::arms(runtime, caller, stored, version).await?);
        *remembered = Some((self.clock.now(), measured));
        Ok(measured)
    }

    fn remembered(&self, version: Version) -> Remembered {
        let mut known = self.known.lock();
        if known.len() >= MAX_REMEMBERED {
            // Those that nobody waits for: they are measured again when they are asked for.
            known.retain(|_, remembered| Arc::strong_count(remembered) > 1);
        }
        known.entry(version).or_default().clone()
    }
}

/// What an answer is made with.
pub struct Advisor<'a> {
    pub runtime: &'a Runtime,
    pub link: &'a StageLink,
    pub playbooks: &'a Playbooks,
    pub measurements: &'a Measurements,
    pub caller: &'a Caller,
}

impl Advisor<'_> {
    /// What to do next with a customer.
    pub async fn advise(&self, customer: CustomerId) -> Answer<NextBestActions> {
        let (tenant, database) = (self.caller.tenant(), self.runtime.database.reader());
        let current = current(self.runtime, self.link, self.caller, customer).await?;
        let read = async {
            let running = playbooks::running(database, tenant.id).await?;
            let runs = runs::of_customers(database, tenant.id, &[customer.as_i64()], false).await?;
            Ok((running, runs))
        };
        let (running, runs) = read.await.map_err(|error: StoreError| store_error(&error))?;
        let memberships = memberships(self.playbooks, self.caller, customer, &running).await?;
        let asked =
            Asked { customer, record: &current.record, runs: &runs, memberships, now: self.runtime.business.now() };
        let is_eligible = |stored: &&Stored| asked.refusal_by(stored) == Some(RunRefusal::Unspecified);
        let eligible: Vec<&Stored> = running.iter().filter(is_eligible).collect();
        let mut candidates = Vec::with_capacity(eligible.len());
        for part in eligible.chunks(AT_ONCE) {
            let measured = part.iter().map(|stored| self.measurements.of(self.runtime, self.caller, stored));
            for (playbook, measured) in part.iter().zip(try_join_all(measured).await?) {
                let value_minor = self.value_of(&current.record, measured);
                candidates.push(Candidate { playbook: *playbook, uplift: measured.uplift, value_minor });
            }
        }
        let uplifts: HashMap<i64, Option<Estimate>> =
            candidates.iter().map(|candidate| (candidate.playbook.number, candidate.uplift)).collect();
        let ranked = Ranking::of(candidates).ranked;
        let message = |ranked: &Ranked<&Stored>| {
            action(ranked, uplifts.get(&ranked.playbook.number).copied().flatten(), tenant.currency)
        };
        Ok(current.view.respond(NextBestActions {
            customer: customer.to_string(),
            actions: ranked.iter().map(message).collect(),
            watermark: Some(current.watermark.to_message()),
        }))
    }

    /// What it is worth if a customer buys, in minor units. What others spend is nothing to whoever does not read everybody's money.
    fn value_of(&self, record: &CustomerRecord, measured: Measured) -> i64 {
        let own = record.features.as_ref().filter(|features| features.orders > 0);
        let per_buyer = measured.per_buyer_minor;
        let others = if self.caller.reads_in_clear(Sensitivity::Financial) { per_buyer } else { 0 };
        let average = own.and_then(|features| features.average_order_value.as_ref());
        convert::sent_minor(average, self.caller.tenant().currency).unwrap_or(others).max(0)
    }
}

fn action(ranked: &Ranked<&Stored>, uplift: Option<Estimate>, currency: Currency) -> NextBestAction {
    let money = |minor: f64| convert::money(currency, minor.round() as i64);
    let standing = match ranked.standing {
        Standing::Proven => ActionStanding::Proven,
        Standing::Promising => ActionStanding::Promising,
        Standing::Unknown => ActionStanding::Unknown,
        Standing::Doubtful => ActionStanding::Doubtful,
        Standing::Harmful => ActionStanding::Harmful,
    };
    let playbook = &ranked.playbook.playbook;
    NextBestAction {
        playbook: playbook.name.clone(),
        display_name: playbook.display_name.clone(),
        version: playbook.version,
        standing: standing.into(),
        uplift: uplift.map(playbook_runs::difference_message),
        value: Some(convert::money(currency, ranked.value_minor)),
        expected: ranked.expected_minor.map(money),
        at_least: ranked.at_least_minor.map(money),
    }
}
