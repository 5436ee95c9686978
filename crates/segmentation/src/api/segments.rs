//! Segments.

use super::definitions::{
    Edit, Repeatable, Turn, check_description, check_etag, check_request_id, effect_of, effect_of_deletion, paths,
    promoted,
};
use super::{
    apart, check_fields, check_rights, expressions, lists, may_read, may_read_classes, members, memberships,
    population, previews,
};
use crate::Service;
use crate::engine::Bitmap;
use crate::population::catalogue::{Key, Kind};
use crate::population::definition::{Body, Definition};
use crate::population::membership::Membership;
use crate::population::{Evaluation, Population};
use crate::store::definitions as stored;
use prost::Message;
use quintile_chain::{feed, page, store_error};
use quintile_domain::names::resource_id;
use quintile_expr::Rule;
use quintile_proto::segmentation::segment_service_server::SegmentService;
use quintile_proto::segmentation::{
    AddMembersRequest, AddMembersResponse, CheckMembersRequest, CheckMembersResponse, CreateSegmentRequest,
    DeleteSegmentRequest, DeleteSegmentResponse, GetSegmentRequest, ListMemberRecordsRequest,
    ListMemberRecordsResponse, ListMembersRequest, ListMembersResponse, ListSegmentVersionsRequest,
    ListSegmentVersionsResponse, ListSegmentsRequest, ListSegmentsResponse, PreviewSegmentDraftRequest,
    PreviewSegmentRequest, PublishSegmentRequest, RemoveMembersRequest, RemoveMembersResponse, Segment,
    SegmentDraftPreview, SegmentKind, SegmentPreview, SegmentVersion, UpdateSegmentRequest, WatchMembershipsRequest,
    WatchMembershipsResponse,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use std::collections::BTreeSet;
use tonic::{Request, Response, Status};

/// The most segments of a tenant.
const MAX_SEGMENTS: usize = 10_000;
/// The most static lists of a tenant: their members are in memory, a bit for each customer.
const MAX_LISTS: usize = 200;

/// The handlers.
pub struct Segments {
    pub service: Service,
}

/// A rule of a request, bound to the fields and to segments that are there.
pub fn parse(field: &str, source: &str, population: &Population) -> Result<Rule, ApiError> {
    expressions::read(source, population)
        .map_err(|fault| ApiError::invalid(field, ErrorReason::InvalidExpression, fault.in_words()))
}

/// The key of a segment by name.
pub fn segment_key(field: &str, name: &str) -> Result<Key, ApiError> {
    let id = name.strip_prefix("segments/").filter(|id| resource_id(id).is_ok());
    id.map(Key::segment).ok_or_else(|| ApiError::invalid_field(field, "must be segments/{id}"))
}

/// Refuses who may not read a field that what is live reads, itself or through others.
pub fn check_live(caller: &Caller, population: &Population, key: &Key) -> Result<(), ApiError> {
    let place = population.catalogue().find(key).map(|(place, _)| place);
    place.map_or(Ok(()), |place| check_fields(caller, population, population.catalogue().fields_of(place)))
}

/// The fields that a draft reads, itself or through others. `None`: there is none, or what it says is nothing any longer.
pub fn draft_fields(population: &Population, definition: &Definition) -> Option<BTreeSet<u16>> {
    let membership = definition.draft.as_ref()?.membership(population.schema(), Bitmap::new())?;
    Some(population.catalogue().fields_of_membership(&membership))
}

/// A segment that a caller may use: its count and its very words are made of the fields that it reads.
pub fn usable<'a>(caller: &Caller, population: &'a Population, key: &Key) -> Result<&'a Definition, ApiError> {
    let definition = population.definition(key).ok_or_else(ApiError::not_found)?;
    check_live(caller, population, key)?;
    if definition.live.is_none() {
        check_fields(caller, population, draft_fields(population, definition).unwrap_or_default())?;
    }
    Ok(definition)
}

