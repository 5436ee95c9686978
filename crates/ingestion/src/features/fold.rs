//! Folding: which of a customer's facts from before a horizon are dropped, and the opening balances that they leave. Pure.
//!
//! Interactions and feedback go one by one. Orders and refunds hang together, and stay where features could tell that one of them is gone:
//! an order that a newer refund names, and what else names it; a refund whose purchase is not there.

use super::opening::mark;
use super::refunds::PurchaseKey;
use super::{FeedbackFact, InteractionFact, Ledger, Opening, OrderFact, Purchase, RefundFact, settle};
use quintile_domain::time::{Instant, TimeZone};
use std::collections::{BTreeMap, HashSet};

/// What of a customer may be dropped, and what that depends on.
#[derive(Clone, Debug, Default)]
pub struct OldFacts {
    /// The balances that are there, by subject.
    pub openings: BTreeMap<i64, Opening>,
    /// The orders from before the horizon that there is a rate for.
    pub orders: Vec<(PurchaseKey, OrderFact)>,
    /// The refunds, of any age, that there is a rate for.
    pub refunds: Vec<RefundFact>,
    /// The purchases that other refunds name.
    pub awaited: HashSet<PurchaseKey>,
    /// The interactions from before their horizon.
    pub interactions: Vec<(PurchaseKey, InteractionFact)>,
    /// The feedback from before its horizon.
    pub feedback: Vec<(PurchaseKey, FeedbackFact)>,
}

/// What is dropped, and the balances with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Every balance of the customer.
    pub openings: BTreeMap<i64, Opening>,
    /// Orders.
    pub orders: Vec<PurchaseKey>,
    /// Refunds.
    pub refunds: Vec<PurchaseKey>,
    /// Interactions.
    pub interactions: Vec<PurchaseKey>,
    /// Feedback.
    pub feedback: Vec<PurchaseKey>,
}

impl Folded {
    /// Whether nothing is dropped.
    pub fn is_empty(&self) -> bool {
        [&self.orders, &self.refunds, &self.interactions, &self.feedback].into_iter().all(Vec::is_empty)
    }
}

/// Folds old facts. `orders_before` is the horizon of orders and refunds.
pub fn fold(old: OldFacts, orders_before: Instant, zone: &TimeZone) -> Folded {
    let money = Money { openings: &old.openings, before: orders_before, zone };
    let mut folded = money.fold(old.orders, old.refunds, old.awaited);
    for (key, interaction) in old.interactions {
        folded.openings.entry(key.0).or_default().add_interaction(&interaction);
        folded.interactions.push(key);
    }
    for (key, feedback) in old.feedback {
        folded.openings.entry(key.0).or_default().add_feedback(&feedback);
        folded.feedback.push(key);
    }
    folded
}

struct Money<'a> {
    openings: &'a BTreeMap<i64, Opening>,
    before: Instant,
    zone: &'a TimeZone,
}

