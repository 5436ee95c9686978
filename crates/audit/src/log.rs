//! Writing: entries that wait go together into the next transaction of their tenant.

use crate::store_error;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::audit::AuditEvent;
use quintile_rpc::audit::AuditSink;
use quintile_rpc::{ApiError, convert};
use quintile_store::committer::Committer;
use quintile_store::{Database, audit};
use std::collections::HashMap;
use std::sync::Arc;

/// The most weight of one transaction.
const MAX_WEIGHT: usize = 1_000;
/// Customers that weigh as much as an entry without any.
const CUSTOMERS_PER_WEIGHT: usize = 100;

type Writer = Committer<(Instant, AuditEvent), ()>;

/// The log of one service.
pub struct AuditLog {
    service: &'static str,
    database: Database,
    clock: MachineClock,
    writers: Mutex<HashMap<TenantId, Arc<Writer>>>,
}

impl AuditLog {
    /// The log of a service in its migrated database.
    pub fn new(service: &'static str, database: Database, clock: MachineClock) -> Self {
        Self { service, database, clock, writers: Mutex::default() }
    }

    fn writer(&self, tenant: TenantId) -> Arc<Writer> {
        let start = || {
            let database = self.database.clone();
            let left = Arc::new(Mutex::new(None));
            Arc::new(Committer::start(MAX_WEIGHT, weight, move |events: Vec<(Instant, AuditEvent)>| {
                let (database, left) = (database.clone(), left.clone());
                async move {
                    let believed = left.lock().take();
                    let head = audit::append(&database, tenant, &events, believed, canonical).await?;
                    *left.lock() = Some(head);
                    Ok(vec![(); events.len()])
                }
            }))
        };
        self.writers.lock().entry(tenant).or_insert_with(start).clone()
    }

    async fn write(&self, tenant: TenantId, mut event: AuditEvent) -> Result<(), ApiError> {
        let now = self.clock.now();
        event.time = Some(convert::timestamp(now));
        self.service.clone_into(&mut event.service);
        let pending = self.writer(tenant).submit((now, event)).await.map_err(|error| store_error(&error))?;
        pending.outcome().await.map_err(|error| store_error(&error))
    }
}

impl AuditSink for AuditLog {
    fn record(&self, tenant: TenantId, event: AuditEvent) -> BoxFuture<'_, Result<(), ApiError>> {
        self.write(tenant, event).boxed()
    }
}

fn weight(entry: &(Instant, AuditEvent)) -> usize {
    1 + entry.1.customer_ids.len() / CUSTOMERS_PER_WEIGHT
}

/// The canonical event, which is hashed: its protobuf encoding with its place, by field number, without defaults, numbers packed.
/// Whoever verifies hashes the bytes as they are kept and never encodes anew.
pub fn canonical(event: &AuditEvent, seq: i64) -> Vec<u8> {
    AuditEvent { seq, ..event.clone() }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::hex;
    use quintile_proto::audit::AuditKind;
    use quintile_proto::types::{Purpose, Sensitivity};
    use quintile_store::DatabaseUrl;
    use quintile_store::audit::{GENESIS, link};
    use tempfile::TempDir;

    const NOW: Instant = Instant::from_micros(1_709_208_000_123_456);

    const FIRST_ENCODED: &str = "\
        0801120b08c0e381af06108094ef3a1a09696e67657374696f6e20012a03616e6e3207737570706f72743a03742d314a\
        317175696e74696c652e696e67657374696f6e2e76312e437573746f6d6572536572766963652f476574437573746f6d\
        657250045a02020362032aac0272024f4b";
    const FIRST_HASH: &str = "4074e8bdc1967685ff3c989a1ff984a1570a0cfa655dd8b482a7831d5af6578b";
    const SECOND_HASH: &str = "8bb4adb87ac5fb22dde20c0d92e27b8325a841aa6f9848dff9fb4a30855fe80d";

    fn event(subject: &str) -> AuditEvent {
        AuditEvent {
            time: Some(convert::timestamp(NOW)),
            service: "ingestion".to_owned(),
            kind: AuditKind::Read as i32,
            subject: subject.to_owned(),
            role: "support".to_owned(),
            token_id: "t-1".to_owned(),
            method: "quintile.ingestion.v1.CustomerService/GetCustomer".to_owned(),
            purpose: Purpose::Support as i32,
            classes: vec![Sensitivity::Name as i32, Sensitivity::Phone as i32],
            customer_ids: vec![42, 300],
            outcome: "OK".to_owned(),
            ..AuditEvent::default()
        }
    }

    // The expected bytes were put together in Python from the rules of the protobuf encoding, and hashed with its hashlib.
    #[test]
    fn the_canonical_form_and_the_chain_are_those_of_a_fixed_vector() {
        let first = canonical(&event("ann"), 1);
        let second = canonical(&event("bob"), 2);
        assert_eq!(hex(&first), FIRST_ENCODED);
        let hash = link(&GENESIS, &first);
        assert_eq!(hex(&hash), FIRST_HASH);
        assert_eq!(hex(&link(&hash, &second)), SECOND_HASH);
    }

    fn log(database: Database) -> AuditLog {
        AuditLog::new("ingestion", database, MachineClock::new(Arc::new(|| NOW)))
    }

    #[tokio::test]
    async fn what_was_recorded_is_there_after_a_crash() {
        let folder = TempDir::new().unwrap();
        let url = DatabaseUrl::SqliteFolder(folder.path().to_owned());
        let log = log(audit::open(&url, "ingestion").await.unwrap());
        log.record(TenantId(1), event("ann")).await.unwrap();
        // The files as a crash at this moment leaves them: nothing is closed, and another process opens a copy.
        let copy = TempDir::new().unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let after = audit::open(&DatabaseUrl::SqliteFolder(copy.path().to_owned()), "ingestion").await.unwrap();
        let entries = audit::page(after.reader(), TenantId(1), 0, 10).await.unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].body, canonical(&event("ann"), 1));
        assert_eq!(audit::head(after.reader(), TenantId(1)).await.unwrap().seq, 1);
    }

    #[tokio::test]
    async fn the_log_fills_in_place_time_and_service_whatever_it_is_told() {
        let folder = TempDir::new().unwrap();
        let database = audit::open(&DatabaseUrl::SqliteFolder(folder.path().to_owned()), "ingestion").await.unwrap();
        let told = AuditEvent { seq: 99, time: None, service: "somebody".to_owned(), ..event("ann") };
        log(database.clone()).record(TenantId(1), told).await.unwrap();
        let entries = audit::page(database.reader(), TenantId(1), 0, 10).await.unwrap();
        assert_eq!(entries[0].body, canonical(&event("ann"), 1));
        assert_eq!(entries[0].at, NOW);
    }

    #[tokio::test]
    async fn a_log_that_cannot_write_says_unavailable() {
        let folder = TempDir::new().unwrap();
        let database = audit::open(&DatabaseUrl::SqliteFolder(folder.path().to_owned()), "ingestion").await.unwrap();
        let log = log(database.clone());
        database.close().await.unwrap();
        let error = log.record(TenantId(1), event("ann")).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::Unavailable);
    }
}
