//! Cohort tables that are counted by hand, and by brute force.

use crate::retention::{Cell, Cohorts, MAX_MONTHS, Period, RetentionError};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn cohorts(first: i32, last: i32, last_is_partial: bool, customers: &[Vec<i32>]) -> Cohorts {
    let mut cohorts = Cohorts::new(first, last, last_is_partial).unwrap();
    for months in customers {
        cohorts.add(months).unwrap();
    }
    cohorts
}

fn shares(cells: &[Cell]) -> Vec<(f64, bool)> {
    cells.iter().map(|cell| (cell.share.unwrap_or(-1.0), cell.is_partial)).collect()
}

#[test]
fn a_small_table_is_what_one_counts() {
    let customers = [
        vec![10, 11, 12],
        vec![10, 10, 12],
        vec![10],
        vec![10, 11, 99],
        vec![12, 12],
        // It began before the table, and is of none of its cohorts.
        vec![9, 10, 11],
        vec![13],
        vec![],
    ];
    let table = cohorts(10, 12, true, &customers).table();
    let sizes: Vec<_> = table.cohorts.iter().map(|cohort| (cohort.month, cohort.customers)).collect();
    assert_eq!(sizes, [(10, 4), (11, 0), (12, 1)]);
    assert_eq!(shares(&table.cohorts[0].cells), [(1.0, false), (0.5, false), (0.5, true)]);
    assert_eq!(shares(&table.cohorts[1].cells), [(-1.0, false), (-1.0, true)]);
    assert_eq!(shares(&table.cohorts[2].cells), [(1.0, true)]);
    // The third month since, and the newest cohort, are not over.
    let overall: Vec<_> = table.overall.iter().map(|cell| (cell.months_since, cell.customers, cell.active)).collect();
    assert_eq!(overall, [(0, 4, 4), (1, 4, 2)]);
    let whole = cohorts(10, 12, false, &customers).table();
    let overall: Vec<_> = whole.overall.iter().map(|cell| (cell.months_since, cell.customers, cell.active)).collect();
    assert_eq!(overall, [(0, 5, 5), (1, 4, 2), (2, 4, 2)]);
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    let of = |first, last| Cohorts::new(first, last, false).map(|_| ());
    assert_eq!(of(5, 4), Err(RetentionError::MonthsOutOfRange(0)));
    assert_eq!(of(1, MAX_MONTHS as i32), Ok(()));
    assert_eq!(of(0, MAX_MONTHS as i32), Err(RetentionError::MonthsOutOfRange(601)));
    assert_eq!(of(i32::MIN, i32::MAX), Err(RetentionError::MonthsOutOfRange(1 << 32)));
    assert_eq!(of(i32::MAX, i32::MAX), Ok(()));
    let mut cohorts = Cohorts::new(i32::MIN, i32::MIN + 1, false).unwrap();
    assert_eq!(cohorts.add(&[3, 2]), Err(RetentionError::MonthsDescend));
    assert_eq!(cohorts.add(&[i32::MIN, i32::MAX]), Ok(()));
    assert_eq!(cohorts.add(&[i32::MAX]), Ok(()));
    assert_eq!(cohorts.table().cohorts[0].customers, 1);
    let last = Cohorts::new(i32::MAX, i32::MAX, false).unwrap().table();
    assert_eq!(last.cohorts[0].month, i32::MAX);
}

#[test]
fn retention_of_a_period_leaves_out_those_who_were_won_within_it() {
    let period = Period { at_start: 200, at_end: 190, won: 30 };
    assert_eq!((period.retention(), period.churn().map(|churn| (churn * 100.0).round() as u32)), (Some(0.8), Some(20)));
    assert_eq!(Period { at_start: 0, at_end: 5, won: 5 }.retention(), None);
    assert_eq!(Period { at_start: 5, at_end: 5, won: 6 }.retention(), None);
    assert_eq!(Period { at_start: 5, at_end: 9, won: 1 }.retention(), None);
}

fn customers() -> impl Strategy<Value = Vec<Vec<i32>>> {
    let months = prop::collection::vec(-3..10_i32, 0..8).prop_map(|mut months| {
        months.sort_unstable();
        months
    });
    prop::collection::vec(months, 0..20)
}

proptest! {
    #[test]
    fn a_cell_counts_those_of_its_cohort_who_were_active(
        customers in customers(), first in -2..4_i32, span in 0..6_i32, partial in any::<bool>(),
    ) {
        let last = first + span;
        let table = cohorts(first, last, partial, &customers).table();
        prop_assert_eq!(table.cohorts.len() as i32, span + 1);
        for cohort in &table.cohorts {
            let those: Vec<BTreeSet<i32>> = customers.iter().map(|months| months.iter().copied().collect()).collect();
            let those: Vec<_> = those.into_iter().filter(|months| months.first() == Some(&cohort.month)).collect();
            prop_assert_eq!(cohort.customers as usize, those.len());
            prop_assert_eq!(cohort.cells.len() as i32, last - cohort.month + 1);
            for (since, cell) in (0..).zip(&cohort.cells) {
                let active = those.iter().filter(|months| months.contains(&(cohort.month + since))).count();
                prop_assert_eq!((cell.months_since as i32, cell.active as usize), (since, active));
                prop_assert_eq!(cell.is_partial, partial && cohort.month + since == last);
                let share = (!those.is_empty()).then(|| active as f64 / those.len() as f64);
                prop_assert_eq!(cell.share, share);
            }
        }
        for cell in &table.overall {
            let cells = table.cohorts.iter().filter_map(|cohort| cohort.cells.get(cell.months_since as usize));
            let whole: Vec<_> = cells.filter(|cell| !cell.is_partial).collect();
            prop_assert_eq!(cell.active, whole.iter().map(|cell| cell.active).sum::<u64>());
            prop_assert_eq!(cell.customers, whole.iter().map(|cell| cell.customers).sum::<u64>());
        }
    }

    #[test]
    fn tables_that_are_put_together_are_those_of_everybody(one in customers(), other in customers()) {
        let mut merged = cohorts(0, 6, true, &one);
        merged.merge(&cohorts(0, 6, true, &other));
        let all: Vec<_> = one.into_iter().chain(other).collect();
        prop_assert_eq!(merged, cohorts(0, 6, true, &all));
    }
}
