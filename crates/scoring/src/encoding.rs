//! Between definitions of score models and their messages, which are what is sent and what is stored.

use crate::models::cut_offs::{CutOffs, Direction, Method, Side, TieRule};
use crate::models::feature::{Feature, Unit};
use crate::models::grade::{Band, Grading};
use crate::models::{
    Definition, Dimension, GRADE, MAX_DIMENSIONS, Points, RFM, RFM_BINS, RFM_DIMENSIONS, Scale, Scored,
};
use quintile_domain::money::Currency;
use quintile_domain::names::{optional_text, required_text, resource_id};
use quintile_proto::scoring as sent;
use quintile_proto::types::Grade;
use quintile_rpc::ApiError;
use std::collections::{BTreeMap, HashSet};

/// The most bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 1_024;
/// The most bytes of a category.
const MAX_CATEGORY_BYTES: usize = 256;
/// The most bytes of a band's name.
const MAX_BAND_BYTES: usize = 16;
/// The most categories of a version: the models of a tenant together fit into one message.
const MAX_CATEGORIES: usize = 500;
/// The most bands of a grading.
const MAX_BANDS: usize = 10;
/// The most scores of a dimension, and the fewest.
const BINS: std::ops::RangeInclusive<i32> = 2..=10;
/// The scores of a dimension that does not say how many.
const DEFAULT_BINS: u8 = 5;
/// The most that a dimension weighs.
const MAX_WEIGHT: i32 = 1_000;
/// The fewest dimensions with a weight of a grading.
const MIN_GRADED: usize = 3;

/// The definition of a message. The error names the field that is wrong.
pub fn definition(model: &str, version: &sent::ScoreModelVersion) -> Result<Definition, ApiError> {
    optional_text(&version.description, MAX_DESCRIPTION_BYTES)
        .map_err(|error| ApiError::invalid_text("description", error))?;
    if version.dimensions.is_empty() || version.dimensions.len() > MAX_DIMENSIONS {
        return Err(invalid("dimensions", format!("must have 1 to {MAX_DIMENSIONS} dimensions")));
    }
    let mut names = HashSet::new();
    let mut dimensions = Vec::with_capacity(version.dimensions.len());
    for (index, given) in version.dimensions.iter().enumerate() {
        let within = format!("dimensions[{index}]");
        if !names.insert(&given.name) {
            return Err(invalid("name", "is the name of another dimension too").within(&within));
        }
        dimensions.push(dimension(given).map_err(|error| error.within(&within))?);
    }
    let categories = version.dimensions.iter().map(|dimension| dimension.categories.len());
    if categories.sum::<usize>() > MAX_CATEGORIES {
        return Err(invalid("dimensions", format!("must have at most {MAX_CATEGORIES} categories in all")));
    }
    let grading = version.grading.as_ref().map(grading).transpose().map_err(|error| error.within("grading"))?;
    let definition = Definition { description: version.description.clone(), dimensions, grading };
    if model == RFM {
        check_rfm(&definition)?;
    }
    if model == GRADE && definition.grading.is_none() {
        return Err(invalid("grading", "is required of the model grade: rules read it"));
    }
    let graded = definition.dimensions.iter().filter(|dimension| dimension.weight > 0).count();
    if definition.grading.is_some() && graded < MIN_GRADED {
        return Err(invalid("grading", format!("asks for a weight on at least {MIN_GRADED} dimensions")));
    }
    Ok(definition)
}

/// What labels are made of has to stay what it is.
fn check_rfm(definition: &Definition) -> Result<(), ApiError> {
    if !definition.dimensions.iter().map(|dimension| dimension.name.as_str()).eq(RFM_DIMENSIONS) {
        return Err(invalid("dimensions", "of rfm must be recency, frequency and monetary"));
    }
    for (index, dimension) in definition.dimensions.iter().enumerate() {
        let within = format!("dimensions[{index}]");
        if dimension.scale.bins() != RFM_BINS {
            return Err(invalid("bins", format!("of rfm must be {RFM_BINS}")).within(&within));
        }
        if dimension.missing != 0 {
            return Err(invalid("missing_score", "is not for rfm: who has no order has no cell").within(&within));
        }
        if dimension.weight != 0 {
            return Err(invalid("weight", "is not for rfm: make a model with a grading").within(&within));
        }
    }
    if definition.grading.is_some() {
        return Err(invalid("grading", "is not for rfm: make another model with it"));
    }
    Ok(())
}

