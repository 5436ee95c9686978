//! P7: fitting BG/NBD and predicting everybody's purchases of the next 39 weeks, beside lifetimes: on CDNOW, and on as many customers as the
//! scale has.

use crate::peers;
use crate::report::{Measurement, Report, Target};
use crate::stage::Stage;
use anyhow::Context;
use quintile_clv::{BgNbd, Dropout, Histories, History};
use serde::Deserialize;
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const ID: &str = "P7";
const WEEKS_AHEAD: f64 = 39.0;
/// 1997-09-30, where the published calibration ends, in days since 1997-01-01.
const CALIBRATED: f64 = 272.0;

#[derive(Deserialize)]
struct Theirs {
    fit: f64,
    prediction: f64,
    predicted: f64,
}

/// Measures the row.
pub fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/cdnow/CDNOW_sample.txt");
    compare(stage, report, &cdnow(&std::fs::read_to_string(log)?)?, "CDNOW", (20, 20.0))?;
    let many: Vec<_> = (0..stage.scale.customers).map(drawn).collect();
    compare(stage, report, &many, "as many customers as the scale has", (1, 15.0))
}

/// Compares both on the same histories; the ratio aimed at is theirs by ours.
fn compare(
    stage: &Stage,
    report: &mut Report,
    histories: &[History],
    whose: &str,
    (rounds, faster): (u32, f64),
) -> anyhow::Result<()> {
    let folder = stage.path("p7");
    std::fs::create_dir_all(&folder)?;
    let numbers = |of: fn(&History) -> f64| histories.iter().map(move |history| of(history).to_le_bytes());
    peers::write(&folder.join("repeats.f64"), numbers(|history| f64::from(history.repeats)))?;
    peers::write(&folder.join("recency.f64"), numbers(|history| history.recency))?;
    peers::write(&folder.join("age.f64"), numbers(|history| history.age))?;
    let arguments = [folder.to_string_lossy().into_owned(), rounds.to_string(), WEEKS_AHEAD.to_string()];
    let theirs: Option<Theirs> =
        peers::run(stage.peers(), "lifetimes_clv.py", &arguments.each_ref().map(String::as_str))?;
    let (mut fit, mut prediction, mut predicted) = (Duration::MAX, Duration::MAX, 0.0);
    for _ in 0..rounds {
        let begun = Instant::now();
        let model = BgNbd::fit(Dropout::AfterRepeats, &Histories::new(histories.iter().copied()))?.model;
        fit = fit.min(begun.elapsed());
        let begun = Instant::now();
        let each: Vec<_> = in_parallel(histories, |history| model.expected_purchases(history, WEEKS_AHEAD));
        prediction = prediction.min(begun.elapsed());
        predicted = black_box(each).iter().sum();
    }
    if let Some(theirs) = &theirs {
        let apart = (predicted / theirs.predicted - 1.0_f64).abs();
        anyhow::ensure!(apart < 1e-2, "the two do not predict alike: {predicted} and {}", theirs.predicted);
    }
    let both = (fit + prediction, theirs.as_ref().map(|theirs| theirs.fit + theirs.prediction));
    for (what, (ours, theirs), target) in [
        ("fit and prediction", both, Some(Target::RatioAtMost(1.0 / faster))),
        ("of that the fit", (fit, theirs.as_ref().map(|theirs| theirs.fit)), None),
    ] {
        report.add(Measurement {
            id: ID,
            what: format!("BG/NBD, {what}, {whose}"),
            ours: ours.as_secs_f64() * 1e3,
            theirs: theirs.map(|seconds| seconds * 1e3),
            unit: "ms",
            scale: stage.scale,
            target,
        })?;
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

/// What a function gives for each history, on all cores.
fn in_parallel(histories: &[History], of: impl Fn(&History) -> f64 + Sync) -> Vec<f64> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let per_thread = histories.len().div_ceil(threads).max(1);
    let mut given = vec![0.0; histories.len()];
    std::thread::scope(|scope| {
        for (histories, given) in histories.chunks(per_thread).zip(given.chunks_mut(per_thread)) {
            scope.spawn(|| histories.iter().zip(given).for_each(|(history, given)| *given = of(history)));
        }
    });
    given
}

/// The histories of the published calibration, in weeks: customer, date, and more.
fn cdnow(log: &str) -> anyhow::Result<Vec<History>> {
    let mut days: HashMap<&str, Vec<f64>> = HashMap::new();
    for line in log.lines() {
        let mut words = line.split_whitespace().skip(1);
        let (customer, date) = (words.next().context("a customer")?, words.next().context("a date")?);
        let day = day_of(date)?;
        if day <= CALIBRATED {
            days.entry(customer).or_default().push(day);
        }
    }
    let histories = days.into_values().map(|mut days| {
        days.sort_by(f64::total_cmp);
        days.dedup();
        let (first, last) = (days[0], days[days.len() - 1]);
        History { repeats: days.len() as u32 - 1, recency: (last - first) / 7.0, age: (CALIBRATED - first) / 7.0 }
    });
    Ok(histories.collect())
}

/// Days since 1997-01-01.
fn day_of(date: &str) -> anyhow::Result<f64> {
    let number = quintile_domain::time::day_number(date[..4].parse()?, date[4..6].parse()?, date[6..8].parse()?);
    let first = quintile_domain::time::day_number(1997, 1, 1).context("a day")?;
    Ok(f64::from(number.context("a day")? - first))
}

/// A customer of a population of the model: drawn from the number alone (`SplitMix64`).
fn drawn(number: u32) -> History {
    let mut state = u64::from(number).wrapping_mul(0xd129_0d3b_3f7d_5a35);
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64 + 1e-17
    };
    // Days of two years; a rate that is exponential over customers, and a fixed chance to leave for each.
    let age = (uniform() * 700.0).floor() + 30.0;
    let (every, leaves) = (20.0 / uniform().max(0.02), uniform().powi(3));
    let (mut repeats, mut recency, mut now) = (0, 0.0_f64, 0.0);
    while uniform() > leaves {
        now += (-uniform().ln() * every).ceil();
        if now > age {
            break;
        }
        (repeats, recency) = (repeats + 1, now);
    }
    History { repeats, recency: recency / 7.0, age: age / 7.0 }
}
