//! Runs, by what the contract says of them: each step at its instant, whoever is to be left alone left alone, and the same however time comes.

use super::*;
use crate::outcome::Side;
use proptest::prelude::*;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::lifecycle::step::Action as StepAction;
use quintile_proto::lifecycle::{
    Branch, CallWebhook, ContactPolicy, CountryZone, EmailText, End, GrantOffer, GrantTier, MakeTask, ManualTrigger,
    Playbook, RunRefusal, RunState, SendEmail, StageTrigger, Step, StepSkipReason, TaskKind, Trigger, Variant, Wait,
    WarningSeverity, WarningTrigger, trigger,
};
use quintile_proto::types::{CustomerAttributes, CustomerRecord, Features, Purpose, Stage, WarningKind};
use quintile_rpc::convert;
use triggers::Happening;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

fn dollar() -> Currency {
    Currency::from_code("USD").unwrap()
}

/// So many seconds behind the beginning, which is a midnight.
fn at(seconds: i64) -> Instant {
    Instant::parse("2026-01-01T00:00:00Z").unwrap().plus_micros(seconds * 1_000_000)
}

fn step(action: StepAction) -> Step {
    Step { id: String::new(), action: Some(action) }
}

fn wait(seconds: i64) -> Step {
    let duration = prost_types::Duration { seconds, nanos: 0 };
    step(StepAction::Wait(Wait { duration: Some(duration) }))
}

fn message(text: &str) -> Step {
    step(StepAction::Webhook(CallWebhook { endpoint: "messages".to_owned(), message: text.to_owned() }))
}

fn task(title: &str) -> Step {
    let task = MakeTask { kind: TaskKind::Call.into(), title: title.to_owned(), ..MakeTask::default() };
    step(StepAction::Task(task))
}

fn branch(segment: &str, otherwise: &str) -> Step {
    step(StepAction::Branch(Branch { segment: format!("segments/{segment}"), otherwise: otherwise.to_owned() }))
}

fn named(id: &str, step: Step) -> Step {
    Step { id: id.to_owned(), ..step }
}

fn playbook(steps: Vec<Step>) -> Playbook {
    let stage = StageTrigger { stages: vec![Stage::Dormant.into()], from_stages: Vec::new() };
    Playbook {
        name: "playbooks/p".to_owned(),
        version: 1,
        trigger: Some(Trigger { kind: Some(trigger::Kind::Stage(stage)) }),
        purpose: Purpose::Marketing.into(),
        variants: vec![Variant { id: "a".to_owned(), weight: 1, steps }],
        goal_days: 30,
        ..Playbook::default()
    }
}

fn consenting() -> CustomerRecord {
    let consents = vec![Purpose::Marketing.into()];
    let attributes = CustomerAttributes { owner: "olga".to_owned(), consents, ..CustomerAttributes::default() };
    CustomerRecord { customer_id: 7, attributes: Some(attributes), ..CustomerRecord::default() }
}

/// A world in which a customer is, and belongs to the segments of some names.
struct World {
    record: Option<CustomerRecord>,
    segments: Vec<&'static str>,
    policy: ContactPolicy,
}

impl Default for World {
    fn default() -> Self {
        Self { record: Some(consenting()), segments: Vec::new(), policy: ContactPolicy::default() }
    }
}

impl World {
    fn with<T>(&self, playbook: &Playbook, now: Instant, use_it: impl FnOnce(&Occasion<'_>, &Customer<'_>) -> T) -> T {
        let rules = ContactRules::of(&self.policy, &TimeZone::UTC);
        // Those of the name `gone` are no more.
        let is_member = |segment: &str| {
            let name = segment.trim_start_matches("segments/");
            (name != "gone").then(|| self.segments.contains(&name))
        };
        let customer = Customer { number: 7, record: self.record.as_ref(), is_member: &is_member };
        use_it(&Occasion { playbook, currency: dollar(), rules: &rules, now }, &customer)
    }

    fn assigned(&self, playbook: &Playbook, earlier: &[&Run]) -> Run {
        let mut run = Run::triggered(at(0));
        self.with(playbook, at(0), |occasion, customer| run.assign(occasion, customer, earlier, Side::Variant(0)));
        run
    }

