//! The column engine: all customers of one tenant in memory, and exact answers to rules over all of them.
//!
//! A rule becomes a plan (`plan.rs`: names are looked up, constants become codes and spans), and the plan narrows the
//! present customers block by block (`scan.rs`), 64 customers to a word. It agrees with `Rule::matches` on every row, which
//! `differential.rs` holds it to.
//!
//! It has no lock, no clock and no store: the caller brings them. [`Engine::rebalance`] is the caller's to call; without it
//! answers are right and slow.
//!
//! To add a kind of column: a file like `numbers.rs`, a variant of `Column`, and an arm in `plan.rs`.

mod bitmap;
mod blocks;
mod breakdown;
mod codes;
mod customer;
mod days;
#[cfg(test)]
pub(crate) mod differential;
mod numbers;
mod plan;
mod scan;
mod summary;
mod sums;
mod supposed;
#[cfg(test)]
mod tests;

pub use bitmap::{Bitmap, Iter};
pub use blocks::{BLOCK_CUSTOMERS, Block, block_of};
pub use breakdown::{Breakdown, Group, Values};
pub use customer::Customer;
pub use numbers::Balance;
pub use summary::NumberSummary;
pub use supposed::{Customers, Supposed};

use crate::cancellation::Cancellation;
use crate::fields::FieldId;
use crate::own_fields;
use bitmap::lengthen;
use codes::{ScoreColumn, TextColumn};
use customer::Lookup;
use numbers::NumberColumn;
use plan::Plan;
use quintile_expr::{Now, Row, Rule, Type, ValueRef};
use thiserror::Error;

/// The highest customer id. A gap in the ids costs as much as customers would, so an id far out must not pass for one.
pub const MAX_CUSTOMER_ID: u32 = 100_000_000;

/// The members of the segments that rules may refer to; none for a segment that does not exist, which has no members.
pub type Segments<'a> = dyn Fn(&str) -> Option<&'a Bitmap> + 'a;

/// Why a change is refused. The engine is then as it was before.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// The id is 0 or above [`MAX_CUSTOMER_ID`].
    #[error("the customer id {0} is not between 1 and {MAX_CUSTOMER_ID}")]
    CustomerId(u32),
    /// A block that was kept is none of this engine's.
    #[error("block {0} is none of this engine's")]
    Block(u32),
}

/// The customers of one tenant, by field.
pub struct Engine {
    /// Of the built-in fields, by id from 1.
    columns: Vec<Column>,
    /// Of the tenant's own, by id from [`own_fields::FIRST_ID`], each with its type.
    own: Vec<(Type, Column)>,
    present: Bitmap,
    population: u64,
    /// The length of every column, in words of 64 customers.
    words: usize,
}

enum Column {
    Score(ScoreColumn),
    Text(TextColumn),
    Number(NumberColumn),
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine without customers.
    pub fn new() -> Self {
        let column = |field: FieldId| match (field, field.ty()) {
            (
                FieldId::Recency
                | FieldId::Frequency
                | FieldId::Monetary
                | FieldId::AlivePercent
                | FieldId::ChurnRiskPercent,
                _,
            ) => Column::Score(ScoreColumn::new()),
            (_, Type::Text) => Column::Text(TextColumn::new()),
            _ => Column::Number(NumberColumn::default()),
        };
        Self {
            columns: FieldId::all().map(column).collect(),
            own: Vec::new(),
            present: Bitmap::new(),
            population: 0,
            words: 0,
        }
    }

    /// Makes room for customers with ids up to `highest_id` at once, so that a load neither copies nor leaves slack.
    ///
    /// # Errors
    /// [`EngineError::CustomerId`].
    pub fn reserve(&mut self, highest_id: u32) -> Result<(), EngineError> {
        if !(1..=MAX_CUSTOMER_ID).contains(&highest_id) {
            return Err(EngineError::CustomerId(highest_id));
        }
        self.lengthen(bitmap::place(highest_id).0 + 1);
        Ok(())
    }

    /// Adds a field of the tenant's own, which nobody has a value in yet.
    pub fn add_field(&mut self, ty: Type) {
        let mut column = match ty {
            Type::Text => Column::Text(TextColumn::new()),
            _ => Column::Number(NumberColumn::default()),
        };
        column.lengthen(self.words);
        self.own.push((ty, column));
    }

