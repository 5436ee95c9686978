//! Which rows match.

use crate::customers::{Customer, DAY};
use quintile_expr::ValueRef::{Bool, Instant, Int, Text};

fn customer() -> Customer {
    Customer::default()
        .with("rfm.r", Int(4))
        .with("rfm.f", Int(2))
        .with("channel", Text("online"))
        .with("opted_in", Bool(true))
        .with("last_order_at", Instant(20_000 * DAY))
        .with("revenue", Int(19_999))
}

#[test]
fn a_missing_value_makes_every_comparison_false_and_only_has_asks() {
    let table = [
        ("city == 'Lund'", false),
        ("city != 'Lund'", false),
        ("'Lund' != city", false),
        ("city < 'Lund'", false),
        ("city >= ''", false),
        ("city in ['Lund']", false),
        ("!(city in ['Lund'])", true),
        ("city == city", false),
        ("city != channel", false),
        ("channel != city", false),
        ("city.startsWith('')", false),
        ("city.contains('')", false),
        ("spend.last_year >= 0", false),
        ("first_order_at != now", false),
        ("days_since(first_order_at) >= 0", false),
        ("!(days_since(first_order_at) >= 0)", true),
        ("!(city == 'Lund')", true),
        ("!(city != 'Lund')", true),
        ("!has(city)", true),
        ("has(city)", false),
        ("has(channel)", true),
        ("city == 'Lund' || rfm.r == 4", true),
    ];
    for (source, expected) in table {
        assert_eq!(customer().matches(source), expected, "{source}");
    }
    assert!(!Customer::default().matches("opted_in"));
    assert!(Customer::default().matches("!opted_in"));
    assert!(!Customer::default().matches("opted_in != true"));
}

#[test]
fn comparisons_follow_their_operators() {
    let table = [
        ("rfm.r == 4", true),
        ("rfm.r != 4", false),
        ("rfm.r < 5", true),
        ("rfm.r < 4", false),
        ("rfm.r <= 4", true),
        ("rfm.r > 3", true),
        ("rfm.r > 4", false),
        ("rfm.r >= 4", true),
        ("3 < rfm.r", true),
        ("5 < rfm.r", false),
        ("rfm.f < rfm.r", true),
        ("rfm.f in [1, 2, 3]", true),
        ("rfm.f in [1, 3]", false),
        ("rfm.f in []", false),
        ("opted_in", true),
        ("opted_in == false", false),
        ("revenue == 199.99", true),
        ("revenue >= 200", false),
        ("channel == 'online'", true),
        ("channel == 'Online'", false),
        ("channel > 'Z'", true),
        ("channel.startsWith('on')", true),
        ("channel.startsWith('line')", false),
        ("channel.contains('line')", true),
        ("channel.contains('%')", false),
        ("segment('vip')", true),
        ("segment('unknown')", false),
        ("true && !false", true),
        ("rfm.r == 4 && rfm.f == 3", false),
        ("rfm.r == 9 || rfm.f == 2", true),
    ];
    for (source, expected) in table {
        assert_eq!(customer().matches(source), expected, "{source}");
    }
}

#[test]
fn days_are_counted_between_local_dates() {
    // Now is 23:30 UTC: past midnight, hence the next date, one hour to the east.
    let at = |micros| Customer::default().with("last_order_at", Instant(20_000 * DAY + micros));
    let table = [(DAY / 24 * 23, 0), (DAY / 24 * 23 - 1, 1), (0, 1), (-DAY, 2), (2 * DAY, -1)];
    for (micros, days) in table {
        let rule = format!("days_since(last_order_at) == {days}");
        assert!(at(micros).matches(&rule), "{rule}");
    }
    assert!(at(0).matches("last_order_at < now"));
    assert!(at(DAY).matches("now < last_order_at"));
    assert!(at(0).matches("last_order_at == timestamp('2024-10-04T02:00:00+02:00')"));
}

#[test]
fn a_value_of_the_wrong_type_counts_as_missing() {
    let broken = Customer::default().with("rfm.r", Text("4")).with("channel", Int(4)).with("last_order_at", Int(4));
    let sources = [
        "rfm.r == 4",
        "rfm.r != 4",
        "rfm.r in [3, 4, 5]",
        "channel.contains('4')",
        "last_order_at < now",
        "days_since(last_order_at) > 0",
    ];
    for source in sources {
        assert!(!broken.matches(source), "{source}");
    }
}
