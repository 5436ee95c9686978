//! Features: what the facts of a customer amount to at an instant. Pure: facts, an instant and a zone in, values out, whatever
//! the order in which the facts arrived.
//!
//! To add a feature, add it to [`Features`], compute it in [`compute`], and if time alone can change it, name the instants at which it
//! does in `next_change`.

mod cases;
mod facts;
mod fold;
mod gaps;
mod opening;
mod refunds;

use quintile_domain::money::mean_minor;
use quintile_domain::revenue::RevenuePolicy;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::ingestion::FeedbackKind;
use std::collections::BTreeMap;

pub use cases::{CaseEvent, LastWords};
pub use facts::{CustomerFacts, FeedbackFact, InteractionFact, LineFact, OrderFact};
pub use fold::{Folded, OldFacts, fold};
pub use opening::{Ledger, Opening, mark};
pub use refunds::{Purchase, RefundFact, Settled, settle};

/// The sliding windows, in local calendar days.
pub const WINDOW_DAYS: [i32; 3] = [30, 90, 365];
/// The window in which channels are counted, in days.
const CHANNEL_DAYS: i32 = 365;
/// The most gaps that are kept, newest last.
const MAX_GAPS: usize = 1_000;

/// What happened in one window `[as_of - days, as_of)` and in the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Orders in the window.
    pub orders: i64,
    /// Revenue of the window by the policy, in minor units.
    pub revenue_minor: i64,
    /// Interactions in the window.
    pub interactions: i64,
    /// Orders in the window before.
    pub previous_orders: i64,
    /// As `revenue_minor`, in the window before.
    pub previous_revenue_minor: i64,
    /// Interactions in the window before.
    pub previous_interactions: i64,
}

/// What the facts of a customer amount to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// The first order. `None`: no order.
    pub first_order: Option<Instant>,
    /// The last order. `None`: no order.
    pub last_order: Option<Instant>,
    /// Orders so far.
    pub orders: i64,
    /// Distinct local days with an order.
    pub purchase_days: i64,
    /// What was bought so far, in minor units.
    pub gross_revenue_minor: i64,
    /// Refunds so far.
    pub refunds: i64,
    /// How much of them counts, in minor units.
    pub refunded_minor: i64,
    /// Revenue by the policy, in minor units.
    pub revenue_minor: i64,
    /// How much of them does not, in minor units.
    pub unmatched_refunds_minor: i64,
    /// Profit of the orders that say it, in minor units. `None`: none does.
    pub profit_minor: Option<i64>,
    /// Revenue of all purchase days but the first, before refunds, in minor units.
    pub repeat_revenue_minor: i64,
    /// The windows of [`WINDOW_DAYS`].
    pub windows: [Window; 3],
    /// Contacts per channel in 365 days, by name.
    pub channels: BTreeMap<String, i64>,
    /// The channel with the most contacts, ties to the most recent. Empty: none.
    pub primary_channel: String,
    /// Distinct categories bought.
    pub category_count: i64,
    /// The category with the most revenue, ties to the first by name. Empty: none.
    pub top_category: String,
    /// Gaps between consecutive purchase days, in days, oldest first; the last 1,000.
    pub gap_days: Vec<i32>,
    /// Interactions so far.
    pub interactions: i64,
    /// The last interaction. `None`: none.
    pub last_interaction: Option<Instant>,
    /// Feedback so far.
    pub feedback_count: i64,
    /// Mean of the satisfaction scores. `None`: none.
    pub csat_mean: Option<f64>,
    /// The latest willingness to recommend. `None`: none.
    pub last_nps: Option<i64>,
    /// The last low score. `None`: none.
    pub last_low_score: Option<Instant>,
    /// Customers whom this one has sent and who have bought.
    pub referrals: i64,
    /// Tickets and complaints.
    pub cases: cases::Cases,
    /// Facts that wait for an exchange rate.
    pub facts_without_rate: i64,
    /// The earliest later instant at which time alone changes one of these values.
    pub next_change: Option<Instant>,
}

impl Features {
    /// Revenue so far less the refunds that count, in minor units.
    pub fn net_revenue_minor(&self) -> i64 {
        self.gross_revenue_minor.saturating_sub(self.refunded_minor)
    }

