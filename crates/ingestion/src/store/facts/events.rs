//! How each kind of fact lies in its table.

use super::StoredEvent;
use crate::intake::{Amount, Event, FeedbackRow, InteractionRow, OrderRow, RefundRow};
use crate::store::identities::Owner;
use crate::store::keys::TenantKeys;
use crate::store::rates::{ForeignFact, ForeignKind};
use quintile_domain::ids::TenantId;
use quintile_store::StoreError;
use quintile_store::bulk::{Column, OnConflict, Target};

const KEY: &[&str] = &["tenant_id", "subject_id", "source", "event_id"];

/// The currency column of an amount: the number of its currency, 0 for the base currency.
pub fn currency_number(amount: &Amount) -> i32 {
    amount.foreign.map_or(0, quintile_domain::money::Currency::number)
}

impl StoredEvent for OrderRow {
    const TARGET: Target = Target {
        table: "order_fact",
        columns: &[
            "tenant_id",
            "subject_id",
            "source",
            "event_id",
            "body_hash",
            "occurred_at",
            "channel",
            "amount_minor",
            "lines",
            "currency",
            "profit_minor",
        ],
        key: KEY,
        on_conflict: OnConflict::KeepOptimistically("take_order_facts"),
    };

    fn event(&self) -> &Event {
        &self.event
    }

    fn foreign(&self, owner: &Owner) -> Option<ForeignFact> {
        ForeignFact::of(ForeignKind::Order, owner.subject_id, &self.event, &self.amount)
    }

    fn columns(rows: &[&(Owner, Self)], _tenant: TenantId, _keys: &TenantKeys) -> Vec<Column> {
        vec![
            Column::Text(rows.iter().map(|(_, order)| order.channel.clone()).collect()),
            Column::BigInt(rows.iter().map(|(_, order)| order.amount.minor).collect()),
            Column::Bytes(rows.iter().map(|(_, order)| order.lines.clone()).collect()),
            Column::Int(rows.iter().map(|(_, order)| currency_number(&order.amount)).collect()),
            Column::NullableBigInt(rows.iter().map(|(_, order)| order.profit_minor).collect()),
        ]
    }
}

impl StoredEvent for RefundRow {
    const TARGET: Target = Target {
        table: "refund_fact",
        columns: &[
            "tenant_id",
            "subject_id",
            "source",
            "event_id",
            "body_hash",
            "occurred_at",
            "amount_minor",
            "currency",
            "order_event_id",
        ],
        key: KEY,
        on_conflict: OnConflict::KeepOptimistically("take_refund_facts"),
    };

    fn event(&self) -> &Event {
        &self.event
    }

    fn foreign(&self, owner: &Owner) -> Option<ForeignFact> {
        ForeignFact::of(ForeignKind::Refund, owner.subject_id, &self.event, &self.amount)
    }

    fn columns(rows: &[&(Owner, Self)], _tenant: TenantId, _keys: &TenantKeys) -> Vec<Column> {
        vec![
            Column::BigInt(rows.iter().map(|(_, refund)| refund.amount.minor).collect()),
            Column::Int(rows.iter().map(|(_, refund)| currency_number(&refund.amount)).collect()),
            Column::Text(rows.iter().map(|(_, refund)| refund.order_event_id.clone()).collect()),
        ]
    }
}

impl StoredEvent for InteractionRow {
    const TARGET: Target = Target {
        table: "interaction_fact",
        columns: &[
            "tenant_id",
            "subject_id",
            "source",
            "event_id",
            "body_hash",
            "occurred_at",
            "kind",
            "channel",
            "about",
            "case_state",
            "sealed_text",
        ],
        key: KEY,
        on_conflict: OnConflict::KeepOptimistically("take_interaction_facts"),
    };

    fn event(&self) -> &Event {
        &self.event
    }

    fn columns(rows: &[&(Owner, Self)], tenant: TenantId, keys: &TenantKeys) -> Vec<Column> {
        let sealed =
            |(owner, it): &&(Owner, Self)| seal(&Self::TARGET, tenant, keys, owner, &it.event, it.text.as_deref());
        vec![
            Column::Int(rows.iter().map(|(_, interaction)| interaction.kind.into()).collect()),
            Column::Text(rows.iter().map(|(_, interaction)| interaction.channel.clone()).collect()),
            Column::Text(rows.iter().map(|(_, interaction)| interaction.about.clone()).collect()),
            Column::Int(rows.iter().map(|(_, interaction)| interaction.case_state.into()).collect()),
            Column::Bytes(rows.iter().map(sealed).collect()),
        ]
    }
}

impl StoredEvent for FeedbackRow {
    const TARGET: Target = Target {
        table: "feedback_fact",
        columns: &[
            "tenant_id",
            "subject_id",
            "source",
            "event_id",
            "body_hash",
            "occurred_at",
            "kind",
            "score",
            "channel",
            "about",
            "sealed_text",
        ],
        key: KEY,
        on_conflict: OnConflict::KeepOptimistically("take_feedback_facts"),
    };

    fn event(&self) -> &Event {
        &self.event
    }

    fn columns(rows: &[&(Owner, Self)], tenant: TenantId, keys: &TenantKeys) -> Vec<Column> {
        let sealed =
            |(owner, it): &&(Owner, Self)| seal(&Self::TARGET, tenant, keys, owner, &it.event, it.text.as_deref());
        vec![
            Column::Int(rows.iter().map(|(_, feedback)| feedback.kind.into()).collect()),
            Column::NullableBigInt(rows.iter().map(|(_, feedback)| feedback.score.map(i64::from)).collect()),
            Column::Text(rows.iter().map(|(_, feedback)| feedback.channel.clone()).collect()),
            Column::Text(rows.iter().map(|(_, feedback)| feedback.about.clone()).collect()),
            Column::Bytes(rows.iter().map(sealed).collect()),
        ]
    }
}

/// Where a text lies, which its ciphertext is bound to. Lengths first: no two keys run together into one place.
fn text_place(table: &str, tenant: TenantId, subject_id: i64, source: &str, event_id: &str) -> Vec<u8> {
    format!("{table} {} {subject_id} {} {source} {event_id}", tenant.0, source.len()).into_bytes()
}

fn seal(
    target: &Target,
    tenant: TenantId,
    keys: &TenantKeys,
    owner: &Owner,
    event: &Event,
    text: Option<&str>,
) -> Vec<u8> {
    let place = || text_place(target.table, tenant, owner.subject_id, &event.customer.source, &event.event_id);
    text.map(|text| keys.wrapping.seal(&keys.entropy, &place(), text.as_bytes())).unwrap_or_default()
}

/// The text that was sealed for a fact. Empty ciphertext is none.
pub fn open_text(
    table: &str,
    tenant: TenantId,
    keys: &TenantKeys,
    (subject_id, source, event_id): (i64, &str, &str),
    sealed: &[u8],
) -> Result<Option<String>, StoreError> {
    if sealed.is_empty() {
        return Ok(None);
    }
    let opened = keys.wrapping.open(&text_place(table, tenant, subject_id, source, event_id), sealed)?;
    String::from_utf8(opened.to_vec()).map(Some).map_err(|_| StoreError::Sealed("text"))
}
