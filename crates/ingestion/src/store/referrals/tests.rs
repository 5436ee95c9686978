use crate::features::CustomerFacts;
use crate::intake::{Declared, Fact, Terms};
use crate::store::batches::{self, Batch, BatchId, Outcome};
use crate::store::customers::{self, StoredCustomer};
use crate::store::erasures;
use crate::store::facts;
use crate::store::keys::{KeyRing, TenantKeys};
use crate::store::merges::{self, Pair};
use crate::store::rejects;
use crate::{FACTS, worker};
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::money::Currency;
use quintile_domain::revenue::RevenuePolicy;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::google_type::Money;
use quintile_proto::ingestion::{Customer, MergeCause, Order, Reject, Row, SourceIdentity, row};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::keys::KeyStore;
use quintile_store::numbers::Numbers;
use quintile_store::sealing::LocalKeys;
use quintile_store::{Database, DatabaseUrl, feed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Statement};
use std::sync::Arc;
use tempfile::TempDir;

const TENANT: TenantId = TenantId(1);
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A tenant and its database, and which facts have been looked at.
struct Town {
    database: Database,
    tenant: Tenant,
    keys: TenantKeys,
    seen: i64,
    batches: i64,
    _folder: TempDir,
}

fn day(day: u32) -> Instant {
    Instant::parse(&format!("2024-01-{day:02}T00:00:00Z")).unwrap()
}

fn identity(id: &str) -> SourceIdentity {
    SourceIdentity { source: "shop".to_owned(), id: Some(id.to_owned()) }
}

fn person(id: &str, referrer: Option<&str>) -> Row {
    let customer =
        Customer { identities: vec![identity(id)], referrer: referrer.map(str::to_owned), ..Customer::default() };
    Row { fact: Some(row::Fact::Customer(customer)) }
}

fn order(id: &str, at: u32) -> Row {
    let order = Order {
        customer: Some(identity(id)),
        event_id: format!("{id} {at}"),
        order_time: Some(convert::timestamp(day(at))),
        amount: Some(Money { currency_code: "USD".to_owned(), units: 5, nanos: 0 }),
        ..Order::default()
    };
    Row { fact: Some(row::Fact::Order(order)) }
}

impl Town {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let database = crate::migrate(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
        let entropy = Entropy::new(StdRng::seed_from_u64(7));
        let master = LocalKeys::from_text(MASTER_KEY, entropy.clone()).unwrap();
        let store = KeyStore::new(database.clone(), Arc::new(master), entropy.clone());
        let keys = KeyRing::new(store, entropy).of(TENANT).await.unwrap();
        let tenant = Tenant {
            id: TENANT,
            name: "town".to_owned(),
            zone: TimeZone::UTC,
            currency: Currency::from_code("USD").unwrap(),
            revenue: RevenuePolicy::Net,
            pseudonyms: None,
        };
        Self { database, tenant, keys, seen: 0, batches: 0, _folder: folder }
    }

    /// Takes rows in. Returns the numbers of those who were touched.
    async fn take(&mut self, rows: Vec<Row>) -> Vec<u32> {
        let terms = Terms { currency: self.tenant.currency, now: day(31), declared: Arc::new(Declared::default()) };
        let facts = rows.iter().enumerate().map(|(place, row)| (place, Fact::check(row, &terms).unwrap()));
        // What comes later is said later.
        let now = day(31).plus_micros(self.batches);
        let id = BatchId::Stream { stream_id: "s".to_owned(), offset: self.batches };
        let batch = Batch { id, facts: facts.collect(), rejects: Vec::new(), blind: false, rows };
        let taken = batches::take_in(&self.database, &self.tenant, &self.keys, vec![batch], now).await.unwrap();
        assert!(matches!(taken.as_slice(), [Outcome::Acknowledged(answer)] if answer.rejects.is_empty()));
        self.batches += 1;
        self.touched().await
    }

    async fn touched(&mut self) -> Vec<u32> {
        let touched = feed::touched_after(self.database.reader(), TENANT, FACTS, self.seen).await.unwrap();
        self.seen = touched.last;
        (touched.live | touched.in_bulk).iter().collect()
    }

