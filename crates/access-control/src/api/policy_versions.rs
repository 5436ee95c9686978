//! A tenant's own roles: previewed, published, listed and explained.

use super::{in_force_error, store_error};
use crate::policy::in_force::InForce;
use crate::policy::publishing;
use crate::store::Changed;
use prost_reflect::{Kind, Value};
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_domain::masking::Sensitivity;
use quintile_domain::names;
use quintile_proto::access::{
    AccessExplanation, ExplainAccessRequest, FieldForm, ListPolicyVersionsRequest, ListPolicyVersionsResponse,
    MaskForm, PolicyImpact, PolicyVersion, PublishPolicyRequest, RolePolicy,
};
use quintile_proto::types::Purpose;
use quintile_rpc::role::Role;
use quintile_rpc::scope::CallerAttributes;
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::sealing::TokenSealer;

/// The most bytes of a comment.
const MAX_COMMENT_BYTES: usize = 1_024;
/// What page tokens are sealed for.
const LIST: &[u8] = b"ListPolicyVersions";

/// What publishing `roles` would change for the caller's tenant.
pub async fn preview(in_force: &InForce, caller: &Caller, roles: &[RolePolicy]) -> Result<PolicyImpact, ApiError> {
    publishing::check(roles)?;
    let (tenant, store) = (caller.tenant().id, in_force.store());
    let present = store.newest_tenant_policy(tenant).await.map_err(store_error)?;
    let (present_version, own) = present.map_or((0, Vec::new()), |(number, version)| (number, version.roles));
    let shipped = in_force.snapshot().roles.clone();
    let before = publishing::effective(&shipped, &own);
    let after = publishing::effective(&shipped, roles);
    let mut impacts = publishing::impact(&before, &after);
    for impact in &mut impacts {
        let principals = store.principals_of_role(tenant, &impact.role).await.map_err(store_error)?;
        impact.principals = i64::try_from(principals).unwrap_or(i64::MAX);
    }
    Ok(PolicyImpact { present_version, roles: impacts })
}

/// Puts roles in force for the caller's tenant.
pub async fn publish(
    in_force: &InForce,
    caller: &Caller,
    request: PublishPolicyRequest,
    clock: &MachineClock,
) -> Result<PolicyVersion, ApiError> {
    publishing::check(&request.roles)?;
    names::optional_text(&request.comment, MAX_COMMENT_BYTES)
        .map_err(|error| ApiError::invalid_text("comment", error))?;
    if request.expected_version < 0 {
        return Err(ApiError::invalid_field("expected_version", "must not be negative"));
    }
    let now = clock.now();
    let version = PolicyVersion {
        name: String::new(),
        roles: request.roles,
        comment: request.comment,
        publisher: caller.subject().to_owned(),
        publish_time: Some(convert::timestamp(now)),
    };
    let tenant = caller.tenant();
    let published = in_force.store().publish_tenant_policy(tenant.id, request.expected_version, version, now).await;
    match published.map_err(store_error)? {
        Changed::Done(version) => {
            in_force.refresh().await.map_err(in_force_error)?;
            caller.is_about(version.name.clone());
            tracing::info!(name = version.name, tenant = tenant.name, "roles published");
            Ok(version)
        }
        Changed::Stale => Err(ApiError::stale_etag()),
        Changed::Absent => Err(ApiError::not_found()),
    }
}

/// One version of the caller's tenant.
pub async fn get(in_force: &InForce, caller: &Caller, name: &str) -> Result<PolicyVersion, ApiError> {
    let number = name.strip_prefix("policyVersions/").filter(|number| !number.starts_with(['0', '+', '-']));
    let number = number.and_then(|number| number.parse::<i64>().ok());
    let number = number.ok_or_else(|| ApiError::invalid_field("name", "must be policyVersions/{number}"))?;
    let found = in_force.store().tenant_policy(caller.tenant().id, number).await.map_err(store_error)?;
    found.ok_or_else(ApiError::not_found)
}

/// A page of versions, the newest first.
pub async fn list(
    in_force: &InForce,
    caller: &Caller,
    sealer: &TokenSealer,
    request: &ListPolicyVersionsRequest,
) -> Result<ListPolicyVersionsResponse, ApiError> {
    let tenant = caller.tenant().id;
    let size = convert::page_size(request.page_size, 20, 100)?;
    let before = begin_before(sealer, tenant, &request.page_token)?;
    // One more, to know whether there is a next page.
    let mut listed = in_force.store().tenant_policies(tenant, before, size + 1).await.map_err(store_error)?;
    let more = listed.len() as u64 > size;
    listed.truncate(size as usize);
    let next_page_token = match listed.last() {
        Some((number, _)) if more => sealer.seal(tenant, LIST, &number.to_be_bytes()),
        _ => String::new(),
    };
    Ok(ListPolicyVersionsResponse {
        versions: listed.into_iter().map(|(_, version)| version).collect(),
        next_page_token,
    })
}

