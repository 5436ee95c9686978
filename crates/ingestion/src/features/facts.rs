//! The facts of a customer, as features and traits need them.

use super::{CaseEvent, Opening, RefundFact};
use crate::responses;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::FeedbackKind;

/// An order, as far as features depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFact {
    /// When it was bought.
    pub at: Instant,
    /// What it cost, in minor units of the base currency.
    pub amount_minor: i64,
    /// What was earned, in minor units of the base currency. `None`: not known.
    pub profit_minor: Option<i64>,
    /// The channel. Empty: not known.
    pub channel: String,
    /// The lines.
    pub lines: Vec<LineFact>,
}

/// A line of an order, as far as features depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineFact {
    /// The product.
    pub product: String,
    /// The product's category. Empty: not known.
    pub category: String,
    /// Pieces.
    pub quantity: i64,
    /// What was paid, in minor units of the base currency. `None`: not known.
    pub amount_minor: Option<i64>,
    /// What it cost the company, in minor units of the base currency. `None`: not known.
    pub cost_minor: Option<i64>,
}

/// An interaction, as far as features depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InteractionFact {
    /// When.
    pub at: Instant,
    /// The number of its kind.
    pub kind: i32,
    /// The channel. Empty: not known.
    pub channel: String,
    /// What it was about. Empty: not known.
    pub about: String,
    /// What it says of a ticket or a complaint.
    pub case: Option<CaseEvent>,
}

/// Feedback, as far as features depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackFact {
    /// When.
    pub at: Instant,
    /// The scale.
    pub kind: FeedbackKind,
    /// The score. `None`: not applicable.
    pub score: Option<i64>,
    /// The channel. Empty: not known.
    pub channel: String,
    /// What it is about. Empty: the company.
    pub about: String,
}

impl FeedbackFact {
    /// When it was given, of a low score: as it is answered by.
    pub fn low_score_at(&self) -> Option<Instant> {
        let kind = responses::Kind::of_feedback(self.kind, self.score);
        (kind == Some(responses::Kind::LowScore)).then_some(self.at)
    }
}

/// The facts of one customer, in the tenant's base currency, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerFacts {
    /// The orders.
    pub orders: Vec<OrderFact>,
    /// The refunds.
    pub refunds: Vec<RefundFact>,
    /// The interactions.
    pub interactions: Vec<InteractionFact>,
    /// The feedback.
    pub feedback: Vec<FeedbackFact>,
    /// When each of those first bought whom the customer has sent.
    pub referred: Vec<Instant>,
    /// What was read to know that: everybody who names the customer, whether or not they have bought, and their orders.
    pub behind_referred: i64,
    /// Facts that are not among these, because no exchange rate is there.
    pub without_rate: i64,
    /// What facts that are kept no longer amount to.
    pub opening: Opening,
}

impl CustomerFacts {
    /// How many facts and referrals were read, whatever comes of them.
    pub fn read(&self) -> i64 {
        let listed = self.orders.len() + self.refunds.len() + self.interactions.len() + self.feedback.len();
        listed as i64 + self.without_rate + self.behind_referred
    }

    /// Brings every kind into one order, and breaks every tie by content, so that the order of arrival can't show.
    pub fn sort(&mut self) {
        self.orders.sort_unstable_by(|a, b| {
            let key = |it: &OrderFact| (it.at, it.amount_minor, it.profit_minor);
            key(a).cmp(&key(b)).then_with(|| (&a.channel, &a.lines).cmp(&(&b.channel, &b.lines)))
        });
        self.interactions.sort_unstable_by(|a, b| {
            let key = |it: &InteractionFact| (it.at, it.kind);
            key(a).cmp(&key(b)).then_with(|| (&a.channel, &a.about).cmp(&(&b.channel, &b.about)))
        });
        self.feedback.sort_unstable_by(|a, b| {
            let key = |it: &FeedbackFact| (it.at, it.kind as i32, it.score);
            key(a).cmp(&key(b)).then_with(|| (&a.channel, &a.about).cmp(&(&b.channel, &b.about)))
        });
        self.referred.sort_unstable();
    }
}
