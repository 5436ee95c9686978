//! What is live of a tenant's definitions, each behind those that it refers to, and who has to be asked when a field changes.

use super::clustering::Clusters;
use super::membership::{Membership, Turns, turns_of_rule};
use super::triggers::{Changed, Triggers};
use crate::labels::Proof;
use parking_lot::Mutex;
use quintile_expr::{Now, Rule};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// How deep definitions may refer to one another.
pub const MAX_REFERENCES: usize = 32;

/// What a definition is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One set of customers.
    Segment,
    /// Labels, one of which every customer has.
    LabelSet,
}

/// What a definition is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is of.
    pub kind: Kind,
    /// The last part of its name.
    pub id: String,
}

impl Key {
    /// The key of a segment.
    pub fn segment(id: &str) -> Self {
        Self { kind: Kind::Segment, id: id.to_owned() }
    }

    /// The key of a label set.
    pub fn label_set(id: &str) -> Self {
        Self { kind: Kind::LabelSet, id: id.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Segment => write!(f, "segments/{}", self.id),
            Kind::LabelSet => write!(f, "labelSets/{}", self.id),
        }
    }
}

/// A part of a definition: a segment is its only one, a label set has one for each label and one for everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its resource name.
    pub name: String,
    /// What rules call it in `segment("…")`.
    pub reference: String,
}

/// A definition that is live.
#[derive(Debug)]
pub struct Live {
    /// What it is known by.
    pub key: Key,
    /// The version of the definition, from 1.
    pub version: i64,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// How it is decided which part somebody belongs to.
    pub membership: Membership,
    /// Members by part, once somebody has asked; kept up from then on.
    counts: Mutex<Option<Vec<u64>>>,
    /// What was proved of a label set, once somebody has asked.
    proof: OnceLock<Proof>,
}

impl Live {
    /// A segment.
    pub fn segment(id: &str, version: i64, membership: Membership) -> Self {
        let part = Part { name: format!("segments/{id}"), reference: id.to_owned() };
        Self::new(Key::segment(id), version, vec![part], membership)
    }

    /// A label set, the last label of which everybody has whom its rules or clusters do not find: there is one less of these.
    pub fn label_set(id: &str, version: i64, labels: &[String], membership: Membership) -> Self {
        let part = |label: &String| Part {
            name: format!("labelSets/{id}/labels/{label}"),
            reference: format!("{id}/{label}"),
        };
        Self::new(Key::label_set(id), version, labels.iter().map(part).collect(), membership)
    }

    fn new(key: Key, version: i64, parts: Vec<Part>, membership: Membership) -> Self {
        Self { key, version, parts, membership, counts: Mutex::new(None), proof: OnceLock::new() }
    }

    /// The rules that it reads.
    pub fn rules(&self) -> &[Rule] {
        self.membership.rules()
    }

    /// The part that those have whom no rule finds.
    pub fn rest(&self) -> Option<usize> {
        (self.key.kind == Kind::LabelSet).then(|| self.parts.len().saturating_sub(1))
    }

    /// Members by part, found out by `count` when nobody has asked before.
    pub fn counts(&self, count: impl FnOnce() -> Vec<u64>) -> Vec<u64> {
        self.counts.lock().get_or_insert_with(count).clone()
    }

    /// What was proved of it, found out by `prove` when nobody has asked before.
    pub fn proof(&self, prove: impl FnOnce() -> Proof) -> &Proof {
        self.proof.get_or_init(prove)
    }

    /// Notes that members of a part have become more or fewer.
    pub fn count(&self, part: usize, customers: u64, entered: bool) {
        if let Some(count) = self.counts.lock().as_mut().and_then(|counts| counts.get_mut(part)) {
            *count = if entered { count.saturating_add(customers) } else { count.saturating_sub(customers) };
        }
    }

    /// Has the members counted anew when somebody asks.
    pub fn forget_counts(&self) {
        *self.counts.lock() = None;
    }

    fn references(&self) -> BTreeSet<&str> {
        self.rules().iter().flat_map(|rule| rule.references().iter().map(String::as_str)).collect()
    }
}

/// Why definitions can't be live together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CatalogueError {
    /// It refers, by way of others, to itself.
    #[error("{0} would refer to itself")]
    Cycle(Key),
    /// Too many refer to one another in a row.
    #[error("definitions may refer to one another {MAX_REFERENCES} deep")]
    TooDeep,
}

/// What follows from a definition and from those that it refers to.
struct Dependence {
    turns: Turns,
    /// The places of the definitions that refer to it, by way of others too: ascending.
    referring: Vec<usize>,
    /// Of the definitions that it refers to, by way of others too, the places: ascending.
    referred: Vec<usize>,
    fields: BTreeSet<u16>,
}

