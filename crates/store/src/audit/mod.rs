//! The audit log of a service: per tenant a chain of entries, each hashed over the one before it, and checkpoints of the chain
//! that somebody else has signed. Entries are only ever added.
//!
//! It has a database of its own beside the service's, so that whoever has to wait for an entry does not wait for the service's
//! writer too.

mod migrations;

use crate::bulk::{Column, OnConflict, Target};
use crate::tables::{audit_checkpoint, audit_event, audit_head};
use crate::{Database, DatabaseUrl, Result, StoreError, Transaction};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect,
    Statement, Value,
};
use sha2::{Digest, Sha256};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// What stands for the hash before the first entry.
pub const GENESIS: [u8; HASH_BYTES] = [0; HASH_BYTES];
/// How many entries are added by one statement, whose text tells their number.
const AT_ONCE: usize = 16;
/// Connections of an audit log: one writes at a time, and few read.
const CONNECTIONS: u32 = 3;

const EVENTS: Target = Target {
    table: "audit_event",
    columns: &["tenant_id", "seq", "at_micros", "body", "hash"],
    key: &["tenant_id", "seq"],
    on_conflict: OnConflict::Keep,
};
const CHECKPOINTS: Target = Target {
    table: "audit_checkpoint",
    columns: &["tenant_id", "seq", "hash", "at_micros", "kid", "public_x", "signature"],
    key: &["tenant_id", "seq"],
    on_conflict: OnConflict::Keep,
};

/// An entry, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 1, without a gap.
    pub seq: i64,
    /// When it was written. Machine time.
    pub at: Instant,
    /// The canonical event.
    pub body: Vec<u8>,
    /// The hash over the entry before it and its own body.
    pub hash: Vec<u8>,
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The place of the last entry; 0: there is none.
    pub seq: i64,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// A head that somebody else has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The place of the entry that was last.
    pub seq: i64,
    /// Its hash.
    pub hash: Vec<u8>,
    /// When it was signed, by the signer's clock.
    pub at: Instant,
    /// The id of the key that signed.
    pub kid: String,
    /// The public part of that key, base64url.
    pub public_x: String,
    /// The signature.
    pub signature: Vec<u8>,
}

/// How far a tenant's log has come, and how far it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The tenant.
    pub tenant: TenantId,
    /// The log's end.
    pub head: Head,
    /// The place of the last checkpoint; 0: there is none.
    pub checkpoint_seq: i64,
    /// When the last checkpoint was kept, by our clock.
    pub checkpoint_at: Instant,
}

/// Where a reading by time goes on: behind the entry of this time and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The entry's time.
    pub at: Instant,
    /// The entry's place.
    pub seq: i64,
}

/// Which entries a reading by time is about, and in which order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Not before this.
    pub start: Option<Instant>,
    /// Before this.
    pub end: Option<Instant>,
    /// The last entry first.
    pub newest_first: bool,
}

/// The name under which a service keeps its audit log: of the SQLite file and of the schema.
pub fn database_name(service: &str) -> String {
    format!("{service}-audit")
}

/// The names of the migrations of an audit log, in order.
pub fn migrations() -> Vec<String> {
    crate::migration::names::<migrations::Migrator>()
}

/// Opens the audit log of a service, making it if it is not there, and brings its schema up to date.
pub async fn open(url: &DatabaseUrl, service: &str) -> Result<Database> {
    let database = Database::open_with(url, &database_name(service), CONNECTIONS).await?;
    crate::migration::migrate::<migrations::Migrator>(&database).await?;
    Ok(database)
}

/// The hash of an entry: over the hash of the one before it, and its own body.
pub fn link(previous: &[u8], body: &[u8]) -> [u8; HASH_BYTES] {
    Sha256::new().chain_update(previous).chain_update(body).finalize().into()
}

/// Adds entries to a tenant's log, all or none, with consecutive places behind its head. `encode` makes the body of an event that
/// has been given its place; it may be called twice. `believed` is the head as the caller left it: where that is still so, and the entries are few,
/// the database is asked once and not four times. Returns the new head once it is durable.
pub async fn append<Event: Send + Sync>(
    database: &Database,
    tenant: TenantId,
    events: &[(Instant, Event)],
    believed: Option<Head>,
    encode: fn(&Event, i64) -> Vec<u8>,
) -> Result<Head> {
    if let Some(before) = believed
        && events.len() <= AT_ONCE
    {
        let (entries, head) = linked(&before, events, encode);
        if append_at_once(database, tenant, &before, &entries, &head).await? {
            return Ok(head);
        }
        // Another process has written since.
    }
    let transaction = database.begin().await?;
    let before = lock_head(&transaction, tenant).await?;
    let (entries, head) = linked(&before, events, encode);
    move_head(&transaction, tenant, &head).await?;
    if EVENTS.write(&transaction, columns(tenant, entries)).await? != events.len() as u64 {
        // Nobody but a forger makes entries behind the head, and an entry that is silently not written is worse than none.
        return Err(StoreError::Configuration("the audit log goes on behind its head".to_owned()));
    }
    transaction.commit().await?;
    Ok(head)
}

