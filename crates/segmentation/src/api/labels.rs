//! Label sets.

use super::definitions::{
    Edit, Repeatable, Turn, check_description, check_etag, check_request_id, effect_of, effect_of_deletion, paths,
    promoted,
};
use super::label_texts::{given_set, preset, renamed};
use super::segments::{check_live, draft_fields, knows_numbers, parse};
use super::{
    apart, check_fields, check_rights, impacts, may_read, may_read_classes, population, reached, reached_population,
    revenue,
};
use crate::Service;
use crate::engine::Bitmap;
use crate::labels::{self, LabelSet as Set};
use crate::population::catalogue::{Key, Kind};
use crate::population::definition::{Body, Definition};
use crate::population::membership::Membership;
use crate::population::{LABEL_SET, Population};
use crate::store::definitions as stored;
use prost::Message;
use quintile_chain::{page, store_error};
use quintile_domain::names::resource_id;
use quintile_expr::Rule;
use quintile_proto::segmentation::label_service_server::LabelService;
use quintile_proto::segmentation::{
    CreateLabelSetRequest, DeleteLabelSetRequest, DeleteLabelSetResponse, GetLabelDistributionRequest,
    GetLabelSetRequest, ImpactPreview, LabelCount, LabelDistribution, LabelRules, LabelSet, LabelSetVersion,
    ListLabelSetVersionsRequest, ListLabelSetVersionsResponse, ListLabelSetsRequest, ListLabelSetsResponse,
    PreviewImpactRequest, PreviewLabelSetDraftRequest, PublishLabelSetRequest, UpdateLabelSetRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use tonic::Request;

/// The most bytes of all rules of a set: each is tried on every combination of values.
const MAX_RULES_BYTES: usize = 64 * 1_024;
/// The most label sets of a tenant, the one that ships among them.
const MAX_SETS: usize = 50;

/// The handlers.
pub struct Labels {
    pub service: Service,
}

/// The key of a label set by name.
pub fn label_set_key(field: &str, name: &str) -> Result<Key, ApiError> {
    let id = name.strip_prefix("labelSets/").filter(|id| resource_id(id).is_ok());
    id.map(Key::label_set).ok_or_else(|| ApiError::invalid_field(field, "must be labelSets/{set}"))
}

/// A draft that may be put in force.
pub struct Draft {
    /// The definition as it would be.
    pub definition: Definition,
    /// What it says.
    pub body: Body,
    /// How that decides.
    pub membership: Membership,
}

/// The draft of a set that the caller may use; of rules, proved.
pub fn draft_of(caller: &Caller, population: &Population, key: &Key) -> Result<Draft, ApiError> {
    let (definition, body) = promoted(usable(caller, population, key)?)?;
    let membership = match &body {
        Body::Labels(set) => Membership::Rules(checked(caller, population, "name", set)?),
        _ => bound(caller, population, &body)?,
    };
    Ok(Draft { definition, body, membership })
}

/// Clusters that can be put in force: bound and permitted.
pub fn bound(caller: &Caller, population: &Population, body: &Body) -> Result<Membership, ApiError> {
    let gone = || {
        let message = "what the clusters read is not there any longer: find them anew";
        ApiError::failed_precondition(ErrorReason::FailedPrecondition, message)
    };
    let membership = body.membership(population.schema(), Bitmap::new()).ok_or_else(gone)?;
    let mut references = membership.rules().iter().flat_map(Rule::references);
    if references.any(|reference| population.catalogue().referred(reference).is_none()) {
        return Err(gone());
    }
    check_fields(caller, population, population.catalogue().fields_of_membership(&membership))?;
    Ok(membership)
}

/// A label set that a caller may use.
pub fn usable<'a>(caller: &Caller, population: &'a Population, key: &Key) -> Result<&'a Definition, ApiError> {
    let definition = population.definition(key).ok_or_else(ApiError::not_found)?;
    check_live(caller, population, key)?;
    if definition.live.is_none() {
        check_fields(caller, population, draft_fields(population, definition).unwrap_or_default())?;
    }
    Ok(definition)
}

