//! The customers, as they are or with other values of some fields: whatever is asked of them is found in the same way.

use super::codes::{ScoreColumn, TextColumn};
use super::customer::Lookup;
use super::plan::Plan;
use super::{Bitmap, Column, Engine, EngineRow, Segments, scan};
use crate::cancellation::Cancellation;
use quintile_expr::{Now, Row, Rule, ValueRef};

/// Values of some fields that are supposed of everybody.
#[derive(Default)]
pub struct Supposed {
    /// By field.
    columns: Vec<(u16, Column)>,
}

impl Supposed {
    /// Supposes the values of a field that `value` tells by customer number: numbers from 0 to 255, or texts where the field is one; none: it is
    /// missing. Given up in the middle when it is cancelled: what is found then means nothing.
    pub fn suppose<'v>(
        &mut self,
        engine: &Engine,
        field: u16,
        cancellation: &Cancellation,
        value: impl Fn(u32) -> Option<ValueRef<'v>>,
    ) {
        let mut column = match engine.column(field) {
            Some(Column::Text(_)) => Column::Text(TextColumn::new()),
            _ => Column::Score(ScoreColumn::new()),
        };
        column.lengthen(engine.words);
        for customer in &engine.present {
            if cancellation.is_cancelled() {
                return;
            }
            column.set(customer, value(customer));
        }
        self.columns.push((field, column));
    }
}

/// The customers of an engine.
#[derive(Clone, Copy)]
pub struct Customers<'a> {
    engine: &'a Engine,
    supposed: &'a [(u16, Column)],
}

impl Engine {
    /// The customers as they are.
    pub fn customers(&self) -> Customers<'_> {
        Customers { engine: self, supposed: &[] }
    }

    /// The customers with what is supposed of them, who are as many.
    pub fn supposing<'a>(&'a self, supposed: &'a Supposed) -> Customers<'a> {
        Customers { engine: self, supposed: &supposed.columns }
    }
}

impl<'a> Customers<'a> {
    /// The customers there are.
    pub fn present(self) -> &'a Bitmap {
        &self.engine.present
    }

    /// Whether other values of a field are supposed.
    pub fn supposes(self, field: u16) -> bool {
        self.supposed.iter().any(|(supposed, _)| *supposed == field)
    }

    /// [`Engine::select_until`] of these customers.
    pub fn select_until(
        self,
        rule: &Rule,
        now: &Now<'_>,
        segments: &Segments<'_>,
        cancellation: &Cancellation,
    ) -> Bitmap {
        let plan = Plan::new(self, rule.root(), now, segments);
        let threads = scan::threads(&plan, self.engine.words);
        Bitmap::from_words(scan::select(threads, &plan, self.present().words(), cancellation))
    }

    /// [`Engine::count`] of these customers.
    pub fn count(self, rule: &Rule, now: &Now<'_>, segments: &Segments<'_>, cancellation: &Cancellation) -> u64 {
        let plan = Plan::new(self, rule.root(), now, segments);
        scan::count(scan::threads(&plan, self.engine.words), &plan, self.present().words(), cancellation)
    }

    /// [`Engine::row`] of one of these customers.
    pub fn row(self, customer_id: u32, segments: &'a Segments<'_>) -> Option<impl Row> {
        let row = EngineRow { customers: self, customer_id, segments: Lookup(segments) };
        self.present().contains(customer_id).then_some(row)
    }

    pub(super) fn column(self, field: u16) -> Option<&'a Column> {
        let supposed = self.supposed.iter().find(|(supposed, _)| *supposed == field);
        supposed.map(|(_, column)| column).or_else(|| self.engine.column(field))
    }

    pub(super) fn is_instant(self, field: u16) -> bool {
        self.engine.is_instant(field)
    }
}
