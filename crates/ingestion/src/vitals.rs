//! What comes in and what waits, for whoever scrapes it.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use quintile_proto::ingestion::IngestResponse;
use quintile_rpc::policy::Tenant;
use quintile_rpc::telemetry::metrics::{self, MAX_TENANTS};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Counts the rows of a batch that is acknowledged. A batch that is repeated counts again.
pub fn count_rows(tenant: &Tenant, response: &IngestResponse) {
    static ROWS: LazyLock<Counter<u64>> = LazyLock::new(|| metrics::INTAKE_ROWS.counter());
    let rejected = i64::try_from(response.rejects.len()).unwrap_or(i64::MAX);
    for (outcome, rows) in [("applied", response.applied), ("duplicate", response.duplicates), ("rejected", rejected)] {
        if let Ok(rows) = u64::try_from(rows)
            && rows > 0
        {
            ROWS.add(rows, &[KeyValue::new("tenant", tenant.name.clone()), KeyValue::new("outcome", outcome)]);
        }
    }
}

/// Has the batches that wait be told, by the tenant's name.
pub fn observe_queues(waiting: impl Fn() -> BTreeMap<String, usize> + Send + Sync + 'static) {
    metrics::INTAKE_QUEUE_DEPTH.observe(move |tell| {
        for (tenant, batches) in waiting().into_iter().take(MAX_TENANTS) {
            tell(batches as f64, &[KeyValue::new("tenant", tenant)]);
        }
    });
}
