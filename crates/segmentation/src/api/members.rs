//! The members of segments and labels.

use super::segments::usable;
use super::{check_fields, population, reached};
use crate::Service;
use crate::engine::Bitmap;
use crate::population::Population;
use crate::population::catalogue::Key;
use quintile_chain::{feed, page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::names::resource_id;
use quintile_proto::segmentation::{
    CheckMembersRequest, CheckMembersResponse, ListMemberRecordsRequest, ListMemberRecordsResponse, ListMembersRequest,
    ListMembersResponse,
};
use quintile_rpc::{ApiError, Caller, convert};
use quintile_store::records as stored;

/// The most customers of one check.
const MAX_CHECKED: usize = 1_000;

/// Refuses a parent that is none, that is not there, or whose members the caller may not know.
pub fn check_parent(caller: &Caller, population: &Population, field: &str, parent: &str) -> Result<(), ApiError> {
    let segment = parent.strip_prefix("segments/").filter(|id| resource_id(id).is_ok());
    let label = parent.strip_prefix("labelSets/").and_then(|rest| rest.split_once("/labels/"));
    let label = label.filter(|(set, label)| resource_id(set).is_ok() && resource_id(label).is_ok());
    if segment.is_none() && label.is_none() {
        return Err(ApiError::invalid_field(field, "must be segments/{id} or labelSets/{set}/labels/{label}"));
    }
    if let Some((place, _)) = population.catalogue().named(parent) {
        return check_fields(caller, population, population.catalogue().fields_of(place));
    }
    // What has a draft alone is there, and nobody belongs to it.
    let in_preparation = segment.and_then(|id| population.definition(&Key::segment(id)));
    in_preparation
        .map_or_else(|| Err(ApiError::not_found()), |segment| usable(caller, population, &segment.key).map(drop))
}

/// The members, as far as the caller reaches them, of a segment or label that the caller may use.
pub fn members_of(caller: &Caller, population: &Population, field: &str, parent: &str) -> Result<Bitmap, ApiError> {
    check_parent(caller, population, field, parent)?;
    Ok(reached(caller, population, population.members(parent).unwrap_or_default()))
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
    let members = members_of(caller, &loaded.population.read(), "parent", &request.parent)?;
    let listed: Vec<u32> = members.iter_from(after).take(size).collect();
    let (full, last) = (listed.len() == size, listed.last().map(|id| i64::from(*id)));
    let next_page_token = page::next_behind(sealer, tenant, &query, full, last);
    let customers = listed.into_iter().map(|id| CustomerId(id).to_string()).collect();
    Ok(ListMembersResponse { customers, next_page_token, watermark: Some(watermark.to_message()) })
}

/// A page of members' records.
pub async fn records(
    service: &Service,
    caller: &Caller,
    request: &ListMemberRecordsRequest,
) -> Result<ListMemberRecordsResponse, ApiError> {
    let tenant = caller.tenant().id;
    let size = convert::page_size(request.page_size, 100, 1_000)? as usize;
    let sealer = &service.runtime.sealer;
    let query = format!("ListMemberRecords {}", request.parent);
    let after = page::begin_behind(sealer, tenant, &query, &request.page_token)?;
    let after = u32::try_from(after).map_err(|_| ApiError::invalid_token("page_token"))?;
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(tenant).watermark();
    let listed: Vec<CustomerId> = {
        let members = members_of(caller, &loaded.population.read(), "parent", &request.parent)?;
        members.iter_from(after).take(size).map(CustomerId).collect()
    };
    caller.is_about(request.parent.clone());
    let (full, last) = (listed.len() == size, listed.last().map(|customer| customer.as_i64()));
    let rows = stored::load(service.runtime.database.reader(), tenant, &listed).await;
    let rows = rows.map_err(|error| store_error(&error))?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows.iter().filter(|row| !row.is_tombstone()) {
        let mut record = feed::decode(row).map_err(|error| store_error(&error))?;
        // The record may be newer than the list.
        if caller.reaches(record.attributes.get_or_insert_default()) {
            if let Some(scores) = &mut record.scores {
                feed::hide_changes(caller, scores);
            }
            records.push(record);
        }
    }
    let next_page_token = page::next_behind(sealer, tenant, &query, full, last);
    Ok(ListMemberRecordsResponse { records, next_page_token, watermark: Some(watermark.to_message()) })
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
    let population = loaded.population.read();
    check_parent(caller, &population, "parent", &request.parent)?;
    let asked = population.catalogue().named(&request.parent);
    let mut members = Vec::new();
    for (index, name) in request.customers.iter().enumerate() {
        let number = convert::customer(&format!("customers[{index}]"), name, None)?.0;
        let is_member = |(place, part)| population.of(number, |customer| customer.part(place)) == Some(Some(part));
        if asked.is_some_and(is_member) && population.reaches(caller.scope(), number) {
            members.push(name.clone());
        }
    }
    Ok(CheckMembersResponse { members, watermark: Some(watermark.to_message()) })
}