fn begin_before(sealer: &TokenSealer, tenant: TenantId, token: &str) -> Result<i64, ApiError> {
    if token.is_empty() {
        return Ok(i64::MAX);
    }
    let opened = sealer.open(tenant, LIST, token).ok().and_then(|bytes| bytes.try_into().ok());
    opened.map(i64::from_be_bytes).ok_or_else(|| ApiError::invalid_token("page_token"))
}

/// Why a role of the caller's tenant sees a field as it does.
pub fn explain(
    in_force: &InForce,
    caller: &Caller,
    request: &ExplainAccessRequest,
) -> Result<AccessExplanation, ApiError> {
    let snapshot = in_force.snapshot();
    let tenant = format!("tenants/{}", caller.tenant().name);
    let own = snapshot.tenant_roles.iter().find(|roles| roles.tenant == tenant);
    let roles = publishing::effective(&snapshot.roles, own.map_or(&[], |own| own.roles.as_slice()));
    let policy = roles.get(request.role.as_str());
    let policy = *policy.ok_or_else(|| ApiError::invalid_field("role", "is not a role of the tenant"))?;
    let role = Role::of(policy).map_err(|error| ApiError::internal(error.to_string()))?;
    let purpose = Purpose::try_from(request.purpose)
        .map_err(|_| ApiError::invalid_field("purpose", "must be one of the purposes"))?;
    let asking =
        CallerAttributes { subject: &request.subject, department: &request.department, region: &request.region };
    let customer = request.customer.clone().unwrap_or_default();
    let rights = role.rights(&asking, purpose, None);
    let mut explanation = AccessExplanation {
        policy_version: snapshot.version,
        reaches_customer: rights.reaches(&customer),
        row_scope: policy.row_scope.clone(),
        ..AccessExplanation::default()
    };
    if !request.method.is_empty() {
        explanation.may_call = Some(role.may_call(&format!("/{}", request.method)));
    }
    if !request.field.is_empty() {
        let class = class_of(&request.field)?;
        let deciding = role.deciding_form(class, &asking, purpose, &customer).map(|place| policy.forms[place].clone());
        explanation.field_class = class as i32;
        explanation.form = form_of(class, deciding.as_ref()).into();
        explanation.decided_by = deciding;
        explanation.usable_in_queries = rights.forms.reads_in_clear(class);
    }
    explanation.reasons = reasons(request, &explanation);
    Ok(explanation)
}

fn form_of(class: Sensitivity, deciding: Option<&FieldForm>) -> MaskForm {
    match deciding {
        _ if class == Sensitivity::None => MaskForm::Clear,
        Some(form) => form.form(),
        None => MaskForm::Redacted,
    }
}

/// The class that a field of the contracts declares.
fn class_of(field: &str) -> Result<Sensitivity, ApiError> {
    let unknown = || ApiError::invalid_field("field", "is not a field of a message of the contracts");
    let pool = quintile_proto::descriptor_pool();
    let (message, name) = field.rsplit_once('.').ok_or_else(unknown)?;
    let message = pool.get_message_by_name(message).filter(|_| message.starts_with("quintile.")).ok_or_else(unknown)?;
    let found = message.get_field_by_name(name).ok_or_else(unknown)?;
    let option = pool.get_extension_by_name("quintile.type.v1.sensitivity").ok_or_else(unknown)?;
    let number = match found.options().get_extension(&option).as_ref() {
        Value::EnumNumber(number) => *number,
        _ => 0,
    };
    if matches!(found.kind(), Kind::Message(_)) && number == Sensitivity::None as i32 {
        return Err(ApiError::invalid_field("field", "holds a message: ask about a field of that"));
    }
    Sensitivity::of_number(number).ok_or_else(unknown)
}

fn reasons(request: &ExplainAccessRequest, explanation: &AccessExplanation) -> Vec<String> {
    let mut reasons = Vec::new();
    match explanation.may_call {
        Some(true) => reasons.push("The role lists the method.".to_owned()),
        Some(false) => reasons.push("The role does not list the method, and what is not listed is denied.".to_owned()),
        None => {}
    }
    reasons.push(match (explanation.row_scope.is_empty(), explanation.reaches_customer) {
        (true, _) => "The role has no row scope: it reaches every customer.".to_owned(),
        (false, true) => format!("The customer meets the row scope: {}.", explanation.row_scope),
        (false, false) => {
            format!("The customer does not meet the row scope, and so is not there: {}.", explanation.row_scope)
        }
    });
    if request.field.is_empty() {
        return reasons;
    }
    reasons.push(match &explanation.decided_by {
        _ if explanation.field_class == Sensitivity::None as i32 => {
            "The field tells nothing about a person.".to_owned()
        }
        None => "No form of the role applies to the class of the field, so it is redacted.".to_owned(),
        Some(form) if form.condition.is_empty() => "The first form of the class that applies decides.".to_owned(),
        Some(form) => format!("The first form of the class whose condition holds decides: {}.", form.condition),
    });
    reasons.push(if explanation.usable_in_queries {
        "It is read in clear of everybody, so queries may use it.".to_owned()
    } else {
        "It is not read in clear of everybody, so no query may use it.".to_owned()
    });
    reasons
}
