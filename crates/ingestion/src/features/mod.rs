//! Features: what the facts of a customer amount to at an instant. Pure: facts, an instant and a zone in, values out, whatever
//! the order in which the facts arrived.
//!
//! To add a feature, add it to [`Features`], compute it in [`compute`], and if time alone can change it, name the instants at which it
//! does in `next_change`.

mod gaps;

use quintile_domain::money::mean_minor;
use quintile_domain::time::{Instant, TimeZone};
use std::collections::BTreeMap;

/// The sliding windows, in local calendar days.
pub const WINDOW_DAYS: [i32; 3] = [30, 90, 365];
/// The window in which channels are counted, in days.
const CHANNEL_DAYS: i32 = 365;
/// The most gaps that are kept, newest last.
const MAX_GAPS: usize = 1_000;

/// An order, as far as features depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFact {
    /// When it was bought.
    pub at: Instant,
    /// What it cost, in minor units of the base currency.
    pub amount_minor: i64,
    /// The channel. Empty: not known.
    pub channel: String,
}

/// Orders of one window `[as_of - days, as_of)` and of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Orders in the window.
    pub orders: i64,
    /// Revenue in the window, in minor units.
    pub revenue_minor: i64,
    /// Orders in the window before.
    pub previous_orders: i64,
    /// Revenue in the window before, in minor units.
    pub previous_revenue_minor: i64,
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
    /// Revenue so far, in minor units.
    pub net_revenue_minor: i64,
    /// Revenue per order, rounded half to even. `None`: no order.
    pub average_order_minor: Option<i64>,
    /// The windows of [`WINDOW_DAYS`].
    pub windows: [Window; 3],
    /// Contacts per channel in 365 days, by name.
    pub channels: BTreeMap<String, i64>,
    /// The channel with the most contacts, ties to the most recent. Empty: none.
    pub primary_channel: String,
    /// Gaps between consecutive purchase days, in days, oldest first; the last 1,000.
    pub gap_days: Vec<i32>,
    /// The 0.8 quantile (type 7) of the gaps. `None`: fewer than 3.
    pub gap_p80_days: Option<f64>,
    /// The earliest later instant at which time alone changes one of these values.
    pub next_change: Option<Instant>,
}

/// The features of a customer with these orders, as of an instant. Orders at or after it do not count yet.
pub fn compute(orders: &mut [OrderFact], as_of: Instant, zone: &TimeZone) -> Features {
    // Every tie is broken by content, so that the order of arrival can't show.
    orders.sort_unstable_by(|a, b| (a.at, a.amount_minor, &a.channel).cmp(&(b.at, b.amount_minor, &b.channel)));
    let counted = &orders[..orders.partition_point(|order| order.at < as_of)];
    let net_revenue_minor = sum(counted);
    let mut days: Vec<i32> = counted.iter().map(|order| zone.local_day(order.at)).collect();
    // Sorted by instant they are not always sorted by local day: a zone may set its clock back over midnight.
    days.sort_unstable();
    days.dedup();
    let gap_days = gaps::between(&days, MAX_GAPS);
    let (channels, primary_channel) = channels(counted, as_of, zone);
    Features {
        first_order: counted.first().map(|order| order.at),
        last_order: counted.last().map(|order| order.at),
        orders: counted.len() as i64,
        purchase_days: days.len() as i64,
        net_revenue_minor,
        average_order_minor: mean_minor(net_revenue_minor, counted.len() as i64),
        windows: WINDOW_DAYS.map(|days| window(counted, as_of, days, zone)),
        channels,
        primary_channel,
        gap_p80_days: gaps::p80(&gap_days),
        gap_days,
        next_change: next_change(orders, as_of, zone),
    }
}

// Saturating: a customer whose lifetime revenue exceeds an i64 of cents is a fault upstream, not a reason to stop.
fn sum(orders: &[OrderFact]) -> i64 {
    orders.iter().fold(0, |total: i64, order| total.saturating_add(order.amount_minor))
}

fn window(counted: &[OrderFact], as_of: Instant, days: i32, zone: &TimeZone) -> Window {
    let start = zone.days_before(as_of, days);
    let previous_start = zone.days_before(as_of, 2 * days);
    let from = counted.partition_point(|order| order.at < start);
    let previous_from = counted.partition_point(|order| order.at < previous_start);
    let (previous, current) = (&counted[previous_from..from], &counted[from..]);
    Window {
        orders: current.len() as i64,
        revenue_minor: sum(current),
        previous_orders: previous.len() as i64,
        previous_revenue_minor: sum(previous),
    }
}

fn channels(counted: &[OrderFact], as_of: Instant, zone: &TimeZone) -> (BTreeMap<String, i64>, String) {
    let start = zone.days_before(as_of, CHANNEL_DAYS);
    let from = counted.partition_point(|order| order.at < start);
    let mut contacts: BTreeMap<String, (i64, Instant)> = BTreeMap::new();
    for order in counted[from..].iter().filter(|order| !order.channel.is_empty()) {
        let entry = contacts.entry(order.channel.clone()).or_insert((0, order.at));
        *entry = (entry.0 + 1, order.at);
    }
    let primary = contacts.iter().max_by_key(|(name, (count, last))| (*count, *last, std::cmp::Reverse(*name)));
    let primary = primary.map(|(name, _)| name.clone()).unwrap_or_default();
    (contacts.into_iter().map(|(name, (count, _))| (name, count)).collect(), primary)
}

/// The earliest instant after `as_of` at which an order enters or leaves a window. `orders` are all of them, sorted.
fn next_change(orders: &[OrderFact], as_of: Instant, zone: &TimeZone) -> Option<Instant> {
    let future = orders.partition_point(|order| order.at < as_of);
    // An order counts from the instant after its own.
    let mut earliest = orders.get(future).map(|order| order.at.plus_micros(1));
    for days in WINDOW_DAYS.into_iter().flat_map(|days| [days, 2 * days]) {
        let start = zone.days_before(as_of, days);
        let oldest_inside = orders[..future].partition_point(|order| order.at < start);
        let leaves = orders[..future].get(oldest_inside).map(|order| leaves_window(order.at, days, as_of, zone));
        earliest = [earliest, leaves].into_iter().flatten().min();
    }
    earliest
}

/// The first instant after `as_of` at which a window of `days` no longer holds `at`.
fn leaves_window(at: Instant, days: i32, as_of: Instant, zone: &TimeZone) -> Instant {
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
