//! When what records carry in steps is on another one, of what changes with every day that a customer does nothing.

use crate::models::MAX_DAYS_AHEAD;

/// How many days ahead it is looked first: of most customers no step lasts for years.
const FIRST_LOOK_DAYS: i64 = 64;

/// The first later day with another step than that of today, of a customer who has bought last on the day `last`. What was bought on a day counts from the
/// next on, which may raise it; after that it never rises, so that the day is found by looking ever farther ahead, and by halving. Where it is more than
/// ten years away: the last day that was looked at. `rests` tells whether the step stays what it is, of the day from which on nothing raises it and that
/// last one. `None`: it does.
pub fn turns_on(
    today: i64,
    last: i64,
    step_on: impl Fn(i64) -> i64,
    rests: impl FnOnce(i64, i64) -> bool,
) -> Option<i64> {
    let (now, mut same, until) = (step_on(today), today, today + MAX_DAYS_AHEAD);
    if last >= today {
        same += 1;
        if last >= same || step_on(same) != now {
            return Some(same);
        }
    }
    if rests(same, until) {
        return None;
    }
    let mut other = today + FIRST_LOOK_DAYS;
    while step_on(other) == now {
        if other == until {
            return Some(until);
        }
        same = other;
        other = until.min(today + 2 * (other - today));
    }
    while other - same > 1 {
        let middle = i64::midpoint(same, other);
        if step_on(middle) == now { same = middle } else { other = middle }
    }
    Some(other)
}
