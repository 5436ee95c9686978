//! Facts as features need them: of whole customers, in the tenant's base currency.

use super::{KEYS_PER_QUERY, by_keys};
use crate::features::{
    CaseEvent, CustomerFacts, FeedbackFact, InteractionFact, LineFact, Opening, OrderFact, Purchase, RefundFact, mark,
};
use crate::store::entities::feedback_fact::{self, Column as Feedback};
use crate::store::entities::interaction_fact::{self, Column as Interaction};
use crate::store::entities::{order_fact, refund_fact, subject};
use crate::store::rates::{self, Rates};
use crate::store::{openings, referrals};
use prost::Message;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::google_type::Money;
use quintile_proto::ingestion::{CaseState, FeedbackKind, InteractionKind, OrderLine};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use quintile_store::numbers::Numbers;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The facts of these customers, of all their subjects. A customer without facts is not among them.
pub async fn of_customers(
    connection: &impl ConnectionTrait,
    tenant: &Tenant,
    customers: &[CustomerId],
) -> Result<HashMap<CustomerId, CustomerFacts>, StoreError> {
    let mut facts = HashMap::with_capacity(customers.len());
    let mut wanted: Vec<i64> = customers.iter().map(|id| id.as_i64()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for numbers in Numbers::queries(&wanted) {
        let links = subject::Entity::find()
            .filter(subject::Column::TenantId.eq(tenant.id.0))
            .filter(numbers.contain(subject::Column::CustomerId))
            .all(connection)
            .await?;
        let mut subjects: Vec<i64> = links.iter().map(|link| link.subject_id).collect();
        subjects.sort_unstable();
        let owners = Owners::new(&links)?;
        let mut bodies = openings::bodies(connection, tenant.id, &subjects).await?;
        let (stored, purchases) = loop {
            let mut stored = Stored::default();
            for subjects in Numbers::queries(&subjects) {
                stored.read(connection, tenant.id, &subjects).await?;
            }
            let purchases = stored.purchases(connection, tenant.id, &owners).await?;
            // Facts that were dropped while others were read would count twice or not at all.
            let since = openings::bodies(connection, tenant.id, &subjects).await?;
            if std::mem::replace(&mut bodies, since) == bodies {
                break (stored, purchases);
            }
        };
        let context = Context {
            rates: rates::load(connection, tenant.id, &stored.foreign_days(&purchases, tenant)).await?,
            openings: openings::decoded(&bodies)?,
            owners,
            purchases,
            tenant,
        };
        stored.hand_over(&mut facts, &context)?;
        for sent in referrals::sent(connection, tenant.id, &subjects).await? {
            let referrer = context.owners.of(sent.referrer)?;
            let facts = facts.entry(referrer).or_default();
            facts.behind_referred += 1 + sent.orders;
            // Nobody sends himself, nor does one of his own identities.
            if referrer != sent.customer {
                facts.referred.extend(sent.first_order);
            }
        }
    }
    Ok(facts)
}

/// Which customer each subject belongs to, and back.
pub(super) struct Owners {
    of: HashMap<i64, CustomerId>,
    /// The subjects of each customer.
    pub subjects: HashMap<CustomerId, Vec<i64>>,
}

impl Owners {
    /// By links.
    pub fn new(links: &[subject::Model]) -> Result<Self, StoreError> {
        let mut owners = Self { of: HashMap::with_capacity(links.len()), subjects: HashMap::new() };
        for link in links {
            let customer = CustomerId::try_from(link.customer_id).map_err(|_| StoreError::Sealed("customer id"))?;
            owners.of.insert(link.subject_id, customer);
            owners.subjects.entry(customer).or_default().push(link.subject_id);
        }
        Ok(owners)
    }

    /// The customer of a subject.
    pub fn of(&self, subject: i64) -> Result<CustomerId, StoreError> {
        self.of.get(&subject).copied().ok_or(StoreError::Sealed("a fact without a customer"))
    }
}

/// What facts mean in: whose they are, what they are converted by, and what is there besides.
pub(super) struct Context<'a> {
    pub owners: Owners,
    pub purchases: Purchases,
    pub rates: Rates,
    pub openings: BTreeMap<i64, Opening>,
    pub tenant: &'a Tenant,
}

/// An order that a refund names: whose it is, and what it says.
pub(super) struct NamedPurchase {
    at: i64,
    amount_minor: i64,
    currency: i32,
}

