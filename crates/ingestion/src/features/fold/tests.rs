use super::*;
use crate::features::{CaseEvent, CustomerFacts, Features, LineFact, compute};
use proptest::prelude::*;
use quintile_domain::revenue::RevenuePolicy;
use quintile_proto::ingestion::FeedbackKind;

const DAY_MICROS: i64 = 86_400_000_000;
/// The shortest retention: from the horizon to the instant as of which features are asked for.
const KEPT_DAYS: i64 = 731;

/// All that is known of some subjects.
#[derive(Clone, Debug, Default, PartialEq)]
struct History {
    openings: BTreeMap<i64, Opening>,
    orders: Vec<(PurchaseKey, OrderFact)>,
    refunds: Vec<RefundFact>,
    interactions: Vec<(PurchaseKey, InteractionFact)>,
    feedback: Vec<(PurchaseKey, FeedbackFact)>,
}

impl History {
    fn facts(&self) -> CustomerFacts {
        let mut opening = Opening::default();
        self.openings.values().for_each(|each| opening.add(each));
        CustomerFacts {
            orders: self.orders.iter().map(|(_, order)| order.clone()).collect(),
            refunds: self.refunds.clone(),
            interactions: self.interactions.iter().map(|(_, it)| it.clone()).collect(),
            feedback: self.feedback.iter().map(|(_, it)| it.clone()).collect(),
            referred: Vec::new(),
            behind_referred: 0,
            without_rate: 0,
            opening,
        }
    }

    /// Under every policy.
    fn features(&self, as_of: Instant, zone: &TimeZone) -> [Features; 3] {
        RevenuePolicy::ALL.map(|policy| compute(&mut self.facts(), as_of, zone, policy))
    }

    /// What is left with what is from before the horizons folded.
    fn folded(mut self, orders_before: Instant, others_before: Instant, zone: &TimeZone) -> Self {
        let older = |at: Instant, before| at < before;
        let old = OldFacts {
            openings: self.openings.clone(),
            orders: self.orders.iter().filter(|(_, it)| older(it.at, orders_before)).cloned().collect(),
            refunds: self.refunds.clone(),
            awaited: HashSet::new(),
            interactions: self.interactions.iter().filter(|(_, it)| older(it.at, others_before)).cloned().collect(),
            feedback: self.feedback.iter().filter(|(_, it)| older(it.at, others_before)).cloned().collect(),
        };
        let folded = fold(old, orders_before, zone);
        self.openings = folded.openings;
        self.orders.retain(|(key, _)| !folded.orders.contains(key));
        self.refunds.retain(|it| !folded.refunds.contains(&key_of(it.clone())));
        self.interactions.retain(|(key, _)| !folded.interactions.contains(key));
        self.feedback.retain(|(key, _)| !folded.feedback.contains(key));
        self
    }

