//! Facts of customers: orders, refunds, interactions and feedback, each kind in a table of its own, keyed by subject, source and event id.
//!
//! To add a kind, implement [`StoredEvent`] for its row, name it in [`TABLES`], and load it in [`of_customers`].

mod events;
mod load;
mod old;
mod read;
mod responses;
mod scan;

pub use load::of_customers;
pub use old::{drop_old, subjects_with_old};
pub use read::{Place, Reader};
pub use responses::{Asking, Period, histories};
pub use scan::Scan;

use super::identities::Owner;
use super::keys::TenantKeys;
use super::rates::ForeignFact;
use crate::intake::Event;
use quintile_domain::ids::TenantId;
use quintile_store::bulk::{Column, Target};
use quintile_store::{StoreError, Transaction};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use std::collections::HashMap;
use std::fmt::Write;

/// Keys of one query: under the parameter limits of both databases.
pub const KEYS_PER_QUERY: usize = 500;

/// The tables of facts that hang on subjects.
pub const TABLES: [&str; 4] = ["order_fact", "refund_fact", "interaction_fact", "feedback_fact"];

/// The tables beside them: what is noted of facts in other currencies, and what facts that were dropped amount to.
const BESIDE: [&str; 2] = ["foreign_fact", "opening_balance"];

/// A fact of a customer on its way into its table.
pub trait StoredEvent: Sized {
    /// Its table. The columns of every event come first: tenant, subject, source, event id, hash and instant.
    const TARGET: Target;

    /// What it has in common with all others.
    fn event(&self) -> &Event;

    /// Its entry among facts in other currencies. `None`: it is in the base currency, or no money.
    fn foreign(&self, _owner: &Owner) -> Option<ForeignFact> {
        None
    }

    /// The columns of these rows that only this kind has, in the order of the table.
    fn columns(rows: &[&(Owner, Self)], tenant: TenantId, keys: &TenantKeys) -> Vec<Column>;
}

/// What became of facts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Facts that were new.
    pub applied: usize,
    /// Facts that were there, the same.
    pub duplicates: usize,
    /// The places, in the input, of facts whose id is there with another body.
    pub conflicts: Vec<usize>,
}

/// Facts with the columns that they are written in.
pub struct Ready<E> {
    facts: Vec<(Owner, E)>,
    columns: Vec<Column>,
}

impl<E: StoredEvent + Sync> Ready<E> {
    /// Makes facts ready.
    pub fn new(tenant: TenantId, keys: &TenantKeys, facts: Vec<(Owner, E)>) -> Self {
        let mut sorted: Vec<&(Owner, E)> = facts.iter().collect();
        sorted.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let mut columns = vec![
            Column::Int(vec![tenant.0; sorted.len()]),
            Column::BigInt(sorted.iter().map(|(owner, _)| owner.subject_id).collect()),
            Column::Text(sorted.iter().map(|(_, fact)| fact.event().customer.source.clone()).collect()),
            Column::Text(sorted.iter().map(|(_, fact)| fact.event().event_id.clone()).collect()),
            Column::Bytes(sorted.iter().map(|(_, fact)| fact.event().body_hash.clone()).collect()),
            Column::BigInt(sorted.iter().map(|(_, fact)| fact.event().at.micros()).collect()),
        ];
        columns.extend(E::columns(&sorted, tenant, keys));
        Self { facts, columns }
    }

    /// Writes them; those that are there already stay as they are. Returns them with what became of them.
    pub async fn write(
        self,
        transaction: &Transaction,
        tenant: TenantId,
    ) -> Result<(Vec<(Owner, E)>, Written), StoreError> {
        let Self { facts, columns } = self;
        let applied = E::TARGET.write(transaction, columns).await? as usize;
        if applied == facts.len() {
            return Ok((facts, Written { applied, ..Written::default() }));
        }
        // Some were there: only now is it worth reading what is.
        let stored = hashes::<E>(transaction, tenant, &facts).await?;
        let differs =
            |place: &usize| stored.get(&owned_key(&facts[*place])) != Some(&facts[*place].1.event().body_hash);
        let conflicts: Vec<usize> = (0..facts.len()).filter(differs).collect();
        let duplicates = facts.len() - applied - conflicts.len();
        Ok((facts, Written { applied, duplicates, conflicts }))
    }
}

