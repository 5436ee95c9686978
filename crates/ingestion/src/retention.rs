//! How long facts are kept, by kind, and the horizons that follow from it: what is older is dropped, and no more taken in. Pure.

use crate::intake::Fact;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::ingestion::TraitFact;

/// The shortest retention: two years of 365 days and a day, so that every built-in window, and the one before it, is of facts that are kept.
pub const MIN_DAYS: i32 = 731;
/// The longest retention, a hundred years.
pub const MAX_DAYS: i32 = 36_500;

/// A kind of fact, as far as facts are kept. Refunds are settled against orders, so they are kept as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Orders and refunds.
    Order,
    /// Interactions.
    Interaction,
    /// Feedback.
    Feedback,
}

impl Kind {
    /// The kind that a trait is computed from.
    pub fn of_trait(fact: TraitFact) -> Option<Self> {
        match fact {
            TraitFact::Unspecified => None,
            TraitFact::Order | TraitFact::OrderLine | TraitFact::Refund => Some(Self::Order),
            TraitFact::Interaction => Some(Self::Interaction),
            TraitFact::Feedback => Some(Self::Feedback),
        }
    }
}

/// One value of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind<T> {
    /// Of orders and refunds.
    pub order: T,
    /// Of interactions.
    pub interaction: T,
    /// Of feedback.
    pub feedback: T,
}

impl<T: Copy> ByKind<T> {
    /// The value of a kind.
    pub fn of(&self, kind: Kind) -> T {
        match kind {
            Kind::Order => self.order,
            Kind::Interaction => self.interaction,
            Kind::Feedback => self.feedback,
        }
    }
}

/// For how many days facts are kept. 0: for ever.
pub type Days = ByKind<i32>;

/// The instants before which facts are dropped. `None`: none is.
pub type Horizons = ByKind<Option<Instant>>;

impl Horizons {
    /// The horizons on a local day: those that there are, or later ones that follow from `days`. What is dropped does not come back, so no
    /// horizon goes back either.
    pub fn on(self, today: i32, days: Days, zone: &TimeZone) -> Self {
        let horizon = |kind| match days.of(kind) {
            0 => self.of(kind),
            days => self.of(kind).max(Some(zone.start_of_day(today.saturating_sub(days)))),
        };
        Self { order: horizon(Kind::Order), interaction: horizon(Kind::Interaction), feedback: horizon(Kind::Feedback) }
    }

    /// Whether the facts of the `days` before an instant are all there.
    pub fn reach(&self, as_of: Instant, days: i32, zone: &TimeZone) -> bool {
        let begin = zone.days_before(as_of, days);
        [self.order, self.interaction, self.feedback].into_iter().flatten().all(|horizon| horizon <= begin)
    }

    /// The field that says when a fact was, if it was too long ago to be taken in: a copy of one that was dropped would not be known.
    pub fn refuse(&self, fact: &Fact) -> Option<&'static str> {
        let (kind, event, field) = match fact {
            Fact::Order(order) => (Kind::Order, &order.event, "order.order_time"),
            Fact::Refund(refund) => (Kind::Order, &refund.event, "refund.refund_time"),
            Fact::Interaction(interaction) => (Kind::Interaction, &interaction.event, "interaction.interaction_time"),
            Fact::Feedback(feedback) => (Kind::Feedback, &feedback.event, "feedback.feedback_time"),
            Fact::Customer(_) | Fact::Spend(_) | Fact::Rate(_) => return None,
        };
        self.of(kind).is_some_and(|horizon| event.at < horizon).then_some(field)
    }
}

/// Whether facts of a kind are kept for all of a window of so many days, now and from now on.
pub fn covers(kind: Kind, window_days: i32, (days, horizons): (Days, Horizons), now: Instant, zone: &TimeZone) -> bool {
    // Of a lifetime what is kept is counted.
    window_days == 0
        || ((days.of(kind) == 0 || window_days <= days.of(kind))
            && horizons.of(kind).is_none_or(|horizon| horizon <= zone.days_before(now, window_days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizons_reach_as_far_as_the_latest_of_them() {
        let horizons = Horizons {
            order: Some(at("1998-01-01T00:00:00Z")),
            feedback: Some(at("1998-01-11T00:00:00Z")),
            interaction: None,
        };
        assert!(horizons.reach(at("1998-01-21T00:00:00Z"), 10, &TimeZone::UTC));
        assert!(!horizons.reach(at("1998-01-20T23:59:59Z"), 10, &TimeZone::UTC));
        assert!(Horizons::default().reach(at("1970-01-01T00:00:00Z"), 3_653, &TimeZone::UTC));
    }

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    #[test]
    fn a_horizon_is_a_local_midnight_and_never_goes_back() {
        let zone = TimeZone::from_name("Europe/Berlin").unwrap();
        let today = zone.local_day(at("2024-03-31T22:30:00Z"));
        let days = Days { order: 731, ..Days::default() };
        let first = Horizons::default().on(today, days, &zone);
        // The first of April, less two years and a day of which one was leap: midnight of the first of April 2022, in summer time.
        assert_eq!(first, Horizons { order: Some(at("2022-03-31T22:00:00Z")), ..Horizons::default() });
        assert_eq!(first.on(today + 1, days, &zone).order, Some(at("2022-04-01T22:00:00Z")));
        for longer in [Days { order: 1_000, ..days }, Days::default()] {
            assert_eq!(first.on(today + 1, longer, &zone), first);
        }
    }

    #[test]
    fn a_window_is_covered_by_what_is_kept_and_by_what_was() {
        let (now, zone) = (at("2024-01-01T12:00:00Z"), TimeZone::UTC);
        let kept = |days, horizon: Option<&str>| {
            (Days { order: days, ..Days::default() }, Horizons { order: horizon.map(at), ..Horizons::default() })
        };
        let covered = |window, kept| covers(Kind::Order, window, kept, now, &zone);
        assert!(covered(3_653, kept(0, None)) && covered(0, kept(731, Some("2022-01-01T00:00:00Z"))));
        assert!(covered(731, kept(731, None)) && !covered(732, kept(731, None)));
        // Kept for ever from now on, but what the window would show was dropped before.
        assert!(
            covered(730, kept(0, Some("2022-01-01T12:00:00Z"))) && !covered(731, kept(0, Some("2022-01-01T12:00:00Z")))
        );
        assert!(covers(Kind::Feedback, 3_653, kept(731, None), now, &zone));
    }
}
