//! Leads followed day by day, and groups and reports worked out by hand.

use super::*;
use proptest::prelude::*;

const END: i32 = 1_000;

fn all_leads() -> impl Strategy<Value = Vec<(&'static str, &'static str, i32, Option<i32>)>> {
    let way = prop::sample::select(vec![("ads", "spring"), ("ads", "summer"), ("ads", ""), ("fair", ""), ("", "")]);
    let one = (way, 400..1_010_i32, prop::option::of(-3..700_i32));
    let one =
        one.prop_map(|((channel, campaign), came, after)| (channel, campaign, came, after.map(|after| came + after)));
    prop::collection::vec(one, 1..60)
}

fn gathered(all: &[(&'static str, &'static str, i32, Option<i32>)]) -> Leads {
    let mut leads = Leads::default();
    for (channel, campaign, came, bought) in all {
        leads.add(channel, campaign, *came, *bought);
    }
    leads
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(1.0)
}

proptest! {
    #[test]
    fn days_and_conversions_are_those_of_leads_followed_day_by_day(all in all_leads()) {
        let leads = gathered(&all);
        let mut bands = [Band::default(); BANDS.len()];
        let place = |age: i32| BANDS.iter().filter(|first| **first <= age).count() - 1;
        for (_, _, came, bought) in all.iter().filter(|(_, _, came, bought)| bought.is_none_or(|bought| bought > *came)) {
            for day in came + 1..=END {
                bands[place(day - came)].days += 1;
                if *bought == Some(day) {
                    bands[place(day - came)].conversions += 1;
                    break;
                }
            }
        }
        match LeadModel::fit(&leads, END, |_| None) {
            Some(model) => prop_assert_eq!(model.bands, bands),
            None => prop_assert!(bands.iter().all(|band| band.conversions == 0)),
        }
    }

    #[test]
    fn a_probability_is_one_grows_with_time_and_is_made_of_its_parts(
        all in all_leads(), age in 0..500_i32, some in 0..400_i32, more in 0..400_i32,
    ) {
        let leads = gathered(&all);
        let Some(model) = LeadModel::fit(&leads, END, |_| None) else { return Ok(()) };
        for (channel, campaign) in &leads.ways {
            let (group, ..) = model.group(channel, campaign);
            let [first, rest, both] =
                [(age, some), (age + some, more), (age, some + more)].map(|(age, days)| model.probability(group, age, days));
            prop_assert!((0.0..=1.0).contains(&both) && both >= first);
            prop_assert!(close(1.0 - both, (1.0 - first) * (1.0 - rest)));
        }
    }

    #[test]
    fn the_order_of_leads_changes_nothing((all, shuffled) in all_leads().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))) {
        let fit = |all: &[_]| LeadModel::fit(&gathered(all), END, |_| Some(100.0));
        match (fit(&all), fit(&shuffled)) {
            (Some(one), Some(other)) => {
                prop_assert_eq!(one.bands, other.bands);
                prop_assert!(one.campaigns.iter().zip(&other.campaigns).all(|((a, one), (b, other))| a == b && close(one.ratio, other.ratio)));
            }
            (one, other) => prop_assert_eq!(one, other),
        }
    }
}

#[test]
fn who_buys_on_the_day_it_comes_or_before_was_no_lead() {
    let mut leads = Leads::default();
    assert!(!leads.add("ads", "", 10, Some(10)));
    assert!(!leads.add("ads", "", 10, Some(9)));
    assert!(leads.add("ads", "", 10, Some(11)));
    assert!(leads.add("ads", "", 10, None));
    assert_eq!(leads.leads.len(), 2);
}

