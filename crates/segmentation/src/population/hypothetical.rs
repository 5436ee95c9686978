//! Who would belong to what if customers had other scores.

use super::Population;
use super::clustering::Clusters;
use super::evaluation::clustered;
use super::membership::Membership;
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
    /// The members that every part of the definition at a place would have, in its order, if customers had these scores: by the cells of customers
    /// from number 1 on, 0 for who has none, else 1 plus its place. What it refers to is as it would be, too.
    pub fn parts_by_cells(&self, place: usize, cells: &[u8]) -> Vec<Bitmap> {
        let mut by_cell = ByCell::new();
        for customer in self.engine.present() {
            by_cell.entry(cell_of(cells, customer)).or_default().set(customer);
        }
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        let mut supposed = Supposed { population: self, by_cell, now, found: HashMap::new() };
        let rules = self.catalogue.live().get(place).map_or(&[][..], |definition| definition.rules());
        // Each behind those that it refers to.
        for place in self.catalogue.places_referred(rules).into_iter().chain([place]) {
            let parts = supposed.parts(place);
            supposed.found.insert(place, parts);
        }
        supposed.found.remove(&place).unwrap_or_default()
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
    by_cell: ByCell,
    now: Now<'a>,
    /// The parts of definitions, by place, of those that others refer to.
    found: HashMap<usize, Vec<Bitmap>>,
}

impl Supposed<'_> {
    /// The members of every part of the definition at a place; those that it refers to have been found.
    fn parts(&self, place: usize) -> Vec<Bitmap> {
        let Self { population, .. } = self;
        let Some(definition) = population.catalogue.live().get(place) else { return Vec::new() };
        let as_it_is = || population.at(population.as_of, |everybody| everybody.parts(place).to_vec());
        if !population.catalogue.reads(place, &SCORES) {
            return as_it_is();
        }
        match &definition.membership {
            // Whatever it began with, it follows no scores.
            Membership::List { .. } => as_it_is(),
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
        let Self { population, by_cell, now, found } = self;
        let segments = |name: &str| {
            let (place, part) = population.catalogue.referred(name)?;
            found.get(&place)?.get(part)
        };
        if !rule.fields().iter().any(|field| is_score(*field)) {
            return population.engine.select(rule, now, &segments);
        }
        by_cell.iter().fold(Bitmap::new(), |all, (cell, customers)| {
            let rule =
                rule.fixed(&|field| FieldId::from_id(field).map_or(Known::Nothing, |it| population.score(it, *cell)));
            all.or(&population.engine.select(&rule, now, &segments).and(customers))
        })
    }

    /// Everybody by the nearest cluster.
    fn nearest(&self, clusters: &Clusters) -> Vec<Bitmap> {
        let engine = &self.population.engine;
        if !clusters.fields().any(is_score) {
            return clusters.nearest(engine, &self.now).to_vec();
        }
        let mut nearest = vec![Bitmap::new(); clusters.clustering().model.partition().clusters.len()];
        let no_segments = |_: &str| None;
        for (cell, customers) in &self.by_cell {
            for customer in customers {
                let Some(row) = engine.row(customer, &no_segments) else { continue };
                let row = WithScores { row: &row, population: self.population, cell: *cell };
                if let Some(members) = clusters.place(&row, &self.now).and_then(|place| nearest.get_mut(place)) {
                    members.set(customer);
                }
            }
        }
        nearest
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
