//! What a rule would find, and what publishing a draft would mean. Nothing is changed.

use super::definitions::{effect_of, promoted};
use super::members::members_of;
use super::segments::{parse, usable};
use super::{check_rights, may_read_classes, population, reached, reached_population, revenue};
use crate::Service;
use crate::cancellation::Cancellation;
use crate::engine::{Bitmap, Group, Values};
use crate::fields::FieldId;
use crate::population::catalogue::Key;
use crate::population::membership::Membership;
use crate::population::{Movement, Population};
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Sensitivity;
use quintile_domain::money::{Currency, with_decimals};
use quintile_domain::time::Instant;
use quintile_expr::{DECIMALS, Field, Rule, Type};
use quintile_proto::segmentation::{
    Breakdown, BreakdownGroup, MembershipMove, Overlap, PreviewSegmentRequest, SegmentDraftPreview, SegmentPreview,
};
use quintile_rpc::{ApiError, Caller, convert};
use std::collections::BTreeMap;
use std::time::Instant as Stopwatch;

/// The most customers of a sample.
const MAX_SAMPLE: i32 = 100;
/// The most fields that one preview breaks down by.
const MAX_BREAKDOWNS: usize = 5;
/// The most segments that one preview tells the overlap with.
const MAX_OVERLAPS: usize = 50;

/// Refuses a sample of a size that is none.
pub fn check_sample(size: i32) -> Result<(), ApiError> {
    if (0..=MAX_SAMPLE).contains(&size) {
        return Ok(());
    }
    Err(ApiError::invalid_field("sample_size", format!("must be within 0 and {MAX_SAMPLE}")))
}

fn sample(customers: &Bitmap, size: i32) -> Vec<String> {
    customers.iter().take(usize::try_from(size).unwrap_or(0)).map(|id| CustomerId(id).to_string()).collect()
}

/// Counts those who match an expression, as long as somebody waits for it.
pub fn of_expression(
    service: &Service,
    caller: &Caller,
    request: &PreviewSegmentRequest,
    cancellation: &Cancellation,
) -> Result<SegmentPreview, ApiError> {
    check_sample(request.sample_size)?;
    if request.overlap_parents.len() > MAX_OVERLAPS {
        return Err(ApiError::invalid_field("overlap_parents", format!("must have at most {MAX_OVERLAPS} names")));
    }
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(caller.tenant().id).watermark();
    let population = loaded.population.read();
    let fields = fields(caller, &population, "breakdown_fields", &request.breakdown_fields, MAX_BREAKDOWNS)?;
    let rule = parse("expression", &request.expression, &population)?;
    check_rights(caller, &population, std::slice::from_ref(&rule))?;
    let begun = Stopwatch::now();
    // Who they are is found only where something of them is told.
    let is_count = request.sample_size == 0 && fields.is_empty() && request.overlap_parents.is_empty();
    let is_count = is_count && caller.scope().is_none() && !caller.reads_in_clear(Sensitivity::Financial);
    let found = population.until(cancellation, service.runtime.business.now(), |everybody| {
        if is_count { (everybody.count(&rule), Bitmap::new()) } else { (0, everybody.select(&rule)) }
    });
    let (count, members) = found.ok_or_else(ApiError::deadline_exceeded)?;
    let members = reached(caller, &population, members);
    let customers = if is_count { count } else { members.count() };
    let evaluation_time = begun.elapsed();
    let breakdowns = fields.iter().map(|field| break_down(caller, &population, field, &members)).collect();
    let overlaps =
        request.overlap_parents.iter().enumerate().map(|(index, parent)| {
            overlap(caller, &population, (&format!("overlap_parents[{index}]"), parent), &members)
        });
    Ok(SegmentPreview {
        customers: customers as i64,
        population: reached_population(caller, &population),
        net_revenue: revenue(caller, &population, &members),
        sample: sample(&members, request.sample_size),
        evaluation_time: Some(convert::duration(evaluation_time)),
        watermark: Some(watermark.to_message()),
        breakdowns,
        overlaps: overlaps.collect::<Result<_, _>>()?,
    })
}

/// The fields of these names, each of which the caller reads in clear.
pub fn fields(
    caller: &Caller,
    population: &Population,
    of: &str,
    names: &[String],
    most: usize,
) -> Result<Vec<Field>, ApiError> {
    if names.len() > most {
        return Err(ApiError::invalid_field(of, format!("must have at most {most} fields")));
    }
    let mut fields = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let field = population.schema().field(name).ok_or_else(|| {
            let nearest = population.schema().nearest(name);
            let meant = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            ApiError::invalid_field(format!("{of}[{index}]"), format!("is no field{meant}"))
        })?;
        if !caller.reads_in_clear(population.sensitivity(field.id)) {
            return Err(ApiError::field_denied(&field.name));
        }
        fields.push(field.clone());
    }
    Ok(fields)
}

