//! When a key signs and when it verifies, by the times at which keys begin alone: publish, sign, retire.
//!
//! Every process works it out for itself and comes to the same, for as long as their clocks differ by less than the leeway.

use quintile_domain::time::Instant;
use quintile_rpc::token::{LEEWAY_SECONDS, MAX_LIFETIME_SECONDS};
use thiserror::Error;

/// For how many seconds a new key is published before it signs where nothing else is asked for, and at least: all services have it
/// within five.
const MIN_PUBLISH_SECONDS: i64 = 30;
/// For how many seconds at most.
const MAX_PUBLISH_SECONDS: i64 = 7 * 24 * 3600;
/// How long a key verifies after it last signed: the longest life of a token, the leeway of those who verify, and another in which
/// a process with a slow clock still signs.
const VERIFIES_ON_MICROS: i64 = (MAX_LIFETIME_SECONDS + 2 * LEEWAY_SECONDS) * 1_000_000;

/// A time of publishing is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be 0, or 30 to 604,800 seconds")]
pub struct PublishTimeError;

/// When a key that is published at `now` begins to sign, if it is published for `seconds` before; 0 is the least there is.
pub fn sign_from(now: Instant, seconds: i32) -> Result<Instant, PublishTimeError> {
    let seconds = if seconds == 0 { MIN_PUBLISH_SECONDS } else { i64::from(seconds) };
    if (MIN_PUBLISH_SECONDS..=MAX_PUBLISH_SECONDS).contains(&seconds) {
        Ok(now.plus_micros(seconds * 1_000_000))
    } else {
        Err(PublishTimeError)
    }
}

/// When a key was published, and from when it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    /// The key's id.
    pub kid: String,
    /// Since when it is published.
    pub published: Instant,
    /// From when it signs.
    pub sign_from: Instant,
}

/// A key's times among all keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its own times.
    pub key: KeyTimes,
    /// From when the next key signs in its place. `None`: there is no next one.
    pub retired: Option<Instant>,
}

/// What a key does at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It verifies and does not sign yet.
    Published,
    /// It signs.
    Signing,
    /// It verifies what it signed.
    Retired,
    /// Nothing: all that it signed has expired.
    Gone,
}

impl Scheduled {
    /// Until when it verifies. `None`: there is no next key.
    pub fn expires(&self) -> Option<Instant> {
        self.retired.map(|retired| retired.plus_micros(VERIFIES_ON_MICROS))
    }

    /// What it does at an instant.
    pub fn phase(&self, now: Instant) -> Phase {
        if self.expires().is_some_and(|expires| expires <= now) {
            Phase::Gone
        } else if self.retired.is_some_and(|retired| retired <= now) {
            Phase::Retired
        } else if self.key.sign_from <= now {
            Phase::Signing
        } else {
            Phase::Published
        }
    }
}

/// The keys in the order in which they sign.
pub fn schedule(mut keys: Vec<KeyTimes>) -> Vec<Scheduled> {
    keys.sort_unstable_by(|a, b| (a.sign_from, a.published, &a.kid).cmp(&(b.sign_from, b.published, &b.kid)));
    let next: Vec<_> = keys.iter().skip(1).map(|key| Some(key.sign_from)).chain([None]).collect();
    keys.into_iter().zip(next).map(|(key, retired)| Scheduled { key, retired }).collect()
}

/// The place of the key that signs at an instant. Before the first begins, it is the first: somebody has to.
pub fn signing(keys: &[Scheduled], now: Instant) -> Option<usize> {
    let begun = keys.iter().rposition(|scheduled| scheduled.key.sign_from <= now);
    begun.or_else(|| (!keys.is_empty()).then_some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn key(kid: &str, published: i64, sign_from: i64) -> KeyTimes {
        KeyTimes { kid: kid.to_owned(), published: at(published), sign_from: at(sign_from) }
    }

    #[test]
    fn a_key_is_published_signs_is_retired_and_goes_when_its_last_token_has() {
        use Phase::{Gone, Published, Retired, Signing};
        let keys = schedule(vec![key("c", 200, 300), key("a", 0, 0), key("b", 70, 100)]);
        let life = 12 * 3600 + 60;
        for (seconds, expected, signs) in [
            (0, [Signing, Published, Published], 0),
            (99, [Signing, Published, Published], 0),
            (100, [Retired, Signing, Published], 1),
            (299, [Retired, Signing, Published], 1),
            (300, [Retired, Retired, Signing], 2),
            (99 + life, [Retired, Retired, Signing], 2),
            (100 + life, [Gone, Retired, Signing], 2),
            (300 + life, [Gone, Gone, Signing], 2),
            (100 * life, [Gone, Gone, Signing], 2),
        ] {
            let phases: Vec<_> = keys.iter().map(|scheduled| scheduled.phase(at(seconds))).collect();
            assert_eq!(phases, expected, "{seconds}");
            assert_eq!(signing(&keys, at(seconds)), Some(signs), "{seconds}");
        }
    }

    #[test]
    fn somebody_signs_even_before_the_first_key_begins_and_nobody_without_a_key() {
        assert_eq!(signing(&schedule(vec![key("b", 7, 9), key("a", 5, 8)]), at(3)), Some(0));
        assert_eq!(signing(&[], at(3)), None);
    }

    #[test]
    fn keys_that_begin_at_once_leave_one_that_signs() {
        let keys = schedule(vec![key("b", 0, 5), key("a", 0, 5)]);
        assert_eq!(keys[signing(&keys, at(5)).unwrap()].key.kid, "b");
        assert_eq!([keys[0].phase(at(5)), keys[1].phase(at(5))], [Phase::Retired, Phase::Signing]);
    }

    #[test]
    fn a_key_is_published_for_half_a_minute_at_least() {
        for (seconds, expected) in [(0, Ok(at(130))), (30, Ok(at(130))), (604_800, Ok(at(604_900)))] {
            assert_eq!(sign_from(at(100), seconds), expected, "{seconds}");
        }
        for seconds in [-1, 1, 29, 604_801, i32::MAX, i32::MIN] {
            assert_eq!(sign_from(at(100), seconds), Err(PublishTimeError), "{seconds}");
        }
    }
}