    async fn referrals(&self, customer: u32, as_of: u32) -> i64 {
        let (reader, customers) = (self.database.reader(), [CustomerId(customer)]);
        let computed = worker::compute(reader, &self.tenant, &[], &customers, day(as_of)).await.unwrap();
        computed[0].record.features.as_ref().unwrap().referrals
    }

    async fn customer(&self, number: u32) -> StoredCustomer {
        customers::get(self.database.reader(), TENANT, &self.keys, CustomerId(number)).await.unwrap().unwrap()
    }

    /// Erases a customer. Returns the numbers of those who were touched.
    async fn erase(&mut self, number: u32) -> Vec<u32> {
        let customer = self.customer(number).await;
        let transaction = self.database.begin().await.unwrap();
        let none = (Vec::new(), 0);
        erasures::erase(&transaction, TENANT, &self.keys, &customer, none, day(31)).await.unwrap();
        transaction.commit().await.unwrap();
        self.touched().await
    }

    /// Links or parts the first founding identities of two. Returns who has sent them.
    async fn regroup(&self, one: u32, other: u32, linked: bool) -> Vec<u32> {
        let pair = Pair::of(CustomerId(one), CustomerId(other)).unwrap();
        let transaction = self.database.begin().await.unwrap();
        let regrouped = if linked {
            merges::link(&transaction, TENANT, &self.keys, &[pair], MergeCause::Asked, day(31)).await.unwrap()
        } else {
            merges::unlink(&transaction, TENANT, &self.keys, pair, day(31)).await.unwrap().unwrap()
        };
        transaction.commit().await.unwrap();
        regrouped.referrers.iter().collect()
    }
}

#[tokio::test]
async fn a_referrer_is_touched_by_what_can_change_its_number_and_by_nothing_else() {
    let mut town = Town::new().await;
    assert_eq!(town.take(vec![person("a", None)]).await, [1]);
    assert_eq!(town.take(vec![person("b", Some("a"))]).await, [2], "b has not bought");
    assert_eq!(town.take(vec![order("b", 5)]).await, [1, 2]);
    assert_eq!(town.take(vec![order("b", 6)]).await, [2], "not the first");
    assert_eq!(town.take(vec![order("b", 3)]).await, [1, 2], "an earlier first");
    assert_eq!(town.take(vec![person("b", Some("a"))]).await, [0_u32; 0], "nothing new");
    assert_eq!(town.take(vec![person("b", Some("a")), order("b", 9)]).await, [2], "nothing new beside an order");
    assert_eq!((town.referrals(1, 31).await, town.referrals(1, 4).await, town.referrals(1, 3).await), (1, 1, 0));
    assert_eq!(town.take(vec![order("c", 7), person("c", Some("a"))]).await, [1, 3]);
    assert_eq!(town.take(vec![person("c", Some("b"))]).await, [1, 2, 3], "re-said");
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (1, 1));
    assert_eq!(town.take(vec![person("c", Some("later"))]).await, [2, 3]);
    assert_eq!(town.take(vec![order("later", 1), person("a", Some("a")), order("a", 1)]).await, [1, 4]);
    assert_eq!((town.referrals(4, 31).await, town.referrals(2, 31).await, town.referrals(1, 31).await), (1, 0, 1));
}

#[tokio::test]
async fn of_a_buyer_one_order_from_before_is_looked_for() {
    let town = Town::new().await;
    for numbers in [Numbers::List(vec![5, 7]), Numbers::Range(5, 900)] {
        let asked = super::with_order_before(TENANT, &numbers, day(1)).build(DbBackend::Sqlite);
        assert!(asked.sql.contains("LIMIT"), "{}", asked.sql);
        let plan = format!("EXPLAIN QUERY PLAN {}", asked.sql);
        let plan = Statement::from_sql_and_values(DbBackend::Sqlite, plan, asked.values.unwrap());
        let rows = town.database.reader().query_all_raw(plan).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        let place = steps.iter().position(|step| step.starts_with("CORRELATED SCALAR SUBQUERY")).unwrap();
        let order = &steps[place + 1];
        assert!(order.contains("order_fact") && order.contains("(tenant_id=? AND subject_id=?)"), "{steps:?}");
    }
}

