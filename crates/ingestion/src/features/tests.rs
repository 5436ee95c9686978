use super::cases::Cases;
use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn order(text: &str, amount_minor: i64) -> OrderFact {
    OrderFact { at: at(text), amount_minor, channel: "online".to_owned(), ..OrderFact::default() }
}

fn line(category: &str, paid: i64) -> LineFact {
    LineFact { category: category.to_owned(), amount_minor: Some(paid), ..LineFact::default() }
}

fn refund(text: &str, id: &str, amount_minor: i64, purchase: Purchase) -> RefundFact {
    RefundFact { at: at(text), subject_id: 1, id: ("shop".to_owned(), id.to_owned()), amount_minor, purchase }
}

fn purchase(id: &str, order: &OrderFact) -> Purchase {
    let key = (1, "shop".to_owned(), id.to_owned());
    Purchase::Known { key, at: order.at, amount_minor: order.amount_minor }
}

fn interaction(text: &str, channel: &str, case: Option<CaseEvent>) -> InteractionFact {
    InteractionFact { at: at(text), kind: 1, channel: channel.to_owned(), about: String::new(), case }
}

fn feedback(text: &str, kind: FeedbackKind, score: Option<i64>) -> FeedbackFact {
    FeedbackFact { at: at(text), kind, score, channel: String::new(), about: String::new() }
}

fn case(complaint: bool, id: &str, resolved: bool) -> CaseEvent {
    CaseEvent { complaint, id: ("shop".to_owned(), id.to_owned()), resolved }
}

fn features(orders: &[OrderFact], as_of: &str) -> Features {
    features_of(CustomerFacts { orders: orders.to_vec(), ..CustomerFacts::default() }, as_of)
}

fn features_of(mut facts: CustomerFacts, as_of: &str) -> Features {
    compute(&mut facts, at(as_of), &TimeZone::UTC, RevenuePolicy::Net)
}

/// Revenue, that of the last 30 days and of the 30 before, and when time alone changes something.
fn revenue_under(policy: RevenuePolicy, facts: &CustomerFacts, as_of: &str) -> (i64, i64, i64, Option<Instant>) {
    let features = compute(&mut facts.clone(), at(as_of), &TimeZone::UTC, policy);
    let [month, ..] = features.windows;
    (features.revenue_minor, month.revenue_minor, month.previous_revenue_minor, features.next_change)
}

#[test]
fn a_window_is_half_open_to_the_microsecond() {
    let orders = [order("1998-01-01T00:00:00Z", 100)];
    let last_inside = features(&orders, "1998-01-31T00:00:00Z");
    assert_eq!(last_inside.windows[0].orders, 1);
    assert_eq!(last_inside.next_change, Some(at("1998-01-31T00:00:00.000001Z")));
    let first_outside = features(&orders, "1998-01-31T00:00:00.000001Z");
    assert_eq!((first_outside.windows[0].orders, first_outside.windows[0].previous_orders), (0, 1));
}

#[test]
fn an_order_counts_from_the_instant_after_its_own() {
    let orders = [order("1998-01-01T00:00:00Z", 100)];
    let at_its_instant = features(&orders, "1998-01-01T00:00:00Z");
    assert_eq!((at_its_instant.orders, at_its_instant.last_order), (0, None));
    assert_eq!(at_its_instant.next_change, Some(at("1998-01-01T00:00:00.000001Z")));
    assert_eq!(features(&orders, "1998-01-01T00:00:00.000001Z").orders, 1);
}

#[test]
fn money_and_days_are_summed_and_told_apart() {
    let orders =
        [order("1998-01-01T00:00:00Z", 101), order("1998-01-01T10:00:00Z", 100), order("1998-01-11T00:00:00Z", 0)];
    let features = features(&orders, "1998-02-01T00:00:00Z");
    assert_eq!((features.orders, features.purchase_days, features.net_revenue_minor()), (3, 2, 201));
    assert_eq!((features.average_order_minor(), features.gap_days.as_slice()), (Some(67), [10].as_slice()));
    assert_eq!(features.repeat_revenue_minor, 0);
}

