//! Loyalty tiers: whether one makes sense, and which one a customer comes into.

use super::{OFFERS, Validity, check_texts};
use crate::playbooks::{Checked, check_named, within, wrong};
use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::lifecycle::{LoyaltyTier, LoyaltyTierText, StepSkipReason};
use std::collections::HashSet;

/// What the names of loyalty tiers begin with.
pub const LOYALTY_TIERS: &str = "loyaltyTiers/";

const MAX_RANK: i32 = 1_000;
const MAX_OFFERS: usize = 5;
const MAX_VALID_DAYS: i32 = 3_650;

/// Checks a tier, aside from its name and what is output only.
pub fn check(tier: &LoyaltyTier) -> Checked {
    within("rank", tier.rank, 1, MAX_RANK)?;
    let texts: Vec<_> =
        tier.texts.iter().map(|of: &LoyaltyTierText| (&*of.language, &*of.title, &*of.benefits)).collect();
    check_texts("benefits", &texts)?;
    if tier.offers.len() > MAX_OFFERS {
        return wrong("offers", format!("must have at most {MAX_OFFERS} offers"));
    }
    let mut seen = HashSet::new();
    for (index, offer) in tier.offers.iter().enumerate() {
        check_named(&format!("offers[{index}]"), offer, OFFERS)?;
        if !seen.insert(offer) {
            return wrong(format!("offers[{index}]"), "is there already");
        }
    }
    within("valid_days", tier.valid_days, 0, MAX_VALID_DAYS)
}

/// The tier that a customer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The number of the tier.
    pub tier: i64,
    /// Its rank.
    pub rank: i32,
    /// Since when.
    pub since: Instant,
    /// Until when. `None`: until somebody says otherwise.
    pub until: Option<Instant>,
}

impl Standing {
    /// Whether it still holds at an instant.
    pub fn holds(&self, at: Instant) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

/// Where a customer stands that comes into a tier at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since when it is in this tier without a break.
    pub since: Instant,
    /// Until when.
    pub until: Option<Instant>,
    /// Whether it was in another, or in none.
    pub is_new: bool,
}

/// What putting a customer into the tier of a number comes to, or why it stays where it is. `may_lower`: from a higher tier too.
pub fn enter(
    (number, tier): (i64, &LoyaltyTier),
    before: Option<Standing>,
    may_lower: bool,
    at: Instant,
    zone: &TimeZone,
) -> Result<Entry, StepSkipReason> {
    let before = before.filter(|before| before.holds(at));
    if before.is_some_and(|before| before.rank > tier.rank && before.tier != number) && !may_lower {
        return Err(StepSkipReason::HigherTier);
    }
    let same = before.filter(|before| before.tier == number);
    let until = (tier.valid_days > 0).then(|| Validity::of(at, tier.valid_days, zone).end);
    Ok(Entry { since: same.map_or(at, |same| same.since), until, is_new: same.is_none() })
}
