//! What customers said to purposes: an append-only log, by subject.

use super::customers::StoredCustomer;
use super::entities::{consent_event, subject};
use super::identities;
use super::keys::TenantKeys;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{ConsentEvent, ConsentState};
use quintile_proto::types::{CustomerAttributes, Purpose};
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::HashMap;

/// What a customer says.
#[derive(Clone, Debug)]
pub struct Word {
    /// To which purpose.
    pub purpose: Purpose,
    /// What.
    pub state: ConsentState,
    /// When.
    pub at: Instant,
    /// How it is known. Empty: not said.
    pub source: String,
}

/// The subjects of a customer, the founding one first.
pub async fn subjects(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<Vec<i64>, StoreError> {
    let rows = subject::Entity::find()
        .filter(subject::Column::TenantId.eq(tenant.0))
        .filter(subject::Column::CustomerId.eq(customer.as_i64()))
        .order_by_asc(subject::Column::SubjectId)
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| row.subject_id).collect())
}

/// Notes a word. Returns whether it is the latest of its purpose, and so the one that holds.
pub async fn append(
    transaction: &Transaction,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
    word: &Word,
    now: Instant,
) -> Result<bool, StoreError> {
    let subjects = subjects(transaction, tenant, customer.id).await?;
    let subject_id = *subjects.first().ok_or(StoreError::Sealed("a customer without a subject"))?;
    let later = consent_event::Entity::find()
        .filter(consent_event::Column::TenantId.eq(tenant.0))
        .filter(consent_event::Column::SubjectId.is_in(subjects))
        .filter(consent_event::Column::Purpose.eq(i32::from(word.purpose)))
        .filter(consent_event::Column::OccurredAt.gt(word.at.micros()))
        .limit(1)
        .one(transaction)
        .await?;
    let event_id = identities::reserve(transaction, tenant, "consent", 1).await?;
    let sealed_source = if word.source.is_empty() {
        Vec::new()
    } else {
        // The founding subject is of the customer's own record.
        let data_key = customer.data_key(tenant, keys, customer.id)?;
        data_key.seal(&keys.entropy, &source_place(tenant, event_id), word.source.as_bytes())
    };
    let row = consent_event::ActiveModel {
        tenant_id: Set(tenant.0),
        subject_id: Set(subject_id),
        event_id: Set(event_id),
        purpose: Set(word.purpose.into()),
        state: Set(word.state.into()),
        occurred_at: Set(word.at.micros()),
        recorded_at: Set(now.micros()),
        sealed_source: Set(sealed_source),
    };
    consent_event::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(later.is_none())
}

/// What a customer said, the last noted first, behind an event, or from the end for `i64::MAX`. Each with the number of its event.
pub async fn history(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    keys: &TenantKeys,
    customer: &StoredCustomer,
    before: i64,
    limit: u64,
) -> Result<Vec<(i64, ConsentEvent)>, StoreError> {
    let rows = consent_event::Entity::find()
        .filter(consent_event::Column::TenantId.eq(tenant.0))
        .filter(consent_event::Column::SubjectId.is_in(subjects(connection, tenant, customer.id).await?))
        .filter(consent_event::Column::EventId.lt(before))
        .order_by_desc(consent_event::Column::EventId)
        .limit(limit)
        .all(connection)
        .await?;
    let homes = homes(connection, tenant, customer.id).await?;
    let mut history = Vec::with_capacity(rows.len());
    for row in rows {
        let source = if row.sealed_source.is_empty() {
            None
        } else {
            let home = homes.get(&row.subject_id).copied().unwrap_or(customer.id);
            let data_key = customer.data_key(tenant, keys, home)?;
            let opened = data_key.open(&source_place(tenant, row.event_id), &row.sealed_source)?;
            Some(String::from_utf8(opened.to_vec()).map_err(|_| StoreError::Sealed("consent source"))?)
        };
        let event = ConsentEvent {
            purpose: row.purpose,
            state: row.state,
            event_time: Some(convert::timestamp(Instant::from_micros(row.occurred_at))),
            record_time: Some(convert::timestamp(Instant::from_micros(row.recorded_at))),
            source,
        };
        history.push((row.event_id, event));
    }
    Ok(history)
}

