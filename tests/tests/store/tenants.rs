//! Tenants never see each other's rows, though all of their keys are the same.

use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_store::Database;
use quintile_store::feed::{self, Cursor};
use quintile_store::follower::{self, Place};
use quintile_store::records::{self, Record};
use quintile_tests::{FEED, TestStore, on_both_databases, publish};
use roaring::RoaringBitmap;

on_both_databases! {
    what_is_read_for_a_tenant_is_its_own,
    what_is_written_for_a_tenant_leaves_the_others_alone,
}

const TENANTS: [TenantId; 4] = [TenantId(1), TenantId(2), TenantId(-1), TenantId(i32::MAX)];

/// What a tenant's records say. Every tenant has another number of commits, all of the same customers.
fn body(tenant: TenantId) -> Vec<u8> {
    tenant.0.to_be_bytes().to_vec()
}

fn commits(tenant: TenantId) -> i64 {
    1 + TENANTS.iter().position(|other| *other == tenant).unwrap() as i64
}

fn place(tenant: TenantId) -> Place {
    Place { cursor: format!("cursor of {}", tenant.0), facts_position: commits(tenant), time_micros: commits(tenant) }
}

fn expected(tenant: TenantId) -> Vec<Record> {
    let next_change = Some(Instant::from_micros(commits(tenant)));
    [1, 2]
        .map(|customer| Record {
            customer: CustomerId(customer),
            seq: commits(tenant),
            next_change,
            body: body(tenant),
            erased: false,
        })
        .to_vec()
}

async fn write(database: &Database, tenant: TenantId) {
    let transaction = database.begin().await.unwrap();
    for _ in 0..commits(tenant) {
        publish(&transaction, tenant, &[(1, body(tenant)), (2, body(tenant))]).await.unwrap();
    }
    records::write(&transaction, tenant, expected(tenant)).await.unwrap();
    follower::advance(&transaction, tenant, FEED, &Place::default(), &place(tenant)).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn assert_own(database: &Database, tenant: TenantId) {
    let (reader, now) = (database.reader(), Instant::from_micros(i64::MAX));
    let (own, keys) = (expected(tenant), [1, 2, 3].map(CustomerId));
    assert_eq!(records::load(reader, tenant, &keys).await.unwrap(), own);
    assert_eq!(records::get(database, tenant, CustomerId(1)).await.unwrap().as_ref(), own.first());
    assert_eq!(records::scan(database.reader(), tenant, 0, 10).await.unwrap(), own);
    assert_eq!(records::due(reader, tenant, now, 10).await.unwrap().len(), own.len());
    assert_eq!(records::count(database, tenant).await.unwrap(), 2);
    assert_eq!(feed::head(reader, tenant, FEED).await.unwrap(), commits(tenant));
    let touched = feed::touched_after(reader, tenant, FEED, 0).await.unwrap();
    assert_eq!((touched.live, touched.last), (RoaringBitmap::from([1, 2]), commits(tenant)));
    assert!(feed::touched_after(reader, tenant, FEED, commits(tenant)).await.unwrap().live.is_empty());
    let begin = feed::begin(database, tenant, FEED).await.unwrap();
    assert_eq!(begin, Cursor::Snapshot { from: commits(tenant), after: 0 });
    for cursor in [begin, Cursor::Tail(0)] {
        assert_eq!(feed::read(database, tenant, FEED, cursor).await.unwrap().records, own);
    }
    assert_eq!(follower::place(reader, tenant, FEED).await.unwrap(), place(tenant));
}

async fn what_is_read_for_a_tenant_is_its_own(store: TestStore) {
    for tenant in TENANTS {
        write(&store.database, tenant).await;
    }
    for tenant in TENANTS {
        assert_own(&store.database, tenant).await;
    }
    let stranger = TenantId(3);
    assert_eq!(records::count(&store.database, stranger).await.unwrap(), 0);
    assert_eq!(records::get(&store.database, stranger, CustomerId(1)).await.unwrap(), None);
    assert_eq!(feed::head(store.database.reader(), stranger, FEED).await.unwrap(), 0);
    assert_eq!(follower::place(store.database.reader(), stranger, FEED).await.unwrap(), Place::default());
}

async fn what_is_written_for_a_tenant_leaves_the_others_alone(store: TestStore) {
    for tenant in TENANTS {
        write(&store.database, tenant).await;
    }
    let transaction = store.database.begin().await.unwrap();
    let changed = TENANTS[1];
    publish(&transaction, changed, &[(1, Vec::new()), (3, b"new".to_vec())]).await.unwrap();
    let new = Place { cursor: "on".to_owned(), ..place(changed) };
    follower::advance(&transaction, changed, FEED, &place(changed), &new).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(records::count(&store.database, changed).await.unwrap(), 3);
    for tenant in TENANTS.into_iter().filter(|tenant| *tenant != changed) {
        assert_own(&store.database, tenant).await;
    }
}
