//! Why a customer has its scores: now, at a past instant, by any version, and with other inputs.

use super::check_rights;
use super::publishing::parts_ties_by_number;
use super::score_models::{hides_changes, hides_found, model_in, version_in};
use super::scores::PART;
use super::versions;
use crate::encoding;
use crate::models::explain::DimensionReason;
use crate::models::feature::Value;
use crate::models::{At, Definition, Dimension, MAX_DIMENSIONS, RFM, Scale};
use crate::worker::conventions;
use crate::{Service, refused};
use quintile_chain::derive::{self, Current};
use quintile_chain::store_error;
use quintile_domain::ids::CustomerId;
use quintile_domain::names::required_text;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::GetFeaturesRequest;
use quintile_proto::ingestion::feature_service_client::FeatureServiceClient;
use quintile_proto::scoring::{
    DimensionExplanation, ExplainScoreRequest, HypotheticalInput, ScoreExplanation, ScoreModelState,
};
use quintile_proto::types::Features;
use quintile_rpc::caller::View;
use quintile_rpc::client::upstream_error;
use quintile_rpc::{ApiError, Caller, convert};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use tonic::Code;

/// The most bytes of a text that might be.
const MAX_TEXT_BYTES: usize = 256;

/// Explains a customer's scores, for the caller's view of the customer.
pub async fn explain(
    service: &Service,
    caller: &Caller,
    request: ExplainScoreRequest,
) -> Result<(ScoreExplanation, View), ApiError> {
    let customer = convert::customer("name", &request.name, Some(PART))?;
    let tenant = caller.tenant();
    let now = service.runtime.business.now();
    let past = match &request.as_of {
        None => None,
        sent => Some(convert::instant(sent.as_ref()).map_err(|error| ApiError::invalid_time("as_of", error))?),
    };
    if past.is_some_and(|past| past > now) {
        return Err(refused("as_of has not come yet"));
    }
    let (version, definition) = model(service, caller, &request.model).await?;
    check_inputs(caller, &definition, &request.hypothetical_inputs)?;
    let Current { mut record, view, .. } =
        derive::current(&service.runtime, service.link.as_ref(), caller, customer).await?;
    if let Some(past) = past {
        record.features = Some(features_at(service, caller, customer, past).await?);
    }
    let in_force = service.models.recent(tenant).await.map_err(|error| store_error(&error))?;
    let at = At::new(past.unwrap_or(now), conventions(tenant)).valued_by(in_force.valuing());
    let given = |dimension: &Dimension| {
        let feature = dimension.feature.name();
        request.hypothetical_inputs.iter().find(|input| input.feature == feature)
    };
    let value = |dimension| given(dimension).map_or_else(|| dimension.feature.value(&record, &at), hypothetical);
    let values: Vec<_> = definition.dimensions.iter().map(value).collect();
    let scored = definition.score_values(values.iter().copied(), &at);
    let known = definition.dimensions.iter().filter(|dimension| given(dimension).is_none());
    let falls = known.filter_map(|dimension| dimension.falls_next(&record, &at)).min();
    let reasons = definition.explain(&values, &at);
    let dimensions = definition.dimensions.iter().zip(reasons);
    let dimensions = dimensions.map(|(dimension, reason)| DimensionExplanation {
        unit: dimension.feature.unit_in_words(&record, tenant.currency),
        ..explanation(caller, dimension, reason)
    });
    let dimensions = dimensions.collect();
    let explained = ScoreExplanation {
        name: request.name,
        model_version: version,
        as_of: Some(convert::timestamp(at.instant)),
        dimensions,
        next_change_time: [scored.next_change, falls]
            .into_iter()
            .flatten()
            .min()
            .filter(|_| !hides_changes(caller, &definition))
            .map(convert::timestamp),
        grade: encoding::grade(&definition, &scored),
    };
    Ok((explained, view))
}

/// The version that a request names, by its name.
async fn model(service: &Service, caller: &Caller, name: &str) -> Result<(String, Definition), ApiError> {
    let version = if name.contains("/versions/") {
        let (model, number) = version_in("model", name)?;
        let found = versions::get(service, caller, &format!("scoreModels/{model}/versions/{number}")).await?;
        if found.state != ScoreModelState::Published {
            // What was published was published by somebody with the right to; this might be a question that nobody with it asks.
            check_rights(service, caller, &found.definition).await?;
        }
        found
    } else {
        let model = if name.is_empty() { RFM } else { model_in("model", name)? };
        let in_force = service.models.recent(caller.tenant()).await.map_err(|error| store_error(&error))?;
        if let Some(live) = in_force.of(model) {
            return Ok((live.name.clone(), live.definition.clone()));
        }
        // Says whether there is no such model, or none in force.
        versions::in_force(service, caller, model).await?
    };
    if parts_ties_by_number(&version.definition) {
        return Err(refused("a version with NTILE scores everybody together, and nobody alone"));
    }
    Ok((version.name(), version.definition))
}