/// What identifies a fact in its table: subject, source and event id.
pub type Key = (i64, String, String);

fn key<E: StoredEvent>((owner, fact): &(Owner, E)) -> (i64, &str, &str) {
    (owner.subject_id, &fact.event().customer.source, &fact.event().event_id)
}

fn owned_key<E: StoredEvent>((owner, fact): &(Owner, E)) -> Key {
    (owner.subject_id, fact.event().customer.source.clone(), fact.event().event_id.clone())
}

/// The hashes of those of these facts that are there, by exact key: a subject may have a hundred thousand others.
async fn hashes<E: StoredEvent>(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    facts: &[(Owner, E)],
) -> Result<HashMap<Key, Vec<u8>>, StoreError> {
    let mut keys: Vec<(i64, &str, &str)> = facts.iter().map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut found = HashMap::with_capacity(facts.len());
    for chunk in keys.chunks(KEYS_PER_QUERY) {
        let select = format!("SELECT subject_id, source, event_id, body_hash FROM {}", E::TARGET.table);
        let rows = connection.query_all_raw(by_keys(connection.get_database_backend(), &select, tenant, chunk)).await?;
        for row in rows {
            let key = (row.try_get("", "subject_id")?, row.try_get("", "source")?, row.try_get("", "event_id")?);
            found.insert(key, row.try_get("", "body_hash")?);
        }
    }
    Ok(found)
}

/// Takes all facts of these subjects away, and what is left of those that were dropped, up to [`KEYS_PER_QUERY`] of them. Returns how many
/// rows that were.
pub async fn delete(transaction: &Transaction, tenant: TenantId, subjects: &[i64]) -> Result<u64, StoreError> {
    let mut removed = 0;
    for table in TABLES.into_iter().chain(BESIDE) {
        let statement =
            of_subjects(transaction.get_database_backend(), &format!("DELETE FROM {table}"), tenant, subjects);
        removed += transaction.execute_raw(statement).await?.rows_affected();
    }
    Ok(removed)
}

/// How many facts of a subject there are, of every kind, and whether there is something left of those that were dropped.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId, subject: i64) -> Result<u64, StoreError> {
    let mut count = 0;
    for table in TABLES.into_iter().chain(BESIDE) {
        let select = format!("SELECT count(*) AS facts FROM {table}");
        let statement = of_subjects(connection.get_database_backend(), &select, tenant, &[subject]);
        let row = connection.query_one_raw(statement).await?;
        let facts: i64 = row.map_or(Ok(0), |row| row.try_get("", "facts"))?;
        count += facts.unsigned_abs();
    }
    Ok(count)
}

/// A statement about the rows of these subjects.
fn of_subjects(backend: DbBackend, statement: &str, tenant: TenantId, subjects: &[i64]) -> Statement {
    let places: Vec<String> = (2..subjects.len() + 2).map(|place| format!("${place}")).collect();
    let sql = format!("{statement} WHERE tenant_id = $1 AND subject_id IN ({})", places.join(", "));
    let values = std::iter::once(Value::from(tenant.0)).chain(subjects.iter().map(|subject| Value::from(*subject)));
    Statement::from_sql_and_values(backend, sql, values)
}

/// A query for the rows with these keys. SQLite searches by a list of rows where it is a plain query, which VALUES of several rows are not.
pub(super) fn by_keys(backend: DbBackend, select: &str, tenant: TenantId, keys: &[(i64, &str, &str)]) -> Statement {
    let mut sql =
        format!("{select} WHERE tenant_id = $1 AND (subject_id, source, event_id) IN (SELECT * FROM (VALUES ");
    let mut values: Vec<Value> = vec![tenant.0.into()];
    for (place, (subject, source, event)) in keys.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let first = 3 * place + 2;
        // Writing to a String does not fail. Untyped parameters of VALUES would be text to PostgreSQL.
        let _ = write!(sql, "{comma}(CAST(${first} AS BIGINT), ${}, ${})", first + 1, first + 2);
        values.extend([(*subject).into(), (*source).into(), (*event).into()]);
    }
    sql.push_str(") AS keys)");
    Statement::from_sql_and_values(backend, sql, values)
}
