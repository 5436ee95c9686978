//! Playbooks, their runs, their outcome and what to do next in words, as people read them.

use crate::output::{self, instant, money, plain, thousands};
use prost_types::Duration;
use quintile_lifecycle::outcome::Standing;
use quintile_proto::google_type::Date;
use quintile_proto::lifecycle::step::Action;
use quintile_proto::lifecycle::trigger::Kind;
use quintile_proto::lifecycle::{
    ActionStanding, ContactPolicy, DateTrigger, ListPlaybookTemplatesResponse, MeasuredDifference, NextBestAction,
    NextBestActions, OutcomeArm, OutcomeEffect, OutcomeVerdict, Playbook, PlaybookOutcome, PlaybookRun, RunRefusal,
    SendEmail, Step, Trigger, Variant, WarningSeverity,
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
        Some(Action::Email(email)) => writes(email),
        Some(Action::GrantOffer(grant)) => format!("grants {}", grant.offer),
        Some(Action::GrantTier(grant)) => {
            let lower = if grant.may_lower { ", from a higher one too" } else { "" };
            format!("puts into {}{lower}", grant.tier)
        }
    }
}

/// What an e-mail is, and in which languages besides the text for everybody.
fn writes(email: &SendEmail) -> String {
    let languages = email.texts.iter().map(|text| text.language.as_str()).filter(|language| !language.is_empty());
    let languages = languages.collect::<Vec<_>>().join(", ");
    let also = if languages.is_empty() { languages } else { format!(", also in {languages}") };
    format!("writes by {}: {}{also}", email.endpoint, email.message)
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
        Some(Kind::Date(said)) => days(said),
        Some(Kind::Manual(_)) => "by hand alone".to_owned(),
    }
}

/// Which days begin runs, and at which hour.
fn days(said: &DateTrigger) -> String {
    let before = match said.days_before {
        0 => String::new(),
        1 => "1 day before ".to_owned(),
        days => format!("{days} days before "),
    };
    let dates = said.dates.iter().map(yearly_or_once).collect::<Vec<_>>().join(", ");
    format!("{before}{}, at {}:00", if said.birthday { "the birthday" } else { dates.as_str() }, said.hour)
}

