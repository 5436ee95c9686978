//! Tenants: made and listed.

use super::{in_force_error, operator, store_error};
use crate::policy::in_force::InForce;
use crate::store::{MAX_TENANTS, NewTenant, Terms};
use quintile_domain::entropy::Entropy;
use quintile_domain::money::Currency;
use quintile_domain::names;
use quintile_domain::time::TimeZone;
use quintile_proto::access::tenant_service_server::TenantService;
use quintile_proto::access::{CreateTenantRequest, ListTenantsRequest, ListTenantsResponse, RevenuePolicy, Tenant};
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::DEFAULT_TENANT;
use quintile_rpc::{Answer, ApiError, Caller};
use std::sync::Arc;
use tonic::Request;

/// Makes and lists tenants.
pub struct TenantApi {
    /// The policy, which holds the tenants.
    pub in_force: Arc<InForce>,
    /// Where the tenants' keys come from.
    pub entropy: Entropy,
}

#[tonic::async_trait]
impl TenantService for TenantApi {
    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Answer<Tenant> {
        let caller = operator(&request)?;
        caller.is_about(format!("tenants/{}", request.get_ref().tenant_id));
        let order = Order::of(request.into_inner())?;
        let store = self.in_force.store();
        let made = store.create_tenant(&order.id, &order.terms, &self.entropy).await;
        match made.map_err(store_error)? {
            NewTenant::Created(tenant) => {
                self.in_force.refresh().await.map_err(in_force_error)?;
                tracing::info!(tenant = tenant.name, "tenant created");
                Ok(caller.respond(tenant))
            }
            NewTenant::Taken => Err(ApiError::already_exists("the tenant").into()),
            NewTenant::Full => Err(ApiError::failed_precondition(
                ErrorReason::FailedPrecondition,
                format!("there are {MAX_TENANTS} tenants already"),
            )
            .into()),
        }
    }

    async fn list_tenants(&self, request: Request<ListTenantsRequest>) -> Answer<ListTenantsResponse> {
        let caller = Caller::of(&request)?;
        // From the database, so that a tenant that another process has just made is listed.
        let mut tenants = self.in_force.store().tenants().await.map_err(store_error)?;
        if caller.tenant().name != DEFAULT_TENANT {
            // Who else there is, is for those who run the installation.
            let own = format!("tenants/{}", caller.tenant().name);
            tenants.retain(|tenant| tenant.name == own);
        }
        Ok(caller.respond(ListTenantsResponse { tenants }))
    }
}

/// A tenant that is asked for, checked.
struct Order {
    id: String,
    terms: Terms,
}

impl Order {
    fn of(request: CreateTenantRequest) -> Result<Self, ApiError> {
        names::resource_id(&request.tenant_id).map_err(|error| ApiError::invalid_text("tenant_id", error))?;
        let tenant = request.tenant.unwrap_or_default();
        let mut terms = Terms::default();
        if !tenant.time_zone.is_empty() {
            TimeZone::from_name(&tenant.time_zone)
                .map_err(|error| ApiError::invalid_time("tenant.time_zone", error))?;
            terms.time_zone = tenant.time_zone;
        }
        if !tenant.base_currency.is_empty() {
            Currency::from_code(&tenant.base_currency)
                .map_err(|error| ApiError::invalid_money("tenant.base_currency", error))?;
            terms.base_currency = tenant.base_currency;
        }
        match RevenuePolicy::try_from(tenant.revenue_policy) {
            Ok(RevenuePolicy::Unspecified) => {}
            Ok(policy) => terms.revenue_policy = policy,
            Err(_) => return Err(ApiError::invalid_field("tenant.revenue_policy", "must be one of the policies")),
        }
        Ok(Self { id: request.tenant_id, terms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str, time_zone: &str, currency: &str) -> Result<Order, ApiError> {
        let tenant =
            Tenant { time_zone: time_zone.to_owned(), base_currency: currency.to_owned(), ..Tenant::default() };
        Order::of(CreateTenantRequest { tenant_id: id.to_owned(), tenant: Some(tenant) })
    }

    #[test]
    fn what_a_tenant_does_not_say_is_utc_and_dollars() {
        let order = order("acme", "", "").unwrap();
        assert_eq!((order.terms.time_zone.as_str(), order.terms.base_currency.as_str()), ("UTC", "USD"));
        assert_eq!(order.terms.revenue_policy, RevenuePolicy::Net);
        assert!(Order::of(CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: None }).is_ok());
    }

    #[test]
    fn a_tenant_with_a_wrong_part_is_refused_by_the_name_of_the_part() {
        for (id, time_zone, currency, field) in [
            ("", "", "", "tenant_id"),
            ("Acme", "", "", "tenant_id"),
            ("../acme", "", "", "tenant_id"),
            ("acme", "Mars/Olympus", "", "tenant.time_zone"),
            ("acme", " ", "", "tenant.time_zone"),
            ("acme", "", "usd", "tenant.base_currency"),
            // Gold has no minor units.
            ("acme", "", "XAU", "tenant.base_currency"),
        ] {
            let error = order(id, time_zone, currency).err().unwrap();
            assert_eq!((error.code(), error.field()), (tonic::Code::InvalidArgument, Some(field)), "{id:?}");
        }
        let tenant = Some(Tenant { revenue_policy: 99, ..Tenant::default() });
        let error = Order::of(CreateTenantRequest { tenant_id: "acme".to_owned(), tenant }).err().unwrap();
        assert_eq!(error.field(), Some("tenant.revenue_policy"));
    }
}
