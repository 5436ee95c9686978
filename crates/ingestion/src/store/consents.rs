//! What customers said to purposes: an append-only log, by subject.

use super::customers::StoredCustomer;
use super::entities::{consent_event, subject};
use super::identities;
use super::keys::TenantKeys;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{ConsentEvent, ConsentState};
use quintile_proto::types::Purpose;
use quintile_rpc::convert;
use quintile_store::StoreError;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

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
    transaction: &DatabaseTransaction,
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
        let data_key = customer.data_key(tenant, keys)?;
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
    let data_key = customer.data_key(tenant, keys)?;
    let mut history = Vec::with_capacity(rows.len());
    for row in rows {
        let source = if row.sealed_source.is_empty() {
            None
        } else {
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

fn source_place(tenant: TenantId, event_id: i64) -> Vec<u8> {
    format!("consent_event.sealed_source {} {event_id}", tenant.0).into_bytes()
}
