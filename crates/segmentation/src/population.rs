//! One tenant's customers and live segments, in memory.
//!
//! The members of every segment and label are kept as they are at one instant, the same for all. A change of records moves single
//! bits; the passing of time evaluates the rules that depend on it anew and compares.

mod entry;

use crate::engine::{Bitmap, Customer, Engine, EngineError};
use crate::fields::{self, Classes, FieldId};
use crate::labels::{self, CellMap, LabelSet};
pub use entry::Entry;
use parking_lot::{Mutex, RwLock};
use quintile_domain::ids::TenantId;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use quintile_expr::{Node, Now, Operand, Row, Rule, Schema, ValueRef};
use quintile_proto::segmentation::MembershipCause;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_rpc::scope::Scope;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use thiserror::Error;

/// The label set that ships.
pub const LABEL_SET: &str = "rfm-11";

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
    /// The classes of fields that the segment's rule reads, those of the segments that it refers to included. None for a label.
    pub classes: Classes,
}

/// Why a population can't take something in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PopulationError {
    /// The engine refuses a customer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A built-in rule or schema is wrong.
    #[error("a built-in definition is wrong: {0}")]
    BuiltIn(String),
}

/// A live segment.
pub struct LiveSegment {
    /// The id: the last part of its name.
    pub id: String,
    /// Its rule.
    pub rule: Rule,
    /// What it is for.
    pub description: String,
    /// When it was saved. Machine time.
    pub created_at: Instant,
    /// Grows with every change of the definition.
    pub revision: i64,
    /// The classes of fields that the rule reads, as [`Population::classes_read`] tells them.
    pub classes: Classes,
    /// Its members at the population's instant.
    pub members: Bitmap,
}

impl LiveSegment {
    /// The resource name.
    pub fn name(&self) -> String {
        format!("segments/{}", self.id)
    }
}

/// A tenant's population.
pub struct Population {
    engine: Engine,
    schema: Schema,
    zone: TimeZone,
    currency: Currency,
    label_set: LabelSet,
    cells: CellMap,
    label_rules: Vec<Rule>,
    /// In the order of definition: a segment stands behind those that it refers to.
    segments: Vec<LiveSegment>,
    as_of: Instant,
}

impl Population {
    /// A population without customers or segments.
    pub fn new(tenant: &Tenant) -> Result<Self, PopulationError> {
        let built_in = |problem: String| PopulationError::BuiltIn(problem);
        let digits = u8::try_from(tenant.currency.minor_digits()).unwrap_or(u8::MAX);
        let schema = fields::schema(digits).map_err(|error| built_in(error.to_string()))?;
        let label_set = labels::rfm_11();
        let cells = labels::prove(&label_set).map_err(|error| built_in(error.to_string()))?;
        let mut label_rules = Vec::new();
        for index in 0..=label_set.labels.len() {
            let source = format!("label == {:?}", label_set.id_at(index as u8));
            label_rules.push(Rule::parse(&source, &schema).map_err(|error| built_in(error.to_string()))?);
        }
        let (zone, currency) = (tenant.zone.clone(), tenant.currency);
        let (engine, as_of) = (Engine::new(), Instant::default());
        Ok(Self { engine, schema, zone, currency, label_set, cells, label_rules, segments: Vec::new(), as_of })
    }

    /// The fields that rules may use.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The label set.
    pub fn label_set(&self) -> &LabelSet {
        &self.label_set
    }

    /// The customers.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The live segments, each behind those that it refers to.
    pub fn segments(&self) -> &[LiveSegment] {
        &self.segments
    }

    /// A live segment by id.
    pub fn segment(&self, id: &str) -> Option<&LiveSegment> {
        self.segments.iter().find(|segment| segment.id == id)
    }

    /// The name of a label by its place in the set; the default behind all others.
    pub fn label_name(&self, index: usize) -> String {
        label_name(self.label_set.id_at(index as u8))
    }

    /// The members of every label, in the order of the set, the default last.
    pub fn label_members(&self) -> Vec<Bitmap> {
        self.label_rules.iter().map(|rule| self.select(rule, self.as_of)).collect()
    }

