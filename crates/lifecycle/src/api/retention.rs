//! How long customers stay, and how they move between stages.

use super::records::{Everybody, Part};
use crate::retention::{
    Cell, Change, Cohorts, Durations, History, RetentionError, Spread, StageFlow as Flow, StageTimes as Times, spells,
};
use crate::stages::Stage;
use crate::store::transitions::{self, Step};
use crate::worker::{StageLink, stage_input};
use quintile_chain::context::Runtime;
use quintile_chain::store_error;
use quintile_domain::time::{Instant, TimeZone, date_of_day};
use quintile_proto::google_type::Date;
use quintile_proto::lifecycle::retention_service_server::RetentionService;
use quintile_proto::lifecycle::{
    Cohort, CohortCell, CohortRetention, DurationSpread, GetCohortRetentionRequest, GetStageFlowRequest,
    GetStageTimesRequest, GetSurvivalRequest, StageFlow, StageFlowCount, StageTime, StageTimes, Survival,
    SurvivalPoint,
};
use quintile_proto::types::{CustomerRecord, Features};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Request;

/// Months of cohorts, where nobody says from when.
const COHORT_MONTHS: i32 = 24;
/// The most months of cohorts.
const MAX_COHORT_MONTHS: i32 = 120;
/// Days between the points of a curve, where nobody says how many.
const STEP_DAYS: i32 = 30;
/// The most points of a curve.
const MAX_POINTS: u32 = 1_000;
const YEAR_DAYS: u32 = 365;

/// The handlers.
pub struct Retention {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
}

/// Months since year 0, so that they are numbered without gaps.
fn month_of_day(day: i32) -> i32 {
    let (year, month, _) = date_of_day(day);
    i32::from(year) * 12 + i32::from(month) - 1
}

fn first_day(month: i32) -> Date {
    Date { year: month.div_euclid(12), month: month.rem_euclid(12) + 1, day: 1 }
}

/// The month of a request. `None`: none is asked for.
fn month(field: &str, date: Option<Date>) -> Result<Option<i32>, ApiError> {
    let invalid = || ApiError::invalid_field(field, "must be a date of 1970 or later");
    let number = |date| convert::day_number(date).map(month_of_day).ok_or_else(invalid);
    date.map(number).transpose()
}

/// The local months in which a customer bought, ascending: that of the first order, and those of the last thousand days with orders, the gaps between
/// which are known.
fn active_months(features: &Features, zone: &TimeZone) -> Vec<i32> {
    let orders = [features.first_order_time.as_ref(), features.last_order_time.as_ref()].map(convert::sent_instant);
    let [Some(first), Some(last)] = orders else { return Vec::new() };
    let mut day = zone.local_day(last);
    let mut months = vec![month_of_day(day)];
    for gap in features.gap_days.iter().rev() {
        day = day.saturating_sub(*gap);
        months.push(month_of_day(day));
    }
    months.push(month_of_day(zone.local_day(first)));
    months.reverse();
    months.dedup();
    months
}

/// What is refused is what was asked for.
fn refused(field: &str) -> impl Fn(RetentionError) -> ApiError + '_ {
    move |error| ApiError::invalid_field(field, error.to_string())
}

fn told_cell(cell: &Cell) -> CohortCell {
    CohortCell {
        months_since: cell.months_since.cast_signed(),
        customers: cell.customers as i64,
        active: cell.active as i64,
        share: cell.share.unwrap_or_default(),
        partial: cell.is_partial,
    }
}

fn told_spread(spread: &Spread) -> DurationSpread {
    DurationSpread {
        count: spread.count as i64,
        mean_days: spread.mean_days,
        median_days: spread.median_days.cast_signed(),
        p90_days: spread.p90_days.cast_signed(),
    }
}

fn told_counts(counts: &BTreeMap<Change, u64>) -> Vec<StageFlowCount> {
    let count = |(change, count): (&Change, &u64)| {
        Some(StageFlowCount { from: change.from?.into(), to: change.to?.into(), count: *count as i64 })
    };
    counts.iter().filter_map(count).collect()
}

/// The number of a record's stage.
fn stage_of(record: &CustomerRecord) -> Option<u8> {
    let stage = u8::try_from(record.stage.as_ref()?.stage).ok()?;
    (1..=Stage::ALL.len()).contains(&usize::from(stage)).then_some(stage)
}

