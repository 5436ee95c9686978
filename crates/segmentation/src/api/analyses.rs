//! Segments compared: with one another, with what they were, and with everybody else.

use super::labels::label_set_key;
use super::members::{check_parent, members_of};
use super::previews::{break_down, written};
use super::{check_fields, may_read_classes, population, reached};
use crate::Service;
use crate::engine::{Bitmap, NumberSummary};
use crate::fields::{FieldId, sensitivity};
use crate::population::Population;
use crate::population::snapshot::{Labelled, migration};
use crate::store::snapshots::{self, Kept, Size};
use quintile_chain::store_error;
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_expr::{Field, Rule, Type};
use quintile_proto::google_type::Date;
use quintile_proto::segmentation::analysis_service_server::AnalysisService;
use quintile_proto::segmentation::{
    Breakdown, CompareSegmentsRequest, FieldComparison, FieldSummary, GetMigrationRequest, GetOverlapMatrixRequest,
    ListSegmentSizesRequest, ListSegmentSizesResponse, Migration, MigrationFlow, OverlapCell, OverlapMatrix,
    RankTargetsRequest, SegmentComparison, SegmentSize, Target, TargetRanking,
};
use quintile_proto::types::{ErrorReason, Purpose};
use quintile_rpc::{Answer, ApiError, Caller, convert};
use std::collections::HashSet;
use tonic::Request;

/// The most segments of a matrix.
const MAX_OVERLAPS: usize = 50;
/// The most fields of a comparison.
const MAX_FIELDS: usize = 50;
/// The most segments of a ranking.
const MAX_TARGETS: usize = 100;
/// Days that growth looks back for, where nobody says how many, and at most.
const GROWTH_DAYS: (i32, i32) = (30, 365);
/// Days of sizes, where nobody says from when.
const SIZE_DAYS: i32 = 90;
/// The most days of sizes.
const MAX_SIZE_DAYS: i32 = 3_660;
/// The groups of a text that are told.
const GROUPS: usize = 10;

/// The handlers.
pub struct Analyses {
    pub service: Service,
}

