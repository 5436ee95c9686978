//! Reading many rows by their numbers: a range where numbers follow one another, lists of bounded length elsewhere.

use sea_orm::ColumnTrait;
use sea_orm::sea_query::SimpleExpr;

/// The longest list of one query: under the parameter limits of both databases.
const MAX_LIST: usize = 500;
/// From how many numbers on, one after the other, a range is worth a query of its own.
const MIN_RANGE: usize = 100;
/// The longest range of one query, which bounds its answer.
const MAX_RANGE: usize = 5_000;

/// The numbers that one query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// All from the first to the last.
    Range(i64, i64),
    /// These.
    List(Vec<i64>),
}

impl Numbers {
    /// The queries that ask for these numbers, each of them once. They are sorted, and no two are equal.
    pub fn queries(numbers: &[i64]) -> Vec<Self> {
        let mut queries = Vec::new();
        let mut single = Vec::new();
        for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            if run.len() < MIN_RANGE {
                single.extend_from_slice(run);
                continue;
            }
            for part in run.chunks(MAX_RANGE) {
                queries.push(Self::Range(part[0], part[part.len() - 1]));
            }
        }
        queries.extend(single.chunks(MAX_LIST).map(|part| Self::List(part.to_vec())));
        queries
    }

    /// The condition that a column has one of them.
    pub fn contain(&self, column: impl ColumnTrait) -> SimpleExpr {
        match self {
            Self::Range(first, last) => column.between(*first, *last),
            Self::List(numbers) => column.is_in(numbers.iter().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_follows_one_another_is_a_range_and_the_rest_are_lists() {
        let mut numbers: Vec<i64> = (1..=7_000).collect();
        numbers.extend((8_000..9_200).step_by(2));
        let queries = Numbers::queries(&numbers);
        assert_eq!(queries[..2], [Numbers::Range(1, 5_000), Numbers::Range(5_001, 7_000)]);
        let lengths: Vec<_> =
            queries[2..].iter().map(|query| matches!(query, Numbers::List(list) if list.len() <= 500)).collect();
        assert_eq!(lengths, [true, true]);
        assert!(Numbers::queries(&[]).is_empty());
        assert_eq!(Numbers::queries(&[i64::MAX]), [Numbers::List(vec![i64::MAX])]);
    }

    proptest! {
        #[test]
        fn every_number_is_asked_for_once_and_no_other(given in prop::collection::btree_set(0_i64..3_000, 0..2_500)) {
            let numbers: Vec<i64> = given.into_iter().collect();
            let mut asked = Vec::new();
            for query in Numbers::queries(&numbers) {
                match query {
                    Numbers::Range(first, last) => asked.extend(first..=last),
                    Numbers::List(list) => asked.extend(list),
                }
            }
            asked.sort_unstable();
            prop_assert_eq!(asked, numbers);
        }
    }
}