fn dimension(given: &sent::Dimension) -> Result<Dimension, ApiError> {
    resource_id(&given.name).map_err(|error| ApiError::invalid_text("name", error))?;
    let feature = Feature::from_name(&given.feature).map_err(|nearest| {
        let hint = nearest.map(|nearest| format!(": did you mean {nearest}?")).unwrap_or_default();
        invalid("feature", format!("is not a known feature{hint}"))
    })?;
    let weight = number("weight", given.weight, 0..=MAX_WEIGHT)?;
    let scale = match given.method() {
        sent::ScoringMethod::Unspecified => return Err(invalid("method", "must be one of the known values")),
        sent::ScoringMethod::Map => Scale::Texts(points(given)?),
        method => Scale::Numbers(cut_offs(given, method)?),
    };
    let is_text = matches!(scale, Scale::Texts(_));
    if feature.unit() != Unit::Trait && is_text != (feature.unit() == Unit::Text) {
        let problem =
            if is_text { "is for texts alone, and the feature is none" } else { "must be MAP: the feature is a text" };
        return Err(invalid("method", problem));
    }
    let missing = number("missing_score", given.missing_score, 0..=i32::from(scale.bins()))? as u8;
    Ok(Dimension { name: given.name.clone(), feature, scale, missing, weight })
}

fn cut_offs(given: &sent::Dimension, method: sent::ScoringMethod) -> Result<CutOffs, ApiError> {
    let direction = match sent::Direction::try_from(given.direction) {
        Ok(sent::Direction::HigherIsBetter) => Direction::Higher,
        Ok(sent::Direction::LowerIsBetter) => Direction::Lower,
        _ => return Err(invalid("direction", "is required")),
    };
    let tie_rule = match sent::TieRule::try_from(given.tie_rule) {
        Ok(sent::TieRule::Unspecified | sent::TieRule::Value) => TieRule::Value,
        Ok(sent::TieRule::CumeDist) => TieRule::CumeDist,
        Ok(sent::TieRule::Ntile) => TieRule::Ntile,
        Ok(sent::TieRule::PercentRank) => TieRule::PercentRank,
        Err(_) => return Err(invalid("tie_rule", "must be one of the known values")),
    };
    let method = match method {
        sent::ScoringMethod::Quantile => Method::Quantile(tie_rule),
        _ if given.tie_rule != 0 => return Err(invalid("tie_rule", "is for QUANTILE alone")),
        sent::ScoringMethod::Range => Method::Range,
        _ => Method::Fixed,
    };
    if !given.categories.is_empty() {
        return Err(invalid("categories", "are for MAP alone"));
    }
    if given.other_score != 0 {
        return Err(invalid("other_score", "is for MAP alone"));
    }
    let edges = given.cut_offs.clone();
    let of_edges = i32::try_from(edges.len() + 1).unwrap_or(i32::MAX);
    let bins = match (method, given.bins) {
        (Method::Fixed, 0) => of_edges,
        (_, 0) => i32::from(DEFAULT_BINS),
        (_, bins) => bins,
    };
    let bins = number("bins", bins, BINS).map_err(|error| if given.bins == 0 { wrong_count() } else { error })?;
    let fits = of_edges == bins as i32 || (edges.is_empty() && method != Method::Fixed);
    if !fits {
        return Err(wrong_count());
    }
    if method == Method::Fixed && !edges.is_sorted_by(|lower, upper| lower < upper) {
        return Err(invalid("cut_offs", "must ascend, each once"));
    }
    Ok(CutOffs { method, direction, bins: bins as u8, edges })
}

fn wrong_count() -> ApiError {
    invalid("cut_offs", "must be one fewer than bins: 1 to 9")
}

