//! Playbooks, their runs and their outcome in words, as people read them.

use crate::output::{self, instant, money, plain, thousands};
use prost_types::Duration;
use quintile_proto::lifecycle::step::Action;
use quintile_proto::lifecycle::trigger::Kind;
use quintile_proto::lifecycle::{
    ContactPolicy, ListPlaybookRunsResponse, ListPlaybookTemplatesResponse, OutcomeArm, OutcomeEffect, OutcomeVerdict,
    Playbook, PlaybookOutcome, RunRefusal, Step, Trigger, Variant, WarningSeverity,
};
use quintile_proto::types::{Stage, WarningKind};

/// Prints playbooks, one a line.
pub fn show_rows(playbooks: &[Playbook]) {
    let rows = playbooks.iter().map(|playbook| {
        let (state, purpose) = (playbook.state().as_str_name(), playbook.purpose().as_str_name());
        vec![
            playbook.name.clone(),
            plain(state, "PLAYBOOK_STATE_"),
            playbook.version.to_string(),
            trigger(playbook.trigger.as_ref()),
            plain(purpose, "PURPOSE_"),
            format!("{} %", f64::from(playbook.holdout_basis_points) / 100.0),
            playbook.variants.iter().map(|variant| variant.id.as_str()).collect::<Vec<_>>().join(", "),
        ]
    });
    let header = ["playbook", "state", "version", "trigger", "purpose", "held out", "variants"];
    say!("{}", output::table(&header, false, rows.collect()));
}

/// Prints all that a playbook is.
pub fn show_playbook(playbook: &Playbook) {
    show_rows(std::slice::from_ref(playbook));
    for text in [&playbook.display_name, &playbook.description] {
        if !text.is_empty() {
            say!("{text}");
        }
    }
    for (segment, who) in [(&playbook.audience, "members"), (&playbook.excluded, "nobody")] {
        if !segment.is_empty() {
            say!("For {who} of {segment}.");
        }
    }
    let rows = playbook.variants.iter().flat_map(step_rows).collect();
    say!("{}", output::table(&["variant", "weight", "step", "id", "does"], false, rows));
    let again = match playbook.again_after_days {
        0 => "once for a customer".to_owned(),
        days => format!("again for a customer after {days} days"),
    };
    say!("Measured over {} days; {again}. Etag {}", playbook.goal_days, playbook.etag);
}

fn step_rows(variant: &Variant) -> Vec<Vec<String>> {
    let row = |(place, step): (usize, &Step)| {
        let number = (place + 1).to_string();
        vec![variant.id.clone(), variant.weight.to_string(), number, step.id.clone(), does(step)]
    };
    variant.steps.iter().enumerate().map(row).collect()
}

/// What a step does, in words.
fn does(step: &Step) -> String {
    match &step.action {
        None => String::new(),
        Some(Action::Wait(wait)) => format!("waits for {}", length(wait.duration.as_ref())),
        Some(Action::Branch(branch)) => {
            let otherwise = if branch.otherwise.is_empty() { "end" } else { branch.otherwise.as_str() };
            format!("members of {} go on; others: {otherwise}", branch.segment)
        }
        Some(Action::End(_)) => "ends".to_owned(),
        Some(Action::Task(task)) => {
            let due = task.due_after.as_ref().map(|due| format!(", within {}", length(Some(due))));
            let kind = plain(task.kind().as_str_name(), "TASK_KIND_");
            format!("has a colleague {kind}: {}{}", task.title, due.unwrap_or_default())
        }
        Some(Action::Webhook(webhook)) => format!("tells {}: {}", webhook.endpoint, webhook.message),
    }
}

/// A length of time in the largest unit of which it is a whole number.
fn length(duration: Option<&Duration>) -> String {
    let seconds = duration.map_or(0, |duration| duration.seconds);
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds % unit == 0).unwrap_or((1, "s"));
    format!("{} {name}", seconds / unit)
}

/// What triggers a playbook, in words.
fn trigger(trigger: Option<&Trigger>) -> String {
    match trigger.and_then(|trigger| trigger.kind.as_ref()) {
        None => String::new(),
        Some(Kind::Stage(said)) => {
            let name = |number: &i32| Stage::try_from(*number).map_or("", |stage| stage.as_str_name());
            let stages = |numbers: &[i32]| words(numbers.iter().map(name), "STAGE_");
            match said.from_stages.as_slice() {
                [] => format!("into {}", stages(&said.stages)),
                from => format!("from {} into {}", stages(from), stages(&said.stages)),
            }
        }
        Some(Kind::Warning(said)) => {
            let name = |number: &i32| WarningKind::try_from(*number).map_or("", |kind| kind.as_str_name());
            let severity = match said.min_severity() {
                WarningSeverity::Unspecified => String::new(),
                severity => format!(", {} or more", plain(severity.as_str_name(), "WARNING_SEVERITY_")),
            };
            let kinds = words(said.kinds.iter().map(name), "WARNING_KIND_");
            format!("warning: {}{severity}", if kinds.is_empty() { "any" } else { kinds.as_str() })
        }
        Some(Kind::Segment(said)) => format!("{} {}", if said.leaves { "leaves" } else { "enters" }, said.segment),
    }
}

fn words(names: impl Iterator<Item = &'static str>, prefix: &str) -> String {
    names.map(|name| plain(name, prefix)).collect::<Vec<_>>().join(", ")
}