/// The rules of a set that can be put in force: bound, permitted and proved.
fn checked(caller: &Caller, population: &Population, field: &str, set: &Set) -> Result<Vec<Rule>, ApiError> {
    let mut rules = Vec::with_capacity(set.labels.len());
    if set.labels.iter().map(|label| label.expression.len()).sum::<usize>() > MAX_RULES_BYTES {
        let problem = format!("must have rules of at most {MAX_RULES_BYTES} bytes together");
        return Err(ApiError::invalid_field(format!("{field}.labels"), problem));
    }
    for (index, label) in set.labels.iter().enumerate() {
        rules.push(parse(&format!("{field}.labels[{index}].expression"), &label.expression, population)?);
    }
    check_rights(caller, population, &rules)?;
    let refused = |error: labels::LabelError| ApiError::invalid_field(field, error.to_string());
    labels::prove(set, &rules).map_err(refused)?;
    Ok(rules)
}

/// A set as a caller sees it.
fn message(caller: &Caller, population: &Population, definition: &Definition) -> LabelSet {
    let key = &definition.key;
    let rules = |body: Option<&Body>| {
        let set = body.and_then(Body::labels)?;
        Some(stored::to_rules(set, |id| format!("{key}/labels/{id}")))
    };
    let draft = draft_fields(population, definition).filter(|draft| may_read(caller, population, draft));
    let mut live = rules(definition.live.as_ref()).unwrap_or_default();
    let proof = proof_of(population, definition);
    for (place, label) in live.labels.iter_mut().enumerate() {
        label.cells = if proof.cells.len() == CELLS { proof.cells_of(place).collect() } else { Vec::new() };
    }
    LabelSet {
        name: key.to_string(),
        labels: live.labels,
        proved_cells: i32::try_from(proof.cells.len()).unwrap_or(i32::MAX),
        description: definition.description.clone(),
        create_time: (key.id != LABEL_SET).then(|| convert::timestamp(definition.created_at)),
        etag: definition.etag(),
        version: definition.version,
        overlaps_allowed: live.overlaps_allowed,
        draft: draft.and_then(|_| rules(definition.draft.as_ref())),
        clustered: matches!(definition.live.as_ref().or(definition.draft.as_ref()), Some(Body::Clusters(_))),
    }
}

/// Cells of recency, frequency and monetary scores.
const CELLS: usize = 125;

fn proof_of(population: &Population, definition: &Definition) -> labels::Proof {
    let Some(Body::Labels(set)) = &definition.live else { return labels::Proof::default() };
    let prove = || {
        let rules = set.labels.iter().map(|label| Rule::parse(&label.expression, population.schema()));
        let rules = rules.collect::<Result<Vec<_>, _>>().unwrap_or_default();
        labels::prove(set, &rules).unwrap_or_default()
    };
    let live = population.catalogue().find(&definition.key);
    live.map_or_else(labels::Proof::default, |(_, live)| live.proof(prove).clone())
}

pub fn refuse_the_one_that_ships(key: &Key) -> Result<(), ApiError> {
    if key.id != LABEL_SET {
        return Ok(());
    }
    let message = "the label set that ships stays as it is: make one of the preset `rfm-11` to change it";
    Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message))
}

impl Labels {
    fn get(&self, caller: &Caller, key: &Key) -> Result<LabelSet, ApiError> {
        let loaded = population(&self.service, caller)?;
        let population = loaded.population.read();
        Ok(message(caller, &population, usable(caller, &population, key)?))
    }

