//! Customers who leave and come back.

use super::*;
use quintile_domain::revenue::RevenuePolicy;
use quintile_proto::types::{Features, ScoreValues};

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

fn record(customer_id: i64, orders: i64) -> CustomerRecord {
    CustomerRecord {
        customer_id,
        features: Some(Features { orders, ..Features::default() }),
        scores: Some(ScoreValues { recency: 5, frequency: 5, monetary: 5, ..ScoreValues::default() }),
        ..CustomerRecord::default()
    }
}

fn segment(population: &Population, id: &str, expression: &str) -> LiveSegment {
    let rule = Rule::parse(expression, population.schema()).unwrap();
    LiveSegment {
        id: id.to_owned(),
        classes: population.classes_read(&rule),
        rule,
        description: String::new(),
        created_at: Instant::default(),
        revision: 1,
        members: Bitmap::new(),
    }
}

/// Takes a record in as the worker does. Returns what it changed.
fn take(population: &mut Population, record: CustomerRecord) -> Vec<Change> {
    let entry = population.entry(record);
    let changes = population.changes(&entry);
    population.take(&entry, &changes).unwrap();
    changes
}

fn populated() -> Population {
    let mut population = Population::new(&tenant()).unwrap();
    for (id, expression) in [("many", "orders >= 2"), ("few", "orders < 2"), ("not-few", "!segment('few')")] {
        let segment = segment(&population, id, expression);
        population.add(segment);
    }
    take(&mut population, record(1, 5));
    take(&mut population, record(2, 1));
    population
}

#[test]
fn a_customer_who_is_removed_leaves_its_label_and_every_segment() {
    let mut population = populated();
    let changes = population.removal(1);
    let left: Vec<_> = changes.iter().map(|change| change.parent.as_str()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left[0].starts_with("labelSets/rfm-11/labels/"), "{left:?}");
    assert_eq!(left[1..], ["segments/many", "segments/not-few"]);
    for change in &changes {
        assert_eq!((change.entered, change.cause, change.customer_id), (false, MembershipCause::Removal, 1));
    }
    population.remove_customer(1, &changes).unwrap();
    assert_eq!(population.engine().population(), 1);
    assert!(population.segments().iter().all(|segment| !segment.members.contains(1)));
    assert!(population.label_members().iter().all(|members| !members.contains(1)));
    // A negation finds nobody who is not there, now or when time passes.
    assert!(population.changes_by_time(Instant::from_micros(86_400_000_000)).is_empty());
    assert!(population.removal(1).is_empty());
}

#[test]
fn a_customer_who_comes_back_enters_again_what_it_left() {
    let mut population = populated();
    let left = population.removal(1);
    population.remove_customer(1, &left).unwrap();
    let entered = take(&mut population, record(1, 5));
    let parents = |changes: &[Change]| changes.iter().map(|change| change.parent.clone()).collect::<Vec<_>>();
    assert_eq!(parents(&entered), parents(&left));
    assert!(entered.iter().all(|change| change.entered && change.cause == MembershipCause::Record));
    assert_eq!(population.engine().population(), 2);
}
