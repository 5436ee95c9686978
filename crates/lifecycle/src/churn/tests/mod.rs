//! Models against what others found and what is computed by hand, never against themselves.

mod bank;
mod bounds;
mod calibrating;
mod comparing;
mod drifting;
mod explaining;
mod folding;
mod measuring;
mod regressing;
mod telco;
mod training;
mod trees;
mod vectors;

use super::{Feature, Kind, Table, Value};
use quintile_domain::seeded::Seeded;

fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found} is not {expected}");
}

fn number(name: &str) -> Feature {
    Feature { name: name.to_owned(), kind: Kind::Number }
}

fn category(name: &str) -> Feature {
    Feature { name: name.to_owned(), kind: Kind::Category }
}

/// A table of numbers, of which those that are no number are missing.
fn numbers<const N: usize>(rows: impl IntoIterator<Item = [f64; N]>) -> Table {
    let mut table = Table::new((0..N).map(|place| number(&format!("x{place}"))).collect()).unwrap();
    for row in rows {
        let values = row.map(|value| if value.is_nan() { Value::Missing } else { Value::Number(value) });
        table.push(&values).unwrap();
    }
    table
}

/// Customers whose log-odds are known: 1.5 x0 - x1, plus 1 for level "b" of three, plus 1 where x2 is missing.
fn customers(rows: usize, seed: u64) -> (Table, Vec<bool>) {
    let mut random = Seeded::new(seed);
    let features = vec![number("x0"), number("x1"), number("x2"), category("level")];
    let (mut table, mut labels) = (Table::new(features).unwrap(), Vec::new());
    for _ in 0..rows {
        let normal = |random: &mut Seeded| (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
        let (x0, x1, x2) = (normal(&mut random), normal(&mut random), normal(&mut random));
        let (level, missing) = (random.below(3), random.below(4) == 0);
        let log_odds = 1.5 * x0 - x1 + f64::from(level == 1) + f64::from(missing) - 0.5;
        labels.push(random.unit() < 1.0 / (1.0 + (-log_odds).exp()));
        let x2 = if missing { Value::Missing } else { Value::Number(x2) };
        table.push(&[Value::Number(x0), Value::Number(x1), x2, Value::Category(["a", "b", "c"][level])]).unwrap();
    }
    (table, labels)
}

/// The lines of a file of the data that are not ours to ship, its head apart: `QUINTILE_DATA` names where they are.
fn data(path: &str) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let Some(data) = std::env::var_os("QUINTILE_DATA") else {
        println!("skipped: QUINTILE_DATA is not set");
        return None;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&data).join(path)).unwrap();
    let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<String>>();
    let mut lines = text.lines().map(split);
    Some((lines.next().unwrap(), lines.collect()))
}

/// CRC-32 of ISO 3309, bit by bit.
fn checksum(text: &str) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !text.bytes().fold(!0, |sum: u32, byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| step(sum)))
}

/// Risks of each fifth by a model of the others. The fifth of a row is the checksum of its id, modulo 5.
fn across_folds(
    ids: &[&str],
    rows: &[Vec<Value<'_>>],
    labels: &[bool],
    features: &[Feature],
    risks: impl Fn(&Table, &[bool], &Table) -> Vec<f64>,
) -> Vec<f64> {
    let fold = |row: usize| checksum(ids[row]) % 5;
    let mut found = vec![f64::NAN; rows.len()];
    for held_out in 0..5 {
        let (mut fit, mut fit_labels) = (Table::new(features.to_vec()).unwrap(), Vec::new());
        let (mut held, mut places) = (Table::new(features.to_vec()).unwrap(), Vec::new());
        for (row, values) in rows.iter().enumerate() {
            if fold(row) == held_out {
                held.push(values).unwrap();
                places.push(row);
            } else {
                fit.push(values).unwrap();
                fit_labels.push(labels[row]);
            }
        }
        for (place, risk) in places.into_iter().zip(risks(&fit, &fit_labels, &held)) {
            found[place] = risk;
        }
    }
    found
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    // The check value of the catalogue of CRC algorithms.
    assert_eq!(checksum("123456789"), 0xcbf4_3926);
}
