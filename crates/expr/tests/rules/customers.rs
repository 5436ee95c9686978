//! The schema and the rows that the tests share.

use quintile_expr::{Field, Now, Row, Rule, Schema, Type, ValueRef};
use std::collections::HashMap;

pub const DAY: i64 = 86_400_000_000;

pub fn schema() -> Schema {
    let fields = [
        (1, "rfm.r", Type::Int),
        (2, "rfm.f", Type::Int),
        (3, "channel", Type::Text),
        (4, "city", Type::Text),
        (5, "opted_in", Type::Bool),
        (6, "last_order_at", Type::Instant),
        (7, "first_order_at", Type::Instant),
        (8, "revenue", Type::Money),
        (9, "spend.last_year", Type::Money),
        (10, "mean.pieces", Type::Decimal),
    ];
    let field = |(id, name, ty): (u16, &'static str, Type)| Field { id, name: name.into(), ty, description: "".into() };
    Schema::new(fields.map(field).to_vec(), 2).unwrap()
}

pub fn rule(source: &str) -> Rule {
    Rule::parse(source, &schema()).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// A customer with a few values, in the segment `vip` and no other.
#[derive(Debug, Default)]
pub struct Customer(pub HashMap<u16, ValueRef<'static>>);

impl Customer {
    pub fn with(mut self, field: &str, value: ValueRef<'static>) -> Self {
        self.0.insert(schema().field(field).unwrap().id, value);
        self
    }

    /// Asks at 23:30 UTC of the day 20,000, which is the next day already one hour east.
    pub fn matches(&self, source: &str) -> bool {
        let east = |micros: i64| i32::try_from((micros + DAY / 24).div_euclid(DAY)).unwrap();
        rule(source).matches(self, &Now::new(20_000 * DAY + DAY / 48 * 47, &east))
    }
}

impl Row for Customer {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        self.0.get(&field).copied()
    }

    fn in_segment(&self, name: &str) -> bool {
        name == "vip"
    }
}
