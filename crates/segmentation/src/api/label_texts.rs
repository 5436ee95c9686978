//! Labels as requests write them: by rules, by cells, or by the name of a preset.

use crate::engine::{Bitmap, Values};
use crate::fields::FieldId;
use crate::labels::{self, LabelSet as Set, MAX_LABELS, Title, presets};
use crate::population::Population;
use crate::population::catalogue::Key;
use crate::population::clustering::Clustering;
use crate::population::definition::Body;
use quintile_domain::language;
use quintile_domain::names::{optional_text, required_text, resource_id};
use quintile_proto::segmentation::{Label, LabelTitle};
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use std::collections::HashSet;
use std::sync::Arc;

/// The most bytes of a title.
pub const MAX_TITLE_BYTES: usize = 128;
/// The most languages in which a label has a title.
const MAX_LANGUAGES: usize = 20;
/// The most bytes of what the labels of a set are called by language: lists tell them of every set.
const MAX_TITLES_BYTES: usize = 32 * 1_024;
/// The most channels that the preset `channel` makes a label for.
const MAX_CHANNELS: usize = 20;

/// The labels of a request, in whatever way they are written.
pub fn given_set(key: &Key, field: &str, given: &[Label], overlaps_allowed: bool) -> Result<Set, ApiError> {
    if !(2..=MAX_LABELS + 1).contains(&given.len()) {
        let problem = format!("must have 2 to {} labels, the last for everybody else", MAX_LABELS + 1);
        return Err(ApiError::invalid_field(format!("{field}.labels"), problem));
    }
    let mut labels = Vec::with_capacity(given.len());
    for (index, label) in given.iter().enumerate() {
        let field = format!("{field}.labels[{index}]");
        labels.push(given_label(key, &field, label, index + 1 == given.len())?);
    }
    check_bytes(field, &labels)?;
    let rest = labels.pop().unwrap_or_default();
    Ok(Set { labels, rest, overlaps_allowed })
}

/// Refuses more titles by language than a set may have.
fn check_bytes<'l>(field: &str, labels: impl IntoIterator<Item = &'l labels::Label>) -> Result<(), ApiError> {
    let titles = labels.into_iter().flat_map(|label| &label.titles);
    if titles.map(|title| title.language.len() + title.title.len()).sum::<usize>() <= MAX_TITLES_BYTES {
        return Ok(());
    }
    let problem = format!("must have titles by language of at most {MAX_TITLES_BYTES} bytes together");
    Err(ApiError::invalid_field(format!("{field}.labels"), problem))
}

/// What a label is called by language.
fn given_titles(field: &str, given: &[LabelTitle]) -> Result<Vec<Title>, ApiError> {
    if given.len() > MAX_LANGUAGES {
        return Err(ApiError::invalid_field(format!("{field}.titles"), format!("must have at most {MAX_LANGUAGES}")));
    }
    let mut languages = HashSet::new();
    for (index, LabelTitle { language, title }) in given.iter().enumerate() {
        let field = format!("{field}.titles[{index}]");
        if !language::is_tag(language) {
            let problem = "must be a BCP 47 tag, such as en or zh-Hant";
            return Err(ApiError::invalid_field(format!("{field}.language"), problem));
        }
        if !languages.insert(language.to_ascii_lowercase()) {
            return Err(ApiError::invalid_field(format!("{field}.language"), "is the language of another title too"));
        }
        required_text(title, MAX_TITLE_BYTES)
            .map_err(|error| ApiError::invalid_text(format!("{field}.title"), error))?;
    }
    let title =
        |LabelTitle { language, title }: &LabelTitle| Title { language: language.clone(), title: title.clone() };
    Ok(given.iter().map(title).collect())
}

