//! Customers who leave and come back, definitions that refer to one another, and time.

use super::catalogue::{CatalogueError, Key, Live, MAX_REFERENCES};
use super::clustering::{Clustering, Clusters};
use super::membership::Membership;
use super::*;
use crate::clusters::{self, KMeans, Model, Search, Table};
use proptest::prelude::*;
use quintile_domain::ids::TenantId;
use quintile_domain::revenue::RevenuePolicy;
use quintile_proto::google_type::Date;
use quintile_proto::segmentation::MembershipCause;
use quintile_proto::types::{CustomerAttributes, Features, ScoreValues};
use std::collections::BTreeSet;

const DAY: i64 = 86_400_000_000;

pub(super) fn tenant() -> Tenant {
    Tenant {
        id: TenantId(1),
        name: "default".to_owned(),
        zone: TimeZone::UTC,
        currency: Currency::from_code("USD").unwrap(),
        revenue: RevenuePolicy::Net,
        pseudonyms: None,
    }
}

pub(super) fn record(customer_id: i64, orders: i64) -> CustomerRecord {
    CustomerRecord {
        customer_id,
        features: Some(Features { orders, ..Features::default() }),
        scores: Some(ScoreValues { recency: 5, frequency: 5, monetary: 5, ..ScoreValues::default() }),
        ..CustomerRecord::default()
    }
}

pub(super) fn rule(population: &Population, expression: &str) -> Rule {
    Rule::parse(expression, population.schema()).unwrap()
}

/// Puts a segment in place as a handler does. Returns who moved.
pub(super) fn define(population: &mut Population, live: Live) -> Vec<Movement> {
    let key = live.key.clone();
    let candidate = population.candidate(&key, Some(live)).unwrap();
    let movements = population.changes_by_definition(&key, &candidate);
    population.redefine(key, None, Some(candidate));
    movements
}

fn list(id: &str, listed: impl IntoIterator<Item = u32>) -> Live {
    Live::segment(id, 1, Membership::List { listed: listed.into_iter().collect(), began_with: BTreeSet::new() })
}

pub(super) fn segment(population: &Population, id: &str, expression: &str) -> Live {
    Live::segment(id, 1, Membership::Rules(vec![rule(population, expression)]))
}

/// Takes a record in as the worker does. Returns what it changed.
pub(super) fn take(population: &mut Population, record: CustomerRecord) -> Vec<Change> {
    let entry = population.entry(record);
    let changes = population.changes(&entry);
    population.take(&entry, &changes).unwrap();
    changes
}

fn populated() -> Population {
    let mut population = Population::new(&tenant()).unwrap();
    for (id, expression) in [("many", "orders >= 2"), ("few", "orders < 2"), ("not-few", "!segment('few')")] {
        let segment = segment(&population, id, expression);
        define(&mut population, segment);
    }
    take(&mut population, record(1, 5));
    take(&mut population, record(2, 1));
    population
}

pub(super) fn members(population: &Population, name: &str) -> Vec<u32> {
    population.members(name).unwrap().iter().collect()
}

fn parents(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.parent.as_str()).collect()
}

#[test]
fn a_customer_who_is_removed_leaves_its_label_and_every_segment() {
    let mut population = populated();
    let changes = population.removal(1);
    let left = parents(&changes);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left[0].starts_with("labelSets/rfm-11/labels/"), "{left:?}");
    assert_eq!(left[1..], ["segments/many", "segments/not-few"]);
    for change in &changes {
        assert_eq!((change.entered, change.cause, change.customer_id), (false, MembershipCause::Removal, 1));
    }
    population.remove_customer(1, &changes).unwrap();
    assert_eq!(population.engine().population(), 1);
    for name in ["segments/many", "segments/not-few", "labelSets/rfm-11/labels/champions"] {
        assert!(!members(&population, name).contains(&1), "{name}");
    }
    // A negation finds nobody who is not there, now or when time passes.
    assert!(population.changes_by_time(Instant::from_micros(DAY)).is_empty());
    assert!(population.removal(1).is_empty());
}

