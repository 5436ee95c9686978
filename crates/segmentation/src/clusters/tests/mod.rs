//! Tables whose clusters are known, by arithmetic or from other programs.

#![expect(clippy::float_cmp, reason = "what is the same by construction is compared exactly")]

mod choosing;
mod describing;
mod drifting;
mod fitting;
mod iris;
mod mixing;
mod preparing;

use super::{Feature, Prepared, Table};
use quintile_domain::seeded::Seeded;

fn feature(name: &str, logarithmic: bool) -> Feature {
    Feature { name: name.to_owned(), logarithmic, high: format!("high {name}"), low: format!("low {name}") }
}

/// Features a, b, c ..., none of them logarithmic.
fn table(width: usize, rows: impl IntoIterator<Item = Vec<Option<f64>>>) -> Table {
    let names = ('a'..).take(width).map(|name| feature(&name.to_string(), false));
    let mut table = Table::new(names.collect()).unwrap();
    for row in rows {
        table.push(&row).unwrap();
    }
    table
}

fn known(row: &[f64]) -> Vec<Option<f64>> {
    row.iter().copied().map(Some).collect()
}

fn prepared(width: usize, rows: &[Vec<f64>]) -> Prepared {
    table(width, rows.iter().map(|row| known(row))).prepare().unwrap()
}

/// About normal, with mean 0 and deviation 1: the sum of twelve even ones (deviation 1/12 each).
fn normal(random: &mut Seeded) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

/// Round clouds of a deviation of 1 about centres, so many rows each.
fn clouds(centres: &[(f64, f64, usize)], seed: u64) -> Vec<Vec<f64>> {
    let mut random = Seeded::new(seed);
    let mut rows = Vec::new();
    for (x, y, count) in centres {
        for _ in 0..*count {
            rows.push(vec![x + normal(&mut random), y + normal(&mut random)]);
        }
    }
    rows
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1e-3), "{what}: {ours}, and not {theirs}");
}
