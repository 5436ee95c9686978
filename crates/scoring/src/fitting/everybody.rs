//! Reading all customers once, for what is computed of everybody.

use super::Stopped;
use crate::Service;
use crate::worker::ScoreLink;
use quintile_chain::derive::Link;
use quintile_chain::{feed as records_feed, store_error};
use quintile_domain::ids::TenantId;
use quintile_proto::scoring::PreviewProgress;
use quintile_proto::types::CustomerRecord;
use quintile_store::feed::Cursor;
use quintile_store::{StoreError, feed, records};

/// Reads everybody, each customer once: who changes meanwhile is as it was or as it is. `tell` hears how far it is, and says whether anybody
/// still waits for it; if not, the error is `None`. Returns how far it came.
pub async fn read(
    service: &Service,
    tenant: TenantId,
    mut tell: impl FnMut(PreviewProgress) -> bool,
    mut take: impl FnMut(&CustomerRecord),
) -> Result<PreviewProgress, Stopped> {
    let failed = |error: StoreError| Some(store_error(&error));
    let database = &service.runtime.database;
    let customers = records::last(database.reader(), tenant).await.map_err(failed)?;
    let mut cursor = feed::begin(database, tenant, ScoreLink::FEED).await.map_err(failed)?;
    let mut progress = PreviewProgress { customers_read: 0, customers };
    while let Cursor::Snapshot { .. } = cursor {
        let page = feed::read(database, tenant, ScoreLink::FEED, cursor).await.map_err(failed)?;
        cursor = page.cursor;
        progress.customers_read += page.records.len() as i64;
        for record in &page.records {
            take(&records_feed::decode(record).map_err(failed)?);
        }
        if !tell(progress) {
            return Err(None);
        }
    }
    Ok(progress)
}
