//! What customers' facts amount to, as the records that travel down the chain have it.

use crate::defined_traits::DefinedTrait;
use crate::features::{self, CustomerFacts, Features, WINDOW_DAYS};
use crate::store::customers::{self, Processed};
use crate::store::facts;
use crate::traits::Amount;
use quintile_chain::feed::Derived;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::types::{ChannelActivity, CustomerRecord, Features as FeaturesMessage, TraitValue, WindowActivity};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use sea_orm::ConnectionTrait;
use std::collections::HashMap;

/// The records of customers as of an instant, from their facts: none of a customer who is not processed.
pub async fn compute(
    connection: &impl ConnectionTrait,
    tenant: &Tenant,
    traits: &[DefinedTrait],
    customers: &[CustomerId],
    as_of: Instant,
) -> Result<Vec<Derived>, StoreError> {
    compute_at(connection, tenant, traits, customers, &[as_of]).await
}

/// The same as of several instants: of each customer in turn one record for each of them.
pub async fn compute_at(
    connection: &impl ConnectionTrait,
    tenant: &Tenant,
    traits: &[DefinedTrait],
    customers: &[CustomerId],
    instants: &[Instant],
) -> Result<Vec<Derived>, StoreError> {
    let processed = customers::processed(connection, tenant.id, customers).await?;
    let facts = facts::of_customers(connection, tenant, customers).await?;
    Ok(derived(tenant, traits, processed, facts, instants))
}

/// Of each customer in turn its records as of some instants.
pub fn derived(
    tenant: &Tenant,
    traits: &[DefinedTrait],
    processed: Vec<Processed>,
    mut facts: HashMap<CustomerId, CustomerFacts>,
    instants: &[Instant],
) -> Vec<Derived> {
    let mut computed = Vec::with_capacity(processed.len() * instants.len());
    for Processed { id, attributes, merged } in processed {
        let mut facts = facts.remove(&id).unwrap_or_default();
        for as_of in instants {
            let (features, next_change) = features_at(&mut facts, tenant, traits, *as_of);
            let record = CustomerRecord {
                customer_id: id.as_i64(),
                attributes: Some(attributes.clone()),
                features: Some(features),
                scores: None,
                stage: None,
                churn: None,
                merged_customer_ids: merged.clone(),
            };
            computed.push(Derived { record, next_change, is_new: false });
        }
    }
    computed
}

/// What facts amount to at an instant, and when time alone changes it.
fn features_at(
    facts: &mut CustomerFacts,
    tenant: &Tenant,
    traits: &[DefinedTrait],
    as_of: Instant,
) -> (FeaturesMessage, Option<Instant>) {
    let features = features::compute(facts, as_of, &tenant.zone, tenant.revenue);
    let leaving = traits.iter().filter_map(|it| it.computed.next_change(facts, as_of, &tenant.zone));
    let next_change = features.next_change.into_iter().chain(leaving).min();
    let features = FeaturesMessage {
        traits: values(traits, facts, tenant, as_of),
        next_change_time: next_change.map(convert::timestamp),
        ..message(features, tenant, as_of)
    };
    (features, next_change)
}

fn message(features: Features, tenant: &Tenant, as_of: Instant) -> FeaturesMessage {
    let money = |minor: i64| Some(convert::money(tenant.currency, minor));
    let windows = WINDOW_DAYS.into_iter().zip(features.windows).map(|(days, window)| WindowActivity {
        days,
        orders: window.orders,
        revenue: money(window.revenue_minor),
        previous_orders: window.previous_orders,
        previous_revenue: money(window.previous_revenue_minor),
        interactions: window.interactions,
        previous_interactions: window.previous_interactions,
    });
    FeaturesMessage {
        as_of: Some(convert::timestamp(as_of)),
        next_change_time: None,
        first_order_time: features.first_order.map(convert::timestamp),
        last_order_time: features.last_order.map(convert::timestamp),
        orders: features.orders,
        purchase_days: features.purchase_days,
        net_revenue: money(features.net_revenue_minor()),
        revenue: money(features.revenue_minor),
        average_order_value: features.average_order_minor().and_then(money),
        windows: windows.collect(),
        gap_mean_days: features.gap_mean_days(),
        gap_p50_days: features.gap_quantile_days(5),
        gap_p80_days: features.gap_quantile_days(8),
        primary_channel: features.primary_channel,
        channels: features
            .channels
            .into_iter()
            .map(|(channel, contacts)| ChannelActivity { channel, contacts })
            .collect(),
        gap_days: features.gap_days,
        gross_revenue: money(features.gross_revenue_minor),
        refunds: features.refunds,
        refunded: money(features.refunded_minor),
        unmatched_refunds: money(features.unmatched_refunds_minor),
        profit: features.profit_minor.and_then(money),
        repeat_revenue: money(features.repeat_revenue_minor),
        category_count: features.category_count,
        top_category: features.top_category,
        interactions: features.interactions,
        last_interaction_time: features.last_interaction.map(convert::timestamp),
        feedback_count: features.feedback_count,
        csat_mean: features.csat_mean,
        last_nps: features.last_nps.and_then(|score| i32::try_from(score).ok()),
        complaints: features.cases.complaints,
        open_complaints: features.cases.open_complaints,
        open_tickets: features.cases.open_tickets,
        facts_without_rate: features.facts_without_rate,
        last_low_score_time: features.last_low_score.map(convert::timestamp),
        traits: Vec::new(),
        referrals: features.referrals,
    }
}

/// An entry of every trait: whether a customer has a value is for those alone who may see it. The facts are sorted.
fn values(traits: &[DefinedTrait], facts: &CustomerFacts, tenant: &Tenant, as_of: Instant) -> Vec<TraitValue> {
    let value = |defined: &DefinedTrait| {
        let sensitivity = defined.computed.class() as i32;
        let mut value = TraitValue { key: defined.id.clone(), sensitivity, ..TraitValue::default() };
        match defined.computed.amount(facts, as_of, &tenant.zone) {
            Some(Amount::Integer(integer)) => value.integer = Some(integer),
            Some(Amount::Number(number)) => value.number = Some(number),
            Some(Amount::Money(minor)) => value.money = Some(convert::money(tenant.currency, minor)),
            Some(Amount::Text(text)) => value.text = Some(text),
            Some(Amount::Time(instant)) => value.time = Some(convert::timestamp(instant)),
            None => {}
        }
        value
    };
    traits.iter().map(value).collect()
}
