//! Netting: how much of each refund counts. A refund takes back what its purchase amounts to, and never more.

use super::{Ledger, OrderFact};
use quintile_domain::time::{Instant, MIN_INSTANT};
use std::collections::HashMap;

/// The subject, source and event id of a purchase.
pub type PurchaseKey = (i64, String, String);

/// The purchase of a refund.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purchase {
    /// None in particular: all that the customer had bought.
    Any,
    /// One that was folded into the opening balance: it counts as of none in particular, and was bought before everything that is there.
    Dropped,
    /// One that is not there, or whose worth is not known.
    Missing,
    /// This one.
    Known {
        /// What identifies it.
        key: PurchaseKey,
        /// When it was bought.
        at: Instant,
        /// What it cost, in minor units of the base currency.
        amount_minor: i64,
    },
}

/// A refund, as far as features depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundFact {
    /// When it was given.
    pub at: Instant,
    /// Whose it is.
    pub subject_id: i64,
    /// Source and event id: refunds of one instant count in the order of these.
    pub id: (String, String),
    /// How much, in minor units of the base currency.
    pub amount_minor: i64,
    /// Of which purchase.
    pub purchase: Purchase,
}

/// What became of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// When it was given.
    pub at: Instant,
    /// Whose it is.
    pub subject_id: i64,
    /// Source and event id.
    pub id: (String, String),
    /// When its purchase was made. `None`: it is of none in particular, or of none that is there.
    pub bought_at: Option<Instant>,
    /// How much of it counts, in minor units.
    pub counted_minor: i64,
    /// How much of it does not, for want of a purchase.
    pub waiting_minor: i64,
}

/// Nets the refunds before `as_of` against `orders`, which are sorted by instant, in the order of their instants and ids. A refund counts up to
/// what is left of its purchase, and of all that was bought until then; one that names no purchase, up to the latter alone. All of `opening`
/// was before. Sorts `refunds`.
pub fn settle(opening: Ledger, orders: &[OrderFact], refunds: &mut [RefundFact], as_of: Instant) -> Vec<Settled> {
    refunds.sort_unstable_by(|a, b| (a.at, &a.id, a.subject_id).cmp(&(b.at, &b.id, b.subject_id)));
    if refunds.is_empty() {
        return Vec::new();
    }
    let bought: Vec<i64> = orders
        .iter()
        .scan(opening.bought_minor, |total, order| {
            *total = total.saturating_add(order.amount_minor);
            Some(*total)
        })
        .collect();
    let bought_until = |at: Instant| {
        let orders_until = orders.partition_point(|order| order.at <= at);
        if orders_until == 0 { opening.bought_minor } else { bought[orders_until - 1] }
    };
    let mut returned: HashMap<&PurchaseKey, i64> = HashMap::new();
    let mut returned_in_all = opening.returned_minor;
    let mut settled = Vec::with_capacity(refunds.len());
    for refund in refunds.iter().take_while(|refund| refund.at < as_of) {
        let left = match &refund.purchase {
            Purchase::Any | Purchase::Dropped => bought_until(refund.at).saturating_sub(returned_in_all),
            Purchase::Known { key, at, amount_minor } if *at < as_of => {
                let left = amount_minor.saturating_sub(returned.get(key).copied().unwrap_or_default());
                left.min(bought_until(refund.at.max(*at)).saturating_sub(returned_in_all))
            }
            Purchase::Known { .. } | Purchase::Missing => 0,
        };
        let counted_minor = refund.amount_minor.min(left.max(0));
        returned_in_all = returned_in_all.saturating_add(counted_minor);
        if let Purchase::Known { key, .. } = &refund.purchase {
            *returned.entry(key).or_default() += counted_minor;
        }
        settled.push(Settled {
            at: refund.at,
            subject_id: refund.subject_id,
            id: refund.id.clone(),
            bought_at: match refund.purchase {
                Purchase::Known { at, .. } => Some(at),
                Purchase::Dropped => Some(MIN_INSTANT),
                Purchase::Any | Purchase::Missing => None,
            },
            counted_minor,
            waiting_minor: refund.amount_minor - counted_minor,
        });
    }
    settled
}
