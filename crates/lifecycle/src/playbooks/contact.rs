//! When and how often customers may be contacted, and whether at all.

use quintile_domain::time::{Instant, TimeZone};
use quintile_proto::lifecycle::ContactPolicy;
use quintile_proto::types::{CustomerAttributes, Purpose};
use std::collections::HashMap;

const DAY_MICROS: i64 = 86_400_000_000;

/// What a tenant's contact policy says, ready to be gone by.
#[derive(Clone, Debug)]
pub struct ContactRules {
    /// The most contacts of a customer, and in so many microseconds.
    cap: Option<(usize, i64)>,
    /// From which hour to which nobody is contacted.
    quiet: Option<(i32, i32)>,
    zone: TimeZone,
    zones: HashMap<String, TimeZone>,
}

impl ContactRules {
    /// The rules of a policy, of a tenant whose days begin in a zone. A zone that is not known is the tenant's.
    pub fn of(policy: &ContactPolicy, zone: &TimeZone) -> Self {
        let zones =
            policy.zones.iter().filter_map(|of| Some((of.country.clone(), TimeZone::from_name(&of.zone).ok()?)));
        let max = usize::try_from(policy.max_contacts).unwrap_or_default();
        Self {
            cap: (max > 0).then(|| (max, i64::from(policy.cap_days) * DAY_MICROS)),
            quiet: policy.quiet_from_hour.zip(policy.quiet_to_hour),
            zone: zone.clone(),
            zones: zones.collect(),
        }
    }

    /// How far back contacts count towards the cap. `None`: there is none.
    pub fn cap_micros(&self) -> Option<i64> {
        self.cap.map(|(_, micros)| micros)
    }

    /// Whether one contact more at an instant would be too many, behind these.
    pub fn is_capped(&self, contacts: &[Instant], at: Instant) -> bool {
        let Some((max, micros)) = self.cap else { return false };
        let counted = contacts.iter().filter(|contact| at.plus_micros(-micros) < **contact && **contact <= at);
        counted.count() >= max
    }

    /// When quiet ends that an instant lies in, for a customer. `None`: it lies in none.
    pub fn quiet_until(&self, attributes: &CustomerAttributes, at: Instant) -> Option<Instant> {
        let (from, to) = self.quiet?;
        let country = attributes.country.as_deref().unwrap_or_default();
        let zone = self.zones.get(country).unwrap_or(&self.zone);
        let hour = zone.local_hour(at);
        let is_quiet = if from < to { (from..to).contains(&hour) } else { hour >= from || hour < to };
        if !is_quiet {
            return None;
        }
        let today = zone.local_day(at);
        // Where clocks are put back, an hour may come twice: the end is the first one that lies ahead.
        (today..=today + 1).map(|day| zone.at_hour(day, to)).find(|end| *end > at)
    }
}

/// Whether a customer may be contacted for a purpose: marketing it must consent to, and to anything else not object.
pub fn permits(attributes: &CustomerAttributes, purpose: Purpose) -> bool {
    let number = i32::from(purpose);
    if purpose == Purpose::Marketing {
        attributes.consents.contains(&number)
    } else {
        !attributes.objections.contains(&number)
    }
}