    /// Adds or replaces a customer; without values, removes it. A customer that is not there is removed already.
    ///
    /// # Errors
    /// [`EngineError`]; nothing has then changed.
    pub fn apply(&mut self, customer_id: u32, customer: Option<&Customer<'_>>) -> Result<(), EngineError> {
        if !(1..=MAX_CUSTOMER_ID).contains(&customer_id) {
            return Err(EngineError::CustomerId(customer_id));
        }
        let Some(customer) = customer else {
            self.remove(customer_id);
            return Ok(());
        };
        let word = bitmap::place(customer_id).0;
        if word >= self.words {
            // An eighth more, so that growth costs each customer a bounded number of copies.
            self.lengthen(word + 1 + word / 8);
        }
        for (column, field) in self.columns.iter_mut().zip(FieldId::all()) {
            column.set(customer_id, customer.value(field));
        }
        for (index, (_, column)) in self.own.iter_mut().enumerate() {
            column.set(customer_id, customer.own.get(index).copied().flatten());
        }
        self.population += u64::from(self.present.set(customer_id));
        Ok(())
    }

    fn remove(&mut self, customer_id: u32) {
        if self.present.clear(customer_id) {
            self.population -= 1;
            for column in self.columns.iter_mut().chain(self.own.iter_mut().map(|(_, column)| column)) {
                column.set(customer_id, None);
            }
        }
    }

    fn lengthen(&mut self, words: usize) {
        if words <= self.words {
            return;
        }
        self.words = words;
        let mut present = std::mem::take(&mut self.present).into_words();
        lengthen(&mut present, words);
        self.present = Bitmap::from_words(present);
        for column in self.columns.iter_mut().chain(self.own.iter_mut().map(|(_, column)| column)) {
            column.lengthen(words);
        }
    }

    /// The customers that match the rule at that instant.
    ///
    /// As instants grow, `now`'s local days may fall back where its clock is set back, by at most twelve hours: every time
    /// zone keeps to that.
    pub fn select(&self, rule: &Rule, now: &Now<'_>, segments: &Segments<'_>) -> Bitmap {
        self.select_until(rule, now, segments, &Cancellation::default())
    }

    /// The same, given up in the middle when it is cancelled: what comes back then means nothing.
    pub fn select_until(
        &self,
        rule: &Rule,
        now: &Now<'_>,
        segments: &Segments<'_>,
        cancellation: &Cancellation,
    ) -> Bitmap {
        self.customers().select_until(rule, now, segments, cancellation)
    }

    /// How many customers [`Engine::select_until`] would find, without keeping them.
    pub fn count(&self, rule: &Rule, now: &Now<'_>, segments: &Segments<'_>, cancellation: &Cancellation) -> u64 {
        self.customers().count(rule, now, segments, cancellation)
    }

    /// Roughly how many bytes of columns [`Engine::select`] reads for a rule.
    pub fn cost(&self, rule: &Rule, now: &Now<'_>) -> usize {
        Plan::new(self.customers(), rule.root(), now, &|_: &str| None).cost() * self.words
    }

