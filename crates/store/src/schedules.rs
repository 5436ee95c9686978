//! When models of a kind are fitted anew, and what came of it.
//!
//! What came of an attempt is written in the place of the schedule that it was made by, so that of two workers one alone can say it.

use crate::tables::refit_schedule as entity;
use crate::{Database, Result, Transaction};
use quintile_domain::ids::TenantId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use std::ops::RangeInclusive;

/// The days between fits, and 0 for never.
pub const EVERY_DAYS: RangeInclusive<i32> = 0..=3_653;

/// How often a schedule is read for one change of it that names no etag: more often than others change it meanwhile.
const READINGS: usize = 5;

/// A schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// After how many days. 0: never.
    pub every_days: i32,
    /// Whether what was fitted is put in force.
    pub publish: bool,
    /// The last whole day when it was last attempted, in days since 1970-01-01.
    pub attempted_day: Option<i32>,
    /// The number of the model that came of it.
    pub made: Option<i64>,
    /// Why none did, or why it was not put in force.
    pub problem: String,
    /// How often it has changed.
    pub revision: i64,
}

impl Schedule {
    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// Whether a model that has seen the days up to one has become old by the end of another. Days since 1970-01-01.
    pub fn is_due(&self, seen: i32, day: i32) -> bool {
        let since = self.attempted_day.map_or(seen, |attempted| attempted.max(seen));
        self.every_days > 0 && day - since >= self.every_days
    }
}

/// The schedule of a kind of models: one that says never, where nobody has said anything.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId, kind: i32) -> Result<Schedule> {
    let row = entity::Entity::find_by_id((tenant.0, kind)).one(connection).await?;
    Ok(row.map(from_row).unwrap_or_default())
}

/// Says after how many days models are fitted anew, and whether they are put in force. `None`: an etag was named that is not the present one.
///
/// What an attempt says of itself at the same time is no reason to refuse whoever names no etag: it is read again then.
pub async fn say(
    database: &Database,
    tenant: TenantId,
    kind: i32,
    (every_days, publish): (i32, bool),
    etag: &str,
) -> Result<Option<Schedule>> {
    for _ in 0..READINGS {
        let transaction = database.begin().await?;
        let found = get(&transaction, tenant, kind).await?;
        if !etag.is_empty() && etag != found.etag() {
            return Ok(None);
        }
        let said = Schedule { every_days, publish, ..found };
        if replace(&transaction, tenant, kind, &said).await? {
            transaction.commit().await?;
            return Ok(Some(Schedule { revision: said.revision + 1, ..said }));
        }
    }
    Ok(None)
}

/// Writes a schedule in the place of the one before it, whose revision it has. Returns whether that was still the one.
pub async fn replace(transaction: &Transaction, tenant: TenantId, kind: i32, schedule: &Schedule) -> Result<bool> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        kind: Set(kind),
        every_days: Set(schedule.every_days),
        publish: Set(schedule.publish),
        attempted_day: Set(schedule.attempted_day),
        made: Set(schedule.made),
        problem: Set(schedule.problem.clone()),
        revision: Set(schedule.revision + 1),
    };
    if schedule.revision == 0 {
        let key = [entity::Column::TenantId, entity::Column::Kind];
        let first = OnConflict::columns(key).do_nothing().to_owned();
        return Ok(entity::Entity::insert(row).on_conflict(first).exec_without_returning(transaction).await? == 1);
    }
    let replaced = entity::Entity::update_many()
        .set(row)
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Kind.eq(kind))
        .filter(entity::Column::Revision.eq(schedule.revision))
        .exec(transaction)
        .await?;
    Ok(replaced.rows_affected == 1)
}

fn from_row(row: entity::Model) -> Schedule {
    Schedule {
        every_days: row.every_days,
        publish: row.publish,
        attempted_day: row.attempted_day,
        made: row.made,
        problem: row.problem,
        revision: row.revision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_old_so_many_days_after_what_it_has_seen_and_after_the_last_attempt() {
        let every = |every_days, attempted_day| Schedule { every_days, attempted_day, ..Schedule::default() };
        assert!(!every(0, None).is_due(100, 10_000));
        assert_eq!([106, 107, 108].map(|day| every(7, None).is_due(100, day)), [false, true, true]);
        // An attempt that made nothing is not made again each day.
        assert_eq!([107, 113, 114].map(|day| every(7, Some(107)).is_due(100, day)), [false, false, true]);
        // Somebody has put a newer one in force since.
        assert_eq!([114, 116, 117].map(|day| every(7, Some(107)).is_due(110, day)), [false, false, true]);
    }
}
