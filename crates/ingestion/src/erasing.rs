//! The follow-up of erasures: asks every service for its receipt, has the key table rewritten, and completes. What is under way is
//! in the table of erasures alone, so that it goes on after a restart.

use crate::store::erasures::{self, StoredErasure};
use crate::store::rewrite::rewrite_keys;
use crate::{FEATURES, SERVICE, Service};
use quintile_chain::context::WorkError;
use quintile_chain::erasure as receipts;
use quintile_proto::lifecycle::erasure_service_client::ErasureServiceClient as LifecycleClient;
use quintile_proto::scoring::erasure_service_client::ErasureServiceClient as ScoringClient;
use quintile_proto::segmentation::erasure_service_client::ErasureServiceClient as SegmentationClient;
use quintile_proto::types::ErasureReceipt;
use quintile_proto::{lifecycle, scoring, segmentation};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use quintile_store::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// Erasures that are followed up at once, and that share one rewrite of the key table.
const BATCH: u64 = 100;
/// How often receipts that are not there yet are asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How often erasures of another replica are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The services besides ingestion that hold something of a customer.
const OTHERS: [&str; 3] = ["scoring", "lifecycle", "segmentation"];
/// What access-control has to say: it holds no customers.
const ACCESS_NOTE: &str = "no customer data is held here; the audit log keeps the customer's number";

/// Follows up the erasures of a tenant, without end.
pub async fn run(service: Service, tenant: Arc<Tenant>) -> Result<(), WorkError> {
    loop {
        let pending = erasures::pending(service.runtime.database.reader(), tenant.id, BATCH).await?;
        let wait = if pending.is_empty() { LOOK_AGAIN } else { ASK_AGAIN };
        let mut ready = Vec::new();
        for mut erasure in pending {
            if follow_up(&service, &tenant, &mut erasure).await? {
                ready.push(erasure);
            }
        }
        if !ready.is_empty() && complete(&service, &tenant, ready).await? {
            continue;
        }
        tokio::select! {
            () = service.erased.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Gathers receipts that are missing. Returns whether all are there.
async fn follow_up(service: &Service, tenant: &Tenant, erasure: &mut StoredErasure) -> Result<bool, WorkError> {
    let before = erasure.receipts.clone();
    if erasure.receipts.iter().any(|receipt| receipt.service == SERVICE && receipt.time.is_none()) {
        let receipt = match own_rows_left(service, tenant, erasure).await {
            Ok(left) => receipts::receipt(SERVICE, &service.runtime.database, &service.clock, left).await,
            Err(error) => Err(error),
        };
        if let Ok(seen) = receipt
            && let Some(own) = erasure.receipts.iter_mut().find(|receipt| receipt.service == SERVICE)
        {
            own.time = seen.time;
        }
    }
    for name in OTHERS {
        if erasure.receipts.iter().any(|receipt| receipt.service == name) {
            continue;
        }
        match ask(service, tenant, name, erasure).await {
            Ok(receipt) => erasure.receipts.push(receipt),
            Err(status) => tracing::debug!(service = name, code = ?status.code(), "no receipt yet"),
        }
    }
    if before != erasure.receipts {
        save(service, tenant, erasure).await?;
    }
    Ok(erasure.receipts.len() > OTHERS.len() && erasure.receipts.iter().all(|receipt| receipt.time.is_some()))
}

async fn own_rows_left(service: &Service, tenant: &Tenant, erasure: &StoredErasure) -> Result<i64, ApiError> {
    let (runtime, position) = (&service.runtime, erasure.facts_position);
    let records = receipts::records_left(runtime, tenant.id, FEATURES, erasure.customer, position).await?;
    let rows = erasures::rows_left(runtime.database.reader(), tenant.id, erasure.customer).await;
    let rows = rows.map_err(|error| quintile_chain::store_error(&error))?;
    Ok(records.saturating_add(i64::try_from(rows).unwrap_or(i64::MAX)))
}

async fn ask(
    service: &Service,
    tenant: &Tenant,
    name: &str,
    erasure: &StoredErasure,
) -> Result<ErasureReceipt, Status> {
    let (customer, facts_position) = (erasure.customer.to_string(), erasure.facts_position);
    let (credentials, peers) = (&service.credentials, &service.peers);
    let answer = match name {
        "scoring" => {
            let message = scoring::GetErasureReceiptRequest { name: customer, facts_position };
            let request = credentials.request(&tenant.name, message).await?;
            ScoringClient::new(peers.scoring.clone()).get_erasure_receipt(request).await?
        }
        "lifecycle" => {
            let message = lifecycle::GetErasureReceiptRequest { name: customer, facts_position };
            let request = credentials.request(&tenant.name, message).await?;
            LifecycleClient::new(peers.lifecycle.clone()).get_erasure_receipt(request).await?
        }
        _ => {
            let message = segmentation::GetErasureReceiptRequest { name: customer, facts_position };
            let request = credentials.request(&tenant.name, message).await?;
            SegmentationClient::new(peers.segmentation.clone()).get_erasure_receipt(request).await?
        }
    };
    Ok(answer.into_inner())
}

/// Rewrites the key table once for all of these, and notes that they are complete. Returns whether it could be done.
async fn complete(service: &Service, tenant: &Tenant, ready: Vec<StoredErasure>) -> Result<bool, WorkError> {
    let Some(note) = rewrite_keys(&service.runtime.database).await? else {
        tracing::warn!(tenant = tenant.name, "readers still see what was erased: erasures wait to be completed");
        return Ok(false);
    };
    for mut erasure in ready {
        let now = service.clock.now();
        if let Some(own) = erasure.receipts.iter_mut().find(|receipt| receipt.service == SERVICE) {
            own.note.clone_from(&note);
        }
        erasure.receipts.push(ErasureReceipt {
            service: "access-control".to_owned(),
            time: Some(convert::timestamp(now)),
            note: ACCESS_NOTE.to_owned(),
            ..ErasureReceipt::default()
        });
        erasure.completed_at = Some(now);
        save(service, tenant, &erasure).await?;
    }
    Ok(true)
}

async fn save(service: &Service, tenant: &Tenant, erasure: &StoredErasure) -> Result<(), StoreError> {
    let transaction = service.runtime.database.begin().await?;
    erasures::save(&transaction, tenant.id, erasure).await?;
    transaction.commit().await?;
    Ok(())
}
