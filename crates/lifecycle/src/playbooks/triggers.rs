//! What begins a run.

use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Playbook, WarningSeverity, trigger};
use quintile_proto::types::{Features, Stage, WarningKind};
use quintile_rpc::convert;

/// Of customers who were not known before: how long ago their last order may be, so that they are new and not a history that is taken in.
const FRESH_MICROS: i64 = 7 * 86_400_000_000;

/// Something that happens to a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening<'a> {
    /// It comes into a stage. From `None`: it was not known before.
    Stage {
        /// The stage before.
        from: Option<Stage>,
        /// The stage after.
        to: Stage,
    },
    /// A warning is raised.
    Warning {
        /// Its kind.
        kind: WarningKind,
        /// How severe it is.
        severity: WarningSeverity,
    },
    /// It enters a segment or leaves it.
    Segment {
        /// The segment or label.
        name: &'a str,
        /// Whether it enters.
        entered: bool,
    },
}

impl Happening<'_> {
    /// Whether it begins a run of a playbook.
    pub fn begins(&self, playbook: &Playbook) -> bool {
        let Some(kind) = playbook.trigger.as_ref().and_then(|trigger| trigger.kind.as_ref()) else { return false };
        match (self, kind) {
            (Self::Stage { from, to }, trigger::Kind::Stage(trigger)) => {
                let is_from = |from: &Stage| trigger.from_stages.contains(&i32::from(*from));
                trigger.stages.contains(&i32::from(*to))
                    && (trigger.from_stages.is_empty() || from.as_ref().is_some_and(is_from))
            }
            (Self::Warning { kind, severity }, trigger::Kind::Warning(trigger)) => {
                let is_meant = trigger.kinds.is_empty() || trigger.kinds.contains(&i32::from(*kind));
                is_meant && i32::from(*severity) >= trigger.min_severity
            }
            (Self::Segment { name, entered }, trigger::Kind::Segment(trigger)) => {
                trigger.segment == *name && trigger.leaves != *entered
            }
            _ => false,
        }
    }
}

/// Feedback that is to be answered, and that playbooks follow up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Complaints.
    Complaints,
    /// Low scores.
    LowScores,
}

/// The feedback that begins runs of a playbook. `None`: none does, or other things that happen do, too.
pub fn followed_up(playbook: &Playbook) -> Option<Feedback> {
    let trigger::Kind::Warning(warning) = playbook.trigger.as_ref()?.kind.as_ref()? else { return None };
    let [kind] = warning.kinds[..] else { return None };
    match WarningKind::try_from(kind).ok()? {
        WarningKind::Complaint => Some(Feedback::Complaints),
        WarningKind::LowScore => Some(Feedback::LowScores),
        _ => None,
    }
}

/// Whether a customer who becomes known at an instant is new: it has not bought, or just now.
pub fn is_new(features: &Features, at: Instant) -> bool {
    let last = convert::sent_instant(features.last_order_time.as_ref());
    last.is_none_or(|last| last > at.plus_micros(-FRESH_MICROS))
}
