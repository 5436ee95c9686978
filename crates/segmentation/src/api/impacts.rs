//! Who would have another label: under another version of a score model, or under the draft of a label set.

use super::definitions::effect_of;
use super::labels::{draft_of, label_set_key};
use super::segments::segment_key;
use super::{apart, check_fields, population, reached_population, revenue};
use crate::Service;
use crate::cancellation::Cancellation;
use crate::engine::Bitmap;
use crate::population::Population;
use crate::population::catalogue::{Key, Kind, Part};
use crate::population::hypothetical::Scores;
use quintile_domain::masking::Sensitivity;
use quintile_domain::names::{number, resource_id};
use quintile_proto::scoring::PreviewScoreModelVersionRequest;
use quintile_proto::scoring::score_model_service_client::ScoreModelServiceClient;
use quintile_proto::segmentation::{ImpactPreview, LabelMove, PreviewImpactRequest};
use quintile_proto::types::ErrorReason;
use quintile_rpc::client::upstream_error;
use quintile_rpc::{ApiError, Caller};
use std::collections::BTreeSet;
use tonic::Code;

/// The scores of all customers under the version of a model that is in force and under another one.
#[derive(Default)]
struct Sides {
    in_force: Scores,
    candidate: Scores,
    /// Of the version.
    etag: String,
}

/// Both are of one position of scoring, which may be ahead of us: compared with our own labels, whoever has bought meanwhile would seem to move. What
/// no rule reads is not told; the version is previewed all the same.
async fn sides(
    service: &Service,
    caller: &Caller,
    version: String,
    places: &BTreeSet<usize>,
) -> Result<Sides, ApiError> {
    let refused = |status: tonic::Status| refusal(caller, &status);
    let include_scores = places.iter().filter_map(|place| i32::try_from(*place).ok()).collect();
    let request = PreviewScoreModelVersionRequest { name: version, include_scores, include_cells: false };
    let request = service.credentials.stream_for(caller, request).await.map_err(refused)?;
    let mut models = ScoreModelServiceClient::new(service.scoring.clone());
    let mut answers = models.preview_score_model_version(request).await.map_err(refused)?.into_inner();
    let mut sides = Sides::default();
    while let Some(answer) = answers.message().await.map_err(refused)? {
        if let Some(version) = answer.preview.and_then(|preview| preview.version) {
            sides.etag = version.etag;
        }
        if let Some(part) = answer.scores {
            let place = usize::try_from(part.place).unwrap_or_default();
            // The parts of a place follow one another from number 1 on.
            sides.candidate.by_place.entry(place).or_default().extend(part.scores);
            sides.in_force.by_place.entry(place).or_default().extend(part.scores_in_force);
            if place == 0 {
                (sides.candidate.grades, sides.in_force.grades) = (part.grades, part.grades_in_force);
            }
        }
    }
    Ok(sides)
}

/// What scoring refuses is what its caller asked of us.
fn refusal(caller: &Caller, status: &tonic::Status) -> ApiError {
    match status.code() {
        Code::FailedPrecondition => {
            ApiError::failed_precondition(ErrorReason::FailedPrecondition, status.message().to_owned())
        }
        Code::Aborted => ApiError::stale_etag(),
        Code::PermissionDenied if !caller.reads_in_clear(Sensitivity::Financial) => {
            ApiError::field_denied("a feature of the version")
        }
        _ => upstream_error(status),
    }
}

/// The model of a version.
fn model_of(name: &str) -> Result<&str, ApiError> {
    let parts = name.strip_prefix("scoreModels/").and_then(|rest| rest.split_once("/versions/"));
    let parts = parts.filter(|(model, digits)| resource_id(model).is_ok() && number(digits).is_some_and(|it| it > 0));
    let problem = "must be scoreModels/{model}/versions/{number}: of models of other kinds there is no such preview";
    parts.map(|(model, _)| model).ok_or_else(|| ApiError::invalid_field("score_model_version", problem))
}

/// The place of a label set or segment that is in force, and whether the caller may use it.
fn check_live(caller: &Caller, population: &Population, key: &Key) -> Result<usize, ApiError> {
    let (place, _) = population.catalogue().find(key).ok_or_else(ApiError::not_found)?;
    check_fields(caller, population, population.catalogue().fields_of(place))?;
    Ok(place)
}