#[test]
fn the_primary_channel_is_the_most_used_and_of_equals_the_most_recent() {
    let on = |text: &str, channel: &str| OrderFact { channel: channel.to_owned(), ..order(text, 1) };
    let orders =
        [on("1998-01-01T00:00:00Z", "store"), on("1998-01-02T00:00:00Z", "online"), on("1998-01-03T00:00:00Z", "")];
    assert_eq!(features(&orders, "1998-02-01T00:00:00Z").primary_channel, "online");
    assert_eq!(features(&orders, "1998-02-01T00:00:00Z").channels.len(), 2);
    assert_eq!(features(&[], "1998-02-01T00:00:00Z").primary_channel, "");
}

#[test]
fn a_refund_takes_back_what_its_purchase_amounts_to_and_no_more() {
    let orders = [order("2024-01-01T00:00:00Z", 1_000), order("2024-01-02T00:00:00Z", 500)];
    let refunds = vec![
        refund("2024-01-05T00:00:00Z", "r1", 700, purchase("o1", &orders[0])),
        refund("2024-01-06T00:00:00Z", "r2", 700, purchase("o1", &orders[0])),
        refund("2024-01-07T00:00:00Z", "r3", 100, Purchase::Missing),
    ];
    let facts = CustomerFacts { orders: orders.to_vec(), refunds, ..CustomerFacts::default() };
    let features = features_of(facts, "2024-02-01T00:00:00Z");
    assert_eq!((features.gross_revenue_minor, features.refunds), (1_500, 3));
    assert_eq!((features.refunded_minor, features.unmatched_refunds_minor), (1_000, 500));
    assert_eq!((features.net_revenue_minor(), features.average_order_minor()), (500, Some(250)));
}

#[test]
fn a_refund_that_is_earlier_than_its_purchase_takes_nothing_from_others() {
    let (first, later) = (order("2024-06-01T00:00:00Z", 50), order("2024-06-20T00:00:00Z", 100));
    let early = refund("2024-06-02T00:00:00Z", "r1", 100, purchase("later", &later));
    for own in [purchase("first", &first), Purchase::Any] {
        let refunds = vec![early.clone(), refund("2024-06-03T00:00:00Z", "r2", 50, own)];
        let facts = CustomerFacts { orders: vec![first.clone(), later.clone()], refunds, ..CustomerFacts::default() };
        let features = features_of(facts, "2024-07-01T00:00:00Z");
        assert_eq!((features.refunded_minor, features.unmatched_refunds_minor), (150, 0));
    }
    // And nothing is given back twice.
    let refunds = vec![early, refund("2024-06-21T00:00:00Z", "r3", 80, Purchase::Any)];
    let facts = CustomerFacts { orders: vec![first, later], refunds, ..CustomerFacts::default() };
    let features = features_of(facts, "2024-07-01T00:00:00Z");
    assert_eq!((features.refunded_minor, features.unmatched_refunds_minor), (150, 30));
}

#[test]
fn the_policy_says_whether_and_when_a_refund_lowers_revenue() {
    let bought = order("2024-01-10T00:00:00Z", 1_000);
    let refunds = vec![
        refund("2024-02-20T00:00:00Z", "r1", 400, purchase("o1", &bought)),
        refund("2024-02-21T00:00:00Z", "r2", 100, Purchase::Any),
        refund("2024-02-22T00:00:00Z", "r3", 50, Purchase::Dropped),
    ];
    let facts = CustomerFacts { orders: vec![bought], refunds, ..CustomerFacts::default() };
    let as_of = "2024-03-01T00:00:00Z";
    let bought_leaves = Some(at("2024-03-10T00:00:00.000001Z"));
    assert_eq!(revenue_under(RevenuePolicy::Gross, &facts, as_of), (1_000, 0, 1_000, bought_leaves));
    assert_eq!(revenue_under(RevenuePolicy::Net, &facts, as_of), (450, -550, 1_000, bought_leaves));
    assert_eq!(revenue_under(RevenuePolicy::Netted, &facts, as_of), (450, -100, 600, bought_leaves));
    // What leaves a window is what lowered it: under NET the refund of the 20th, and without refunds nothing until 90 days have passed.
    let (as_of, refund_leaves) = ("2024-03-15T00:00:00Z", Some(at("2024-03-21T00:00:00.000001Z")));
    let quarter_passed = Some(at("2024-04-09T00:00:00.000001Z"));
    assert_eq!(revenue_under(RevenuePolicy::Gross, &facts, as_of), (1_000, 0, 0, quarter_passed));
    assert_eq!(revenue_under(RevenuePolicy::Net, &facts, as_of), (450, -550, 0, refund_leaves));
    assert_eq!(revenue_under(RevenuePolicy::Netted, &facts, as_of).3, Some(at("2024-03-22T00:00:00.000001Z")));
}

