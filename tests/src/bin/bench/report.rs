//! The report: a table for people, and a file that keeps the rows of every scale.

use crate::stage::Scale;
use anyhow::Context;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The customers of the reference load: only there a target is met or missed.
const REFERENCE_CUSTOMERS: u32 = 6_000_000;

/// One measurement.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The row of the table.
    pub id: &'static str,
    /// What was measured.
    pub what: String,
    /// Ours.
    pub ours: f64,
    /// The comparison. `None`: there is none, or it did not run.
    pub theirs: Option<f64>,
    /// The unit of both.
    pub unit: &'static str,
    /// At which scale.
    pub scale: Scale,
    /// What is aimed at. `None`: reported for orientation.
    pub target: Option<Target>,
}

/// What is aimed at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At least so many times the comparison.
    RatioAtLeast(f64),
    /// At most so many times the comparison.
    RatioAtMost(f64),
    /// At most so much, whatever the comparison.
    AtMost(f64),
}

/// A measurement as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Entry {
    id: String,
    what: String,
    ours: f64,
    theirs: Option<f64>,
    ratio: Option<f64>,
    unit: String,
    customers: u32,
    orders: u32,
    target: Option<String>,
    met: Option<bool>,
}

impl Target {
    fn met(self, ours: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Self::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Self::AtMost(most) => Some(ours <= most),
        }
    }

    fn text(self) -> String {
        match self {
            Self::RatioAtLeast(least) => format!("ratio >= {least}"),
            Self::RatioAtMost(most) => format!("ratio <= {most:.3}"),
            Self::AtMost(most) => format!("<= {most}"),
        }
    }
}

impl Measurement {
    fn entry(&self) -> Entry {
        let ratio = self.theirs.map(|theirs| self.ours / theirs);
        let full_size = self.scale.customers >= REFERENCE_CUSTOMERS;
        Entry {
            id: self.id.to_owned(),
            what: self.what.clone(),
            ours: rounded(self.ours),
            theirs: self.theirs.map(rounded),
            ratio: ratio.map(rounded),
            unit: self.unit.to_owned(),
            customers: self.scale.customers,
            orders: self.scale.orders,
            target: self.target.map(Target::text),
            met: self.target.and_then(|target| target.met(self.ours, ratio)).filter(|_| full_size),
        }
    }
}

/// Four significant digits: the fifth is another one in the next run.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The report of a run.
pub struct Report {
    path: PathBuf,
    measured: Vec<Measurement>,
}

impl Report {
    /// A report that is kept in a file.
    pub fn new(path: PathBuf) -> Self {
        Self { path, measured: Vec::new() }
    }

    /// Adds a measurement, and writes it down: a run at full size that is broken off keeps what it has.
    pub fn add(&mut self, measurement: Measurement) -> anyhow::Result<()> {
        keep(&self.path, std::slice::from_ref(&measurement))?;
        self.measured.push(measurement);
        Ok(())
    }

    /// The measurements of this run, for people.
    pub fn table(&self) -> String {
        table(&self.measured)
    }
}

fn table(measured: &[Measurement]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["row", "what", "ours", "theirs", "unit", "ratio", "target", "met"]);
    for entry in measured.iter().map(Measurement::entry) {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), readable);
        table.add_row([
            entry.id,
            entry.what,
            readable(entry.ours),
            number(entry.theirs),
            entry.unit,
            entry.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            entry.target.unwrap_or("-".to_owned()),
            entry.met.map_or("-", |met| if met { "yes" } else { "no" }).to_owned(),
        ]);
    }
    for column in [2, 3, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let scale = measured.first().map(|first| first.scale);
    let scale = scale.map(|scale| format!("{} customers, {} orders\n", scale.customers, scale.orders));
    format!("{}{table}", scale.unwrap_or_default())
}

fn readable(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// Writes measurements into the report; they replace those of the same row, thing and scale, and all others stay.
fn keep(path: &Path, measured: &[Measurement]) -> anyhow::Result<()> {
    let known: Vec<Entry> = match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is no report", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let entries = merged(known, measured.iter().map(Measurement::entry).collect());
    let draft = path.with_extension("json.new");
    std::fs::write(&draft, serde_json::to_vec_pretty(&entries)?)?;
    Ok(std::fs::rename(draft, path)?)
}

fn merged(known: Vec<Entry>, new: Vec<Entry>) -> Vec<Entry> {
    let key = |entry: &Entry| (entry.id.clone(), entry.what.clone(), entry.customers);
    let replaced = |entry: &Entry| new.iter().any(|other| key(other) == key(entry));
    let mut entries: Vec<_> = known.into_iter().filter(|entry| !replaced(entry)).collect();
    entries.extend(new);
    entries.sort_by_key(key);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(customers: u32, ours: f64) -> Measurement {
        Measurement {
            id: "P1s",
            what: "orders".to_owned(),
            ours,
            theirs: Some(100.0),
            unit: "orders/s",
            scale: Scale { customers, orders: 10 },
            target: Some(Target::RatioAtLeast(0.5)),
        }
    }

    #[test]
    fn a_target_is_met_or_missed_at_full_size_only() {
        assert_eq!(measurement(60_000, 90.0).entry().met, None);
        assert_eq!(measurement(6_000_000, 90.0).entry().met, Some(true));
        assert_eq!(measurement(6_000_000, 40.0).entry().met, Some(false));
    }

    #[test]
    fn without_its_comparison_nothing_is_met() {
        let alone = Measurement { theirs: None, ..measurement(6_000_000, 90.0) };
        assert_eq!((alone.entry().ratio, alone.entry().met), (None, None));
    }

    #[test]
    fn a_bound_is_kept_or_not_whatever_the_comparison() {
        let bound =
            |ours, theirs| Measurement { theirs, target: Some(Target::AtMost(10.0)), ..measurement(6_000_000, ours) };
        for (ours, theirs, met) in
            [(10.0, None, true), (10.1, None, false), (9.0, Some(1.0), true), (11.0, Some(99.0), false)]
        {
            assert_eq!(bound(ours, theirs).entry().met, Some(met), "{ours} {theirs:?}");
        }
    }

    #[test]
    fn the_report_keeps_the_rows_of_every_scale() {
        let known = merged(Vec::new(), vec![measurement(60_000, 1.0).entry(), measurement(6_000_000, 2.0).entry()]);
        let entries = merged(known, vec![measurement(60_000, 3.0).entry()]);
        let ours: Vec<_> = entries.iter().map(|entry| (entry.customers, entry.ours)).collect();
        assert_eq!(ours, [(60_000, 3.0), (6_000_000, 2.0)]);
    }
}
