//! Segments.

use super::{check_rights, expressions, members, memberships, population, reached, reached_population, revenue};
use crate::Service;
use crate::engine::Bitmap;
use crate::population::{Change, LiveSegment, Population};
use crate::store::memberships as log;
use crate::store::segments::{self, Definition};
use prost::Message;
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::names::{optional_text, resource_id};
use quintile_expr::Rule;
use quintile_proto::segmentation::segment_service_server::SegmentService;
use quintile_proto::segmentation::{
    CheckMembersRequest, CheckMembersResponse, CreateSegmentRequest, DeleteSegmentRequest, DeleteSegmentResponse,
    GetSegmentRequest, ListMembersRequest, ListMembersResponse, ListSegmentsRequest, ListSegmentsResponse,
    MembershipCause, PreviewSegmentRequest, Segment, SegmentPreview, WatchMembershipsRequest, WatchMembershipsResponse,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use std::time::Instant as Stopwatch;
use tonic::{Request, Response, Status};

/// The most segments of a tenant.
const MAX_SEGMENTS: usize = 10_000;
/// The most customers of a sample.
const MAX_SAMPLE: i32 = 100;
/// The most bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 1_024;

/// The handlers.
pub struct Segments {
    pub service: Service,
}

/// A rule of a request, bound to the fields and to segments that are there.
fn parse(field: &str, source: &str, population: &Population) -> Result<Rule, ApiError> {
    expressions::read(source, population)
        .map_err(|fault| ApiError::invalid(field, ErrorReason::InvalidExpression, fault.in_words()))
}

fn segment_id(field: &str, name: &str) -> Result<String, ApiError> {
    let id = name.strip_prefix("segments/").filter(|id| resource_id(id).is_ok());
    id.map(str::to_owned).ok_or_else(|| ApiError::invalid_field(field, "must be segments/{id}"))
}

/// A segment as a caller sees it: its count is of the customers that the caller reaches.
fn message(segment: &LiveSegment, scope: Option<&Bitmap>) -> Segment {
    let members = scope.map_or_else(|| segment.members.count(), |scope| segment.members.and(scope).count());
    Segment {
        name: segment.name(),
        expression: segment.rule.source().to_owned(),
        description: segment.description.clone(),
        members: members as i64,
        create_time: Some(convert::timestamp(segment.created_at)),
        etag: etag(segment),
    }
}

fn etag(segment: &LiveSegment) -> String {
    format!("\"{}-{}\"", segment.created_at.micros(), segment.revision)
}

/// Enters or exits of everybody, because a definition came or went.
fn by_definition(segment: &LiveSegment, members: &Bitmap, entered: bool, population: &Population) -> Vec<Change> {
    let parent = segment.name();
    let change = |customer_id| Change {
        parent: parent.clone(),
        customer_id,
        entered,
        valid_at: population.as_of(),
        cause: MembershipCause::Definition,
        classes: segment.classes,
    };
    members.iter().map(change).collect()
}

impl Segments {
    async fn create(&self, caller: &Caller, request: CreateSegmentRequest) -> Result<Segment, ApiError> {
        let body = CreateSegmentRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
        let given = request.segment.ok_or_else(|| ApiError::invalid_field("segment", "is required"))?;
        optional_text(&given.description, MAX_DESCRIPTION_BYTES)
            .map_err(|error| ApiError::invalid_text("segment.description", error))?;
        let tenant = caller.tenant().id;
        let loaded = population(&self.service, caller)?;
        let _changing = loaded.changing.lock().await;
        let repeatable = IdempotentRequest { tenant, method: "CreateSegment", id: &request.request_id, body: &body };
        let database = &self.service.runtime.database;
        if !request.request_id.is_empty() {
            let earlier = idempotency::earlier_result(database.reader(), repeatable).await;
            if let Some(id) = earlier.map_err(|error| store_error(&error))? {
                return self.get(caller, &id);
            }
        }
        let now = self.service.clock.now();
        let (segment, changes, place) = {
            let population = loaded.population.read();
            let rule = parse("segment.expression", &given.expression, &population)?;
            check_rights(caller, &population, &rule)?;
            if population.segment(&request.segment_id).is_some() {
                return Err(ApiError::already_exists("a segment with this id"));
            }
            if population.segments().len() >= MAX_SEGMENTS {
                let message = format!("a tenant may have {MAX_SEGMENTS} segments");
                return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
            }
            let members = population.select(&rule, population.as_of());
            let segment = LiveSegment {
                id: request.segment_id.clone(),
                classes: population.classes_read(&rule),
                rule,
                description: given.description,
                created_at: now,
                revision: 1,
                members: Bitmap::new(),
            };
            let changes = by_definition(&segment, &members, true, &population);
            (segment, changes, now.micros())
        };
        let definition = Definition {
            id: segment.id.clone(),
            expression: segment.rule.source().to_owned(),
            description: segment.description.clone(),
            created_at: now,
            revision: 1,
            place,
        };
        let written = async {
            let transaction = database.begin().await?;
            segments::insert(&transaction, tenant, &definition).await?;
            if !request.request_id.is_empty() {
                idempotency::remember(&transaction, repeatable, &segment.id, now).await?;
            }
            log::append(&transaction, tenant, &changes).await?;
            transaction.commit().await?;
            Ok(())
        };
        written.await.map_err(|error| store_error(&error))?;
        loaded.population.write().add(segment);
        self.service.runtime.progress.of(tenant).raise(quintile_chain::progress::Watermark::default());
        self.get(caller, &request.segment_id)
    }

    fn get(&self, caller: &Caller, id: &str) -> Result<Segment, ApiError> {
        let loaded = population(&self.service, caller)?;
        let population = loaded.population.read();
        let segment = population.segment(id).ok_or_else(ApiError::not_found)?;
        // Its count and its very words are made of the fields that it reads.
        check_rights(caller, &population, &segment.rule)?;
        Ok(message(segment, population.reached(caller.scope()).as_ref()))
    }

    async fn delete(&self, caller: &Caller, id: &str, known_etag: &str) -> Result<(), ApiError> {
        let tenant = caller.tenant().id;
        let loaded = population(&self.service, caller)?;
        let _changing = loaded.changing.lock().await;
        let changes = {
            let population = loaded.population.read();
            let segment = population.segment(id).ok_or_else(ApiError::not_found)?;
            check_rights(caller, &population, &segment.rule)?;
            if !known_etag.is_empty() && known_etag != etag(segment) {
                return Err(ApiError::stale_etag());
            }
            if population.segments().iter().any(|other| other.rule.references().iter().any(|used| used == id)) {
                let message = "another segment refers to this one";
                return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
            }
            by_definition(segment, &segment.members, false, &population)
        };
        let written = async {
            let transaction = self.service.runtime.database.begin().await?;
            segments::delete(&transaction, tenant, id).await?;
            log::append(&transaction, tenant, &changes).await?;
            transaction.commit().await?;
            Ok(())
        };
        written.await.map_err(|error| store_error(&error))?;
        loaded.population.write().remove(id);
        self.service.runtime.progress.of(tenant).raise(quintile_chain::progress::Watermark::default());
        Ok(())
    }
}

#[tonic::async_trait]
impl SegmentService for Segments {
    type WatchMembershipsStream = AnswerStream<WatchMembershipsResponse>;

    async fn create_segment(&self, request: Request<CreateSegmentRequest>) -> Answer<Segment> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        resource_id(&request.segment_id).map_err(|error| ApiError::invalid_text("segment_id", error))?;
        if !request.request_id.is_empty() && uuid::Uuid::try_parse(&request.request_id).is_err() {
            return Err(ApiError::invalid_field("request_id", "must be a UUID").into());
        }
        caller.is_about(format!("segments/{}", request.segment_id));
        let segment = self.create(&caller, request).await?;
        Ok(caller.respond(segment))
    }

    async fn get_segment(&self, request: Request<GetSegmentRequest>) -> Answer<Segment> {
        let caller = Caller::of(&request)?;
        let id = segment_id("name", &request.get_ref().name)?;
        let segment = self.get(&caller, &id)?;
        Ok(caller.respond(segment))
    }

    async fn list_segments(&self, request: Request<ListSegmentsRequest>) -> Answer<ListSegmentsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)? as usize;
        let sealer = &self.service.runtime.sealer;
        let token = &request.get_ref().page_token;
        let after = page::begin(sealer, tenant, "ListSegments", token, String::new(), |id| String::from_utf8(id).ok())?;
        let loaded = population(&self.service, &caller)?;
        let population = loaded.population.read();
        let mut segments: Vec<&LiveSegment> = population
            .segments()
            .iter()
            .filter(|segment| segment.id > after && check_rights(&caller, &population, &segment.rule).is_ok())
            .collect();
        segments.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let more = segments.len() > size;
        segments.truncate(size);
        let next_page_token = match segments.last() {
            Some(last) if more => sealer.seal(tenant, b"ListSegments", last.id.as_bytes()),
            _ => String::new(),
        };
        let scope = population.reached(caller.scope());
        let segments = segments.into_iter().map(|segment| message(segment, scope.as_ref())).collect();
        Ok(caller.respond(ListSegmentsResponse { segments, next_page_token }))
    }

    async fn delete_segment(&self, request: Request<DeleteSegmentRequest>) -> Answer<DeleteSegmentResponse> {
        let caller = Caller::of(&request)?;
        let id = segment_id("name", &request.get_ref().name)?;
        caller.is_about(format!("segments/{id}"));
        self.delete(&caller, &id, &request.get_ref().etag).await?;
        Ok(caller.respond(DeleteSegmentResponse {}))
    }

    async fn preview_segment(&self, request: Request<PreviewSegmentRequest>) -> Answer<SegmentPreview> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        if !(0..=MAX_SAMPLE).contains(&request.sample_size) {
            return Err(ApiError::invalid_field("sample_size", format!("must be within 0 and {MAX_SAMPLE}")).into());
        }
        let loaded = population(&self.service, &caller)?;
        let runtime = &self.service.runtime;
        let watermark = runtime.progress.of(caller.tenant().id).watermark();
        let population = loaded.population.read();
        let rule = parse("expression", &request.expression, &population)?;
        check_rights(&caller, &population, &rule)?;
        let begun = Stopwatch::now();
        let members = reached(&caller, &population, population.select(&rule, runtime.business.now()));
        let customers = members.count();
        let evaluation_time = begun.elapsed();
        let sample = members.iter().take(request.sample_size as usize).map(|id| CustomerId(id).to_string());
        Ok(caller.respond(SegmentPreview {
            customers: customers as i64,
            population: reached_population(&caller, &population),
            net_revenue: revenue(&caller, &population, &members),
            sample: sample.collect(),
            evaluation_time: Some(convert::duration(evaluation_time)),
            watermark: Some(watermark.to_message()),
        }))
    }

    async fn list_members(&self, request: Request<ListMembersRequest>) -> Answer<ListMembersResponse> {
        let caller = Caller::of(&request)?;
        let page = members::list(&self.service, &caller, request.get_ref())?;
        Ok(caller.respond(page))
    }

    async fn check_members(&self, request: Request<CheckMembersRequest>) -> Answer<CheckMembersResponse> {
        let caller = Caller::of(&request)?;
        let checked = members::check(&self.service, &caller, request.get_ref())?;
        Ok(caller.respond(checked))
    }

    async fn watch_memberships(
        &self,
        request: Request<WatchMembershipsRequest>,
    ) -> Result<Response<Self::WatchMembershipsStream>, Status> {
        let caller = Caller::of(&request)?;
        let stream = memberships::watch(self.service.clone(), caller, request.into_inner()).await?;
        Ok(Response::new(stream))
    }
}
