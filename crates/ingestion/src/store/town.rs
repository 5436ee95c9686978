//! A tenant and its database, for tests of what is stored.

use crate::intake::{Declared, Fact, Terms};
use crate::store::batches::{self, Batch, BatchId, Outcome};
use crate::store::customers::{self, StoredCustomer};
use crate::store::erasures;
use crate::store::keys::{KeyRing, TenantKeys};
use crate::store::merges::{self, Pair};
use crate::{FACTS, feature_records};
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::money::Currency;
use quintile_domain::revenue::RevenuePolicy;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::google_type::Money;
use quintile_proto::ingestion::{Customer, MergeCause, Order, Row, SourceIdentity, row};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::keys::KeyStore;
use quintile_store::sealing::LocalKeys;
use quintile_store::{Database, DatabaseUrl, StoreError, feed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use tempfile::TempDir;

/// The tenant.
pub const TENANT: TenantId = TenantId(1);
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A tenant and its database, and which facts have been looked at.
pub struct Town {
    /// The database.
    pub database: Database,
    /// The tenant.
    pub tenant: Tenant,
    /// Its keys.
    pub keys: TenantKeys,
    seen: i64,
    batches: i64,
    _folder: TempDir,
}

/// The beginning of a day of January.
pub fn day(day: u32) -> Instant {
    Instant::parse(&format!("2024-01-{day:02}T00:00:00Z")).unwrap()
}

fn identity(id: &str) -> SourceIdentity {
    SourceIdentity { source: "shop".to_owned(), id: Some(id.to_owned()) }
}

/// The row of a person.
pub fn person(id: &str, referrer: Option<&str>) -> Row {
    let customer =
        Customer { identities: vec![identity(id)], referrer: referrer.map(str::to_owned), ..Customer::default() };
    Row { fact: Some(row::Fact::Customer(customer)) }
}

/// The row of an order of 5 dollars on a day.
pub fn order(id: &str, at: u32) -> Row {
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
    /// A new one.
    pub async fn new() -> Self {
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

    /// Rows as the next batch of a stream.
    pub fn batch(&mut self, rows: Vec<Row>) -> Batch {
        let terms = Terms { currency: self.tenant.currency, now: day(31), declared: Arc::new(Declared::default()) };
        let facts = rows.iter().enumerate().map(|(place, row)| (place, Fact::check(row, &terms).unwrap()));
        let id = BatchId::Stream { stream_id: "s".to_owned(), offset: self.batches };
        self.batches += 1;
        Batch { id, facts: facts.collect(), rejects: Vec::new(), blind: false, rows, trace: None }
    }

    /// Goes on with this batch of the stream.
    pub fn again_from(&mut self, batch: i64) {
        self.batches = batch;
    }

    /// Takes batches in that came together.
    pub async fn take_in(&self, batches: Vec<Batch>) -> Result<Vec<Outcome>, StoreError> {
        // What comes later is said later.
        let now = day(31).plus_micros(self.batches);
        batches::take_in(&self.database, &self.tenant, &self.keys, batches, now).await
    }

    /// Takes rows in. Returns the numbers of those who were touched.
    pub async fn take(&mut self, rows: Vec<Row>) -> Vec<u32> {
        let batch = self.batch(rows);
        let taken = self.take_in(vec![batch]).await.unwrap();
        assert!(matches!(taken.as_slice(), [Outcome::Acknowledged(answer)] if answer.rejects.is_empty()));
        self.touched().await
    }

    /// Whom facts have touched since this was asked.
    pub async fn touched(&mut self) -> Vec<u32> {
        let touched = feed::touched_after(self.database.reader(), TENANT, FACTS, self.seen).await.unwrap();
        self.seen = touched.last;
        (touched.live | touched.in_bulk).iter().collect()
    }

    /// How many a customer has sent, as of a day.
    pub async fn referrals(&self, customer: u32, as_of: u32) -> i64 {
        let (reader, customers) = (self.database.reader(), [CustomerId(customer)]);
        let computed = feature_records::compute(reader, &self.tenant, &[], &customers, day(as_of)).await.unwrap();
        computed[0].record.features.as_ref().unwrap().referrals
    }

    /// A customer.
    pub async fn customer(&self, number: u32) -> StoredCustomer {
        customers::get(self.database.reader(), TENANT, &self.keys, CustomerId(number)).await.unwrap().unwrap()
    }

    /// Erases a customer. Returns the numbers of those who were touched.
    pub async fn erase(&mut self, number: u32) -> Vec<u32> {
        let customer = self.customer(number).await;
        let transaction = self.database.begin().await.unwrap();
        let none = (Vec::new(), 0);
        erasures::erase(&transaction, TENANT, &self.keys, &customer, none, day(31)).await.unwrap();
        transaction.commit().await.unwrap();
        self.touched().await
    }

    /// Links or parts the first founding identities of two. Returns who has sent them.
    pub async fn regroup(&self, one: u32, other: u32, linked: bool) -> Vec<u32> {
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
