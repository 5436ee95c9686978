//! Where the edge writes down who was shown what, and who changed what. The log itself is the crate `audit`'s.

use crate::ApiError;
use futures::future::BoxFuture;
use quintile_domain::ids::TenantId;
use quintile_proto::audit::AuditEvent;

/// A log that answers when what it was given is on disk.
pub trait AuditSink: Send + Sync {
    /// Writes an event of a tenant. Its `seq`, `time` and `service` are the log's to fill.
    fn record(&self, tenant: TenantId, event: AuditEvent) -> BoxFuture<'_, Result<(), ApiError>>;
}