/// Purchases that refunds name, by subject, source and event id.
pub(super) type Purchases = HashMap<super::Key, NamedPurchase>;

/// How much of purchases was given back in their own currencies, in minor units.
pub(super) type GivenBack = HashMap<super::Key, i64>;

/// Refunds in the order in which they are settled.
pub(super) fn in_order(mut refunds: Vec<refund_fact::Model>) -> Vec<refund_fact::Model> {
    let key = |it: &refund_fact::Model| (it.occurred_at, it.source.clone(), it.event_id.clone(), it.subject_id);
    refunds.sort_by_cached_key(key);
    refunds
}

/// Subject, instant, amount, channel, currency, profit and lines of an order.
pub(super) type StoredOrder = (i64, i64, i64, String, i32, Option<i64>, Vec<u8>);

/// Subject, instant, kind, score, channel, and what it is about.
type StoredFeedback = (i64, i64, i32, Option<i64>, String, String);

/// What lies in the tables, in the currencies that it came in.
#[derive(Default)]
pub(super) struct Stored {
    orders: Vec<StoredOrder>,
    pub refunds: Vec<refund_fact::Model>,
    /// Subject, instant, kind, channel, source, what it is about, and case state.
    interactions: Vec<(i64, i64, i32, String, String, String, i32)>,
    feedback: Vec<StoredFeedback>,
}

impl Stored {
    async fn read(
        &mut self,
        connection: &impl ConnectionTrait,
        tenant: TenantId,
        subjects: &Numbers,
    ) -> Result<(), StoreError> {
        let orders: Vec<StoredOrder> = order_fact::Entity::find()
            .select_only()
            .columns([order_fact::Column::SubjectId, order_fact::Column::OccurredAt, order_fact::Column::AmountMinor])
            .columns([order_fact::Column::Channel, order_fact::Column::Currency, order_fact::Column::ProfitMinor])
            .column(order_fact::Column::Lines)
            .filter(order_fact::Column::TenantId.eq(tenant.0))
            .filter(subjects.contain(order_fact::Column::SubjectId))
            .into_tuple()
            .all(connection)
            .await?;
        self.orders.extend(orders);
        self.refunds.extend(refunds_of(connection, tenant, subjects).await?);
        let interactions: Vec<(i64, i64, i32, String, String, String, i32)> = interaction_fact::Entity::find()
            .select_only()
            .columns([Interaction::SubjectId, Interaction::OccurredAt, Interaction::Kind, Interaction::Channel])
            .columns([Interaction::Source, Interaction::About, Interaction::CaseState])
            .filter(Interaction::TenantId.eq(tenant.0))
            .filter(subjects.contain(Interaction::SubjectId))
            .into_tuple()
            .all(connection)
            .await?;
        self.interactions.extend(interactions);
        let feedback: Vec<StoredFeedback> = feedback_fact::Entity::find()
            .select_only()
            .columns([Feedback::SubjectId, Feedback::OccurredAt, Feedback::Kind, Feedback::Score])
            .columns([Feedback::Channel, Feedback::About])
            .filter(Feedback::TenantId.eq(tenant.0))
            .filter(subjects.contain(Feedback::SubjectId))
            .into_tuple()
            .all(connection)
            .await?;
        self.feedback.extend(feedback);
        Ok(())
    }

    /// Reads refunds alone, of subjects that are sorted.
    pub async fn read_refunds(
        &mut self,
        connection: &impl ConnectionTrait,
        tenant: TenantId,
        subjects: &[i64],
    ) -> Result<(), StoreError> {
        for subjects in Numbers::queries(subjects) {
            self.refunds.extend(refunds_of(connection, tenant, &subjects).await?);
        }
        Ok(())
    }