    async fn create(&self, caller: &Caller, request: CreateLabelSetRequest) -> Result<LabelSet, ApiError> {
        let body = CreateLabelSetRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
        let given = request.label_set.clone().unwrap_or_default();
        check_description("label_set.description", &given.description)?;
        let key = Key::label_set(&request.label_set_id);
        let turn = Turn::wait(&self.service, caller).await?;
        let repeatable = Repeatable { method: "CreateLabelSet", id: request.request_id.clone(), body };
        if let Some(id) = turn.repeated(&repeatable).await? {
            return self.get(caller, &Key::label_set(&id));
        }
        let now = self.service.clock.now();
        let edit = {
            let population = turn.loaded.population.read();
            refuse_another(&population, &key)?;
            let set = match (request.preset.as_str(), given.labels.is_empty()) {
                ("", _) => given_set(&key, "label_set", &given.labels, given.overlaps_allowed)?,
                (name, true) => {
                    preset(name, &population, &reached(caller, &population, population.engine().present().clone()))?
                }
                _ => return Err(ApiError::invalid_field("label_set.labels", "must be empty with a preset")),
            };
            let rules = checked(caller, &population, "label_set", &set);
            // What is wrong with a preset is what there is to make it of.
            let rules = rules.map_err(|error| match request.preset.as_str() {
                "" => error,
                _ => ApiError::failed_precondition(ErrorReason::FailedPrecondition, error.message().to_owned()),
            })?;
            let body = Body::Labels(set);
            let live = !request.draft_only;
            let definition = Definition {
                key: key.clone(),
                description: given.description,
                created_at: now,
                revision: 1,
                version: i64::from(live),
                live: live.then(|| body.clone()),
                draft: (!live).then(|| body.clone()),
            };
            let membership = Membership::Rules(rules);
            let effect = live.then(|| effect_of(&population, &key, 1, &body, membership)).transpose()?;
            Edit { definition: Some(definition), effect, request: Some(repeatable), ..Edit::default() }
        };
        turn.commit(&key, edit).await?;
        self.get(caller, &key)
    }

    async fn update(&self, caller: &Caller, request: UpdateLabelSetRequest) -> Result<LabelSet, ApiError> {
        let given = request.label_set.ok_or_else(|| ApiError::invalid_field("label_set", "is required"))?;
        let key = label_set_key("label_set.name", &given.name)?;
        let paths = paths(request.update_mask, &["description", "draft"])?;
        if paths.iter().any(|path| path == "description") {
            check_description("label_set.description", &given.description)?;
        }
        caller.is_about(key.to_string());
        let turn = Turn::wait(&self.service, caller).await?;
        let edit = {
            let population = turn.loaded.population.read();
            let mut definition = usable(caller, &population, &key)?.clone();
            refuse_the_one_that_ships(&key)?;
            check_etag(&definition, &given.etag)?;
            for path in paths {
                match path.as_str() {
                    "description" => definition.description.clone_from(&given.description),
                    _ => definition.draft = draft(caller, &population, &definition, given.draft.as_ref())?,
                }
            }
            definition.revision += 1;
            Edit { definition: Some(definition), ..Edit::default() }
        };
        turn.commit(&key, edit).await?;
        self.get(caller, &key)
    }

    async fn publish(&self, caller: &Caller, key: &Key, etag: &str) -> Result<LabelSet, ApiError> {
        if etag.is_empty() {
            return Err(ApiError::invalid_field("etag", "is required"));
        }
        let turn = Turn::wait(&self.service, caller).await?;
        let edit = {
            let population = turn.loaded.population.read();
            check_etag(usable(caller, &population, key)?, etag)?;
            let Draft { definition, body, membership } = draft_of(caller, &population, key)?;
            let effect = effect_of(&population, key, definition.version, &body, membership)?;
            Edit { definition: Some(definition), effect: Some(effect), ..Edit::default() }
        };
        turn.commit(key, edit).await?;
        self.get(caller, key)
    }

    async fn delete(&self, caller: &Caller, key: &Key, known_etag: &str) -> Result<(), ApiError> {
        let turn = Turn::wait(&self.service, caller).await?;
        let effect = {
            let population = turn.loaded.population.read();
            check_etag(usable(caller, &population, key)?, known_etag)?;
            refuse_the_one_that_ships(key)?;
            effect_of_deletion(&population, key)?
        };
        turn.commit(key, Edit { effect: Some(effect), ..Edit::default() }).await
    }

