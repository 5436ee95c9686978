//! How soon feedback is answered.

use super::facts::{place, token};
use super::walks::Walks;
use crate::Service;
use crate::responses::{Asked, History, Kind, MAX_HOURS, Tally, Targets};
use crate::store::customers;
use crate::store::facts::{Asking, Key, Period, histories};
use crate::store::privacy::{self, Hold};
use crate::store::response_targets::{self, StoredTargets};
use crate::store::{retention, waiting};
use quintile_chain::{page, store_error};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::names::{MAX_NAME_BYTES, optional_text};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::response_service_server::ResponseService;
use quintile_proto::ingestion::{
    GetResponseTargetsRequest, GetResponseTimesRequest, ListOverdueFeedbackRequest, ListOverdueFeedbackResponse,
    OverdueFeedback, ResponseTargets, ResponseTime, ResponseTimes, ShareInTime, UpdateResponseTargetsRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::StoreError;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tonic::Request;

/// The one resource's name.
const NAME: &str = "responseTargets";
/// The days of a report, where nobody says from when.
const REPORT_DAYS: i32 = 90;
/// The most days of a report: ten years.
const MAX_DAYS: i32 = 3_653;
/// The days whose feedback is still to be answered: fewer than those for which facts are kept at least.
const OVERDUE_DAYS: i32 = 365;
/// The most kinds of a filter.
const MAX_KINDS: usize = 16;

/// The handlers.
pub struct Responses {
    pub service: Service,
    pub walks: Walks,
}

fn message(stored: &StoredTargets) -> ResponseTargets {
    ResponseTargets {
        name: NAME.to_owned(),
        complaint_hours: stored.targets.complaint,
        support_ticket_hours: stored.targets.support_ticket,
        low_score_hours: stored.targets.low_score,
        comment_hours: stored.targets.comment,
        etag: stored.etag(),
    }
}

fn hours(field: &str, hours: i32) -> Result<i32, ApiError> {
    if (0..=MAX_HOURS).contains(&hours) {
        return Ok(hours);
    }
    Err(ApiError::invalid_field(format!("targets.{field}"), format!("must be 0 to {MAX_HOURS} hours")))
}

/// The period of a report, up to now.
fn period(request: &GetResponseTimesRequest, tenant: &Tenant, now: Instant) -> Result<Period, ApiError> {
    let instant = |field, given: Option<&prost_types::Timestamp>| match given {
        Some(_) => convert::instant(given).map(Some).map_err(|error| ApiError::invalid_time(field, error)),
        None => Ok(None),
    };
    let start = instant("start_time", request.start_time.as_ref())?;
    let end = instant("end_time", request.end_time.as_ref())?.unwrap_or(now);
    let from = start.unwrap_or_else(|| tenant.zone.days_before(end.min(now), REPORT_DAYS));
    if from > end {
        let field = if request.end_time.is_some() { "end_time" } else { "start_time" };
        return Err(ApiError::invalid_field(field, "the period must not end before it begins"));
    }
    if from < tenant.zone.days_before(end, MAX_DAYS) {
        return Err(ApiError::invalid_field("start_time", "must be at most ten years before the end"));
    }
    optional_text(&request.channel, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("channel", error))?;
    let (until, channel) = (end.min(now).max(from), request.channel.clone());
    Ok(Period { from, until, kinds: Kind::ALL.to_vec(), channel })
}

/// The kinds that a request names, or all.
fn kinds(given: &[i32]) -> Result<Vec<Kind>, ApiError> {
    if given.len() > MAX_KINDS {
        return Err(ApiError::invalid_field("kinds", format!("must have at most {MAX_KINDS} values")));
    }
    let mut kinds = Vec::with_capacity(given.len());
    for (index, number) in given.iter().enumerate() {
        let named = Kind::ALL.into_iter().find(|kind| i32::from(kind.message()) == *number);
        let wrong = || ApiError::invalid_field(format!("kinds[{index}]"), "must be one of the kinds");
        kinds.push(named.ok_or_else(wrong)?);
    }
    Ok(if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds })
}

/// The feedback of a period, with what became of it.
struct Walk<'a> {
    service: &'a Service,
    caller: &'a Caller,
    period: Period,
    now: Instant,
}