#[test]
fn a_refund_of_no_purchase_in_particular_is_netted_against_what_was_bought_until_then() {
    let orders = [order("2024-01-01T00:00:00Z", 300), order("2024-01-10T00:00:00Z", 1_000)];
    let refunds = vec![
        refund("2024-01-05T00:00:00Z", "r1", 500, Purchase::Any),
        refund("2024-01-11T00:00:00Z", "r2", 600, Purchase::Any),
    ];
    let facts = CustomerFacts { orders: orders.to_vec(), refunds, ..CustomerFacts::default() };
    let features = features_of(facts, "2024-02-01T00:00:00Z");
    assert_eq!((features.refunded_minor, features.unmatched_refunds_minor), (900, 200));
}

#[test]
fn a_refund_counts_once_its_instant_and_that_of_its_purchase_have_passed() {
    let late = order("2024-01-10T00:00:00Z", 1_000);
    let refunds = vec![refund("2024-01-05T00:00:00Z", "r1", 400, purchase("o1", &late))];
    let facts = CustomerFacts { orders: vec![late], refunds, ..CustomerFacts::default() };
    let before = features_of(facts.clone(), "2024-01-10T00:00:00Z");
    assert_eq!((before.refunded_minor, before.unmatched_refunds_minor), (0, 400));
    assert_eq!(before.next_change, Some(at("2024-01-10T00:00:00.000001Z")));
    let after = features_of(facts, "2024-01-10T00:00:00.000001Z");
    assert_eq!((after.refunded_minor, after.unmatched_refunds_minor), (400, 0));
}

#[test]
fn a_refund_lessens_the_revenue_of_the_window_in_which_it_was_given() {
    let orders = [order("2024-01-01T00:00:00Z", 1_000)];
    let refunds = vec![refund("2024-02-15T00:00:00Z", "r1", 400, purchase("o1", &orders[0]))];
    let facts = CustomerFacts { orders: orders.to_vec(), refunds, ..CustomerFacts::default() };
    let windows = features_of(facts, "2024-02-20T00:00:00Z").windows;
    assert_eq!((windows[0].revenue_minor, windows[0].previous_revenue_minor), (-400, 1_000));
    assert_eq!(windows[1].revenue_minor, 600);
}

#[test]
fn categories_count_by_revenue_and_ties_go_to_the_first_by_name() {
    let in_categories = |text: &str, categories: &[(&str, i64)]| OrderFact {
        lines: categories.iter().map(|(category, paid)| line(category, *paid)).collect(),
        ..order(text, 100)
    };
    let orders = [
        in_categories("2024-01-01T00:00:00Z", &[("tea", 60), ("books", 40)]),
        in_categories("2024-01-02T00:00:00Z", &[("books", 20), ("toys", 5)]),
    ];
    let features = features(&orders, "2024-02-01T00:00:00Z");
    assert_eq!((features.category_count, features.top_category.as_str()), (3, "books"));
}