    /// The orders that refunds name. After a merge they may hang on another subject of the same customer.
    pub async fn purchases(
        &self,
        connection: &impl ConnectionTrait,
        tenant: TenantId,
        owners: &Owners,
    ) -> Result<Purchases, StoreError> {
        let mut keys = HashSet::new();
        for refund in self.refunds.iter().filter(|refund| !refund.order_event_id.is_empty()) {
            for subject in owners.subjects.get(&owners.of(refund.subject_id)?).into_iter().flatten() {
                keys.insert((*subject, refund.source.as_str(), refund.order_event_id.as_str()));
            }
        }
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        let mut purchases = Purchases::new();
        let select = "SELECT subject_id, source, event_id, occurred_at, amount_minor, currency FROM order_fact";
        for chunk in keys.chunks(KEYS_PER_QUERY) {
            let statement = by_keys(connection.get_database_backend(), select, tenant, chunk);
            for row in connection.query_all_raw(statement).await? {
                let key = (row.try_get("", "subject_id")?, row.try_get("", "source")?, row.try_get("", "event_id")?);
                let (at, amount_minor) = (row.try_get("", "occurred_at")?, row.try_get("", "amount_minor")?);
                purchases.insert(key, NamedPurchase { at, amount_minor, currency: row.try_get("", "currency")? });
            }
        }
        Ok(purchases)
    }

    /// The currencies and local days whose rates are wanted.
    pub fn foreign_days(&self, purchases: &Purchases, tenant: &Tenant) -> Vec<(i32, i32)> {
        let orders = self.orders.iter().map(|order| (order.4, order.1));
        let refunds = self.refunds.iter().map(|refund| (refund.currency, refund.occurred_at));
        let purchases = purchases.values().map(|purchase| (purchase.currency, purchase.at));
        let foreign = orders.chain(refunds).chain(purchases).filter(|(currency, _)| *currency != 0);
        let mut days: Vec<_> =
            foreign.map(|(currency, at)| (currency, tenant.zone.local_day(Instant::from_micros(at)))).collect();
        days.sort_unstable();
        days.dedup();
        days
    }

    fn hand_over(
        self,
        facts: &mut HashMap<CustomerId, CustomerFacts>,
        context: &Context<'_>,
    ) -> Result<(), StoreError> {
        let owners = &context.owners;
        for (subject, opening) in &context.openings {
            facts.entry(owners.of(*subject)?).or_default().opening.add(opening);
        }
        for order in self.orders {
            let facts = facts.entry(owners.of(order.0)?).or_default();
            match context.order(order)? {
                Some(order) => facts.orders.push(order),
                None => facts.without_rate += 1,
            }
        }
        let mut given_back = GivenBack::default();
        for refund in in_order(self.refunds) {
            let facts = facts.entry(owners.of(refund.subject_id)?).or_default();
            match context.refund(refund, &mut given_back)? {
                Some(refund) => facts.refunds.push(refund),
                None => facts.without_rate += 1,
            }
        }
        for (subject, at, kind, channel, source, about, state) in self.interactions {
            let case = case(kind, state, source, &about);
            let interaction = InteractionFact { at: Instant::from_micros(at), kind, channel, about, case };
            facts.entry(owners.of(subject)?).or_default().interactions.push(interaction);
        }
        for (subject, at, kind, score, channel, about) in self.feedback {
            let kind = FeedbackKind::try_from(kind).unwrap_or_default();
            let feedback = FeedbackFact { at: Instant::from_micros(at), kind, score, channel, about };
            facts.entry(owners.of(subject)?).or_default().feedback.push(feedback);
        }
        Ok(())
    }
}

async fn refunds_of(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    subjects: &Numbers,
) -> Result<Vec<refund_fact::Model>, StoreError> {
    Ok(refund_fact::Entity::find()
        .filter(refund_fact::Column::TenantId.eq(tenant.0))
        .filter(subjects.contain(refund_fact::Column::SubjectId))
        .all(connection)
        .await?)
}

/// The lines of an order, in the base currency.
fn order_lines(
    encoded: &[u8],
    base: impl Fn(i64) -> Option<i64>,
    currency: i32,
    tenant: &Tenant,
) -> Result<Vec<LineFact>, StoreError> {
    let currency = rates::currency(currency, tenant.currency);
    let minor = |money: Option<Money>| convert::sent_minor(money.as_ref(), currency).and_then(&base);
    let mut lines = Vec::new();
    let mut rest = encoded;
    while !rest.is_empty() {
        let line = OrderLine::decode_length_delimited(&mut rest).map_err(|_| StoreError::Sealed("order lines"))?;
        let (amount_minor, cost_minor) = (minor(line.amount), minor(line.cost));
        let OrderLine { product, category, quantity, .. } = line;
        lines.push(LineFact { product, category, quantity, amount_minor, cost_minor });
    }
    Ok(lines)
}

