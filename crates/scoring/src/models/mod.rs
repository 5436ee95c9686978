//! Score models: what a version defines, and how it scores one customer.
//!
//! Pure: a record, an instant and the tenant's conventions give scores, the instant at which time alone changes them, and
//! [the reasons](explain). It knows no stored or sent form of a model. To add a way of scoring, add it to [`cut_offs::Method`] or to [`Scale`]; the
//! compiler names the rest.

pub mod cut_offs;
pub mod explain;
#[cfg(test)]
mod falling;
pub mod feature;
pub mod grade;
pub mod presets;
#[cfg(test)]
mod tests;

use crate::value::ValueModel;
use cut_offs::{CutOffs, Method, Side};
use feature::{Conventions, Feature, Value};
use grade::Grading;
use quintile_domain::midnight::begin_of_later_day;
use quintile_domain::time::Instant;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::convert;
use std::collections::BTreeMap;

/// The model whose scores are recency, frequency and monetary value.
pub const RFM: &str = "rfm";
/// The model whose composite is the tenant's grading.
pub const GRADE: &str = "grade";
/// The dimensions of [`RFM`], in their order.
pub const RFM_DIMENSIONS: [&str; 3] = ["recency", "frequency", "monetary"];
/// The scores that each of them has.
pub const RFM_BINS: u8 = 5;
/// The most dimensions of a model.
pub const MAX_DIMENSIONS: usize = 16;

/// How far ahead it is looked when a score will have fallen, in days. Where it has not by then, it is looked again then.
pub(crate) const MAX_DAYS_AHEAD: i64 = 3_653;

/// What a version of a model defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What it is for.
    pub description: String,
    /// The dimensions.
    pub dimensions: Vec<Dimension>,
    /// How a grade is made. `None`: it has none.
    pub grading: Option<Grading>,
}

/// One dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Its id.
    pub name: String,
    /// What it scores.
    pub feature: Feature,
    /// How values become scores.
    pub scale: Scale,
    /// The score of who has no value. 0: none.
    pub missing: u8,
    /// What it weighs in the composite.
    pub weight: u32,
}

/// How values become scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Numbers, by cut-offs.
    Numbers(CutOffs),
    /// Texts, by what each is worth.
    Texts(Points),
}

/// What each category is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Points {
    /// The score of each.
    pub of: BTreeMap<String, u8>,
    /// The score of every other one. 0: as if there were no value.
    pub other: u8,
    /// How many scores there are.
    pub bins: u8,
}

/// The scores of a customer under one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scored {
    /// Of each dimension. 0: none.
    pub scores: Vec<u8>,
    /// The composite. `None`: no grade.
    pub composite: Option<u8>,
    /// The earliest later instant at which time alone changes a score. `None`: never.
    pub next_change: Option<Instant>,
}

/// Of when a customer is scored.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The instant.
    pub instant: Instant,
    /// Its local day, in days since 1970-01-01.
    pub day: i64,
    /// What days and money are counted in.
    pub conventions: Conventions<'a>,
    /// What says what customers will be worth. `None`: nothing does.
    pub valuing: Option<&'a ValueModel>,
}

impl<'a> At<'a> {
    /// An instant by a tenant's conventions.
    pub fn new(instant: Instant, conventions: Conventions<'a>) -> Self {
        Self { instant, day: i64::from(conventions.zone.local_day(instant)), conventions, valuing: None }
    }

    /// The same with what says what customers will be worth.
    #[must_use]
    pub const fn valued_by(self, valuing: Option<&'a ValueModel>) -> Self {
        Self { valuing, ..self }
    }

    /// Local calendar days since a day. One that is up to 5 minutes ahead counts as the same day.
    pub fn days_since(&self, day: i64) -> i64 {
        self.day.saturating_sub(day).max(0)
    }
}

impl Scale {
    /// How many scores there are.
    pub const fn bins(&self) -> u8 {
        match self {
            Self::Numbers(cut_offs) => cut_offs.bins,
            Self::Texts(points) => points.bins,
        }
    }

    /// Whether it can score, or a population has to be seen first.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Numbers(cut_offs) => cut_offs.are_found(),
            Self::Texts(_) => true,
        }
    }
}

impl Points {
    /// The score of a text. 0: as if there were no value.
    pub fn score(&self, text: &str) -> u8 {
        self.of.get(text).copied().unwrap_or(self.other)
    }
}

impl Dimension {
    /// Whether it scores by cut-offs that were found from what others have.
    pub fn is_found_from_others(&self) -> bool {
        match &self.scale {
            Scale::Numbers(cut_offs) => cut_offs.method != Method::Fixed,
            Scale::Texts(_) => false,
        }
    }

    /// Forgets cut-offs that were found, to find them anew.
    pub fn forget_found(&mut self) {
        if let Scale::Numbers(cut_offs) = &mut self.scale
            && cut_offs.method != Method::Fixed
        {
            cut_offs.edges.clear();
        }
    }