/// Refuses names that are too few, too many, or twice there.
fn check_parents(parents: &[String], least: usize, most: usize) -> Result<(), ApiError> {
    if !(least..=most).contains(&parents.len()) {
        return Err(ApiError::invalid_field("parents", format!("must have {least} to {most} names")));
    }
    let mut seen = HashSet::new();
    match parents.iter().position(|parent| !seen.insert(parent)) {
        Some(index) => Err(ApiError::invalid_field(format!("parents[{index}]"), "is there twice")),
        None => Ok(()),
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn overlaps(caller: &Caller, population: &Population, parents: &[String]) -> Result<OverlapMatrix, ApiError> {
    let members = parents.iter().enumerate();
    let members = members.map(|(index, parent)| members_of(caller, population, &format!("parents[{index}]"), parent));
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let counts: Vec<u64> = members.iter().map(Bitmap::count).collect();
    let mut cells = Vec::with_capacity(parents.len() * parents.len());
    for (first, parent) in parents.iter().enumerate() {
        for (second, other) in parents.iter().enumerate().filter(|(second, _)| *second != first) {
            let shared = members[first].and_count(&members[second]);
            cells.push(OverlapCell {
                first: parent.clone(),
                second: other.clone(),
                shared: shared as i64,
                share_of_first: share(shared, counts[first]),
                jaccard: share(shared, counts[first] + counts[second] - shared),
            });
        }
    }
    Ok(OverlapMatrix { members: counts.into_iter().map(|count| count as i64).collect(), cells, watermark: None })
}

/// The fields of a comparison: those that are named, or all that the caller reads in clear.
fn compared_fields(caller: &Caller, population: &Population, names: &[String]) -> Result<Vec<Field>, ApiError> {
    if names.is_empty() {
        let readable = |field: &&Field| caller.reads_in_clear(population.sensitivity(field.id));
        return Ok(population.schema().fields().iter().filter(readable).cloned().collect());
    }
    super::previews::fields(caller, population, "fields", names, MAX_FIELDS)
}

fn compare(
    caller: &Caller,
    population: &Population,
    request: &CompareSegmentsRequest,
) -> Result<SegmentComparison, ApiError> {
    let fields = compared_fields(caller, population, &request.fields)?;
    let first = members_of(caller, population, "first", &request.first)?;
    let second = if request.second.is_empty() {
        reached(caller, population, population.engine().present().and_not(&first))
    } else {
        members_of(caller, population, "second", &request.second)?
    };
    let mut compared: Vec<FieldComparison> =
        fields.iter().map(|field| compare_field(caller, population, field, &first, &second)).collect();
    compared.sort_by(|a, b| b.effect.total_cmp(&a.effect).then_with(|| a.field.cmp(&b.field)));
    Ok(SegmentComparison {
        first_members: first.count() as i64,
        second_members: second.count() as i64,
        shared: first.and_count(&second) as i64,
        fields: compared,
        watermark: None,
    })
}

fn compare_field(
    caller: &Caller,
    population: &Population,
    field: &Field,
    first: &Bitmap,
    second: &Bitmap,
) -> FieldComparison {
    let name = field.name.to_string();
    if field.ty == Type::Text {
        let summary = |customers: &Bitmap| {
            let Breakdown { mut groups, other_customers, .. } = break_down(caller, population, field, customers);
            let told: i64 = groups.iter().filter(|group| !group.value.is_empty()).map(|group| group.customers).sum();
            let customers = told + other_customers;
            groups.retain(|group| !group.value.is_empty());
            groups.truncate(GROUPS);
            FieldSummary { customers, groups, ..FieldSummary::default() }
        };
        let effect = 2.0 * population.engine().variation(field.id, first, second);
        let (first, second) = (Some(summary(first)), Some(summary(second)));
        return FieldComparison { field: name, first, second, effect, first_is_higher: false };
    }
    let (first, second) =
        (population.engine().summarise(field.id, first), population.engine().summarise(field.id, second));
    let both = first.zip(second);
    let told = |summary: Option<NumberSummary>| {
        summary.map_or_else(FieldSummary::default, |summary| in_words(field.ty, &summary, caller.tenant().currency))
    };
    FieldComparison {
        field: name,
        first: Some(told(first)),
        second: Some(told(second)),
        effect: both.map_or(0.0, |(first, second)| first.effect(&second)),
        first_is_higher: both.is_some_and(|(first, second)| first.mean > second.mean),
    }
}

fn in_words(ty: Type, summary: &NumberSummary, currency: Currency) -> FieldSummary {
    let whole = |number: i64| written(ty, number, currency);
    let mean = match ty {
        // Within 64 bits, since all that it is the mean of is.
        Type::Money | Type::Decimal | Type::Instant => whole(summary.mean.round() as i64),
        _ => format!("{:.2}", summary.mean),
    };
    let [p10, median, p90] = summary.quantiles.map(whole);
    FieldSummary { customers: summary.customers as i64, mean, p10, median, p90, groups: Vec::new() }
}

impl Analyses {
    async fn rank(&self, caller: &Caller, request: RankTargetsRequest) -> Result<TargetRanking, ApiError> {
        check_parents(&request.parents, 1, MAX_TARGETS)?;
        let consent = consent_to(request.purpose)?;
        let days = match request.growth_days {
            0 => GROWTH_DAYS.0,
            days if (1..=GROWTH_DAYS.1).contains(&days) => days,
            _ => return Err(ApiError::invalid_field("growth_days", format!("must be within 1 and {}", GROWTH_DAYS.1))),
        };
        if !caller.reads_in_clear(sensitivity(FieldId::Revenue365.id())) {
            return Err(ApiError::field_denied(FieldId::Revenue365.name()));
        }
        let loaded = population(&self.service, caller)?;
        let runtime = &self.service.runtime;
        let watermark = runtime.progress.of(caller.tenant().id).watermark();
        let (found, then) = {
            let population = loaded.population.read();
            let willing = Rule::parse(&format!("{} == \"given\"", consent.name()), population.schema());
            let willing = willing.map_err(|_| ApiError::internal("the rule of a consent is none"))?;
            let willing = population.select(&willing, population.as_of());
            let found = request.parents.iter().enumerate().map(|(index, parent)| {
                let members = members_of(caller, &population, &format!("parents[{index}]"), parent)?;
                let revenue = population.engine().sum_minor(FieldId::Revenue365, &members);
                Ok((parent.clone(), members.count(), revenue, members.and_count(&willing)))
            });
            let found = found.collect::<Result<Vec<_>, ApiError>>()?;
            (found, population.zone().local_day(population.as_of()) - days)
        };
        let mut targets = Vec::with_capacity(found.len());
        for (parent, members, revenue, willing) in found {
            // What was written down is of everybody.
            let size = match caller.scope() {
                None => snapshots::size_by(runtime.database.reader(), caller.tenant().id, &parent, then).await,
                Some(_) => Ok(None),
            };
            let size = size.map_err(|error| store_error(&error))?;
            let target = Standing { parent, members, revenue, willing, size };
            targets.push(target.told(caller.tenant().currency));
        }
        targets.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.parent.cmp(&other.parent)));
        let targets = targets.into_iter().map(|(_, target)| target).collect();
        Ok(TargetRanking { targets, watermark: Some(watermark.to_message()) })
    }

    async fn sizes(
        &self,
        caller: &Caller,
        request: &ListSegmentSizesRequest,
    ) -> Result<ListSegmentSizesResponse, ApiError> {
        let loaded = population(&self.service, caller)?;
        let runtime = &self.service.runtime;
        let watermark = runtime.progress.of(caller.tenant().id).watermark();
        let (today, members) = {
            let population = loaded.population.read();
            check_parent(caller, &population, "parent", &request.parent)?;
            let found = population.catalogue().named(&request.parent);
            let members = found.and_then(|(place, part)| population.counts(place).get(part).copied()).unwrap_or(0);
            (population.zone().local_day(population.as_of()), members)
        };
        let last = day("end_date", request.end_date)?.unwrap_or(today);
        let first = day("start_date", request.start_date)?.unwrap_or_else(|| last.saturating_sub(SIZE_DAYS));
        if first > last {
            return Err(ApiError::invalid_field("end_date", "must not be before start_date"));
        }
        if last - first > MAX_SIZE_DAYS {
            return Err(ApiError::invalid_field("start_date", "must be within ten years of end_date"));
        }
        let tenant = caller.tenant().id;
        let sizes = snapshots::sizes(runtime.database.reader(), tenant, &request.parent, first, last).await;
        let sizes = sizes.map_err(|error| store_error(&error))?;
        let size = |size: Size| SegmentSize {
            date: Some(convert::date(size.day)),
            as_of: Some(convert::timestamp(size.as_of)),
            members: size.members,
        };
        Ok(ListSegmentSizesResponse {
            sizes: sizes.into_iter().filter(|size| may_read_classes(caller, size.classes)).map(size).collect(),
            members: members as i64,
            watermark: Some(watermark.to_message()),
        })
    }

    async fn migration(&self, caller: &Caller, request: &GetMigrationRequest) -> Result<Migration, ApiError> {
        let key = label_set_key("name", &request.name)?;
        let start = convert::instant(request.start_time.as_ref())
            .map_err(|error| ApiError::invalid_time("start_time", error))?;
        let end = request.end_time.as_ref().map(|end| convert::instant(Some(end))).transpose();
        let end = end.map_err(|error| ApiError::invalid_time("end_time", error))?;
        if end.is_some_and(|end| end < start) {
            return Err(ApiError::invalid_field("end_time", "must not be before start_time"));
        }
        let loaded = population(&self.service, caller)?;
        let (now, scope) = {
            let population = loaded.population.read();
            let (place, _) = population.catalogue().find(&key).ok_or_else(ApiError::not_found)?;
            check_fields(caller, &population, population.catalogue().fields_of(place))?;
            if start > population.as_of() {
                return Err(ApiError::invalid_field("start_time", "must not be in the future of business time"));
            }
            let now = end.is_none().then(|| (population.as_of(), population.labels_of(place)));
            (now, population.reached(caller.scope()))
        };
        let tenant = caller.tenant().id;
        let kept = async |at: Instant| {
            let labels = snapshots::labels_at(self.service.runtime.database.reader(), tenant, &key, at).await;
            // What the set reads by now says nothing of what it read then.
            let readable = |kept: &Kept| may_read_classes(caller, kept.classes);
            let kept = labels.map_err(|error| store_error(&error))?.filter(readable).ok_or_else(|| {
                let message = "labels of the set are not written down for that instant, or not for the caller";
                ApiError::failed_precondition(ErrorReason::FailedPrecondition, message)
            })?;
            Ok::<_, ApiError>((kept.as_of, kept.labelled))
        };
        let (from_time, before) = kept(start).await?;
        let (to_time, after) = match (now, end) {
            (Some(now), _) => now,
            (None, end) => kept(end.unwrap_or(start)).await?,
        };
        Ok(Migration {
            flows: flows(&key, &before, &after, scope.as_ref()),
            from_time: Some(convert::timestamp(from_time)),
            to_time: Some(convert::timestamp(to_time)),
        })
    }
}

