//! The rule language of segments: parse a rule, check its types against a
//! [`Schema`], and ask whether one row matches.
//!
//! The language is a subset of the Common Expression Language: every rule accepted here is valid
//! CEL, and is read by the `cel` crate's parser.
//!
//! ```
//! use quintile_expr::{Field, Now, Row, Rule, Schema, Type, ValueRef};
//!
//! let recency = Field { id: 1, name: "rfm.r".into(), ty: Type::Int, description: "recency score, 1-5".into() };
//! let schema = Schema::new(vec![recency], 2)?;
//! let rule = Rule::parse(r#"rfm.r >= 4 && !segment("staff")"#, &schema)?;
//!
//! struct Customer;
//! impl Row for Customer {
//!     fn value(&self, field: u16) -> Option<ValueRef<'_>> {
//!         (field == 1).then_some(ValueRef::Int(5))
//!     }
//!     fn in_segment(&self, _name: &str) -> bool {
//!         false
//!     }
//! }
//!
//! let utc_day = |micros: i64| i32::try_from(micros.div_euclid(86_400_000_000)).unwrap_or(i32::MAX);
//! assert!(rule.matches(&Customer, &Now::new(0, &utc_day)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The language
//! - `&&`, `||`, `!`, parentheses, `true`, `false`, and a bool field alone.
//! - `==`, `!=`, `<`, `<=`, `>`, `>=` between a field and a constant, either way round, or between
//!   two fields of one type; texts compare by their bytes, bools have no order.
//! - `field in [constant, …]`, `has(field)`, `field.startsWith("x")`, `field.contains("x")`.
//! - `days_since(field) < 30`: calendar days of the tenant's time zone between an instant and now.
//! - `now`, and `timestamp("2024-01-31T00:00:00Z")`, compared with an instant field.
//! - `segment("vip")`: membership of another segment.
//!
//! Money is written in major units, `199.99`, and converted without floating point to the minor
//! units that rows carry; so is a number with decimals, `4.125`, to the thousandths that they carry.
//!
//! **Logic is two-valued.** Any comparison with a missing value is false, `!=` included; therefore
//! `!(x > 1)` is true for a missing `x`. Only `has(x)` asks.
//!
//! # What it is not
//! It reads no clock, no time zone and no store: [`Now`] and [`Row`] bring them. It has no
//! arithmetic, no regular expressions, no floats, no loops and no variables, so every rule ends
//! after at most [`MAX_TERMS`] comparisons. It does not know whether a segment exists, whether
//! references form a cycle, or who may read a field: [`Rule::references`] and [`Rule::fields`] tell
//! the caller, who does. Columns are scanned elsewhere, over the same [`Node`].
//!
//! # How to add a function
//! 1. A [`Node`] variant (a condition) or a `Side` variant in `bind.rs` (something compared).
//! 2. An arm in `bind.rs`: `call` for a condition, `side` for something compared. Resolve fields
//!    with `field`, so that they are recorded for access control; set `depends_on_time` if the
//!    answer moves with the clock.
//! 3. An arm in `Node::holds` in `evaluate.rs`; missing values make it false.
//! 4. An arm in `Formatter::node` in `format.rs`, which writes it, and one in `binds_tightly`.
//! 5. The column engine's match on [`Node`] then no longer compiles until it knows the function too.
//! 6. Rows in the accept, reject, missing-value and format tables of `tests/`.

mod bind;
mod constant;
mod error;
mod evaluate;
mod fix;
mod format;
mod guard;
mod node;
mod rule;
mod schema;
mod syntax;

pub use error::{ExprError, Position};
pub use evaluate::{Now, Row, ValueRef};
pub use fix::Known;
pub use node::{Comparison, Node, Operand, Value};
pub use rule::Rule;
pub use schema::{DECIMALS, Field, Schema, SchemaError, Type, is_reserved};

/// The longest rule, in bytes of its source.
pub const MAX_SOURCE_BYTES: usize = 16 * 1024;

/// The deepest nesting of brackets in the source, of `!` in a row, and of nodes in the tree.
pub const MAX_DEPTH: usize = 32;

/// The most terms: conditions and list elements together.
pub const MAX_TERMS: usize = 1_000;
