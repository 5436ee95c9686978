//! Who would belong to what if customers had other scores.

use super::Population;
use super::membership::Membership;
use crate::engine::Bitmap;
use crate::fields::FieldId;
use quintile_expr::{Known, Rule, ValueRef};
use std::collections::BTreeMap;

/// The fields that follow from scores of the RFM model.
const SCORES: [FieldId; 4] = [FieldId::Recency, FieldId::Frequency, FieldId::Monetary, FieldId::Label];

impl Population {
    /// The members that every part of the definition at a place would have, in its order, if customers had these scores: by the cells of customers
    /// from number 1 on, 0 for who has none, else 1 plus its place. `None`: what it refers to reads scores too, or clusters do.
    pub fn parts_by_cells(&self, place: usize, cells: &[u8]) -> Option<Vec<Bitmap>> {
        let definition = self.catalogue.live().get(place)?;
        let referred = self.catalogue.places_referred(definition.rules());
        let reads_scores = |place: &usize| self.catalogue.reads(*place, &SCORES);
        if referred.iter().any(reads_scores) {
            return None;
        }
        if let Membership::Clusters(_) = definition.membership {
            let parts = || self.at(self.as_of, |everybody| everybody.parts(place).to_vec());
            return (!self.catalogue.reads(place, &SCORES)).then(parts);
        }
        let mut by_cell: BTreeMap<u8, Bitmap> = BTreeMap::new();
        for customer in self.engine.present() {
            let cell = customer.checked_sub(1).and_then(|index| cells.get(index as usize)).copied().unwrap_or(0);
            by_cell.entry(cell).or_default().set(customer);
        }
        let mut members = vec![Bitmap::new(); definition.parts.len()];
        self.at(self.as_of, |everybody| {
            for (cell, customers) in &by_cell {
                let mut left = customers.clone();
                for (part, rule) in definition.rules().iter().enumerate() {
                    let found = everybody.select(&self.with_scores(rule, cell.checked_sub(1))).and(&left);
                    left = left.and_not(&found);
                    members[part] = members[part].or(&found);
                }
                if let Some(rest) = definition.rest() {
                    members[rest] = members[rest].or(&left);
                }
            }
        });
        Some(members)
    }

    /// A rule for customers whose scores are those of a cell, or who have none.
    fn with_scores(&self, rule: &Rule, cell: Option<u8>) -> Rule {
        let score = |place: u8| cell.map_or(Known::Missing, |_| Known::Value(ValueRef::Int(i64::from(place % 5) + 1)));
        let cell_place = cell.unwrap_or(0);
        let label = self.label_ids.get(usize::from(self.cells.label_at(cell))).map_or("", String::as_str);
        rule.fixed(&|field| match FieldId::from_id(field) {
            Some(FieldId::Recency) => score(cell_place / 25),
            Some(FieldId::Frequency) => score(cell_place / 5),
            Some(FieldId::Monetary) => score(cell_place),
            Some(FieldId::Label) => Known::Value(ValueRef::Text(label)),
            _ => Known::Nothing,
        })
    }
}
