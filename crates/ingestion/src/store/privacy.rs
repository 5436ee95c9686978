//! Who may change a tenant's customers at the same time.

use quintile_domain::ids::TenantId;
use quintile_store::{StoreError, Transaction};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

/// How a transaction changes customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Beside others: it takes in facts and customers.
    WithOthers,
    /// While nobody else changes customers: it changes what others would write back as they had read it, or takes it away.
    Alone,
}

/// Holds the tenant's customers to the end of the transaction. Call it first.
pub async fn hold(transaction: &Transaction, tenant: TenantId, how: Hold) -> Result<(), StoreError> {
    if transaction.get_database_backend() != DbBackend::Postgres {
        // SQLite has one writer.
        return Ok(());
    }
    let lock = match how {
        Hold::WithOthers => "pg_advisory_xact_lock_shared",
        Hold::Alone => "pg_advisory_xact_lock",
    };
    let sql = format!("SELECT {lock}(hashtextextended('quintile customers ' || current_schema() || $1::text, 0))");
    transaction.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [tenant.0.into()])).await?;
    Ok(())
}