    /// The members that every label would have, in the same order, by the cells of customers from number 1 on: 0 for who has none, else 1
    /// plus its place. Of the customers that there are.
    pub fn label_members_by(&self, cells: &[u8]) -> Vec<Bitmap> {
        let mut members = vec![Bitmap::new(); self.label_rules.len()];
        for customer in self.engine.present() {
            let cell = customer.checked_sub(1).and_then(|index| cells.get(index as usize)).copied().unwrap_or(0);
            members[usize::from(self.cells.label_at(cell.checked_sub(1)))].set(customer);
        }
        members
    }

    /// The members of a segment or label by name. `None`: there is no such thing.
    pub fn members(&self, parent: &str) -> Option<Bitmap> {
        if let Some(id) = parent.strip_prefix("segments/") {
            return self.segment(id).map(|segment| segment.members.clone());
        }
        let index = self.label_index(parent)?;
        Some(self.select(&self.label_rules[index], self.as_of))
    }

    /// Whether there is a label of this name.
    pub fn is_label(&self, name: &str) -> bool {
        self.label_index(name).is_some()
    }

    fn label_index(&self, name: &str) -> Option<usize> {
        (0..self.label_rules.len()).find(|index| self.label_name(*index) == name)
    }

    /// The customers that match a rule at an instant.
    pub fn select(&self, rule: &Rule, at: Instant) -> Bitmap {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let segments = |id: &str| self.segment(id).map(|segment| &segment.members);
        self.engine.select(rule, &Now::new(at.micros(), &local_day), &segments)
    }

    /// The fields that a rule reads, those of the segments that it refers to included: a rule written by somebody else does not
    /// launder a field.
    pub fn fields_read(&self, rule: &Rule) -> BTreeSet<u16> {
        let of_segments = self.referred(rule).into_iter().flat_map(|segment| segment.rule.fields());
        rule.fields().iter().chain(of_segments).copied().collect()
    }

    /// Whether time alone can change who matches a rule, be it through the segments that it refers to.
    pub fn depends_on_time(&self, rule: &Rule) -> bool {
        rule.depends_on_time() || self.referred(rule).into_iter().any(|segment| segment.rule.depends_on_time())
    }