/// Entries behind a head, and the head that they make.
fn linked<Event>(before: &Head, events: &[(Instant, Event)], encode: fn(&Event, i64) -> Vec<u8>) -> (Vec<Entry>, Head) {
    let mut head = before.clone();
    let link = |(at, event): &(Instant, Event)| {
        let seq = head.seq + 1;
        let body = encode(event, seq);
        head = Head { seq, hash: link(&head.hash, &body).to_vec() };
        Entry { seq, at: *at, body, hash: head.hash.clone() }
    };
    let entries = events.iter().map(link).collect();
    (entries, head)
}

fn columns(tenant: TenantId, entries: Vec<Entry>) -> Vec<Column> {
    let rows = entries.len();
    let (mut seqs, mut times) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut bodies, mut hashes) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for entry in entries {
        seqs.push(entry.seq);
        times.push(entry.at.micros());
        bodies.push(entry.body);
        hashes.push(entry.hash);
    }
    vec![
        Column::Int(vec![tenant.0; rows]),
        Column::BigInt(seqs),
        Column::BigInt(times),
        Column::Bytes(bodies),
        Column::Bytes(hashes),
    ]
}

/// Adds entries and moves the head by one statement. Returns false, with nothing written, where the head is not what it is believed to be.
async fn append_at_once(
    database: &Database,
    tenant: TenantId,
    before: &Head,
    entries: &[Entry],
    head: &Head,
) -> Result<bool> {
    let mut values: Vec<Value> = Vec::with_capacity(5 + 4 * entries.len());
    values.extend([tenant.0.into(), before.seq.into(), before.hash.clone().into()]);
    values.extend([head.seq.into(), head.hash.clone().into()]);
    for Entry { seq, at, body, hash } in entries {
        values.extend([(*seq).into(), at.micros().into(), body.clone().into(), hash.clone().into()]);
    }
    let statement =
        Statement::from_sql_and_values(database.backend(), at_once(database.backend(), entries.len()), values);
    Ok(database.writer().execute_raw(statement).await?.rows_affected() == entries.len() as u64)
}

/// The statement that adds so many entries behind a head: its parameters are the tenant, that head, the new one, and the entries.
fn at_once(backend: DbBackend, entries: usize) -> String {
    let row = |index: usize| {
        let [seq, at, body, hash] = std::array::from_fn(|place| 6 + 4 * index + place);
        format!("(${seq}, ${at}, ${body}, ${hash})")
    };
    let rows = (0..entries).map(row).collect::<Vec<_>>().join(", ");
    let insert = "INSERT INTO audit_event (tenant_id, seq, at_micros, body, hash) SELECT head.tenant_id, entry.*";
    let is_believed = "tenant_id = $1 AND seq = $2 AND hash = $3";
    if backend == DbBackend::Sqlite {
        // A trigger moves the head.
        let head = format!("SELECT tenant_id FROM audit_head WHERE {is_believed}");
        return format!("{insert} FROM ({head}) AS head, (VALUES {rows}) AS entry");
    }
    let head = format!("UPDATE audit_head SET seq = $4, hash = $5 WHERE {is_believed} RETURNING tenant_id");
    format!("WITH head AS ({head}) {insert} FROM head, (VALUES {rows}) AS entry")
}

/// Moves the head on, whose row is locked.
async fn move_head(transaction: &Transaction, tenant: TenantId, to: &Head) -> Result<()> {
    audit_head::Entity::update_many()
        .col_expr(audit_head::Column::Seq, Expr::value(to.seq))
        .col_expr(audit_head::Column::Hash, Expr::value(to.hash.clone()))
        .filter(audit_head::Column::TenantId.eq(tenant.0))
        .exec(transaction)
        .await?;
    Ok(())
}

/// The head, whose row stays locked to the end of the transaction: entries of several processes come one after the other.
async fn lock_head(transaction: &Transaction, tenant: TenantId) -> Result<Head> {
    let statement = Statement::from_sql_and_values(
        transaction.get_database_backend(),
        "INSERT INTO audit_head (tenant_id, seq, hash, checkpoint_seq, checkpoint_at_micros) VALUES ($1, 0, $2, 0, 0) \
         ON CONFLICT (tenant_id) DO UPDATE SET seq = audit_head.seq RETURNING seq, hash",
        [tenant.0.into(), GENESIS.to_vec().into()],
    );
    let row = transaction.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| sea_orm::DbErr::RecordNotFound("audit head".to_owned()))?;
    Ok(Head { seq: row.try_get("", "seq")?, hash: row.try_get("", "hash")? })
}

