//! Which segments a playbook goes by.

use quintile_proto::lifecycle::{Playbook, step, trigger};
use std::collections::BTreeSet;

/// The names of the segments and labels that decide about a playbook's runs: of its audience, of who is excluded, and of branches. With `trigger`, that
/// which begins them as well.
pub fn segments_of(playbook: &Playbook, trigger: bool) -> BTreeSet<&str> {
    let steps = playbook.variants.iter().flat_map(|variant| &variant.steps);
    let branches = steps.filter_map(|step| match &step.action {
        Some(step::Action::Branch(branch)) => Some(branch.segment.as_str()),
        _ => None,
    });
    let begins = playbook.trigger.as_ref().and_then(|trigger| match &trigger.kind {
        Some(trigger::Kind::Segment(segment)) => Some(segment.segment.as_str()),
        _ => None,
    });
    let meant = [playbook.audience.as_str(), playbook.excluded.as_str()].into_iter().filter(|name| !name.is_empty());
    branches.chain(meant).chain(begins.filter(|_| trigger)).collect()
}
