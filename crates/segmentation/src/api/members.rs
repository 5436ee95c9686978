//! The members of segments and labels.

use super::{check_rights, population, reached};
use crate::Service;
use crate::engine::Bitmap;
use crate::fields::Classes;
use crate::population::Population;
use quintile_chain::page;
use quintile_domain::ids::CustomerId;
use quintile_proto::segmentation::{
    CheckMembersRequest, CheckMembersResponse, ListMembersRequest, ListMembersResponse,
};
use quintile_rpc::{ApiError, Caller, convert};

/// The most customers of one check.
const MAX_CHECKED: usize = 1_000;

/// Refuses a parent that is none, that is not there, or whose members the caller may not know.
pub fn check_parent(caller: &Caller, population: &Population, parent: &str) -> Result<(), ApiError> {
    if !parent.starts_with("segments/") && !parent.starts_with("labelSets/") {
        return Err(ApiError::invalid_field("parent", "must be segments/{id} or labelSets/{set}/labels/{label}"));
    }
    match parent.strip_prefix("segments/").and_then(|id| population.segment(id)) {
        Some(segment) => check_rights(caller, population, &segment.rule),
        None if population.is_label(parent) => Ok(()),
        None => Err(ApiError::not_found()),
    }
}

/// The members, as far as the caller reaches them, of a segment or label that the caller may use.
pub fn members_of(caller: &Caller, population: &Population, parent: &str) -> Result<Bitmap, ApiError> {
    check_parent(caller, population, parent)?;
    let members = population.members(parent).ok_or_else(ApiError::not_found)?;
    Ok(reached(caller, population, members))
}

/// Whether a caller may hear of what a rule that read these classes decided. The rule may be gone by now, and another in its place.
pub fn may_hear(caller: &Caller, classes: Classes) -> bool {
    classes.each().all(|class| caller.reads_in_clear(class))
}

/// A page of members.
pub fn list(service: &Service, caller: &Caller, request: &ListMembersRequest) -> Result<ListMembersResponse, ApiError> {
    let tenant = caller.tenant().id;
    let size = convert::page_size(request.page_size, 1_000, 10_000)? as usize;
    let sealer = &service.runtime.sealer;
    let query = format!("ListMembers {}", request.parent);
    let after = page::begin_behind(sealer, tenant, &query, &request.page_token)?;
    let after = u32::try_from(after).map_err(|_| ApiError::invalid_token("page_token"))?;
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(tenant).watermark();
    let members = members_of(caller, &loaded.population.read(), &request.parent)?;
    let listed: Vec<u32> = members.iter_from(after).take(size).collect();
    let (full, last) = (listed.len() == size, listed.last().map(|id| i64::from(*id)));
    let next_page_token = page::next_behind(sealer, tenant, &query, full, last);
    let customers = listed.into_iter().map(|id| CustomerId(id).to_string()).collect();
    Ok(ListMembersResponse { customers, next_page_token, watermark: Some(watermark.to_message()) })
}

/// Which of some customers are members.
pub fn check(
    service: &Service,
    caller: &Caller,
    request: &CheckMembersRequest,
) -> Result<CheckMembersResponse, ApiError> {
    if request.customers.is_empty() || request.customers.len() > MAX_CHECKED {
        return Err(ApiError::invalid_field("customers", format!("must have 1 to {MAX_CHECKED} customers")));
    }
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(caller.tenant().id).watermark();
    let all = members_of(caller, &loaded.population.read(), &request.parent)?;
    let mut members = Vec::new();
    for (index, name) in request.customers.iter().enumerate() {
        if all.contains(convert::customer(&format!("customers[{index}]"), name, None)?.0) {
            members.push(name.clone());
        }
    }
    Ok(CheckMembersResponse { members, watermark: Some(watermark.to_message()) })
}