/// The end of a tenant's log.
pub async fn head(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Head> {
    let row = audit_head::Entity::find_by_id(tenant.0).one(connection).await?;
    Ok(row.map_or_else(|| Head { seq: 0, hash: GENESIS.to_vec() }, |row| Head { seq: row.seq, hash: row.hash }))
}

/// The entries behind a place, by place.
pub async fn page(connection: &impl ConnectionTrait, tenant: TenantId, after: i64, limit: u64) -> Result<Vec<Entry>> {
    let rows = audit_event::Entity::find()
        .filter(audit_event::Column::TenantId.eq(tenant.0))
        .filter(audit_event::Column::Seq.gt(after))
        .order_by_asc(audit_event::Column::Seq)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(entry).collect())
}

/// The entries of a span, by time and place.
pub async fn page_by_time(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    span: &Span,
    behind: Option<Behind>,
    limit: u64,
) -> Result<Vec<Entry>> {
    use audit_event::Column::{AtMicros, Seq, TenantId as Tenant};
    let mut condition = Condition::all().add(Tenant.eq(tenant.0));
    if let Some(start) = span.start {
        condition = condition.add(AtMicros.gte(start.micros()));
    }
    if let Some(end) = span.end {
        condition = condition.add(AtMicros.lt(end.micros()));
    }
    if let Some(Behind { at, seq }) = behind {
        let at = at.micros();
        // The first part alone is a range of the index; the second is right.
        let (range, later, same) = if span.newest_first {
            (AtMicros.lte(at), AtMicros.lt(at), Seq.lt(seq))
        } else {
            (AtMicros.gte(at), AtMicros.gt(at), Seq.gt(seq))
        };
        condition = condition.add(range).add(Condition::any().add(later).add(same));
    }
    let order = if span.newest_first { Order::Desc } else { Order::Asc };
    let rows = audit_event::Entity::find()
        .filter(condition)
        .order_by(AtMicros, order.clone())
        .order_by(Seq, order)
        .limit(limit)
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(entry).collect())
}

fn entry(row: audit_event::Model) -> Entry {
    Entry { seq: row.seq, at: Instant::from_micros(row.at_micros), body: row.body, hash: row.hash }
}

/// How far every tenant's log has come.
pub async fn standings(connection: &impl ConnectionTrait) -> Result<Vec<Standing>> {
    let rows = audit_head::Entity::find().order_by_asc(audit_head::Column::TenantId).all(connection).await?;
    let standing = |row: audit_head::Model| Standing {
        tenant: TenantId(row.tenant_id),
        head: Head { seq: row.seq, hash: row.hash },
        checkpoint_seq: row.checkpoint_seq,
        checkpoint_at: Instant::from_micros(row.checkpoint_at_micros),
    };
    Ok(rows.into_iter().map(standing).collect())
}

/// Keeps a checkpoint beside the log that it is of. One that is there already stays.
pub async fn keep_checkpoint(
    database: &Database,
    tenant: TenantId,
    checkpoint: Checkpoint,
    machine_now: Instant,
) -> Result<()> {
    let transaction = database.begin().await?;
    let seq = checkpoint.seq;
    let columns = vec![
        Column::Int(vec![tenant.0]),
        Column::BigInt(vec![seq]),
        Column::Bytes(vec![checkpoint.hash]),
        Column::BigInt(vec![checkpoint.at.micros()]),
        Column::Text(vec![checkpoint.kid]),
        Column::Text(vec![checkpoint.public_x]),
        Column::Bytes(vec![checkpoint.signature]),
    ];
    CHECKPOINTS.write(&transaction, columns).await?;
    audit_head::Entity::update_many()
        .col_expr(audit_head::Column::CheckpointSeq, Expr::value(seq))
        .col_expr(audit_head::Column::CheckpointAtMicros, Expr::value(machine_now.micros()))
        .filter(audit_head::Column::TenantId.eq(tenant.0))
        .filter(audit_head::Column::CheckpointSeq.lt(seq))
        .exec(&transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// The checkpoints behind a place, by place.
pub async fn checkpoints(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    after: i64,
    limit: u64,
) -> Result<Vec<Checkpoint>> {
    let rows = audit_checkpoint::Entity::find()
        .filter(audit_checkpoint::Column::TenantId.eq(tenant.0))
        .filter(audit_checkpoint::Column::Seq.gt(after))
        .order_by_asc(audit_checkpoint::Column::Seq)
        .limit(limit)
        .all(connection)
        .await?;
    let checkpoint = |row: audit_checkpoint::Model| Checkpoint {
        seq: row.seq,
        hash: row.hash,
        at: Instant::from_micros(row.at_micros),
        kid: row.kid,
        public_x: row.public_x,
        signature: row.signature,
    };
    Ok(rows.into_iter().map(checkpoint).collect())
}
