//! Going on with runs that have come due: a part at a time, each in one transaction with what its steps bring about.

mod made;

use super::dates::{Calendars, Next, trigger_of};
use super::follow_ups;
use super::granted::{self, Skips};
use super::{CUSTOMERS_PER_PART, LOOK, Members, Playbooks, SOON};
use crate::granting::{Codes, Granting};
use crate::outcome::Side;
use crate::playbooks::{Action, ContactRules, Customer, Occasion, experiment, grants_anything, segments_of};
use crate::store::runs::{self, Stored};
use crate::store::{contact_policies, deliveries, playbooks, tasks};
use crate::worker::watermark;
use quintile_chain::context::WorkError;
use quintile_chain::feed;
use quintile_chain::progress::Watermark;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::ResponseTargets;
use quintile_proto::lifecycle::{Playbook, RunState, StepSkipReason};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_store::history::Position;
use quintile_store::{StoreError, Transaction, failpoint, records};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// How long a run that was just triggered waits for the watermark to pass its facts, where nothing tells that it has: a feed tells it right behind the
/// records that it covers.
const SETTLES_WITHIN: Duration = Duration::from_millis(300);

/// Goes on with runs without end.
pub async fn go_on(playbooks: &Playbooks, tenant: &Tenant) -> Result<(), WorkError> {
    let mut looking = Looking {
        playbooks,
        tenant,
        revision: None,
        known: HashMap::new(),
        calendars: Calendars::default(),
        begun: VecDeque::new(),
        settled_up_to: 0,
        pending: None,
    };
    let mut progress = playbooks.runtime.progress.of(tenant.id).subscribe();
    loop {
        progress.mark_unchanged();
        match looking.look().await? {
            Next::More => {}
            Next::Soon => tokio::time::sleep(SOON).await,
            Next::Nothing => tokio::select! {
                _ = progress.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            },
        }
    }
}

struct Looking<'a> {
    playbooks: &'a Playbooks,
    tenant: &'a Tenant,
    /// Which change of the playbooks is known, and the playbooks by number.
    revision: Option<i64>,
    known: HashMap<i64, playbooks::Stored>,
    /// The days that begin runs of them.
    calendars: Calendars<'a>,
    /// Runs that wait for the watermark, in the order of their numbers.
    begun: VecDeque<Begun>,
    /// Up to which number runs wait no more.
    settled_up_to: i64,
    /// What segmentation has yet to reach before the runs that ask it are gone on with.
    pending: Option<Watermark>,
}

/// Runs up to a number that had begun when it was looked: where the watermark was, and when that was.
struct Begun {
    head: i64,
    facts_position: i64,
    at: MachineInstant,
}

/// What a part is gone on with by.
struct Part {
    watermark: Watermark,
    now: Instant,
    rules: ContactRules,
    due: Vec<Stored>,
    records: HashMap<CustomerId, CustomerRecord>,
    members: Members,
    /// Within which time feedback is to be answered. 0 hours: nobody asks, or it need not be.
    targets: ResponseTargets,
}

/// What a part brings about: actions of a run of a customer's.
type Actions = Vec<(Stored, Action)>;