#[test]
fn a_customer_who_comes_back_enters_again_what_it_left() {
    let mut population = populated();
    let left = population.removal(1);
    population.remove_customer(1, &left).unwrap();
    let entered = take(&mut population, record(1, 5));
    assert_eq!(parents(&entered), parents(&left));
    assert!(entered.iter().all(|change| change.entered && change.cause == MembershipCause::Record));
    assert_eq!(population.engine().population(), 2);
}

#[test]
fn a_change_moves_what_refers_to_what_it_moves() {
    let mut population = populated();
    let changes = take(&mut population, record(1, 1));
    assert_eq!(parents(&changes), ["segments/many", "segments/few", "segments/not-few"]);
    assert_eq!(changes.iter().map(|change| change.entered).collect::<Vec<_>>(), [false, true, false]);
    assert!(take(&mut population, record(1, 1)).is_empty());
}

#[test]
fn a_definition_that_changes_moves_what_refers_to_it() {
    let mut population = populated();
    let few = segment(&population, "few", "orders < 9");
    let movements = define(&mut population, few);
    let told: Vec<_> = movements
        .iter()
        .map(|moved| (moved.parent.as_str(), moved.entered, moved.customers.iter().collect::<Vec<_>>()))
        .collect();
    assert_eq!(told, [("segments/few", true, vec![1]), ("segments/not-few", false, vec![1])]);
    assert_eq!(members(&population, "segments/few"), [1, 2]);
    assert_eq!(members(&population, "segments/not-few"), Vec::<u32>::new());
    let (place, _) = population.catalogue().find(&Key::segment("not-few")).unwrap();
    assert_eq!(population.counts(place), [0]);
}

#[test]
fn an_older_segment_may_refer_to_a_younger_one_but_none_to_itself() {
    let mut population = populated();
    // "many" was there before "few".
    let many = segment(&population, "many", "!segment('few')");
    define(&mut population, many);
    assert_eq!(members(&population, "segments/many"), [1]);
    let few = segment(&population, "few", "segment('many')");
    let refused = population.candidate(&Key::segment("few"), Some(few)).map(drop);
    assert!(matches!(refused, Err(CatalogueError::Cycle(_))), "{refused:?}");
    let itself = segment(&population, "self", "segment('self')");
    assert!(population.candidate(&Key::segment("self"), Some(itself)).is_err());
}

#[test]
fn chains_of_references_are_bounded() {
    let mut population = populated();
    for depth in 1..=MAX_REFERENCES {
        let before = if depth == 1 { "many".to_owned() } else { format!("s{}", depth - 1) };
        let next = segment(&population, &format!("s{depth}"), &format!("segment('{before}')"));
        define(&mut population, next);
    }
    assert_eq!(members(&population, &format!("segments/s{MAX_REFERENCES}")), [1]);
    let too_deep = segment(&population, "deeper", &format!("segment('s{MAX_REFERENCES}')"));
    let refused = population.candidate(&Key::segment("deeper"), Some(too_deep)).map(drop);
    assert_eq!(refused, Err(CatalogueError::TooDeep));
    // Neither may what they all refer to come to refer to another.
    let many = segment(&population, "many", "segment('few')");
    assert!(population.candidate(&Key::segment("many"), Some(many)).is_err());
}