impl Walk<'_> {
    fn tenant(&self) -> TenantId {
        self.caller.tenant().id
    }

    /// Hands over all feedback of customers whom the caller reaches, with its customer and when it was answered, if it was.
    async fn each(&self, mut take: impl FnMut(CustomerId, Asked, Option<Instant>) + Send) -> Result<(), StoreError> {
        for asking in Asking::ALL.into_iter().filter(|asking| asking.has_some(&self.period.kinds)) {
            let mut behind = Some(Key::default());
            while let Some(key) = behind {
                let connection = self.service.runtime.database.reader();
                let (asked, next) = asking.behind(connection, self.tenant(), &self.period, &key).await?;
                behind = next;
                self.answer(asked, &mut take).await?;
            }
        }
        Ok(())
    }

    async fn answer(
        &self,
        asked: Vec<Asked>,
        take: &mut (impl FnMut(CustomerId, Asked, Option<Instant>) + Send),
    ) -> Result<(), StoreError> {
        let connection = self.service.runtime.database.reader();
        let subjects: BTreeSet<i64> = asked.iter().map(|asked| asked.key.0).collect();
        let subjects: Vec<i64> = subjects.into_iter().collect();
        let owners = waiting::owners(connection, self.tenant(), &subjects).await?;
        let customers: BTreeSet<CustomerId> = owners.values().copied().collect();
        let customers: Vec<CustomerId> = customers.into_iter().collect();
        let processed = customers::attributes_of(connection, self.tenant(), &customers).await?;
        let reached = processed.into_iter().filter(|(_, attributes)| self.caller.reaches(attributes)).map(|(id, _)| id);
        let reached: Vec<CustomerId> = reached.collect();
        let histories = histories(connection, self.tenant(), &reached, (self.period.from, self.now)).await?;
        let (reached, nothing): (HashSet<CustomerId>, _) = (reached.into_iter().collect(), History::default());
        for asked in asked {
            let Some(owner) = owners.get(&asked.key.0).filter(|owner| reached.contains(*owner)) else { continue };
            if let Some(became) = histories.get(owner).unwrap_or(&nothing).answer(&asked) {
                take(*owner, asked, became.answered);
            }
        }
        Ok(())
    }
}

fn response_time(kind: Kind, targets: &Targets, tally: &Tally) -> ResponseTime {
    let share = tally.share_in_time().filter(|_| targets.hours(kind) > 0);
    ResponseTime {
        kind: kind.message().into(),
        target_hours: targets.hours(kind),
        feedback: tally.feedback().cast_signed(),
        answered: tally.answered().cast_signed(),
        in_time: tally.in_time.cast_signed(),
        late: tally.late.cast_signed(),
        open_in_time: tally.open_in_time.cast_signed(),
        overdue: tally.overdue.cast_signed(),
        median_hours: tally.quantile_hours(5),
        p90_hours: tally.quantile_hours(9),
        in_time_share: share.map(|share| ShareInTime { share: share.value, low: share.low, high: share.high }),
    }
}

/// Where something overdue stands in the list: until when it was to be answered, in microseconds, the number of its kind, and its key.
type Place = (i64, i32, Key);

impl Responses {
    async fn targets(&self, tenant: TenantId) -> Result<StoredTargets, ApiError> {
        let stored = response_targets::get(self.service.runtime.database.reader(), tenant).await;
        stored.map_err(|error| store_error(&error))
    }

    /// Sets the targets. `None`: they are others than the caller knows.
    async fn update(
        &self,
        tenant: TenantId,
        targets: Targets,
        known_etag: &str,
    ) -> Result<Option<StoredTargets>, StoreError> {
        let transaction = self.service.runtime.database.begin().await?;
        privacy::hold(&transaction, tenant, Hold::Alone).await?;
        let stored = response_targets::get(&transaction, tenant).await?;
        if !known_etag.is_empty() && known_etag != stored.etag() {
            return Ok(None);
        }
        let stored = StoredTargets { targets, revision: stored.revision + 1 };
        response_targets::save(&transaction, tenant, &stored).await?;
        transaction.commit().await?;
        Ok(Some(stored))
    }

    /// Refuses a period of which facts are gone.
    async fn check_kept(&self, tenant: TenantId, from: Instant) -> Result<(), ApiError> {
        let kept = retention::get(self.service.runtime.database.reader(), tenant).await;
        let horizons = kept.map_err(|error| store_error(&error))?.horizons;
        if [horizons.interaction, horizons.feedback].into_iter().flatten().all(|horizon| horizon <= from) {
            return Ok(());
        }
        let problem = "facts of the period are not kept any more";
        Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem))
    }

    async fn report(&self, caller: &Caller, request: &GetResponseTimesRequest) -> Result<ResponseTimes, ApiError> {
        let tenant = caller.tenant();
        let now = self.service.runtime.business.now();
        let period = period(request, tenant, now)?;
        self.check_kept(tenant.id, period.from).await?;
        let targets = self.targets(tenant.id).await?.targets;
        let mut tallies: BTreeMap<Kind, Tally> = Kind::ALL.into_iter().map(|kind| (kind, Tally::default())).collect();
        let (start_time, end_time) = (convert::timestamp(period.from), convert::timestamp(period.until));
        let _turn = self.walks.begin(tenant.id).await?;
        let walk = Walk { service: &self.service, caller, period, now };
        let walked = walk.each(|_, asked, answered| {
            let due = targets.due(asked.kind, asked.at);
            tallies.entry(asked.kind).or_default().add(asked.at, due, answered, now);
        });
        walked.await.map_err(|error| store_error(&error))?;
        Ok(ResponseTimes {
            kinds: tallies.iter().map(|(kind, tally)| response_time(*kind, &targets, tally)).collect(),
            start_time: Some(start_time),
            end_time: Some(end_time),
            as_of: Some(convert::timestamp(now)),
        })
    }

    /// The feedback behind a place that is overdue: up to so much, and one more where there is more.
    async fn overdue(
        &self,
        caller: &Caller,
        targets: &Targets,
        kinds: &[Kind],
        (behind, size): (&Place, usize),
    ) -> Result<BTreeMap<Place, (CustomerId, Asked)>, StoreError> {
        let now = self.service.runtime.business.now();
        let mut found: BTreeMap<Place, (CustomerId, Asked)> = BTreeMap::new();
        // What has come since can't be overdue yet.
        let Some(until) = targets.overdue_before(kinds, now) else { return Ok(found) };
        let from = caller.tenant().zone.days_before(now, OVERDUE_DAYS);
        let kinds = kinds.iter().copied().filter(|kind| targets.hours(*kind) > 0).collect();
        let period = Period { from, until, kinds, channel: String::new() };
        let walk = Walk { service: &self.service, caller, period, now };
        let take = |customer, asked: Asked, answered: Option<Instant>| {
            let due = targets.due(asked.kind, asked.at).filter(|due| *due < now);
            let Some(due) = due.filter(|_| answered.is_none()) else { return };
            let place = (due.micros(), i32::from(asked.kind.message()), asked.key.clone());
            if place > *behind {
                found.insert(place, (customer, asked));
            }
            if found.len() > size + 1 {
                found.pop_last();
            }
        };
        walk.each(take).await?;
        Ok(found)
    }
}