    async fn versions(&self, caller: &Caller, key: &Key) -> Result<Vec<LabelSetVersion>, ApiError> {
        let loaded = population(&self.service, caller)?;
        usable(caller, &loaded.population.read(), key)?;
        let tenant = caller.tenant().id;
        let versions = stored::versions(self.service.runtime.database.reader(), tenant, key).await;
        let versions = versions.map_err(|error| store_error(&error))?;
        // What it read when it was put in force: what it refers to may be another by now.
        let readable = |version: &stored::Published| may_read_classes(caller, version.classes);
        let message = |version: stored::Published| LabelSetVersion {
            name: format!("{key}/versions/{}", version.version),
            rules: version.body.labels().map(|set| stored::to_rules(set, |id| format!("{key}/labels/{id}"))),
            publish_time: Some(convert::timestamp(version.published_at)),
            moved: if knows_numbers(caller, &version) { version.entered as i64 } else { 0 },
        };
        Ok(versions.into_iter().filter(readable).map(message).collect())
    }
}

pub fn refuse_another(population: &Population, key: &Key) -> Result<(), ApiError> {
    if population.definition(key).is_some() {
        return Err(ApiError::already_exists("a label set with this id"));
    }
    if population.definitions().filter(|definition| definition.key.kind == Kind::LabelSet).count() >= MAX_SETS {
        let message = format!("a tenant may have {MAX_SETS} label sets");
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
    }
    Ok(())
}

/// The draft that a request sets. `None`: it gives the draft up.
fn draft(
    caller: &Caller,
    population: &Population,
    of: &Definition,
    given: Option<&LabelRules>,
) -> Result<Option<Body>, ApiError> {
    let Some(LabelRules { labels, overlaps_allowed }) = given else {
        if of.live.is_none() {
            let message = "nothing would be left of the label set: delete it";
            return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, message));
        }
        return Ok(None);
    };
    if let Some(Body::Clusters(clustering)) = of.draft.as_ref().or(of.live.as_ref()) {
        bound(caller, population, &Body::Clusters(clustering.clone()))?;
        if *overlaps_allowed {
            return Err(ApiError::invalid_field("label_set.draft.overlaps_allowed", "must be false of clusters"));
        }
        return renamed(&of.key, clustering, labels).map(Some);
    }
    let set = given_set(&of.key, "label_set.draft", labels, *overlaps_allowed)?;
    checked(caller, population, "label_set.draft", &set)?;
    Ok(Some(Body::Labels(set)))
}

