use super::rows_of;
use quintile_domain::ids::TenantId;
use quintile_store::DatabaseUrl;
use quintile_store::numbers::Numbers;
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Statement};

#[tokio::test]
async fn customers_are_found_by_number_on_sqlite_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let database = crate::migrate(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
    for numbers in [Numbers::List(vec![5, 7]), Numbers::Range(5, 900)] {
        let asked = rows_of(DbBackend::Sqlite, TenantId(1), &numbers).build(DbBackend::Sqlite);
        let explained = format!("EXPLAIN QUERY PLAN {}", asked.sql);
        let values = asked.values.unwrap();
        let plan = Statement::from_sql_and_values(DbBackend::Sqlite, explained, values);
        let rows = database.reader().query_all_raw(plan).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        let searched = |step: &&String| step.starts_with("SEARCH customer") || step.starts_with("SCAN customer");
        let searches: Vec<&String> = steps.iter().filter(searched).collect();
        assert_eq!(searches.len(), 3, "{steps:?}");
        // Each goes by more than the tenant.
        assert!(searches.iter().all(|step| step.contains("tenant_id=? AND ")), "{steps:?}");
    }
}