    /// What is known of one of the subjects.
    fn of(&self, subject: i64) -> Self {
        Self {
            openings: self
                .openings
                .iter()
                .filter(|(of, _)| **of == subject)
                .map(|(of, it)| (*of, it.clone()))
                .collect(),
            orders: self.orders.iter().filter(|(key, _)| key.0 == subject).cloned().collect(),
            refunds: self.refunds.iter().filter(|it| it.subject_id == subject).cloned().collect(),
            interactions: self.interactions.iter().filter(|(key, _)| key.0 == subject).cloned().collect(),
            feedback: self.feedback.iter().filter(|(key, _)| key.0 == subject).cloned().collect(),
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.openings.extend(other.openings);
        self.orders.extend(other.orders);
        self.refunds.extend(other.refunds);
        self.interactions.extend(other.interactions);
        self.feedback.extend(other.feedback);
        self
    }

    /// Whether every refund counts in full by what its own subject had bought, by its own instant.
    fn is_clean(&self) -> bool {
        [1, 2].into_iter().all(|subject| {
            let mut own = self.of(subject).facts();
            let known: HashSet<PurchaseKey> = self.of(subject).orders.into_iter().map(|(key, _)| key).collect();
            let own_purchase = |refund: &RefundFact| match &refund.purchase {
                Purchase::Any | Purchase::Dropped => true,
                Purchase::Missing => false,
                Purchase::Known { key, at, .. } => known.contains(key) && *at <= refund.at,
            };
            own.sort();
            own.refunds.iter().all(own_purchase)
                && settle(Ledger::default(), &own.orders, &mut own.refunds, after(i64::from(i32::MAX)))
                    .iter()
                    .all(|settled| settled.waiting_minor == 0)
        })
    }
}

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// Hours after the start of the generated history.
fn after(hours: i64) -> Instant {
    at("2015-10-01T00:00:00Z").plus_micros(hours * 3_600_000_000)
}

fn key(subject: i64, id: &str) -> PurchaseKey {
    (subject, "shop".to_owned(), id.to_owned())
}

fn order(subject: i64, id: &str, at: Instant, amount_minor: i64) -> (PurchaseKey, OrderFact) {
    let line = LineFact {
        category: format!("c{}", amount_minor % 3),
        amount_minor: Some(amount_minor),
        ..LineFact::default()
    };
    let profit_minor = (amount_minor % 2 == 0).then_some(amount_minor / 2);
    (key(subject, id), OrderFact { at, amount_minor, profit_minor, channel: "web".to_owned(), lines: vec![line] })
}

fn refund(subject: i64, id: &str, at: Instant, amount_minor: i64, purchase: Purchase) -> RefundFact {
    RefundFact { at, subject_id: subject, id: ("shop".to_owned(), id.to_owned()), amount_minor, purchase }
}

fn purchase((key, order): &(PurchaseKey, OrderFact)) -> Purchase {
    Purchase::Known { key: key.clone(), at: order.at, amount_minor: order.amount_minor }
}

/// Eight years of facts, half of them older than the horizons that the properties take.
const HOURS: std::ops::Range<i64> = 0..70_000;

prop_compose! {
    /// `amounts` bounds refunds: the lower, the more of them count in full.
    fn any_history(amounts: i64)(
        orders in prop::collection::vec((HOURS, 0_i64..10_000, 1..3_i64), 0..10),
        refunds in prop::collection::vec((HOURS, 0..amounts, 1..3_i64, 0..14_usize, 0..2_000_i64), 0..6),
        interactions in prop::collection::vec((HOURS, 1..3_i64, any::<Option<bool>>(), 0..3_u8), 0..8),
        feedback in prop::collection::vec((HOURS, 1..3_i64, any::<bool>(), prop::option::of(0_i64..=5)), 0..5),
    ) -> History {
        let orders: Vec<_> = orders.into_iter().enumerate()
            .map(|(place, (hours, amount, subject))| order(subject, &format!("o{place}"), after(hours), amount)).collect();
        let refunds = refunds.into_iter().enumerate().map(|(place, (hours, amount, subject, of, later))| {
            let id = format!("r{place}");
            match (orders.get(of), of % 3) {
                // Mostly soon after its purchase and of the same subject, else whenever and whoever.
                (Some(named), 0) => refund(subject, &id, after(hours), amount, purchase(named)),
                (Some(named), _) => {
                    refund(named.0.0, &id, named.1.at.plus_micros(later * 3_600_000_000), amount, purchase(named))
                }
                (None, 0) => refund(subject, &id, after(hours), amount, Purchase::Missing),
                (None, _) => refund(subject, &id, after(hours), amount, Purchase::Any),
            }
        }).collect();
        let interactions = interactions.into_iter().enumerate().map(|(place, (hours, subject, resolved, case))| {
            let id = ("shop".to_owned(), format!("case {case}"));
            let case = resolved.map(|resolved| CaseEvent { complaint: case == 0, id, resolved });
            let fact = InteractionFact { at: after(hours), kind: 10, channel: "web".to_owned(), about: String::new(), case };
            (key(subject, &format!("i{place}")), fact)
        }).collect();
        let feedback = feedback.into_iter().enumerate().map(|(place, (hours, subject, nps, score))| {
            let kind = if nps { FeedbackKind::Nps } else { FeedbackKind::Csat };
            let fact = FeedbackFact { at: after(hours), kind, score, channel: String::new(), about: String::new() };
            (key(subject, &format!("f{place}")), fact)
        }).collect();
        History { openings: BTreeMap::new(), orders, refunds, interactions, feedback }
    }
}

fn any_zone() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York"])
        .prop_map(|name| TimeZone::from_name(name).unwrap())
}

