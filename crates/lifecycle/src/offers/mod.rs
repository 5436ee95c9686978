//! Offers and loyalty tiers: what customers are promised, and what they have of a programme.
//!
//! Pure: [`check`] says whether an offer makes sense, [`may_grant`] whether it can be granted, [`Validity`] until when, [`codes`] how a grant's code is
//! spelt, and [`tiers`] which tier a customer comes into. Nothing here knows a clock, a database or a key.

mod check;
pub mod codes;
#[cfg(test)]
mod tests;
pub mod tiers;

pub use check::{check, check_texts};

use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::lifecycle::{GrantState, Offer, OfferState, StepSkipReason};

/// What the names of offers begin with.
pub const OFFERS: &str = "offers/";

/// The days on which something is good that holds so many days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The last of them, in days since 1970-01-01.
    pub last_day: i32,
    /// The midnight behind it.
    pub end: Instant,
}

impl Validity {
    /// The rest of the day of an instant, and so many days behind it.
    pub fn of(at: Instant, days: i32, zone: &TimeZone) -> Self {
        let last_day = zone.local_day(at) + days;
        Self { last_day, end: zone.start_of_day(last_day + 1) }
    }

    /// The validity that ends at a midnight.
    pub fn ending(end: Instant, zone: &TimeZone) -> Self {
        // Where clocks are put forward at midnight, a day begins later than that.
        Self { last_day: zone.local_day(end.plus_micros(-1)), end }
    }

    /// Its last day, as `2026-12-31`.
    pub fn last_date(&self) -> String {
        let (year, month, day) = quintile_domain::time::date_of_day(self.last_day);
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// Why an offer can't be granted. `None`: it can. `granted` is how often it was so far, `open` how many open grants of it the customer has.
pub fn may_grant(offer: &Offer, granted: i64, open: usize) -> Option<StepSkipReason> {
    let most_open = usize::try_from(offer.max_per_customer).unwrap_or_default().max(1);
    if offer.state() != OfferState::Active {
        Some(StepSkipReason::OfferNotActive)
    } else if offer.max_grants > 0 && granted >= offer.max_grants {
        Some(StepSkipReason::OfferExhausted)
    } else if open >= most_open {
        Some(StepSkipReason::OfferHeld)
    } else {
        None
    }
}

/// What has become of a grant as of an instant, of one that is open until then.
pub fn state_at(state: GrantState, end: Instant, now: Instant) -> GrantState {
    if state == GrantState::Open && end <= now { GrantState::Expired } else { state }
}
