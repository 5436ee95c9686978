//! Facts from before the horizons: found, folded into opening balances, and dropped.

use super::load::{Context, GivenBack, Owners, Stored, StoredOrder, case, in_order};
use super::{KEYS_PER_QUERY, Key, TABLES, by_keys};
use crate::features::{self, FeedbackFact, Folded, InteractionFact, OldFacts};
use crate::retention::Horizons;
use crate::store::entities::feedback_fact::{self, Column as Feedback};
use crate::store::entities::interaction_fact::{self, Column as Interaction};
use crate::store::entities::order_fact::{self, Column as Order};
use crate::store::entities::{refund_fact, subject};
use crate::store::rates::{self, ForeignFact, ForeignKind};
use crate::store::{openings, waiting};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::FeedbackKind;
use quintile_rpc::policy::Tenant;
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction};
use roaring::RoaringBitmap;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Statement};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Subject, source, event id, instant, kind, channel, what it is about, and case state.
type OldInteraction = (i64, String, String, i64, i32, String, String, i32);

/// The horizon of each of [`TABLES`].
fn by_table(horizons: &Horizons) -> impl Iterator<Item = (&'static str, Instant)> {
    let horizons = [horizons.order, horizons.order, horizons.interaction, horizons.feedback];
    TABLES.into_iter().zip(horizons).filter_map(|(table, horizon)| Some((table, horizon?)))
}

/// How many facts from before the horizons each subject between two numbers has; only those that have some.
pub async fn subjects_with_old(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    (first, last): (i64, i64),
    horizons: &Horizons,
) -> Result<BTreeMap<i64, i64>, StoreError> {
    let mut found = BTreeMap::new();
    for (table, horizon) in by_table(horizons) {
        let statement = Statement::from_sql_and_values(
            connection.get_database_backend(),
            format!(
                "SELECT subject_id, count(*) AS facts FROM {table} WHERE tenant_id = $1 AND subject_id BETWEEN $2 AND $3 \
                 AND occurred_at < $4 GROUP BY subject_id"
            ),
            [tenant.0.into(), first.into(), last.into(), horizon.micros().into()],
        );
        for row in connection.query_all_raw(statement).await? {
            let facts: i64 = row.try_get("", "facts")?;
            *found.entry(row.try_get("", "subject_id")?).or_default() += facts;
        }
    }
    Ok(found)
}

/// Folds and drops what may go of the customers of these subjects. Returns the customers that lost facts. Call it while nobody merges
/// customers or takes them away.
pub async fn drop_old(
    transaction: &Transaction,
    tenant: &Tenant,
    subjects: &[i64],
    horizons: &Horizons,
) -> Result<RoaringBitmap, StoreError> {
    let customers: BTreeSet<_> = waiting::owners(transaction, tenant.id, subjects).await?.into_values().collect();
    let old = Old::read(transaction, tenant, customers, horizons).await?;
    let mut dropped = Dropped::default();
    for (customer, facts) in old.customers {
        let there = facts.openings.clone();
        // Without a horizon of theirs there are no orders.
        let orders_before = horizons.order.unwrap_or(Instant::from_micros(i64::MIN));
        let folded = features::fold(facts, orders_before, &tenant.zone);
        if folded.is_empty() {
            continue;
        }
        dropped.customers.insert(customer.0);
        dropped.openings.extend(folded.openings.iter().filter(|(of, it)| there.get(of) != Some(it)).map(owned));
        dropped.add(folded, &old.foreign);
    }
    dropped.write(transaction, tenant.id).await?;
    Ok(dropped.customers)
}

fn owned<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}

/// What of customers may be dropped.
struct Old {
    customers: BTreeMap<CustomerId, OldFacts>,
    /// The notes of those in other currencies.
    foreign: HashMap<(ForeignKind, Key), ForeignFact>,
}