impl Money<'_> {
    /// Orders and refunds: all that may go, or nothing.
    fn fold(
        &self,
        mut orders: Vec<(PurchaseKey, OrderFact)>,
        mut refunds: Vec<RefundFact>,
        mut named: HashSet<PurchaseKey>,
    ) -> Folded {
        let nothing = Folded { openings: self.openings.clone(), ..Folded::default() };
        let is_old = |refund: &RefundFact| refund.at < self.before;
        for refund in refunds.iter().filter(|refund| !is_old(refund)) {
            named.extend(purchase_of(refund).map(|(key, _)| key.clone()));
        }
        refunds.retain(is_old);
        if refunds.iter().filter_map(purchase_of).any(|(_, at)| at >= self.before) {
            // Given before it was bought, and the horizon is between them: a later horizon is behind both.
            return nothing;
        }
        orders.sort_by_key(|(_, order)| order.at);
        let settled = settle(ledger(self.openings), &bare(orders.iter()), &mut refunds, self.before);
        let stays = |refund: &RefundFact| match &refund.purchase {
            Purchase::Any | Purchase::Dropped => false,
            Purchase::Missing => true,
            Purchase::Known { key, .. } => named.contains(key),
        };
        let mut folded = Folded { openings: levelled(self.openings), ..Folded::default() };
        let (mut kept, mut kept_settled) = (Vec::new(), Vec::new());
        for (refund, settled) in refunds.into_iter().zip(settled) {
            if stays(&refund) {
                kept.push(refund);
                kept_settled.push(settled);
                continue;
            }
            folded.openings.entry(refund.subject_id).or_default().add_refund(&settled);
            folded.refunds.push(key_of(refund));
        }
        let (staying, going): (Vec<_>, Vec<_>) = orders.into_iter().partition(|(key, _)| named.contains(key));
        let half_gone: HashSet<i64> = staying.iter().map(|(key, _)| key.0).collect();
        for (key, order) in going {
            let opening = folded.openings.entry(key.0).or_default();
            opening.add_order(&order, self.zone.local_day(order.at), mark(&key.1, &key.2));
            folded.orders.push(key);
        }
        let without = settle(ledger(&folded.openings), &bare(staying.iter()), &mut kept, self.before);
        // What stays has to amount to what it did. It does not where a refund that stays was settled between others, and less was there.
        if without == kept_settled && is_settled(&folded.openings, &half_gone) { folded } else { nothing }
    }
}

/// Balances whose refunds count no further than what was bought, as they count now.
fn levelled(openings: &BTreeMap<i64, Opening>) -> BTreeMap<i64, Opening> {
    let mut levelled = openings.clone();
    let bought = ledger(openings).bought_minor;
    let counted = openings.values().fold(0_i64, |sum, opening| sum.saturating_add(opening.counted_minor));
    let mut excess = counted.saturating_sub(bought).max(0);
    for opening in levelled.values_mut() {
        let less = excess.min(opening.counted_minor);
        opening.counted_minor -= less;
        opening.unmatched_minor = opening.unmatched_minor.saturating_add(less);
        excess -= less;
    }
    levelled
}

/// Whether all that counts as given back in the balances was bought in them: in all, and of each subject that keeps a part of its orders,
/// which would not be there for it where the subject is another customer again.
fn is_settled(openings: &BTreeMap<i64, Opening>, half_gone: &HashSet<i64>) -> bool {
    let counted = openings.values().fold(0_i64, |sum, opening| sum.saturating_add(opening.counted_minor));
    let backed = |(subject, opening): (&i64, &Opening)| {
        !half_gone.contains(subject) || opening.counted_minor <= opening.gross_minor
    };
    counted == ledger(openings).returned_minor && openings.iter().all(backed)
}

/// What the balances of a customer amount to.
fn ledger(openings: &BTreeMap<i64, Opening>) -> Ledger {
    let sum = |part: fn(&Opening) -> i64| openings.values().map(part).fold(0, i64::saturating_add);
    let (bought, counted) = (sum(|opening| opening.gross_minor), sum(|opening| opening.counted_minor));
    Ledger { bought_minor: bought, returned_minor: counted.min(bought) }
}

/// Orders as refunds are settled against them.
fn bare<'a>(orders: impl Iterator<Item = &'a (PurchaseKey, OrderFact)>) -> Vec<OrderFact> {
    let bare = |(_, it): &(PurchaseKey, OrderFact)| OrderFact {
        at: it.at,
        amount_minor: it.amount_minor,
        ..OrderFact::default()
    };
    orders.map(bare).collect()
}

/// The purchase that a refund names, with its instant, if it is there.
fn purchase_of(refund: &RefundFact) -> Option<(&PurchaseKey, Instant)> {
    match &refund.purchase {
        Purchase::Known { key, at, .. } => Some((key, *at)),
        Purchase::Any | Purchase::Dropped | Purchase::Missing => None,
    }
}

fn key_of(refund: RefundFact) -> PurchaseKey {
    (refund.subject_id, refund.id.0, refund.id.1)
}

#[cfg(test)]
mod tests;
