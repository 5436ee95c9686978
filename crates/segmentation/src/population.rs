//! One tenant's customers and live definitions, in memory.
//!
//! Who belongs to what is not stored: it follows from records, definitions and one instant, the same for all. A change of records asks those
//! definitions that have a condition which it turns, before and after it; the passing of time asks those that it can move.

pub mod blocks;
pub mod catalogue;
mod changes;
pub mod clustering;
pub mod definition;
mod entry;
mod evaluation;
pub mod hypothetical;
mod loaded;
pub mod membership;
pub mod merges;
pub mod snapshot;
mod triggers;

use crate::cancellation::Cancellation;
use crate::engine::{Balance, Bitmap, Engine, EngineError};
use crate::fields::{self, Classes, FieldId};
use crate::labels::{self, CellMap};
use crate::own_fields::{self, OwnField};
use catalogue::{Catalogue, CatalogueError, Key, Kind, Live};
pub use changes::{Change, Movement};
use definition::Definition;
pub use entry::Entry;
use evaluation::Customer;
pub use evaluation::Evaluation;
pub use loaded::{LoadedPopulation, Populations};
use membership::Membership;
use merges::Merges;
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Sensitivity;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_expr::{Now, Rule, Schema, ValueRef};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_rpc::scope::Scope;
use snapshot::Labelled;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// The label set that ships, and that the field `label` is of.
pub const LABEL_SET: &str = "rfm-11";

/// Why a population can't take something in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PopulationError {
    /// The engine refuses a customer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Definitions can't be live together.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A built-in rule or schema is wrong.
    #[error("a built-in definition is wrong: {0}")]
    BuiltIn(String),
}

/// A tenant's population.
pub struct Population {
    engine: Engine,
    schema: Schema,
    zone: TimeZone,
    currency: Currency,
    cells: CellMap,
    /// What `label` says, by place in the set.
    label_ids: Vec<String>,
    /// By id from [`own_fields::FIRST_ID`].
    own_fields: Vec<OwnField>,
    definitions: BTreeMap<Key, Definition>,
    catalogue: Catalogue,
    merges: Merges,
    as_of: Instant,
}

impl Population {
    /// A population without customers or definitions but the label set that ships.
    pub fn new(tenant: &Tenant) -> Result<Self, PopulationError> {
        let built_in = |problem: String| PopulationError::BuiltIn(problem);
        let digits = u8::try_from(tenant.currency.minor_digits()).unwrap_or(u8::MAX);
        let schema = fields::schema(digits).map_err(|error| built_in(error.to_string()))?;
        let set = labels::rfm_11();
        let cells = labels::cells(&set, &schema).map_err(|error| built_in(error.to_string()))?;
        let label_ids = set.ids();
        let (rest, ids) = label_ids.split_last().ok_or_else(|| built_in("no label".to_owned()))?;
        debug_assert_eq!(*rest, set.rest.id);
        // The column `label` has the answer of its cells already.
        let rules = ids.iter().map(|id| Rule::parse(&format!("label == {id:?}"), &schema));
        let rules = rules.collect::<Result<Vec<_>, _>>().map_err(|error| built_in(error.to_string()))?;
        let live = Live::label_set(LABEL_SET, 1, &label_ids, Membership::Rules(rules));
        let definition = Definition {
            key: live.key.clone(),
            description: "Eleven labels over the cells of recency, frequency and monetary scores.".to_owned(),
            created_at: Instant::default(),
            revision: 1,
            version: 1,
            live: Some(definition::Body::Labels(set)),
            draft: None,
        };
        Ok(Self {
            engine: Engine::new(),
            schema,
            zone: tenant.zone.clone(),
            currency: tenant.currency,
            cells,
            label_ids,
            own_fields: Vec::new(),
            definitions: BTreeMap::from([(live.key.clone(), definition)]),
            catalogue: Catalogue::new(&[Arc::new(live)])?,
            merges: Merges::default(),
            as_of: Instant::default(),
        })
    }

    /// The fields that rules may use.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The tenant's own fields, by id.
    pub fn own_fields(&self) -> &[OwnField] {
        &self.own_fields
    }

