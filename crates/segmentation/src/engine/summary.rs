//! What some customers have in one field, in a few numbers.

use super::bitmap::Bitmap;
use super::{Column, Engine};

/// What customers have in a field of numbers, money or instants. Of those who have a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberSummary {
    /// How many they are: 1 or more.
    pub customers: u64,
    /// The mean, in the units of the column.
    pub mean: f64,
    /// The variance over them.
    pub variance: f64,
    /// The lowest values that 10, 50 and 90 % of them have at most.
    pub quantiles: [i64; 3],
}

/// The most that an effect is told as.
const LARGEST_EFFECT: f64 = 1_000.0;

impl NumberSummary {
    /// What values amount to. `None`: there are none.
    fn of(mut values: Vec<i64>) -> Option<Self> {
        let customers = u64::try_from(values.len()).ok().filter(|count| *count > 0)?;
        values.sort_unstable();
        // From the lowest value on: of instants the digits that differ would be lost in those that don't.
        let lowest = values[0];
        let above = |value: &i64| (i128::from(*value) - i128::from(lowest)) as f64;
        let sum: i128 = values.iter().map(|value| i128::from(*value) - i128::from(lowest)).sum();
        let mean_above = sum as f64 / customers as f64;
        let squares: f64 = values.iter().map(|value| (above(value) - mean_above).powi(2)).sum();
        let mean = lowest as f64 + mean_above;
        // The least index at which so many hundredths are reached.
        let quantile = |hundredths: usize| values[(values.len() * hundredths).div_ceil(100).max(1) - 1];
        Some(Self { customers, mean, variance: squares / customers as f64, quantiles: [10, 50, 90].map(quantile) })
    }

    /// By how many pooled standard deviations the means differ.
    pub fn effect(&self, other: &Self) -> f64 {
        let difference = (self.mean - other.mean).abs();
        let (here, there) = (self.customers as f64, other.customers as f64);
        let pooled = ((here * self.variance + there * other.variance) / (here + there)).sqrt();
        if difference == 0.0 { 0.0 } else { (difference / pooled).min(LARGEST_EFFECT) }
    }
}

impl Engine {
    /// What customers have in a field of numbers, money or instants. `None`: nobody has a value, or the field is of texts.
    pub fn summarise(&self, field: u16, customers: &Bitmap) -> Option<NumberSummary> {
        let values = match self.column(field)? {
            Column::Number(column) => customers.iter().filter_map(|customer| column.value(customer)).collect(),
            Column::Score(column) => customers.iter().filter_map(|customer| column.value(customer)).collect(),
            Column::Text(_) => return None,
        };
        NumberSummary::of(values)
    }

    /// Half the sum of the differences between the shares that each text of a field has among some customers and among others, those without a text
    /// among them: 0 to 1. 0 where either are nobody, or the field is not of texts.
    pub fn variation(&self, field: u16, first: &Bitmap, second: &Bitmap) -> f64 {
        let Some(Column::Text(column)) = self.column(field) else { return 0.0 };
        let counts = |customers: &Bitmap| {
            let mut counts = vec![0_u64; column.codes().code_count()];
            for customer in customers {
                counts[column.codes().code(customer) as usize] += 1;
            }
            counts
        };
        let (all_first, all_second) = (first.count(), second.count());
        if all_first == 0 || all_second == 0 {
            return 0.0;
        }
        let share = |count: u64, all: u64| count as f64 / all as f64;
        let differences = counts(first)
            .into_iter()
            .zip(counts(second))
            .map(|(first, second)| (share(first, all_first) - share(second, all_second)).abs());
        differences.sum::<f64>() / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Customer;
    use crate::fields::FieldId;

    #[test]
    fn a_summary_is_of_those_who_have_a_value() {
        let mut engine = Engine::new();
        for (number, nps) in (1..).zip([Some(2), None, Some(4), Some(9), Some(5)]) {
            engine.apply(number, Some(&Customer { last_nps: nps, ..Customer::default() })).unwrap();
        }
        let all = engine.summarise(FieldId::LastNps.id(), engine.present()).unwrap();
        assert_eq!((all.customers, all.mean, all.quantiles), (4, 5.0, [2, 4, 9]));
        assert!((all.variance - 6.5).abs() < 1e-12);
        assert_eq!(engine.summarise(FieldId::LastNps.id(), &Bitmap::from_iter([2, 77])), None);
        assert_eq!(engine.summarise(FieldId::Channel.id(), engine.present()), None);
    }

    #[test]
    fn an_effect_is_in_pooled_standard_deviations() {
        let summary = |values: &[i64]| NumberSummary::of(values.to_vec()).unwrap();
        // Means 2 and 5, both variances 2/3: d = 3 / sqrt(2/3).
        let d = summary(&[1, 2, 3]).effect(&summary(&[4, 5, 6]));
        assert!((d - 3.0 / (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        let same = 857_545_873_123_457;
        assert!(summary(&[same; 11]).effect(&summary(&[same; 13])).abs() < 1e-12);
        assert!(summary(&[7, 7]).effect(&summary(&[7])).abs() < 1e-12);
        assert!((summary(&[7, 7]).effect(&summary(&[8])) - 1_000.0).abs() < 1e-12);
    }

    #[test]
    fn texts_differ_by_the_shares_of_their_values_and_of_none() {
        let mut engine = Engine::new();
        for (number, channel) in (1..).zip(["a", "a", "b", "", "a", "c", "", ""]) {
            engine.apply(number, Some(&Customer { channel, ..Customer::default() })).unwrap();
        }
        let (first, second) = (Bitmap::from_iter([1, 2, 3, 4]), Bitmap::from_iter([5, 6, 7, 8]));
        // a: 1/2 and 1/4, b: 1/4 and 0, c: 0 and 1/4, none: 1/4 and 1/2.
        let variation = |other| engine.variation(FieldId::Channel.id(), &first, other);
        assert!((variation(&second) - 0.5).abs() < 1e-12);
        assert!(variation(&first).abs() < 1e-12);
        assert!(variation(&Bitmap::new()).abs() < 1e-12);
    }
}
