//! Who would belong to what if customers had other scores.

use super::Population;
use super::clustering::Clusters;
use super::evaluation::{Evaluation, clustered};
use super::membership::Membership;
use crate::cancellation::Cancellation;
use crate::engine::Bitmap;
use crate::fields::FieldId;
use quintile_domain::time::Instant;
use quintile_expr::{Known, Now, Row, Rule, ValueRef};
use std::collections::{BTreeMap, HashMap};

/// The fields that follow from scores of the RFM model.
const SCORES: [FieldId; 4] = [FieldId::Recency, FieldId::Frequency, FieldId::Monetary, FieldId::Label];

/// Customers by their scores: 0 for who has none, else 1 plus the place of the cell.
type ByCell = BTreeMap<u8, Bitmap>;

impl Population {
    /// The members that every part of the definition at a place would have, in its order, on each of several sides: if customers had these scores, by
    /// the cells of customers from number 1 on, 0 for who has none, else 1 plus its place. What it refers to is as it would be, too. `None`: it was
    /// cancelled.
    pub fn parts_by_cells<const N: usize>(
        &self,
        place: usize,
        sides: [&[u8]; N],
        cancellation: &Cancellation,
    ) -> Option<[Vec<Bitmap>; N]> {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        // What follows no scores is the same on every side.
        self.until(cancellation, self.as_of, |everybody| {
            sides.map(|cells| Supposed::new(self, cells, &now, cancellation).find(place, everybody))
        })
    }

    /// A field that follows from scores, of who has those of a cell or none.
    fn score(&self, field: FieldId, cell: u8) -> Known<'_> {
        let place = cell.checked_sub(1);
        let digit = |of: fn(u8) -> u8| {
            place.map_or(Known::Missing, |place| Known::Value(ValueRef::Int(i64::from(of(place) % 5) + 1)))
        };
        match field {
            FieldId::Recency => digit(|place| place / 25),
            FieldId::Frequency => digit(|place| place / 5),
            FieldId::Monetary => digit(|place| place),
            FieldId::Label => {
                let label = self.label_ids.get(usize::from(self.cells.label_at(place))).map_or("", String::as_str);
                Known::Value(ValueRef::Text(label))
            }
            _ => Known::Nothing,
        }
    }
}

fn cell_of(cells: &[u8], customer: u32) -> u8 {
    customer.checked_sub(1).and_then(|index| cells.get(index as usize)).copied().unwrap_or(0)
}

fn is_score(field: u16) -> bool {
    SCORES.iter().any(|score| score.id() == field)
}

/// Everybody with other scores.
struct Supposed<'a> {
    population: &'a Population,
    cells: &'a [u8],
    by_cell: ByCell,
    now: &'a Now<'a>,
    cancellation: &'a Cancellation,
    /// The parts of definitions, by place, of those that others refer to.
    found: HashMap<usize, Vec<Bitmap>>,
}

impl<'a> Supposed<'a> {
    fn new(population: &'a Population, cells: &'a [u8], now: &'a Now<'a>, cancellation: &'a Cancellation) -> Self {
        let mut by_cell = ByCell::new();
        for customer in population.engine.present() {
            by_cell.entry(cell_of(cells, customer)).or_default().set(customer);
        }
        Self { population, cells, by_cell, now, cancellation, found: HashMap::new() }
    }

    /// The members of every part of the definition at a place. `everybody` has the scores that there are.
    fn find(mut self, place: usize, everybody: &mut Evaluation<'_>) -> Vec<Bitmap> {
        let catalogue = &self.population.catalogue;
        let rules = catalogue.live().get(place).map_or(&[][..], |definition| definition.rules());
        // Each behind those that it refers to.
        for place in catalogue.places_referred(rules).into_iter().chain([place]) {
            if self.cancellation.is_cancelled() {
                break;
            }
            let parts = self.parts(place, everybody);
            self.found.insert(place, parts);
        }
        self.found.remove(&place).unwrap_or_default()
    }

    /// The same; those that it refers to have been found.
    fn parts(&self, place: usize, everybody: &mut Evaluation<'_>) -> Vec<Bitmap> {
        let Self { population, .. } = self;
        let Some(definition) = population.catalogue.live().get(place) else { return Vec::new() };
        if !population.catalogue.reads(place, &SCORES) {
            return everybody.parts(place).to_vec();
        }
        match &definition.membership {
            // Whatever it began with, it follows no scores.
            Membership::List { .. } => everybody.parts(place).to_vec(),
            Membership::Rules(rules) => {
                let mut left = population.engine.present().clone();
                let mut parts = Vec::with_capacity(rules.len() + 1);
                for rule in rules {
                    let members = self.select(rule).and(&left);
                    left = left.and_not(&members);
                    parts.push(members);
                }
                parts.extend(definition.rest().map(|_| left));
                parts
            }
            Membership::Clusters(clusters) => {
                let within = clusters.within().first().map(|rule| self.select(rule));
                let present = population.engine.present();
                clustered(&self.nearest(clusters), within.as_ref().unwrap_or(present), present)
            }
        }
    }

    fn select(&self, rule: &Rule) -> Bitmap {
        let Self { population, found, .. } = self;
        let segments = |name: &str| {
            let (place, part) = population.catalogue.referred(name)?;
            found.get(&place)?.get(part)
        };
        let select = |rule: &Rule| population.engine.select_until(rule, self.now, &segments, self.cancellation);
        if !rule.fields().iter().any(|field| is_score(*field)) {
            return select(rule);
        }
        let groups = self.by_what_is_left_of(rule);
        groups.iter().fold(Bitmap::new(), |all, (rule, customers)| all.or(&select(rule).and(customers)))
    }

    /// What scores leave of a rule, each with the customers whom it is left for: most cells leave the same, and each is asked of everybody.
    fn by_what_is_left_of(&self, rule: &Rule) -> Vec<(Rule, Bitmap)> {
        let mut groups: Vec<(Rule, Bitmap)> = Vec::new();
        for (cell, customers) in &self.by_cell {
            let score = |field: FieldId| self.population.score(field, *cell);
            let left = rule.fixed(&|field| FieldId::from_id(field).map_or(Known::Nothing, score));
            match groups.iter_mut().find(|(rule, _)| *rule == left) {
                Some((_, all)) => *all = all.or(customers),
                None => groups.push((left, customers.clone())),
            }
        }
        groups
    }

    /// Everybody by the nearest cluster.
    fn nearest(&self, clusters: &Clusters) -> Vec<Bitmap> {
        let engine = &self.population.engine;
        if !clusters.fields().any(is_score) {
            return clusters.nearest(engine, self.now).to_vec();
        }
        clusters.find(engine, &|customer, row| {
            if self.cancellation.is_cancelled() {
                return None;
            }
            let row = WithScores { row, population: self.population, cell: cell_of(self.cells, customer) };
            clusters.place(&row, self.now)
        })
    }
}

/// A customer with the scores of a cell.
struct WithScores<'a> {
    row: &'a dyn Row,
    population: &'a Population,
    cell: u8,
}

impl Row for WithScores<'_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        match FieldId::from_id(field).map_or(Known::Nothing, |field| self.population.score(field, self.cell)) {
            Known::Nothing => self.row.value(field),
            Known::Missing => None,
            Known::Value(value) => Some(value),
        }
    }

    fn in_segment(&self, name: &str) -> bool {
        self.row.in_segment(name)
    }
}
