//! Who calls: read from the token once, at the edge, and handed to the handler; and how the caller sees an answer.

use crate::ApiError;
use crate::policy::Tenant;
use crate::role::Rights;
use crate::scope::Scope;
use crate::telemetry;
use crate::token::{Claims, SERVICE, SUITE};
use crate::trail::Trail;
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::{DataOf, FieldForms, Lens, Maskable, Masked, Sensitivity, Shown};
use quintile_proto::types::{CustomerAttributes, Purpose};
use std::sync::Arc;
use tokio::time::Instant as Deadline;
use tonic::{Extensions, Request, Response};

/// Who somebody is and what they may see: what stays the same from call to call with one token and purpose.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) rights: Rights,
    pub(crate) purpose: Purpose,
    pub(crate) lookups_per_minute: u32,
}

/// The caller of an RPC, authenticated and allowed to call it.
#[derive(Clone)]
pub struct Caller {
    pub(crate) standing: Arc<Standing>,
    /// The service that calls for the caller.
    pub(crate) through: Option<Arc<Claims>>,
    pub(crate) token: Arc<str>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) trail: Trail,
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
        &self.standing.tenant
    }

    /// Who the token speaks for.
    pub fn subject(&self) -> &str {
        &self.standing.claims.sub
    }

    /// The role's name.
    pub fn role_name(&self) -> &str {
        &self.standing.claims.role
    }

    /// Which of the suite's own services calls, by name. `None`: somebody else, whatever its role.
    pub fn suite_service(&self) -> Option<&str> {
        let own = self.standing.claims.role == SERVICE;
        self.subject().strip_prefix(SUITE).filter(|_| own)
    }

    /// The purpose that the call states.
    pub fn purpose(&self) -> Purpose {
        self.standing.purpose
    }

    /// Exact look-ups of a person that this subject may make in a minute.
    pub fn lookups_per_minute(&self) -> u32 {
        self.standing.lookups_per_minute
    }

    /// Whether a class of fields may be used to filter, sort, count or group: only what the caller reads in clear of everybody.
    pub fn reads_in_clear(&self, class: Sensitivity) -> bool {
        self.standing.rights.forms.reads_in_clear(class)
    }

    /// The customers that the caller reaches, for those who evaluate it over many at once. `None`: all.
    pub fn scope(&self) -> Option<&Scope> {
        self.standing.rights.scope()
    }

    /// Whether the caller reaches a customer. Whom it does not reach is not there.
    pub fn reaches(&self, attributes: &CustomerAttributes) -> bool {
        self.standing.rights.reaches(attributes)
    }

    /// Notes in the audit log what the call is about, by resource name.
    pub fn is_about(&self, resource: impl Into<String>) {
        self.trail.is_about(resource);
    }

    /// Masks an answer that holds nobody's data. One that names customers does not compile: ask for a view of them.
    pub fn mask<T: Maskable>(&self, message: T) -> Masked<T> {
        const { assert!(!T::NAMES_CUSTOMERS, "this answer names customers: answer through a view of them") };
        self.masked(message, &self.standing.rights.forms)
    }

    /// A response with an answer that holds nobody's data.
    pub fn respond<T: Maskable>(&self, message: T) -> Response<Masked<T>> {
        Response::new(self.mask(message))
    }

    /// The caller's view of one customer. `NOT_FOUND` for one that the caller does not reach, as for one that is not there.
    pub fn view_of(&self, customer: CustomerId, attributes: &CustomerAttributes) -> Result<View, ApiError> {
        let view = self.view_of_reached([(customer, attributes)]);
        if self.reaches(attributes) { Ok(view) } else { Err(ApiError::not_found()) }
    }

    /// The caller's view of customers that it is known to reach.
    pub fn view_of_reached<'a>(
        &self,
        customers: impl IntoIterator<Item = (CustomerId, &'a CustomerAttributes)>,
    ) -> View {
        let forms = customers.into_iter().filter_map(|(customer, attributes)| {
            self.standing.rights.forms_for(attributes).map(|forms| (customer.as_i64(), forms))
        });
        let mut forms: Vec<_> = forms.collect();
        forms.sort_unstable_by_key(|(customer, _)| *customer);
        View { caller: self.clone(), forms }
    }

    fn masked<T: Maskable>(&self, message: T, lens: &dyn Lens) -> Masked<T> {
        let mut shown = Shown::default();
        let masked = Masked::new(message, lens, &mut shown);
        self.trail.shows(&shown);
        telemetry::metrics::count_masked(self.role_name(), &shown);
        masked
    }
}

/// A caller's view of some customers: the form of every class for each of them.
pub struct View {
    caller: Caller,
    /// By customer, where the forms depend on the customer. One that is not here is seen as one of whom nothing is known.
    forms: Vec<(i64, FieldForms)>,
}

impl View {
    /// Masks an answer about these customers.
    pub fn mask<T: Maskable>(&self, message: T) -> Masked<T> {
        self.caller.masked(message, self)
    }

    /// A response with an answer about these customers.
    pub fn respond<T: Maskable>(&self, message: T) -> Response<Masked<T>> {
        Response::new(self.mask(message))
    }
}

impl Lens for View {
    fn forms(&self, of: DataOf<'_>) -> &FieldForms {
        let found = of.customer().and_then(|customer| self.forms.binary_search_by_key(&customer, |(of, _)| *of).ok());
        found.map_or(&self.caller.standing.rights.forms, |index| &self.forms[index].1)
    }
}
