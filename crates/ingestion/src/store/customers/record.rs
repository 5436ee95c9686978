//! What is known of a person, from one founding identity each, and what several such records of one person come to together.

use super::attributes;
use crate::intake::custom::{CustomValue, CustomValues};
use crate::intake::{CustomerPatch, Identity, Person};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::types::CustomerAttributes;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The fields of a record that are told apart when records are composed. Their numbers are places in [`FieldTimes`], and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    DisplayName,
    Phone,
    Email,
    Address,
    BirthDate,
    Kind,
    Owner,
    Region,
    Department,
    Language,
    AcquisitionChannel,
    AcquisitionCampaign,
    AcquisitionDate,
    Referrer,
    Country,
    Currency,
    Gender,
    IncomeBand,
    Household,
    Interests,
    Values,
}

/// How many fields there are.
const FIELD_COUNT: usize = 21;

/// When each field was last said, in microseconds of machine time; 0: never. Custom attributes by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FieldTimes {
    #[serde(deserialize_with = "all_fields")]
    fields: [i64; FIELD_COUNT],
    custom: BTreeMap<String, i64>,
}

/// What one founding identity's row holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The customer that the identity founded.
    pub home: CustomerId,
    /// The identities.
    pub identities: Vec<Identity>,
    /// What identifies the person.
    pub person: Person,
    /// The attributes.
    pub attributes: CustomerAttributes,
    /// When the fields were said.
    pub times: FieldTimes,
    /// When the record was made. Machine time.
    pub created_at: Instant,
    /// When it was last changed. Machine time.
    pub updated_at: Instant,
    /// Grows with every change.
    pub revision: i64,
    /// Since when the customer's processing is restricted. Machine time.
    pub restricted_at: Option<Instant>,
    /// The record's data key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// Whether nothing of it was written yet, its key included.
    pub is_new: bool,
    /// Whether it differs from what was written.
    pub is_changed: bool,
}

impl Record {
    /// Whether nothing was ever said of the person: facts alone, or a device, are known.
    pub fn is_anonymous(&self) -> bool {
        self.times == FieldTimes::default()
    }

    /// Takes over what a patch says, where the record or all records together say something else. Returns whether anything is different
    /// now.
    pub fn merge(&mut self, patch: &CustomerPatch, composed: &Composed, now: Instant) -> bool {
        let before = self.times.clone();
        let (given, whole) = (&patch.person, &composed.person);
        let at = now.micros();
        let (times, own) = (&mut self.times, &mut self.person);
        times.say_some(
            Field::DisplayName,
            &mut own.display_name,
            whole.display_name.as_ref(),
            given.display_name.as_ref(),
            at,
        );
        times.say_some(Field::Phone, &mut own.phone, whole.phone.as_ref(), given.phone.as_ref(), at);
        times.say_some(Field::Email, &mut own.email, whole.email.as_ref(), given.email.as_ref(), at);
        times.say_some(Field::Address, &mut own.address, whole.address.as_ref(), given.address.as_ref(), at);
        times.say_some(Field::BirthDate, &mut own.birth_date, whole.birth_date.as_ref(), given.birth_date.as_ref(), at);
        times.say_some(Field::Referrer, &mut own.referrer, whole.referrer.as_ref(), given.referrer.as_ref(), at);
        for (key, value) in &given.custom {
            if own.custom.get(key) != Some(value) || whole.custom.get(key) != Some(value) {
                own.custom.insert(key.clone(), value.clone());
                times.custom.insert(key.clone(), at);
            }
        }
        if let Some(given) = &patch.attributes {
            attributes::say(&mut self.times, &mut self.attributes, &composed.attributes, given, at);
        }
        let changed = before != self.times;
        if changed {
            self.changed(now);
        }
        changed
    }

    /// Adds identities of this home.
    pub fn join(&mut self, identities: &[Identity], now: Instant) {
        for identity in identities {
            if !self.identities.contains(identity) {
                self.identities.push(identity.clone());
            }
        }
        self.changed(now);
    }