    /// Makes fields known, as they are stored: one that is known already by its source has another class now.
    ///
    /// # Errors
    /// [`PopulationError::BuiltIn`] where a name is another field's.
    pub fn know(&mut self, fields: Vec<OwnField>) -> Result<(), PopulationError> {
        for field in fields {
            match self.own_fields.iter().position(|known| known.source == field.source) {
                Some(known) => self.own_fields[known].sensitivity = field.sensitivity,
                None if self.own_fields.len() < own_fields::MAX_FIELDS => {
                    self.engine.add_field(field.ty);
                    self.own_fields.push(field);
                }
                None => tracing::warn!(name = field.source.name(), "rules can't have one more field"),
            }
        }
        let own = self.own_fields.iter().zip(own_fields::FIRST_ID..).map(|(field, id)| field.field(id));
        let schema = fields::schema_with(self.schema.minor_digits(), own.collect());
        self.schema = schema.map_err(|error| PopulationError::BuiltIn(error.to_string()))?;
        Ok(())
    }

    /// The ids of all fields.
    pub fn field_ids(&self) -> impl Iterator<Item = u16> + use<'_> {
        let own = (own_fields::FIRST_ID..).take(self.own_fields.len());
        FieldId::all().map(FieldId::id).chain(own)
    }

    /// The class that a caller must read in clear to use a field.
    pub fn sensitivity(&self, field: u16) -> Sensitivity {
        let own = field.checked_sub(own_fields::FIRST_ID).and_then(|index| self.own_fields.get(usize::from(index)));
        own.map_or_else(|| fields::sensitivity(field), |own| own.sensitivity)
    }

    /// What rules call a field.
    pub fn field_name(&self, field: u16) -> String {
        let known = self.schema.fields().iter().find(|known| known.id == field);
        known.map_or_else(|| "a field".to_owned(), |known| known.name.to_string())
    }

    /// The classes of the fields that a definition of a catalogue reads, those of what it refers to included.
    pub fn classes(&self, catalogue: &Catalogue, place: usize) -> Classes {
        Classes::of(catalogue.fields_of(place).map(|field| self.sensitivity(field)))
    }

    fn own_values<'a>(&self, record: &'a CustomerRecord) -> Vec<Option<ValueRef<'a>>> {
        self.own_fields.iter().map(|field| field.value(record, self.currency)).collect()
    }

    /// The customers.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The tenant's calendar.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What is live.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// All definitions, live or in preparation.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values()
    }

    /// A definition.
    pub fn definition(&self, key: &Key) -> Option<&Definition> {
        self.definitions.get(key)
    }

    /// Asks something of everybody as of an instant.
    pub fn at<R>(&self, at: Instant, ask: impl FnOnce(&mut Evaluation<'_>) -> R) -> R {
        self.evaluate(&self.catalogue, at, ask)
    }

    fn evaluate<R>(&self, catalogue: &Catalogue, at: Instant, ask: impl FnOnce(&mut Evaluation<'_>) -> R) -> R {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(at.micros(), &local_day);
        ask(&mut Evaluation::new(self.engine.customers(), catalogue, &self.merges, &now, &Cancellation::default()))
    }

    /// The members of every part of a definition under a candidate, in order.
    pub fn under(&self, candidate: &Catalogue, key: &Key) -> Vec<Bitmap> {
        let place = candidate.find(key).map(|(place, _)| place);
        let parts = |place| self.evaluate(candidate, self.as_of, |everybody| everybody.parts(place).to_vec());
        place.map(parts).unwrap_or_default()
    }

    /// Asks something of one customer as of the population's instant. `None`: there is no such customer.
    pub fn of<R>(&self, customer_id: u32, ask: impl FnOnce(&Customer<'_>) -> R) -> Option<R> {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        let row = self.engine.row(customer_id, &|_: &str| None)?;
        Some(ask(&Customer::new((customer_id, self.merges.of(customer_id)), &row, &self.catalogue, &now)))
    }

    /// The members of a segment or label by name. `None`: there is no such thing.
    pub fn members(&self, name: &str) -> Option<Bitmap> {
        let (place, part) = self.catalogue.named(name)?;
        self.at(self.as_of, |everybody| everybody.parts(place).get(part).cloned())
    }

    /// How many members each part of the definition at a place has, in order.
    pub fn counts(&self, place: usize) -> Vec<u64> {
        let count = || self.at(self.as_of, |everybody| everybody.parts(place).iter().map(Bitmap::count).collect());
        self.catalogue.live().get(place).map_or_else(Vec::new, |definition| definition.counts(count))
    }

    /// How many members every segment and label has, by name, and the classes of what was read to know it.
    pub fn sizes(&self) -> Vec<(String, u64, Classes)> {
        let of = |(place, live): (usize, &Arc<Live>)| {
            let names = live.parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>();
            let classes = self.classes(&self.catalogue, place);
            names.into_iter().zip(self.counts(place)).map(move |(name, count)| (name, count, classes))
        };
        self.catalogue.live().iter().enumerate().flat_map(of).collect()
    }

    /// Who has which label, of every set, and the classes of what was read to know it.
    pub fn labelled(&self) -> Vec<(Key, Labelled, Classes)> {
        let sets = self.catalogue.live().iter().enumerate().filter(|(_, live)| live.key.kind == Kind::LabelSet);
        let of = |(place, live): (usize, &Arc<Live>)| {
            (live.key.clone(), self.labels_of(place), self.classes(&self.catalogue, place))
        };
        sets.map(of).collect()
    }

    /// Who has which label of the set at a place.
    pub fn labels_of(&self, place: usize) -> Labelled {
        let parts = self.catalogue.live().get(place).map_or(&[][..], |live| &live.parts);
        let label = |part: &catalogue::Part| part.reference.rsplit('/').next().unwrap_or_default().to_owned();
        let labels = parts.iter().map(label).collect();
        self.at(self.as_of, |everybody| Labelled::new(labels, everybody.parts(place)))
    }

    /// What a customer belongs to: definitions by place, each with its part.
    pub fn memberships(&self, customer_id: u32) -> Vec<(usize, usize)> {
        let places = 0..self.catalogue.live().len();
        let all = |customer: &Customer<'_>| places.filter_map(|place| Some((place, customer.part(place)?))).collect();
        self.of(customer_id, all).unwrap_or_default()
    }

    /// The customers that match a rule at an instant.
    pub fn select(&self, rule: &Rule, at: Instant) -> Bitmap {
        self.at(at, |everybody| everybody.select(rule))
    }

    /// Asks something of everybody as of an instant that is given up when it is cancelled: `None` then.
    pub fn until<R>(
        &self,
        cancellation: &Cancellation,
        at: Instant,
        ask: impl FnOnce(&mut Evaluation<'_>) -> R,
    ) -> Option<R> {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(at.micros(), &local_day);
        let found =
            ask(&mut Evaluation::new(self.engine.customers(), &self.catalogue, &self.merges, &now, cancellation));
        (!cancellation.is_cancelled()).then_some(found)
    }

    /// Roughly how many bytes of columns a count of those who match a rule reads, those of what it refers to included.
    pub fn cost(&self, rule: &Rule) -> usize {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        let referred = self.catalogue.places_referred(std::slice::from_ref(rule)).into_iter();
        let rules = referred.flat_map(|place| self.catalogue.live()[place].rules()).chain([rule]);
        rules.map(|rule| self.engine.cost(rule, &now)).sum()
    }

    /// The customers that a caller reaches. `None`: all.
    pub fn reached(&self, scope: Option<&Scope>) -> Option<Bitmap> {
        scope.map(|scope| self.select(scope.rule(), self.as_of))
    }

    /// Whether a caller reaches a customer.
    pub fn reaches(&self, scope: Option<&Scope>, customer_id: u32) -> bool {
        scope.is_none_or(|scope| self.of(customer_id, |customer| customer.matches(scope.rule())).unwrap_or(false))
    }

    /// Whether there is such a customer.
    pub fn contains(&self, customer_id: u32) -> bool {
        self.engine.present().contains(customer_id)
    }

    /// The numbers of those who were merged into a customer.
    pub fn merged_into(&self, customer_id: u32) -> &[u32] {
        self.merges.of(customer_id)
    }

    /// The instant that members are told for.
    pub fn as_of(&self) -> Instant {
        self.as_of
    }

    /// Sets the instant before anything is in.
    pub fn begin_at(&mut self, as_of: Instant) {
        self.as_of = as_of;
    }

    /// Makes room for customers with numbers up to this one.
    pub fn reserve(&mut self, highest: u32) -> Result<(), PopulationError> {
        Ok(self.engine.reserve(highest)?)
    }

    /// A record, ready to be compared and taken in.
    pub fn entry(&self, record: CustomerRecord) -> Entry {
        let scores = record.scores.as_ref();
        let score = |score: Option<i32>| {
            score.and_then(|score| u8::try_from(score).ok()).filter(|score| (1..=5).contains(score))
        };
        let label = self.label_of([
            score(scores.map(|scores| scores.recency)),
            score(scores.map(|scores| scores.frequency)),
            score(scores.map(|scores| scores.monetary)),
        ]);
        Entry { label: label.to_owned(), record }
    }

    /// What `label` says of scores of the RFM model; none of them: it is missing.
    fn label_of(&self, scores: [Option<u8>; 3]) -> &str {
        let place = match scores {
            [Some(r), Some(f), Some(m)] => self.cells.label(r, f, m),
            _ => self.cells.rest(),
        };
        self.label_ids.get(usize::from(place)).map_or("", String::as_str)
    }

    /// Takes an entry in, with what [`Population::changes`] said of it.
    pub fn take(&mut self, entry: &Entry, changes: &[Change]) -> Result<(), PopulationError> {
        let customer_id = u32::try_from(entry.record.customer_id).unwrap_or(0);
        let own = self.own_values(&entry.record);
        let customer = crate::engine::Customer { own: &own, ..entry.customer(self.currency, &self.zone) };
        self.engine.apply(customer_id, Some(&customer))?;
        self.merges.set(customer_id, merges::merged_of(&entry.record));
        let no_segments = |_: &str| None;
        if let Some(row) = self.engine.row(customer_id, &no_segments) {
            let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
            self.catalogue.clusters().for_each(|clusters| clusters.note(customer_id, &row, &local_day));
        }
        self.note(changes);
        Ok(())
    }

    /// Removes a customer, with what [`Population::removal`] said of it.
    pub fn remove_customer(&mut self, customer_id: u32, changes: &[Change]) -> Result<(), PopulationError> {
        self.engine.apply(customer_id, None)?;
        self.merges.set(customer_id, Vec::new());
        self.note(changes);
        Ok(())
    }

    fn note(&self, changes: &[Change]) {
        for change in changes {
            self.count(&change.parent, 1, change.entered);
        }
    }

    fn count(&self, name: &str, customers: u64, entered: bool) {
        if let Some((place, part)) = self.catalogue.named(name)
            && let Some(definition) = self.catalogue.live().get(place)
        {
            definition.count(part, customers, entered);
        }
    }

    /// Notes that time has passed to `to`, with what [`Population::changes_by_time`] said of it.
    pub fn pass_time(&mut self, to: Instant, movements: &[Movement]) {
        for movement in movements {
            self.count(&movement.parent, movement.customers.count(), movement.entered);
        }
        self.as_of = self.as_of.max(to);
    }

    /// Puts all stored definitions in place, with what is live of them.
    pub fn define(&mut self, definitions: Vec<Definition>, live: Vec<Live>) -> Result<(), PopulationError> {
        let built_in = self.catalogue.live().iter().cloned();
        let all: Vec<_> = built_in.chain(live.into_iter().map(Arc::new)).collect();
        self.catalogue = Catalogue::new(&all).or_else(|_| Catalogue::of_those_that_can(&all))?;
        self.definitions.extend(definitions.into_iter().map(|definition| (definition.key.clone(), definition)));
        Ok(())
    }

    /// What would be live with a definition in place of the one of its key, or without it.
    pub fn candidate(&self, key: &Key, live: Option<Live>) -> Result<Catalogue, CatalogueError> {
        self.catalogue.with(key, live)
    }

    /// Puts a definition in place of the one of its key, or takes it away; with what is live then, if that has changed.
    pub fn redefine(&mut self, key: Key, definition: Option<Definition>, catalogue: Option<Catalogue>) {
        if let Some(catalogue) = catalogue {
            for place in catalogue.referring(&key) {
                catalogue.live()[place].forget_counts();
            }
            self.catalogue = catalogue;
        }
        match definition {
            Some(definition) => drop(self.definitions.insert(key, definition)),
            None => drop(self.definitions.remove(&key)),
        }
    }

    /// Takes customers who were erased off all lists: they never come back, and a list that is written anew must not have them.
    pub fn take_off_lists(&mut self, erased: &[CustomerId]) {
        let numbers: Vec<u32> = erased.iter().map(|customer| customer.0).collect();
        self.catalogue.take_off_lists(&numbers);
    }

    /// Fits the columns to their values after a load.
    pub fn rebalance(&mut self) {
        self.engine.rebalance();
    }

    /// Fits one column to its values, as [`Engine::balance`] found them to be.
    pub fn put_balance(&mut self, column: usize, balance: Balance) {
        self.engine.put_balance(column, balance);
    }
}

#[cfg(test)]
mod tests;