    /// The score of a value. 0: none.
    pub fn score(&self, value: Value<'_>, at: &At<'_>) -> u8 {
        let score = match (&self.scale, value) {
            (Scale::Numbers(cut_offs), Value::Number(number)) => cut_offs.score(number),
            (Scale::Numbers(cut_offs), Value::Day(day)) => cut_offs.score(at.days_since(day)),
            (Scale::Texts(points), Value::Text(text)) => points.score(text),
            // A number where texts are scored, as of a trait that was defined anew, is as good as none.
            (Scale::Numbers(_) | Scale::Texts(_), _) => 0,
        };
        if score == 0 { self.missing } else { score }
    }

    /// The earliest later instant at which time alone gives a customer another score in a feature that falls by the day. What was bought today counts
    /// from the next day on; after that it falls without end, so that the day on which the score changes is found by halving.
    pub fn falls_next(&self, record: &CustomerRecord, at: &At<'_>) -> Option<Instant> {
        if !self.feature.falls_by_day() {
            return None;
        }
        let (Scale::Numbers(cut_offs), Value::Number(value)) = (&self.scale, self.feature.value(record, at)) else {
            return None;
        };
        let score_on = |day: i64| self.score(self.feature.value(record, &At { day, ..*at }), at);
        let last = record.features.as_ref().and_then(|features| features.last_order_time.as_ref());
        let last = i64::from(at.conventions.zone.local_day(convert::sent_instant(last)?));
        let (mut same, mut other) = (at.day, at.day + MAX_DAYS_AHEAD);
        if last >= at.day {
            other = at.day + 1;
        } else if cut_offs.bin(value).least.is_none() {
            // There is no cut-off to fall under.
            return None;
        }
        let now = score_on(same);
        if score_on(other) != now {
            while other - same > 1 {
                let middle = i64::midpoint(same, other);
                if score_on(middle) == now { same = middle } else { other = middle }
            }
        }
        begin_of_later_day(at.conventions.zone, other, at.instant)
    }

    /// The earliest later instant at which time alone gives a value another score: the local midnight at which the days exceed or reach the next
    /// cut-off.
    fn next_change(&self, value: Value<'_>, at: &At<'_>) -> Option<Instant> {
        let (Scale::Numbers(cut_offs), Value::Day(day)) = (&self.scale, value) else { return None };
        let days = at.days_since(day);
        let changes_at = match cut_offs.side() {
            Side::Above => cut_offs.edges.iter().copied().find(|edge| *edge > days),
            Side::Below => cut_offs.edges.iter().find(|edge| **edge >= days).map(|edge| edge.saturating_add(1)),
        };
        begin_of_later_day(at.conventions.zone, day.saturating_add(changes_at?), at.instant)
    }
}

impl Definition {
    /// The scores of a customer.
    pub fn score(&self, record: &CustomerRecord, at: &At<'_>) -> Scored {
        let values = self.dimensions.iter().map(|dimension| dimension.feature.value(record, at));
        let mut scored = self.score_values(values, at);
        let falls = self.dimensions.iter().filter_map(|dimension| dimension.falls_next(record, at)).min();
        scored.next_change = [scored.next_change, falls].into_iter().flatten().min();
        scored
    }

    /// The scores of these values, one for each dimension.
    pub fn score_values<'a>(&self, values: impl Iterator<Item = Value<'a>>, at: &At<'_>) -> Scored {
        let mut scored = Scored { scores: Vec::with_capacity(self.dimensions.len()), ..Scored::default() };
        for (dimension, value) in self.dimensions.iter().zip(values) {
            scored.scores.push(dimension.score(value, at));
            let change = dimension.next_change(value, at);
            scored.next_change = [scored.next_change, change].into_iter().flatten().min();
        }
        scored.composite = self.composite(&scored.scores);
        scored
    }

    /// The composite of scores, one for each dimension. `None`: there is no grade.
    pub fn composite(&self, scores: &[u8]) -> Option<u8> {
        self.grading.as_ref()?;
        let weighed = self.dimensions.iter().zip(scores);
        grade::composite(weighed.map(|(dimension, score)| (*score, dimension.scale.bins(), dimension.weight)))
    }

    /// Whether it scores what customers will be worth.
    pub fn scores_lifetime_value(&self) -> bool {
        self.dimensions.iter().any(|dimension| dimension.feature.falls_by_day())
    }

    /// Whether it scores by cut-offs that were found from what others have.
    pub fn is_found_from_others(&self) -> bool {
        self.dimensions.iter().any(Dimension::is_found_from_others)
    }

    /// How many cells the scores make, those without a score aside.
    pub fn cells(&self) -> u64 {
        let bins = self.dimensions.iter().map(|dimension| u64::from(dimension.scale.bins()));
        bins.fold(1, u64::saturating_mul)
    }
}