#[test]
fn labels_are_exclusive_and_rules_may_refer_to_them() {
    let mut population = populated();
    let rules = vec![rule(&population, "orders >= 3"), rule(&population, "orders >= 1")];
    let labels = ["often", "once", "never"].map(str::to_owned);
    define(&mut population, Live::label_set("habit", 1, &labels, Membership::Rules(rules)));
    take(&mut population, record(3, 0));
    let names = labels.map(|label| format!("labelSets/habit/labels/{label}"));
    assert_eq!(names.map(|name| members(&population, &name)), [vec![1], vec![2], vec![3]]);
    let loyal = segment(&population, "loyal", "segment('habit/often')");
    define(&mut population, loyal);
    let changes = take(&mut population, record(2, 4));
    let told: Vec<_> = changes.iter().map(|change| (change.parent.as_str(), change.entered)).collect();
    let expected = [
        ("segments/many", true),
        ("segments/few", false),
        ("segments/not-few", true),
        ("labelSets/habit/labels/once", false),
        ("labelSets/habit/labels/often", true),
        ("segments/loyal", true),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_list_keeps_those_who_come_back_and_not_those_who_were_erased() {
    let mut population = populated();
    let entered = define(&mut population, list("list", [1, 2]));
    assert_eq!(entered.len(), 1);
    let left = population.removal(1);
    assert!(parents(&left).contains(&"segments/list"));
    population.remove_customer(1, &left).unwrap();
    assert_eq!(members(&population, "segments/list"), [2]);
    assert!(parents(&take(&mut population, record(1, 5))).contains(&"segments/list"));
    population.take_off_lists(&[CustomerId(1)]);
    assert_eq!(members(&population, "segments/list"), [2]);
}

#[test]
fn a_list_follows_customers_who_are_merged_and_parted() {
    let mut population = populated();
    define(&mut population, list("list", [2]));
    let over = segment(&population, "over", "segment('list') && orders >= 2");
    define(&mut population, over);
    let told = |changes: &[Change]| -> Vec<(String, bool)> {
        changes.iter().map(|change| (change.parent.clone(), change.entered)).collect()
    };
    let name = |name: &str| format!("segments/{name}");
    // 2 is merged into 1, and no longer there by itself.
    let entered = take(&mut population, CustomerRecord { merged_customer_ids: vec![2], ..record(1, 5) });
    assert_eq!(told(&entered), [(name("list"), true), (name("over"), true)]);
    assert!(entered.iter().all(|change| change.cause == MembershipCause::Record));
    let left = population.removal(2);
    assert!(parents(&left).contains(&"segments/list"));
    population.remove_customer(2, &left).unwrap();
    assert_eq!(["segments/list", "segments/over"].map(|name| members(&population, name)), [[1], [1]]);
    // Without anything new of the merge, nothing of the list is new.
    assert!(take(&mut population, CustomerRecord { merged_customer_ids: vec![2], ..record(1, 6) }).is_empty());
    assert_eq!(told(&take(&mut population, record(1, 5))), [(name("list"), false), (name("over"), false)]);
    assert!(parents(&take(&mut population, record(2, 1))).contains(&"segments/list"));
    assert_eq!(["segments/list", "segments/over"].map(|name| members(&population, name)), [vec![2], vec![]]);
}

/// A customer with a last order and a day of acquisition, some days after 1970.
fn dated(customer_id: i64, ordered: i64, acquired: i32) -> CustomerRecord {
    let at = Instant::from_micros(ordered * DAY + 1);
    let attributes = CustomerAttributes {
        acquisition_date: Some(Date { year: 1970, month: 1 + acquired / 28, day: 1 + acquired % 28 }),
        ..CustomerAttributes::default()
    };
    let mut record = record(customer_id, ordered % 7);
    record.features.as_mut().unwrap().last_order_time = Some(quintile_rpc::convert::timestamp(at));
    CustomerRecord { attributes: Some(attributes), ..record }
}

/// Three clusters by orders and by days since the last one, of those whom a rule finds.
fn clusters(population: &Population, within: &str) -> Live {
    clusters_by(population, within, ["orders", "last_order_at"])
}

pub(super) fn clusters_by(population: &Population, within: &str, fields: [&str; 2]) -> Live {
    let feature = |name: &str| clusters::Feature {
        name: name.to_owned(),
        logarithmic: false,
        high: "more".to_owned(),
        low: "less".to_owned(),
    };
    let mut table = Table::new(fields.map(feature).to_vec()).unwrap();
    for row in 0..60_u8 {
        table.push(&[Some((row % 7).into()), (row > 5).then_some(row.into())]).unwrap();
    }
    let model = KMeans::fit(&table.prepare().unwrap(), 3, &Search::new(1), None).unwrap();
    let labels = clustering::labels((1..=3).map(|number| (number, String::new())));
    let clustering = Clustering {
        within: within.to_owned(),
        model: Model::KMeans(model),
        labels: labels.clone(),
        choice: None,
        customers: 60,
        fitted_at: Instant::default(),
        seed: 1,
    };
    let bound = Clusters::bind(Arc::new(clustering), population.schema()).unwrap();
    Live::label_set("found", 1, &labels.ids(), Membership::Clusters(Arc::new(bound)))
}

#[test]
fn customers_have_the_label_of_the_cluster_that_is_nearest() {
    let mut population = Population::new(&tenant()).unwrap();
    for (customer, ordered) in [(1, 58), (2, 2), (3, 30)] {
        take(&mut population, dated(customer, ordered, 0));
    }
    let to = Instant::from_micros(60 * DAY);
    population.pass_time(to, &[]);
    let live = clusters(&population, "orders != 0");
    let Membership::Clusters(bound) = live.membership.clone() else { panic!("no clusters") };
    let centres = &bound.clustering().model.partition().clusters;
    let columns = &bound.clustering().model.partition().preparation.columns;
    let movements = define(&mut population, live);
    assert_eq!(movements.iter().map(|movement| movement.customers.count()).sum::<u64>(), 3);
    // 58 % 7 = 2 orders two days ago, 2 % 7 = 2 orders 58 days ago, 30 % 7 = 2 orders 30 days ago.
    for (customer, days) in [(1, 2.0), (2, 58.0), (3, 30.0)] {
        let point = [(2.0 - columns[0].mean) / columns[0].deviation, (days - columns[1].mean) / columns[1].deviation];
        let distance = |centre: &[f64]| (point[0] - centre[0]).hypot(point[1] - centre[1]);
        let nearest = centres.iter().min_by(|a, b| distance(&a.centre).total_cmp(&distance(&b.centre))).unwrap();
        let label = format!("labelSets/found/labels/cluster-{}", nearest.number);
        assert!(members(&population, &label).contains(&customer), "{customer}");
    }
    // Who is not within has the label of the rest.
    let changes = take(&mut population, dated(3, 28, 0));
    assert_eq!(parents(&changes).last(), Some(&"labelSets/found/labels/not-clustered"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is told of every step adds up to who belongs: by records, by time and by definitions.
    #[test]
    fn enters_and_exits_add_up_to_the_members(steps in prop::collection::vec((0..8_u8, 1..5_i64, 0..60_i64), 1..40)) {
        const RULES: [&str; 4] = ["days_since(last_order_at) < 20", "acquired_at < now", "orders > 2",
            "!segment('a') && !segment('b') || segment('listed')"];
        let mut population = Population::new(&tenant()).unwrap();
        let mut told: BTreeMap<String, Bitmap> = BTreeMap::new();
        let note = |told: &mut BTreeMap<String, Bitmap>, parent: &str, customers: &Bitmap, entered: bool| {
            let members = told.entry(parent.to_owned()).or_default();
            // Nobody enters twice, and only members leave.
            let nobody = if entered { members.and(customers) } else { customers.and_not(members) };
            assert!(nobody.is_empty(), "{parent} {entered} {nobody:?}");
            *members = if entered { members.or(customers) } else { members.and_not(customers) };
        };
        for (kind, customer, number) in steps {
            let movements = match kind {
                0 | 1 => {
                    // Nobody, or some who may be there by themselves, too.
                    let merged_customer_ids = (1..=number % 3).map(|other| customer + other).collect();
                    let dated = dated(customer, number, number as i32 % 50);
                    for change in take(&mut population, CustomerRecord { merged_customer_ids, ..dated }) {
                        note(&mut told, &change.parent, &Bitmap::from_iter([change.customer_id]), change.entered);
                    }
                    Vec::new()
                }
                2 => {
                    let changes = population.removal(customer as u32);
                    population.remove_customer(customer as u32, &changes).unwrap();
                    for change in changes {
                        note(&mut told, &change.parent, &Bitmap::from_iter([change.customer_id]), change.entered);
                    }
                    Vec::new()
                }
                3 => {
                    let to = Instant::from_micros(population.as_of().micros() + number * DAY / 7);
                    let movements = population.changes_by_time(to);
                    population.pass_time(to, &movements);
                    movements
                }
                4 => {
                    let id = ["a", "b", "c", "d"][number as usize % 4];
                    // Only the last may refer to others.
                    let source = if id == "d" { RULES[3] } else { RULES[customer as usize % 3] };
                    let live = segment(&population, id, source);
                    define(&mut population, live)
                }
                5 => {
                    let live = clusters(&population, ["", "segment('a')", "orders > 1"][customer as usize % 3]);
                    define(&mut population, live)
                }
                6 => define(&mut population, list("listed", (1..6).filter(|place| number >> place & 1 == 1))),
                _ => {
                    let rules = vec![rule(&population, RULES[customer as usize % 3]), rule(&population, "orders > 0")];
                    let labels = ["x", "y", "z"].map(str::to_owned);
                    define(&mut population, Live::label_set("l", 1, &labels, Membership::Rules(rules)))
                }
            };
            for movement in movements {
                note(&mut told, &movement.parent, &movement.customers, movement.entered);
            }
            for live in population.catalogue().live() {
                let (place, _) = population.catalogue().find(&live.key).unwrap();
                let counts = population.counts(place);
                for (part, count) in live.parts.iter().zip(counts) {
                    let found: Vec<u32> = members(&population, &part.name);
                    let expected: Vec<u32> = told.get(&part.name).map(|told| told.iter().collect()).unwrap_or_default();
                    prop_assert_eq!(&found, &expected, "{}", &part.name);
                    prop_assert_eq!(count as usize, found.len());
                }
            }
        }
    }

    /// The row and the columns agree on who belongs to what, by way of references and labels too.
    #[test]
    fn one_customer_and_everybody_are_told_the_same(customers in prop::collection::vec((0..60_i64, 0..50_i32), 1..20), at in 0..60_i64) {
        let mut population = Population::new(&tenant()).unwrap();
        let sources = [("a", "days_since(last_order_at) < 20"), ("b", "acquired_at < now && orders > 1"),
            ("c", "segment('a') && segment('b') || segment('listed')"), ("d", "segment('a') || !segment('b')")];
        define(&mut population, list("listed", [2, 3, 7, 40]));
        for (id, source) in sources {
            let live = segment(&population, id, source);
            define(&mut population, live);
        }
        let rules = vec![rule(&population, "segment('a')"), rule(&population, "segment('d') && orders > 1")];
        define(&mut population, Live::label_set("l", 1, &["x", "y", "z"].map(str::to_owned), Membership::Rules(rules)));
        let live = clusters(&population, "segment('d')");
        define(&mut population, live);
        for ((ordered, acquired), number) in customers.iter().zip(1..) {
            let merged_customer_ids = (1..=ordered % 3).map(|other| number + other).collect();
            take(&mut population, CustomerRecord { merged_customer_ids, ..dated(number, *ordered, *acquired) });
        }
        let to = Instant::from_micros(at * DAY + 7);
        let movements = population.changes_by_time(to);
        population.pass_time(to, &movements);
        for (place, live) in population.catalogue().live().iter().enumerate() {
            for (part, of) in live.parts.iter().enumerate() {
                let by_columns = members(&population, &of.name);
                let by_rows: Vec<u32> = population.engine().present().iter()
                    .filter(|number| population.memberships(*number).contains(&(place, part))).collect();
                prop_assert_eq!(by_columns, by_rows, "{}", &of.name);
            }
        }
    }
}