/// Prints the templates, one a line.
pub fn show_templates(list: &ListPlaybookTemplatesResponse) {
    let rows = list.templates.iter().map(|template| {
        let playbook = template.playbook.clone().unwrap_or_default();
        vec![template.name.clone(), trigger(playbook.trigger.as_ref()), playbook.description]
    });
    say!("{}", output::table(&["template", "trigger", "for"], false, rows.collect()));
}

/// Prints runs, one a line.
pub fn show_runs(list: &ListPlaybookRunsResponse) {
    let rows = list.runs.iter().map(|run| {
        let state = plain(run.state().as_str_name(), "RUN_STATE_");
        let state = match run.refusal() {
            RunRefusal::Unspecified => state,
            refusal => format!("{state}: {}", plain(refusal.as_str_name(), "RUN_REFUSAL_")),
        };
        let bought = run.converted.map_or("-", |bought| if bought { "yes" } else { "no" });
        vec![
            run.name.clone(),
            format!("{} {}", run.playbook, run.version),
            instant(run.trigger_time.as_ref()),
            state,
            run.variant.clone(),
            run.steps_done.to_string(),
            instant(run.next_step_time.as_ref()),
            run.withheld.to_string(),
            bought.to_owned(),
            money(run.revenue.as_ref()),
        ]
    });
    let header =
        ["run", "of", "triggered", "state", "variant", "steps done", "next step", "withheld", "bought", "revenue"];
    say!("{}", output::table(&header, false, rows.collect()));
    if !list.next_page_token.is_empty() {
        say!("There are more.");
    }
}

/// Prints what came of a playbook: each side, and each against the holdout.
pub fn show_outcome(outcome: &PlaybookOutcome) {
    let arms = outcome.holdout.iter().chain(&outcome.variants).map(|arm: &OutcomeArm| {
        let share = arm.converted as f64 * 100.0 / arm.customers.max(1) as f64;
        let [customers, bought] = [arm.customers, arm.converted].map(|count| thousands(count.unsigned_abs()));
        let side = if arm.variant.is_empty() { "held out" } else { arm.variant.as_str() };
        vec![side.to_owned(), customers, bought, format!("{share:.1} %"), money(arm.revenue.as_ref())]
    });
    say!("{}", output::table(&["side", "customers", "bought", "share", "revenue"], true, arms.collect()));
    let waiting = thousands(outcome.waiting_customers.unsigned_abs());
    say!("{}, version {}; {waiting} customers are not measured yet.", outcome.name, outcome.version);
    if outcome.effects.is_empty() {
        say!("Nobody is on one of the sides: there is nothing to compare.");
        return;
    }
    let header = ["against the holdout", "share, in points", "revenue of each", "it"];
    say!("{}", output::table(&header, false, outcome.effects.iter().map(effect_row).collect()));
}

fn effect_row(effect: &OutcomeEffect) -> Vec<String> {
    let points = |share: f64| format!("{:+.2}", share * 100.0);
    let bounded = |value: String, bounds: Option<(String, String)>| match bounds {
        Some((low, high)) => format!("{value} ({low} to {high})"),
        None => value,
    };
    let uplift = effect.uplift.as_ref().map(|uplift| {
        let bounds = uplift.low.zip(uplift.high).map(|(low, high)| (points(low), points(high)));
        bounded(points(uplift.value), bounds)
    });
    let revenue = effect.revenue_per_customer.as_ref().map(|revenue| {
        let bounds = revenue.low.as_ref().zip(revenue.high.as_ref());
        bounded(money(revenue.value.as_ref()), bounds.map(|(low, high)| (money(Some(low)), money(Some(high)))))
    });
    let variant = if effect.variant.is_empty() { "all variants" } else { effect.variant.as_str() };
    let verdict = match effect.verdict() {
        OutcomeVerdict::Unspecified => "nobody on one of the sides".to_owned(),
        said => plain(said.as_str_name(), "OUTCOME_VERDICT_"),
    };
    vec![variant.to_owned(), uplift.unwrap_or_default(), revenue.unwrap_or_default(), verdict]
}

/// Prints what holds for all playbooks.
pub fn show_policy(policy: &ContactPolicy) {
    say!("{}", if policy.paused { "Everything stands still." } else { "Playbooks go on." });
    match (policy.max_contacts, policy.cap_days) {
        (0, _) => say!("A customer may be contacted any number of times."),
        (contacts, days) => say!("A customer is contacted {contacts} times in {days} days at most."),
    }
    match policy.quiet_from_hour.zip(policy.quiet_to_hour) {
        None => say!("There are no quiet hours."),
        Some((from, to)) => say!("Nobody is contacted from {from}:00 to {to}:00, local time."),
    }
    let zones = policy.zones.iter().map(|zone| vec![zone.country.clone(), zone.zone.clone()]).collect::<Vec<_>>();
    if !zones.is_empty() {
        say!("{}", output::table(&["country", "time zone"], false, zones));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_told_in_the_largest_unit() {
        let told = |seconds| length(Some(&Duration { seconds, nanos: 0 }));
        assert_eq!([told(60), told(5_400), told(7_200), told(1_209_600)], ["1 min", "90 min", "2 h", "14 d"]);
        assert_eq!(told(61), "61 s");
    }
}
