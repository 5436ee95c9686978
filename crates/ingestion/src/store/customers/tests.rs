use super::super::facts::by_keys;
use super::{referrer, rows_of};
use crate::intake::Identity;
use quintile_domain::ids::TenantId;
use quintile_proto::ingestion::{Customer, SourceIdentity};
use quintile_store::numbers::Numbers;
use quintile_store::{Database, DatabaseUrl};
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Statement};

/// How SQLite searches the tables of ingestion for a statement with so many parameters.
async fn searches(database: &Database, sql: &str, parameters: usize) -> Vec<String> {
    let explained = format!("EXPLAIN QUERY PLAN {sql}");
    let plan = Statement::from_sql_and_values(DbBackend::Sqlite, explained, vec![1.into(); parameters]);
    let rows = database.reader().query_all_raw(plan).await.unwrap();
    let steps = rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap());
    steps.filter(|step| step.contains(" USING ")).collect()
}

#[tokio::test]
async fn nothing_of_a_customer_is_looked_for_in_all_of_the_tenant_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let database = crate::migrate(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
    for numbers in [Numbers::List((0..500).map(|place| 3 * place).collect()), Numbers::Range(5, 900)] {
        let asked = rows_of(TenantId(1), &numbers).build(DbBackend::Sqlite);
        let found = searches(&database, &asked.sql, asked.values.unwrap().0.len()).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|step| step.contains("(tenant_id=? AND ")), "{found:?}");
    }
    let keys = [(5, "shop", "e1"), (7, "shop", "e2")];
    let facts = by_keys(DbBackend::Sqlite, "SELECT * FROM order_fact", TenantId(1), &keys);
    let found = searches(&database, &facts.sql, facts.values.unwrap().0.len()).await;
    assert!(found.len() == 1 && found[0].contains("subject_id=?"), "{found:?}");
    let few = [
        ("SELECT * FROM subject WHERE tenant_id = ? AND customer_id IN (?)", 2, "customer_id=?"),
        ("DELETE FROM contact WHERE tenant_id = ? AND customer_id IN (?)", 2, "customer_id=?"),
        ("DELETE FROM identity_conflict WHERE tenant_id = ? AND state = ? AND right_id IN (?)", 3, "right_id=?"),
        ("SELECT * FROM customer_record WHERE tenant_id = ? AND next_change_at <= ? LIMIT ?", 3, "next_change_at<?"),
    ];
    for (sql, parameters, column) in few {
        let found = searches(&database, sql, parameters).await;
        assert!(found.len() == 1 && found[0].contains(column), "{sql}: {found:?}");
    }
}

#[test]
fn a_referrer_that_was_written_without_a_source_has_that_of_the_first_identity() {
    let identity = |source: &str| SourceIdentity { source: source.to_owned(), id: Some("b".to_owned()) };
    let identities = vec![identity("shop"), identity("crm")];
    for (written, source) in [(None, "shop"), (Some(""), ""), (Some("crm"), "crm")] {
        let referrer_source = written.map(str::to_owned);
        let identities = identities.clone();
        let record = Customer { identities, referrer: Some("a".to_owned()), referrer_source, ..Customer::default() };
        assert_eq!(referrer(&record), Some(Identity { source: source.to_owned(), id: "a".to_owned() }));
    }
    assert_eq!(referrer(&Customer { identities, ..Customer::default() }), None);
}
