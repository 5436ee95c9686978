//! Label sets.

use super::{population, reached, reached_population, revenue};
use crate::Service;
use crate::population::{LABEL_SET, Population};
use quintile_proto::segmentation::label_service_server::LabelService;
use quintile_proto::segmentation::{
    GetLabelDistributionRequest, GetLabelSetRequest, Label, LabelCount, LabelDistribution, LabelSet,
};
use quintile_rpc::{Answer, ApiError, Caller};
use tonic::Request;

/// The handlers.
pub struct Labels {
    pub service: Service,
}

fn check_name(name: &str) -> Result<(), ApiError> {
    match name.strip_prefix("labelSets/") {
        Some(LABEL_SET) => Ok(()),
        Some(id) if quintile_domain::names::resource_id(id).is_ok() => Err(ApiError::not_found()),
        _ => Err(ApiError::invalid_field("name", "must be labelSets/{set}")),
    }
}

fn title(population: &Population, index: usize) -> String {
    let set = population.label_set();
    set.labels.get(index).map_or_else(|| set.default_title.clone(), |label| label.title.clone())
}

#[tonic::async_trait]
impl LabelService for Labels {
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