#[tonic::async_trait]
impl LabelService for Labels {
    async fn create_label_set(&self, request: Request<CreateLabelSetRequest>) -> Answer<LabelSet> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        resource_id(&request.label_set_id).map_err(|error| ApiError::invalid_text("label_set_id", error))?;
        check_request_id(&request.request_id)?;
        caller.is_about(format!("labelSets/{}", request.label_set_id));
        let set = self.create(&caller, request).await?;
        Ok(caller.respond(set))
    }

    async fn get_label_set(&self, request: Request<GetLabelSetRequest>) -> Answer<LabelSet> {
        let caller = Caller::of(&request)?;
        let set = self.get(&caller, &label_set_key("name", &request.get_ref().name)?)?;
        Ok(caller.respond(set))
    }

    async fn list_label_sets(&self, request: Request<ListLabelSetsRequest>) -> Answer<ListLabelSetsResponse> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.get_ref().page_size, 100, 1_000)? as usize;
        let sealer = &self.service.runtime.sealer;
        let token = &request.get_ref().page_token;
        let after =
            page::begin(sealer, tenant, "ListLabelSets", token, String::new(), |id| String::from_utf8(id).ok())?;
        let loaded = population(&self.service, &caller)?;
        let population = loaded.population.read();
        // Definitions are by name.
        let listed = population.definitions().filter(|definition| {
            let key = &definition.key;
            key.kind == Kind::LabelSet && key.id > after && usable(&caller, &population, key).is_ok()
        });
        let mut sets: Vec<&Definition> = listed.take(size + 1).collect();
        let more = sets.len() > size;
        sets.truncate(size);
        let next_page_token = match sets.last() {
            Some(last) if more => sealer.seal(tenant, b"ListLabelSets", last.key.id.as_bytes()),
            _ => String::new(),
        };
        let label_sets = sets.into_iter().map(|set| message(&caller, &population, set)).collect();
        Ok(caller.respond(ListLabelSetsResponse { label_sets, next_page_token }))
    }

    async fn update_label_set(&self, request: Request<UpdateLabelSetRequest>) -> Answer<LabelSet> {
        let caller = Caller::of(&request)?;
        let set = self.update(&caller, request.into_inner()).await?;
        Ok(caller.respond(set))
    }

    async fn preview_label_set_draft(&self, request: Request<PreviewLabelSetDraftRequest>) -> Answer<ImpactPreview> {
        let caller = Caller::of(&request)?;
        let key = label_set_key("name", &request.get_ref().name)?;
        let (service, asking) = (self.service.clone(), caller.clone());
        let preview = apart(move |_| impacts::of_draft(&service, &asking, &key)).await?;
        Ok(caller.respond(preview))
    }

    async fn publish_label_set(&self, request: Request<PublishLabelSetRequest>) -> Answer<LabelSet> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = label_set_key("name", &request.name)?;
        caller.is_about(key.to_string());
        let set = self.publish(&caller, &key, &request.etag).await?;
        Ok(caller.respond(set))
    }

    async fn list_label_set_versions(
        &self,
        request: Request<ListLabelSetVersionsRequest>,
    ) -> Answer<ListLabelSetVersionsResponse> {
        let caller = Caller::of(&request)?;
        let key = label_set_key("parent", &request.get_ref().parent)?;
        let versions = self.versions(&caller, &key).await?;
        Ok(caller.respond(ListLabelSetVersionsResponse { versions }))
    }

    async fn delete_label_set(&self, request: Request<DeleteLabelSetRequest>) -> Answer<DeleteLabelSetResponse> {
        let caller = Caller::of(&request)?;
        let key = label_set_key("name", &request.get_ref().name)?;
        caller.is_about(key.to_string());
        self.delete(&caller, &key, &request.get_ref().etag).await?;
        Ok(caller.respond(DeleteLabelSetResponse {}))
    }

    async fn preview_impact(&self, request: Request<PreviewImpactRequest>) -> Answer<ImpactPreview> {
        let caller = Caller::of(&request)?;
        let preview = impacts::of_scores(&self.service, &caller, request.into_inner()).await?;
        Ok(caller.respond(preview))
    }

    async fn get_label_distribution(&self, request: Request<GetLabelDistributionRequest>) -> Answer<LabelDistribution> {
        let caller = Caller::of(&request)?;
        let key = label_set_key("name", &request.get_ref().name)?;
        let loaded = population(&self.service, &caller)?;
        let watermark = self.service.runtime.progress.of(caller.tenant().id).watermark();
        let population = loaded.population.read();
        let definition = usable(&caller, &population, &key)?;
        let mut labels = Vec::new();
        let labels_in_force = definition.live.as_ref().and_then(Body::labels);
        if let (Some((place, live)), Some(set)) = (population.catalogue().find(&key), labels_in_force) {
            let members = population.at(population.as_of(), |everybody| everybody.parts(place).to_vec());
            let titled = set.labels.iter().chain([&set.rest]);
            for ((part, members), titled) in live.parts.iter().zip(members).zip(titled) {
                let members = reached(&caller, &population, members);
                let net_revenue = revenue(&caller, &population, &members);
                labels.push(LabelCount {
                    label: part.name.clone(),
                    title: titled.title.clone(),
                    customers: members.count() as i64,
                    net_revenue,
                    titles: stored::titles_of(titled),
                });
            }
        }
        Ok(caller.respond(LabelDistribution {
            labels,
            population: reached_population(&caller, &population),
            watermark: Some(watermark.to_message()),
        }))
    }
}
