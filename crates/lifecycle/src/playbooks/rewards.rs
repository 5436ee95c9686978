//! What a playbook grants.

use quintile_proto::lifecycle::{Playbook, Step, step};
use std::collections::BTreeSet;

fn steps(playbook: &Playbook) -> impl Iterator<Item = &Step> {
    playbook.variants.iter().flat_map(|variant| &variant.steps)
}

/// The names of the offers that a playbook grants by steps of their own.
pub fn offers_of(playbook: &Playbook) -> BTreeSet<&str> {
    let offers = steps(playbook).filter_map(|step| match &step.action {
        Some(step::Action::GrantOffer(grant)) => Some(grant.offer.as_str()),
        _ => None,
    });
    offers.collect()
}

/// The names of the loyalty tiers that a playbook puts customers into.
pub fn tiers_of(playbook: &Playbook) -> BTreeSet<&str> {
    let tiers = steps(playbook).filter_map(|step| match &step.action {
        Some(step::Action::GrantTier(grant)) => Some(grant.tier.as_str()),
        _ => None,
    });
    tiers.collect()
}

/// Whether a playbook grants anything.
pub fn grants_anything(playbook: &Playbook) -> bool {
    !offers_of(playbook).is_empty() || !tiers_of(playbook).is_empty()
}
