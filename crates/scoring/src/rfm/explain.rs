//! Why a customer has its scores, and what would change them.

use quintile_domain::time::{Instant, TimeZone};

use super::{CutOffs, Dimension, RfmInput, RfmModel, days_between, higher_is_better, lower_is_better};

/// Why one dimension has its score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimensionReason {
    /// The dimension: `recency`, `frequency` or `monetary`.
    pub name: &'static str,
    /// The score, 1 to 5. 0: no order.
    pub score: u8,
    /// The input: days, orders, or minor units of the base currency. `None`: no order.
    pub input: Option<i64>,
    /// The model's cut-offs for the dimension, ascending, in the unit of the input.
    pub cut_offs: CutOffs,
    /// The least change of the input that gives the next better score: days fewer, orders or minor units more.
    /// Positive. `None`: the score is the best, or no order.
    pub to_next_better: Option<i64>,
    /// The least change of the input that lowers the score: days more, orders or minor units fewer. Positive. `None`:
    /// the score is the lowest, or no order.
    pub to_next_worse: Option<i64>,
    /// The bin of the score in words, such as `between 3 and 4 orders`. It tells nothing that score and model do not.
    pub reason: String,
}

/// The inputs that share a score. `None`: open on that side.
struct Bin {
    least: Option<i64>,
    most: Option<i64>,
}

impl RfmModel {
    /// Why a customer has its scores as of an instant: recency, frequency and monetary, in this order.
    pub fn explain(&self, input: &RfmInput, as_of: Instant, zone: &TimeZone) -> [DimensionReason; 3] {
        let dimensions = [Dimension::Recency, Dimension::Frequency, Dimension::Monetary];
        let Some(last_order) = input.last_order else {
            return dimensions.map(|dimension| without_order(dimension, self.cut_offs(dimension)));
        };
        dimensions.map(|dimension| {
            let value = match dimension {
                Dimension::Recency => days_between(last_order, as_of, zone),
                Dimension::Frequency => input.orders,
                Dimension::Monetary => input.revenue_minor,
            };
            of_value(dimension, self.cut_offs(dimension), value)
        })
    }
}

fn without_order(dimension: Dimension, cut_offs: CutOffs) -> DimensionReason {
    DimensionReason {
        name: dimension.name(),
        score: 0,
        input: None,
        cut_offs,
        to_next_better: None,
        to_next_worse: None,
        reason: "no order".to_owned(),
    }
}

fn of_value(dimension: Dimension, cut_offs: CutOffs, value: i64) -> DimensionReason {
    let (score, bin) = match dimension {
        Dimension::Recency => (lower_is_better(&cut_offs, value), closed_above(&cut_offs, value)),
        Dimension::Frequency | Dimension::Monetary => {
            (higher_is_better(&cut_offs, value), closed_below(&cut_offs, value))
        }
    };
    // Out of the bin by one on either side; a net loss near the end of its type must not wrap around.
    let to_above = bin.most.map(|most| most.saturating_sub(value).saturating_add(1));
    let to_below = bin.least.map(|least| value.saturating_sub(least).saturating_add(1));
    let (to_next_better, to_next_worse) = match dimension {
        Dimension::Recency => (to_below, to_above),
        Dimension::Frequency | Dimension::Monetary => (to_above, to_below),
    };
    DimensionReason {
        name: dimension.name(),
        score,
        input: Some(value),
        cut_offs,
        to_next_better,
        to_next_worse,
        reason: in_words(dimension, &bin),
    }
}

/// The bin `(cut-off, next cut-off]` of a value: how lower is better divides.
fn closed_above(cut_offs: &CutOffs, value: i64) -> Bin {
    let below = cut_offs.partition_point(|cut_off| *cut_off < value);
    Bin {
        least: below.checked_sub(1).map(|index| cut_offs[index].saturating_add(1)),
        most: cut_offs.get(below).copied(),
    }
}

/// The bin `[cut-off, next cut-off)` of a value: how higher is better divides.
fn closed_below(cut_offs: &CutOffs, value: i64) -> Bin {
    let reached = cut_offs.partition_point(|cut_off| *cut_off <= value);
    Bin {
        least: reached.checked_sub(1).map(|index| cut_offs[index]),
        most: cut_offs.get(reached).map(|cut_off| cut_off - 1),
    }
}

fn in_words(dimension: Dimension, bin: &Bin) -> String {
    let (one, many) = match dimension {
        Dimension::Recency => ("day since the last order", "days since the last order"),
        Dimension::Frequency => ("order", "orders"),
        Dimension::Monetary => ("minor unit of revenue", "minor units of revenue"),
    };
    let unit = |amount: i64| if amount == 1 { one } else { many };
    match (bin.least, bin.most) {
        (None, None) => format!("any number of {many}"),
        (None, Some(most)) => format!("at most {most} {}", unit(most)),
        (Some(least), None) => format!("at least {least} {}", unit(least)),
        (Some(least), Some(most)) if least == most => format!("exactly {least} {}", unit(least)),
        (Some(least), Some(most)) => format!("between {least} and {most} {many}"),
    }
}