impl Context<'_> {
    fn base(&self, minor: i64, currency: i32, at: Instant) -> Option<i64> {
        self.rates.base(minor, currency, self.tenant.zone.local_day(at), self.tenant.currency)
    }

    /// An order in the base currency. `None`: it waits for a rate.
    pub fn order(
        &self,
        (_, at, amount, channel, currency, profit, lines): StoredOrder,
    ) -> Result<Option<OrderFact>, StoreError> {
        let at = Instant::from_micros(at);
        let base = |minor| self.base(minor, currency, at);
        let Some(amount_minor) = base(amount) else { return Ok(None) };
        let profit_minor = profit.and_then(base);
        let lines = order_lines(&lines, base, currency, self.tenant)?;
        Ok(Some(OrderFact { at, amount_minor, profit_minor, channel, lines }))
    }

    /// The subjects whose order a refund may be of: its own first, the others of the customer by their numbers.
    fn subjects(&self, refund: &refund_fact::Model) -> Result<Vec<i64>, StoreError> {
        let mut subjects = self.owners.subjects.get(&self.owners.of(refund.subject_id)?).cloned().unwrap_or_default();
        subjects.sort_unstable_by_key(|subject| (*subject != refund.subject_id, *subject));
        Ok(subjects)
    }

    /// The order that a refund names, if it is there.
    pub fn purchase(&self, refund: &refund_fact::Model) -> Result<Option<(&super::Key, &NamedPurchase)>, StoreError> {
        if refund.order_event_id.is_empty() {
            return Ok(None);
        }
        let key = |subject| (subject, refund.source.clone(), refund.order_event_id.clone());
        Ok(self.subjects(refund)?.into_iter().find_map(|subject| self.purchases.get_key_value(&key(subject))))
    }

    /// Whether the order that a refund names was dropped.
    fn names_dropped(&self, refund: &refund_fact::Model) -> Result<bool, StoreError> {
        if self.openings.is_empty() {
            return Ok(false);
        }
        let mark = mark(&refund.source, &refund.order_event_id);
        let dropped = |subject| self.openings.get(subject).is_some_and(|opening| opening.marks.contains(&mark));
        Ok(self.subjects(refund)?.iter().any(dropped))
    }

    /// A refund in the base currency: at the rate of its purchase, if that is of the same currency. Refunds come [`in_order`], and each is what
    /// it adds to those before it: all of a purchase given back, in however many parts, is all of it. `None`: it waits for a rate.
    pub fn refund(
        &self,
        refund: refund_fact::Model,
        given_back: &mut GivenBack,
    ) -> Result<Option<RefundFact>, StoreError> {
        let at = Instant::from_micros(refund.occurred_at);
        let base = |minor, rate_of| self.base(minor, refund.currency, rate_of);
        let mut amount_minor = base(refund.amount_minor, at);
        let mut purchase = Purchase::Any;
        if let Some((key, order)) = self.purchase(&refund)? {
            let bought = Instant::from_micros(order.at);
            if order.currency == refund.currency {
                let before = given_back.entry(key.clone()).or_default();
                let after = before.saturating_add(refund.amount_minor);
                amount_minor = base(after, bought).zip(base(*before, bought)).map(|(after, before)| after - before);
                *before = after;
            }
            purchase = match self.base(order.amount_minor, order.currency, bought) {
                Some(amount_minor) => Purchase::Known { key: key.clone(), at: bought, amount_minor },
                None => Purchase::Missing,
            };
        } else if !refund.order_event_id.is_empty() {
            purchase = if self.names_dropped(&refund)? { Purchase::Dropped } else { Purchase::Missing };
        }
        let (subject_id, id) = (refund.subject_id, (refund.source, refund.event_id));
        Ok(amount_minor.map(|amount_minor| RefundFact { at, subject_id, id, amount_minor, purchase }))
    }
}

/// What an interaction says of a ticket or a complaint.
pub(super) fn case(kind: i32, state: i32, source: String, about: &str) -> Option<CaseEvent> {
    let resolved = match CaseState::try_from(state).ok()? {
        CaseState::Opened => false,
        CaseState::Resolved => true,
        CaseState::Unspecified => return None,
    };
    let complaint = kind == i32::from(InteractionKind::Complaint);
    Some(CaseEvent { complaint, id: (source, about.to_owned()), resolved })
}