fn told((due, kind, _): &Place, customer: CustomerId, asked: &Asked) -> OverdueFeedback {
    OverdueFeedback {
        customer: customer.to_string(),
        kind: *kind,
        feedback_time: Some(convert::timestamp(asked.at)),
        due_time: Some(convert::timestamp(Instant::from_micros(*due))),
        channel: asked.channel.clone(),
        about: asked.about.clone(),
    }
}

#[tonic::async_trait]
impl ResponseService for Responses {
    async fn get_response_targets(&self, request: Request<GetResponseTargetsRequest>) -> Answer<ResponseTargets> {
        let caller = Caller::of(&request)?;
        let stored = self.targets(caller.tenant().id).await?;
        Ok(caller.respond(message(&stored)))
    }

    async fn update_response_targets(&self, request: Request<UpdateResponseTargetsRequest>) -> Answer<ResponseTargets> {
        let caller = Caller::of(&request)?;
        let given = request.into_inner().targets.ok_or_else(|| ApiError::invalid_field("targets", "is required"))?;
        let targets = Targets {
            complaint: hours("complaint_hours", given.complaint_hours)?,
            support_ticket: hours("support_ticket_hours", given.support_ticket_hours)?,
            low_score: hours("low_score_hours", given.low_score_hours)?,
            comment: hours("comment_hours", given.comment_hours)?,
        };
        caller.is_about(NAME);
        let updated = self.update(caller.tenant().id, targets, &given.etag).await;
        let updated = updated.map_err(|error| store_error(&error))?;
        Ok(caller.respond(message(&updated.ok_or_else(ApiError::stale_etag)?)))
    }

    async fn get_response_times(&self, request: Request<GetResponseTimesRequest>) -> Answer<ResponseTimes> {
        let caller = Caller::of(&request)?;
        let times = self.report(&caller, request.get_ref()).await?;
        Ok(caller.respond(times))
    }

    async fn list_overdue_feedback(
        &self,
        request: Request<ListOverdueFeedbackRequest>,
    ) -> Answer<ListOverdueFeedbackResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let kinds = kinds(&request.kinds)?;
        let size = convert::page_size(request.page_size, 100, 1_000)? as usize;
        let (sealer, tenant) = (&self.service.runtime.sealer, caller.tenant().id);
        let StoredTargets { targets, revision } = self.targets(tenant).await?;
        // With other targets what is overdue stands in another order.
        let query = format!("ListOverdueFeedback {:?} {revision}", request.kinds);
        let behind: Place = page::begin(sealer, tenant, &query, &request.page_token, Place::default(), place)?;
        let _turn = self.walks.begin(tenant).await?;
        let found = self.overdue(&caller, &targets, &kinds, (&behind, size)).await;
        let found = found.map_err(|error| store_error(&error))?;
        let last = found.keys().nth(size.saturating_sub(1)).filter(|_| found.len() > size);
        let next_page_token = last.map(|last| token(sealer, tenant, &query, last)).unwrap_or_default();
        let feedback = found.iter().take(size).map(|(place, (customer, asked))| told(place, *customer, asked));
        let feedback: Vec<OverdueFeedback> = feedback.collect();
        let customers: Vec<CustomerId> = found.values().map(|(customer, _)| *customer).collect();
        let attributes = customers::attributes_of(self.service.runtime.database.reader(), tenant, &customers).await;
        let attributes = attributes.map_err(|error| store_error(&error))?;
        let view = caller.view_of_reached(attributes.iter().map(|(customer, attributes)| (*customer, attributes)));
        Ok(view.respond(ListOverdueFeedbackResponse { feedback, next_page_token }))
    }
}
