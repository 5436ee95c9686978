use super::{Customer, Economics, Group, Grouping, Key, Spend};
use proptest::prelude::*;
use quintile_domain::time::day_number;

fn day(year: i16, month: i8, day: i8) -> i32 {
    day_number(year, month, day).unwrap()
}

fn spend(channel: &str, start: i32, end: i32, minor: i64) -> Spend<'_> {
    Spend { channel, campaign: "may", start, end, minor }
}

fn customer(channel: &str, first_day: i32, revenue_minor: i64, expected_minor: Option<f64>) -> Customer<'_> {
    Customer { channel, campaign: "may", first_day, revenue_minor, expected_minor }
}

#[test]
fn costs_value_and_payback_are_those_of_the_definitions() {
    let (start, end, today) = (day(1998, 1, 1), day(1998, 3, 31), day(1998, 6, 30));
    let mut economics = Economics::new(Grouping::Channel, start, end, today);
    economics.add_spend(&spend("ads", start, end, 90_000));
    // Half of its days are of the period.
    economics.add_spend(&spend("ads", day(1998, 3, 22), day(1998, 4, 10), 20_000));
    economics.add_spend(&spend("fair", day(1997, 1, 1), day(1997, 12, 31), 5_000));
    economics.add_customer(&customer("ads", start, 60_000, Some(10_000.0)));
    economics.add_customer(&customer("ads", end, 20_000, Some(30_000.0)));
    economics.add_customer(&customer("ads", end + 1, 99_000, None));
    economics.add_customer(&customer("", day(1998, 2, 1), 1_000, None));
    let groups: Vec<_> = economics.groups().map(|(key, group)| (key.channel.as_str(), *group)).collect();
    let [(_, unknown), (_, ads)] = groups[..] else { panic!("{groups:?}") };
    assert_eq!((ads.spend_minor, ads.customers), (100_000, 2));
    assert_eq!((ads.acquisition_cost(), ads.mean_revenue()), (Some(50_000.0), Some(40_000.0)));
    // Half of 40,000 so far, and 20,000 to come.
    assert_eq!((ads.mean_lifetime_value(0.5), ads.value_to_cost(0.5)), (Some(40_000.0), Some(0.8)));
    // 181 and 92 days of being a customer, 40,000 of margin.
    let months = 273.0 / (365.25 / 12.0);
    assert!((ads.payback_months(0.5).unwrap() - 50_000.0 / (40_000.0 / months)).abs() < 1e-9);
    // Nobody knows what was spent on these, and what to expect: that does not make them free.
    assert_eq!((unknown.acquisition_cost(), unknown.mean_lifetime_value(0.5)), (None, None));
    assert_eq!((unknown.value_to_cost(0.5), unknown.payback_months(0.5)), (None, None));
    assert_eq!(unknown.mean_revenue(), Some(1_000.0));
    assert_eq!((economics.total().customers, economics.total().spend_minor), (3, 100_000));
}

#[test]
fn where_nobody_came_there_is_no_cost_of_one() {
    let none = Group { spend_minor: 5_000, ..Group::default() };
    assert_eq!((none.acquisition_cost(), none.mean_revenue(), none.payback_months(1.0)), (None, None, None));
    assert_eq!((none.mean_lifetime_value(1.0), none.value_to_cost(1.0)), (None, None));
}

#[test]
fn campaigns_and_cohorts_are_told_apart_where_they_are_asked_for() {
    let (start, end) = (day(1997, 12, 1), day(1998, 1, 31));
    for (grouping, expected) in [
        (Grouping::Campaign, vec![("ads", "may", None, 620)]),
        (Grouping::Cohort, vec![("", "", Some(start), 310), ("", "", Some(day(1998, 1, 1)), 310)]),
    ] {
        let mut economics = Economics::new(grouping, start, end, end);
        economics.add_spend(&spend("ads", start, end, 620));
        let told: Vec<_> = economics.groups().map(|(key, group)| (key.clone(), group.spend_minor)).collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(channel, campaign, month, minor)| {
                (Key { channel: channel.to_owned(), campaign: campaign.to_owned(), month }, minor)
            })
            .collect();
        assert_eq!(told, expected);
    }
}

proptest! {
    /// However a spend is cut by months and periods, nothing of it is lost or counted twice.
    #[test]
    fn parts_of_a_spend_are_all_of_it(
        start in 9_000_i32..11_000, days in 1_i32..900, minor in 0_i64..1_000_000, cut in 0_i32..900,
    ) {
        let end = start + days - 1;
        let cut = start + cut % days;
        let total = |grouping, from, to| {
            let mut economics = Economics::new(grouping, from, to, to);
            economics.add_spend(&spend("ads", start, end, minor));
            economics.total().spend_minor
        };
        for grouping in [Grouping::Channel, Grouping::Cohort] {
            prop_assert_eq!(total(grouping, start - 40, end + 40), minor);
            prop_assert_eq!(total(grouping, start, cut) + total(grouping, cut + 1, end), minor);
        }
    }
}