impl Retention {
    /// Goes through the histories of everybody, and whether a transition has told of the last stage of each.
    async fn each_history(
        &self,
        everybody: &mut Everybody<'_>,
        caller: &Caller,
        mut take: impl FnMut(&History<'_>, bool) -> Result<(), RetentionError>,
    ) -> Result<(), ApiError> {
        let malformed = |_| ApiError::internal("stored transitions are no history");
        while let Some(Part { records, numbers }) = everybody.next().await? {
            let reader = self.runtime.database.reader();
            let steps = transitions::between(reader, caller.tenant().id, *numbers.start(), *numbers.end()).await;
            let steps = steps.map_err(|error| store_error(&error))?;
            let mut rest = steps.as_slice();
            for record in &records {
                let skipped = rest.partition_point(|step| step.customer < record.customer_id);
                let (own, behind) = rest[skipped..]
                    .split_at(rest[skipped..].partition_point(|step| step.customer == record.customer_id));
                rest = behind;
                let Some(stage) = stage_of(record) else { continue };
                let steps = own.iter().map(|Step { valid_at, from, to, .. }| (*valid_at, *from, *to));
                let spells = spells(steps, stage, everybody.as_of().micros());
                let history = History::new(&spells).map_err(malformed)?;
                take(&history, own.last().is_some_and(|step| step.to == stage)).map_err(malformed)?;
            }
        }
        Ok(())
    }

    async fn cohorts(&self, caller: &Caller, request: GetCohortRetentionRequest) -> Result<CohortRetention, ApiError> {
        let zone = &caller.tenant().zone;
        let mut everybody = Everybody::now(&self.runtime, &self.link, caller).await?;
        let this_month = month_of_day(zone.local_day(everybody.as_of()));
        let last = month("end_date", request.end_date)?.unwrap_or(this_month).min(this_month);
        let first = month("start_date", request.start_date)?.unwrap_or(last - COHORT_MONTHS + 1);
        if first > last {
            return Err(ApiError::invalid_field("start_date", "must not be behind end_date or the present month"));
        }
        if last - first >= MAX_COHORT_MONTHS {
            let problem = format!("must be within {MAX_COHORT_MONTHS} months of end_date");
            return Err(ApiError::invalid_field("start_date", problem));
        }
        let watermark = self.runtime.progress.of(caller.tenant().id).watermark();
        let mut cohorts = Cohorts::new(first, last, last == this_month).map_err(refused("start_date"))?;
        while let Some(part) = everybody.next().await? {
            for features in part.records.iter().filter_map(|record| record.features.as_ref()) {
                let months = active_months(features, zone);
                cohorts.add(&months).map_err(|_| ApiError::internal("stored gaps descend"))?;
            }
        }
        let table = cohorts.table();
        let cohort = |cohort: &crate::retention::Cohort| Cohort {
            month: Some(first_day(cohort.month)),
            customers: cohort.customers as i64,
            cells: cohort.cells.iter().map(told_cell).collect(),
        };
        Ok(CohortRetention {
            cohorts: table.cohorts.iter().map(cohort).collect(),
            overall: table.overall.iter().map(told_cell).collect(),
            watermark: Some(watermark.to_message()),
        })
    }

    async fn survival(&self, caller: &Caller, step_days: i32) -> Result<Survival, ApiError> {
        let problem = || ApiError::invalid_field("step_days", "must not be negative");
        let step = u32::try_from(step_days).map_err(|_| problem())?;
        let step = if step == 0 { STEP_DAYS.unsigned_abs() } else { step };
        let zone = &caller.tenant().zone;
        let watermark = self.runtime.progress.of(caller.tenant().id).watermark();
        let mut everybody = Everybody::now(&self.runtime, &self.link, caller).await?;
        let policy = self.link.policies.last_read(caller.tenant().id);
        let (mut durations, mut churned) = (Durations::default(), 0);
        while let Some(part) = everybody.next().await? {
            for record in &part.records {
                if let Some(stay) = policy.stay(&stage_input(record), everybody.as_of(), zone) {
                    durations.add(u32::try_from(stay.days).unwrap_or(u32::MAX), stay.ended);
                    churned += i64::from(stay.ended);
                }
            }
        }
        let survival = durations.survival();
        let step = step.max(survival.longest_days.div_ceil(MAX_POINTS - 1));
        let point = |days: u32| {
            let passed = survival.points.partition_point(|point| point.days <= days);
            let last = passed.checked_sub(1).map(|last| &survival.points[last]);
            let bounds = last.map_or(Some((1.0, 1.0)), |last| last.interval.map(|bounds| (bounds.low, bounds.high)));
            let (low, high) = bounds.unwrap_or((0.0, 0.0));
            let survival = last.map_or(1.0, |last| last.survival);
            SurvivalPoint { days: days.cast_signed(), survival, low, high }
        };
        let days = (0..=survival.longest_days).step_by(step as usize).filter(|_| survival.count > 0);
        Ok(Survival {
            customers: survival.count as i64,
            churned,
            longest_days: survival.longest_days.cast_signed(),
            median_days: survival.median().days.map(u32::cast_signed),
            mean_days_of_first_year: survival.restricted_mean(YEAR_DAYS).map(|mean| mean.days),
            points: days.map(point).collect(),
            watermark: Some(watermark.to_message()),
        })
    }

    async fn flow(&self, caller: &Caller, request: GetStageFlowRequest) -> Result<StageFlow, ApiError> {
        let mut everybody = Everybody::now(&self.runtime, &self.link, caller).await?;
        let instant = |field: &str, at: Option<prost_types::Timestamp>| {
            let read = at.map(|at| convert::instant(Some(&at))).transpose();
            read.map_err(|error| ApiError::invalid_time(field, error))
        };
        let start = instant("start_time", request.start_time)?;
        let start = start.ok_or_else(|| ApiError::invalid_field("start_time", "is required"))?;
        let now: Instant = everybody.as_of();
        let end = instant("end_time", request.end_time)?.unwrap_or(now).min(now);
        if start >= end {
            return Err(ApiError::invalid_field("start_time", "must be before end_time and the present business time"));
        }
        let watermark = self.runtime.progress.of(caller.tenant().id).watermark();
        let mut flow = Flow::new(start.micros(), end.micros());
        let take = |history: &History<'_>, _| {
            flow.add(history);
            Ok(())
        };
        self.each_history(&mut everybody, caller, take).await?;
        Ok(StageFlow {
            customers: told_counts(flow.ends()),
            moves: told_counts(flow.moves()),
            watermark: Some(watermark.to_message()),
        })
    }