#[test]
fn profit_is_that_of_the_orders_which_say_it() {
    let with = |profit_minor| OrderFact { profit_minor, ..order("2024-01-01T00:00:00Z", 100) };
    assert_eq!(features(&[with(None)], "2024-02-01T00:00:00Z").profit_minor, None);
    assert_eq!(features(&[with(None), with(Some(-30)), with(Some(50))], "2024-02-01T00:00:00Z").profit_minor, Some(20));
}

#[test]
fn interactions_are_contacts_and_are_counted_in_windows() {
    let orders = vec![order("2024-01-01T00:00:00Z", 100)];
    let interactions = vec![
        interaction("2024-01-02T00:00:00Z", "store", None),
        interaction("2024-01-20T00:00:00Z", "store", None),
        interaction("2024-03-01T00:00:00Z", "store", None),
    ];
    let facts = CustomerFacts { orders, interactions, ..CustomerFacts::default() };
    let features = features_of(facts, "2024-02-10T00:00:00Z");
    assert_eq!((features.interactions, features.primary_channel.as_str()), (2, "store"));
    assert_eq!(features.last_interaction, Some(at("2024-01-20T00:00:00Z")));
    assert_eq!((features.windows[0].interactions, features.windows[0].previous_interactions), (1, 1));
}

#[test]
fn a_case_is_open_until_it_is_resolved_and_again_when_it_is_opened_again() {
    let interactions = vec![
        interaction("2024-01-01T00:00:00Z", "", Some(case(true, "c1", false))),
        interaction("2024-01-02T00:00:00Z", "", Some(case(true, "c1", true))),
        interaction("2024-01-03T00:00:00Z", "", Some(case(true, "c1", false))),
        interaction("2024-01-01T00:00:00Z", "", Some(case(true, "c2", false))),
        interaction("2024-01-01T00:00:00Z", "", Some(case(true, "c2", true))),
        interaction("2024-01-01T00:00:00Z", "", Some(case(false, "c1", false))),
    ];
    let facts = CustomerFacts { interactions, ..CustomerFacts::default() };
    let cases = |as_of| features_of(facts.clone(), as_of).cases;
    let counts = |cases: Cases| (cases.complaints, cases.open_complaints, cases.open_tickets);
    assert_eq!(counts(cases("2024-01-04T00:00:00Z")), (2, 1, 1));
    assert_eq!(counts(cases("2024-01-03T00:00:00Z")), (2, 0, 1));
    assert_eq!(counts(cases("2024-01-01T00:00:00Z")), (0, 0, 0));
}

#[test]
fn scales_of_feedback_are_not_mixed_and_not_applicable_is_not_zero() {
    let feedback = vec![
        feedback("2024-01-01T00:00:00Z", FeedbackKind::Csat, Some(2)),
        feedback("2024-01-02T00:00:00Z", FeedbackKind::Csat, Some(5)),
        feedback("2024-01-03T00:00:00Z", FeedbackKind::Csat, None),
        feedback("2024-01-04T00:00:00Z", FeedbackKind::Stars, Some(1)),
        feedback("2024-01-05T00:00:00Z", FeedbackKind::Nps, Some(9)),
        feedback("2024-01-06T00:00:00Z", FeedbackKind::Nps, None),
        feedback("2024-01-02T00:00:00Z", FeedbackKind::Nps, Some(3)),
    ];
    let facts = CustomerFacts { feedback, ..CustomerFacts::default() };
    let features = features_of(facts, "2024-02-01T00:00:00Z");
    assert_eq!((features.csat_mean, features.last_nps, features.feedback_count), (Some(3.5), Some(9), 7));
}