    /// What a run comes to that is looked at at these seconds: what was done, as words with seconds.
    fn told(&self, playbook: &Playbook, looks: &[i64]) -> (Run, Vec<(i64, String)>) {
        let mut run = self.assigned(playbook, &[]);
        let (mut contacts, mut told) = (Vec::new(), Vec::new());
        for now in looks {
            let actions =
                self.with(playbook, at(*now), |occasion, customer| run.advance(occasion, customer, &mut contacts));
            told.extend(actions.into_iter().map(|action| match action {
                Action::Task { at: done, task, assignee } => (seconds(done), format!("{} {assignee}", task.title)),
                Action::Message { at: done, message: Message::Webhook(webhook), .. } => {
                    (seconds(done), webhook.message)
                }
                Action::Message { at: done, message: Message::Email { text, .. }, .. } => (seconds(done), text.subject),
                Action::Offer { at: done, step, offer } => (seconds(done), format!("{step} {offer}")),
                Action::Tier { at: done, step, tier } => (seconds(done), format!("{step} {}", tier.tier)),
            }));
        }
        (run, told)
    }
}

fn seconds(instant: Instant) -> i64 {
    (instant.micros() - at(0).micros()) / 1_000_000
}

fn words(told: &[(i64, String)]) -> Vec<(i64, &str)> {
    told.iter().map(|(at, text)| (*at, text.as_str())).collect()
}

#[test]
fn each_step_is_reached_behind_the_waits_before_it_however_late_somebody_comes() {
    let playbook = playbook(vec![message("one"), wait(2 * DAY), task("two"), wait(DAY), message("three")]);
    let (run, told) = World::default().told(&playbook, &[0]);
    assert_eq!(words(&told), [(0, "one")]);
    assert_eq!((run.state, run.steps_done, run.step_at), (RunState::Active, 2, Some(at(2 * DAY))));
    let (run, told) = World::default().told(&playbook, &[9 * DAY]);
    assert_eq!(words(&told), [(0, "one"), (2 * DAY, "two olga"), (3 * DAY, "three")]);
    assert_eq!((run.state, run.steps_done, run.step_at), (RunState::Finished, 5, None));
    assert_eq!(run.due_at(), Some(at(30 * DAY)), "it is measured yet");
}

#[test]
fn branches_part_customers_and_go_forward_alone() {
    let steps = vec![
        branch("vip", "others"),
        message("for vip"),
        step(StepAction::End(End {})),
        named("others", branch("gone", "rest")),
        message("never"),
        named("rest", message("for the rest")),
    ];
    let of = |segments| World { segments, ..World::default() }.told(&playbook(steps.clone()), &[0]);
    let (run, told) = of(vec!["vip"]);
    assert_eq!((words(&told), run.state, run.steps_done), (vec![(0, "for vip")], RunState::Finished, 3));
    let (run, told) = of(vec![]);
    assert_eq!((words(&told), run.state, run.steps_done), (vec![(0, "for the rest")], RunState::Finished, 6));
    let (run, told) = World::default().told(&playbook(vec![branch("vip", ""), message("never")]), &[0]);
    assert_eq!((told.len(), run.state, run.steps_done), (0, RunState::Finished, 1));
}

#[test]
fn the_first_reason_against_a_run_is_told() {
    let mut definition = playbook(vec![message("hello")]);
    (definition.audience, definition.excluded) = ("segments/in".to_owned(), "segments/out".to_owned());
    let refusal = |world: &World, earlier: &[&Run]| world.assigned(&definition, earlier).refusal;
    let mut world = World { record: None, ..World::default() };
    let before = World { segments: vec!["in"], ..World::default() }.assigned(&definition, &[]);
    assert_eq!(refusal(&world, &[&before]), RunRefusal::Gone);
    world.record = Some(CustomerRecord::default());
    assert_eq!(refusal(&world, &[&before]), RunRefusal::Again);
    assert_eq!(refusal(&world, &[]), RunRefusal::Consent);
    world.record = Some(consenting());
    assert_eq!(refusal(&world, &[]), RunRefusal::Audience);
    world.segments = vec!["in", "out"];
    assert_eq!(refusal(&world, &[]), RunRefusal::Excluded);
    world.segments = vec!["in"];
    assert_eq!(refusal(&world, &[]), RunRefusal::Unspecified);
    // Of a segment that is no more, nobody is a member, and nobody is known not to be one.
    definition.audience = "segments/gone".to_owned();
    assert_eq!(world.assigned(&definition, &[]).refusal, RunRefusal::Audience);
    (definition.audience, definition.excluded) = (String::new(), "segments/gone".to_owned());
    assert_eq!(world.assigned(&definition, &[]).refusal, RunRefusal::Excluded);
}

