//! Tickets and complaints: opened, resolved, and opened again.

use quintile_domain::time::Instant;
use std::collections::BTreeMap;

/// What an interaction says of a ticket or a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseEvent {
    /// Whether it is a complaint; a ticket otherwise.
    pub complaint: bool,
    /// The source, and what the case is called there.
    pub id: (String, String),
    /// Whether it was resolved; opened otherwise.
    pub resolved: bool,
}

/// How many cases there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cases {
    /// Complaints.
    pub complaints: i64,
    /// Complaints that are not resolved.
    pub open_complaints: i64,
    /// Tickets that are not resolved.
    pub open_tickets: i64,
}

/// What was said last of each case, by what it is: whether a complaint, its source, and what it is called there; when, and whether it was
/// resolved.
pub type LastWords = BTreeMap<(bool, (String, String)), (Instant, bool)>;

/// Counts cases. What was said last of a case holds; of two words at one instant, that it is resolved. `earlier` is what was said before
/// the events.
pub fn count<'a>(earlier: &'a LastWords, events: impl Iterator<Item = (Instant, &'a CaseEvent)>) -> Cases {
    let mut last: BTreeMap<_, (Instant, bool)> =
        earlier.iter().map(|((complaint, id), word)| ((*complaint, id), *word)).collect();
    for (at, event) in events {
        let entry = last.entry((event.complaint, &event.id)).or_insert((at, event.resolved));
        *entry = (*entry).max((at, event.resolved));
    }
    let mut cases = Cases::default();
    for ((complaint, _), (_, resolved)) in last {
        cases.complaints += i64::from(complaint);
        cases.open_complaints += i64::from(complaint && !resolved);
        cases.open_tickets += i64::from(!complaint && !resolved);
    }
    cases
}