    /// The segments that a rule refers to, and those that they refer to, each once: they are many ways to one.
    fn referred<'a>(&'a self, rule: &'a Rule) -> Vec<&'a LiveSegment> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut pending: Vec<&str> = rule.references().iter().map(String::as_str).collect();
        while let Some(id) = pending.pop() {
            if let Some(segment) = self.segment(id).filter(|_| seen.insert(id)) {
                pending.extend(segment.rule.references().iter().map(String::as_str));
                found.push(segment);
            }
        }
        found
    }

    /// The customers that a caller reaches. `None`: all.
    pub fn reached(&self, scope: Option<&Scope>) -> Option<Bitmap> {
        scope.map(|scope| self.select(scope.rule(), self.as_of))
    }

    /// Whether a caller reaches a customer.
    pub fn reaches(&self, scope: Option<&Scope>, customer_id: u32) -> bool {
        let no_segments = |_: &str| None;
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let row = self.engine.row(customer_id, &no_segments);
        let holds = |scope: &Scope| {
            row.as_ref().is_some_and(|row| scope.rule().matches(row, &Now::new(self.as_of.micros(), &local_day)))
        };
        scope.is_none_or(holds)
    }

    /// Whether there is such a customer.
    pub fn contains(&self, customer_id: u32) -> bool {
        self.engine.row(customer_id, &|_: &str| None).is_some()
    }

    /// The classes of the fields that a rule reads, transitively.
    pub fn classes_read(&self, rule: &Rule) -> Classes {
        Classes::of(self.fields_read(rule))
    }

    /// The instant that members are kept for.
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
        let (r, f, m) = (
            score(scores.map(|scores| scores.recency)),
            score(scores.map(|scores| scores.frequency)),
            score(scores.map(|scores| scores.monetary)),
        );
        let index = match (r, f, m) {
            (Some(r), Some(f), Some(m)) => self.cells.label(r, f, m),
            _ => self.label_set.labels.len() as u8,
        };
        Entry { record, label: self.label_set.id_at(index).to_owned() }
    }

    /// What taking in an entry changes, at the population's instant. Nothing is changed yet.
    pub fn changes(&self, entry: &Entry) -> Vec<Change> {
        let Ok(customer_id) = u32::try_from(entry.record.customer_id) else { return Vec::new() };
        let no_segments = |_: &str| None;
        let before = self.engine.row(customer_id, &no_segments);
        let label_before = before.as_ref().and_then(|row| match row.value(FieldId::Label.id()) {
            Some(ValueRef::Text(label)) => Some(label.to_owned()),
            _ => None,
        });
        let customer = entry.customer(self.currency, &self.zone);
        let cause = Self::cause(before.as_ref().map(|row| row as &dyn Row), &customer);
        let valid_at = entry.computed_at().max(self.as_of);
        let change =
            |parent: String, entered: bool, classes| Change { parent, customer_id, entered, valid_at, cause, classes };
        let label = |id: &str, entered| change(label_name(id), entered, Classes::default());
        let mut changes = Vec::new();
        if label_before.as_deref() != Some(entry.label.as_str()) {
            changes.extend(label_before.map(|before| label(&before, false)));
            changes.push(label(&entry.label, true));
        }
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        let mut memberships = HashMap::new();
        for segment in &self.segments {
            let candidate = Candidate { customer: &customer, memberships: &memberships };
            let is_member = segment.rule.matches(&candidate, &now);
            memberships.insert(segment.id.as_str(), is_member);
            if is_member != segment.members.contains(customer_id) {
                changes.push(change(segment.name(), is_member, segment.classes));
            }
        }
        changes
    }

    /// What removing a customer changes: it leaves its label and its segments. Nothing is changed yet.
    pub fn removal(&self, customer_id: u32) -> Vec<Change> {
        let label = match self.engine.row(customer_id, &|_: &str| None) {
            Some(row) => match row.value(FieldId::Label.id()) {
                Some(ValueRef::Text(label)) => Some((label_name(label), Classes::default())),
                _ => None,
            },
            None => None,
        };
        let segments = self.segments.iter().filter(|segment| segment.members.contains(customer_id));
        let (valid_at, cause) = (self.as_of, MembershipCause::Removal);
        let parents = label.into_iter().chain(segments.map(|segment| (segment.name(), segment.classes)));
        let change = |(parent, classes)| Change { parent, customer_id, entered: false, valid_at, cause, classes };
        parents.map(change).collect()
    }

    /// Removes a customer, with what [`Population::removal`] said of it.
    pub fn remove_customer(&mut self, customer_id: u32, changes: &[Change]) -> Result<(), PopulationError> {
        self.engine.apply(customer_id, None)?;
        self.note(changes);
        Ok(())
    }

    /// Time is the cause of what changes while every fact stays what it was.
    fn cause(before: Option<&dyn Row>, customer: &Customer<'_>) -> MembershipCause {
        let Some(before) = before else { return MembershipCause::Record };
        let is_fact = |field: &FieldId| matches!(field, FieldId::LastOrderAt | FieldId::Orders) || field.is_attribute();
        let is_same = |field: FieldId| before.value(field.id()) == customer.value(field);
        if FieldId::all().filter(is_fact).all(is_same) { MembershipCause::Time } else { MembershipCause::Record }
    }

    /// Takes an entry in, with what [`Population::changes`] said of it.
    pub fn take(&mut self, entry: &Entry, changes: &[Change]) -> Result<(), PopulationError> {
        let customer_id = u32::try_from(entry.record.customer_id).unwrap_or(0);
        self.engine.apply(customer_id, Some(&entry.customer(self.currency, &self.zone)))?;
        self.note(changes);
        Ok(())
    }

    /// Moves the bits of segments that changes speak of.
    pub fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let segment = self.segments.iter_mut().find(|segment| segment.name() == change.parent);
            if let Some(segment) = segment {
                if change.entered {
                    segment.members.set(change.customer_id);
                } else {
                    segment.members.clear(change.customer_id);
                }
            }
        }
    }

    /// What the passing of time to `to` changes. Nothing is changed yet.
    pub fn changes_by_time(&self, to: Instant) -> Vec<Change> {
        let new_day = self.zone.local_day(to) != self.zone.local_day(self.as_of);
        let mut members: HashMap<&str, Bitmap> = HashMap::new();
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(to.micros(), &local_day);
        let mut changes = Vec::new();
        for segment in &self.segments {
            let turns = (segment.rule.depends_on_time() && (new_day || compares_with_now(segment.rule.root())))
                || segment.rule.references().iter().any(|id| members.contains_key(id.as_str()));
            if !turns {
                continue;
            }
            let lookup = |id: &str| members.get(id).or_else(|| self.segment(id).map(|segment| &segment.members));
            let after = self.engine.select(&segment.rule, &now, &lookup);
            let valid_at = if compares_with_now(segment.rule.root()) {
                to
            } else {
                // Days turn at midnight, whenever it is that we look.
                self.zone.start_of_day(self.zone.local_day(to)).max(self.as_of.plus_micros(1)).min(to)
            };
            let parent = segment.name();
            changes.extend(segment.members.xor(&after).iter().map(|customer_id| Change {
                parent: parent.clone(),
                customer_id,
                entered: after.contains(customer_id),
                valid_at,
                cause: MembershipCause::Time,
                classes: segment.classes,
            }));
            members.insert(&segment.id, after);
        }
        changes
    }

    /// Notes that time has passed to `to`, with what [`Population::changes_by_time`] said of it.
    pub fn pass_time(&mut self, to: Instant, changes: &[Change]) {
        self.note(changes);
        self.as_of = self.as_of.max(to);
    }

    /// Adds a segment with its members as of the population's instant.
    pub fn add(&mut self, mut segment: LiveSegment) {
        segment.members = self.select(&segment.rule, self.as_of);
        self.segments.push(segment);
    }

    /// Removes a segment.
    pub fn remove(&mut self, id: &str) {
        self.segments.retain(|segment| segment.id != id);
    }

    /// Fits the columns to their values after a load.
    pub fn rebalance(&mut self) {
        self.engine.rebalance();
    }
}