#[test]
fn support_needs_no_consent_and_obeys_objections() {
    let support = Playbook { purpose: Purpose::Support.into(), ..playbook(vec![task("call")]) };
    let of = |consents: &[Purpose], objections: &[Purpose]| {
        let numbers = |purposes: &[Purpose]| purposes.iter().map(|purpose| i32::from(*purpose)).collect();
        let attributes = CustomerAttributes {
            consents: numbers(consents),
            objections: numbers(objections),
            ..CustomerAttributes::default()
        };
        let record = Some(CustomerRecord { attributes: Some(attributes), ..CustomerRecord::default() });
        World { record, ..World::default() }.assigned(&support, &[]).refusal
    };
    assert_eq!(of(&[], &[]), RunRefusal::Unspecified);
    assert_eq!(of(&[], &[Purpose::Marketing]), RunRefusal::Unspecified);
    assert_eq!(of(&[Purpose::Marketing], &[Purpose::Support]), RunRefusal::Consent);
}

#[test]
fn a_run_keeps_others_away_for_as_long_as_is_said() {
    let definition = |again_after_days| Playbook { again_after_days, ..playbook(vec![message("hello")]) };
    let again = |earlier: &Run, days: i64, again_after_days| {
        let mut run = Run::triggered(at(days * DAY));
        let definition = definition(again_after_days);
        World::default().with(&definition, at(days * DAY), |occasion, customer| {
            run.assign(occasion, customer, &[earlier], Side::Holdout);
        });
        run.refusal == RunRefusal::Again
    };
    let (finished, _) = World::default().told(&definition(0), &[0]);
    assert_eq!(finished.state, RunState::Finished);
    assert!(again(&finished, 9_999, 0), "for ever");
    assert!(again(&finished, 9, 10) && !again(&finished, 10, 10));
    let under_way = World::default().assigned(&definition(1), &[]);
    assert!(again(&under_way, 400, 1), "it goes on yet");
    let refused = World { record: None, ..World::default() }.assigned(&definition(0), &[]);
    assert!(!again(&refused, 1, 0), "one that was refused is none");
    let mut stopped = Run::triggered(at(0));
    stopped.stop();
    assert!(!again(&stopped, 1, 0), "nor is one that was stopped before anything was decided");
}

#[test]
fn whoever_withdraws_is_left_alone_and_whoever_is_gone_too() {
    let definition = playbook(vec![wait(DAY), message("one"), task("two")]);
    let mut run = World::default().assigned(&definition, &[]);
    let withdrawn = World { record: Some(CustomerRecord::default()), ..World::default() };
    let actions =
        withdrawn.with(&definition, at(DAY), |occasion, customer| run.advance(occasion, customer, &mut Vec::new()));
    assert_eq!((actions.len(), run.withheld, run.state), (0, 2, RunState::Finished));
    let mut run = World::default().assigned(&definition, &[]);
    let gone = World { record: None, ..World::default() };
    gone.with(&definition, at(DAY), |occasion, customer| run.advance(occasion, customer, &mut Vec::new()));
    assert_eq!((run.state, run.step_at), (RunState::Stopped, None));
    gone.with(&definition, at(31 * DAY), |occasion, customer| run.advance(occasion, customer, &mut Vec::new()));
    assert_eq!((run.measure_at, run.measured, run.due_at()), (None, None, None));
}

#[test]
fn whatever_grants_asks_for_consent_and_for_nothing_else() {
    let offer = GrantOffer { offer: "offers/ten".to_owned() };
    let tier = GrantTier { tier: "loyaltyTiers/gold".to_owned(), may_lower: false };
    let definition = playbook(vec![step(StepAction::GrantOffer(offer)), step(StepAction::GrantTier(tier))]);
    // Neither quiet nor a cap keeps off what contacts nobody.
    let policy = ContactPolicy {
        quiet_from_hour: Some(21),
        quiet_to_hour: Some(8),
        max_contacts: 1,
        cap_days: 7,
        ..ContactPolicy::default()
    };
    let (run, told) = World { policy, ..World::default() }.told(&definition, &[0]);
    assert_eq!(words(&told), [(0, "1 offers/ten"), (0, "2 loyaltyTiers/gold")]);
    assert_eq!((run.state, run.skipped.len()), (RunState::Finished, 0));
    let mut run = World::default().assigned(&definition, &[]);
    let withdrawn = World { record: Some(CustomerRecord::default()), ..World::default() };
    let actions =
        withdrawn.with(&definition, at(0), |occasion, customer| run.advance(occasion, customer, &mut Vec::new()));
    let skipped: Vec<_> = run.skipped.iter().map(|skipped| (skipped.step, skipped.reason())).collect();
    assert_eq!((actions.len(), run.withheld), (0, 0));
    assert_eq!(skipped, [(1, StepSkipReason::Consent), (2, StepSkipReason::Consent)]);
}

