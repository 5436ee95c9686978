//! What the planners of both databases know of tables.
//!
//! SQLite's knows nothing by itself, takes a tenant for ten rows, and reads all of it rather than go by the index of a customer. It is told that a tenant is
//! many rows, whatever there is: a plan then stays what it is, and is right when a table is large.
//!
//! PostgreSQL's are kept up with tables that grow fast. Autovacuum looks once a minute. Until then the planner knows nothing of a table that a bulk load has
//! just filled, takes a tenant for one of two hundred, and reads all of the tenant's rows for every five hundred that a query names; and a plan that was made
//! while the table was small is kept for as long as its connection.
//!
//! Statistics are samples of what a table holds, and stay when a row goes. So none are kept of bytes: they are keys, sealed text and records,
//! of which nothing may be left when a customer is erased, and no query asks for them but by index.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use std::time::Duration;

/// How often the sizes of tables are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Tables of this schema that are four times as large as the planner knows. Small ones are left alone: any plan is good for them.
const OUTGROWN: &str = "SELECT relname::text AS name FROM pg_class \
     WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind = 'r' \
     AND pg_relation_size(oid) > greatest(131072, 4 * 8192 * relpages::bigint)";

/// Columns of bytes that are in no index, and of which statistics would be kept.
const SAMPLED: &str = "SELECT relname::text AS name, attname::text AS part FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid \
     WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind = 'r' \
     AND atttypid = 'bytea'::regtype AND NOT attisdropped AND attstattarget IS DISTINCT FROM 0 \
     AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND attnum = ANY (indkey))";

/// What is said of every index of a SQLite file, as its `sqlite_stat1` has it: the rows of the table, and how many have the same of its first column, of its
/// first two, and so on. One, of all columns of a unique index; many, of a tenant and of what has few values in it; and otherwise few.
const ASSUMED: &str = "INSERT INTO sqlite_stat1 (tbl, idx, stat) \
     SELECT part.name, iif(part.wr AND found.origin = 'pk', part.name, found.name), '1000000' || ( \
         SELECT group_concat(CASE WHEN found.\"unique\" AND column.seqno = (SELECT max(seqno) FROM pragma_index_info(found.name)) THEN ' 1' \
                                  WHEN column.name = 'tenant_id' THEN ' 100000' \
                                  WHEN column.name IN ('assignee', 'endpoint', 'goes_on', 'model', 'name', 'offer', 'playbook', 'state') THEN ' 50000' \
                                  ELSE ' 10' END, '') \
         FROM (SELECT seqno, name FROM pragma_index_info(found.name) ORDER BY seqno) AS column) \
     FROM pragma_table_list AS part JOIN pragma_index_list(part.name) AS found \
     WHERE part.schema = 'main' AND part.type = 'table' AND part.name NOT LIKE 'sqlite!_%' ESCAPE '!'";

/// Tells SQLite's planner what to assume of tables. Part of every migration.
pub async fn assume(transaction: &impl ConnectionTrait) -> Result<(), DbErr> {
    // The first makes the table of statistics where there is none, the last has this connection read it. Others do when
    // they next read the schema: at once where migrations have changed it.
    for statement in ["ANALYZE sqlite_schema", "DELETE FROM sqlite_stat1", ASSUMED, "ANALYZE sqlite_schema"] {
        transaction.execute_unprepared(statement).await?;
    }
    Ok(())
}

/// Has PostgreSQL keep no statistics of what tables hold in bytes. Part of every migration.
pub async fn withhold_bytes(transaction: &impl ConnectionTrait) -> Result<(), DbErr> {
    let sampled = Statement::from_string(DbBackend::Postgres, SAMPLED);
    for row in transaction.query_all_raw(sampled).await? {
        // Names of ours, which need no quotes.
        let (table, column): (String, String) = (row.try_get("", "name")?, row.try_get("", "part")?);
        let statement = format!("ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0");
        transaction.execute_unprepared(&statement).await?;
    }
    Ok(())
}

/// Has tables analyzed that have outgrown what is known of them, until the connections are closed.
pub async fn keep(connection: DatabaseConnection) {
    loop {
        tokio::time::sleep(LOOK).await;
        match analyze_outgrown(&connection).await {
            Ok(()) => {}
            Err(error) if connection.ping().await.is_err() => {
                tracing::debug!(%error, "statistics are not kept while the database is away");
                if connection.get_postgres_connection_pool().is_closed() {
                    return;
                }
            }
            // Plans are slower without; nothing is wrong.
            Err(error) => tracing::warn!(%error, "statistics are not kept"),
        }
    }
}

async fn analyze_outgrown(connection: &DatabaseConnection) -> Result<(), DbErr> {
    let outgrown = Statement::from_string(DbBackend::Postgres, OUTGROWN);
    for row in connection.query_all_raw(outgrown).await? {
        let name: String = row.try_get("", "name")?;
        // A table of ours, whose name needs no quotes; another replica may be at it.
        connection.execute_unprepared(&format!("ANALYZE (SKIP_LOCKED) {name}")).await?;
    }
    Ok(())
}
