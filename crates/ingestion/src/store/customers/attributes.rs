//! The attributes of a customer: what a row or a request changes of them, and what several records of one person come to.
//!
//! To add one, add it to `CustomerAttributes`, to [`Field`] at the end, and to `each_attribute`.

use super::record::{Field, FieldTimes, last_of};
use quintile_domain::ids::CustomerId;
use quintile_proto::google_type::Date;
use quintile_proto::types::CustomerAttributes;

/// Runs a macro with the field and the name of every attribute but consents and objections, which the privacy service alone changes.
macro_rules! each_attribute {
    ($run:ident) => {
        $run!(Kind, kind);
        $run!(Owner, owner);
        $run!(Region, region);
        $run!(Department, department);
        $run!(Language, language);
        $run!(AcquisitionChannel, acquisition_channel);
        $run!(AcquisitionCampaign, acquisition_campaign);
        $run!(AcquisitionDate, acquisition_date);
        $run!(Country, country);
        $run!(Currency, currency);
        $run!(Gender, gender);
        $run!(IncomeBand, income_band);
        $run!(Household, household);
        $run!(Interests, interests);
        $run!(Values, values);
    };
}

/// A value that may say nothing.
trait Said {
    /// Whether it says something.
    fn is_said(&self) -> bool;
}

impl Said for i32 {
    fn is_said(&self) -> bool {
        *self != 0
    }
}

impl Said for String {
    fn is_said(&self) -> bool {
        !self.is_empty()
    }
}

impl Said for Option<String> {
    fn is_said(&self) -> bool {
        self.is_some()
    }
}

impl Said for Option<Date> {
    fn is_said(&self) -> bool {
        self.is_some()
    }
}

impl Said for Vec<String> {
    fn is_said(&self) -> bool {
        !self.is_empty()
    }
}

/// Takes over what is said where one's own or the whole of all records says something else. What is not said stays.
pub(super) fn say(
    times: &mut FieldTimes,
    own: &mut CustomerAttributes,
    whole: &CustomerAttributes,
    given: &CustomerAttributes,
    at: i64,
) {
    macro_rules! say {
        ($field:ident, $name:ident) => {
            if given.$name.is_said() {
                // Said for the first time, be it what holds of whom nothing is said: its kind.
                let is_first = times.of(Field::$field) == 0;
                let whole = if is_first { &Default::default() } else { &whole.$name };
                times.say(Field::$field, &mut own.$name, whole, &given.$name, at);
            }
        };
    }
    each_attribute!(say);
}

/// Takes over where what is wanted differs from what all records come to. Consents are taken over in any case.
pub(super) fn absorb(
    times: &mut FieldTimes,
    own: &mut CustomerAttributes,
    whole: &CustomerAttributes,
    wanted: &CustomerAttributes,
    at: i64,
) {
    macro_rules! absorb {
        ($field:ident, $name:ident) => {
            times.absorb(Field::$field, &mut own.$name, &whole.$name, &wanted.$name, at);
        };
    }
    each_attribute!(absorb);
    own.consents.clone_from(&wanted.consents);
    own.objections.clone_from(&wanted.objections);
}

/// Takes over the attribute of this name. Returns whether there is one.
pub fn take(own: &mut CustomerAttributes, given: &CustomerAttributes, name: &str) -> bool {
    macro_rules! take {
        ($field:ident, $name:ident) => {
            if name == stringify!($name) {
                own.$name.clone_from(&given.$name);
                return true;
            }
        };
    }
    each_attribute!(take);
    false
}

/// Composes attributes, each with the home and the times of its record: of every attribute what was said last. Consents are those of the
/// record of `survivor`.
pub(super) fn compose<'a>(
    records: impl Iterator<Item = (CustomerId, &'a CustomerAttributes, &'a FieldTimes)>,
    survivor: CustomerId,
) -> CustomerAttributes {
    let records: Vec<_> = records.collect();
    let mut composed = CustomerAttributes::default();
    macro_rules! compose {
        ($field:ident, $name:ident) => {
            let said = records.iter().map(|(home, it, times)| {
                (*home, times.of(Field::$field), it.$name.is_said().then(|| it.$name.clone()))
            });
            composed.$name = last_of(said).unwrap_or_default();
        };
    }
    each_attribute!(compose);
    if let Some((_, own, _)) = records.iter().find(|(home, ..)| *home == survivor) {
        composed.consents.clone_from(&own.consents);
        composed.objections.clone_from(&own.objections);
    }
    composed
}
