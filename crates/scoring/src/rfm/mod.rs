//! Recency, frequency and monetary value, each scored 1 to 5 against fixed cut-offs.
//!
//! Pure: an input, an instant and a zone give scores, the instant at which time alone changes them, and
//! [the reasons](explain). It knows no stored or sent form of a model. To add a dimension, add it to [`Dimension`], to
//! [`RfmModel`] and to [`RfmScore`]; the compiler names the rest.

pub mod explain;

use quintile_domain::time::{Instant, TimeZone};
use thiserror::Error;

use quintile_domain::midnight::begin_of_later_day;

/// The cut-offs between the five scores of one dimension, strictly ascending.
pub type CutOffs = [i64; 4];

/// No currency of ISO 4217 has more than 4; up to here the greatest cut-off of the preset fits its type.
const MAX_MINOR_DIGITS: u32 = 15;

/// One of the three dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Local calendar days since the last order; lower is better.
    Recency,
    /// Orders; higher is better.
    Frequency,
    /// Revenue as the tenant counts it, in minor units of the base currency; higher is better.
    Monetary,
}

impl Dimension {
    /// The name in the API: `recency`, `frequency` or `monetary`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recency => "recency",
            Self::Frequency => "frequency",
            Self::Monetary => "monetary",
        }
    }
}

/// Why the parts of a model are refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RfmModelError {
    /// The version is 0 or negative.
    #[error("version: must be 1 or more")]
    Version,
    /// A cut-off is negative.
    #[error("{}: cut-offs must not be negative", .0.name())]
    Negative(Dimension),
    /// A cut-off is not above the one before it.
    #[error("{}: cut-offs must be strictly ascending", .0.name())]
    NotAscending(Dimension),
}

/// One version of an RFM model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RfmModel {
    version: i64,
    recency: CutOffs,
    frequency: CutOffs,
    monetary: CutOffs,
}

/// What is scored: the features of one customer as of an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RfmInput {
    /// The last order. `None`: no order, so no score.
    pub last_order: Option<Instant>,
    /// Orders so far.
    pub orders: i64,
    /// Revenue so far as the tenant counts it, in minor units of the base currency.
    pub revenue_minor: i64,
}

/// The scores of one customer, each 1 to 5, 5 best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RfmScore {
    /// The score of the days since the last order.
    pub recency: u8,
    /// The score of the number of orders.
    pub frequency: u8,
    /// The score of the revenue.
    pub monetary: u8,
}

impl RfmModel {
    /// A model of these cut-offs: `recency` in days, `frequency` in orders, `monetary` in minor units of the base
    /// currency.
    pub fn new(version: i64, recency: CutOffs, frequency: CutOffs, monetary: CutOffs) -> Result<Self, RfmModelError> {
        if version < 1 {
            return Err(RfmModelError::Version);
        }
        let dimensions =
            [(Dimension::Recency, recency), (Dimension::Frequency, frequency), (Dimension::Monetary, monetary)];
        for (dimension, cut_offs) in dimensions {
            if cut_offs.iter().any(|cut_off| *cut_off < 0) {
                return Err(RfmModelError::Negative(dimension));
            }
            if !cut_offs.is_sorted_by(|lower, upper| lower < upper) {
                return Err(RfmModelError::NotAscending(dimension));
            }
        }
        Ok(Self { version, recency, frequency, monetary })
    }

    /// The preset for retail, version 1: at most 30, 90, 180 and 365 days; 2, 3, 5 and 10 orders; 50, 100, 200 and 500
    /// major units of a currency with `minor_digits` decimals (2 for USD, 0 for JPY; more than 15 count as 15).
    pub fn retail(minor_digits: u32) -> Self {
        let minor_per_major = 10_i64.pow(minor_digits.min(MAX_MINOR_DIGITS));
        Self {
            version: 1,
            recency: [30, 90, 180, 365],
            frequency: [2, 3, 5, 10],
            monetary: [50, 100, 200, 500].map(|major| major * minor_per_major),
        }
    }

    /// The version, from 1.
    pub const fn version(&self) -> i64 {
        self.version
    }

    /// The cut-offs of a dimension, strictly ascending: days, orders, or minor units of the base currency.
    pub const fn cut_offs(&self, dimension: Dimension) -> CutOffs {
        match dimension {
            Dimension::Recency => self.recency,
            Dimension::Frequency => self.frequency,
            Dimension::Monetary => self.monetary,
        }
    }

    /// The scores as of an instant, by the local days of `zone`. `None`: no order.
    pub fn score(&self, input: &RfmInput, as_of: Instant, zone: &TimeZone) -> Option<RfmScore> {
        let last_order = input.last_order?;
        Some(RfmScore {
            recency: lower_is_better(&self.recency, days_between(last_order, as_of, zone)),
            frequency: higher_is_better(&self.frequency, input.orders),
            monetary: higher_is_better(&self.monetary, input.revenue_minor),
        })
    }

    /// The earliest instant after `as_of` at which time alone changes a score: the local midnight at which the days
    /// since the last order first exceed their next cut-off. `None`: no order, or the recency score is 1 already.
    pub fn next_change(&self, input: &RfmInput, as_of: Instant, zone: &TimeZone) -> Option<Instant> {
        let last_order = input.last_order?;
        let days = days_between(last_order, as_of, zone);
        let next_cut_off = *self.recency.iter().find(|cut_off| **cut_off >= days)?;
        let last_order_day = i64::from(zone.local_day(last_order));
        let change_day = last_order_day.saturating_add(next_cut_off).saturating_add(1);
        begin_of_later_day(zone, change_day, as_of)
    }
}

/// Local calendar days between an order and `as_of`. An order up to 5 minutes ahead counts as one of the same day.
fn days_between(last_order: Instant, as_of: Instant, zone: &TimeZone) -> i64 {
    (i64::from(zone.local_day(as_of)) - i64::from(zone.local_day(last_order))).max(0)
}

/// 1 plus the cut-offs at or above the value.
fn lower_is_better(cut_offs: &CutOffs, value: i64) -> u8 {
    1 + cut_offs.iter().filter(|cut_off| **cut_off >= value).count() as u8
}

/// 1 plus the cut-offs at or below the value.
fn higher_is_better(cut_offs: &CutOffs, value: i64) -> u8 {
    1 + cut_offs.iter().filter(|cut_off| **cut_off <= value).count() as u8
}

#[cfg(test)]
mod tests;
