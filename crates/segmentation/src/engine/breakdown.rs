//! Customers by the values of one field.

use super::bitmap::Bitmap;
use super::codes::{CodeColumn, MISSING, ScoreColumn};
use super::numbers::NumberColumn;
use super::{Column, Engine};
use crate::fields::FieldId;

/// The most texts that are told apart.
const MAX_TEXTS: usize = 50;
/// The most numbers that are told one by one.
const MAX_SINGLES: usize = 20;
/// Ranges of numbers, where there are more.
const RANGES: usize = 10;

/// What the customers of a group have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// No value.
    Missing,
    /// This text.
    Text(String),
    /// A number from the first to the second; money in minor units, instants in microseconds.
    Range(i64, i64),
}

/// Customers with a value in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The value.
    pub values: Values,
    /// The customers.
    pub customers: u64,
    /// The sum over them of the field that was asked for beside.
    pub sum: i128,
}

/// Customers by the values of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// The groups: texts by frequency, numbers ascending; those without a value last.
    pub groups: Vec<Group>,
    /// Customers with a text that is in no group.
    pub others: u64,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    customers: u64,
    sum: i128,
}

impl Tally {
    fn add(&mut self, amount: i64) {
        self.customers += 1;
        self.sum += i128::from(amount);
    }

    const fn group(self, values: Values) -> Group {
        Group { values, customers: self.customers, sum: self.sum }
    }
}

impl Engine {
    /// Some customers by the values of a field, each group with its sum of a number field. Reads the customers one by one.
    pub fn break_down(&self, field: u16, customers: &Bitmap, summed: FieldId) -> Breakdown {
        let amounts = match self.column(summed.id()) {
            Some(Column::Number(column)) => Some(column),
            _ => None,
        };
        let amount = |customer: u32| amounts.and_then(|column| column.value(customer)).unwrap_or(0);
        match self.column(field) {
            Some(Column::Number(column)) => by_number(column, customers, amount),
            Some(Column::Score(column)) => {
                let tallies = by_code(column.codes(), customers, amount);
                let groups = (0..).zip(&tallies).skip(1).filter(|(_, tally)| tally.customers > 0);
                let score = ScoreColumn::score;
                let groups = groups.map(|(code, tally)| tally.group(Values::Range(score(code), score(code))));
                Breakdown { groups: groups.chain(missing(&tallies)).collect(), others: 0 }
            }
            Some(Column::Text(column)) => {
                let tallies = by_code(column.codes(), customers, amount);
                let mut codes: Vec<u32> = (0..).zip(&tallies).skip(1).map(|(code, _)| code).collect();
                codes.retain(|code| tallies[*code as usize].customers > 0);
                codes.sort_by(|a, b| {
                    let most_first = tallies[*b as usize].customers.cmp(&tallies[*a as usize].customers);
                    most_first.then_with(|| column.text(*a).cmp(column.text(*b)))
                });
                let others = codes.iter().skip(MAX_TEXTS).map(|code| tallies[*code as usize].customers).sum();
                let group = |code: &u32| tallies[*code as usize].group(Values::Text(column.text(*code).to_owned()));
                let groups = codes.iter().take(MAX_TEXTS).map(group);
                Breakdown { groups: groups.chain(missing(&tallies)).collect(), others }
            }
            None => Breakdown::default(),
        }
    }
}

fn by_code(codes: &CodeColumn, customers: &Bitmap, amount: impl Fn(u32) -> i64) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); codes.code_count()];
    for customer in customers {
        tallies[codes.code(customer) as usize].add(amount(customer));
    }
    tallies
}

fn missing(tallies: &[Tally]) -> Option<Group> {
    let missing = tallies.get(MISSING as usize).filter(|tally| tally.customers > 0);
    missing.map(|tally| tally.group(Values::Missing))
}

fn by_number(column: &NumberColumn, customers: &Bitmap, amount: impl Fn(u32) -> i64) -> Breakdown {
    let mut values: Vec<i64> = customers.iter().filter_map(|customer| column.value(customer)).collect();
    values.sort_unstable();
    let ranges = ranges(&values);
    let mut tallies = vec![Tally::default(); ranges.len()];
    let mut without = Tally::default();
    for customer in customers {
        match column.value(customer) {
            // The ranges hold every value.
            Some(value) => match tallies.get_mut(ranges.partition_point(|(_, high)| *high < value)) {
                Some(tally) => tally.add(amount(customer)),
                None => without.add(amount(customer)),
            },
            None => without.add(amount(customer)),
        }
    }
    let groups = ranges.iter().zip(&tallies).map(|((low, high), tally)| tally.group(Values::Range(*low, *high)));
    let without = (without.customers > 0).then(|| without.group(Values::Missing));
    Breakdown { groups: groups.chain(without).collect(), others: 0 }
}