    /// Notes that the record has changed.
    pub fn changed(&mut self, now: Instant) {
        self.revision += 1;
        self.updated_at = now;
        self.is_changed = true;
    }

    /// Takes over where `wanted` differs from `composed`, which is what this record and others come to.
    pub fn absorb(&mut self, composed: &Composed, wanted: (&Person, &CustomerAttributes), now: Instant) {
        let at = now.micros();
        let (person, wanted_attributes) = wanted;
        let (times, own) = (&mut self.times, &mut self.person);
        times.absorb(
            Field::DisplayName,
            &mut own.display_name,
            &composed.person.display_name,
            &person.display_name,
            at,
        );
        times.absorb(Field::Phone, &mut own.phone, &composed.person.phone, &person.phone, at);
        times.absorb(Field::Email, &mut own.email, &composed.person.email, &person.email, at);
        times.absorb(Field::Address, &mut own.address, &composed.person.address, &person.address, at);
        times.absorb(Field::BirthDate, &mut own.birth_date, &composed.person.birth_date, &person.birth_date, at);
        times.absorb(Field::Referrer, &mut own.referrer, &composed.person.referrer, &person.referrer, at);
        for (key, value) in person.custom.iter().filter(|(key, value)| composed.person.custom.get(*key) != Some(*value))
        {
            own.custom.insert(key.clone(), value.clone());
            times.custom.insert(key.clone(), at);
        }
        attributes::absorb(&mut self.times, &mut self.attributes, &composed.attributes, wanted_attributes, at);
    }
}

impl FieldTimes {
    /// When something was said last; 0: never.
    pub fn last(&self) -> i64 {
        self.fields.iter().chain(self.custom.values()).copied().max().unwrap_or_default()
    }

    pub(super) fn of(&self, field: Field) -> i64 {
        self.fields[field as usize]
    }

    pub(super) fn say<T: Clone + PartialEq>(&mut self, field: Field, own: &mut T, composed: &T, given: &T, at: i64) {
        if own != given || composed != given {
            own.clone_from(given);
            self.fields[field as usize] = at;
        }
    }

    fn say_some<T: Clone + PartialEq>(
        &mut self,
        field: Field,
        own: &mut Option<T>,
        composed: Option<&T>,
        given: Option<&T>,
        at: i64,
    ) {
        if given.is_some() {
            self.say(field, own, &composed.cloned(), &given.cloned(), at);
        }
    }

    pub(super) fn absorb<T: Clone + PartialEq>(
        &mut self,
        field: Field,
        own: &mut T,
        composed: &T,
        wanted: &T,
        at: i64,
    ) {
        if composed != wanted {
            own.clone_from(wanted);
            self.fields[field as usize] = at;
        }
    }

    /// The times as they are stored: a few bytes where all that was ever said was said with the last change.
    pub fn encode(&self, updated_at: Instant) -> Vec<u8> {
        let last = updated_at.micros();
        if self.fields.iter().all(|at| *at == 0 || *at == last) && self.custom.values().all(|at| *at == last) {
            return self.fields.iter().map(|at| u8::from(*at != 0)).collect();
        }
        // Numbers and texts always encode.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The times that [`FieldTimes::encode`] wrote of a record with these custom attributes. What it did not write was said with the last
    /// change.
    pub fn decode(encoded: &[u8], updated_at: Instant, custom: &CustomValues) -> Self {
        if let Ok(times) = serde_json::from_slice(encoded) {
            return times;
        }
        let last = updated_at.micros();
        let mut fields = [last; FIELD_COUNT];
        if !encoded.is_empty() {
            // A field that a version did not know yet was never said.
            fields = std::array::from_fn(|field| last * encoded.get(field).copied().map_or(0, i64::from));
        }
        Self { fields, custom: custom.keys().map(|key| (key.clone(), last)).collect() }
    }
}

/// What the records of one person come to together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composed {
    /// What identifies the person.
    pub person: Person,
    /// The attributes.
    pub attributes: CustomerAttributes,
}

