//! Feeds: how a service tells others which customers changed.
//!
//! A commit writes its rows and a *touched* row with the commit's sequence number and a bitmap of the customers: two, each with a number, where
//! facts came live and in bulk. Readers union the bitmaps past their cursor and look the customers up by key; there is no index on the
//! sequence number over large tables.

use crate::records::{self, Record};
use crate::tables::{feed_head, feed_touched};
use crate::{Database, Result, StoreError, Transaction};
use quintile_domain::ids::{CustomerId, TenantId};
use roaring::RoaringBitmap;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement,
};

/// Customers that a page tries not to exceed; a single commit may.
const PAGE_CUSTOMERS: u64 = 5_000;
/// Touched rows that are read at once.
const PAGE_COMMITS: u64 = 256;

/// Takes the next sequence number of a feed. The head's row stays locked to the end of the transaction, which orders commits:
/// call it late.
pub async fn next_seq(transaction: &Transaction, tenant: TenantId, feed: &str) -> Result<i64> {
    let statement = Statement::from_sql_and_values(
        transaction.get_database_backend(),
        "INSERT INTO feed_head (tenant_id, feed, seq) VALUES ($1, $2, 1) \
         ON CONFLICT (tenant_id, feed) DO UPDATE SET seq = feed_head.seq + 1 RETURNING seq",
        [tenant.0.into(), feed.into()],
    );
    let row = transaction.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| sea_orm::DbErr::RecordNotFound("feed head".to_owned()))?;
    Ok(row.try_get("", "seq")?)
}

/// What a commit tells.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// Whom it touched.
    pub customers: &'a RoaringBitmap,
    /// Whether their facts came in bulk: whoever follows may let them wait.
    pub in_bulk: bool,
    /// The traces that led to it, each a text without spaces that means nothing here.
    pub traces: &'a [String],
}

/// Tells that the commit with this sequence number touched these customers.
pub async fn publish(
    transaction: &Transaction,
    tenant: TenantId,
    feed: &str,
    seq: i64,
    customers: &RoaringBitmap,
) -> Result<()> {
    tell(transaction, tenant, feed, seq, News { customers, in_bulk: false, traces: &[] }).await
}

/// The same with what else there is to tell.
pub async fn tell(transaction: &Transaction, tenant: TenantId, feed: &str, seq: i64, news: News<'_>) -> Result<()> {
    let News { customers, in_bulk, traces } = news;
    let mut encoded = Vec::with_capacity(customers.serialized_size());
    customers.serialize_into(&mut encoded).map_err(|_| StoreError::Sealed("bitmap"))?;
    let row = feed_touched::ActiveModel {
        tenant_id: Set(tenant.0),
        feed: Set(feed.to_owned()),
        seq: Set(seq),
        customers: Set(encoded),
        in_bulk: Set(in_bulk),
        traces: Set(traces.join(" ")),
    };
    feed_touched::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// The sequence number of a feed's last commit. 0: none yet.
pub async fn head(connection: &impl ConnectionTrait, tenant: TenantId, feed: &str) -> Result<i64> {
    let row = feed_head::Entity::find_by_id((tenant.0, feed.to_owned())).one(connection).await?;
    Ok(row.map_or(0, |row| row.seq))
}

/// Whom commits have touched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// One by one.
    pub live: RoaringBitmap,
    /// In bulk.
    pub in_bulk: RoaringBitmap,
    /// The last of the commits.
    pub last: i64,
    /// The traces that led to those who were touched one by one, and to the others.
    pub traces: [Vec<String>; 2],
}

/// The customers that commits past `seq` touched. Commits are taken whole, and many at once: a worker that lags behind does the work of all
/// of them in one go.
pub async fn touched_after(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    feed: &str,
    seq: i64,
) -> Result<Touched> {
    let read = read_commits(connection, tenant, feed, seq, u64::MAX).await?;
    let last = read.commits.last().map_or(seq, |(seq, _)| *seq);
    Ok(Touched { live: read.live, in_bulk: read.in_bulk, last, traces: read.traces })
}

/// Commits in order, and all customers that they touched.
#[derive(Default)]
struct Commits {
    commits: Vec<(i64, RoaringBitmap)>,
    live: RoaringBitmap,
    in_bulk: RoaringBitmap,
    /// The traces of those that came live, and of those in bulk.
    traces: [Vec<String>; 2],
    /// Whether there may be more.
    may_be_more: bool,
}

