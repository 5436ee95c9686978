//! Whether a playbook makes sense.

use super::{dates, emails};
use crate::offers::OFFERS;
use crate::offers::tiers::LOYALTY_TIERS;
use crate::outcome::MAX_WEIGHT;
use quintile_domain::names;
use quintile_proto::lifecycle::{
    Branch, CallWebhook, MakeTask, Playbook, Step, TaskKind, Trigger, Variant, WarningSeverity, step, trigger,
};
use quintile_proto::types::{Purpose, Stage, WarningKind};
use std::collections::HashSet;

/// Over how many days customers are measured where nobody says it.
pub const DEFAULT_GOAL_DAYS: i32 = 30;

const MAX_NAME_BYTES: usize = 256;
const MAX_DESCRIPTION_BYTES: usize = 1_024;
const MAX_NOTE_BYTES: usize = 2_048;
const MAX_SUBJECT_BYTES: usize = 128;
const MAX_MESSAGE_BYTES: usize = 128;
/// Playbooks are read whole, and often.
const MAX_TEXT_BYTES: usize = 256 * 1_024;
const MAX_VALUES: usize = 16;
const MAX_STAGES: usize = 8;
const MAX_VARIANTS: usize = 10;
const MAX_STEPS: usize = 30;
const MAX_GOAL_DAYS: i32 = 365;
const MAX_AGAIN_DAYS: i32 = 3_650;
const MAX_HOLDOUT: i32 = 9_999;
const MIN_SECONDS: i64 = 60;
const MAX_SECONDS: i64 = 365 * 86_400;

/// What is wrong with a playbook, and with which of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the field, within the playbook.
    pub field: String,
    /// What it must be.
    pub problem: String,
}

pub(crate) type Checked = Result<(), Problem>;

pub(crate) fn wrong(field: impl Into<String>, problem: impl Into<String>) -> Checked {
    Err(Problem { field: field.into(), problem: problem.into() })
}

pub(crate) fn text(field: &str, value: &str, max: usize, required: bool) -> Checked {
    let checked = if required { names::required_text(value, max) } else { names::optional_text(value, max) };
    checked.or_else(|error| wrong(field, error.to_string()))
}

pub(crate) fn within(field: &str, value: i32, least: i32, most: i32) -> Checked {
    if (least..=most).contains(&value) { Ok(()) } else { wrong(field, format!("must be {least} to {most}")) }
}

/// Checks a playbook, aside from its name and what is output only.
pub fn check(playbook: &Playbook) -> Checked {
    text("display_name", &playbook.display_name, MAX_NAME_BYTES, false)?;
    text("description", &playbook.description, MAX_DESCRIPTION_BYTES, false)?;
    check_trigger(playbook.trigger.as_ref())?;
    for (field, segment) in [("audience", &playbook.audience), ("excluded", &playbook.excluded)] {
        if !segment.is_empty() {
            check_segment(field, segment)?;
        }
    }
    if !matches!(Purpose::try_from(playbook.purpose), Ok(Purpose::Marketing | Purpose::Support)) {
        return wrong("purpose", "must be PURPOSE_MARKETING or PURPOSE_SUPPORT");
    }
    within("holdout_basis_points", playbook.holdout_basis_points, 0, MAX_HOLDOUT)?;
    within("goal_days", playbook.goal_days, 0, MAX_GOAL_DAYS)?;
    within("again_after_days", playbook.again_after_days, 0, MAX_AGAIN_DAYS)?;
    check_variants(&playbook.variants)
}

/// Checks the name of a segment or label.
fn check_segment(field: &str, name: &str) -> Checked {
    let is_id = |id: &str| names::resource_id(id).is_ok();
    let label = name.strip_prefix("labelSets/").and_then(|rest| rest.split_once("/labels/"));
    let is_segment = name.strip_prefix("segments/").is_some_and(is_id);
    if is_segment || label.is_some_and(|(set, label)| is_id(set) && is_id(label)) {
        return Ok(());
    }
    wrong(field, "must be segments/{id} or labelSets/{set}/labels/{label}")
}

/// Checks numbers of an enum: known ones, each once.
fn check_numbers<T: TryFrom<i32> + Default + PartialEq>(field: &str, numbers: &[i32], max: usize) -> Checked {
    if numbers.len() > max {
        return wrong(field, format!("must have at most {max} values"));
    }
    let mut seen = HashSet::new();
    for (index, number) in numbers.iter().enumerate() {
        if !T::try_from(*number).is_ok_and(|known| known != T::default()) {
            return wrong(format!("{field}[{index}]"), "must be one of the values of its enum, and not the first");
        }
        if !seen.insert(number) {
            return wrong(format!("{field}[{index}]"), "is there already");
        }
    }
    Ok(())
}

fn check_trigger(trigger: Option<&Trigger>) -> Checked {
    match trigger.and_then(|trigger| trigger.kind.as_ref()) {
        None => wrong("trigger", "is required"),
        Some(trigger::Kind::Stage(stage)) => {
            if stage.stages.is_empty() {
                return wrong("trigger.stage.stages", "is required");
            }
            check_numbers::<Stage>("trigger.stage.stages", &stage.stages, MAX_STAGES)?;
            check_numbers::<Stage>("trigger.stage.from_stages", &stage.from_stages, MAX_STAGES)
        }
        Some(trigger::Kind::Warning(warning)) => {
            check_numbers::<WarningKind>("trigger.warning.kinds", &warning.kinds, MAX_VALUES)?;
            if WarningSeverity::try_from(warning.min_severity).is_ok() {
                return Ok(());
            }
            wrong("trigger.warning.min_severity", "must be one of the values of its enum")
        }
        Some(trigger::Kind::Segment(segment)) => check_segment("trigger.segment.segment", &segment.segment),
        Some(trigger::Kind::Date(date)) => dates::check("trigger.date", date),
        Some(trigger::Kind::Manual(_)) => Ok(()),
    }
}