/// What a version of a score model would mean for the labels of a set, or for a segment.
pub async fn of_scores(
    service: &Service,
    caller: &Caller,
    request: PreviewImpactRequest,
) -> Result<ImpactPreview, ApiError> {
    let PreviewImpactRequest { name, score_model_version } = request;
    let key = if name.starts_with("segments/") { segment_key("name", &name) } else { label_set_key("name", &name) }?;
    let model = model_of(&score_model_version)?.to_owned();
    let loaded = population(service, caller)?;
    let places = {
        let population = loaded.population.read();
        population.scores_read(check_live(caller, &population, &key)?, &model)
    };
    caller.is_about(score_model_version.clone());
    let sides = sides(service, caller, score_model_version, &places).await?;
    let watermark = service.runtime.progress.of(caller.tenant().id).watermark();
    let asking = caller.clone();
    let told = apart(move |cancellation| {
        let population = loaded.population.read();
        let place = check_live(&asking, &population, &key)?;
        if population.scores_read(place, &model) != places {
            // It is another one now, which reads what was not asked for.
            return Err(ApiError::stale_etag());
        }
        let is_told = |place| sides.candidate.by_place.contains_key(place);
        if population.engine().population() > 0 && !places.iter().all(is_told) {
            // One of the release before tells none.
            return Err(ApiError::unavailable("scoring has told no scores"));
        }
        of_sides(&asking, &population, place, &model, &sides, cancellation)
    });
    Ok(ImpactPreview { watermark: Some(watermark.to_message()), ..told.await? })
}

/// What other scores would mean for a label set or segment, as long as somebody waits for it.
fn of_sides(
    caller: &Caller,
    population: &Population,
    place: usize,
    model: &str,
    sides: &Sides,
    cancellation: &Cancellation,
) -> Result<ImpactPreview, ApiError> {
    let live = &population.catalogue().live()[place];
    let mut parts = live.parts.clone();
    let found = population.parts_by_scores(place, model, [&sides.in_force, &sides.candidate], cancellation);
    let [mut before, mut after] = found.ok_or_else(ApiError::deadline_exceeded)?;
    if live.key.kind == Kind::Segment {
        // Those who are no members are a part of it here.
        parts.push(Part { name: String::new(), reference: String::new() });
        for side in [&mut before, &mut after] {
            let members = side.iter().fold(Bitmap::new(), |all, part| all.or(part));
            side.push(population.engine().present().and_not(&members));
        }
    }
    let matrix = Matrix { caller, population, before: (&parts, &before), after: (&parts, &after) };
    Ok(ImpactPreview { etag: sides.etag.clone(), ..matrix.told() })
}

/// What the draft of a label set would mean.
pub fn of_draft(service: &Service, caller: &Caller, key: &Key) -> Result<ImpactPreview, ApiError> {
    let loaded = population(service, caller)?;
    let watermark = service.runtime.progress.of(caller.tenant().id).watermark();
    let population = loaded.population.read();
    let draft = draft_of(caller, &population, key)?;
    let effect = effect_of(&population, key, draft.definition.version, &draft.body, draft.membership)?;
    let etag = population.definition(key).map(crate::population::definition::Definition::etag).unwrap_or_default();
    let (old, new) = (population.catalogue().find(key), effect.candidate.find(key));
    let nothing = Part { name: String::new(), reference: String::new() };
    let (before_parts, before) = match old {
        Some((place, live)) => {
            (live.parts.clone(), population.at(population.as_of(), |everybody| everybody.parts(place).to_vec()))
        }
        None => (vec![nothing], vec![population.engine().present().clone()]),
    };
    let (_, live) = new.ok_or_else(ApiError::not_found)?;
    let after = population.under(&effect.candidate, key);
    let (before, after) = ((&before_parts[..], &before[..]), (&live.parts[..], &after[..]));
    let matrix = Matrix { caller, population: &population, before, after };
    Ok(ImpactPreview { etag, watermark: Some(watermark.to_message()), ..matrix.told() })
}

/// Labels before and after, each with its members.
struct Matrix<'a> {
    caller: &'a Caller,
    population: &'a Population,
    before: (&'a [Part], &'a [Bitmap]),
    after: (&'a [Part], &'a [Bitmap]),
}

impl Matrix<'_> {
    fn told(&self) -> ImpactPreview {
        let (mut moves, mut moving_customers) = (Vec::new(), 0);
        let scope = self.population.reached(self.caller.scope());
        for (from, before) in self.before.0.iter().zip(self.before.1) {
            let before = scope.as_ref().map_or_else(|| before.clone(), |scope| before.and(scope));
            for (to, after) in self.after.0.iter().zip(self.after.1) {
                let members = before.and(after);
                let customers = members.count() as i64;
                if customers > 0 {
                    moving_customers += if from.name == to.name { 0 } else { customers };
                    let net_revenue = revenue(self.caller, self.population, &members);
                    moves.push(LabelMove { from: from.name.clone(), to: to.name.clone(), customers, net_revenue });
                }
            }
        }
        let population = reached_population(self.caller, self.population);
        ImpactPreview { moves, moving_customers, population, ..ImpactPreview::default() }
    }
}