/// A segment as a caller sees it: its count is of the customers that the caller reaches, and a draft that the caller may not use is not shown.
fn message(
    caller: &Caller,
    population: &Population,
    definition: &Definition,
    scope: Option<&Bitmap>,
    everybody: &mut Evaluation<'_>,
) -> Segment {
    let members = match (population.catalogue().find(&definition.key), scope) {
        (None, _) => 0,
        (Some((place, _)), None) => population.counts(place).first().copied().unwrap_or(0),
        (Some((place, _)), Some(scope)) => everybody.parts(place).first().map_or(0, |members| members.and_count(scope)),
    };
    let source = |body: Option<&Body>| body.and_then(Body::source).map(str::to_owned);
    let draft = draft_fields(population, definition).filter(|fields| may_read(caller, population, fields));
    let kind = if definition.is_list() { SegmentKind::Static } else { SegmentKind::Rule };
    Segment {
        name: definition.key.to_string(),
        expression: source(definition.live.as_ref()).unwrap_or_default(),
        description: definition.description.clone(),
        members: members as i64,
        create_time: Some(convert::timestamp(definition.created_at)),
        etag: definition.etag(),
        kind: kind.into(),
        version: definition.version,
        draft_expression: draft.and_then(|_| source(definition.draft.as_ref())).unwrap_or_default(),
    }
}

impl Segments {
    fn get(&self, caller: &Caller, key: &Key) -> Result<Segment, ApiError> {
        let loaded = population(&self.service, caller)?;
        let population = loaded.population.read();
        let definition = usable(caller, &population, key)?;
        let scope = population.reached(caller.scope());
        Ok(population
            .at(population.as_of(), |everybody| message(caller, &population, definition, scope.as_ref(), everybody)))
    }

    async fn create(&self, caller: &Caller, request: CreateSegmentRequest) -> Result<Segment, ApiError> {
        let body = CreateSegmentRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
        let given = request.segment.as_ref().ok_or_else(|| ApiError::invalid_field("segment", "is required"))?;
        check_description("segment.description", &given.description)?;
        let kind = kind_of(given, request.draft_only)?;
        let key = Key::segment(&request.segment_id);
        let turn = Turn::wait(&self.service, caller).await?;
        let repeatable = Repeatable { method: "CreateSegment", id: request.request_id.clone(), body };
        if let Some(id) = turn.repeated(&repeatable).await? {
            return self.get(caller, &Key::segment(&id));
        }
        let now = self.service.clock.now();
        let edit = {
            let population = turn.loaded.population.read();
            refuse_another(&population, &key, kind)?;
            let rule = match given.expression.as_str() {
                "" if kind == SegmentKind::Static => None,
                source => Some(parse("segment.expression", source, &population)?),
            };
            check_rights(caller, &population, rule.as_slice())?;
            let definition = Definition {
                key: key.clone(),
                description: given.description.clone(),
                created_at: now,
                revision: 1,
                version: i64::from(!request.draft_only),
                live: None,
                draft: None,
            };
            let (request_draft, request) = (request.draft_only, Some(repeatable));
            let rule_body = Body::Rule(given.expression.clone());
            if request_draft {
                let definition = Some(Definition { draft: Some(rule_body), ..definition });
                Edit { definition, request, ..Edit::default() }
            } else if kind == SegmentKind::Static {
                let began_with = population.catalogue().fields_read(rule.as_slice());
                let body = Body::List(began_with.iter().copied().collect());
                let members = begin_with(caller, &population, rule.as_ref());
                let effect = Some(effect_of(
                    &population,
                    &key,
                    1,
                    &body,
                    Membership::List { listed: members.clone(), began_with },
                )?);
                let definition = Some(Definition { live: Some(body), ..definition });
                Edit { definition, effect, listed: Some((Bitmap::new(), members)), request }
            } else {
                let membership = Membership::Rules(rule.into_iter().collect());
                let effect = Some(effect_of(&population, &key, 1, &rule_body, membership)?);
                let definition = Some(Definition { live: Some(rule_body), ..definition });
                Edit { definition, effect, request, ..Edit::default() }
            }
        };
        turn.commit(&key, edit).await?;
        self.get(caller, &key)
    }