fn yearly_or_once(date: &Date) -> String {
    match date.year {
        0 => format!("{:02}-{:02} each year", date.month, date.day),
        _ => output::date(Some(date)),
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
pub fn show_runs(runs: &[PlaybookRun]) {
    let rows = runs.iter().map(|run| {
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
            run.enrolled_by.clone(),
            state,
            run.variant.clone(),
            run.steps_done.to_string(),
            instant(run.next_step_time.as_ref()),
            run.withheld.to_string(),
            bought.to_owned(),
            money(run.revenue.as_ref()),
        ]
    });
    let header = [
        "run",
        "of",
        "triggered",
        "by",
        "state",
        "variant",
        "steps done",
        "next step",
        "withheld",
        "bought",
        "revenue",
    ];
    say!("{}", output::table(&header, false, rows.collect()));
    for (run, skipped) in runs.iter().flat_map(|run| run.skipped.iter().map(move |skipped| (run, skipped))) {
        let reason = plain(skipped.reason().as_str_name(), "STEP_SKIP_REASON_");
        say!("{} skipped step {}: {reason}", run.name, skipped.step);
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

/// What was measured, with its bounds where there are any.
fn bounded(value: String, bounds: Option<(String, String)>) -> String {
    match bounds {
        Some((low, high)) => format!("{value} ({low} to {high})"),
        None => value,
    }
}

fn difference(measured: &MeasuredDifference, show: impl Fn(f64) -> String) -> String {
    let bounds = measured.low.zip(measured.high).map(|(low, high)| (show(low), show(high)));
    bounded(show(measured.value), bounds)
}

fn effect_row(effect: &OutcomeEffect) -> Vec<String> {
    let points = |share: f64| format!("{:+.2}", share * 100.0);
    let uplift = effect.uplift.as_ref().map(|uplift| difference(uplift, points));
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

/// Prints what could be done next with a customer, the best first.
pub fn show_next(next: &NextBestActions) {
    let Some(first) = next.actions.first() else {
        say!("{} could be put into no running playbook now.", next.customer);
        return;
    };
    let header = ["playbook", "is", "uplift", "value", "expected", "at least"];
    say!("{}", output::table(&header, false, next.actions.iter().map(action_row).collect()));
    if first.standing() == ActionStanding::Harmful {
        say!("None is to be chosen for {}: all were measured to harm.", next.customer);
    }
}

fn action_row(action: &NextBestAction) -> Vec<String> {
    let percent = |share: f64| format!("{:+.2} %", share * 100.0);
    let uplift = action.uplift.as_ref().map(|uplift| difference(uplift, percent));
    vec![
        action.playbook.clone(),
        standing(action.standing()).to_owned(),
        uplift.unwrap_or("-".to_owned()),
        money(action.value.as_ref()),
        money(action.expected.as_ref()),
        money(action.at_least.as_ref()),
    ]
}

/// How much is known of a playbook, in words.
fn standing(standing: ActionStanding) -> &'static str {
    let standing = match standing {
        ActionStanding::Unspecified => return "",
        ActionStanding::Proven => Standing::Proven,
        ActionStanding::Promising => Standing::Promising,
        ActionStanding::Unknown => Standing::Unknown,
        ActionStanding::Doubtful => Standing::Doubtful,
        ActionStanding::Harmful => Standing::Harmful,
    };
    standing.words()
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
    use quintile_proto::google_type::Money;
    use quintile_proto::lifecycle::EmailText;

    #[test]
    fn lengths_of_time_are_told_in_the_largest_unit() {
        let told = |seconds| length(Some(&Duration { seconds, nanos: 0 }));
        assert_eq!([told(60), told(5_400), told(7_200), told(1_209_600)], ["1 min", "90 min", "2 h", "14 d"]);
        assert_eq!(told(61), "61 s");
    }

    #[test]
    fn days_are_told_as_people_say_them() {
        let date = |year, month, day| Date { year, month, day };
        let birthday = DateTrigger { birthday: true, hour: 9, ..DateTrigger::default() };
        assert_eq!(days(&birthday), "the birthday, at 9:00");
        assert_eq!(days(&DateTrigger { days_before: 1, ..birthday }), "1 day before the birthday, at 9:00");
        let dates = vec![date(0, 12, 20), date(2027, 3, 28)];
        let said = DateTrigger { dates, days_before: 7, hour: 0, ..DateTrigger::default() };
        assert_eq!(days(&said), "7 days before 12-20 each year, 2027-03-28, at 0:00");
    }

    #[test]
    fn an_email_is_told_with_its_languages() {
        let text = |language: &str| EmailText { language: language.to_owned(), ..EmailText::default() };
        let email = |languages: &[&str]| SendEmail {
            endpoint: "care".to_owned(),
            message: "birthday".to_owned(),
            texts: languages.iter().map(|language| text(language)).collect(),
        };
        assert_eq!(writes(&email(&[""])), "writes by care: birthday");
        assert_eq!(writes(&email(&["de", "", "zh"])), "writes by care: birthday, also in de, zh");
    }

    #[test]
    fn what_to_do_next_is_told_with_its_bounds() {
        let amount = |units| Some(Money { currency_code: "USD".to_owned(), units, nanos: 0 });
        let measured = NextBestAction {
            playbook: "playbooks/win-back".to_owned(),
            standing: ActionStanding::Proven.into(),
            uplift: Some(MeasuredDifference { value: 0.05, low: Some(0.02), high: Some(0.08) }),
            value: amount(100),
            expected: amount(5),
            at_least: amount(2),
            ..NextBestAction::default()
        };
        let row = ["playbooks/win-back", "measured to help", "+5.00 % (+2.00 % to +8.00 %)"];
        assert_eq!(action_row(&measured)[..3], row);
        assert_eq!(action_row(&measured)[3..], ["100.00 USD", "5.00 USD", "2.00 USD"]);
        // Too few, and not for the reader.
        let few = Some(MeasuredDifference { value: -0.5, low: None, high: None });
        let few = NextBestAction { uplift: few, at_least: None, expected: None, value: None, ..measured };
        assert_eq!(action_row(&few)[2..], ["-50.00 %", "-", "-", "-"]);
        assert_eq!(action_row(&NextBestAction::default())[1..3], ["", "-"]);
    }
}