impl Looking<'_> {
    /// Goes on with a part of what is due, and begins a part of what days begin. Returns when there is something to do again.
    async fn look(&mut self) -> Result<Next, WorkError> {
        if let Some((revision, all)) = self.playbooks.changed_since(self.tenant, self.revision).await? {
            self.revision = Some(revision);
            self.calendars = Calendars::of(self.playbooks, self.tenant, revision, &all).await?;
            self.known = all.into_iter().map(|stored| (stored.number, stored)).collect();
        }
        if self.known.is_empty() {
            return Ok(Next::Nothing);
        }
        let policy = contact_policies::get(self.playbooks.runtime.database.reader(), self.tenant.id).await?;
        if policy.paused {
            return Ok(Next::Nothing);
        }
        let rules = ContactRules::of(&policy, &self.tenant.zone);
        let watermark = watermark(&self.playbooks.runtime, self.tenant.id).await?;
        let (next, days_up_to) = self.calendars.step(watermark).await?;
        let behind_days = |of: Watermark| Watermark { time: of.time.into_iter().chain(days_up_to).min(), ..of };
        let (asking, others): (Vec<i64>, Vec<i64>) =
            self.known.keys().partition(|number| asks_others(&self.known, **number));
        // Those that need nobody else do not wait for those that do.
        let reached = self.pending.take().unwrap_or(watermark);
        let mut more = false;
        for (numbers, watermark) in [(others, watermark), (asking, reached)] {
            let (by_days, by_others): (Vec<i64>, Vec<i64>) =
                numbers.into_iter().partition(|number| begun_by_days(&self.known, *number));
            more |= self.go_on_with_some(&by_others, &rules, watermark).await?;
            more |= self.go_on_with_some(&by_days, &rules, behind_days(watermark)).await?;
        }
        let soon = if self.pending.is_some() { Next::Soon } else { Next::Nothing };
        Ok(if more { Next::More } else { next.max(soon) })
    }

    /// Goes on with a part of what is due of some playbooks. Returns whether there may be more.
    async fn go_on_with_some(
        &mut self,
        numbers: &[i64],
        rules: &ContactRules,
        watermark: Watermark,
    ) -> Result<bool, WorkError> {
        let Some(now) = watermark.time.filter(|_| !numbers.is_empty()) else { return Ok(false) };
        let database = self.playbooks.runtime.database.reader();
        let due = runs::due(database, self.tenant.id, now, numbers, CUSTOMERS_PER_PART).await?;
        let is_full = due.len() as u64 == CUSTOMERS_PER_PART;
        let due = self.settled(due, watermark).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let records = self.records(&due).await?;
        let (members, targets) = (Members::new(), ResponseTargets::default());
        let mut part = Part { watermark, now, rules: rules.clone(), due, records, members, targets };
        if !self.find_members(&mut part).await || !self.find_targets(&mut part).await {
            self.pending = Some(watermark);
            return Ok(false);
        }
        self.take(part).await?;
        Ok(is_full)
    }

    /// The runs that can be gone on with: whoever was just triggered waits until the watermark is past its facts, so that segmentation can be asked for them.
    async fn settled(&mut self, due: Vec<Stored>, watermark: Watermark) -> Result<Vec<Stored>, StoreError> {
        let asks = |stored: &Stored| asks_segments(&self.known, stored.playbook);
        if !due.iter().any(asks) {
            return Ok(due);
        }
        // Noted for all that have begun, and not for those alone that are due in this part: the next part need not wait for itself.
        let head = runs::head(self.playbooks.runtime.database.reader(), self.tenant.id).await?;
        if self.begun.back().is_none_or(|last| last.head < head) {
            self.begun.push_back(Begun { head, facts_position: watermark.facts_position, at: MachineInstant::now() });
        }
        let is_past =
            |begun: &mut Begun| watermark.facts_position > begun.facts_position || begun.at.elapsed() >= SETTLES_WITHIN;
        while let Some(begun) = self.begun.pop_front_if(is_past) {
            self.settled_up_to = begun.head;
        }
        let is_settled =
            |stored: &Stored| stored.run.state != RunState::Triggered || stored.position.seq <= self.settled_up_to;
        Ok(due.into_iter().filter(is_settled).collect())
    }

    async fn records(&self, due: &[Stored]) -> Result<HashMap<CustomerId, CustomerRecord>, StoreError> {
        let customers: BTreeSet<CustomerId> = due.iter().map(|stored| stored.customer).collect();
        let customers: Vec<CustomerId> = customers.into_iter().collect();
        let rows = records::load(self.playbooks.runtime.database.reader(), self.tenant.id, &customers).await?;
        let there = rows.iter().filter(|row| !row.is_tombstone());
        there.map(|row| Ok((row.customer, feed::decode(row)?))).collect()
    }

    /// Finds out who of a part is in which segments. Returns whether that is known, as of the part's watermark.
    async fn find_members(&self, part: &mut Part) -> bool {
        let mut asked: HashMap<String, BTreeSet<CustomerId>> = HashMap::new();
        for stored in &part.due {
            let Some(playbook) = self.known.get(&stored.playbook) else { continue };
            for segment in segments_of(&playbook.playbook, false) {
                asked.entry(segment.to_owned()).or_default().insert(stored.customer);
            }
        }
        let members = self.playbooks.members_of_all(self.tenant, &asked, part.watermark).await;
        let is_known = members.is_some();
        part.members = members.unwrap_or_default();
        is_known
    }

    /// Finds out within which time feedback is to be answered, where a task may go by that. Returns whether it is known.
    async fn find_targets(&self, part: &mut Part) -> bool {
        let mut known = part.due.iter().filter_map(|stored| self.known.get(&stored.playbook));
        if !known.any(|known| follow_ups::goes_by_target(&known.playbook)) {
            return true;
        }
        let targets = follow_ups::targets(self.playbooks, self.tenant).await;
        let is_known = targets.is_some();
        part.targets = targets.unwrap_or_default();
        is_known
    }

    /// Goes on with a part, in one transaction.
    async fn take(&self, part: Part) -> Result<(), WorkError> {
        let database = &self.playbooks.runtime.database;
        let customers: BTreeSet<i64> = part.due.iter().map(|stored| stored.customer.as_i64()).collect();
        let customers: Vec<i64> = customers.into_iter().collect();
        let codes = self.codes_for(&part).await?;
        let transaction = database.begin().await?;
        let mut all = runs::of_customers(&transaction, self.tenant.id, &customers, true).await?;
        if self.revision != Some(playbooks::revision(&transaction, self.tenant.id).await?) {
            // A playbook was started since, and what it has begun would be taken for another version's; or one was stopped.
            return Ok(());
        }
        let mut contacts: HashMap<i64, Vec<Instant>> = HashMap::new();
        let earliest = part.due.iter().filter_map(|stored| stored.run.due_at()).min();
        if let Some((cap, earliest)) = part.rules.cap_micros().zip(earliest) {
            let behind = earliest.plus_micros(-cap);
            for (customer, at) in deliveries::contacts(&transaction, self.tenant.id, &customers, behind).await? {
                contacts.entry(customer).or_default().push(at);
            }
        }
        // Another replica may have gone on with some, or somebody have stopped them.
        let found: HashMap<_, _> = part.due.iter().map(|stored| ((stored.customer, stored.position), stored)).collect();
        let due: Vec<usize> = (0..all.len())
            .filter(|place| {
                let stored = &all[*place];
                found.get(&(stored.customer, stored.position)).is_some_and(|found| *found == stored)
            })
            .collect();
        let mut actions = Actions::new();
        let same = |one: &usize, other: &usize| all[*one].customer == all[*other].customer;
        let by_customer: Vec<Vec<usize>> = due.chunk_by(same).map(<[usize]>::to_vec).collect();
        for places in by_customer {
            let contacts = contacts.entry(all[places[0]].customer.as_i64()).or_default();
            self.go_on_with_customer(&part, &mut all, &places, contacts, &mut actions);
        }
        for (customer, position, step, reason) in self.write(&transaction, &part, codes, actions).await? {
            let found = all.binary_search_by_key(&(customer, position), |stored| (stored.customer, stored.position));
            if let Ok(place) = found {
                all[place].run.skip(step, reason);
            }
        }
        let changed: Vec<Stored> = due.iter().map(|place| all[*place].clone()).collect();
        runs::write(&transaction, self.tenant.id, &changed).await?;
        failpoint::reach("playbooks", "before_part").await;
        transaction.commit().await.map_err(StoreError::from)?;
        // Whoever sends messages looks at once.
        self.playbooks.runtime.progress.of(self.tenant.id).raise(Watermark::default());
        Ok(())
    }

    /// Goes on with the runs of one customer that are due, at these places among all: in the order of the instants at which anything of them is, so that what
    /// one does counts for the others as if time had come by itself.
    fn go_on_with_customer(
        &self,
        part: &Part,
        all: &mut [Stored],
        places: &[usize],
        contacts: &mut Vec<Instant>,
        actions: &mut Actions,
    ) {
        let next = |all: &[Stored]| {
            let due = places.iter().filter_map(|place| Some((all[*place].run.due_at()?, *place)));
            due.filter(|(at, _)| *at <= part.now).min()
        };
        while let Some((at, place)) = next(all) {
            let (before, behind) = all.split_at_mut(place);
            let stored = &mut behind[0];
            let was = stored.run.clone();
            let done = self.go_on_with(part, at, stored, before, contacts);
            // The next part, which follows at once, knows whether the customer was contacted.
            let is_known = part.rules.cap_micros().is_none() || !done.last().is_some_and(Action::may_fail);
            actions.extend(done.into_iter().map(|action| (stored.clone(), action)));
            // Whatever is due is gone on with: nothing may keep it where it is.
            if stored.run == was {
                tracing::error!(run = stored.name(), "a run is due and does not go on");
                return;
            }
            if !is_known {
                return;
            }
        }
    }

    /// Goes on with one run, as of an instant. `before` are runs of this customer and of others that were triggered earlier.
    fn go_on_with(
        &self,
        part: &Part,
        at: Instant,
        stored: &mut Stored,
        before: &[Stored],
        contacts: &mut Vec<Instant>,
    ) -> Vec<Action> {
        let nothing = Playbook::default();
        let known = self.known.get(&stored.playbook);
        let known = known.filter(|known| known.playbook.version == stored.version);
        // Another version runs, or none: it was stopped. Whoever was assigned is still measured.
        if !known.is_some_and(playbooks::Stored::is_running) {
            stored.run.stop();
        }
        let number = stored.customer.as_i64();
        let is_member =
            |segment: &str| part.members.get(segment).and_then(Option::as_ref).map(|members| members.contains(&number));
        let record = part.records.get(&stored.customer);
        let customer = Customer { number: number.unsigned_abs(), record, is_member: &is_member };
        let playbook = known.map_or(&nothing, |known| &known.playbook);
        let occasion = Occasion { playbook, currency: self.tenant.currency, rules: &part.rules, now: at };
        if stored.run.state == RunState::Triggered {
            let same = |other: &&Stored| other.customer == stored.customer && other.playbook == stored.playbook;
            let earlier: Vec<_> = before.iter().filter(same).map(|other| &other.run).collect();
            let side = experiment(playbook).map(|experiment| experiment.side(customer.number));
            stored.run.assign(&occasion, &customer, &earlier, side.unwrap_or(Side::Holdout));
        }
        stored.run.advance(&occasion, &customer, contacts)
    }

    /// The keys of codes, where a run of a part may grant something or tell of it.
    async fn codes_for(&self, part: &Part) -> Result<Option<Codes>, StoreError> {
        let mut known = part.due.iter().filter_map(|stored| self.known.get(&stored.playbook));
        if known.any(|known| grants_anything(&known.playbook)) {
            return Codes::of(&self.playbooks.runtime.keys, self.tenant.id).await.map(Some);
        }
        Ok(None)
    }

    /// Writes down what a part brings about. Returns the steps that were to grant something, or to tell of it, and did not.
    async fn write(
        &self,
        transaction: &Transaction,
        part: &Part,
        codes: Option<Codes>,
        actions: Actions,
    ) -> Result<Skips, StoreError> {
        let mut skips = Skips::new();
        if actions.is_empty() {
            return Ok(skips);
        }
        let seq = deliveries::next_seq(transaction, self.tenant.id).await?;
        let mut granting = match codes {
            Some(codes) => {
                let wanted = granted::wanted(&actions, &self.known);
                Some(Granting::begin(transaction, self.tenant, codes, (seq, part.now), wanted).await?)
            }
            None => None,
        };
        let (mut made_tasks, mut made_deliveries) = (Vec::new(), Vec::new());
        for ((stored, action), place) in actions.into_iter().zip(0..) {
            let made = Position { seq, place };
            if let Some(granting) = &mut granting {
                granted::grant(granting, &self.name_of(&stored), &stored, &action, &mut skips);
            }
            match action {
                Action::Task { at, task, assignee } => {
                    made_tasks.push(self.task(&part.targets, &stored, made, at, (task, assignee)));
                }
                Action::Message { at, step, message } => {
                    let language = granted::language_of(part.records.get(&stored.customer));
                    match granted::told(granting.as_ref(), &stored, language, &message) {
                        Some(told) => made_deliveries.push(self.delivery(&stored, made, at, message, told)),
                        None => skips.push((stored.customer, stored.position, step, StepSkipReason::NoGrant)),
                    }
                }
                Action::Offer { .. } | Action::Tier { .. } => {}
            }
        }
        if let Some(granting) = granting {
            granting.write(transaction).await?;
        }
        tasks::write(transaction, self.tenant.id, &made_tasks).await?;
        deliveries::write(transaction, self.tenant.id, &made_deliveries).await?;
        Ok(skips)
    }
}

/// By which a receiver knows a message again.
pub fn message_id(tenant: &Tenant, made: Position) -> String {
    format!("{}-{}-{}", tenant.name, made.seq, made.place)
}

/// Whether runs of a playbook can't be gone on with without segmentation.
fn asks_segments(known: &HashMap<i64, playbooks::Stored>, number: i64) -> bool {
    known.get(&number).is_some_and(|known| !segments_of(&known.playbook, false).is_empty())
}

/// Whether they can't without another service.
fn asks_others(known: &HashMap<i64, playbooks::Stored>, number: i64) -> bool {
    let by_target = known.get(&number).is_some_and(|known| follow_ups::goes_by_target(&known.playbook));
    by_target || asks_segments(known, number)
}

/// Whether days begin runs of a playbook.
fn begun_by_days(known: &HashMap<i64, playbooks::Stored>, number: i64) -> bool {
    known.get(&number).is_some_and(|known| trigger_of(&known.playbook).is_some())
}