/// Ascending values as ranges: each value one, or about as many in each, equal ones together.
fn ranges(sorted: &[i64]) -> Vec<(i64, i64)> {
    let mut singles: Vec<(i64, i64)> = Vec::new();
    for value in sorted {
        if singles.last().is_none_or(|(last, _)| last != value) {
            singles.push((*value, *value));
        }
        if singles.len() > MAX_SINGLES {
            break;
        }
    }
    if singles.len() <= MAX_SINGLES {
        return singles;
    }
    let (mut ranges, mut start) = (Vec::with_capacity(RANGES), 0);
    for range in 1..=RANGES {
        let least = (sorted.len() * range / RANGES).max(start);
        // Equal values stay together.
        let end = least + sorted[least..].iter().take_while(|value| least > 0 && **value == sorted[least - 1]).count();
        if end > start {
            ranges.push((sorted[start], sorted[end - 1]));
            start = end;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Customer;

    fn engine(customers: &[Customer<'_>]) -> Engine {
        let mut engine = Engine::new();
        for (customer, number) in customers.iter().zip(1..) {
            engine.apply(number, Some(customer)).unwrap();
        }
        engine
    }

    fn told(breakdown: &Breakdown) -> Vec<(Values, u64, i128)> {
        breakdown.groups.iter().map(|group| (group.values.clone(), group.customers, group.sum)).collect()
    }

    #[test]
    fn texts_are_by_frequency_and_the_missing_last() {
        let customer = |channel, net_revenue_minor| Customer { channel, net_revenue_minor, ..Customer::default() };
        let engine = engine(&[
            customer("shop", 5),
            customer("online", 7),
            customer("", 11),
            customer("online", 13),
            customer("phone", 17),
        ]);
        let all = engine.break_down(FieldId::Channel.id(), engine.present(), FieldId::NetRevenue);
        let text = |text: &str| Values::Text(text.to_owned());
        let expected =
            [(text("online"), 2, 20), (text("phone"), 1, 17), (text("shop"), 1, 5), (Values::Missing, 1, 11)];
        assert_eq!(told(&all), expected);
        assert_eq!(all.others, 0);
        let some = engine.break_down(FieldId::Channel.id(), &Bitmap::from_iter([2]), FieldId::NetRevenue);
        assert_eq!(told(&some), [(text("online"), 1, 7)]);
    }

    #[test]
    fn rare_texts_are_counted_together() {
        let owners: Vec<String> = (10..70).map(|owner| format!("owner {owner}")).collect();
        let customers: Vec<_> = owners.iter().map(|owner| Customer { owner, ..Customer::default() }).collect();
        let engine = engine(&customers);
        let breakdown = engine.break_down(FieldId::Owner.id(), engine.present(), FieldId::NetRevenue);
        assert_eq!((breakdown.groups.len(), breakdown.others), (50, 10));
    }

    #[test]
    fn few_numbers_are_told_one_by_one_and_many_as_ranges() {
        let few: Vec<_> = [3, 1, 3, 2].map(|orders| Customer { orders, ..Customer::default() }).to_vec();
        let engine_of_few = engine(&few);
        let breakdown = engine_of_few.break_down(FieldId::Orders.id(), engine_of_few.present(), FieldId::NetRevenue);
        let single = |number| Values::Range(number, number);
        assert_eq!(told(&breakdown), [(single(1), 1, 0), (single(2), 1, 0), (single(3), 2, 0)]);

        let many: Vec<_> = (0..1000).map(|row| Customer { orders: row / 2, ..Customer::default() }).collect();
        let engine_of_many = engine(&many);
        let breakdown = engine_of_many.break_down(FieldId::Orders.id(), engine_of_many.present(), FieldId::NetRevenue);
        let expected: Vec<_> = (0..10).map(|range| (Values::Range(range * 50, range * 50 + 49), 100, 0)).collect();
        assert_eq!(told(&breakdown), expected);
    }

    #[test]
    fn ranges_hold_every_value_once_however_often_it_occurs() {
        let skewed: Vec<i64> = (0..10_000).map(|row| if row < 4_000 { 0 } else { row / 7 }).collect();
        let found = ranges(&skewed);
        assert!(found.len() > 3 && found.len() <= RANGES);
        assert!(found.is_sorted_by(|a, b| a.1 < b.0));
        for value in skewed {
            assert_eq!(found.iter().filter(|(low, high)| (*low..=*high).contains(&value)).count(), 1);
        }
        assert_eq!(ranges(&[]), []);
    }
}
