//! The facts that traits are computed from, as rows of the rule language, and the fields that they have.
//!
//! To add a field, name it in [`fields_of`], give its value in [`FactRow::get`], and document it at `TraitFact`.

use crate::features::{CustomerFacts, FeedbackFact, InteractionFact, LineFact, OrderFact, RefundFact};
use quintile_domain::masking::Sensitivity;
use quintile_domain::time::Instant;
use quintile_expr::{Field, Row, Type, ValueRef};
use quintile_proto::ingestion::TraitFact;

/// What interactions are called in rules, by the number of their kind.
const INTERACTIONS: [&str; 14] = [
    "",
    "visit",
    "page_view",
    "search",
    "cart",
    "email_open",
    "click",
    "call",
    "meeting",
    "support_ticket",
    "complaint",
    "social_post",
    "check_in",
    "device_reading",
];
/// What scales of feedback are called in rules, by their number.
const FEEDBACK: [&str; 6] = ["", "csat", "nps", "ces", "stars", "comment"];

const AT: u16 = 1;
const AMOUNT: u16 = 2;
const PROFIT: u16 = 3;
const COST: u16 = 4;
const CHANNEL: u16 = 5;
const LINES: u16 = 6;
const QUANTITY: u16 = 7;
const PRODUCT: u16 = 8;
const CATEGORY: u16 = 9;
const KIND: u16 = 10;
const ABOUT: u16 = 11;
const SCORE: u16 = 12;

/// Every field of every kind of fact.
const ALL: [(u16, &str, Type, &str); 12] = [
    (AT, "at", Type::Instant, "when it happened"),
    (AMOUNT, "amount", Type::Money, "what was paid, or given back"),
    (PROFIT, "profit", Type::Money, "what the company earned by it"),
    (COST, "cost", Type::Money, "what it cost the company"),
    (CHANNEL, "channel", Type::Text, "the channel"),
    (LINES, "lines", Type::Int, "how many lines the order has"),
    (QUANTITY, "quantity", Type::Int, "pieces"),
    (PRODUCT, "product", Type::Text, "the product"),
    (CATEGORY, "category", Type::Text, "the product's category"),
    (KIND, "kind", Type::Text, "the kind of interaction, or the scale of feedback"),
    (ABOUT, "about", Type::Text, "what it was about"),
    (SCORE, "score", Type::Int, "the score"),
];

/// The fields of a kind of fact.
pub fn fields_of(fact: TraitFact) -> Vec<Field> {
    let has: &[u16] = match fact {
        TraitFact::Unspecified => &[],
        TraitFact::Order => &[AT, AMOUNT, PROFIT, CHANNEL, LINES, QUANTITY],
        TraitFact::OrderLine => &[AT, CHANNEL, PRODUCT, CATEGORY, QUANTITY, AMOUNT, COST],
        TraitFact::Refund => &[AT, AMOUNT],
        TraitFact::Interaction => &[AT, KIND, CHANNEL, ABOUT],
        TraitFact::Feedback => &[AT, KIND, SCORE, CHANNEL, ABOUT],
    };
    let fields = ALL.into_iter().filter(|(id, ..)| has.contains(id));
    fields
        .map(|(id, name, ty, description)| Field { id, name: name.into(), ty, description: description.into() })
        .collect()
}

/// What a field tells about a person: what the field of the contract that it comes from tells.
pub fn class_of(field: u16) -> Sensitivity {
    match field {
        AMOUNT | PROFIT | COST => Sensitivity::Financial,
        _ => Sensitivity::None,
    }
}