fn label_name(id: &str) -> String {
    format!("labelSets/{LABEL_SET}/labels/{id}")
}

/// Whether a rule compares an instant with the present one, and so turns at any instant, not only at midnight.
fn compares_with_now(node: &Node) -> bool {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(compares_with_now),
        Node::Not(node) => compares_with_now(node),
        Node::Compare { with, .. } => matches!(with, Operand::Now),
        _ => false,
    }
}

/// A customer with the memberships that it will have.
struct Candidate<'a> {
    customer: &'a Customer<'a>,
    memberships: &'a HashMap<&'a str, bool>,
}

impl Row for Candidate<'_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        self.customer.value(FieldId::from_id(field)?)
    }

    fn in_segment(&self, name: &str) -> bool {
        self.memberships.get(name).copied().unwrap_or(false)
    }
}

/// The loaded populations. Definitions and records change under `changing`, one after the other; reads only take the inner lock,
/// and never while waiting for a database.
#[derive(Clone, Default)]
pub struct Populations(Arc<Mutex<HashMap<TenantId, LoadedPopulation>>>);

/// A tenant's population, ready to be read.
#[derive(Clone)]
pub struct LoadedPopulation {
    /// The population.
    pub population: Arc<RwLock<Population>>,
    /// Held by whoever changes it, from reading what to change to having written it down.
    pub changing: Arc<tokio::sync::Mutex<()>>,
}

impl Populations {
    /// A tenant's population. `None`: it is not loaded yet.
    pub fn of(&self, tenant: TenantId) -> Option<LoadedPopulation> {
        self.0.lock().get(&tenant).cloned()
    }

    /// Puts a loaded population in place.
    pub fn put(&self, tenant: TenantId, population: Population) -> LoadedPopulation {
        let loaded = LoadedPopulation { population: Arc::new(RwLock::new(population)), changing: Arc::default() };
        self.0.lock().insert(tenant, loaded.clone());
        loaded
    }
}

#[cfg(test)]
mod tests;