#[test]
fn quiet_hours_put_messages_off_and_not_tasks() {
    let policy = ContactPolicy { quiet_from_hour: Some(21), quiet_to_hour: Some(8), ..ContactPolicy::default() };
    let definition = playbook(vec![message("night"), wait(13 * HOUR), task("evening"), message("evening")]);
    let (run, told) = World { policy: policy.clone(), ..World::default() }.told(&definition, &[3 * DAY]);
    assert_eq!(words(&told), [(8 * HOUR, "night"), (21 * HOUR, "evening olga"), (32 * HOUR, "evening")]);
    assert_eq!(run.withheld, 0);
    // In New York it is 19 o'clock, and in Tokyo 9.
    let of = |country: &str| {
        let zones = [("US", "America/New_York"), ("JP", "Asia/Tokyo")];
        let zones = zones.map(|(country, zone)| CountryZone { country: country.to_owned(), zone: zone.to_owned() });
        let mut record = consenting();
        record.attributes.as_mut().unwrap().country = Some(country.to_owned());
        let policy = ContactPolicy { zones: zones.to_vec(), ..policy.clone() };
        World { record: Some(record), policy, ..World::default() }.told(&playbook(vec![message("m")]), &[DAY]).1[0].0
    };
    assert_eq!((of("US"), of("JP"), of("FR")), (0, 0, 8 * HOUR));
}

#[test]
fn quiet_ends_by_the_clocks_of_the_place() {
    let policy = ContactPolicy { quiet_from_hour: Some(22), quiet_to_hour: Some(3), ..ContactPolicy::default() };
    let rules = ContactRules::of(&policy, &TimeZone::from_name("Europe/Berlin").unwrap());
    let until = |text: &str| {
        let end = rules.quiet_until(&CustomerAttributes::default(), Instant::parse(text).unwrap());
        end.map(|end| end.to_string())
    };
    assert_eq!(until("2026-01-15T20:59:59Z"), None);
    assert_eq!(until("2026-01-15T21:00:00Z").as_deref(), Some("2026-01-16T02:00:00Z"));
    // The night on which the clocks go from 2 to 3, and the one on which they show 2 twice.
    assert_eq!(until("2026-03-29T00:30:00Z").as_deref(), Some("2026-03-29T01:00:00Z"));
    assert_eq!(until("2026-10-25T00:30:00Z").as_deref(), Some("2026-10-25T02:00:00Z"));
    assert_eq!(until("2026-10-25T02:00:00Z"), None);
}

#[test]
fn a_cap_withholds_what_would_be_one_too_many() {
    let policy = ContactPolicy { max_contacts: 2, cap_days: 7, ..ContactPolicy::default() };
    let steps = (0..5).flat_map(|number| [message(&number.to_string()), wait(2 * DAY)]).collect();
    let (run, told) = World { policy, ..World::default() }.told(&playbook(steps), &[30 * DAY]);
    // On days 0 and 2; on 4 and 6 there were two within seven days; on 8 the first one is longer ago.
    assert_eq!(words(&told), [(0, "0"), (2 * DAY, "1"), (8 * DAY, "4")]);
    assert_eq!(run.withheld, 2);
}

#[test]
fn where_contacts_are_capped_it_is_known_whether_a_mail_about_a_grant_was_one_before_the_next() {
    let text = EmailText { subject: "code".to_owned(), body: "{{code}}".to_owned(), ..EmailText::default() };
    let email = SendEmail { endpoint: "care".to_owned(), message: "code".to_owned(), texts: vec![text] };
    let definition = playbook(vec![step(StepAction::Email(email)), message("behind")]);
    let policy = ContactPolicy { max_contacts: 1, cap_days: 7, ..ContactPolicy::default() };
    let capped = World { policy, ..World::default() };
    let mut run = capped.assigned(&definition, &[]);
    let mut advance = |contacts: &[Instant]| {
        let mut contacts = contacts.to_vec();
        capped.with(&definition, at(0), |occasion, customer| run.advance(occasion, customer, &mut contacts)).len()
    };
    // It came to nothing, so the one behind it is the first.
    assert_eq!((advance(&[]), advance(&[])), (1, 1));
    assert_eq!((run.state, run.withheld), (RunState::Finished, 0));
    let (run, told) = World::default().told(&definition, &[0]);
    assert_eq!((words(&told).len(), run.state), (2, RunState::Finished), "without a cap it is one and the same");
}