/// Customers by the values of a field.
pub fn break_down(caller: &Caller, population: &Population, field: &Field, customers: &Bitmap) -> Breakdown {
    let currency = caller.tenant().currency;
    let found = population.engine().break_down(field.id, customers, FieldId::NetRevenue);
    let reads_money = caller.reads_in_clear(Sensitivity::Financial);
    let group = |group: &Group| {
        let (value, highest) = in_words(field.ty, &group.values, currency);
        let minor = i64::try_from(group.sum).unwrap_or(i64::MAX);
        let net_revenue = reads_money.then(|| convert::money(currency, minor));
        BreakdownGroup { value, highest, customers: group.customers as i64, net_revenue }
    };
    Breakdown {
        field: field.name.to_string(),
        groups: found.groups.iter().map(group).collect(),
        other_customers: found.others as i64,
    }
}

/// A value of a number field as rules write it, money and decimals with all their decimals.
pub fn written(ty: Type, number: i64, currency: Currency) -> String {
    match ty {
        Type::Money => with_decimals(number, currency.minor_digits()),
        Type::Decimal => with_decimals(number, DECIMALS.into()),
        Type::Instant => Instant::from_micros(number).to_string(),
        Type::Int | Type::Text | Type::Bool => number.to_string(),
    }
}

/// The value of a group, and the highest of a range.
fn in_words(ty: Type, values: &Values, currency: Currency) -> (String, String) {
    let number = |number: i64| written(ty, number, currency);
    match values {
        Values::Missing => (String::new(), String::new()),
        Values::Text(text) => (text.clone(), String::new()),
        Values::Range(low, high) if low == high => (number(*low), String::new()),
        Values::Range(low, high) => (number(*low), number(*high)),
    }
}

fn overlap(
    caller: &Caller,
    population: &Population,
    (field, parent): (&str, &str),
    customers: &Bitmap,
) -> Result<Overlap, ApiError> {
    let members = members_of(caller, population, field, parent)?;
    let shared = members.and_count(customers);
    let either = members.count() + customers.count() - shared;
    let jaccard = if either == 0 { 0.0 } else { shared as f64 / either as f64 };
    Ok(Overlap { parent: parent.to_owned(), members: members.count() as i64, shared: shared as i64, jaccard })
}

/// What publishing the draft of a segment would mean.
pub fn of_draft(
    service: &Service,
    caller: &Caller,
    key: &Key,
    sample_size: i32,
) -> Result<SegmentDraftPreview, ApiError> {
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(caller.tenant().id).watermark();
    let population = loaded.population.read();
    let definition = usable(caller, &population, key)?;
    let (promoted, body) = promoted(definition)?;
    let source = body.source().unwrap_or_default().to_owned();
    let rule: Rule = parse("name", &source, &population)?;
    check_rights(caller, &population, std::slice::from_ref(&rule))?;
    let effect = effect_of(&population, key, promoted.version, &body, Membership::Rules(vec![rule]))?;
    let scope = population.reached(caller.scope());
    let visible = effect.movements.iter().filter(|movement| may_read_classes(caller, movement.classes));
    let mut by_parent: BTreeMap<&str, Pair> = BTreeMap::new();
    for Movement { parent, customers, entered, .. } in visible {
        let customers = scope.as_ref().map_or_else(|| customers.clone(), |scope| customers.and(scope));
        let pair = by_parent.entry(parent).or_default();
        *(if *entered { &mut pair.entering } else { &mut pair.leaving }) = customers;
    }
    let name = key.to_string();
    let own = by_parent.remove(name.as_str()).unwrap_or_default();
    let members = reached(caller, &population, population.members(&name).unwrap_or_default());
    let dependents = by_parent.into_iter().filter(|(_, pair)| !pair.entering.is_empty() || !pair.leaving.is_empty());
    Ok(SegmentDraftPreview {
        moves: Some(own.told(caller, &population, &name)),
        staying: members.and_not(&own.leaving).count() as i64,
        entering_sample: sample(&own.entering, sample_size),
        leaving_sample: sample(&own.leaving, sample_size),
        dependents: dependents.map(|(parent, pair)| pair.told(caller, &population, parent)).collect(),
        etag: definition.etag(),
        watermark: Some(watermark.to_message()),
    })
}

/// Who enters and who leaves.
#[derive(Default)]
struct Pair {
    entering: Bitmap,
    leaving: Bitmap,
}

impl Pair {
    fn told(&self, caller: &Caller, population: &Population, parent: &str) -> MembershipMove {
        MembershipMove {
            parent: parent.to_owned(),
            entering: self.entering.count() as i64,
            leaving: self.leaving.count() as i64,
            entering_revenue: revenue(caller, population, &self.entering),
            leaving_revenue: revenue(caller, population, &self.leaving),
        }
    }
}