/// The commits past `seq`, until they have touched `enough` customers.
async fn read_commits(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    feed: &str,
    seq: i64,
    enough: u64,
) -> Result<Commits> {
    let rows = feed_touched::Entity::find()
        .filter(feed_touched::Column::TenantId.eq(tenant.0))
        .filter(feed_touched::Column::Feed.eq(feed))
        .filter(feed_touched::Column::Seq.gt(seq))
        .order_by_asc(feed_touched::Column::Seq)
        .limit(PAGE_COMMITS)
        .all(connection)
        .await?;
    let mut read = Commits { may_be_more: rows.len() as u64 == PAGE_COMMITS, ..Commits::default() };
    for row in rows {
        let customers =
            RoaringBitmap::deserialize_from(row.customers.as_slice()).map_err(|_| StoreError::Sealed("bitmap"))?;
        read.traces[usize::from(row.in_bulk)].extend(row.traces.split_ascii_whitespace().map(str::to_owned));
        if row.in_bulk {
            read.in_bulk |= &customers;
        } else {
            read.live |= &customers;
        }
        read.commits.push((row.seq, customers));
        if read.in_bulk.len() + read.live.len() >= enough {
            read.may_be_more = true;
            break;
        }
    }
    Ok(read)
}

/// Where a reader of a feed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In the snapshot that was begun at feed position `from`, behind customer `after`.
    Snapshot {
        /// The position behind which the tail will be read.
        from: i64,
        /// The last customer that was read.
        after: u32,
    },
    /// Behind the commit with this sequence number.
    Tail(i64),
}

/// A page of a feed.
#[derive(Debug)]
pub struct Page {
    /// The records, and those of customers that are no more with empty bodies.
    pub records: Vec<Record>,
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether it is known that nothing was behind it when it was read.
    pub is_last: bool,
    /// The traces that led to these records, as far as commits tell; none of a snapshot.
    pub traces: Vec<String>,
}

/// Where a reader that knows nothing begins.
pub async fn begin(database: &Database, tenant: TenantId, feed: &str) -> Result<Cursor> {
    let from = head(database.reader(), tenant, feed).await?;
    Ok(Cursor::Snapshot { from, after: 0 })
}

/// The next page behind a cursor. An unchanged tail cursor says that there is nothing new.
pub async fn read(database: &Database, tenant: TenantId, feed: &str, cursor: Cursor) -> Result<Page> {
    match cursor {
        Cursor::Snapshot { from, after } => {
            let records = records::scan(database.reader(), tenant, after, PAGE_CUSTOMERS).await?;
            let cursor = match records.last() {
                Some(last) => Cursor::Snapshot { from, after: last.customer.0 },
                None => Cursor::Tail(from),
            };
            // Whoever knows nothing needs not be told who is no more.
            let records = records.into_iter().filter(|record| !record.is_tombstone()).collect();
            Ok(Page { records, cursor, is_last: false, traces: Vec::new() })
        }
        Cursor::Tail(seq) => read_tail(database, tenant, feed, seq).await,
    }
}

async fn read_tail(database: &Database, tenant: TenantId, feed: &str, seq: i64) -> Result<Page> {
    let again = Page { records: Vec::new(), cursor: Cursor::Tail(seq), is_last: false, traces: Vec::new() };
    let read = read_commits(database.reader(), tenant, feed, seq, PAGE_CUSTOMERS).await?;
    let Commits { commits, live, in_bulk, traces, may_be_more } = read;
    let Some(last) = commits.last().map(|(seq, _)| *seq) else { return Ok(again) };
    let customers: Vec<_> = (live | in_bulk).iter().map(CustomerId).collect();
    let records = records::load(database.reader(), tenant, &customers).await?;
    if records.len() < customers.len() || !all_as_new_as_logged(&records, &commits) {
        // On a distributed database the log can be seen before the rows. Nothing is lost: the reader asks again.
        return Ok(again);
    }
    let mut traces = traces.concat();
    let newer: RoaringBitmap =
        records.iter().filter(|record| record.seq > last).map(|record| record.customer.0).collect();
    if !newer.is_empty() {
        // Records that commits behind these have written meanwhile. When they come, whoever reads has what they say.
        let later = read_commits(database.reader(), tenant, feed, last, PAGE_CUSTOMERS).await?;
        if later.commits.iter().any(|(_, customers)| !customers.is_disjoint(&newer)) {
            traces.extend(later.traces.concat());
        }
    }
    Ok(Page { records, cursor: Cursor::Tail(last), is_last: !may_be_more, traces })
}

fn all_as_new_as_logged(records: &[Record], commits: &[(i64, RoaringBitmap)]) -> bool {
    records.iter().all(|record| {
        let logged = commits.iter().rev().find(|(_, customers)| customers.contains(record.customer.0));
        logged.is_none_or(|(seq, _)| record.seq >= *seq)
    })
}