#[test]
fn the_last_low_score_is_one_that_is_to_be_answered_as_such() {
    use FeedbackKind::{Ces, Comment, Csat, Nps, Stars};
    let given = "2024-01-03T00:00:00Z";
    let last_of = |kind, score, as_of| {
        let feedback = vec![feedback("2024-01-01T00:00:00Z", Stars, Some(2)), feedback(given, kind, score)];
        features_of(CustomerFacts { feedback, ..CustomerFacts::default() }, as_of).last_low_score
    };
    let later = "2024-02-01T00:00:00Z";
    for (kind, low, high) in [(Csat, 2, 3), (Stars, 2, 3), (Nps, 6, 7)] {
        assert_eq!(last_of(kind, Some(low), later), Some(at(given)), "{kind:?}");
        for score in [Some(high), None] {
            assert_eq!(last_of(kind, score, later), Some(at("2024-01-01T00:00:00Z")), "{kind:?} of {score:?}");
        }
        assert_eq!(last_of(kind, Some(low), given), Some(at("2024-01-01T00:00:00Z")), "it does not count yet");
    }
    for (kind, score) in [(Ces, Some(1)), (Comment, None)] {
        assert_eq!(last_of(kind, score, later), Some(at("2024-01-01T00:00:00Z")), "{kind:?}");
    }
    assert_eq!(features_of(CustomerFacts::default(), later).last_low_score, None);
}

#[test]
fn a_referral_counts_from_the_instant_after_the_first_order_of_who_was_sent() {
    let facts = CustomerFacts {
        referred: vec![at("2024-01-03T00:00:00Z"), at("2024-01-01T00:00:00Z")],
        ..CustomerFacts::default()
    };
    let counted = |as_of| {
        let features = features_of(facts.clone(), as_of);
        (features.referrals, features.next_change)
    };
    assert_eq!(counted("2024-01-01T00:00:00Z"), (0, Some(at("2024-01-01T00:00:00.000001Z"))));
    assert_eq!(counted("2024-01-01T00:00:00.000001Z"), (1, Some(at("2024-01-03T00:00:00.000001Z"))));
    assert_eq!(counted("2024-01-03T00:00:00.000001Z"), (2, None));
}

/// Hours after the start of the generated history.
fn after(hours: i64) -> Instant {
    at("2023-10-01T00:00:00Z").plus_micros(hours * 3_600_000_000)
}

fn any_order() -> impl Strategy<Value = OrderFact> {
    (0_i64..1_000, 0_i64..10_000, 0..3_usize, any::<bool>()).prop_map(|(hours, amount_minor, channel, tea)| OrderFact {
        at: after(hours),
        amount_minor,
        profit_minor: tea.then_some(amount_minor / 2),
        channel: ["", "store", "online"][channel].to_owned(),
        lines: vec![line(if tea { "tea" } else { "books" }, amount_minor)],
    })
}

prop_compose! {
    /// Facts whose refunds name one of the orders, none in particular, or one that is missing.
    fn any_facts()(
        orders in prop::collection::vec(any_order(), 0..10),
        refunds in prop::collection::vec((0_i64..1_000, 0_i64..6_000, 0..12_usize), 0..5),
        interactions in prop::collection::vec((0_i64..1_000, 0..3_usize, any::<Option<bool>>()), 0..8),
        feedback in prop::collection::vec((0_i64..1_000, any::<bool>(), prop::option::of(0_i64..=5)), 0..4),
        referred in prop::collection::vec((0_i64..1_000).prop_map(after), 0..4),
    ) -> CustomerFacts {
        let refunds = refunds.into_iter().enumerate().map(|(place, (hours, amount_minor, of))| RefundFact {
            at: after(hours),
            subject_id: 1,
            id: ("shop".to_owned(), format!("r{place}")),
            amount_minor,
            purchase: match (orders.get(of), of % 2) {
                (Some(order), _) => purchase(&format!("o{of}"), order),
                (None, 0) => Purchase::Any,
                (None, _) => Purchase::Missing,
            },
        });
        let interactions = interactions.into_iter().map(|(hours, channel, resolved)| InteractionFact {
            at: after(hours),
            kind: 10,
            channel: ["", "store", "online"][channel].to_owned(),
            about: String::new(),
            case: resolved.map(|resolved| case(true, "c", resolved)),
        });
        let feedback = feedback.into_iter().map(|(hours, nps, score)| FeedbackFact {
            at: after(hours),
            kind: if nps { FeedbackKind::Nps } else { FeedbackKind::Csat },
            score,
            channel: String::new(),
            about: String::new(),
        });
        let (refunds, interactions, feedback) = (refunds.collect(), interactions.collect(), feedback.collect());
        CustomerFacts { orders, refunds, interactions, feedback, referred, ..CustomerFacts::default() }
    }
}

