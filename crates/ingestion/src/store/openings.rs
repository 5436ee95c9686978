//! Opening balances, as they are kept: one message per subject.

use super::entities::opening_balance::{self, Column as Balance};
use crate::features::Opening;
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use std::collections::{BTreeMap, HashMap};

const OPENINGS: Target = Target {
    table: "opening_balance",
    columns: &["tenant_id", "subject_id", "body"],
    key: &["tenant_id", "subject_id"],
    on_conflict: OnConflict::Replace(&["body"]),
};

/// The encoded balances of subjects, which are sorted.
pub async fn bodies(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    subjects: &[i64],
) -> Result<HashMap<i64, Vec<u8>>, StoreError> {
    let mut found = HashMap::new();
    for subjects in Numbers::queries(subjects) {
        let rows = opening_balance::Entity::find()
            .filter(Balance::TenantId.eq(tenant.0))
            .filter(subjects.contain(Balance::SubjectId))
            .all(connection)
            .await?;
        found.extend(rows.into_iter().map(|row| (row.subject_id, row.body)));
    }
    Ok(found)
}

/// Decodes balances.
pub fn decoded(bodies: &HashMap<i64, Vec<u8>>) -> Result<BTreeMap<i64, Opening>, StoreError> {
    let opening = |(subject, body): (&i64, &Vec<u8>)| {
        let body = Body::decode(body.as_slice()).map_err(|_| StoreError::Sealed("opening balance"))?;
        Ok((*subject, body.opening()))
    };
    bodies.iter().map(opening).collect()
}

/// Writes balances.
pub async fn write(
    transaction: &Transaction,
    tenant: TenantId,
    openings: &BTreeMap<i64, Opening>,
) -> Result<(), StoreError> {
    let columns = vec![
        Column::Int(vec![tenant.0; openings.len()]),
        Column::BigInt(openings.keys().copied().collect()),
        Column::Bytes(openings.values().map(|opening| Body::of(opening).encode_to_vec()).collect()),
    ];
    OPENINGS.write(transaction, columns).await?;
    Ok(())
}

/// A balance on disk. Fields are added, and never renumbered.
#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(int64, optional, tag = "1")]
    first_order: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    last_order: Option<i64>,
    #[prost(int64, tag = "3")]
    orders: i64,
    #[prost(int64, tag = "4")]
    gross_minor: i64,
    #[prost(sint64, optional, tag = "5")]
    profit_minor: Option<i64>,
    /// The first purchase day, and from each to the next.
    #[prost(sint32, repeated, tag = "6")]
    day_steps: Vec<i32>,
    #[prost(int64, tag = "7")]
    first_day_minor: i64,
    #[prost(btree_map = "string, int64", tag = "8")]
    categories: BTreeMap<String, i64>,
    #[prost(fixed64, repeated, tag = "9")]
    marks: Vec<u64>,
    #[prost(int64, tag = "10")]
    refunds: i64,
    #[prost(int64, tag = "11")]
    counted_minor: i64,
    #[prost(int64, tag = "12")]
    unmatched_minor: i64,
    #[prost(int64, tag = "13")]
    interactions: i64,
    #[prost(int64, optional, tag = "14")]
    last_interaction: Option<i64>,
    #[prost(int64, tag = "15")]
    feedback: i64,
    #[prost(int64, tag = "16")]
    csat_sum: i64,
    #[prost(int64, tag = "17")]
    csat_count: i64,
    #[prost(int64, optional, tag = "18")]
    nps_at: Option<i64>,
    #[prost(int64, tag = "19")]
    nps_score: i64,
    #[prost(message, repeated, tag = "20")]
    cases: Vec<Case>,
    #[prost(int64, optional, tag = "21")]
    last_low_score: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Case {
    #[prost(bool, tag = "1")]
    complaint: bool,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, tag = "3")]
    about: String,
    #[prost(int64, tag = "4")]
    at: i64,
    #[prost(bool, tag = "5")]
    resolved: bool,
}