    /// Revenue by the policy per order, rounded half to even, in minor units. `None`: no order.
    pub fn average_order_minor(&self) -> Option<i64> {
        mean_minor(self.revenue_minor, self.orders)
    }

    /// The mean gap, in days. `None`: no gap.
    pub fn gap_mean_days(&self) -> Option<f64> {
        gaps::mean(&self.gap_days)
    }

    /// A quantile (type 7) of the gaps, in days: so many tenths. `None` with fewer than 3 gaps.
    pub fn gap_quantile_days(&self, tenths: usize) -> Option<f64> {
        gaps::quantile(&self.gap_days, tenths)
    }
}

/// The features of a customer with these facts, as of an instant. Facts at or after it do not count yet.
pub fn compute(facts: &mut CustomerFacts, as_of: Instant, zone: &TimeZone, policy: RevenuePolicy) -> Features {
    facts.sort();
    let opening = &facts.opening;
    let settled = settle(opening.ledger(), &facts.orders, &mut facts.refunds, as_of);
    let reductions = reductions(&settled, policy);
    let orders = &facts.orders[..facts.orders.partition_point(|order| order.at < as_of)];
    let interactions = &facts.interactions[..facts.interactions.partition_point(|it| it.at < as_of)];
    let feedback = &facts.feedback[..facts.feedback.partition_point(|it| it.at < as_of)];
    let (purchase_days, repeat_revenue_minor, gap_days) = days(opening, orders, zone);
    let (channels, primary_channel) = channels(orders, interactions, as_of, zone);
    let (category_count, top_category) = categories(opening, orders);
    let profits = opening.profit_minor.into_iter().chain(orders.iter().filter_map(|order| order.profit_minor));
    let counted = settled.iter().map(|refund| refund.counted_minor);
    let waiting = settled.iter().map(|refund| refund.waiting_minor);
    let gross_revenue_minor = sum(opening.gross_minor, orders.iter().map(|order| order.amount_minor));
    let refunded_minor = sum(opening.ledger().returned_minor, counted);
    let csat = feedback.iter().filter(|it| it.kind == FeedbackKind::Csat).filter_map(|it| it.score);
    let nps = feedback.iter().filter(|it| it.kind == FeedbackKind::Nps).filter_map(|it| Some((it.at, it.score?)));
    Features {
        first_order: opening.first_order.into_iter().chain(orders.first().map(|order| order.at)).min(),
        last_order: opening.last_order.max(orders.last().map(|order| order.at)),
        orders: opening.orders + orders.len() as i64,
        purchase_days,
        gross_revenue_minor,
        refunds: opening.refunds + settled.len() as i64,
        refunded_minor,
        revenue_minor: match policy {
            RevenuePolicy::Gross => gross_revenue_minor,
            RevenuePolicy::Net | RevenuePolicy::Netted => gross_revenue_minor.saturating_sub(refunded_minor),
        },
        unmatched_refunds_minor: sum(opening.unmatched_minor(), waiting),
        profit_minor: profits.clone().next().map(|_| sum(0, profits)),
        repeat_revenue_minor,
        windows: WINDOW_DAYS.map(|days| window(orders, &reductions, interactions, as_of, days, zone)),
        channels,
        primary_channel,
        category_count,
        top_category,
        gap_days,
        interactions: opening.interactions + interactions.len() as i64,
        last_interaction: opening.last_interaction.max(interactions.last().map(|interaction| interaction.at)),
        feedback_count: opening.feedback + feedback.len() as i64,
        csat_mean: mean((opening.csat_sum, opening.csat_count), csat),
        last_nps: opening.nps.into_iter().chain(nps).max().map(|(_, score)| score),
        last_low_score: opening.last_low_score.max(feedback.iter().filter_map(FeedbackFact::low_score_at).max()),
        referrals: facts.referred.partition_point(|at| *at < as_of) as i64,
        cases: cases::count(&opening.cases, interactions.iter().filter_map(|it| Some((it.at, it.case.as_ref()?)))),
        facts_without_rate: facts.without_rate,
        next_change: next_change(facts, &reductions, as_of, zone),
    }
}

// Saturating: a customer whose lifetime revenue exceeds an i64 of cents is a fault upstream, not a reason to stop.
fn sum(from: i64, amounts: impl Iterator<Item = i64>) -> i64 {
    amounts.fold(from, i64::saturating_add)
}