fn check_inputs(caller: &Caller, definition: &Definition, inputs: &[HypotheticalInput]) -> Result<(), ApiError> {
    if inputs.len() > MAX_DIMENSIONS {
        let problem = format!("must have at most {MAX_DIMENSIONS} inputs");
        return Err(ApiError::invalid_field("hypothetical_inputs", problem));
    }
    let mut features = HashSet::new();
    for (index, input) in inputs.iter().enumerate() {
        let field = |part: &str| format!("hypothetical_inputs[{index}].{part}");
        let wrong = |part: &str, problem: &str| Err(ApiError::invalid_field(field(part), problem));
        let read = definition.dimensions.iter().find(|dimension| dimension.feature.name() == input.feature);
        let Some(dimension) = read else { return wrong("feature", "is not read by the model") };
        if !features.insert(&input.feature) {
            return wrong("feature", "is there twice");
        }
        if hides_found(caller, dimension) {
            // Asked often enough, the scores of what might be tell the cut-offs.
            return Err(ApiError::field_denied(&input.feature));
        }
        let is_text = matches!(dimension.scale, Scale::Texts(_));
        match (&input.value, &input.text) {
            (Some(_), Some(_)) => return wrong("text", "can't be beside a value"),
            (Some(_), None) if is_text => return wrong("value", "is for numbers, and this feature is a text"),
            (Some(number), None) if !dimension.feature.range().contains(number) => {
                return wrong("value", &within(&dimension.feature.range()));
            }
            (None, Some(_)) if !is_text => return wrong("text", "is for texts, and this feature is a number"),
            (None, Some(text)) => {
                required_text(text, MAX_TEXT_BYTES).map_err(|error| ApiError::invalid_text(field("text"), error))?;
            }
            (Some(_) | None, None) => {}
        }
    }
    Ok(())
}

/// What is said of a number that a feature can't have.
fn within(range: &RangeInclusive<i64>) -> String {
    match (range.start(), range.end()) {
        (least, &i64::MAX) => format!("must be at least {least}, which the feature always is"),
        (least, most) => format!("must be within {least} and {most}, which the feature always is"),
    }
}

fn hypothetical(input: &HypotheticalInput) -> Value<'_> {
    match (input.value, &input.text) {
        (Some(number), _) => Value::Number(number),
        (None, Some(text)) => Value::Text(text),
        (None, None) => Value::Missing,
    }
}

/// The features of a customer at a past instant. Asked for as the service, which reads them in clear; the answer is masked for the caller.
async fn features_at(
    service: &Service,
    caller: &Caller,
    customer: CustomerId,
    past: Instant,
) -> Result<Features, ApiError> {
    let request = GetFeaturesRequest { name: customer.part_name("features"), as_of: Some(convert::timestamp(past)) };
    let request = service.credentials.request(&caller.tenant().name, request).await;
    let request = request.map_err(|status| upstream_error(&status))?;
    let answer = FeatureServiceClient::new(service.ingestion.clone()).get_features(request).await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().features.unwrap_or_default()),
        Err(status) if status.code() == Code::FailedPrecondition => {
            Err(refused("facts of the windows before as_of are not kept any more"))
        }
        Err(status) => Err(upstream_error(&status)),
    }
}

fn explanation(caller: &Caller, dimension: &Dimension, reason: DimensionReason) -> DimensionExplanation {
    // What was found from what others have tells of them, and so does how far away it is.
    let hidden = hides_found(caller, dimension);
    let cut_offs = match &dimension.scale {
        Scale::Numbers(found) if !hidden => found.edges.clone(),
        Scale::Numbers(_) | Scale::Texts(_) => Vec::new(),
    };
    let reason = if hidden {
        let words = "by cut-offs that were found from all customers".to_owned();
        DimensionReason {
            to_next_better: None,
            to_next_worse: None,
            reason: words,
            composite_if_better: None,
            ..reason
        }
    } else {
        reason
    };
    DimensionExplanation {
        dimension: dimension.name.clone(),
        score: reason.score.into(),
        input: reason.input,
        cut_offs,
        to_next_better: reason.to_next_better,
        to_next_worse: reason.to_next_worse,
        reason: reason.reason,
        feature: dimension.feature.name(),
        text_input: reason.text,
        weight: i32::try_from(dimension.weight).unwrap_or(i32::MAX),
        composite_if_better: reason.composite_if_better.map(i32::from),
        ..DimensionExplanation::default()
    }
}
