//! Asking for rows by the keyed hashes that they are found by.

use quintile_domain::ids::TenantId;
use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Value};

/// Hashes of one query on SQLite: under its parameter limit.
const HASHES_PER_QUERY: usize = 500;

/// What stands behind `tenant_id = $1 AND some_hash` to ask for rows with one of these hashes, each with all values of its statement: one for
/// all of them on PostgreSQL, lists of bounded length on SQLite.
pub fn conditions(backend: DbBackend, tenant: TenantId, hashes: &[&Vec<u8>]) -> Vec<(String, Vec<Value>)> {
    let values = |chunk: &[&Vec<u8>]| chunk.iter().map(|hash| Value::from((*hash).clone())).collect::<Vec<_>>();
    if backend == DbBackend::Postgres {
        let all = Value::Array(ArrayType::Bytes, Some(Box::new(values(hashes))));
        return if hashes.is_empty() { Vec::new() } else { vec![("= ANY($2)".to_owned(), vec![tenant.0.into(), all])] };
    }
    let list = |chunk: &[&Vec<u8>]| {
        let places: Vec<String> = (2..chunk.len() + 2).map(|place| format!("${place}")).collect();
        let values = std::iter::once(Value::from(tenant.0)).chain(values(chunk)).collect();
        (format!("IN ({})", places.join(", ")), values)
    };
    hashes.chunks(HASHES_PER_QUERY).map(list).collect()
}
