//! The policy snapshot: who may call what, and see which class of fields in which form. Every service decides by its own copy.

use crate::token::VerifyingKey;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::{FieldForms, Form, Sensitivity};
use quintile_domain::money::Currency;
use quintile_domain::time::TimeZone;
use quintile_proto::access::{MaskForm, PolicySnapshot, RolePolicy, Tenant as TenantMessage};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use thiserror::Error;

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
}

/// What a role may do.
#[derive(Debug)]
pub struct Role {
    methods: HashSet<String>,
    /// The forms in which it sees fields.
    pub forms: FieldForms,
}

impl Role {
    /// Whether it may call a method, given as the path of the request: `/package.Service/Method`.
    pub fn may_call(&self, path: &str) -> bool {
        path.strip_prefix('/').is_some_and(|method| self.methods.contains(method))
    }
}

/// A policy, ready to decide.
#[derive(Debug)]
pub struct Policy {
    /// Grows with every change.
    pub version: i64,
    /// Who issues tokens.
    pub issuer: String,
    /// The tenants by id.
    pub tenants: HashMap<String, Arc<Tenant>>,
    roles: HashMap<String, Arc<Role>>,
    keys: HashMap<String, VerifyingKey>,
}

/// Why a snapshot can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("policy snapshot: {0}")]
pub struct PolicyError(String);

impl Policy {
    /// The policy of a snapshot.
    pub fn from_snapshot(snapshot: &PolicySnapshot) -> Result<Self, PolicyError> {
        let jwks = snapshot.jwks.as_ref().ok_or_else(|| PolicyError("no keys".to_owned()))?;
        let mut keys = HashMap::new();
        for jwk in &jwks.keys {
            let key = VerifyingKey::from_jwk(jwk).map_err(|problem| PolicyError(problem.to_owned()))?;
            keys.insert(jwk.kid.clone(), key);
        }
        let mut tenants = HashMap::new();
        for message in &snapshot.tenants {
            let tenant = Tenant::from_message(message)?;
            tenants.insert(tenant.name.clone(), Arc::new(tenant));
        }
        let roles = snapshot.roles.iter().map(|role| (role.role.clone(), Arc::new(Role::from_message(role)))).collect();
        Ok(Self { version: snapshot.version, issuer: jwks.issuer.clone(), tenants, roles, keys })
    }

    /// A role by name.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// A key by its id, which is a look-up key and nothing more.
    pub fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }
}

impl Tenant {
    fn from_message(message: &TenantMessage) -> Result<Self, PolicyError> {
        let name = message.name.strip_prefix("tenants/").unwrap_or_default().to_owned();
        let problem = |what: &str| PolicyError(format!("tenant {name}: {what}"));
        Ok(Self {
            id: TenantId(message.number),
            zone: TimeZone::from_name(&message.time_zone).map_err(|_| problem("unknown time zone"))?,
            currency: Currency::from_code(&message.base_currency).map_err(|_| problem("unknown currency"))?,
            name,
        })
    }
}

impl Role {
    fn from_message(message: &RolePolicy) -> Self {
        let mut forms = FieldForms::nothing();
        for granted in &message.forms {
            let class = Sensitivity::ALL.into_iter().find(|class| *class as i32 == granted.sensitivity);
            let form = match granted.form() {
                MaskForm::Clear => Form::Clear,
                MaskForm::Partial => Form::Partial,
                MaskForm::Year => Form::Year,
                _ => Form::Redacted,
            };
            // A class that this version does not know is not granted.
            if let Some(class) = class {
                forms = forms.with(class, form);
            }
        }
        Self { methods: message.methods.iter().cloned().collect(), forms }
    }
}