/// The mean of values and of others of which the total and the count are known.
fn mean(others: (i64, i64), values: impl Iterator<Item = i64>) -> Option<f64> {
    let (total, count) = values.fold(others, |(total, count), value| (total + value, count + 1));
    (count > 0).then(|| total as f64 / count as f64)
}

/// Distinct purchase days, the revenue of all but the first, and the gaps between them.
fn days(opening: &Opening, orders: &[OrderFact], zone: &TimeZone) -> (i64, i64, Vec<i32>) {
    let by_day: Vec<(i32, i64)> = orders.iter().map(|order| (zone.local_day(order.at), order.amount_minor)).collect();
    // Sorted by instant they are not always sorted by local day: a zone may set its clock back over midnight.
    let mut days: Vec<i32> = opening.days.iter().copied().chain(by_day.iter().map(|(day, _)| *day)).collect();
    days.sort_unstable();
    days.dedup();
    let first = days.first();
    let repeated = by_day.iter().filter(|(day, _)| Some(day) != first);
    let first_before = opening.first_day.filter(|(day, _)| Some(day) == first).map_or(0, |(_, revenue)| revenue);
    let repeated_before = opening.gross_minor.saturating_sub(first_before);
    let repeat_revenue = sum(repeated_before, repeated.map(|(_, amount)| *amount));
    (days.len() as i64, repeat_revenue, gaps::between(&days, MAX_GAPS))
}

/// What refunds take from the revenue of a window: when, and how much, in minor units. By instant.
fn reductions(settled: &[Settled], policy: RevenuePolicy) -> Vec<(Instant, i64)> {
    // What is refunded of nothing moves no window.
    let counted = settled.iter().filter(|it| it.counted_minor != 0);
    match policy {
        RevenuePolicy::Gross => Vec::new(),
        RevenuePolicy::Net => counted.map(|it| (it.at, it.counted_minor)).collect(),
        RevenuePolicy::Netted => {
            let mut reductions: Vec<_> = counted.map(|it| (it.bought_at.unwrap_or(it.at), it.counted_minor)).collect();
            reductions.sort_unstable();
            reductions
        }
    }
}

fn window(
    orders: &[OrderFact],
    reductions: &[(Instant, i64)],
    interactions: &[InteractionFact],
    as_of: Instant,
    days: i32,
    zone: &TimeZone,
) -> Window {
    let (start, previous_start) = (zone.days_before(as_of, days), zone.days_before(as_of, 2 * days));
    let (previous_orders, orders) = last_two(orders, |it| it.at, previous_start, start);
    let (previous_refunds, refunds) = last_two(reductions, |(at, _)| *at, previous_start, start);
    let (previous_interactions, interactions) = last_two(interactions, |it| it.at, previous_start, start);
    let revenue = |orders: &[OrderFact], refunds: &[(Instant, i64)]| {
        let bought = sum(0, orders.iter().map(|order| order.amount_minor));
        bought.saturating_sub(sum(0, refunds.iter().map(|(_, minor)| *minor)))
    };
    Window {
        orders: orders.len() as i64,
        revenue_minor: revenue(orders, refunds),
        interactions: interactions.len() as i64,
        previous_orders: previous_orders.len() as i64,
        previous_revenue_minor: revenue(previous_orders, previous_refunds),
        previous_interactions: previous_interactions.len() as i64,
    }
}

/// Of facts sorted by instant, those from `previous_start` until before `start`, and those from `start` on.
fn last_two<T>(facts: &[T], at: fn(&T) -> Instant, previous_start: Instant, start: Instant) -> (&[T], &[T]) {
    let from = facts.partition_point(|fact| at(fact) < start);
    let previous_from = facts.partition_point(|fact| at(fact) < previous_start);
    (&facts[previous_from..from], &facts[from..])
}

fn categories(opening: &Opening, orders: &[OrderFact]) -> (i64, String) {
    let mut revenue: BTreeMap<&str, i64> =
        opening.categories.iter().map(|(category, revenue)| (category.as_str(), *revenue)).collect();
    let lines = orders.iter().flat_map(|order| &order.lines);
    for line in lines.filter(|line| !line.category.is_empty()) {
        let total = revenue.entry(&line.category).or_default();
        *total = total.saturating_add(line.amount_minor.unwrap_or_default());
    }
    let top = revenue.iter().max_by_key(|(name, revenue)| (**revenue, std::cmp::Reverse(**name)));
    (revenue.len() as i64, top.map(|(name, _)| (*name).to_owned()).unwrap_or_default())
}