#[test]
fn what_it_has_bought_since_is_measured_once() {
    let bought = |orders: i64, cents: i64| {
        let features = Features { orders, net_revenue: Some(convert::money(dollar(), cents)), ..Features::default() };
        World { record: Some(CustomerRecord { features: Some(features), ..consenting() }), ..World::default() }
    };
    let definition = playbook(vec![message("hello")]);
    let mut run = bought(2, 1_000).assigned(&definition, &[]);
    let mut look = |world: World, days: i64| {
        world.with(&definition, at(days * DAY), |occasion, customer| {
            run.advance(occasion, customer, &mut Vec::new());
        });
        (run.measured, run.due_at())
    };
    assert_eq!(look(bought(3, 1_500), 29), (None, Some(at(30 * DAY))));
    let measured = Some(Measured { converted: true, revenue_minor: 700 });
    assert_eq!(look(bought(3, 1_700), 30), (measured, None));
    assert_eq!(look(bought(9, 9_000), 60), (measured, None));
}

#[test]
fn triggers_begin_what_they_say() {
    let of = |kind| Playbook { trigger: Some(Trigger { kind: Some(kind) }), ..Playbook::default() };
    let numbers = |stages: &[Stage]| stages.iter().map(|stage| i32::from(*stage)).collect();
    let stage = |to: &[Stage], from: &[Stage]| {
        of(trigger::Kind::Stage(StageTrigger { stages: numbers(to), from_stages: numbers(from) }))
    };
    let comes = |from, to| Happening::Stage { from, to };
    assert!(comes(Some(Stage::Active), Stage::Dormant).begins(&stage(&[Stage::Dormant, Stage::Churned], &[])));
    assert!(comes(None, Stage::New).begins(&stage(&[Stage::New], &[])));
    assert!(!comes(None, Stage::New).begins(&stage(&[Stage::New], &[Stage::Lead])));
    assert!(!comes(Some(Stage::Active), Stage::AtRisk).begins(&stage(&[Stage::Dormant], &[])));
    let warning = |kinds: &[WarningKind], least: WarningSeverity| {
        let kinds = kinds.iter().map(|kind| i32::from(*kind)).collect();
        of(trigger::Kind::Warning(WarningTrigger { kinds, min_severity: least.into() }))
    };
    let raised = Happening::Warning { kind: WarningKind::Silence, severity: WarningSeverity::Medium };
    assert!(raised.begins(&warning(&[], WarningSeverity::Unspecified)));
    assert!(raised.begins(&warning(&[WarningKind::Silence], WarningSeverity::Medium)));
    assert!(!raised.begins(&warning(&[WarningKind::Complaint], WarningSeverity::Low)));
    assert!(!raised.begins(&warning(&[], WarningSeverity::High)));
    assert!(!raised.begins(&stage(&[Stage::Dormant], &[])));
    let by_hand = of(trigger::Kind::Manual(ManualTrigger {}));
    assert!(!raised.begins(&by_hand) && !comes(None, Stage::New).begins(&by_hand));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (60..40 * HOUR).prop_map(wait),
        Just(message("m")),
        Just(task("t")),
        Just(branch("in", "")),
        Just(branch("out", "last")),
    ];
    prop::collection::vec(step, 0..12).prop_map(|mut steps| {
        steps.push(named("last", message("last")));
        steps
    })
}

proptest! {
    #[test]
    fn however_time_comes_a_run_comes_to_the_same(
        steps in steps(),
        mut looks in prop::collection::vec(0..40 * DAY, 0..20),
        quiet in prop::option::of((0..24, 1..24)),
        cap in prop::option::of((1..4, 1..10)),
    ) {
        let (max_contacts, cap_days) = cap.unwrap_or_default();
        let policy = ContactPolicy {
            max_contacts,
            cap_days,
            quiet_from_hour: quiet.map(|(from, _)| from),
            quiet_to_hour: quiet.map(|(from, hours)| (from + hours) % 24),
            ..ContactPolicy::default()
        };
        let world = World { segments: vec!["in"], policy, ..World::default() };
        let definition = playbook(steps);
        looks.sort_unstable();
        looks.push(40 * DAY);
        let (often, told_often) = world.told(&definition, &looks);
        let (once, told_once) = world.told(&definition, &[40 * DAY]);
        prop_assert_eq!(&often, &once);
        prop_assert_eq!(told_often, told_once);
        // Whatever its steps are, it ends, and is measured.
        prop_assert!(once.state == RunState::Finished && once.measured.is_some() && once.due_at().is_none());
    }
}
