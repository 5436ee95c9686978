//! Early warnings: the signs that a customer shows of leaving, and how much is at stake.
//!
//! Pure: what a customer shows follows from its features and the local day, and not from what was raised before, so that a history that comes in late
//! or in any order shows what it would have shown. What would flicker from day to day is held for [`HOLD_DAYS`] by the same features: the days on which
//! it began can be told from the days of purchase. To add a sign, add it to `WarningKind` of the contracts and to [`showing`].

mod purchases;
mod severity;
mod silence;
#[cfg(test)]
mod tests;

use self::purchases::FewerPurchases;
use self::silence::Silence;
use crate::stages::{Stage, StageDecision, StageInput, StagePolicy};
use quintile_domain::midnight::begin_of_later_day;
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::types::WarningKind;

pub use self::purchases::PurchaseDays;
pub use self::severity::{Stake, Thresholds, Worth};

/// Days for which a sign that began is shown, at least. For as long nobody is silent, however often it buys.
pub const HOLD_DAYS: i64 = 14;

/// The signs that a customer shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Showing {
    /// By number.
    pub kinds: Vec<WarningKind>,
    /// The earliest later instant at which it shows others, if nothing happens and the windows stay what they are: these change upstream, and bring a new
    /// input. `None`: never.
    pub next_change: Option<Instant>,
}

/// A sign, and the later local day on which it turns. `None`: never.
struct Sign {
    kind: WarningKind,
    shows: bool,
    turns_on: Option<i64>,
}

/// The signs that a customer shows of whom a policy decided so.
pub fn showing(
    policy: &StagePolicy,
    input: &StageInput<'_>,
    decision: &StageDecision,
    as_of: Instant,
    zone: &TimeZone,
) -> Showing {
    let gone = matches!(decision.stage, Stage::Lead | Stage::Churned);
    let Some(last_order) = input.last_order.filter(|_| !gone) else { return Showing::default() };
    let last_order_day = i64::from(zone.local_day(last_order));
    let today = i64::from(zone.local_day(as_of));
    let silence = Silence::of(input.gap_days, policy.population_p80_days, last_order_day);
    let purchases = FewerPurchases::of(input.gap_days, last_order_day, policy.decline_min_count, today);
    let signs = [
        Sign { kind: WarningKind::Silence, shows: silence.shows_on(today), turns_on: silence.turns_after(today) },
        Sign {
            kind: WarningKind::FewerPurchases,
            shows: purchases.shows_on(today),
            turns_on: purchases.turns_after(today),
        },
        fewer_interactions(policy, input, today, zone),
        Sign { kind: WarningKind::Complaint, shows: input.open_complaints > 0, turns_on: None },
        churn_risk(policy, input, last_order_day, today),
        low_score(input, today, zone),
    ];
    let turns_on = signs.iter().filter_map(|sign| sign.turns_on).min();
    Showing {
        kinds: signs.iter().filter(|sign| sign.shows).map(|sign| sign.kind).collect(),
        next_change: turns_on.and_then(|day| begin_of_later_day(zone, day, as_of)),
    }
}

/// How often somebody got in touch is known of two windows alone: as these move on, this sign may end before it was shown for long, and begin again. It does
/// neither within [`HOLD_DAYS`] of a contact.
fn fewer_interactions(policy: &StagePolicy, input: &StageInput<'_>, today: i64, zone: &TimeZone) -> Sign {
    let declined = policy.declined(input.interactions_90, input.previous_interactions_90);
    let begins = input.last_interaction.map(|last| i64::from(zone.local_day(last)) + HOLD_DAYS);
    let begins = begins.filter(|_| declined);
    Sign {
        kind: WarningKind::FewerInteractions,
        shows: begins.is_some_and(|day| day <= today),
        turns_on: begins.filter(|day| *day > today),
    }
}

/// Risks fall with a purchase and rise with silence. When a risk is another one, the record is; that nobody is warned of within [`HOLD_DAYS`] of a purchase
/// keeps this sign from coming and going with every order.
fn churn_risk(policy: &StagePolicy, input: &StageInput<'_>, last_order_day: i64, today: i64) -> Sign {
    let begins = last_order_day + HOLD_DAYS;
    let is_likely = input.risk_percent.is_some_and(|risk| risk >= policy.risk_warning_percent);
    Sign {
        kind: WarningKind::ChurnRisk,
        shows: is_likely && begins <= today,
        turns_on: (is_likely && begins > today).then_some(begins),
    }
}

/// Shown from the day of a low score on, for [`HOLD_DAYS`] from the last one. One that comes while it is shown is warned of where no warning goes on.
fn low_score(input: &StageInput<'_>, today: i64, zone: &TimeZone) -> Sign {
    let ends = input.last_low_score.map(|last| i64::from(zone.local_day(last)) + HOLD_DAYS);
    let ends = ends.filter(|day| today < *day);
    Sign { kind: WarningKind::LowScore, shows: ends.is_some(), turns_on: ends }
}

/// On how many days a customer had bought at the midnight by which it shows fewer purchases, or at that of today where it does not. Where fewer than four
/// days are known of the time that counts: none.
pub fn purchase_days(policy: &StagePolicy, input: &StageInput<'_>, as_of: Instant, zone: &TimeZone) -> PurchaseDays {
    let Some(last_order) = input.last_order else { return PurchaseDays::default() };
    let (last_order_day, today) = (i64::from(zone.local_day(last_order)), i64::from(zone.local_day(as_of)));
    FewerPurchases::of(input.gap_days, last_order_day, policy.decline_min_count, today).shown_by(today)
}