/// The home of each subject of a customer.
async fn homes(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<HashMap<i64, CustomerId>, StoreError> {
    let rows = subject::Entity::find()
        .filter(subject::Column::TenantId.eq(tenant.0))
        .filter(subject::Column::CustomerId.eq(customer.as_i64()))
        .all(connection)
        .await?;
    let home = |row: subject::Model| CustomerId::try_from(row.home_id).ok().map(|home| (row.subject_id, home));
    Ok(rows.into_iter().filter_map(home).collect())
}

/// Brings what was said last to each purpose, by any subject of a customer, into its attributes.
pub async fn stand(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: &mut StoredCustomer,
) -> Result<(), StoreError> {
    let said: Vec<(i32, i32)> = consent_event::Entity::find()
        .select_only()
        .columns([consent_event::Column::Purpose, consent_event::Column::State])
        .filter(consent_event::Column::TenantId.eq(tenant.0))
        .filter(consent_event::Column::SubjectId.is_in(subjects(connection, tenant, customer.id).await?))
        .order_by_asc(consent_event::Column::OccurredAt)
        .order_by_asc(consent_event::Column::EventId)
        .into_tuple()
        .all(connection)
        .await?;
    customer.attributes.consents.clear();
    customer.attributes.objections.clear();
    for (purpose, state) in said {
        let purpose = Purpose::try_from(purpose).unwrap_or_default();
        take_over(&mut customer.attributes, purpose, ConsentState::try_from(state).unwrap_or_default());
    }
    Ok(())
}

/// Brings the present state into the attributes. Returns whether anything is different now.
pub fn take_over(attributes: &mut CustomerAttributes, purpose: Purpose, state: ConsentState) -> bool {
    let before = (attributes.consents.clone(), attributes.objections.clone());
    let number = i32::from(purpose);
    let place = |list: &mut Vec<i32>, is_in: bool| {
        list.retain(|other| *other != number);
        if is_in {
            list.push(number);
            list.sort_unstable();
        }
    };
    place(&mut attributes.consents, state == ConsentState::Given);
    place(&mut attributes.objections, state == ConsentState::Objected);
    before != (attributes.consents.clone(), attributes.objections.clone())
}

fn source_place(tenant: TenantId, event_id: i64) -> Vec<u8> {
    format!("consent_event.sealed_source {} {event_id}", tenant.0).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_consented_to_or_objected_to_or_neither() {
        let mut attributes = CustomerAttributes::default();
        let (marketing, analytics) = (i32::from(Purpose::Marketing), i32::from(Purpose::Analytics));
        let table = [
            (Purpose::Marketing, ConsentState::Withdrawn, false, vec![], vec![]),
            (Purpose::Analytics, ConsentState::Given, true, vec![analytics], vec![]),
            (Purpose::Marketing, ConsentState::Given, true, vec![marketing, analytics], vec![]),
            (Purpose::Marketing, ConsentState::Given, false, vec![marketing, analytics], vec![]),
            (Purpose::Marketing, ConsentState::Objected, true, vec![analytics], vec![marketing]),
            (Purpose::Analytics, ConsentState::Withdrawn, true, vec![], vec![marketing]),
            (Purpose::Marketing, ConsentState::Withdrawn, true, vec![], vec![]),
        ];
        for (purpose, state, changed, consents, objections) in table {
            assert_eq!(take_over(&mut attributes, purpose, state), changed, "{purpose:?} {state:?}");
            assert_eq!((&attributes.consents, &attributes.objections), (&consents, &objections));
        }
    }
}
