//! Facts as they came in, newest first.

use super::events::open_text;
use super::{KEYS_PER_QUERY, Key};
use crate::intake::Identity;
use crate::store::entities::{feedback_fact, interaction_fact, order_fact, refund_fact};
use crate::store::keys::TenantKeys;
use crate::store::rates;
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::google_type::Money;
use quintile_proto::ingestion::{
    CustomerFact, FactKind, Feedback, Interaction, Order, OrderLine, Refund, SourceIdentity,
};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};
use std::collections::HashMap;

/// The kinds, in the order in which facts of one instant are listed.
const KINDS: [FactKind; 4] = [FactKind::Order, FactKind::Refund, FactKind::Interaction, FactKind::Feedback];

/// The place of a fact among those of a customer: newest first, then by kind, then by key downward.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// When it was, in microseconds.
    at: i64,
    /// The number of the kind.
    kind: i32,
    /// Subject, source and event id.
    key: Key,
}

impl Place {
    /// Before all facts.
    pub fn newest() -> Self {
        Self { at: i64::MAX, kind: 0, key: Key::default() }
    }
}

/// Whose facts are read.
pub struct Reader<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// Its keys.
    pub keys: &'a TenantKeys,
    /// The subjects of one customer.
    pub subjects: &'a [i64],
    /// The identity of each subject, as far as it is known.
    pub identities: &'a HashMap<i64, Identity>,
}

impl Reader<'_> {
    /// Up to `limit` facts of a kind, or of all (`Unspecified`), behind a place.
    pub async fn page(
        &self,
        connection: &impl ConnectionTrait,
        kind: FactKind,
        behind: &Place,
        limit: u64,
    ) -> Result<Vec<(Place, CustomerFact)>, StoreError> {
        let mut facts = Vec::new();
        for one in KINDS.into_iter().filter(|one| kind == FactKind::Unspecified || kind == *one) {
            facts.extend(self.page_of(connection, one, behind, limit).await?);
        }
        let order = |place: &Place| (std::cmp::Reverse(place.at), place.kind, std::cmp::Reverse(place.key.clone()));
        facts.sort_by_cached_key(|(place, _)| order(place));
        facts.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(facts)
    }

    async fn page_of(
        &self,
        connection: &impl ConnectionTrait,
        kind: FactKind,
        behind: &Place,
        limit: u64,
    ) -> Result<Vec<(Place, CustomerFact)>, StoreError> {
        let query = Newest { kind, behind, limit, tenant: self.tenant.id, subjects: self.subjects };
        let none = CustomerFact::default;
        match kind {
            FactKind::Order => {
                use order_fact::Column::{EventId, OccurredAt, Source, SubjectId, TenantId};
                let rows =
                    query.rows::<order_fact::Entity>(connection, [TenantId, SubjectId, Source, EventId, OccurredAt]);
                let fact = |row: order_fact::Model| {
                    let place = (row.occurred_at, row.subject_id, row.source.clone(), row.event_id.clone());
                    Ok((place, CustomerFact { order: Some(self.order(row)?), ..none() }))
                };
                placed(kind, rows.await?.into_iter().map(fact))
            }
            FactKind::Refund => {
                use refund_fact::Column::{EventId, OccurredAt, Source, SubjectId, TenantId};
                let rows =
                    query.rows::<refund_fact::Entity>(connection, [TenantId, SubjectId, Source, EventId, OccurredAt]);
                let fact = |row: refund_fact::Model| {
                    let place = (row.occurred_at, row.subject_id, row.source.clone(), row.event_id.clone());
                    Ok((place, CustomerFact { refund: Some(self.refund(row)), ..none() }))
                };
                placed(kind, rows.await?.into_iter().map(fact))
            }
            FactKind::Interaction => {
                use interaction_fact::Column::{EventId, OccurredAt, Source, SubjectId, TenantId};
                let rows = query
                    .rows::<interaction_fact::Entity>(connection, [TenantId, SubjectId, Source, EventId, OccurredAt]);
                let fact = |row: interaction_fact::Model| {
                    let place = (row.occurred_at, row.subject_id, row.source.clone(), row.event_id.clone());
                    Ok((place, CustomerFact { interaction: Some(self.interaction(row)?), ..none() }))
                };
                placed(kind, rows.await?.into_iter().map(fact))
            }
            FactKind::Feedback => {
                use feedback_fact::Column::{EventId, OccurredAt, Source, SubjectId, TenantId};
                let rows =
                    query.rows::<feedback_fact::Entity>(connection, [TenantId, SubjectId, Source, EventId, OccurredAt]);
                let fact = |row: feedback_fact::Model| {
                    let place = (row.occurred_at, row.subject_id, row.source.clone(), row.event_id.clone());
                    Ok((place, CustomerFact { feedback: Some(self.feedback(row)?), ..none() }))
                };
                placed(kind, rows.await?.into_iter().map(fact))
            }
            FactKind::Unspecified => Ok(Vec::new()),
        }
    }

    /// Those of these orders or refunds that are there, with their keys.
    pub async fn by_keys(
        &self,
        connection: &impl ConnectionTrait,
        kind: FactKind,
        keys: &[Key],
    ) -> Result<Vec<(Key, CustomerFact)>, StoreError> {
        let mut facts = Vec::with_capacity(keys.len());
        let none = CustomerFact::default;
        for chunk in keys.chunks(KEYS_PER_QUERY) {
            let chunk: Vec<_> =
                chunk.iter().map(|(subject, source, event)| (*subject, source.as_str(), event.as_str())).collect();
            let backend = connection.get_database_backend();
            let statement = |select| super::by_keys(backend, select, self.tenant.id, &chunk);
            if kind == FactKind::Order {
                let query = order_fact::Entity::find().from_raw_sql(statement("SELECT * FROM order_fact"));
                for row in query.all(connection).await? {
                    let key = (row.subject_id, row.source.clone(), row.event_id.clone());
                    facts.push((key, CustomerFact { order: Some(self.order(row)?), ..none() }));
                }
            } else {
                let query = refund_fact::Entity::find().from_raw_sql(statement("SELECT * FROM refund_fact"));
                for row in query.all(connection).await? {
                    let key = (row.subject_id, row.source.clone(), row.event_id.clone());
                    facts.push((key, CustomerFact { refund: Some(self.refund(row)), ..none() }));
                }
            }
        }
        Ok(facts)
    }

    fn identity(&self, subject_id: i64, source: String) -> SourceIdentity {
        let id = self.identities.get(&subject_id).map(|identity| identity.id.clone());
        SourceIdentity { source, id }
    }

    fn money(&self, number: i32, minor: i64) -> Money {
        convert::money(rates::currency(number, self.tenant.currency), minor)
    }

    /// The message of an order, as it came in.
    pub(super) fn order(&self, row: order_fact::Model) -> Result<Order, StoreError> {
        let mut lines = Vec::new();
        let mut encoded = row.lines.as_slice();
        while !encoded.is_empty() {
            let line = OrderLine::decode_length_delimited(&mut encoded);
            lines.push(line.map_err(|_| StoreError::Sealed("order lines"))?);
        }
        Ok(Order {
            customer: Some(self.identity(row.subject_id, row.source)),
            event_id: row.event_id,
            order_time: Some(convert::timestamp(Instant::from_micros(row.occurred_at))),
            channel: row.channel,
            amount: Some(self.money(row.currency, row.amount_minor)),
            lines,
            profit: row.profit_minor.map(|minor| self.money(row.currency, minor)),
        })
    }

    /// The message of a refund, as it came in.
    pub(super) fn refund(&self, row: refund_fact::Model) -> Refund {
        Refund {
            customer: Some(self.identity(row.subject_id, row.source)),
            event_id: row.event_id,
            refund_time: Some(convert::timestamp(Instant::from_micros(row.occurred_at))),
            amount: Some(self.money(row.currency, row.amount_minor)),
            order_event_id: row.order_event_id,
        }
    }

    /// The message of an interaction, as it came in.
    pub(super) fn interaction(&self, row: interaction_fact::Model) -> Result<Interaction, StoreError> {
        let key = (row.subject_id, row.source.as_str(), row.event_id.as_str());
        let text = open_text("interaction_fact", self.tenant.id, self.keys, key, &row.sealed_text)?;
        Ok(Interaction {
            customer: Some(self.identity(row.subject_id, row.source)),
            event_id: row.event_id,
            interaction_time: Some(convert::timestamp(Instant::from_micros(row.occurred_at))),
            kind: row.kind,
            channel: row.channel,
            about: row.about,
            case_state: row.case_state,
            text,
        })
    }

    /// The message of feedback, as it came in.
    pub(super) fn feedback(&self, row: feedback_fact::Model) -> Result<Feedback, StoreError> {
        let key = (row.subject_id, row.source.as_str(), row.event_id.as_str());
        let text = open_text("feedback_fact", self.tenant.id, self.keys, key, &row.sealed_text)?;
        Ok(Feedback {
            customer: Some(self.identity(row.subject_id, row.source)),
            event_id: row.event_id,
            feedback_time: Some(convert::timestamp(Instant::from_micros(row.occurred_at))),
            kind: row.kind,
            score: row.score.and_then(|score| i32::try_from(score).ok()),
            channel: row.channel,
            about: row.about,
            text,
        })
    }
}