fn channels(
    orders: &[OrderFact],
    interactions: &[InteractionFact],
    as_of: Instant,
    zone: &TimeZone,
) -> (BTreeMap<String, i64>, String) {
    let start = zone.days_before(as_of, CHANNEL_DAYS);
    let orders = orders[orders.partition_point(|order| order.at < start)..].iter().map(|it| (&it.channel, it.at));
    let recent = &interactions[interactions.partition_point(|it| it.at < start)..];
    let contacts = orders.chain(recent.iter().map(|it| (&it.channel, it.at)));
    let mut by_channel: BTreeMap<&String, (i64, Instant)> = BTreeMap::new();
    for (channel, at) in contacts.filter(|(channel, _)| !channel.is_empty()) {
        let entry = by_channel.entry(channel).or_insert((0, at));
        *entry = (entry.0 + 1, entry.1.max(at));
    }
    let primary = by_channel.iter().max_by_key(|(name, (count, last))| (*count, *last, std::cmp::Reverse(*name)));
    let primary = primary.map(|(name, _)| (*name).clone()).unwrap_or_default();
    (by_channel.into_iter().map(|(name, (count, _))| (name.clone(), count)).collect(), primary)
}

/// The earliest instant after `as_of` at which a fact begins to count or leaves a window. The facts are sorted.
fn next_change(
    facts: &CustomerFacts,
    reductions: &[(Instant, i64)],
    as_of: Instant,
    zone: &TimeZone,
) -> Option<Instant> {
    let orders = facts.orders.partition_point(|it| it.at < as_of);
    let interactions = facts.interactions.partition_point(|it| it.at < as_of);
    // A fact counts from the instant after its own.
    let begins = [
        facts.orders.get(orders).map(|it| it.at),
        facts.refunds.iter().map(|it| it.at).find(|at| *at >= as_of),
        facts.interactions.get(interactions).map(|it| it.at),
        facts.feedback.iter().map(|it| it.at).find(|at| *at >= as_of),
        facts.referred.iter().copied().find(|at| *at >= as_of),
    ];
    let mut earliest = begins.into_iter().flatten().min().map(|at| at.plus_micros(1));
    for days in WINDOW_DAYS.into_iter().flat_map(|days| [days, 2 * days]) {
        let start = zone.days_before(as_of, days);
        let oldest = [
            first_from(&facts.orders[..orders], |it| it.at, start),
            first_from(reductions, |(at, _)| *at, start),
            first_from(&facts.interactions[..interactions], |it| it.at, start),
        ];
        let leaves = oldest.into_iter().flatten().min().map(|at| leaves_window(at, days, as_of, zone));
        earliest = [earliest, leaves].into_iter().flatten().min();
    }
    earliest
}

/// The instant of the first of some sorted facts from `start` on.
fn first_from<T>(facts: &[T], at: fn(&T) -> Instant, start: Instant) -> Option<Instant> {
    facts.get(facts.partition_point(|fact| at(fact) < start)).map(at)
}

/// The first instant after `as_of` at which a window of `days` no longer holds `at`.
pub fn leaves_window(at: Instant, days: i32, as_of: Instant, zone: &TimeZone) -> Instant {
    let plain = zone.days_after(at, days).plus_micros(1);
    if plain > as_of && zone.days_before(plain, days) > at && zone.days_before(plain.plus_micros(-1), days) <= at {
        return plain;
    }
    // Around a change of the clock, "so many days later" does not undo "so many days earlier": look for the instant itself.
    let day_micros = 86_400_000_000;
    let (mut inside, mut outside) = (as_of, plain.max(as_of).plus_micros(2 * day_micros));
    while outside.micros() - inside.micros() > 1 {
        let middle = Instant::from_micros(inside.micros() + (outside.micros() - inside.micros()) / 2);
        if zone.days_before(middle, days) > at { outside = middle } else { inside = middle }
    }
    outside
}

#[cfg(test)]
mod tests;