fn shuffle<T>(facts: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..facts.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        facts.swap(last, (state >> 33) as usize % (last + 1));
    }
}

/// The values without the instant of their next change.
fn values(mut features: Features) -> Features {
    features.next_change = None;
    features
}

fn any_zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai"])
}

fn any_policy() -> impl Strategy<Value = RevenuePolicy> {
    prop::sample::select(RevenuePolicy::ALL.to_vec())
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_show(
        facts in any_facts(),
        seed in any::<u64>(),
        zone in any_zone(),
        policy in any_policy(),
    ) {
        let zone = TimeZone::from_name(zone).unwrap();
        let mut shuffled = facts.clone();
        shuffle(&mut shuffled.orders, seed);
        shuffle(&mut shuffled.refunds, seed ^ 1);
        shuffle(&mut shuffled.interactions, seed ^ 2);
        shuffle(&mut shuffled.feedback, seed ^ 3);
        shuffle(&mut shuffled.referred, seed ^ 4);
        let as_of = after(800);
        prop_assert_eq!(compute(&mut facts.clone(), as_of, &zone, policy), compute(&mut shuffled, as_of, &zone, policy));
    }

    #[test]
    fn what_is_later_than_the_instant_changes_nothing_but_when_it_will(
        facts in any_facts(),
        hours in 0_i64..1_200,
        policy in any_policy(),
    ) {
        let as_of = after(hours);
        let mut known = facts.clone();
        known.orders.retain(|it| it.at < as_of);
        known.refunds.retain(|it| it.at < as_of);
        known.interactions.retain(|it| it.at < as_of);
        known.feedback.retain(|it| it.at < as_of);
        known.referred.retain(|at| *at < as_of);
        prop_assert_eq!(
            values(compute(&mut facts.clone(), as_of, &TimeZone::UTC, policy)),
            values(compute(&mut known, as_of, &TimeZone::UTC, policy))
        );
    }

    #[test]
    fn money_is_conserved(
        facts in any_facts(),
        hours in 0_i64..1_200,
        policy in any_policy(),
    ) {
        let as_of = after(hours);
        let given: i64 = facts.refunds.iter().filter(|it| it.at < as_of).map(|it| it.amount_minor).sum();
        let bought: i64 = facts.orders.iter().filter(|it| it.at < as_of).map(|it| it.amount_minor).sum();
        let features = compute(&mut facts.clone(), as_of, &TimeZone::UTC, policy);
        prop_assert_eq!(features.gross_revenue_minor, bought);
        prop_assert_eq!(features.refunded_minor + features.unmatched_refunds_minor, given);
        prop_assert!(features.net_revenue_minor() >= 0);
        let expected = if policy == RevenuePolicy::Gross { bought } else { features.net_revenue_minor() };
        prop_assert_eq!(features.revenue_minor, expected);
    }

    #[test]
    fn nothing_changes_before_the_announced_instant_and_something_does_at_it(
        facts in any_facts(),
        hours in 0_i64..6_000,
        zone in any_zone(),
        policy in any_policy(),
    ) {
        let zone = TimeZone::from_name(zone).unwrap();
        let as_of = after(hours);
        let now = compute(&mut facts.clone(), as_of, &zone, policy);
        let Some(change) = now.next_change else {
            let never = compute(&mut facts.clone(), as_of.plus_micros(3 * 365 * 86_400_000_000), &zone, policy);
            prop_assert_eq!(values(now), values(never));
            return Ok(());
        };
        prop_assert!(change > as_of);
        let just_before = compute(&mut facts.clone(), change.plus_micros(-1), &zone, policy);
        prop_assert_eq!(values(now.clone()), values(just_before));
        // An order of nothing on a channel of nothing still moves a count.
        prop_assert_ne!(values(now), values(compute(&mut facts.clone(), change, &zone, policy)));
    }
}