/// The live definitions of a tenant.
#[derive(Default)]
pub struct Catalogue {
    live: Vec<Arc<Live>>,
    dependences: Vec<Dependence>,
    place_of: HashMap<Key, usize>,
    part_of: HashMap<String, (usize, usize)>,
    part_named: HashMap<String, (usize, usize)>,
    triggers: Triggers,
    /// The places of those that are clusters.
    clusters: Vec<usize>,
}

impl Catalogue {
    /// Puts definitions in order: each behind those that it refers to, else as they are given. A reference to what is not there means nobody.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub fn new(definitions: &[Arc<Live>]) -> Result<Self, CatalogueError> {
        let live = in_order(definitions)?;
        let mut catalogue = Self::default();
        for definition in live {
            catalogue.push(definition);
        }
        catalogue.triggers.settle();
        Ok(catalogue)
    }

    /// The same without those that would refer to others too deep or in a circle: what an older version has allowed must not keep the rest from being
    /// live.
    ///
    /// # Errors
    /// [`CatalogueError`] where not even the first can be live.
    pub fn of_those_that_can(definitions: &[Arc<Live>]) -> Result<Self, CatalogueError> {
        let mut kept: Vec<Arc<Live>> = Vec::new();
        for definition in definitions {
            kept.push(definition.clone());
            if let Err(error) = in_order(&kept) {
                tracing::error!(definition = %definition.key, %error, "a stored definition is not live");
                kept.pop();
            }
        }
        Self::new(&kept)
    }

    /// The same with a definition in place of the one of its key, or without it.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub fn with(&self, key: &Key, definition: Option<Live>) -> Result<Self, CatalogueError> {
        let mut definition = definition.map(Arc::new);
        let mut all = Vec::with_capacity(self.live.len() + 1);
        for live in &self.live {
            if live.key == *key {
                all.extend(definition.take());
            } else {
                all.push(live.clone());
            }
        }
        all.extend(definition);
        Self::new(&all)
    }

    fn push(&mut self, definition: Arc<Live>) {
        let place = self.live.len();
        let direct: BTreeSet<usize> =
            definition.references().iter().filter_map(|name| Some(self.part_of.get(*name)?.0)).collect();
        let mut dependence = Dependence {
            turns: definition.membership.turns(),
            referring: Vec::new(),
            referred: Vec::new(),
            fields: definition.membership.fields(),
        };
        let mut referred = direct.clone();
        for other in direct {
            dependence.turns = dependence.turns.max(self.dependences[other].turns);
            dependence.fields.extend(&self.dependences[other].fields);
            referred.extend(&self.dependences[other].referred);
        }
        dependence.referred = referred.into_iter().collect();
        for referred in &dependence.referred {
            self.dependences[*referred].referring.push(place);
        }
        definition.rules().iter().for_each(|rule| self.triggers.add(rule.root(), place));
        if let Membership::Clusters(clusters) = &definition.membership {
            clusters.fields().for_each(|field| self.triggers.any(field, place));
            self.clusters.push(place);
        }
        for (part, Part { name, reference }) in definition.parts.iter().enumerate() {
            self.part_of.insert(reference.clone(), (place, part));
            self.part_named.insert(name.clone(), (place, part));
        }
        self.place_of.insert(definition.key.clone(), place);
        self.dependences.push(dependence);
        self.live.push(definition);
    }

    /// Takes customers off all lists.
    pub fn take_off_lists(&mut self, customers: &[u32]) {
        for live in &mut self.live {
            let Membership::List { listed, began_with } = &live.membership else { continue };
            if customers.iter().any(|customer| listed.contains(*customer)) {
                let mut listed = listed.clone();
                for customer in customers {
                    listed.clear(*customer);
                }
                let membership = Membership::List { listed, began_with: began_with.clone() };
                *live = Arc::new(Live::segment(&live.key.id, live.version, membership));
            }
        }
    }

    /// The definitions, each behind those that it refers to.
    pub fn live(&self) -> &[Arc<Live>] {
        &self.live
    }

    /// A definition and its place.
    pub fn find(&self, key: &Key) -> Option<(usize, &Live)> {
        self.place_of.get(key).map(|place| (*place, &*self.live[*place]))
    }

    /// The place and the part of what rules call so.
    pub fn referred(&self, reference: &str) -> Option<(usize, usize)> {
        self.part_of.get(reference).copied()
    }

    /// The place and the part of a resource name.
    pub fn named(&self, name: &str) -> Option<(usize, usize)> {
        self.part_named.get(name).copied()
    }

    /// The places of the definitions that changes of a customer's values may move, be it through what they refer to: ascending.
    pub fn moved_by<'v>(&self, changes: impl IntoIterator<Item = Changed<'v>>, now: &Now<'_>) -> Vec<usize> {
        let mut moved = vec![0_u64; self.live.len().div_ceil(64)];
        for change in changes {
            self.triggers.turned_by(change, now, |place| {
                moved[place / 64] |= 1 << (place % 64);
                for referring in &self.dependences[place].referring {
                    moved[referring / 64] |= 1 << (referring % 64);
                }
            });
        }
        let mut places = Vec::new();
        for (index, mut word) in moved.into_iter().enumerate() {
            while word != 0 {
                places.push(index * 64 + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
        places
    }

    /// The definitions that time moves at least so, by place.
    pub fn turning(&self, at_least: Turns) -> impl Iterator<Item = usize> {
        let turning = self.dependences.iter().enumerate().filter(move |(_, dependence)| dependence.turns >= at_least);
        turning.map(|(place, _)| place)
    }

    /// The fields that the definition at a place reads, those of what it refers to included.
    pub fn fields_of(&self, place: usize) -> impl Iterator<Item = u16> {
        self.dependences.get(place).into_iter().flat_map(|read| read.fields.iter().copied())
    }

    /// Whether another refers to the definition at a place.
    pub fn is_referred(&self, place: usize) -> bool {
        self.dependences.get(place).is_some_and(|dependence| !dependence.referring.is_empty())
    }

    /// How time moves the definition of a place.
    pub fn turns(&self, place: usize) -> Turns {
        self.dependences.get(place).map_or(Turns::Never, |dependence| dependence.turns)
    }

    /// The places that a rule refers to, by way of others too, ascending.
    pub fn places_referred(&self, rules: &[Rule]) -> BTreeSet<usize> {
        let names = rules.iter().flat_map(Rule::references);
        let direct: BTreeSet<usize> = names.filter_map(|name| Some(self.part_of.get(name)?.0)).collect();
        let others = direct.iter().flat_map(|place| &self.dependences[*place].referred).copied();
        direct.iter().copied().chain(others).collect()
    }

    /// The definitions that refer to one, by way of others too, by place.
    pub fn referring(&self, key: &Key) -> Vec<usize> {
        let place = self.place_of.get(key).and_then(|place| self.dependences.get(*place));
        place.map_or_else(Vec::new, |dependence| dependence.referring.clone())
    }

    /// The fields that rules read, those of what they refer to included: a rule written by somebody else does not launder a field.
    pub fn fields_read(&self, rules: &[Rule]) -> BTreeSet<u16> {
        let own = rules.iter().flat_map(Rule::fields).copied();
        let referred = self.places_referred(rules);
        own.chain(referred.iter().flat_map(|place| &self.dependences[*place].fields).copied()).collect()
    }

    /// The same of what decides about a definition.
    pub fn fields_of_membership(&self, membership: &Membership) -> BTreeSet<u16> {
        let mut fields = membership.fields();
        fields.extend(self.fields_read(membership.rules()));
        fields
    }

    /// The clusters that are live.
    pub fn clusters(&self) -> impl Iterator<Item = &Clusters> {
        self.clusters.iter().filter_map(|place| match &self.live.get(*place)?.membership {
            Membership::Clusters(clusters) => Some(&**clusters),
            Membership::Rules(_) | Membership::List { .. } => None,
        })
    }

    /// How the passing of time moves who matches rules, be it through what they refer to.
    pub fn turns_of(&self, rules: &[Rule]) -> Turns {
        let referred = self.places_referred(rules).into_iter().map(|place| self.dependences[place].turns);
        rules.iter().map(turns_of_rule).chain(referred).max().unwrap_or_default()
    }
}

/// Depth-first, without recursion: a chain of references may be long before it is refused.
fn in_order(definitions: &[Arc<Live>]) -> Result<Vec<Arc<Live>>, CatalogueError> {
    let owner: HashMap<&str, usize> = definitions
        .iter()
        .enumerate()
        .flat_map(|(index, live)| live.parts.iter().map(move |part| (part.reference.as_str(), index)))
        .collect();
    let needed = |index: usize| definitions[index].references().into_iter().filter_map(|name| owner.get(name).copied());
    // Of those that are in order, how deep they refer to others.
    let mut depth_of: HashMap<usize, usize> = HashMap::new();
    let mut order = Vec::with_capacity(definitions.len());
    for index in 0..definitions.len() {
        let mut path = vec![index];
        while let Some(&last) = path.last() {
            let missing = needed(last).find(|other| !depth_of.contains_key(other));
            match missing {
                Some(other) if path.contains(&other) => {
                    return Err(CatalogueError::Cycle(definitions[other].key.clone()));
                }
                Some(_) if path.len() > MAX_REFERENCES => return Err(CatalogueError::TooDeep),
                Some(other) => path.push(other),
                None => {
                    path.pop();
                    if !depth_of.contains_key(&last) {
                        let depth =
                            needed(last).filter_map(|other| depth_of.get(&other)).max().map_or(0, |depth| depth + 1);
                        if depth > MAX_REFERENCES {
                            return Err(CatalogueError::TooDeep);
                        }
                        depth_of.insert(last, depth);
                        order.push(last);
                    }
                }
            }
        }
    }
    Ok(order.into_iter().map(|index| definitions[index].clone()).collect())
}
