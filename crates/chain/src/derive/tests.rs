//! What commits remember of changes, by a link whose score is the orders times what its definition says, and a tenth of it from noon on.

use super::*;
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::money::Currency;
use quintile_domain::revenue::RevenuePolicy;
use quintile_domain::time::TimeZone;
use quintile_proto::types::{Features, ScoreValues};

const NOON: i64 = 12;

/// Multiplies orders by its number.
struct Times(i32);

/// Score before, score after, the instant and why.
type Told = (i32, i32, i64, Cause);

impl Link for Times {
    const FEED: &'static str = "times";
    type Transition = Told;

    fn derive(&self, _: &Tenant, record: &mut CustomerRecord, as_of: Instant) -> Option<Instant> {
        let orders = record.features.as_ref().map_or(0, |features| features.orders as i32);
        let is_morning = as_of.micros() < NOON;
        let recency = if is_morning { 10 * orders * self.0 } else { orders * self.0 };
        let (model_version, as_of) = (self.0.to_string(), Some(convert::timestamp(as_of)));
        record.scores = Some(ScoreValues { model_version, as_of, recency, ..ScoreValues::default() });
        is_morning.then(|| Instant::from_micros(NOON))
    }

    fn derived_at(&self, record: &CustomerRecord) -> Option<Instant> {
        convert::sent_instant(record.scores.as_ref()?.as_of.as_ref())
    }

    fn outdated(&self, _: &Tenant, record: &CustomerRecord) -> Option<Instant> {
        record.scores.as_ref().filter(|scores| scores.model_version != self.0.to_string())?;
        self.derived_at(record)
    }

    fn transition(
        &self,
        _: &Tenant,
        before: Before<'_>,
        after: &CustomerRecord,
        at: Instant,
        cause: Cause,
    ) -> Option<Told> {
        let (before, after) = (before.record()?.scores.as_ref()?.recency, after.scores.as_ref()?.recency);
        (before != after).then_some((before, after, at.micros(), cause))
    }

    async fn remember(&self, _: &Transaction, _: &Tenant, _: Remembered<'_, Told>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn upstream(&self, _: &Tenant, _: String) -> Result<Streaming<WatchRecordsResponse>, Status> {
        Err(Status::unimplemented("there is none"))
    }
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId(1),
        name: "default".to_owned(),
        zone: TimeZone::UTC,
        currency: Currency::from_code("USD").unwrap(),
        revenue: RevenuePolicy::Net,
        pseudonyms: None,
    }
}

fn derived(link: &Times, orders: i64, at: i64) -> Derived {
    let features = Some(Features { orders, ..Features::default() });
    let mut record = CustomerRecord { customer_id: 1, features, ..CustomerRecord::default() };
    let next_change = link.derive(&tenant(), &mut record, Instant::from_micros(at));
    Derived { record, next_change, is_new: false }
}

fn stored(link: &Times, orders: i64, at: i64) -> Record {
    let Derived { record, next_change, .. } = derived(link, orders, at);
    Record { body: record.encode_to_vec(), next_change, ..Record::tombstone(CustomerId(1), 1, false) }
}

/// What is told, and whether the record is written, where a customer comes to so many orders at an instant.
fn told(stored: &Record, link: &Times, cause: Cause, orders: i64, at: i64) -> (Vec<Told>, bool) {
    let mut commit = Commit::new(link, cause);
    let derived = derived(link, orders, at);
    commit.replace(&tenant(), Some(stored), derived, Instant::from_micros(at)).unwrap();
    (commit.transitions, !commit.changes.changed.is_empty())
}

#[test]
fn a_definition_is_told_apart_from_the_event_that_comes_before_its_rescoring() {
    let before = stored(&Times(1), 2, 5);
    let told = |orders, at| told(&before, &Times(3), Cause::Upstream, orders, at);
    assert_eq!(told(3, 7), (vec![(20, 60, 7, Cause::Definition), (60, 90, 7, Cause::Upstream)], true));
    // The event alone would change nothing.
    assert_eq!(told(2, 7), (vec![(20, 60, 7, Cause::Definition)], true));
    // Noon has passed meanwhile, by the new definition.
    let by_all = vec![(20, 60, 15, Cause::Definition), (60, 6, NOON, Cause::Time), (6, 9, 15, Cause::Upstream)];
    assert_eq!(told(3, 15), (by_all, true));
}

#[test]
fn a_rescoring_tells_the_definition_alone() {
    let before = stored(&Times(1), 2, 5);
    assert_eq!(told(&before, &Times(3), Cause::Definition, 2, 7), (vec![(20, 60, 7, Cause::Definition)], true));
}

#[test]
fn under_the_same_definition_events_and_time_are_told() {
    let before = stored(&Times(3), 2, 5);
    let told = |orders, at| told(&before, &Times(3), Cause::Upstream, orders, at);
    assert_eq!(told(2, 7), (vec![], false));
    assert_eq!(told(3, 7), (vec![(60, 90, 7, Cause::Upstream)], true));
    assert_eq!(told(3, 15), (vec![(60, 6, NOON, Cause::Time), (6, 9, 15, Cause::Upstream)], true));
}