fn points(given: &sent::Dimension) -> Result<Points, ApiError> {
    if !given.cut_offs.is_empty() {
        return Err(invalid("cut_offs", "are not for MAP"));
    }
    if given.tie_rule != 0 {
        return Err(invalid("tie_rule", "is for QUANTILE alone"));
    }
    if given.direction != 0 {
        return Err(invalid("direction", "is not for MAP: say what each category is worth"));
    }
    let bins = if given.bins == 0 { i32::from(DEFAULT_BINS) } else { given.bins };
    let bins = number("bins", bins, BINS)? as i32;
    if given.categories.is_empty() || given.categories.len() > MAX_CATEGORIES {
        return Err(invalid("categories", format!("must have 1 to {MAX_CATEGORIES} categories")));
    }
    let mut of = BTreeMap::new();
    for (index, points) in given.categories.iter().enumerate() {
        let field = |part: &str| format!("categories[{index}].{part}");
        required_text(&points.category, MAX_CATEGORY_BYTES)
            .map_err(|error| ApiError::invalid_text(field("category"), error))?;
        let score = number(&field("score"), points.score, 1..=bins)? as u8;
        if of.insert(points.category.clone(), score).is_some() {
            return Err(invalid(field("category"), "is there twice"));
        }
    }
    let other = number("other_score", given.other_score, 0..=bins)? as u8;
    Ok(Points { of, other, bins: bins as u8 })
}

fn grading(given: &sent::Grading) -> Result<Grading, ApiError> {
    let default = Grading::default();
    let or_default = |field, value: i32, default: u8, least: i32| {
        if value == 0 { Ok(default) } else { number(field, value, least..=100).map(|number| number as u8) }
    };
    let middle_from = or_default("middle_from", given.middle_from, default.middle_from, 1)?;
    let high_from = or_default("high_from", given.high_from, default.high_from, 1)?;
    if high_from <= middle_from {
        return Err(invalid("high_from", "must be above middle_from"));
    }
    let vip_from = or_default("vip_from", given.vip_from, default.vip_from, 1)?;
    if given.bands.is_empty() {
        return Ok(Grading { middle_from, high_from, vip_from, ..default });
    }
    if given.bands.len() < 2 || given.bands.len() > MAX_BANDS {
        return Err(invalid("bands", format!("must have 2 to {MAX_BANDS} bands")));
    }
    let mut bands: Vec<Band> = Vec::with_capacity(given.bands.len());
    for (index, band) in given.bands.iter().enumerate() {
        let field = |part: &str| format!("bands[{index}].{part}");
        required_text(&band.name, MAX_BAND_BYTES).map_err(|error| ApiError::invalid_text(field("name"), error))?;
        if bands.iter().any(|other| other.name == band.name) {
            return Err(invalid(field("name"), "is the name of another band too"));
        }
        let from = number(&field("from"), band.from, 0..=100)? as u8;
        let fits = bands.last().map_or(from == 0, |before| before.from < from);
        if !fits {
            return Err(invalid(field("from"), "must ascend from 0"));
        }
        bands.push(Band { name: band.name.clone(), from });
    }
    Ok(Grading { bands, middle_from, high_from, vip_from })
}