    async fn update(&self, caller: &Caller, request: UpdateSegmentRequest) -> Result<Segment, ApiError> {
        let given = request.segment.ok_or_else(|| ApiError::invalid_field("segment", "is required"))?;
        let key = segment_key("segment.name", &given.name)?;
        let paths = paths(request.update_mask, &["description", "draft_expression"])?;
        if paths.iter().any(|path| path == "description") {
            check_description("segment.description", &given.description)?;
        }
        caller.is_about(key.to_string());
        let turn = Turn::wait(&self.service, caller).await?;
        let edit = {
            let population = turn.loaded.population.read();
            let mut definition = usable(caller, &population, &key)?.clone();
            check_etag(&definition, &given.etag)?;
            for path in paths {
                match path.as_str() {
                    "description" => definition.description.clone_from(&given.description),
                    _ => definition.draft = draft(caller, &population, &definition, &given.draft_expression)?,
                }
            }
            definition.revision += 1;
            Edit { definition: Some(definition), ..Edit::default() }
        };
        turn.commit(&key, edit).await?;
        self.get(caller, &key)
    }

    async fn publish(&self, caller: &Caller, key: &Key, etag: &str) -> Result<Segment, ApiError> {
        if etag.is_empty() {
            return Err(ApiError::invalid_field("etag", "is required"));
        }
        let turn = Turn::wait(&self.service, caller).await?;
        let edit = {
            let population = turn.loaded.population.read();
            let definition = usable(caller, &population, key)?;
            check_etag(definition, etag)?;
            let (promoted, body) = promoted(definition)?;
            let source = body.source().unwrap_or_default().to_owned();
            let rule = parse("name", &source, &population)?;
            check_rights(caller, &population, std::slice::from_ref(&rule))?;
            let effect = effect_of(&population, key, promoted.version, &body, Membership::Rules(vec![rule]))?;
            Edit { definition: Some(promoted), effect: Some(effect), ..Edit::default() }
        };
        turn.commit(key, edit).await?;
        self.get(caller, key)
    }

    async fn delete(&self, caller: &Caller, key: &Key, known_etag: &str) -> Result<(), ApiError> {
        let turn = Turn::wait(&self.service, caller).await?;
        let effect = {
            let population = turn.loaded.population.read();
            let definition = usable(caller, &population, key)?;
            check_etag(definition, known_etag)?;
            effect_of_deletion(&population, key)?
        };
        turn.commit(key, Edit { effect: Some(effect), ..Edit::default() }).await
    }

    async fn versions(&self, caller: &Caller, key: &Key) -> Result<Vec<SegmentVersion>, ApiError> {
        let loaded = population(&self.service, caller)?;
        usable(caller, &loaded.population.read(), key)?;
        let tenant = caller.tenant().id;
        let versions = stored::versions(self.service.runtime.database.reader(), tenant, key).await;
        let versions = versions.map_err(|error| store_error(&error))?;
        // What it read when it was put in force: what it refers to may be another by now.
        let readable = |version: &stored::Published| may_read_classes(caller, version.classes);
        let message = |version: stored::Published| SegmentVersion {
            name: format!("{key}/versions/{}", version.version),
            expression: version.body.source().unwrap_or_default().to_owned(),
            publish_time: Some(convert::timestamp(version.published_at)),
            entered: if knows_numbers(caller, &version) { version.entered as i64 } else { 0 },
            left: if knows_numbers(caller, &version) { version.exited as i64 } else { 0 },
        };
        Ok(versions.into_iter().filter(readable).map(message).collect())
    }
}