    /// A customer as rules see it, for [`Rule::matches`]: the "before" of a live change. None for a customer who is not
    /// there.
    pub fn row<'a>(&'a self, customer_id: u32, segments: &'a Segments<'_>) -> Option<impl Row> {
        self.customers().row(customer_id, segments)
    }

    /// The exact sum of a number field over the given customers, in minor units for money. Customers without a value add
    /// nothing, and so does every customer of a field that is no count and no money.
    pub fn sum_minor(&self, field: FieldId, customers: &Bitmap) -> i128 {
        match self.column(field.id()) {
            Some(Column::Number(column)) if field.ty() != Type::Instant => column.sum(customers.words()),
            _ => 0,
        }
    }

    /// How many customers there are.
    pub fn population(&self) -> u64 {
        self.population
    }

    /// The customers there are.
    pub fn present(&self) -> &Bitmap {
        &self.present
    }

    /// Fits the buckets of all number columns to the values that are there now. Answers stay the same and come faster: call it after a load, and again
    /// when the population has doubled.
    pub fn rebalance(&mut self) {
        for column in 0..self.column_count() {
            if let Some(balance) = self.balance(column) {
                self.put_balance(column, balance);
            }
        }
    }

    /// How many columns there are.
    pub fn column_count(&self) -> usize {
        self.columns.len() + self.own.len()
    }

    /// Buckets for a column that fit the values that are there now, found while others read. `None`: the column has none.
    pub fn balance(&self, column: usize) -> Option<Balance> {
        let own = || column.checked_sub(self.columns.len()).and_then(|own| self.own.get(own)).map(|(_, column)| column);
        match self.columns.get(column).or_else(own) {
            Some(Column::Number(column)) => Some(column.balance()),
            _ => None,
        }
    }

    /// Has a column use buckets that were found since its values last changed.
    pub fn put_balance(&mut self, column: usize, balance: Balance) {
        let own = column.checked_sub(self.columns.len());
        let column = match own {
            None => self.columns.get_mut(column),
            Some(own) => self.own.get_mut(own).map(|(_, column)| column),
        };
        if let Some(Column::Number(column)) = column {
            column.put_balance(balance);
        }
    }

    /// Bytes on the heap.
    pub fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter().chain(self.own.iter().map(|(_, column)| column));
        columns.map(Column::memory_bytes).sum::<usize>() + self.present.memory_bytes()
    }

    /// Bytes that the values of a field take on the heap; 0 for an id that is no field's.
    pub fn memory_bytes_of(&self, field: u16) -> usize {
        self.column(field).map_or(0, Column::memory_bytes)
    }

    fn column(&self, field: u16) -> Option<&Column> {
        match field.checked_sub(own_fields::FIRST_ID) {
            Some(index) => self.own.get(usize::from(index)).map(|(_, column)| column),
            None => self.columns.get(usize::from(field).checked_sub(1)?),
        }
    }

    fn is_instant(&self, field: u16) -> bool {
        let own = field.checked_sub(own_fields::FIRST_ID).and_then(|index| self.own.get(usize::from(index)));
        own.map(|(ty, _)| *ty).or_else(|| FieldId::from_id(field).map(FieldId::ty)) == Some(Type::Instant)
    }
}

impl Column {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Score(column) => column.memory_bytes(),
            Self::Text(column) => column.memory_bytes(),
            Self::Number(column) => column.memory_bytes(),
        }
    }

    fn lengthen(&mut self, words: usize) {
        match self {
            Self::Score(column) => column.lengthen(words),
            Self::Text(column) => column.lengthen(words),
            Self::Number(column) => column.lengthen(words),
        }
    }

    /// A value of another type than the column's counts as missing; [`Customer::value`] gives none.
    fn set(&mut self, customer_id: u32, value: Option<ValueRef<'_>>) {
        match (self, value) {
            (Self::Score(column), Some(ValueRef::Int(score))) => column.set(customer_id, u8::try_from(score).ok()),
            (Self::Score(column), _) => column.set(customer_id, None),
            (Self::Text(column), Some(ValueRef::Text(text))) => column.set(customer_id, Some(text)),
            (Self::Text(column), _) => column.set(customer_id, None),
            (Self::Number(column), Some(ValueRef::Int(number) | ValueRef::Instant(number))) => {
                column.set(customer_id, Some(number));
            }
            (Self::Number(column), _) => column.set(customer_id, None),
        }
    }
}

struct EngineRow<'a, 's> {
    customers: Customers<'a>,
    customer_id: u32,
    segments: Lookup<'a, 's>,
}

impl Row for EngineRow<'_, '_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        match self.customers.column(field)? {
            Column::Score(column) => column.value(self.customer_id).map(ValueRef::Int),
            Column::Text(column) => column.value(self.customer_id).map(ValueRef::Text),
            Column::Number(column) => {
                let is_instant = self.customers.is_instant(field);
                column.value(self.customer_id).map(if is_instant { ValueRef::Instant } else { ValueRef::Int })
            }
        }
    }

    fn in_segment(&self, name: &str) -> bool {
        self.segments.contains(name, self.customer_id)
    }
}
