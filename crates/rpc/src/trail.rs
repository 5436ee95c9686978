//! What a call leaves behind for the audit log: what its answer showed, and what it changed.

use parking_lot::Mutex;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::Shown;
use std::sync::Arc;
use tonic::Extensions;

/// The trail of one call. The edge lays it, masking and handlers write on it, and the edge reads it when the handler is done.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Mutex<Marks>>);

/// What stands on a trail.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// What was shown.
    pub shown: Shown,
    /// What was changed, by resource name.
    pub resource: String,
    /// The tenant and the subject of a call that had no token, where its handler found out.
    pub actor: Option<(TenantId, String)>,
}

impl Trail {
    /// The trail of a call.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Notes what an answer shows.
    pub fn shows(&self, shown: &Shown) {
        if !shown.is_empty() {
            self.0.lock().shown.add(shown);
        }
    }

    /// Notes what the call is about, by resource name. Never a value of a sensitive field.
    pub fn is_about(&self, resource: impl Into<String>) {
        self.0.lock().resource = resource.into();
    }

    /// Notes who acts where there was no token to say so.
    pub fn is_by(&self, tenant: TenantId, subject: impl Into<String>) {
        self.0.lock().actor = Some((tenant, subject.into()));
    }

    /// What stands on it by now.
    pub fn marks(&self) -> Marks {
        self.0.lock().clone()
    }
}