/// Whether a caller may know how many a version has moved: not with a row scope, and not without reading what the version before has read.
pub fn knows_numbers(caller: &Caller, version: &stored::Published) -> bool {
    caller.scope().is_none() && may_read_classes(caller, version.moved_classes)
}

/// What kind of segment is asked for.
fn kind_of(given: &Segment, draft_only: bool) -> Result<SegmentKind, ApiError> {
    match SegmentKind::try_from(given.kind) {
        Ok(SegmentKind::Static) if draft_only => {
            Err(ApiError::invalid_field("draft_only", "is not for static lists: what is on one is what was put on it"))
        }
        Ok(SegmentKind::Unspecified) => Ok(SegmentKind::Rule),
        Ok(kind) => Ok(kind),
        Err(_) => Err(ApiError::invalid_field("segment.kind", "is not a kind of segment")),
    }
}

fn refuse_another(population: &Population, key: &Key, kind: SegmentKind) -> Result<(), ApiError> {
    if population.definition(key).is_some() {
        return Err(ApiError::already_exists("a segment with this id"));
    }
    let segments = population.definitions().filter(|definition| definition.key.kind == Kind::Segment);
    let (all, of_lists) = segments.fold((0, 0), |(all, lists), other| (all + 1, lists + usize::from(other.is_list())));
    let full = |message: String| Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
    if all >= MAX_SEGMENTS {
        return full(format!("a tenant may have {MAX_SEGMENTS} segments"));
    }
    if kind == SegmentKind::Static && of_lists >= MAX_LISTS {
        return full(format!("a tenant may have {MAX_LISTS} static lists"));
    }
    Ok(())
}

/// Whom a list begins with: those who match now, as far as the caller reaches them.
fn begin_with(caller: &Caller, population: &Population, rule: Option<&Rule>) -> Bitmap {
    let members = rule.map_or_else(Bitmap::new, |rule| population.select(rule, population.as_of()));
    super::reached(caller, population, members)
}

/// The draft that a request sets. `None`: it gives the draft up.
fn draft(caller: &Caller, population: &Population, of: &Definition, source: &str) -> Result<Option<Body>, ApiError> {
    if of.is_list() {
        let message = "a static list has no rule";
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
    }
    if source.is_empty() {
        if of.live.is_none() {
            let message = "nothing would be left of the segment: delete it";
            return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
        }
        return Ok(None);
    }
    let rule = parse("segment.draft_expression", source, population)?;
    check_rights(caller, population, std::slice::from_ref(&rule))?;
    Ok(Some(Body::Rule(source.to_owned())))
}

#[tonic::async_trait]
impl SegmentService for Segments {
    type WatchMembershipsStream = AnswerStream<WatchMembershipsResponse>;