fn flows(
    key: &crate::population::catalogue::Key,
    before: &Labelled,
    after: &Labelled,
    scope: Option<&Bitmap>,
) -> Vec<MigrationFlow> {
    let flow = |(from, to, customers): (u8, u8, u64)| MigrationFlow {
        from: before.name(key, from),
        to: after.name(key, to),
        customers: customers as i64,
    };
    migration(before, after, scope).into_iter().map(flow).collect()
}

/// The field of the consent to a purpose.
fn consent_to(purpose: i32) -> Result<FieldId, ApiError> {
    match Purpose::try_from(purpose) {
        Ok(Purpose::Unspecified | Purpose::Marketing) => Ok(FieldId::ConsentMarketing),
        Ok(Purpose::Profiling) => Ok(FieldId::ConsentProfiling),
        Ok(Purpose::Analytics) => Ok(FieldId::ConsentAnalytics),
        Ok(Purpose::Support) => Ok(FieldId::ConsentSupport),
        Ok(Purpose::ThirdParty) => Ok(FieldId::ConsentThirdParty),
        Err(_) => Err(ApiError::invalid_field("purpose", "is not a purpose")),
    }
}

fn day(field: &str, date: Option<Date>) -> Result<Option<i32>, ApiError> {
    let no_day = || ApiError::invalid_field(field, "must be a day of the years 1970 to 9999");
    date.map(|date| convert::day_number(date).ok_or_else(no_day)).transpose()
}

