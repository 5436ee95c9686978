//! Leases: which replica runs a background worker. They save work that would be done in vain; the cursor is what keeps it right.

use crate::{Database, Result};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use std::time::Duration;

/// Takes or renews a lease for `holder`. Returns whether the holder has it now. Time is the database's.
pub async fn acquire(database: &Database, name: &str, holder: &str, ttl: Duration) -> Result<bool> {
    let now = match database.backend() {
        DbBackend::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        _ => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    };
    let sql = format!(
        "INSERT INTO lease (name, holder, expires_at_micros) VALUES ($1, $2, {now} + $3) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at_micros = excluded.expires_at_micros \
         WHERE lease.holder = excluded.holder OR lease.expires_at_micros < {now}"
    );
    let ttl_micros = ttl.as_micros() as i64;
    let statement =
        Statement::from_sql_and_values(database.backend(), sql, [name.into(), holder.into(), ttl_micros.into()]);
    Ok(database.writer().execute_raw(statement).await?.rows_affected() == 1)
}

/// Gives a lease back, so that another replica need not wait for its end.
pub async fn release(database: &Database, name: &str, holder: &str) -> Result<()> {
    let statement = Statement::from_sql_and_values(
        database.backend(),
        "DELETE FROM lease WHERE name = $1 AND holder = $2",
        [name.into(), holder.into()],
    );
    database.writer().execute_raw(statement).await?;
    Ok(())
}