impl Body {
    fn of(opening: &Opening) -> Self {
        let mut day_before = 0;
        let cases = opening.cases.iter().map(|((complaint, (source, about)), (at, resolved))| Case {
            complaint: *complaint,
            source: source.clone(),
            about: about.clone(),
            at: at.micros(),
            resolved: *resolved,
        });
        let day_steps = opening.days.iter().map(|day| day - std::mem::replace(&mut day_before, *day)).collect();
        Self {
            first_order: opening.first_order.map(Instant::micros),
            last_order: opening.last_order.map(Instant::micros),
            orders: opening.orders,
            gross_minor: opening.gross_minor,
            profit_minor: opening.profit_minor,
            day_steps,
            first_day_minor: opening.first_day.map_or(0, |(_, revenue)| revenue),
            categories: opening.categories.clone(),
            marks: opening.marks.iter().copied().collect(),
            refunds: opening.refunds,
            counted_minor: opening.counted_minor,
            unmatched_minor: opening.unmatched_minor,
            interactions: opening.interactions,
            last_interaction: opening.last_interaction.map(Instant::micros),
            feedback: opening.feedback,
            csat_sum: opening.csat_sum,
            csat_count: opening.csat_count,
            nps_at: opening.nps.map(|(at, _)| at.micros()),
            nps_score: opening.nps.map_or(0, |(_, score)| score),
            cases: cases.collect(),
            last_low_score: opening.last_low_score.map(Instant::micros),
        }
    }

    fn opening(self) -> Opening {
        let days = self.day_steps.iter().scan(0_i32, |day, step| {
            *day = day.saturating_add(*step);
            Some(*day)
        });
        let case =
            |case: Case| ((case.complaint, (case.source, case.about)), (Instant::from_micros(case.at), case.resolved));
        Opening {
            first_order: self.first_order.map(Instant::from_micros),
            last_order: self.last_order.map(Instant::from_micros),
            orders: self.orders,
            gross_minor: self.gross_minor,
            profit_minor: self.profit_minor,
            days: days.collect(),
            first_day: self.day_steps.first().map(|day| (*day, self.first_day_minor)),
            categories: self.categories,
            marks: self.marks.into_iter().collect(),
            refunds: self.refunds,
            counted_minor: self.counted_minor,
            unmatched_minor: self.unmatched_minor,
            interactions: self.interactions,
            last_interaction: self.last_interaction.map(Instant::from_micros),
            feedback: self.feedback,
            csat_sum: self.csat_sum,
            csat_count: self.csat_count,
            nps: self.nps_at.map(|at| (Instant::from_micros(at), self.nps_score)),
            cases: self.cases.into_iter().map(case).collect(),
            last_low_score: self.last_low_score.map(Instant::from_micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Word = ((bool, (String, String)), (Instant, bool));

    fn any_case() -> impl Strategy<Value = Word> {
        (any::<bool>(), "[a-z]{0,3}", "[a-z]{0,3}", any::<i64>(), any::<bool>()).prop_map(
            |(complaint, source, about, at, resolved)| {
                ((complaint, (source, about)), (Instant::from_micros(at), resolved))
            },
        )
    }

    proptest! {
        #[test]
        fn a_balance_is_read_as_it_was_written(
            instants in any::<[Option<i64>; 4]>(), numbers in any::<[i64; 9]>(), profit_minor in any::<Option<i64>>(),
            days in prop::collection::btree_set(-1_000_000_i32..4_000_000, 0..20), first in any::<i64>(),
            categories in prop::collection::btree_map("[a-z]{1,4}", any::<i64>(), 0..4),
            marks in prop::collection::btree_set(any::<u64>(), 0..4), nps in any::<Option<(i64, i64)>>(),
            cases in prop::collection::vec(any_case(), 0..4),
        ) {
            let days: BTreeSet<i32> = days;
            let [first_order, last_order, last_interaction, last_low_score] =
                instants.map(|at| at.map(Instant::from_micros));
            let [orders, gross_minor, refunds, counted_minor, unmatched_minor, interactions, feedback, csat_sum, csat_count] =
                numbers;
            let opening = Opening {
                first_day: days.first().map(|day| (*day, first)),
                nps: nps.map(|(at, score)| (Instant::from_micros(at), score)),
                cases: cases.into_iter().collect(),
                first_order, last_order, orders, gross_minor, profit_minor, days, categories, marks, refunds, counted_minor,
                unmatched_minor, interactions, last_interaction, feedback, csat_sum, csat_count, last_low_score,
            };
            prop_assert_eq!(Body::of(&opening).opening(), opening);
        }
    }
}
