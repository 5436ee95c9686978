//! Why a customer has its scores, and what would change them.

use super::cut_offs::{Bin, CutOffs, Direction};
use super::feature::{Unit, Value};
use super::{At, Definition, Dimension, Scale};
use quintile_domain::money::{Currency, with_decimals};

/// Why one dimension has its score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimensionReason {
    /// The score, 1 to `bins`. 0: none.
    pub score: u8,
    /// The input, in the unit of the feature. `None`: none, or a text.
    pub input: Option<i64>,
    /// The input of a feature that is a text.
    pub text: Option<String>,
    /// The least change of the input that gives a better score: days fewer, orders or minor units more. Positive. `None`: the score is the best, or
    /// there is no input.
    pub to_next_better: Option<i64>,
    /// The least change of the input that lowers the score. Positive. `None`: the score is the lowest, or there is no input.
    pub to_next_worse: Option<i64>,
    /// The bin of the score in words, such as `between 3 and 4 orders`. It tells nothing that score and model do not.
    pub reason: String,
    /// The composite if this score were the next better that can be had, all others the same. `None`: there is none, or no such score.
    pub composite_if_better: Option<u8>,
}

impl Definition {
    /// Why these values, one for each dimension, have their scores as of an instant.
    pub fn explain(&self, values: &[Value<'_>], at: &At<'_>) -> Vec<DimensionReason> {
        let scores = self.score_values(values.iter().copied(), at).scores;
        let reasons = self.dimensions.iter().zip(values).enumerate().map(|(place, (dimension, value))| {
            let mut reason = dimension.explain(*value, at);
            if let Some(better) = dimension.next_better(*value, at) {
                let mut scores = scores.clone();
                scores[place] = better;
                reason.composite_if_better = self.composite(&scores);
            }
            reason
        });
        reasons.collect()
    }
}

impl Dimension {
    fn explain(&self, value: Value<'_>, at: &At<'_>) -> DimensionReason {
        let without = |reason: &str| DimensionReason {
            score: self.score(value, at),
            input: None,
            text: None,
            to_next_better: None,
            to_next_worse: None,
            reason: reason.to_owned(),
            composite_if_better: None,
        };
        match (&self.scale, value) {
            (Scale::Numbers(cut_offs), Value::Number(number)) if cut_offs.are_found() => {
                self.of_number(cut_offs, number, at)
            }
            (Scale::Numbers(cut_offs), Value::Day(day)) if cut_offs.are_found() => {
                self.of_number(cut_offs, at.days_since(day), at)
            }
            (Scale::Numbers(_), Value::Number(_) | Value::Day(_)) => without("the cut-offs are not found yet"),
            (Scale::Texts(points), Value::Text(text)) => {
                let known = if points.of.contains_key(text) { "one of the categories" } else { "another category" };
                DimensionReason { text: Some(text.to_owned()), ..without(known) }
            }
            (Scale::Numbers(_) | Scale::Texts(_), _) => without(self.without_value()),
        }
    }

    fn without_value(&self) -> &'static str {
        match self.feature.name().as_str() {
            "days_since(last_order_at)" | "days_since(first_order_at)" | "orders" | "revenue" => "no order",
            _ => "no value",
        }
    }

    fn of_number(&self, cut_offs: &CutOffs, value: i64, at: &At<'_>) -> DimensionReason {
        let bin = self.possible(cut_offs.bin(value));
        // Out of the bin by one on either side; a net loss near the end of its type must not wrap around.
        let to_above = bin.most.map(|most| most.saturating_sub(value).saturating_add(1));
        let to_below = bin.least.map(|least| value.saturating_sub(least).saturating_add(1));
        let (to_next_better, to_next_worse) = match cut_offs.direction {
            Direction::Higher => (to_above, to_below),
            Direction::Lower => (to_below, to_above),
        };
        DimensionReason {
            score: cut_offs.score(value),
            input: Some(value),
            text: None,
            to_next_better,
            to_next_worse,
            reason: self.in_words(&bin, at.conventions.currency),
            composite_if_better: None,
        }
    }

    /// A bin without what no value can be: there are no fewer days than none.
    fn possible(&self, bin: Bin) -> Bin {
        let are_days = self.feature.unit() == Unit::Days;
        Bin { least: bin.least.filter(|least| !are_days || *least > 0), ..bin }
    }

    /// The next better score that a value can get by a change.
    fn next_better(&self, value: Value<'_>, at: &At<'_>) -> Option<u8> {
        let Scale::Numbers(cut_offs) = &self.scale else { return None };
        let number = match value {
            Value::Number(number) => number,
            Value::Day(day) => at.days_since(day),
            Value::Text(_) | Value::Missing => return None,
        };
        let bin = self.possible(cut_offs.bin(number));
        let beyond = match cut_offs.direction {
            Direction::Higher => bin.most?.saturating_add(1),
            Direction::Lower => bin.least?.saturating_sub(1),
        };
        Some(cut_offs.score(beyond))
    }

    fn in_words(&self, bin: &Bin, currency: Currency) -> String {
        let (one, many) = self.words(currency);
        let decimals = match self.feature.unit() {
            Unit::Minor => currency.minor_digits(),
            Unit::Thousandths => 3,
            Unit::Days | Unit::Count(_) | Unit::Text | Unit::Trait => 0,
        };
        let spelled = |number: i64| with_decimals(number, decimals);
        let unit = |amount: i64| if amount == 1 { one.as_str() } else { many.as_str() };
        match (bin.least, bin.most) {
            (None, None) => format!("any number of {many}"),
            (None, Some(most)) => format!("at most {} {}", spelled(most), unit(most)),
            (Some(least), None) => format!("at least {} {}", spelled(least), unit(least)),
            (Some(least), Some(most)) if least == most => format!("exactly {} {}", spelled(least), unit(least)),
            (Some(least), Some(most)) => format!("between {} and {} {many}", spelled(least), spelled(most)),
        }
    }

    /// One of what the feature counts, and many.
    fn words(&self, currency: Currency) -> (String, String) {
        let name = self.feature.name();
        let alike = |words: String| (words.clone(), words);
        match self.feature.unit() {
            Unit::Days => {
                let event = name.trim_start_matches("days_since(").trim_end_matches("_at)").replace('_', " ");
                (format!("day since the {event}"), format!("days since the {event}"))
            }
            Unit::Count(many) => {
                let one = many
                    .strip_suffix("ies")
                    .map_or_else(|| many.trim_end_matches('s').to_owned(), |stem| format!("{stem}y"));
                (one, many.to_owned())
            }
            Unit::Minor => alike(format!("{} of {}", currency.code(), name.replace('_', " "))),
            Unit::Thousandths => alike(format!("of {}", name.replace('_', " "))),
            Unit::Text | Unit::Trait => alike(format!("of {name}")),
        }
    }
}
