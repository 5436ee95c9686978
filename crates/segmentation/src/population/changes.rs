//! What moves customers: their records, the passing of time, and definitions that are made, changed or taken away.

use super::catalogue::{Catalogue, Key, Part};
use super::membership::Turns;
use super::merges;
use super::triggers::Changed;
use super::{Customer, Entry, Evaluation, Population};
use crate::engine::Bitmap;
use crate::fields::{Classes, FieldId};
use quintile_domain::time::Instant;
use quintile_expr::{Now, Row};
use quintile_proto::segmentation::MembershipCause;
use std::collections::{BTreeSet, HashMap};

/// A change of membership, before it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The segment or label, by name.
    pub parent: String,
    /// The customer's number.
    pub customer_id: u32,
    /// Whether the customer entered.
    pub entered: bool,
    /// From when it is true.
    pub valid_at: Instant,
    /// Why.
    pub cause: MembershipCause,
    /// The classes of fields that the rule reads, those of what it refers to included.
    pub classes: Classes,
}

/// Customers who enter or leave something together, before it is written down.
#[derive(Clone, Debug)]
pub struct Movement {
    /// The segment or label, by name.
    pub parent: String,
    /// Who. Somebody.
    pub customers: Bitmap,
    /// Whether they entered.
    pub entered: bool,
    /// From when it is true.
    pub valid_at: Instant,
    /// Why.
    pub cause: MembershipCause,
    /// As in [`Change`].
    pub classes: Classes,
}

/// The members of a part before and after.
struct Moved<'a> {
    parent: &'a str,
    before: &'a Bitmap,
    after: &'a Bitmap,
    valid_at: Instant,
    cause: MembershipCause,
    classes: Classes,
}

impl Moved<'_> {
    /// Those who leave, and those who enter.
    fn movements(&self) -> impl Iterator<Item = Movement> + use<> {
        let (left, entered) = (self.before.and_not(self.after), self.after.and_not(self.before));
        let (parent, valid_at, cause, classes) = (self.parent.to_owned(), self.valid_at, self.cause, self.classes);
        let movement = move |(customers, entered)| Movement {
            parent: parent.clone(),
            customers,
            entered,
            valid_at,
            cause,
            classes,
        };
        [(left, false), (entered, true)].into_iter().filter(|(customers, _)| !customers.is_empty()).map(movement)
    }
}

impl Population {
    /// What taking in an entry changes, at the population's instant. Nothing is changed yet.
    pub fn changes(&self, entry: &Entry) -> Vec<Change> {
        let Ok(number) = u32::try_from(entry.record.customer_id) else { return Vec::new() };
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        let no_segments = |_: &str| None;
        let own = self.own_values(&entry.record);
        let values = crate::engine::Customer { own: &own, ..entry.customer(self.currency, &self.zone) };
        let (row_before, row_after) = (self.engine.row(number, &no_segments), values.row(number, &no_segments));
        let before =
            row_before.as_ref().map(|row| Customer::new((number, self.merges.of(number)), row, &self.catalogue, &now));
        let merged = merges::merged_of(&entry.record);
        let after = Customer::new((number, &merged), &row_after, &self.catalogue, &now);
        let (moved, cause) = match &row_before {
            Some(row) if merged == self.merges.of(number) => {
                let changed = self.field_ids().map(|field| (field, row.value(field), values.value_of(field)));
                let changed: Vec<Changed<'_>> = changed.filter(|(_, before, after)| before != after).collect();
                let cause = cause(changed.iter().map(|(field, ..)| *field));
                (self.catalogue.moved_by(changed, &now), cause)
            }
            // Who was merged or parted is another on lists, which no field tells.
            _ => ((0..self.catalogue.live().len()).collect(), MembershipCause::Record),
        };
        let valid_at = entry.computed_at().max(self.as_of);
        let mut changes = Vec::new();
        for place in moved {
            let from = before.as_ref().and_then(|customer| customer.part(place));
            let to = after.part(place);
            if from != to {
                let definition = &self.catalogue.live()[place];
                let change = |part: usize, entered| Change {
                    parent: definition.parts[part].name.clone(),
                    customer_id: number,
                    entered,
                    valid_at,
                    cause,
                    classes: self.classes(&self.catalogue, place),
                };
                changes.extend(from.map(|part| change(part, false)));
                changes.extend(to.map(|part| change(part, true)));
            }
        }
        changes
    }

    /// What removing a customer changes: it leaves all that it belongs to. Nothing is changed yet.
    pub fn removal(&self, customer_id: u32) -> Vec<Change> {
        let change = |(place, part): (usize, usize)| {
            let definition = &self.catalogue.live()[place];
            Change {
                parent: definition.parts[part].name.clone(),
                customer_id,
                entered: false,
                valid_at: self.as_of,
                cause: MembershipCause::Removal,
                classes: self.classes(&self.catalogue, place),
            }
        };
        self.memberships(customer_id).into_iter().map(change).collect()
    }

