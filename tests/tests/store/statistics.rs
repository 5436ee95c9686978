//! What SQLite's planner makes of what it is told to assume: by which index it goes for what is asked all the time, however large a table becomes.

use quintile_store::DatabaseUrl;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

/// What is asked, with question marks for parameters, and what the search has to go by.
const ASKED: [(&str, &str); 8] = [
    (
        "SELECT * FROM playbook_run WHERE tenant_id = ? AND due_at IS NOT NULL AND due_at <= ? AND playbook IN (?, ?) ORDER BY due_at LIMIT ?",
        "playbook_run_due (tenant_id=? AND due_at",
    ),
    (
        "SELECT * FROM offer_grant WHERE tenant_id = ? AND customer_id BETWEEN ? AND ? AND state = ? AND expires_at > ?",
        "(tenant_id=? AND customer_id>? AND customer_id<?)",
    ),
    (
        "SELECT * FROM offer_grant WHERE tenant_id = ? AND customer_id IN (?, ?) AND state = ? AND expires_at > ?",
        "(tenant_id=? AND customer_id=?)",
    ),
    (
        "SELECT * FROM task WHERE tenant_id = ? AND customer_id = ? AND state IN (?, ?)",
        "(tenant_id=? AND customer_id=?)",
    ),
    ("SELECT * FROM warning WHERE tenant_id = ? AND customer_id IN (?, ?)", "(tenant_id=? AND customer_id=?)"),
    (
        "SELECT * FROM customer_record WHERE tenant_id = ? AND next_change_at <= ? ORDER BY next_change_at LIMIT ?",
        "customer_record_next_change_at (tenant_id=? AND next_change_at<?)",
    ),
    (
        "SELECT * FROM delivery WHERE tenant_id = ? AND endpoint = ? AND next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ?",
        "delivery_next (tenant_id=? AND endpoint=? AND next_attempt_at<?)",
    ),
    ("SELECT * FROM idempotent_request WHERE tenant_id = ? AND resource IN (?, ?)", "resource=?"),
];

/// The steps of the plan for a statement.
async fn plan(connection: &DatabaseConnection, sql: &str) -> Vec<String> {
    let parameters = vec![1.into(); sql.matches('?').count()];
    let explained = Statement::from_sql_and_values(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {sql}"), parameters);
    let rows = connection.query_all_raw(explained).await.unwrap();
    rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect()
}

#[tokio::test]
async fn what_is_asked_all_the_time_is_searched_by_what_has_few_rows() {
    let folder = tempfile::tempdir().unwrap();
    let database = quintile_lifecycle::migrate(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
    for (sql, by) in ASKED {
        let steps = plan(database.reader(), sql).await;
        assert!(steps.len() == 1 && steps[0].contains(by), "{sql}: {steps:?}");
    }
}
