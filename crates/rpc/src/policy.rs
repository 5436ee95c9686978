//! The policy snapshot: who may call what, and see which class of fields in which form. Every service decides by its own copy.

use crate::role::Role;
use crate::trust::Trust;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::PseudonymKey;
use quintile_domain::money::Currency;
use quintile_domain::revenue::RevenuePolicy;
use quintile_domain::time::TimeZone;
use quintile_proto::access::{
    PolicySnapshot, RevenuePolicy as RevenuePolicyMessage, RolePolicy, Tenant as TenantMessage,
};
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// The roles that no tenant can replace: without the one nobody governs, without the other no service works.
pub const UNCHANGEABLE_ROLES: [&str; 2] = ["admin", "service"];

/// The tenant that is there from the start, and runs the installation.
pub const DEFAULT_TENANT: &str = "default";

/// A tenant, as every service needs to know it.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The number under which its rows are kept.
    pub id: TenantId,
    /// The id that tokens name.
    pub name: String,
    /// Where its days begin.
    pub zone: TimeZone,
    /// What its money is in.
    pub currency: Currency,
    /// How refunds count in revenue.
    pub revenue: RevenuePolicy,
    /// The key of its keyed hashes. `None`: not told to this service, and then nothing is hashed.
    pub pseudonyms: Option<PseudonymKey>,
}

type Roles = HashMap<String, Arc<Role>>;

/// A policy, ready to decide.
#[derive(Debug)]
pub struct Policy {
    /// Grows with every change.
    pub version: i64,
    /// Grows when services are to wrap their keys anew under the present master key.
    pub key_generation: i64,
    /// Whose tokens are believed.
    pub trust: Trust,
    /// The tenants by id.
    pub tenants: HashMap<String, Arc<Tenant>>,
    /// The roles that every tenant has.
    roles: Roles,
    /// The roles that tenants have made for themselves, by the tenant's id.
    tenant_roles: HashMap<String, Roles>,
}

/// Why a snapshot can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("policy snapshot: {0}")]
pub struct PolicyError(pub(crate) String);

impl Policy {
    /// The policy of a snapshot.
    pub fn from_snapshot(snapshot: &PolicySnapshot) -> Result<Self, PolicyError> {
        let trust = Trust::from_snapshot(snapshot)?;
        let mut tenants = HashMap::new();
        for message in &snapshot.tenants {
            let tenant = Tenant::from_message(message)?;
            tenants.insert(tenant.name.clone(), Arc::new(tenant));
        }
        let tenant_roles = snapshot.tenant_roles.iter().map(|of| (tenant_id(&of.tenant).to_owned(), roles(&of.roles)));
        Ok(Self {
            version: snapshot.version,
            key_generation: snapshot.key_generation,
            trust,
            tenants,
            roles: roles(&snapshot.roles),
            tenant_roles: tenant_roles.collect(),
        })
    }

    /// A role of a tenant by name: its own, or one that every tenant has. What `admin` and `service` are is nobody's to change.
    pub fn role(&self, tenant: &str, name: &str) -> Option<&Arc<Role>> {
        let changeable = !UNCHANGEABLE_ROLES.contains(&name);
        let own = self.tenant_roles.get(tenant).filter(|_| changeable).and_then(|roles| roles.get(name));
        own.or_else(|| self.roles.get(name))
    }
}

impl Tenant {
    fn from_message(message: &TenantMessage) -> Result<Self, PolicyError> {
        let name = tenant_id(&message.name).to_owned();
        let problem = |what: &str| PolicyError(format!("tenant {name}: {what}"));
        Ok(Self {
            id: TenantId(message.number),
            zone: TimeZone::from_name(&message.time_zone).map_err(|_| problem("unknown time zone"))?,
            currency: Currency::from_code(&message.base_currency).map_err(|_| problem("unknown currency"))?,
            revenue: revenue_policy(message.revenue_policy()),
            pseudonyms: message.pseudonym_key.as_slice().try_into().ok().map(PseudonymKey::new),
            name,
        })
    }
}

/// What a snapshot of a version that knew no policies means by it, too.
fn revenue_policy(message: RevenuePolicyMessage) -> RevenuePolicy {
    match message {
        RevenuePolicyMessage::Gross => RevenuePolicy::Gross,
        RevenuePolicyMessage::Unspecified | RevenuePolicyMessage::Net => RevenuePolicy::Net,
        RevenuePolicyMessage::Netted => RevenuePolicy::Netted,
    }
}

fn tenant_id(name: &str) -> &str {
    name.strip_prefix("tenants/").unwrap_or_default()
}

/// The roles that can be read. One that can't is left out, and so allows nothing: the others go on.
fn roles(policies: &[RolePolicy]) -> Roles {
    let mut roles = HashMap::with_capacity(policies.len());
    for policy in policies {
        match Role::of(policy) {
            Ok(role) => drop(roles.insert(policy.role.clone(), Arc::new(role))),
            Err(error) => tracing::error!(role = policy.role, %error, "a role is not usable, and allows nothing"),
        }
    }
    roles
}