/// Facts with their places.
fn placed(
    kind: FactKind,
    facts: impl Iterator<Item = Result<((i64, i64, String, String), CustomerFact), StoreError>>,
) -> Result<Vec<(Place, CustomerFact)>, StoreError> {
    facts
        .map(|fact| {
            fact.map(|((at, subject, source, event), fact)| {
                (Place { at, kind: kind as i32, key: (subject, source, event) }, fact)
            })
        })
        .collect()
}

/// A query for the newest facts of one kind behind a place.
struct Newest<'a> {
    kind: FactKind,
    behind: &'a Place,
    limit: u64,
    tenant: TenantId,
    subjects: &'a [i64],
}

impl Newest<'_> {
    /// The rows; `columns` are tenant, subject, source, event id and instant.
    async fn rows<E: EntityTrait>(
        &self,
        connection: &impl ConnectionTrait,
        [tenant, subject, source, event, at]: [E::Column; 5],
    ) -> Result<Vec<E::Model>, StoreError> {
        let place = self.behind;
        // At the place's own instant kinds come one after the other.
        let behind = match (self.kind as i32).cmp(&place.kind) {
            std::cmp::Ordering::Less => at.lt(place.at),
            std::cmp::Ordering::Greater => at.lte(place.at),
            std::cmp::Ordering::Equal => {
                let columns = [at, subject, source, event].map(Expr::col);
                let (subject_id, source, event_id) = place.key.clone();
                let values = [place.at.into(), subject_id.into(), source.into(), event_id.into()];
                Expr::tuple(columns).lt(Expr::tuple(values.map(|value: Value| Expr::val(value))))
            }
        };
        let query = E::find()
            .filter(tenant.eq(self.tenant.0))
            .filter(subject.is_in(self.subjects.iter().copied()))
            .filter(behind)
            .order_by_desc(at)
            .order_by_desc(subject)
            .order_by_desc(source)
            .order_by_desc(event)
            .limit(self.limit);
        Ok(query.all(connection).await?)
    }
}
