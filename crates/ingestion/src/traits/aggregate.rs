//! How the values of facts become one.

use quintile_domain::money::mean_minor;
use quintile_domain::time::Instant;
use quintile_expr::{Type, ValueRef};
use quintile_proto::ingestion::TraitAggregate;
use std::collections::HashSet;

/// What a trait amounts to.
#[derive(Clone, Debug, PartialEq)]
pub enum Amount {
    /// A whole number.
    Integer(i64),
    /// A number that need not be whole.
    Number(f64),
    /// Money, in minor units of the base currency.
    Money(i64),
    /// A text.
    Text(String),
    /// An instant.
    Time(Instant),
}

/// The aggregate of values of one type, each with the instant of its fact. `None`: of no value there is none.
pub fn of<'a>(
    aggregate: TraitAggregate,
    ty: Type,
    values: impl Iterator<Item = (Instant, ValueRef<'a>)>,
) -> Option<Amount> {
    let plain = |(_, value)| value;
    match aggregate {
        TraitAggregate::Unspecified => None,
        TraitAggregate::Count => Some(Amount::Integer(values.count() as i64)),
        TraitAggregate::Distinct => Some(Amount::Integer(values.map(plain).collect::<HashSet<_>>().len() as i64)),
        TraitAggregate::Sum => {
            let (total, _) = total(values.map(plain));
            Some(number(ty, total))
        }
        TraitAggregate::Mean => mean(ty, total(values.map(plain))),
        TraitAggregate::Min => values.map(plain).min().map(|value| amount(ty, value)),
        TraitAggregate::Max => values.map(plain).max().map(|value| amount(ty, value)),
        TraitAggregate::Last => values.max().map(|(_, value)| amount(ty, value)),
    }
}

/// The exact sum of numbers, and how many there are.
fn total<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> (i128, i64) {
    values.fold((0, 0), |(total, count), value| match value {
        ValueRef::Int(number) => (total + i128::from(number), count + 1),
        _ => (total, count),
    })
}

/// A number within 64 bits.
fn clamped(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

fn number(ty: Type, total: i128) -> Amount {
    if ty == Type::Money { Amount::Money(clamped(total)) } else { Amount::Integer(clamped(total)) }
}

fn mean(ty: Type, (total, count): (i128, i64)) -> Option<Amount> {
    if ty == Type::Money {
        return mean_minor(clamped(total), count).map(Amount::Money);
    }
    (count > 0).then(|| Amount::Number(total as f64 / count as f64))
}

fn amount(ty: Type, value: ValueRef<'_>) -> Amount {
    match value {
        ValueRef::Int(number) if ty == Type::Money => Amount::Money(number),
        ValueRef::Int(number) => Amount::Integer(number),
        ValueRef::Text(text) => Amount::Text(text.to_owned()),
        ValueRef::Bool(bool) => Amount::Integer(bool.into()),
        ValueRef::Instant(micros) => Amount::Time(Instant::from_micros(micros)),
    }
}