    async fn create_segment(&self, request: Request<CreateSegmentRequest>) -> Answer<Segment> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        resource_id(&request.segment_id).map_err(|error| ApiError::invalid_text("segment_id", error))?;
        check_request_id(&request.request_id)?;
        caller.is_about(format!("segments/{}", request.segment_id));
        let segment = self.create(&caller, request).await?;
        Ok(caller.respond(segment))
    }

    async fn get_segment(&self, request: Request<GetSegmentRequest>) -> Answer<Segment> {
        let caller = Caller::of(&request)?;
        let key = segment_key("name", &request.get_ref().name)?;
        let segment = self.get(&caller, &key)?;
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
        // Definitions are by name.
        let listed = population.definitions().filter(|definition| {
            let key = &definition.key;
            key.kind == Kind::Segment && key.id > after && usable(&caller, &population, key).is_ok()
        });
        let mut segments: Vec<&Definition> = listed.take(size + 1).collect();
        let more = segments.len() > size;
        segments.truncate(size);
        let next_page_token = match segments.last() {
            Some(last) if more => sealer.seal(tenant, b"ListSegments", last.key.id.as_bytes()),
            _ => String::new(),
        };
        let scope = population.reached(caller.scope());
        // All in one: what they refer to is found once.
        let segments = population.at(population.as_of(), |everybody| {
            let message = |segment| message(&caller, &population, segment, scope.as_ref(), everybody);
            segments.into_iter().map(message).collect()
        });
        Ok(caller.respond(ListSegmentsResponse { segments, next_page_token }))
    }

    async fn update_segment(&self, request: Request<UpdateSegmentRequest>) -> Answer<Segment> {
        let caller = Caller::of(&request)?;
        let segment = self.update(&caller, request.into_inner()).await?;
        Ok(caller.respond(segment))
    }

    async fn preview_segment_draft(&self, request: Request<PreviewSegmentDraftRequest>) -> Answer<SegmentDraftPreview> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = segment_key("name", &request.name)?;
        previews::check_sample(request.sample_size)?;
        let preview = previews::of_draft(&self.service, &caller, &key, request.sample_size)?;
        Ok(caller.respond(preview))
    }

    async fn publish_segment(&self, request: Request<PublishSegmentRequest>) -> Answer<Segment> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = segment_key("name", &request.name)?;
        caller.is_about(key.to_string());
        let segment = self.publish(&caller, &key, &request.etag).await?;
        Ok(caller.respond(segment))
    }

    async fn list_segment_versions(
        &self,
        request: Request<ListSegmentVersionsRequest>,
    ) -> Answer<ListSegmentVersionsResponse> {
        let caller = Caller::of(&request)?;
        let key = segment_key("parent", &request.get_ref().parent)?;
        let versions = self.versions(&caller, &key).await?;
        Ok(caller.respond(ListSegmentVersionsResponse { versions }))
    }

    async fn delete_segment(&self, request: Request<DeleteSegmentRequest>) -> Answer<DeleteSegmentResponse> {
        let caller = Caller::of(&request)?;
        let key = segment_key("name", &request.get_ref().name)?;
        caller.is_about(key.to_string());
        self.delete(&caller, &key, &request.get_ref().etag).await?;
        Ok(caller.respond(DeleteSegmentResponse {}))
    }

    async fn add_members(&self, request: Request<AddMembersRequest>) -> Answer<AddMembersResponse> {
        let caller = Caller::of(&request)?;
        let AddMembersRequest { parent, customers } = request.into_inner();
        let added = lists::change(&self.service, &caller, &parent, &customers, true).await?;
        Ok(caller.respond(AddMembersResponse { added }))
    }

    async fn remove_members(&self, request: Request<RemoveMembersRequest>) -> Answer<RemoveMembersResponse> {
        let caller = Caller::of(&request)?;
        let RemoveMembersRequest { parent, customers } = request.into_inner();
        let removed = lists::change(&self.service, &caller, &parent, &customers, false).await?;
        Ok(caller.respond(RemoveMembersResponse { removed }))
    }

    async fn preview_segment(&self, request: Request<PreviewSegmentRequest>) -> Answer<SegmentPreview> {
        let caller = Caller::of(&request)?;
        let (service, asking, request) = (self.service.clone(), caller.clone(), request.into_inner());
        let preview = apart(move |cancellation| previews::of_expression(&service, &asking, &request, cancellation));
        Ok(caller.respond(preview.await?))
    }

    async fn list_members(&self, request: Request<ListMembersRequest>) -> Answer<ListMembersResponse> {
        let caller = Caller::of(&request)?;
        let page = members::list(&self.service, &caller, request.get_ref())?;
        Ok(caller.respond(page))
    }

    async fn list_member_records(
        &self,
        request: Request<ListMemberRecordsRequest>,
    ) -> Answer<ListMemberRecordsResponse> {
        let caller = Caller::of(&request)?;
        let page = members::records(&self.service, &caller, request.get_ref()).await?;
        Ok(feed::view_of(&caller, &page.records).respond(page))
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