    async fn times(&self, caller: &Caller) -> Result<StageTimes, ApiError> {
        let mut everybody = Everybody::now(&self.runtime, &self.link, caller).await?;
        let watermark = self.runtime.progress.of(caller.tenant().id).watermark();
        let mut times = Times::new(everybody.as_of().micros());
        let take = |history: &History<'_>, last_is_told: bool| {
            // When the first one began is not known, nor when one did that no transition has told of.
            let seen = history.spells().get(1..).unwrap_or_default();
            let begun = if last_is_told { seen } else { seen.split_last().map_or(seen, |(_, begun)| begun) };
            times.add(&History::new(begun)?);
            Ok(())
        };
        self.each_history(&mut everybody, caller, take).await?;
        let stage = |time: &crate::retention::StageTime| StageTime {
            stage: time.stage.into(),
            completed: time.completed.as_ref().map(told_spread),
            running: time.running.as_ref().map(told_spread),
            median_days: time.survival.median().days.map(u32::cast_signed),
        };
        Ok(StageTimes { stages: times.report().iter().map(stage).collect(), watermark: Some(watermark.to_message()) })
    }
}

#[tonic::async_trait]
impl RetentionService for Retention {
    async fn get_cohort_retention(&self, request: Request<GetCohortRetentionRequest>) -> Answer<CohortRetention> {
        let caller = Caller::of(&request)?;
        let retention = self.cohorts(&caller, request.into_inner()).await?;
        Ok(caller.respond(retention))
    }

    async fn get_survival(&self, request: Request<GetSurvivalRequest>) -> Answer<Survival> {
        let caller = Caller::of(&request)?;
        let survival = self.survival(&caller, request.get_ref().step_days).await?;
        Ok(caller.respond(survival))
    }

    async fn get_stage_flow(&self, request: Request<GetStageFlowRequest>) -> Answer<StageFlow> {
        let caller = Caller::of(&request)?;
        let flow = self.flow(&caller, request.into_inner()).await?;
        Ok(caller.respond(flow))
    }

    async fn get_stage_times(&self, request: Request<GetStageTimesRequest>) -> Answer<StageTimes> {
        let caller = Caller::of(&request)?;
        let times = self.times(&caller).await?;
        Ok(caller.respond(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::types::Features;

    fn bought(first: i64, last: i64, gap_days: Vec<i32>) -> Features {
        let at = |day: i64| Some(convert::timestamp(Instant::from_micros(day * 86_400_000_000)));
        Features { first_order_time: at(first), last_order_time: at(last), gap_days, ..Features::default() }
    }

    #[test]
    fn months_are_counted_back_from_the_last_order() {
        // 1970-01-05, 1970-01-25, 1970-02-04 and 1970-04-05.
        let months = |features: &Features| active_months(features, &TimeZone::UTC);
        let january = 1970 * 12;
        assert_eq!(months(&bought(4, 94, vec![20, 10, 60])), [january, january + 1, january + 3]);
        assert_eq!(months(&bought(4, 4, Vec::new())), [january]);
        assert_eq!(months(&Features::default()), Vec::<i32>::new());
        // Of many gaps the earliest are not kept.
        assert_eq!(months(&bought(4, 94, vec![60])), [january, january + 1, january + 3]);
        assert_eq!(first_day(january + 13), Date { year: 1971, month: 2, day: 1 });
    }
}