/// One fact.
#[derive(Clone, Copy, Debug)]
pub enum FactRow<'a> {
    /// An order.
    Order(&'a OrderFact),
    /// A line of an order.
    Line(&'a OrderFact, &'a LineFact),
    /// A refund.
    Refund(&'a RefundFact),
    /// An interaction.
    Interaction(&'a InteractionFact),
    /// Feedback.
    Feedback(&'a FeedbackFact),
}

impl<'a> FactRow<'a> {
    /// When it happened.
    pub fn at(self) -> Instant {
        match self {
            Self::Order(order) | Self::Line(order, _) => order.at,
            Self::Refund(refund) => refund.at,
            Self::Interaction(interaction) => interaction.at,
            Self::Feedback(feedback) => feedback.at,
        }
    }

    /// The value of a field; an empty text is none.
    pub fn get(self, field: u16) -> Option<ValueRef<'a>> {
        if field == AT {
            return Some(ValueRef::Instant(self.at().micros()));
        }
        match self {
            Self::Order(order) => match field {
                AMOUNT => Some(ValueRef::Int(order.amount_minor)),
                PROFIT => order.profit_minor.map(ValueRef::Int),
                CHANNEL => text(&order.channel),
                LINES => Some(ValueRef::Int(order.lines.len() as i64)),
                QUANTITY => Some(ValueRef::Int(pieces(order))),
                _ => None,
            },
            Self::Line(order, line) => match field {
                CHANNEL => text(&order.channel),
                PRODUCT => text(&line.product),
                CATEGORY => text(&line.category),
                QUANTITY => Some(ValueRef::Int(line.quantity)),
                AMOUNT => line.amount_minor.map(ValueRef::Int),
                COST => line.cost_minor.map(ValueRef::Int),
                _ => None,
            },
            Self::Refund(refund) => (field == AMOUNT).then_some(ValueRef::Int(refund.amount_minor)),
            Self::Interaction(interaction) => match field {
                KIND => named(&INTERACTIONS, interaction.kind),
                CHANNEL => text(&interaction.channel),
                ABOUT => text(&interaction.about),
                _ => None,
            },
            Self::Feedback(feedback) => match field {
                KIND => named(&FEEDBACK, feedback.kind as i32),
                SCORE => feedback.score.map(ValueRef::Int),
                CHANNEL => text(&feedback.channel),
                ABOUT => text(&feedback.about),
                _ => None,
            },
        }
    }
}

impl Row for FactRow<'_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        self.get(field)
    }

    fn in_segment(&self, _name: &str) -> bool {
        false
    }
}

fn text(text: &str) -> Option<ValueRef<'_>> {
    (!text.is_empty()).then_some(ValueRef::Text(text))
}

fn named(names: &'static [&'static str], number: i32) -> Option<ValueRef<'static>> {
    usize::try_from(number).ok().and_then(|number| names.get(number)).and_then(|name| text(name))
}

// Saturating, as all sums of facts are.
fn pieces(order: &OrderFact) -> i64 {
    order.lines.iter().fold(0, |pieces, line| pieces.saturating_add(line.quantity))
}

/// The facts of one kind in `[from, until)`, oldest first; `facts` are sorted.
pub fn rows<'a>(
    fact: TraitFact,
    facts: &'a CustomerFacts,
    from: Instant,
    until: Instant,
) -> Box<dyn Iterator<Item = FactRow<'a>> + 'a> {
    let orders = || between(&facts.orders, |it| it.at, from, until).iter();
    match fact {
        TraitFact::Unspecified => Box::new(std::iter::empty()),
        TraitFact::Order => Box::new(orders().map(FactRow::Order)),
        TraitFact::OrderLine => {
            Box::new(orders().flat_map(|order| order.lines.iter().map(move |line| FactRow::Line(order, line))))
        }
        TraitFact::Refund => Box::new(between(&facts.refunds, |it| it.at, from, until).iter().map(FactRow::Refund)),
        TraitFact::Interaction => {
            Box::new(between(&facts.interactions, |it| it.at, from, until).iter().map(FactRow::Interaction))
        }
        TraitFact::Feedback => {
            Box::new(between(&facts.feedback, |it| it.at, from, until).iter().map(FactRow::Feedback))
        }
    }
}

fn between<T>(facts: &[T], at: fn(&T) -> Instant, from: Instant, until: Instant) -> &[T] {
    let start = facts.partition_point(|fact| at(fact) < from);
    let end = facts.partition_point(|fact| at(fact) < until);
    &facts[start..end.max(start)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::ingestion::{FeedbackKind, InteractionKind};

    #[test]
    fn kinds_are_called_what_the_contracts_call_them() {
        let short = |name: &str, prefix: &str| name.strip_prefix(prefix).map(str::to_lowercase);
        for (number, name) in INTERACTIONS.into_iter().enumerate().skip(1) {
            let kind = InteractionKind::try_from(number as i32).unwrap().as_str_name();
            assert_eq!(short(kind, "INTERACTION_KIND_").as_deref(), Some(name));
        }
        assert!(InteractionKind::try_from(INTERACTIONS.len() as i32).is_err());
        for (number, name) in FEEDBACK.into_iter().enumerate().skip(1) {
            let kind = FeedbackKind::try_from(number as i32).unwrap().as_str_name();
            assert_eq!(short(kind, "FEEDBACK_KIND_").as_deref(), Some(name));
        }
        assert!(FeedbackKind::try_from(FEEDBACK.len() as i32).is_err());
    }
}