fn number(field: &str, value: i32, within: std::ops::RangeInclusive<i32>) -> Result<u32, ApiError> {
    let fits = u32::try_from(value).ok().filter(|_| within.contains(&value));
    fits.ok_or_else(|| invalid(field, format!("must be within {} and {}", within.start(), within.end())))
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> ApiError {
    ApiError::invalid_field(field, problem)
}

/// The message of a definition: all but where a version of it stands.
pub fn message(definition: &Definition, currency: Currency) -> sent::ScoreModelVersion {
    sent::ScoreModelVersion {
        description: definition.description.clone(),
        dimensions: definition.dimensions.iter().map(|dimension| dimension_message(dimension, currency)).collect(),
        grading: definition.grading.as_ref().map(grading_message),
        ..sent::ScoreModelVersion::default()
    }
}

fn dimension_message(dimension: &Dimension, currency: Currency) -> sent::Dimension {
    let common = sent::Dimension {
        name: dimension.name.clone(),
        feature: dimension.feature.name(),
        bins: dimension.scale.bins().into(),
        missing_score: dimension.missing.into(),
        weight: i32::try_from(dimension.weight).unwrap_or(MAX_WEIGHT),
        unit: dimension.feature.unit().in_words(currency),
        ..sent::Dimension::default()
    };
    match &dimension.scale {
        Scale::Numbers(cut_offs) => {
            let (method, tie_rule) = match cut_offs.method {
                Method::Fixed => (sent::ScoringMethod::Fixed, sent::TieRule::Unspecified),
                Method::Range => (sent::ScoringMethod::Range, sent::TieRule::Unspecified),
                Method::Quantile(TieRule::Value) => (sent::ScoringMethod::Quantile, sent::TieRule::Value),
                Method::Quantile(TieRule::CumeDist) => (sent::ScoringMethod::Quantile, sent::TieRule::CumeDist),
                Method::Quantile(TieRule::Ntile) => (sent::ScoringMethod::Quantile, sent::TieRule::Ntile),
                Method::Quantile(TieRule::PercentRank) => (sent::ScoringMethod::Quantile, sent::TieRule::PercentRank),
            };
            let direction = match cut_offs.direction {
                Direction::Higher => sent::Direction::HigherIsBetter,
                Direction::Lower => sent::Direction::LowerIsBetter,
            };
            let side = match cut_offs.side() {
                Side::Above => sent::CutOffSide::Above,
                Side::Below => sent::CutOffSide::Below,
            };
            sent::Dimension {
                direction: direction.into(),
                cut_offs: cut_offs.edges.clone(),
                method: method.into(),
                tie_rule: tie_rule.into(),
                side: side.into(),
                ..common
            }
        }
        Scale::Texts(points) => {
            let categories = points
                .of
                .iter()
                .map(|(category, score)| sent::CategoryPoints { category: category.clone(), score: i32::from(*score) });
            sent::Dimension {
                method: sent::ScoringMethod::Map.into(),
                categories: categories.collect(),
                other_score: points.other.into(),
                ..common
            }
        }
    }
}

fn grading_message(grading: &Grading) -> sent::Grading {
    let bands = grading.bands.iter().map(|band| sent::GradeBand { name: band.name.clone(), from: band.from.into() });
    sent::Grading {
        bands: bands.collect(),
        middle_from: grading.middle_from.into(),
        high_from: grading.high_from.into(),
        vip_from: grading.vip_from.into(),
    }
}

/// The grade of scores by the definition that made them. `None`: there is none.
pub fn grade(definition: &Definition, scored: &Scored) -> Option<Grade> {
    let (grading, composite) = (definition.grading.as_ref()?, scored.composite?);
    Some(Grade {
        composite: composite.into(),
        band: grading.bands[grading.band(composite)].name.clone(),
        tier: grading.tier(composite).name().to_owned(),
        vip: grading.is_vip(composite),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::presets::PRESETS;

    fn usd() -> Currency {
        Currency::from_code("USD").unwrap()
    }

    #[test]
    fn a_definition_survives_its_message() {
        for preset in &PRESETS {
            let made = (preset.definition)(2);
            assert_eq!(definition(preset.model, &message(&made, usd())).unwrap(), made, "{}", preset.id);
        }
        let given = sent::Dimension {
            name: "type".to_owned(),
            feature: "top_category".to_owned(),
            method: sent::ScoringMethod::Map.into(),
            categories: vec![sent::CategoryPoints { category: "tea".to_owned(), score: 5 }],
            other_score: 1,
            missing_score: 2,
            ..sent::Dimension::default()
        };
        let version = sent::ScoreModelVersion { dimensions: vec![given], ..sent::ScoreModelVersion::default() };
        let made = definition("type", &version).unwrap();
        assert_eq!(definition("type", &message(&made, usd())).unwrap(), made);
    }

    #[test]
    fn the_model_of_labels_keeps_its_form() {
        type Spoil = fn(&mut sent::ScoreModelVersion);
        let retail = message(&(PRESETS[3].definition)(2), usd());
        let wrong: [(Spoil, &str); 5] = [
            (|version| version.dimensions.swap(0, 1), "dimensions"),
            (|version| version.dimensions[1].cut_offs.truncate(3), "dimensions[1].cut_offs"),
            (|version| version.dimensions[2].missing_score = 1, "dimensions[2].missing_score"),
            (|version| version.dimensions[2].weight = 1, "dimensions[2].weight"),
            (|version| version.grading = Some(sent::Grading::default()), "grading"),
        ];
        for (spoil, field) in wrong {
            let mut version = retail.clone();
            spoil(&mut version);
            assert_eq!(definition(RFM, &version).unwrap_err().field(), Some(field));
        }
        assert!(definition(RFM, &retail).is_ok());
    }
}