fn check_variants(variants: &[Variant]) -> Checked {
    if variants.is_empty() || variants.len() > MAX_VARIANTS {
        return wrong("variants", format!("must have 1 to {MAX_VARIANTS} variants"));
    }
    let mut ids = HashSet::new();
    for (index, variant) in variants.iter().enumerate() {
        let field = format!("variants[{index}]");
        if let Err(error) = names::resource_id(&variant.id) {
            return wrong(format!("{field}.id"), error.to_string());
        }
        if !ids.insert(variant.id.as_str()) {
            return wrong(format!("{field}.id"), "is the id of another variant too");
        }
        within(&format!("{field}.weight"), variant.weight, 0, MAX_WEIGHT.cast_signed())?;
        check_steps(&format!("{field}.steps"), &variant.steps)?;
    }
    if variants.iter().all(|variant| variant.weight == 0) {
        return wrong("variants", "must not all have a weight of 0");
    }
    let steps = variants.iter().flat_map(|variant| &variant.steps);
    let texts = steps.filter_map(|step| match &step.action {
        Some(step::Action::Email(email)) => Some(emails::bytes(email)),
        _ => None,
    });
    if texts.sum::<usize>() > MAX_TEXT_BYTES {
        return wrong("variants", format!("must have e-mails of at most {MAX_TEXT_BYTES} bytes together"));
    }
    Ok(())
}

fn check_steps(field: &str, steps: &[Step]) -> Checked {
    if steps.is_empty() || steps.len() > MAX_STEPS {
        return wrong(field, format!("must have 1 to {MAX_STEPS} steps"));
    }
    let mut ids = HashSet::new();
    for (index, step) in steps.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if !step.id.is_empty() {
            if let Err(error) = names::resource_id(&step.id) {
                return wrong(format!("{field}.id"), error.to_string());
            }
            if !ids.insert(step.id.as_str()) {
                return wrong(format!("{field}.id"), "is the id of another step too");
            }
        }
        check_action(&field, step.action.as_ref(), steps.split_at(index))?;
    }
    Ok(())
}

/// Checks what a step does, between those before it and those from it on.
fn check_action(field: &str, action: Option<&step::Action>, (before, from): (&[Step], &[Step])) -> Checked {
    match action {
        None => wrong(field, "must say what is done"),
        Some(step::Action::Wait(wait)) => {
            let field = format!("{field}.wait.duration");
            wait.duration.as_ref().map_or_else(|| wrong(&field, "is required"), |wait| check_duration(&field, wait))
        }
        Some(step::Action::Branch(branch)) => check_branch(field, branch, &from[1..]),
        Some(step::Action::End(_)) => Ok(()),
        Some(step::Action::Task(task)) => check_task(field, task),
        Some(step::Action::Webhook(webhook)) => check_webhook(field, webhook),
        Some(step::Action::Email(email)) => emails::check(field, email, grants_offer(before)),
        Some(step::Action::GrantOffer(grant)) => {
            check_named(&format!("{field}.grant_offer.offer"), &grant.offer, OFFERS)
        }
        Some(step::Action::GrantTier(grant)) => {
            check_named(&format!("{field}.grant_tier.tier"), &grant.tier, LOYALTY_TIERS)
        }
    }
}

/// Whether one of these steps grants an offer.
fn grants_offer(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.action, Some(step::Action::GrantOffer(_))))
}

/// Checks the name of a resource of a collection.
pub(crate) fn check_named(field: &str, name: &str, collection: &str) -> Checked {
    let is_named = name.strip_prefix(collection).is_some_and(|id| names::resource_id(id).is_ok());
    if is_named { Ok(()) } else { wrong(field, format!("must be {collection}{{id}}")) }
}

fn check_duration(field: &str, duration: &prost_types::Duration) -> Checked {
    if duration.nanos == 0 && (MIN_SECONDS..=MAX_SECONDS).contains(&duration.seconds) {
        return Ok(());
    }
    wrong(field, "must be 1 minute to 365 days, in whole seconds")
}

fn check_branch(field: &str, branch: &Branch, later: &[Step]) -> Checked {
    check_segment(&format!("{field}.branch.segment"), &branch.segment)?;
    if branch.otherwise.is_empty() || later.iter().any(|step| step.id == branch.otherwise) {
        return Ok(());
    }
    wrong(format!("{field}.branch.otherwise"), "must be the id of a later step of the variant")
}

fn check_task(field: &str, task: &MakeTask) -> Checked {
    let field = format!("{field}.task");
    if !TaskKind::try_from(task.kind).is_ok_and(|kind| kind != TaskKind::Unspecified) {
        return wrong(format!("{field}.kind"), "must be one of the values of its enum, and not the first");
    }
    text(&format!("{field}.title"), &task.title, MAX_NAME_BYTES, true)?;
    text(&format!("{field}.note"), &task.note, MAX_NOTE_BYTES, false)?;
    if !task.assignee.is_empty() {
        text(&format!("{field}.assignee"), &task.assignee, MAX_SUBJECT_BYTES, true)?;
    }
    task.due_after.as_ref().map_or(Ok(()), |due_after| check_duration(&format!("{field}.due_after"), due_after))
}

fn check_webhook(field: &str, webhook: &CallWebhook) -> Checked {
    if let Err(error) = names::resource_id(&webhook.endpoint) {
        return wrong(format!("{field}.webhook.endpoint"), error.to_string());
    }
    text(&format!("{field}.webhook.message"), &webhook.message, MAX_MESSAGE_BYTES, true)
}
