//! Opening balances: what facts that are kept no longer amount to, as far as features need it for life. One belongs to a subject and not to a
//! customer, so that who is merged with whom changes no balance.

use super::cases::LastWords;
use super::{FeedbackFact, InteractionFact, OrderFact, Settled};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::FeedbackKind;
use quintile_store::idempotency::body_hash;
use std::collections::{BTreeMap, BTreeSet};

/// What the facts of a subject that are kept no longer amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The first order. `None`: no order.
    pub first_order: Option<Instant>,
    /// The last order.
    pub last_order: Option<Instant>,
    /// Orders.
    pub orders: i64,
    /// What was bought, in minor units of the base currency.
    pub gross_minor: i64,
    /// Profit of the orders that say it. `None`: none does.
    pub profit_minor: Option<i64>,
    /// The local days with an order.
    pub days: BTreeSet<i32>,
    /// The first of them, and what was bought on it.
    pub first_day: Option<(i32, i64)>,
    /// Revenue by category.
    pub categories: BTreeMap<String, i64>,
    /// The [`mark`]s of the orders: by them a refund that comes later is known to be of one of these.
    pub marks: BTreeSet<u64>,
    /// Refunds.
    pub refunds: i64,
    /// How much of them counts.
    pub counted_minor: i64,
    /// How much of them does not, and does no more.
    pub unmatched_minor: i64,
    /// Interactions.
    pub interactions: i64,
    /// The last interaction.
    pub last_interaction: Option<Instant>,
    /// Feedback.
    pub feedback: i64,
    /// The sum of the satisfaction scores.
    pub csat_sum: i64,
    /// How many these are.
    pub csat_count: i64,
    /// The latest willingness to recommend, with its instant.
    pub nps: Option<(Instant, i64)>,
    /// The last low score.
    pub last_low_score: Option<Instant>,
    /// Tickets and complaints, with what was said last of each: a later fact may resolve one.
    pub cases: LastWords,
}

/// The mark of an order: enough to tell it from others, and to tell nothing of it.
pub fn mark(source: &str, event_id: &str) -> u64 {
    let hash = body_hash(format!("{} {source} {event_id}", source.len()).as_bytes());
    hash.iter().take(8).fold(0, |mark, byte| (mark << 8) | u64::from(*byte))
}

impl Opening {
    /// Takes an order in, which was bought on a local day.
    pub fn add_order(&mut self, order: &OrderFact, day: i32, mark: u64) {
        let first_day = Some((day, order.amount_minor));
        self.first_order = earliest(self.first_order, Some(order.at));
        self.last_order = self.last_order.max(Some(order.at));
        self.orders += 1;
        self.gross_minor = self.gross_minor.saturating_add(order.amount_minor);
        self.profit_minor = added(self.profit_minor, order.profit_minor);
        self.days.insert(day);
        self.first_day = first_of(self.first_day, first_day);
        for line in order.lines.iter().filter(|line| !line.category.is_empty()) {
            self.add_category(&line.category, line.amount_minor.unwrap_or_default());
        }
        self.marks.insert(mark);
    }

    /// Takes in what became of a refund.
    pub fn add_refund(&mut self, settled: &Settled) {
        self.refunds += 1;
        self.counted_minor = self.counted_minor.saturating_add(settled.counted_minor);
        self.unmatched_minor = self.unmatched_minor.saturating_add(settled.waiting_minor);
    }

    /// Takes an interaction in.
    pub fn add_interaction(&mut self, interaction: &InteractionFact) {
        self.interactions += 1;
        self.last_interaction = self.last_interaction.max(Some(interaction.at));
        if let Some(case) = &interaction.case {
            self.add_case((case.complaint, case.id.clone()), (interaction.at, case.resolved));
        }
    }

    /// Takes feedback in.
    pub fn add_feedback(&mut self, feedback: &FeedbackFact) {
        self.feedback += 1;
        self.last_low_score = self.last_low_score.max(feedback.low_score_at());
        let Some(score) = feedback.score else { return };
        match feedback.kind {
            FeedbackKind::Csat => {
                self.csat_sum += score;
                self.csat_count += 1;
            }
            FeedbackKind::Nps => self.nps = self.nps.max(Some((feedback.at, score))),
            _ => {}
        }
    }

    /// Takes in the balance of another subject of the same customer.
    pub fn add(&mut self, other: &Self) {
        self.first_order = earliest(self.first_order, other.first_order);
        self.last_order = self.last_order.max(other.last_order);
        self.orders += other.orders;
        self.gross_minor = self.gross_minor.saturating_add(other.gross_minor);
        self.profit_minor = added(self.profit_minor, other.profit_minor);
        self.days.extend(&other.days);
        self.first_day = first_of(self.first_day, other.first_day);
        for (category, revenue) in &other.categories {
            self.add_category(category, *revenue);
        }
        self.marks.extend(&other.marks);
        self.refunds += other.refunds;
        self.counted_minor = self.counted_minor.saturating_add(other.counted_minor);
        self.unmatched_minor = self.unmatched_minor.saturating_add(other.unmatched_minor);
        self.interactions += other.interactions;
        self.last_interaction = self.last_interaction.max(other.last_interaction);
        self.feedback += other.feedback;
        self.csat_sum += other.csat_sum;
        self.csat_count += other.csat_count;
        self.nps = self.nps.max(other.nps);
        self.last_low_score = self.last_low_score.max(other.last_low_score);
        for (case, word) in &other.cases {
            self.add_case(case.clone(), *word);
        }
    }

    /// What the refunds that are kept are settled against.
    pub fn ledger(&self) -> Ledger {
        Ledger { bought_minor: self.gross_minor, returned_minor: self.counted_minor.min(self.gross_minor) }
    }

    /// How much of the refunds does not count. A refund that took back what another identity of the customer had bought does not count
    /// where that is another customer again.
    pub fn unmatched_minor(&self) -> i64 {
        self.unmatched_minor.saturating_add(self.counted_minor.saturating_sub(self.ledger().returned_minor))
    }

    fn add_category(&mut self, category: &str, revenue: i64) {
        let total = self.categories.entry(category.to_owned()).or_default();
        *total = total.saturating_add(revenue);
    }

    fn add_case(&mut self, case: (bool, (String, String)), word: (Instant, bool)) {
        let last = self.cases.entry(case).or_insert(word);
        *last = (*last).max(word);
    }
}

/// What was bought, and how much of it was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What was bought, in minor units.
    pub bought_minor: i64,
    /// What was given back of it, in minor units.
    pub returned_minor: i64,
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

fn added(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

/// The first of two first days. What was bought on one day is added.
fn first_of(one: Option<(i32, i64)>, other: Option<(i32, i64)>) -> Option<(i32, i64)> {
    match (one, other) {
        (Some((day, one)), Some((same, other))) if day == same => Some((day, one.saturating_add(other))),
        (one, other) => one.into_iter().chain(other).min_by_key(|(day, _)| *day),
    }
}