/// What a target's score is made of.
struct Standing {
    parent: String,
    members: u64,
    /// Of the last 365 days, in minor units.
    revenue: i128,
    willing: u64,
    /// As it was.
    size: Option<Size>,
}

impl Standing {
    /// The score in minor units, and the target.
    fn told(self, currency: Currency) -> (f64, Target) {
        let then = self.size.filter(|size| size.members > 0);
        let growth = then.map_or(1.0, |size| self.members as f64 / size.members as f64);
        let reach = share(self.willing, self.members);
        let score = self.revenue as f64 * growth * reach;
        let mean = if self.members == 0 { 0.0 } else { self.revenue as f64 / self.members as f64 };
        let money = |minor: f64| Some(convert::money(currency, minor.round() as i64));
        let target = Target {
            parent: self.parent,
            score: money(score),
            members: self.members as i64,
            mean_revenue: money(mean),
            growth,
            growth_since: then.map(|size| convert::timestamp(size.as_of)),
            reach,
        };
        (score, target)
    }
}

#[tonic::async_trait]
impl AnalysisService for Analyses {
    async fn get_overlap_matrix(&self, request: Request<GetOverlapMatrixRequest>) -> Answer<OverlapMatrix> {
        let caller = Caller::of(&request)?;
        check_parents(&request.get_ref().parents, 2, MAX_OVERLAPS)?;
        let loaded = population(&self.service, &caller)?;
        let watermark = self.service.runtime.progress.of(caller.tenant().id).watermark();
        let matrix = overlaps(&caller, &loaded.population.read(), &request.get_ref().parents)?;
        Ok(caller.respond(OverlapMatrix { watermark: Some(watermark.to_message()), ..matrix }))
    }

    async fn compare_segments(&self, request: Request<CompareSegmentsRequest>) -> Answer<SegmentComparison> {
        let caller = Caller::of(&request)?;
        let loaded = population(&self.service, &caller)?;
        let watermark = self.service.runtime.progress.of(caller.tenant().id).watermark();
        let comparison = compare(&caller, &loaded.population.read(), request.get_ref())?;
        Ok(caller.respond(SegmentComparison { watermark: Some(watermark.to_message()), ..comparison }))
    }

    async fn rank_targets(&self, request: Request<RankTargetsRequest>) -> Answer<TargetRanking> {
        let caller = Caller::of(&request)?;
        let ranking = self.rank(&caller, request.into_inner()).await?;
        Ok(caller.respond(ranking))
    }

    async fn list_segment_sizes(&self, request: Request<ListSegmentSizesRequest>) -> Answer<ListSegmentSizesResponse> {
        let caller = Caller::of(&request)?;
        let sizes = self.sizes(&caller, request.get_ref()).await?;
        Ok(caller.respond(sizes))
    }

    async fn get_migration(&self, request: Request<GetMigrationRequest>) -> Answer<Migration> {
        let caller = Caller::of(&request)?;
        let migration = self.migration(&caller, request.get_ref()).await?;
        Ok(caller.respond(migration))
    }
}
