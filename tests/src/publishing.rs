//! Committing records and telling of them in a feed, as the services of the chain do.

use quintile_domain::ids::{CustomerId, TenantId};
use quintile_store::records::{self, Record};
use quintile_store::{Database, Result, Transaction, feed};
use roaring::RoaringBitmap;

/// The tenant of the tests that need one alone.
pub const TENANT: TenantId = TenantId(7);
/// The feed of the tests that need one alone.
pub const FEED: &str = "customers";

/// A record that time alone does not change.
pub fn record(customer: u32, seq: i64, body: &[u8]) -> Record {
    Record { customer: CustomerId(customer), seq, next_change: None, body: body.to_vec(), erased: false }
}

/// Writes records of these customers and publishes them in [`FEED`], as part of a transaction. Returns the commit's number.
pub async fn publish(transaction: &Transaction, tenant: TenantId, customers: &[(u32, Vec<u8>)]) -> Result<i64> {
    let seq = feed::next_seq(transaction, tenant, FEED).await?;
    let rows = customers.iter().map(|(customer, body)| record(*customer, seq, body)).collect();
    records::write(transaction, tenant, rows).await?;
    let touched: RoaringBitmap = customers.iter().map(|(customer, _)| *customer).collect();
    feed::publish(transaction, tenant, FEED, seq, &touched).await?;
    Ok(seq)
}

/// Commits records of these customers of [`TENANT`], and publishes them. Returns the commit's number.
pub async fn commit(database: &Database, customers: &[(u32, Vec<u8>)]) -> Result<i64> {
    let transaction = database.begin().await?;
    let seq = publish(&transaction, TENANT, customers).await?;
    transaction.commit().await?;
    Ok(seq)
}

/// The customers that each commit of [`TENANT`] behind `seq` touched, in the order of commits.
pub async fn logged(database: &Database, mut seq: i64) -> Result<Vec<RoaringBitmap>> {
    let mut commits = Vec::new();
    loop {
        let touched = feed::touched_after(database.reader(), TENANT, FEED, seq).await?;
        if touched.last == seq {
            return Ok(commits);
        }
        seq = touched.last;
        commits.push(touched.live | touched.in_bulk);
    }
}
