//! How often somebody may look up what is not to be guessed: whoever tries phone numbers, or codes of grants, gets few answers.

use crate::{ApiError, Caller};
use parking_lot::Mutex;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Microseconds of a minute.
const MINUTE_MICROS: i64 = 60_000_000;
/// Subjects that are counted in a minute; beyond it nobody new may look up until the next.
const MAX_SUBJECTS: usize = 100_000;

/// The look-ups of the present minute, by tenant and subject.
#[derive(Clone, Default)]
pub struct Lookups(Arc<Mutex<Minute>>);

#[derive(Default)]
struct Minute {
    number: i64,
    counts: HashMap<(TenantId, String), u32>,
}

impl Lookups {
    /// Counts a look-up, if the caller has one left in this minute (machine time).
    pub fn allow(&self, caller: &Caller, now: Instant) -> Result<(), ApiError> {
        self.count(caller.tenant().id, caller.subject(), caller.lookups_per_minute(), now)
    }

    fn count(&self, tenant: TenantId, subject: &str, limit: u32, now: Instant) -> Result<(), ApiError> {
        let mut minute = self.0.lock();
        let number = now.micros().div_euclid(MINUTE_MICROS);
        if minute.number != number {
            *minute = Minute { number, counts: HashMap::new() };
        }
        let key = (tenant, subject.to_owned());
        let known = minute.counts.contains_key(&key);
        let full = !known && minute.counts.len() >= MAX_SUBJECTS;
        let count =
            if full { limit } else { *minute.counts.entry(key).and_modify(|count| *count += 1).or_insert(1) - 1 };
        if count < limit {
            return Ok(());
        }
        let left = MINUTE_MICROS - now.micros().rem_euclid(MINUTE_MICROS);
        Err(ApiError::quota("too many look-ups: wait for the next minute", Duration::from_micros(left.unsigned_abs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_so_many_look_ups_a_minute_and_others_have_theirs() {
        let lookups = Lookups::default();
        let at = |second: i64| Instant::from_micros(second * 1_000_000);
        let ask = |tenant, subject, second| lookups.count(TenantId(tenant), subject, 2, at(second)).is_ok();
        assert!(ask(1, "ann", 60) && ask(1, "ann", 90));
        assert!(!ask(1, "ann", 119));
        assert!(ask(1, "bob", 119) && ask(2, "ann", 119));
        assert!(ask(1, "ann", 120));
    }
}
