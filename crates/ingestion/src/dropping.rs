//! Drops facts that are older than they are kept. A local day at a time the horizons move; then the subjects are gone through in parts, each
//! of which folds its old facts into opening balances and deletes them in one transaction.
//!
//! No fact falls between: horizons move while nobody takes facts in, and whoever takes facts in afterwards has read them and refuses what is
//! older. So from before a horizon there is what was there when it was moved, and that becomes only less.

use crate::FACTS;
use crate::retention::Horizons;
use crate::store::privacy::{self, Hold};
use crate::store::{facts, identities, retention};
use crate::worker::FeatureWorker;
use quintile_chain::context::WorkError;
use quintile_store::{StoreError, failpoint, feed};
use std::collections::BTreeMap;

/// Subjects that one step looks at.
const SUBJECTS_PER_STEP: i64 = 10_000;
/// Facts of one part, which is one transaction; those of one subject are not parted.
const FACTS_PER_PART: i64 = 2_000;
/// Parts of one step: what is live waits no longer than one step takes.
const PARTS_PER_STEP: usize = 4;

/// Moves the horizons, or drops the next facts. Returns whether there may be more to do.
pub async fn step(worker: &FeatureWorker) -> Result<bool, WorkError> {
    let tenant = &worker.tenant;
    let stored = retention::get(worker.service.runtime.database.reader(), tenant.id).await?;
    if let Some(next) = stored.next_subject {
        go_on(worker, &stored.horizons, next).await?;
        return Ok(true);
    }
    let today = tenant.zone.local_day(worker.service.runtime.business.now());
    if stored.horizons.on(today, stored.days, &tenant.zone) == stored.horizons {
        return Ok(false);
    }
    let transaction = worker.begin().await?;
    privacy::hold(&transaction, tenant.id, Hold::Alone).await?;
    let mut stored = retention::get(&transaction, tenant.id).await?;
    stored.horizons = stored.horizons.on(today, stored.days, &tenant.zone);
    stored.next_subject = Some(0);
    retention::save(&transaction, tenant.id, &stored).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(true)
}

/// Goes through the next subjects.
async fn go_on(worker: &FeatureWorker, horizons: &Horizons, next: i64) -> Result<(), StoreError> {
    let (tenant, reader) = (worker.tenant.id, worker.service.runtime.database.reader());
    // Subjects that are newer have no older facts.
    let last = identities::last_number(reader, tenant).await?;
    let end = last.min(next.saturating_add(SUBJECTS_PER_STEP - 1));
    let old = facts::subjects_with_old(reader, tenant, (next, end), horizons).await?;
    let mut parts = parts(old);
    let left = parts.split_off(parts.len().min(PARTS_PER_STEP));
    for part in parts {
        drop_part(worker, &part, horizons).await?;
    }
    let next = left.first().and_then(|part| part.first().copied());
    let transaction = worker.begin().await?;
    retention::pass(&transaction, tenant, next.or((end < last).then_some(end + 1))).await?;
    Ok(transaction.commit().await?)
}

/// Subjects with so many old facts each, in parts.
fn parts(subjects: BTreeMap<i64, i64>) -> Vec<Vec<i64>> {
    let (mut parts, mut size) = (Vec::new(), FACTS_PER_PART);
    for (subject, facts) in subjects {
        if size >= FACTS_PER_PART {
            parts.push(Vec::new());
            size = 0;
        }
        if let Some(part) = parts.last_mut() {
            part.push(subject);
        }
        size += facts;
    }
    parts
}

/// Drops the old facts of the customers of some subjects.
async fn drop_part(worker: &FeatureWorker, subjects: &[i64], horizons: &Horizons) -> Result<(), StoreError> {
    let tenant = &worker.tenant;
    let transaction = worker.begin().await?;
    // Nobody merges or erases these customers meanwhile; others may take facts in.
    privacy::hold(&transaction, tenant.id, Hold::WithOthers).await?;
    let touched = facts::drop_old(&transaction, tenant, subjects, horizons).await?;
    if !touched.is_empty() {
        // Features stay as they are, but traits of a lifetime count what is kept.
        let seq = feed::next_seq(&transaction, tenant.id, FACTS).await?;
        feed::publish(&transaction, tenant.id, FACTS, seq, &touched).await?;
    }
    failpoint::reach("retention", "before_commit").await;
    transaction.commit().await?;
    failpoint::reach("retention", "after_commit").await;
    Ok(())
}
