//! Who calls: read from the token once, at the edge, and handed to the handler.

use crate::ApiError;
use crate::policy::{Role, Tenant};
use crate::token::Claims;
use quintile_domain::masking::{FieldForms, Lens, Maskable, Masked, Sensitivity};
use std::sync::Arc;
use tokio::time::Instant as Deadline;
use tonic::{Extensions, Request, Response};

/// The caller of an RPC, authenticated and allowed to call it.
#[derive(Clone)]
pub struct Caller {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) role: Arc<Role>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) token: Arc<str>,
    pub(crate) deadline: Option<Deadline>,
}

impl Caller {
    /// The caller of a request. Without one the edge would not have let it through.
    pub fn of<T>(request: &Request<T>) -> Result<Self, ApiError> {
        Self::in_extensions(request.extensions())
            .ok_or_else(|| ApiError::unauthenticated("the call reached a handler without a caller"))
    }

    /// The caller of a request to one of the few methods that need no token, if it has one.
    pub fn in_extensions(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    /// The tenant whose data the call is about: the token says it, never the request.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The role's name.
    pub fn role_name(&self) -> &str {
        &self.claims.role
    }

    /// Whether a class of fields may be used to filter, sort, count or group.
    pub fn reads_in_clear(&self, class: Sensitivity) -> bool {
        self.role.forms.reads_in_clear(class)
    }

    /// Masks an answer for this caller.
    pub fn mask<T: Maskable>(&self, message: T) -> Masked<T> {
        Masked::new(message, self)
    }

    /// A response with an answer masked for this caller.
    pub fn respond<T: Maskable>(&self, message: T) -> Response<Masked<T>> {
        Response::new(self.mask(message))
    }
}

impl Lens for Caller {
    fn forms(&self, _customer: Option<&str>) -> &FieldForms {
        &self.role.forms
    }
}