impl Old {
    async fn read(
        connection: &impl ConnectionTrait,
        tenant: &Tenant,
        customers: BTreeSet<CustomerId>,
        horizons: &Horizons,
    ) -> Result<Self, StoreError> {
        let numbers: Vec<i64> = customers.iter().map(|customer| customer.as_i64()).collect();
        let mut links = Vec::new();
        for numbers in Numbers::queries(&numbers) {
            let of_tenant = subject::Entity::find().filter(subject::Column::TenantId.eq(tenant.id.0));
            links.extend(of_tenant.filter(numbers.contain(subject::Column::CustomerId)).all(connection).await?);
        }
        let mut subjects: Vec<i64> = links.iter().map(|link| link.subject_id).collect();
        subjects.sort_unstable();
        let owners = Owners::new(&links)?;
        let mut stored = Stored::default();
        let orders = match horizons.order {
            Some(horizon) => {
                // Of any age: which orders may go depends on the refunds that name them.
                stored.read_refunds(connection, tenant.id, &subjects).await?;
                orders_before(connection, tenant.id, &subjects, horizon).await?
            }
            None => Vec::new(),
        };
        let purchases = stored.purchases(connection, tenant.id, &owners).await?;
        let mut days = stored.foreign_days(&purchases, tenant);
        let foreign = orders.iter().filter(|order| order.currency != 0);
        days.extend(foreign.map(|it| (it.currency, tenant.zone.local_day(Instant::from_micros(it.occurred_at)))));
        let rates = rates::load(connection, tenant.id, &days).await?;
        let openings = openings::decoded(&openings::bodies(connection, tenant.id, &subjects).await?)?;
        let context = Context { owners, purchases, rates, openings, tenant };
        let mut old = Self { customers: BTreeMap::new(), foreign: HashMap::new() };
        for (subject, opening) in &context.openings {
            old.of(&context, *subject)?.openings.insert(*subject, opening.clone());
        }
        old.take_orders(orders, &context)?;
        old.take_refunds(stored.refunds, &context)?;
        if let Some(horizon) = horizons.interaction {
            old.read_interactions(connection, &context, &subjects, horizon).await?;
        }
        if let Some(horizon) = horizons.feedback {
            old.read_feedback(connection, &context, &subjects, horizon).await?;
        }
        Ok(old)
    }

    /// The facts of the customer of a subject.
    fn of(&mut self, context: &Context<'_>, subject: i64) -> Result<&mut OldFacts, StoreError> {
        Ok(self.customers.entry(context.owners.of(subject)?).or_default())
    }

    fn note(&mut self, kind: ForeignKind, currency: i32, at: i64, key: &Key) {
        if currency != 0 {
            let id = (key.1.clone(), key.2.clone());
            let note = ForeignFact { currency, at, subject_id: key.0, kind, id };
            self.foreign.insert((kind, key.clone()), note);
        }
    }

    fn take_orders(&mut self, orders: Vec<order_fact::Model>, context: &Context<'_>) -> Result<(), StoreError> {
        for row in orders {
            let key = (row.subject_id, row.source, row.event_id);
            self.note(ForeignKind::Order, row.currency, row.occurred_at, &key);
            let stored: StoredOrder = (
                row.subject_id,
                row.occurred_at,
                row.amount_minor,
                row.channel,
                row.currency,
                row.profit_minor,
                row.lines,
            );
            if let Some(order) = context.order(stored)? {
                self.of(context, key.0)?.orders.push((key, order));
            }
        }
        Ok(())
    }

    fn take_refunds(&mut self, refunds: Vec<refund_fact::Model>, context: &Context<'_>) -> Result<(), StoreError> {
        let mut given_back = GivenBack::default();
        for row in in_order(refunds) {
            let key = (row.subject_id, row.source.clone(), row.event_id.clone());
            self.note(ForeignKind::Refund, row.currency, row.occurred_at, &key);
            let purchase = context.purchase(&row)?.map(|(purchase, _)| purchase.clone());
            let refund = context.refund(row, &mut given_back)?;
            let facts = self.of(context, key.0)?;
            match refund {
                Some(refund) => facts.refunds.push(refund),
                None => facts.awaited.extend(purchase),
            }
        }
        Ok(())
    }