/// A horizon, and an instant at which all windows are behind it.
fn horizon(day: i32, hours: i64, zone: &TimeZone) -> (Instant, Instant) {
    let horizon = zone.start_of_day(zone.local_day(after(0)) + day);
    (horizon, horizon.plus_micros(KEPT_DAYS * DAY_MICROS + hours * 3_600_000_000 + DAY_MICROS / 24))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn features_are_the_same_with_the_old_part_folded(
        history in any_history(8_000), day in 0..2_000, other in 0..500, hours in 0..20_000_i64, zone in any_zone(),
    ) {
        let (before, as_of) = horizon(day, hours, &zone);
        let others_before = horizon(day - other, 0, &zone).0;
        let folded = history.clone().folded(before, others_before, &zone);
        prop_assert_eq!(folded.features(as_of, &zone), history.features(as_of, &zone));
        prop_assert!(folded.interactions.iter().all(|(_, it)| it.at >= others_before));
        prop_assert!(!history.refunds.is_empty() || folded.orders.iter().all(|(_, it)| it.at >= before));
        // Nothing is left that could go.
        prop_assert_eq!(folded.clone().folded(before, others_before, &zone), folded);
    }

    #[test]
    fn folding_in_steps_is_the_same(
        history in any_history(8_000), day in 0..2_000, earlier in 1..900, hours in 0..20_000_i64, zone in any_zone(),
    ) {
        let (before, as_of) = horizon(day, hours, &zone);
        let first = horizon(day - earlier, 0, &zone).0;
        let folded = history.clone().folded(first, first, &zone).folded(before, before, &zone);
        prop_assert_eq!(folded.features(as_of, &zone), history.features(as_of, &zone));
    }

    #[test]
    fn subjects_that_are_folded_apart_and_merged_are_the_same_and_so_are_those_that_are_parted(
        history in any_history(900), day in 0..2_000, other in 0..900, hours in 0..20_000_i64, zone in any_zone(),
    ) {
        let mut history = history;
        if !history.is_clean() {
            history.refunds.clear();
        }
        let (before, as_of) = horizon(day, hours, &zone);
        let second = horizon(day - other, 0, &zone).0;
        let merged = history.of(1).folded(before, before, &zone).and(history.of(2).folded(second, second, &zone));
        prop_assert_eq!(merged.features(as_of, &zone), history.features(as_of, &zone));
        let later = merged.folded(before, before, &zone);
        prop_assert_eq!(later.features(as_of, &zone), history.features(as_of, &zone));
        for subject in [1, 2] {
            prop_assert_eq!(later.of(subject).features(as_of, &zone), history.of(subject).features(as_of, &zone));
        }
    }
}

#[test]
fn an_order_stays_while_a_newer_refund_names_it_and_goes_with_it() {
    let bought = order(1, "o", at("2019-12-30T00:00:00Z"), 1_000);
    let refunds = vec![
        refund(1, "r1", at("2019-12-31T00:00:00Z"), 100, purchase(&bought)),
        refund(1, "r2", at("2020-01-02T00:00:00Z"), 950, purchase(&bought)),
    ];
    let other = order(1, "p", at("2019-12-30T00:00:00Z"), 50);
    let history = History { orders: vec![bought, other], refunds, ..History::default() };
    let between = at("2020-01-01T00:00:00Z");
    let folded = history.folded(between, between, &TimeZone::UTC);
    assert_eq!(folded.orders.iter().map(|(key, _)| key.2.as_str()).collect::<Vec<_>>(), ["o"]);
    assert_eq!((folded.refunds.len(), folded.openings[&1].gross_minor), (2, 50));
    let behind = at("2020-01-03T00:00:00Z");
    let folded = folded.folded(behind, behind, &TimeZone::UTC);
    assert_eq!((folded.orders.len(), folded.refunds.len()), (0, 0));
    let opening = &folded.openings[&1];
    assert_eq!((opening.gross_minor, opening.counted_minor, opening.unmatched_minor), (1_050, 1_000, 50));
}

#[test]
fn a_refund_whose_purchase_is_not_there_stays_and_what_it_did_not_name_goes() {
    let refunds = vec![refund(1, "r", at("2018-01-05T00:00:00Z"), 100, Purchase::Missing)];
    let history =
        History { orders: vec![order(1, "o", at("2018-01-01T00:00:00Z"), 1_000)], refunds, ..History::default() };
    let horizon = at("2020-01-01T00:00:00Z");
    let folded = history.folded(horizon, horizon, &TimeZone::UTC);
    assert_eq!((folded.orders.len(), folded.refunds.len()), (0, 1));
    let [_, features, _] = folded.features(at("2022-06-01T00:00:00Z"), &TimeZone::UTC);
    assert_eq!((features.refunded_minor, features.unmatched_refunds_minor), (0, 100));
}

