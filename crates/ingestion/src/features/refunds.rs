//! Netting: how much of each refund counts. A refund takes back what its purchase amounts to, and never more.

use super::{Ledger, OrderFact};
use quintile_domain::time::{Instant, MIN_INSTANT};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

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
    let mut till = Till::new(opening, orders);
    let mut settled = Vec::with_capacity(refunds.len());
    for refund in refunds.iter().take_while(|refund| refund.at < as_of) {
        let left = match &refund.purchase {
            Purchase::Any | Purchase::Dropped => till.left_at(refund.at),
            Purchase::Known { key, at, amount_minor } if *at < as_of => {
                let left = amount_minor.saturating_sub(till.returned_of(key));
                // Of what is bought only later, nothing but refunds that name it has taken anything yet.
                if *at > refund.at { left } else { left.min(till.left_at(refund.at)) }
            }
            Purchase::Known { .. } | Purchase::Missing => 0,
        };
        let counted_minor = refund.amount_minor.min(left.max(0));
        till.give_back(refund, counted_minor);
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

/// What was bought and given back, as refunds are settled in the order of their instants.
struct Till<'a> {
    orders: &'a [OrderFact],
    /// What was bought before each order and with it, what an opening says included.
    bought: Vec<i64>,
    bought_before: i64,
    /// What was given back of what was bought until the last instant that was asked for.
    returned: i64,
    /// What was given back of purchases that were made later than the refund, by the purchase's instant; the earliest comes out first.
    returned_early: BinaryHeap<Reverse<(Instant, i64)>>,
    of_purchase: HashMap<&'a PurchaseKey, i64>,
}

impl<'a> Till<'a> {
    fn new(opening: Ledger, orders: &'a [OrderFact]) -> Self {
        let bought = orders.iter().scan(opening.bought_minor, |total, order| {
            *total = total.saturating_add(order.amount_minor);
            Some(*total)
        });
        Self {
            orders,
            bought: bought.collect(),
            bought_before: opening.bought_minor,
            returned: opening.returned_minor,
            returned_early: BinaryHeap::new(),
            of_purchase: HashMap::new(),
        }
    }

    /// What is left of all that was bought until an instant, which is no earlier than the last one.
    fn left_at(&mut self, at: Instant) -> i64 {
        while self.returned_early.peek().is_some_and(|Reverse((bought_at, _))| *bought_at <= at) {
            let minor = self.returned_early.pop().map_or(0, |Reverse((_, minor))| minor);
            self.returned = self.returned.saturating_add(minor);
        }
        let orders_until = self.orders.partition_point(|order| order.at <= at);
        let bought = orders_until.checked_sub(1).map_or(self.bought_before, |last| self.bought[last]);
        bought.saturating_sub(self.returned)
    }

    /// How much of a purchase was given back.
    fn returned_of(&self, key: &PurchaseKey) -> i64 {
        self.of_purchase.get(key).copied().unwrap_or_default()
    }

    fn give_back(&mut self, refund: &'a RefundFact, minor: i64) {
        if let Purchase::Known { key, at, .. } = &refund.purchase {
            *self.of_purchase.entry(key).or_default() += minor;
            if *at > refund.at {
                self.returned_early.push(Reverse((*at, minor)));
                return;
            }
        }
        self.returned = self.returned.saturating_add(minor);
    }
}