/// Composes the records of one person: of every field what was said last, whatever the order of the records. Consents are those of the
/// record of `survivor`.
pub fn compose(records: &[Record], survivor: CustomerId) -> Composed {
    if let [only] = records {
        return Composed { person: only.person.clone(), attributes: only.attributes.clone() };
    }
    let mut composed = Composed::default();
    let person = &mut composed.person;
    person.display_name = last(records, Field::DisplayName, |it| it.person.display_name.clone());
    person.phone = last(records, Field::Phone, |it| it.person.phone.clone());
    person.email = last(records, Field::Email, |it| it.person.email.clone());
    person.address = last(records, Field::Address, |it| it.person.address.clone());
    person.birth_date = last(records, Field::BirthDate, |it| it.person.birth_date);
    person.referrer = last(records, Field::Referrer, |it| it.person.referrer.clone());
    person.custom = custom(records);
    composed.attributes = attributes::compose(records.iter().map(|it| (it.home, &it.attributes, &it.times)), survivor);
    composed
}

/// The times of all fields, of which a version that knew fewer has written the first.
fn all_fields<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<[i64; FIELD_COUNT], D::Error> {
    let written = <Vec<i64> as serde::Deserialize>::deserialize(deserializer)?;
    Ok(std::array::from_fn(|field| written.get(field).copied().unwrap_or_default()))
}

fn last<T>(records: &[Record], field: Field, get: impl Fn(&Record) -> Option<T>) -> Option<T> {
    last_of(records.iter().map(|record| (record.home, record.times.of(field), get(record))))
}

/// Of what records say, what was said last; of equals what is there, and of the lowest home. That a field was emptied is said too.
pub(super) fn last_of<T>(said: impl Iterator<Item = (CustomerId, i64, Option<T>)>) -> Option<T> {
    said.max_by_key(|(home, at, value)| (*at, value.is_some(), Reverse(*home))).and_then(|(_, _, value)| value)
}

