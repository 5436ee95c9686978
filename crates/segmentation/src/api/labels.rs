//! Label sets.

use super::{population, reached, reached_population, revenue};
use crate::Service;
use crate::population::{LABEL_SET, Population};
use quintile_domain::masking::Sensitivity;
use quintile_domain::names::{number, resource_id};
use quintile_proto::scoring::PreviewScoreModelVersionRequest;
use quintile_proto::scoring::score_model_service_client::ScoreModelServiceClient;
use quintile_proto::segmentation::label_service_server::LabelService;
use quintile_proto::segmentation::{
    GetLabelDistributionRequest, GetLabelSetRequest, ImpactPreview, Label, LabelCount, LabelDistribution, LabelMove,
    LabelSet, PreviewImpactRequest,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::client::upstream_error;
use quintile_rpc::{Answer, ApiError, Caller};
use tonic::{Code, Request};

/// The handlers.
pub struct Labels {
    pub service: Service,
}

fn check_name(name: &str) -> Result<(), ApiError> {
    match name.strip_prefix("labelSets/") {
        Some(LABEL_SET) => Ok(()),
        Some(id) if resource_id(id).is_ok() => Err(ApiError::not_found()),
        _ => Err(ApiError::invalid_field("name", "must be labelSets/{set}")),
    }
}

fn title(population: &Population, index: usize) -> String {
    let set = population.label_set();
    set.labels.get(index).map_or_else(|| set.default_title.clone(), |label| label.title.clone())
}

/// The cells of all customers under the RFM model in force and under another version of it, from number 1 on.
#[derive(Default)]
struct Cells {
    in_force: Vec<u8>,
    candidate: Vec<u8>,
    /// Of the version.
    etag: String,
}

/// Both are of one position of scoring, which may be ahead of us: compared with our own labels, whoever has bought meanwhile would seem to move.
async fn cells(service: &Service, caller: &Caller, version: String) -> Result<Cells, ApiError> {
    let refused = |status: tonic::Status| refusal(caller, &status);
    let request = PreviewScoreModelVersionRequest { name: version, include_cells: true };
    let request = service.credentials.stream_for(caller, request).await.map_err(refused)?;
    let mut models = ScoreModelServiceClient::new(service.scoring.clone());
    let mut answers = models.preview_score_model_version(request).await.map_err(refused)?.into_inner();
    let mut cells = Cells::default();
    while let Some(answer) = answers.message().await.map_err(refused)? {
        if let Some(version) = answer.preview.and_then(|preview| preview.version) {
            cells.etag = version.etag;
        }
        if let Some(part) = answer.cells {
            // The parts follow one another from number 1 on.
            cells.candidate.extend(part.cells);
            cells.in_force.extend(part.cells_in_force);
        }
    }
    Ok(cells)
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

fn check_version(name: &str) -> Result<(), ApiError> {
    let number = name.strip_prefix("scoreModels/rfm/versions/").and_then(number).filter(|number| *number > 0);
    let problem = "must be scoreModels/rfm/versions/{number}: labels are made of that model";
    number.map(drop).ok_or_else(|| ApiError::invalid_field("score_model_version", problem))
}

#[tonic::async_trait]
impl LabelService for Labels {
    async fn preview_impact(&self, request: Request<PreviewImpactRequest>) -> Answer<ImpactPreview> {
        let caller = Caller::of(&request)?;
        let PreviewImpactRequest { name, score_model_version } = request.into_inner();
        check_name(&name)?;
        check_version(&score_model_version)?;
        let loaded = population(&self.service, &caller)?;
        caller.is_about(score_model_version.clone());
        let Cells { in_force, candidate, etag } = cells(&self.service, &caller, score_model_version).await?;
        let watermark = self.service.runtime.progress.of(caller.tenant().id).watermark();
        let population = loaded.population.read();
        let (before, after) = (population.label_members_by(&in_force), population.label_members_by(&candidate));
        let (mut moves, mut moving_customers) = (Vec::new(), 0);
        let pairs = (0..before.len()).flat_map(|from| (0..after.len()).map(move |to| (from, to)));
        for (from, to) in pairs {
            let members = before[from].and(&after[to]);
            let customers = members.count() as i64;
            if customers > 0 {
                moving_customers += if from == to { 0 } else { customers };
                let net_revenue = revenue(&caller, &population, &members);
                let (from, to) = (population.label_name(from), population.label_name(to));
                moves.push(LabelMove { from, to, customers, net_revenue });
            }
        }
        Ok(caller.respond(ImpactPreview {
            moves,
            moving_customers,
            population: reached_population(&caller, &population),
            etag,
            watermark: Some(watermark.to_message()),
        }))
    }

    async fn get_label_set(&self, request: Request<GetLabelSetRequest>) -> Answer<LabelSet> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        check_name(&name)?;
        let loaded = population(&self.service, &caller)?;
        let population = loaded.population.read();
        let set = population.label_set();
        let cells = |index: usize| set.labels.get(index).map(|label| label.cells.as_slice()).unwrap_or_default();
        let labels = (0..=set.labels.len()).map(|index| Label {
            name: population.label_name(index),
            title: title(&population, index),
            cells: cells(index).iter().map(u16::to_string).collect(),
        });
        let proved_cells = set.labels.iter().map(|label| label.cells.len() as i32).sum();
        Ok(caller.respond(LabelSet { name, labels: labels.collect(), proved_cells }))
    }

    async fn get_label_distribution(&self, request: Request<GetLabelDistributionRequest>) -> Answer<LabelDistribution> {
        let caller = Caller::of(&request)?;
        check_name(&request.get_ref().name)?;
        let loaded = population(&self.service, &caller)?;
        let watermark = self.service.runtime.progress.of(caller.tenant().id).watermark();
        let population = loaded.population.read();
        let members = population.label_members().into_iter().map(|members| reached(&caller, &population, members));
        let labels = members.enumerate().map(|(index, members)| LabelCount {
            label: population.label_name(index),
            title: title(&population, index),
            customers: members.count() as i64,
            net_revenue: revenue(&caller, &population, &members),
        });
        Ok(caller.respond(LabelDistribution {
            labels: labels.collect(),
            population: reached_population(&caller, &population),
            watermark: Some(watermark.to_message()),
        }))
    }
}