    async fn read_interactions(
        &mut self,
        connection: &impl ConnectionTrait,
        context: &Context<'_>,
        subjects: &[i64],
        horizon: Instant,
    ) -> Result<(), StoreError> {
        for subjects in Numbers::queries(subjects) {
            // What was said stays sealed, and goes unread.
            let rows: Vec<OldInteraction> = interaction_fact::Entity::find()
                .select_only()
                .columns([Interaction::SubjectId, Interaction::Source, Interaction::EventId, Interaction::OccurredAt])
                .columns([Interaction::Kind, Interaction::Channel, Interaction::About, Interaction::CaseState])
                .filter(Interaction::TenantId.eq(context.tenant.id.0))
                .filter(subjects.contain(Interaction::SubjectId))
                .filter(Interaction::OccurredAt.lt(horizon.micros()))
                .into_tuple()
                .all(connection)
                .await?;
            for (subject, source, event, at, kind, channel, about, state) in rows {
                let case = case(kind, state, source.clone(), &about);
                let fact = InteractionFact { at: Instant::from_micros(at), kind, channel, about, case };
                self.of(context, subject)?.interactions.push(((subject, source, event), fact));
            }
        }
        Ok(())
    }

    async fn read_feedback(
        &mut self,
        connection: &impl ConnectionTrait,
        context: &Context<'_>,
        subjects: &[i64],
        horizon: Instant,
    ) -> Result<(), StoreError> {
        for subjects in Numbers::queries(subjects) {
            let rows: Vec<(i64, String, String, i64, i32, Option<i64>)> = feedback_fact::Entity::find()
                .select_only()
                .columns([Feedback::SubjectId, Feedback::Source, Feedback::EventId, Feedback::OccurredAt])
                .columns([Feedback::Kind, Feedback::Score])
                .filter(Feedback::TenantId.eq(context.tenant.id.0))
                .filter(subjects.contain(Feedback::SubjectId))
                .filter(Feedback::OccurredAt.lt(horizon.micros()))
                .into_tuple()
                .all(connection)
                .await?;
            for (subject, source, event, at, kind, score) in rows {
                let kind = FeedbackKind::try_from(kind).unwrap_or_default();
                let (channel, about) = (String::new(), String::new());
                let fact = FeedbackFact { at: Instant::from_micros(at), kind, score, channel, about };
                self.of(context, subject)?.feedback.push(((subject, source, event), fact));
            }
        }
        Ok(())
    }
}

async fn orders_before(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    subjects: &[i64],
    horizon: Instant,
) -> Result<Vec<order_fact::Model>, StoreError> {
    let mut orders = Vec::new();
    for subjects in Numbers::queries(subjects) {
        let of_subjects = order_fact::Entity::find()
            .filter(Order::TenantId.eq(tenant.0))
            .filter(subjects.contain(Order::SubjectId))
            .filter(Order::OccurredAt.lt(horizon.micros()));
        orders.extend(of_subjects.all(connection).await?);
    }
    Ok(orders)
}

/// What goes, of all kinds, and what stays in its place.
#[derive(Default)]
struct Dropped {
    customers: RoaringBitmap,
    openings: BTreeMap<i64, features::Opening>,
    /// The keys of each of [`TABLES`].
    keys: [Vec<Key>; 4],
    foreign: Vec<ForeignFact>,
}

impl Dropped {
    fn add(&mut self, folded: Folded, foreign: &HashMap<(ForeignKind, Key), ForeignFact>) {
        let notes = |kind, keys: &[Key]| -> Vec<ForeignFact> {
            keys.iter().filter_map(|key| foreign.get(&(kind, key.clone())).cloned()).collect()
        };
        self.foreign.extend(notes(ForeignKind::Order, &folded.orders));
        self.foreign.extend(notes(ForeignKind::Refund, &folded.refunds));
        let keys = [folded.orders, folded.refunds, folded.interactions, folded.feedback];
        for (all, new) in self.keys.iter_mut().zip(keys) {
            all.extend(new);
        }
    }

    async fn write(&self, transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
        openings::write(transaction, tenant, &self.openings).await?;
        for (table, keys) in TABLES.into_iter().zip(&self.keys) {
            for keys in keys.chunks(KEYS_PER_QUERY) {
                let keys: Vec<_> =
                    keys.iter().map(|(subject, source, event)| (*subject, source.as_str(), event.as_str())).collect();
                let delete = format!("DELETE FROM {table}");
                let statement = by_keys(transaction.get_database_backend(), &delete, tenant, &keys);
                transaction.execute_raw(statement).await?;
            }
        }
        rates::forget(transaction, tenant, &self.foreign).await
    }
}