fn given_label(key: &Key, field: &str, given: &Label, is_rest: bool) -> Result<labels::Label, ApiError> {
    let id = given.name.strip_prefix(&format!("{key}/labels/")).filter(|id| resource_id(id).is_ok());
    let problem = || ApiError::invalid_field(format!("{field}.name"), format!("must be {key}/labels/{{label}}"));
    let id = id.ok_or_else(problem)?.to_owned();
    optional_text(&given.title, MAX_TITLE_BYTES)
        .map_err(|error| ApiError::invalid_text(format!("{field}.title"), error))?;
    let titles = given_titles(field, &given.titles)?;
    let expression = match (given.expression.is_empty(), given.cells.is_empty(), is_rest) {
        (true, true, true) => String::new(),
        (false, true, false) => given.expression.clone(),
        (true, false, false) => {
            let is_cell = |cell: &String| cell.len() == 3 && cell.bytes().all(|digit| digit.is_ascii_digit());
            let number = |cell: &String| cell.parse().ok().filter(|_| is_cell(cell)).unwrap_or(0);
            let cells: Vec<u16> = given.cells.iter().map(number).collect();
            labels::expression_of(&cells).map_err(|_| {
                ApiError::invalid_field(format!("{field}.cells"), "must be three scores of 1 to 5 each, such as 541")
            })?
        }
        (.., true) => return Err(ApiError::invalid_field(field, "is the last, for everybody else: it has no rule")),
        _ => return Err(ApiError::invalid_field(field, "must have either an expression or cells")),
    };
    Ok(labels::Label { id, title: given.title.clone(), titles, expression })
}

/// Clusters with other titles: nothing else of them may be written.
pub fn renamed(key: &Key, clustering: &Clustering, given: &[Label]) -> Result<Body, ApiError> {
    let ids = clustering.labels.ids();
    let same = |(id, label): (&String, &Label)| {
        label.name == format!("{key}/labels/{id}") && label.expression.is_empty() && label.cells.is_empty()
    };
    if given.len() != ids.len() || !ids.iter().zip(given).all(same) {
        let problem = "must be the labels of the clusters, in their order, without rules and cells";
        return Err(ApiError::invalid_field("label_set.draft.labels", problem));
    }
    let mut labels = clustering.labels.clone();
    for (index, (label, given)) in labels.labels.iter_mut().chain([&mut labels.rest]).zip(given).enumerate() {
        let field = format!("label_set.draft.labels[{index}]");
        optional_text(&given.title, MAX_TITLE_BYTES)
            .map_err(|error| ApiError::invalid_text(format!("{field}.title"), error))?;
        label.title.clone_from(&given.title);
        label.titles = given_titles(&field, &given.titles)?;
    }
    check_bytes("label_set.draft", labels.labels.iter().chain([&labels.rest]))?;
    Ok(Body::Clusters(Arc::new(Clustering { labels, ..clustering.clone() })))
}

/// The labels of a preset, as they are for these customers: nobody is told of others by what their scores or channels are on the whole.
pub fn preset(name: &str, population: &Population, customers: &Bitmap) -> Result<Set, ApiError> {
    match name {
        "rfm-11" => Ok(presets::rfm_11()),
        "rfm-8" => Ok(presets::rfm_8()),
        "rfm-cn-8" => high_scores(population, customers).map(presets::rfm_cn_8),
        "frequency-3" => Ok(presets::frequency_3()),
        "value-3" => Ok(presets::value_3()),
        "lifecycle" => Ok(presets::lifecycle()),
        "channel" => channels(population, customers),
        _ => {
            let problem = format!("must be one of {}", presets::NAMES.join(", "));
            Err(ApiError::invalid_field("preset", problem))
        }
    }
}

/// The lowest of each score that is at or above its mean.
fn high_scores(population: &Population, customers: &Bitmap) -> Result<[i64; 3], ApiError> {
    let high = |field| {
        let groups = population.engine().break_down(field, customers, FieldId::Orders).groups;
        let scored = groups.iter().filter_map(|group| match group.values {
            Values::Range(score, _) => Some((score, group.customers as i64)),
            _ => None,
        });
        let (sum, count) =
            scored.fold((0, 0), |(sum, count), (score, customers)| (sum + score * customers, count + customers));
        let nobody = || ApiError::failed_precondition(ErrorReason::FailedPrecondition, "nobody has scores yet");
        if count == 0 { Err(nobody()) } else { Ok((sum + count - 1) / count) }
    };
    Ok([high(FieldId::Recency.id())?, high(FieldId::Frequency.id())?, high(FieldId::Monetary.id())?])
}

/// A label for each of the most frequent primary channels.
fn channels(population: &Population, customers: &Bitmap) -> Result<Set, ApiError> {
    let breakdown = population.engine().break_down(FieldId::Channel.id(), customers, FieldId::Orders);
    let names = breakdown.groups.iter().filter_map(|group| match &group.values {
        Values::Text(name) => Some(name.as_str()),
        _ => None,
    });
    let names: Vec<&str> = names.take(MAX_CHANNELS).collect();
    if names.is_empty() {
        return Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, "nobody has a channel yet"));
    }
    Ok(presets::channel(&names))
}
