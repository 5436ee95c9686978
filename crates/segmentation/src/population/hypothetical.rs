//! Who would belong to what if customers had other scores.

use super::Population;
use super::evaluation::Evaluation;
use crate::cancellation::Cancellation;
use crate::engine::{Bitmap, Supposed};
use crate::fields::FieldId;
use crate::own_fields::{self, Source};
use quintile_domain::time::Instant;
use quintile_expr::{Now, ValueRef};
use quintile_proto::types::Grade;
use std::collections::{BTreeMap, BTreeSet};

/// The model that labels are made of, and the one that the tenant's grading is.
const RFM: &str = "rfm";
const GRADE: &str = "grade";
/// The place that composites have instead of a dimension's.
const COMPOSITE: usize = 0;

/// What a version of a score model says of everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// By the place of the dimension, from 1, the scores of customers from number 1 on: 0 for who has none. By 0, one more than their composites.
    pub by_place: BTreeMap<usize, Vec<u8>>,
    /// What composites from 0 on amount to. Empty: there is no grade.
    pub grades: Vec<Grade>,
}

/// What a field says of scores by one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The score in the dimension of this place.
    Score(usize),
    Composite,
    Band,
    Tier,
    Vip,
    Label,
}

impl Said {
    /// The places of what it follows from.
    fn places(self) -> Vec<usize> {
        match self {
            Self::Score(place) => vec![place],
            Self::Composite | Self::Band | Self::Tier | Self::Vip => vec![COMPOSITE],
            Self::Label => vec![1, 2, 3],
        }
    }
}

impl Scores {
    /// A customer's score in the dimension of a place.
    fn score(&self, place: usize, customer: u32) -> Option<u8> {
        let index = usize::try_from(customer.checked_sub(1)?).ok()?;
        self.by_place.get(&place)?.get(index).copied().filter(|score| *score > 0)
    }

    fn grade(&self, customer: u32) -> Option<&Grade> {
        let composite = self.score(COMPOSITE, customer)? - 1;
        self.grades.get(usize::from(composite))
    }
}

impl Population {
    /// The places of the dimensions of a score model whose scores the definition at a place reads, itself or through others, ascending; 0: composites.
    pub fn scores_read(&self, place: usize, model: &str) -> BTreeSet<usize> {
        let read = self.catalogue.fields_of(place).filter_map(|field| self.said_by(field, model));
        read.flat_map(Said::places).collect()
    }

    /// The members that every part of the definition at a place would have, in its order, on each of several sides: if customers had these scores by
    /// a model. What it refers to is as it would be, too. `None`: it was cancelled.
    pub fn parts_by_scores<const N: usize>(
        &self,
        place: usize,
        model: &str,
        sides: [&Scores; N],
        cancellation: &Cancellation,
    ) -> Option<[Vec<Bitmap>; N]> {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        let found = sides.map(|scores| {
            let mut supposed = Supposed::default();
            for field in self.catalogue.fields_of(place) {
                if let Some(said) = self.said_by(field, model) {
                    let value = |customer| self.value(said, scores, customer);
                    supposed.suppose(&self.engine, field, cancellation, value);
                }
            }
            let customers = self.engine.supposing(&supposed);
            Evaluation::new(customers, &self.catalogue, &self.merges, &now, cancellation).parts(place).to_vec()
        });
        (!cancellation.is_cancelled()).then_some(found)
    }

    /// What a field says of scores by a model. `None`: nothing.
    fn said_by(&self, field: u16, model: &str) -> Option<Said> {
        let of = |of: &str, said: Said| (of == model).then_some(said);
        match FieldId::from_id(field) {
            Some(FieldId::Recency) => of(RFM, Said::Score(1)),
            Some(FieldId::Frequency) => of(RFM, Said::Score(2)),
            Some(FieldId::Monetary) => of(RFM, Said::Score(3)),
            Some(FieldId::Label) => of(RFM, Said::Label),
            Some(FieldId::GradeValue) => of(GRADE, Said::Composite),
            Some(FieldId::GradeBand) => of(GRADE, Said::Band),
            Some(FieldId::GradeTier) => of(GRADE, Said::Tier),
            Some(FieldId::GradeVip) => of(GRADE, Said::Vip),
            Some(_) => None,
            None => {
                let index = field.checked_sub(own_fields::FIRST_ID)?;
                match &self.own_fields.get(usize::from(index))?.source {
                    Source::Trait(_) => None,
                    Source::Composite(other) => of(other, Said::Composite),
                    Source::Band(other) => of(other, Said::Band),
                    Source::Tier(other) => of(other, Said::Tier),
                    Source::Vip(other) => of(other, Said::Vip),
                    Source::Score(other, place) => of(other, Said::Score(*place)),
                }
            }
        }
    }

    /// What a field says of a customer who has these scores.
    fn value<'v>(&'v self, said: Said, scores: &'v Scores, customer: u32) -> Option<ValueRef<'v>> {
        let grade = || scores.grade(customer);
        let text = |text: &'v str| Some(ValueRef::Text(text)).filter(|_| !text.is_empty());
        match said {
            Said::Score(place) => scores.score(place, customer).map(|score| ValueRef::Int(score.into())),
            Said::Composite => grade().map(|grade| ValueRef::Int(grade.composite.into())),
            Said::Band => grade().and_then(|grade| text(&grade.band)),
            Said::Tier => grade().and_then(|grade| text(&grade.tier)),
            Said::Vip => grade().map(|grade| ValueRef::Text(if grade.vip { "yes" } else { "no" })),
            Said::Label => text(self.label_of([1, 2, 3].map(|place| scores.score(place, customer)))),
        }
    }
}

#[cfg(test)]
mod tests;