#[tokio::test]
async fn merges_move_referrals_and_parting_moves_them_back() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("b", None)]).await;
    town.take(vec![person("c", Some("a"))]).await;
    town.take(vec![person("d", Some("b")), order("d", 2)]).await;
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (0, 1));
    // Of those who were sent, the one who said last whom by holds, and one has bought.
    assert_eq!(town.regroup(3, 4, true).await, [1, 2]);
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (0, 1));
    // Of those who have sent them.
    assert_eq!(town.regroup(1, 2, true).await, [0_u32; 0]);
    assert_eq!(town.referrals(1, 31).await, 1);
    // Nobody has sent himself.
    assert_eq!(town.regroup(2, 3, true).await, [1]);
    assert_eq!(town.referrals(1, 31).await, 0);
    for (one, other) in [(2, 3), (1, 2), (3, 4)] {
        town.regroup(one, other, false).await;
    }
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (0, 1));
}

#[tokio::test]
async fn who_is_erased_is_named_by_no_record_and_counts_with_nobody() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("b", Some("a")), order("b", 2), person("c", Some("a"))]).await;
    town.take(vec![person("d", Some("b")), order("d", 2)]).await;
    town.regroup(2, 3, true).await;
    town.take(vec![person("c", Some("d"))]).await;
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await, town.referrals(4, 31).await), (0, 1, 1));
    for (gone, touched) in [(1, vec![1]), (4, vec![2, 4])] {
        assert_eq!(town.erase(gone).await, touched);
        let left = erasures::rows_left(town.database.reader(), TENANT, CustomerId(gone)).await.unwrap();
        assert_eq!(left, 0);
    }
    let named = town.customer(2).await;
    assert!(named.records().iter().all(|record| record.person.referrer.is_none()));
    assert_eq!(town.referrals(2, 31).await, 0);
    town.take(vec![person("a", None), person("d", None)]).await;
    assert_eq!((town.referrals(5, 31).await, town.referrals(6, 31).await), (0, 0));
}

#[tokio::test]
async fn refused_rows_that_name_who_is_erased_as_a_referrer_go_too_and_are_not_about_that_one() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None)]).await;
    let said = |id: &str, referrer: &str, source: Option<&str>| {
        let Row { fact: Some(row::Fact::Customer(customer)) } = person(id, Some(referrer)) else { unreachable!() };
        let customer = Customer { referrer_source: source.map(str::to_owned), ..customer };
        Row { fact: Some(row::Fact::Customer(customer)) }
    };
    let rows = [said("b", "a", None), said("b", "a", Some("crm")), said("b", "c", None), said("b", "a", Some("shop"))];
    let refused = (0..4).map(|row| Reject { row, ..Reject::default() }).collect::<Vec<_>>();
    let transaction = town.database.begin().await.unwrap();
    rejects::write(&transaction, TENANT, &town.keys, ("s", 0), &rows, &refused, day(31)).await.unwrap();
    transaction.commit().await.unwrap();
    let customer = town.customer(1).await;
    let about = erasures::rejects_of(town.database.reader(), TENANT, &town.keys, &customer, 0).await.unwrap();
    assert_eq!(about.0, [], "they say who another is");
    town.erase(1).await;
    let left = rejects::page(town.database.reader(), TENANT, 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|reject| reject.row_index).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn whom_an_erasure_brings_to_light_is_touched_by_it() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("q", None)]).await;
    // Said at one instant: the one with the lower number is shown.
    town.take(vec![person("b", Some("a")), person("c", Some("q")), order("b", 2)]).await;
    town.regroup(3, 4, true).await;
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (1, 0));
    town.touched().await;
    assert_eq!(town.erase(1).await, [1, 2]);
    assert_eq!(town.referrals(2, 31).await, 1);
}

#[tokio::test]
async fn who_is_named_is_heavy_by_all_who_name_it_and_their_orders() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("b", Some("a")), person("c", Some("a"))]).await;
    town.take(vec![order("c", 2), order("c", 3), person("d", Some("nobody")), order("d", 2)]).await;
    let read = facts::of_customers(town.database.reader(), &town.tenant, &[1, 2, 3].map(CustomerId)).await.unwrap();
    let read = [1, 2, 3].map(|number| read.get(&CustomerId(number)).map_or(0, CustomerFacts::read));
    assert_eq!(read, [4, 0, 2]);
    assert_eq!(town.referrals(1, 31).await, 1);
}
