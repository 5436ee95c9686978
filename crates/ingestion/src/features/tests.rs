use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn order(text: &str, amount_minor: i64) -> OrderFact {
    OrderFact { at: at(text), amount_minor, channel: "online".to_owned() }
}

fn features(orders: &[OrderFact], as_of: &str) -> Features {
    compute(&mut orders.to_vec(), at(as_of), &TimeZone::UTC)
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
    assert_eq!((features.orders, features.purchase_days, features.net_revenue_minor), (3, 2, 201));
    assert_eq!((features.average_order_minor, features.gap_days), (Some(67), vec![10]));
}

#[test]
fn the_primary_channel_is_the_most_used_and_of_equals_the_most_recent() {
    let on = |text: &str, channel: &str| OrderFact { at: at(text), amount_minor: 1, channel: channel.to_owned() };
    let orders =
        [on("1998-01-01T00:00:00Z", "store"), on("1998-01-02T00:00:00Z", "online"), on("1998-01-03T00:00:00Z", "")];
    assert_eq!(features(&orders, "1998-02-01T00:00:00Z").primary_channel, "online");
    assert_eq!(features(&orders, "1998-02-01T00:00:00Z").channels.len(), 2);
    assert_eq!(features(&[], "1998-02-01T00:00:00Z").primary_channel, "");
}

fn any_orders() -> impl Strategy<Value = Vec<OrderFact>> {
    let order = (0_i64..1_000, 0_i64..10_000, 0..3_u8).prop_map(|(hours, amount_minor, channel)| OrderFact {
        at: at("2023-10-01T00:00:00Z").plus_micros(hours * 3_600_000_000),
        amount_minor,
        channel: ["", "store", "online"][usize::from(channel)].to_owned(),
    });
    prop::collection::vec(order, 0..12)
}

/// The values without the instant of their next change.
fn values(mut features: Features) -> Features {
    features.next_change = None;
    features
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_show(orders in any_orders(), seed in any::<u64>()) {
        let as_of = at("2024-04-15T12:00:00Z");
        let mut shuffled = orders.clone();
        shuffled.sort_by_key(|order| (order.at.micros() as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        prop_assert_eq!(
            compute(&mut orders.clone(), as_of, &TimeZone::UTC),
            compute(&mut shuffled, as_of, &TimeZone::UTC)
        );
    }

    #[test]
    fn nothing_changes_before_the_announced_instant_and_something_does_at_it(
        orders in any_orders(),
        hours in 0_i64..6_000,
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai"]),
    ) {
        let zone = TimeZone::from_name(zone).unwrap();
        let as_of = at("2023-10-01T00:00:00Z").plus_micros(hours * 3_600_000_000);
        let now = compute(&mut orders.clone(), as_of, &zone);
        let Some(change) = now.next_change else {
            let never = compute(&mut orders.clone(), as_of.plus_micros(3 * 365 * 86_400_000_000), &zone);
            prop_assert_eq!(values(now), values(never));
            return Ok(());
        };
        prop_assert!(change > as_of);
        let just_before = compute(&mut orders.clone(), change.plus_micros(-1), &zone);
        prop_assert_eq!(values(now.clone()), values(just_before));
        // An order of nothing on a channel of nothing still moves a count.
        prop_assert_ne!(values(now), values(compute(&mut orders.clone(), change, &zone)));
    }
}