#[test]
fn groups_are_drawn_to_the_larger_ones() {
    // Twenty leads that came on day 0 and are looked at on day 2: of the ten by ads, of which five by spring, seven bought on day 1; of the ten by fairs
    // none.
    let mut leads = Leads::default();
    let mut values = vec![];
    for lead in 0..10 {
        let campaign = if lead < 5 { "spring" } else { "" };
        leads.add("ads", campaign, 0, (lead < 7).then_some(1));
        leads.add("fair", "", 0, None);
        // Those by spring are worth 100 each, the other two 800.
        values.extend([if lead < 5 { 100.0 } else { 800.0 }, 0.0]);
    }
    let model = LeadModel::fit(&leads, 2, |place| Some(values[place])).unwrap();
    // Seven were there for a day, thirteen for two.
    assert_eq!(model.bands[0], Band { days: 33, conversions: 7 });
    let rate = -(1.0 - 7.0 / 33.0_f64).ln();
    let (of_ads, of_spring, of_fairs) = (13.0 * rate, 5.0 * rate, 20.0 * rate);
    let all = model.all;
    assert_eq!((all.leads, all.conversions, all.ratio, all.value_minor), (20, 7, 1.0, Some(300.0)));
    let ads = model.channels["ads"];
    assert!(close(ads.ratio, 12.0 / (of_ads + 5.0)));
    assert!(close(ads.value_minor.unwrap(), (2_100.0 + 20.0 * 300.0) / 27.0));
    let spring = model.campaigns[&("ads".to_owned(), "spring".to_owned())];
    assert_eq!((spring.leads, spring.conversions), (5, 5));
    assert!(close(spring.ratio, ads.ratio * 10.0 / (ads.ratio * of_spring + 5.0)));
    assert!(close(spring.value_minor.unwrap(), (500.0 + 20.0 * ads.value_minor.unwrap()) / 25.0));
    let fairs = model.channels["fair"];
    assert!(close(fairs.ratio, 5.0 / (of_fairs + 5.0)));
    assert!(close(model.probability(&fairs, 2, 3), 1.0 - (-fairs.ratio * 3.0 * rate).exp()));
    assert_eq!(model.group("ads", "winter"), (&ads, "ads", ""));
    assert_eq!(model.group("letters", "spring"), (&all, "", ""));
}

#[test]
fn what_fewer_than_five_are_worth_is_told_of_no_group() {
    let mut leads = Leads::default();
    for lead in 0..9 {
        leads.add(if lead < 4 { "few" } else { "many" }, "", 0, Some(1));
    }
    let value = |place: usize| Some(if place < 4 { 9_000.0 } else { 100.0 });
    let model = LeadModel::fit(&leads, 2, value).unwrap();
    assert_eq!(model.channels["few"].value_minor, model.all.value_minor);
    assert_ne!(model.channels["many"].value_minor, model.all.value_minor);
    let unknown = LeadModel::fit(&leads, 2, |place| value(place).filter(|_| place < 4)).unwrap();
    assert_eq!((unknown.all.value_minor, unknown.channels["few"].value_minor), (None, None));
}

#[test]
fn a_report_is_of_those_who_had_not_bought_by_what_was_known_then() {
    // By day 10, one of two leads had bought, on its fifth day; then the other one does, and a third, which had come the day before.
    let mut leads = Leads::default();
    for (came, bought) in [(0, Some(5)), (0, Some(12)), (9, Some(11)), (11, Some(12))] {
        leads.add("ads", "", came, bought);
    }
    let foretold = foretell(&leads, 14, 4).unwrap();
    assert_eq!((foretold.leads, foretold.conversions), (2, 2));
    // Seven days of the first band at least are those of the first two, and one of the third's: 5 + 7 + 1; the second has 3 more behind them.
    let rate = -(1.0 - 1.0 / 13.0_f64).ln();
    // As if five more had bought as expected; ages 11 to 14 have no conversions, ages 2 to 5 have.
    let ratio = (1.0 + 5.0) / (13.0 * rate + 5.0);
    let third = 1.0 - (-ratio * 4.0 * rate).exp();
    assert!(close(foretold.expected, third));
    assert!(close(foretold.brier, f64::midpoint(1.0, (1.0 - third).powi(2))));
    assert!(close(foretold.brier_all_alike, (1.0 - third / 2.0).powi(2)));
    assert_eq!(foretell(&leads, 14, 10), None);
}