#[test]
fn a_refund_of_a_purchase_that_went_counts_against_what_was_not_given_back() {
    let bought = order(1, "o", at("2018-01-01T00:00:00Z"), 1_000);
    let given = refund(1, "r", at("2018-02-01T00:00:00Z"), 300, purchase(&bought));
    let history = History { orders: vec![bought], refunds: vec![given], ..History::default() };
    let horizon = at("2020-01-01T00:00:00Z");
    let mut folded = history.folded(horizon, horizon, &TimeZone::UTC);
    assert!(folded.openings[&1].marks.contains(&mark("shop", "o")));
    assert!(!folded.openings[&1].marks.contains(&mark("shop", "o2")));
    folded.refunds.push(refund(1, "late", at("2022-05-01T00:00:00Z"), 900, Purchase::Any));
    let [_, features, _] = folded.features(at("2022-06-01T00:00:00Z"), &TimeZone::UTC);
    assert_eq!((features.refunded_minor, features.unmatched_refunds_minor), (1_000, 200));
}

#[test]
fn a_refund_of_what_another_identity_bought_does_not_count_where_they_are_two_again() {
    let bought = order(1, "o", at("2018-01-01T00:00:00Z"), 1_000);
    let given = refund(2, "r", at("2018-02-01T00:00:00Z"), 300, purchase(&bought));
    let history = History { orders: vec![bought], refunds: vec![given], ..History::default() };
    let horizon = at("2020-01-01T00:00:00Z");
    let folded = history.folded(horizon, horizon, &TimeZone::UTC);
    let amounts = |history: &History| {
        let [_, features, _] = history.features(at("2022-06-01T00:00:00Z"), &TimeZone::UTC);
        (features.net_revenue_minor(), features.refunded_minor, features.unmatched_refunds_minor)
    };
    assert_eq!((folded.orders.len(), folded.refunds.len(), amounts(&folded)), (0, 0, (700, 300, 0)));
    assert_eq!((amounts(&folded.of(1)), amounts(&folded.of(2))), ((1_000, 0, 0), (0, 0, 300)));
}

#[test]
fn a_low_score_of_long_ago_is_still_the_last_one_and_a_higher_one_changes_nothing() {
    let scored = |id: &str, at: Instant, score| {
        let (channel, about) = (String::new(), String::new());
        (key(1, id), FeedbackFact { at, kind: FeedbackKind::Csat, score: Some(score), channel, about })
    };
    let (low, horizon) = (at("2018-01-01T00:00:00Z"), at("2020-01-01T00:00:00Z"));
    let feedback = vec![scored("f1", low, 2), scored("f2", at("2019-01-01T00:00:00Z"), 3)];
    let mut folded = History { feedback, ..History::default() }.folded(horizon, horizon, &TimeZone::UTC);
    let last = |history: &History| history.features(at("2022-06-01T00:00:00Z"), &TimeZone::UTC)[0].last_low_score;
    assert_eq!((folded.feedback.len(), last(&folded)), (0, Some(low)));
    folded.feedback.push(scored("f3", at("2022-01-01T00:00:00Z"), 1));
    assert_eq!(last(&folded), Some(at("2022-01-01T00:00:00Z")));
}

#[test]
fn a_case_of_long_ago_can_still_be_resolved() {
    let said = |id: &str, at: Instant, resolved| {
        let case = CaseEvent { complaint: true, id: ("shop".to_owned(), "case".to_owned()), resolved };
        let (channel, about) = (String::new(), String::new());
        (key(1, id), InteractionFact { at, kind: 10, channel, about, case: Some(case) })
    };
    let interactions = vec![said("i1", at("2018-01-01T00:00:00Z"), false)];
    let horizon = at("2020-01-01T00:00:00Z");
    let history = History { interactions, ..History::default() };
    let mut folded = history.folded(horizon, horizon, &TimeZone::UTC);
    let open =
        |history: &History| history.features(at("2022-06-01T00:00:00Z"), &TimeZone::UTC)[0].cases.open_complaints;
    assert_eq!((folded.interactions.len(), open(&folded)), (0, 1));
    folded.interactions.push(said("i2", at("2022-01-01T00:00:00Z"), true));
    assert_eq!(open(&folded), 0);
}