/// Of every custom attribute the value that was said last.
fn custom(records: &[Record]) -> CustomValues {
    let mut values: BTreeMap<&String, (i64, Reverse<CustomerId>, &CustomValue)> = BTreeMap::new();
    for record in records {
        for (key, value) in &record.person.custom {
            let said = (record.times.custom.get(key).copied().unwrap_or_default(), Reverse(record.home));
            let last = values.get(key).map(|(at, home, _)| (*at, *home));
            if last.is_none_or(|last| last < said) {
                values.insert(key, (said.0, said.1, value));
            }
        }
    }
    values.into_iter().map(|(key, (_, _, value))| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::StoredCustomer;
    use super::*;
    use proptest::prelude::*;

    fn record(home: u32) -> Record {
        Record {
            home: CustomerId(home),
            identities: Vec::new(),
            person: Person::default(),
            attributes: CustomerAttributes::default(),
            times: FieldTimes::default(),
            created_at: Instant::from_micros(1),
            updated_at: Instant::from_micros(1),
            revision: 1,
            restricted_at: None,
            wrapped_key: Vec::new(),
            is_new: false,
            is_changed: false,
        }
    }

    fn saying(phone: Option<&str>, language: &str) -> CustomerPatch {
        let person = Person { phone: phone.map(str::to_owned), ..Person::default() };
        let attributes = CustomerAttributes { language: language.to_owned(), ..CustomerAttributes::default() };
        CustomerPatch { identities: Vec::new(), person, attributes: Some(attributes) }
    }

    /// Says something to a record that is alone.
    fn say(record: &mut Record, patch: &CustomerPatch, at: Instant) {
        let own = compose(std::slice::from_ref(record), record.home);
        record.merge(patch, &own, at);
    }

    #[test]
    fn of_every_field_what_was_said_last_holds() {
        let (mut one, mut other) = (record(1), record(2));
        say(&mut one, &saying(Some("1"), "en"), Instant::from_micros(10));
        say(&mut other, &saying(Some("2"), ""), Instant::from_micros(20));
        say(&mut one, &saying(None, "fr"), Instant::from_micros(30));
        let composed = compose(&[one.clone(), other.clone()], one.home);
        assert_eq!((composed.person.phone.as_deref(), composed.attributes.language.as_str()), (Some("2"), "fr"));
        assert_eq!(compose(&[other, one.clone()], one.home), composed);
    }

    #[test]
    fn what_comes_at_one_instant_is_said_one_after_the_other() {
        let mut customer = StoredCustomer::of(CustomerId(1), vec![record(1), record(2)]);
        let now = Instant::from_micros(10);
        assert!(customer.merge(&saying(Some("1"), "en"), CustomerId(2), now));
        for phone in ["2", "3", "2"] {
            assert!(customer.merge(&saying(Some(phone), "en"), CustomerId(1), now), "{phone}");
            assert_eq!(customer.person.phone.as_deref(), Some(phone));
            assert!(!customer.merge(&saying(Some(phone), "en"), CustomerId(1), now), "{phone}");
        }
        // By a clock that is behind, too.
        assert!(customer.merge(&saying(Some("4"), "en"), CustomerId(2), Instant::from_micros(1)));
        assert_eq!(customer.person.phone.as_deref(), Some("4"));
    }

    #[test]
    fn a_field_that_was_emptied_stays_empty_and_the_others_keep_theirs() {
        let (mut one, mut other) = (record(1), record(2));
        say(&mut one, &saying(Some("1"), "en"), Instant::from_micros(10));
        say(&mut other, &saying(Some("2"), "de"), Instant::from_micros(20));
        let composed = compose(&[one.clone(), other.clone()], one.home);
        let wanted = Composed { person: Person::default(), ..composed.clone() };
        one.absorb(&composed, (&wanted.person, &wanted.attributes), Instant::from_micros(30));
        assert_eq!(compose(&[one, other.clone()], CustomerId(1)), wanted);
        assert_eq!(other.person.phone.as_deref(), Some("2"));
    }

    proptest! {
        #[test]
        fn the_order_of_records_does_not_show(
            said in prop::collection::vec((0..4_u32, prop::option::of("[1-3]"), "[a-b]{0,1}", 1..50_i64), 1..12),
            turn in 0..4_usize,
        ) {
            let mut records: Vec<_> = (1..=4).map(record).collect();
            for (which, phone, language, at) in said {
                say(&mut records[which as usize], &saying(phone.as_deref(), &language), Instant::from_micros(at));
            }
            let composed = compose(&records, CustomerId(1));
            records.rotate_left(turn);
            prop_assert_eq!(compose(&records, CustomerId(1)), composed);
        }

        #[test]
        fn times_of_a_version_that_knew_fewer_fields_are_those_of_the_first(known in 11..FIELD_COUNT, at in 1..9_i64) {
            let mut fields = [0; FIELD_COUNT];
            fields[..known].fill(at);
            let expected = FieldTimes { fields, custom: BTreeMap::new() };
            let none = CustomValues::new();
            let short = vec![1; known];
            prop_assert_eq!(&FieldTimes::decode(&short, Instant::from_micros(at), &none), &expected);
            let long = serde_json::json!({"fields": vec![at; known], "custom": {}}).to_string();
            prop_assert_eq!(&FieldTimes::decode(long.as_bytes(), Instant::from_micros(99), &none), &expected);
        }

        #[test]
        fn times_survive_their_encoding(fields in prop::array::uniform21(prop::sample::select(vec![0_i64, 5, 7])), plate in 5..8_i64, updated in 5..8_i64) {
            let updated = Instant::from_micros(updated);
            let times = FieldTimes { fields, custom: BTreeMap::from([("plate".to_owned(), plate)]) };
            let value = CustomValue { class: quintile_domain::masking::Sensitivity::None, text: "x".to_owned() };
            let custom = CustomValues::from([("plate".to_owned(), value)]);
            prop_assert_eq!(FieldTimes::decode(&times.encode(updated), updated, &custom), times);
        }
    }
}