    /// What the passing of time to `to` changes. Nothing is changed yet.
    pub fn changes_by_time(&self, to: Instant) -> Vec<Movement> {
        let new_day = self.zone.local_day(to) != self.zone.local_day(self.as_of);
        let turning = self.catalogue.turning(if new_day { Turns::Daily } else { Turns::Always });
        let turning: Vec<usize> = turning.collect();
        if turning.is_empty() || to <= self.as_of {
            return Vec::new();
        }
        // Days turn at midnight, whenever it is that we look.
        let midnight = self.zone.start_of_day(self.zone.local_day(to)).max(self.as_of.plus_micros(1)).min(to);
        self.at(self.as_of, |before| {
            self.at(to, |after| {
                let mut movements = Vec::new();
                for place in turning {
                    let definition = &self.catalogue.live()[place];
                    let valid_at = if self.catalogue.turns(place) == Turns::Always { to } else { midnight };
                    let pairs = before.parts(place).iter().zip(after.parts(place)).zip(&definition.parts);
                    movements.extend(exits_first(pairs.map(|((before, after), part)| Moved {
                        parent: &part.name,
                        before,
                        after,
                        valid_at,
                        cause: MembershipCause::Time,
                        classes: self.classes(&self.catalogue, place),
                    })));
                }
                movements
            })
        })
    }

    /// Who enters and who leaves what when a candidate takes the place of what is live, as it is with a definition of this key: also of what
    /// refers to it. Nothing is changed yet.
    pub fn changes_by_definition(&self, key: &Key, candidate: &Catalogue) -> Vec<Movement> {
        let dependents = |catalogue: &Catalogue| -> Vec<Key> {
            catalogue.referring(key).into_iter().map(|place| catalogue.live()[place].key.clone()).collect()
        };
        let mut keys = vec![key.clone()];
        let others: BTreeSet<Key> = dependents(&self.catalogue).into_iter().chain(dependents(candidate)).collect();
        keys.extend(others);
        self.at(self.as_of, |before| {
            self.evaluate(candidate, self.as_of, |after| {
                let mut movements = Vec::new();
                for key in &keys {
                    let before = self.parts_of(&self.catalogue, key, before);
                    let after = self.parts_of(candidate, key, after);
                    movements.extend(self.moved_parts(&before, &after));
                }
                movements
            })
        })
    }

    fn parts_of<'a>(&self, catalogue: &'a Catalogue, key: &Key, everybody: &'a mut Evaluation<'_>) -> Parts<'a> {
        let Some((place, live)) = catalogue.find(key) else { return Parts::default() };
        Parts { parts: &live.parts, members: everybody.parts(place), classes: self.classes(catalogue, place) }
    }

    /// By name: a label may have another place than it had.
    fn moved_parts(&self, before: &Parts<'_>, after: &Parts<'_>) -> Vec<Movement> {
        let nobody = Bitmap::new();
        let (old, new): (HashMap<_, _>, HashMap<_, _>) = (before.members().collect(), after.members().collect());
        let gone = before.members().map(|(name, _)| name).filter(|name| !new.contains_key(name));
        let moved = gone.chain(after.members().map(|(name, _)| name)).map(|name| Moved {
            parent: name,
            before: old.get(name).copied().unwrap_or(&nobody),
            after: new.get(name).copied().unwrap_or(&nobody),
            valid_at: self.as_of,
            cause: MembershipCause::Definition,
            // Whoever leaves one and does not enter the other tells of both.
            classes: before.classes.and(after.classes),
        });
        exits_first(moved)
    }
}

/// The parts of a definition and who belongs to each; none of what is not there.
#[derive(Default)]
struct Parts<'a> {
    parts: &'a [Part],
    members: &'a [Bitmap],
    classes: Classes,
}

impl<'a> Parts<'a> {
    fn members(&self) -> impl Iterator<Item = (&'a str, &'a Bitmap)> + use<'a> {
        self.parts.iter().map(|part| part.name.as_str()).zip(self.members)
    }
}

/// Of the parts of one definition: nobody is told to have two labels at once.
fn exits_first<'a>(moved: impl Iterator<Item = Moved<'a>>) -> Vec<Movement> {
    let (entered, mut left): (Vec<_>, Vec<_>) =
        moved.flat_map(|moved| moved.movements()).partition(|movement| movement.entered);
    left.extend(entered);
    left
}

/// Time is the cause of what changes while every fact stays what it was.
fn cause(mut changed: impl Iterator<Item = u16>) -> MembershipCause {
    let is_fact = |field: FieldId| field.is_attribute() || field.is_lifetime();
    if changed.any(|field| FieldId::from_id(field).is_some_and(is_fact)) {
        MembershipCause::Record
    } else {
        MembershipCause::Time
    }
}
