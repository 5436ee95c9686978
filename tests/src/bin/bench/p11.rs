//! P11: training of a churn model, everything but reading: a sixth of the scale's customers by 30 features, a regression and boosted trees, fitted,
//! calibrated, judged and held against a rule of thumb. And for how long a customer's risk stays at its step.

use crate::report::{Measurement, Report, Target};
use crate::stage::Stage;
use anyhow::Context;
use quintile_domain::seeded::Seeded;
use quintile_lifecycle::churn::{
    Baseline, Boosting, Candidate, ChurnModel, Feature, Kind, Method, Moving, Penalty, Period, Settings, Table, Turns,
    Value, train,
};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;

const ID: &str = "P11";
/// Features that are numbers; the first is of days, and moves.
const NUMBERS: usize = 28;
/// Levels of the two others.
const LEVELS: [&str; 5] = ["online", "store", "phone", "partner", "fair"];
/// For so many days it is looked ahead at most.
const DAYS: i32 = 365;
/// Customers whose steps are asked for.
const ASKED: usize = 10_000;

/// Customers, what they do being known.
struct Drawn {
    table: Table,
    left: Vec<bool>,
    days: Vec<f64>,
}

/// Measures the row.
pub fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let rows = (stage.scale.customers / 6) as usize;
    let (fit, calibration, holdout) = (drawn(1, rows)?, drawn(2, rows / 4)?, drawn(3, rows / 4)?);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let candidates = [
        ("logistic", Settings::Logistic(Penalty::default())),
        ("boosting", Settings::Boosted(Boosting { threads, ..Boosting::new(1) })),
    ];
    let candidates =
        candidates.map(|(name, settings)| Candidate { name: name.to_owned(), settings, calibration: Method::Isotonic });
    let (known, held) = (calibration.days.clone(), holdout.days.clone());
    let recency = Baseline { name: "recency".to_owned(), calibration: Some(known), holdout: held };
    let begun = Instant::now();
    let training = train(fit.rows(), calibration.rows(), holdout.rows(), &candidates, &[recency])?;
    let trained = begun.elapsed();
    let boosted = training.trained.get(1).context("a second model")?;
    anyhow::ensure!(boosted.card.evaluation.area_under_curve > 0.7, "nothing was learnt");
    report.add(Measurement {
        id: ID,
        what: format!("a churn model of {rows} customers by {} features", NUMBERS + 2),
        ours: trained.as_secs_f64(),
        theirs: None,
        unit: "s",
        scale: stage.scale,
        target: Some(Target::AtMost(60.0)),
    })?;
    report.add(Measurement {
        id: ID,
        what: "the step of a customer's risk, and the day on which it turns".to_owned(),
        ours: steps(&boosted.model)? * 1e6,
        theirs: None,
        unit: "µs",
        scale: stage.scale,
        target: None,
    })?;
    Ok(())
}

/// The seconds that a customer's step takes, and how long it lasts.
fn steps(model: &ChurnModel) -> anyhow::Result<f64> {
    let turns = Turns::of(model);
    let mut random = Seeded::new(4);
    let customers: Vec<_> = (0..ASKED).map(|_| values(&mut random)).collect();
    let begun = Instant::now();
    for (numbers, levels) in &customers {
        let mut moving = Moving::new(model, &turns, &row(numbers, *levels))?;
        let step = |risk: f64| (risk * 20.0) as i32;
        let now = step(moving.risk());
        let differs = |day: &i32| moving.set(0, numbers[0] + f64::from(*day)) && step(moving.risk()) != now;
        black_box((1..=DAYS).find(differs));
    }
    Ok(begun.elapsed().as_secs_f64() / ASKED as f64)
}

type Values = ([f64; NUMBERS], [usize; 2]);

fn values(random: &mut Seeded) -> Values {
    let mut numbers = [0.0; NUMBERS];
    numbers[0] = (random.unit() * 365.0).floor();
    for (place, number) in numbers.iter_mut().enumerate().skip(1) {
        // Counts of few, as of orders; amounts of all sizes.
        *number = if place % 2 == 0 { (random.unit() * 8.0).floor() } else { (random.unit() * 9.0).exp() };
    }
    (numbers, [random.below(LEVELS.len()), random.below(LEVELS.len())])
}

fn row(numbers: &[f64; NUMBERS], levels: [usize; 2]) -> Vec<Value<'static>> {
    let levels = levels.map(|level| LEVELS.get(level).map_or(Value::Missing, |level| Value::Category(level)));
    numbers.iter().map(|number| Value::Number(*number)).chain(levels).collect()
}

/// Customers who leave the likelier the longer they are silent, the fewer orders they have, and by one of the channels.
fn drawn(seed: u64, rows: usize) -> anyhow::Result<Drawn> {
    let numbers = (0..NUMBERS).map(|place| Feature { name: format!("number {place}"), kind: Kind::Number });
    let levels = (0..2).map(|place| Feature { name: format!("level {place}"), kind: Kind::Category });
    let mut drawn = Drawn { table: Table::new(numbers.chain(levels).collect())?, left: Vec::new(), days: Vec::new() };
    let mut random = Seeded::new(seed);
    for _ in 0..rows {
        let (numbers, levels) = values(&mut random);
        let log_odds = numbers[0] / 60.0 - numbers[2] / 2.0 + f64::from(u8::from(levels[0] == 1));
        drawn.left.push(random.unit() < 1.0 / (1.0 + (1.0 - log_odds).exp()));
        drawn.days.push(numbers[0]);
        drawn.table.push(&row(&numbers, levels))?;
    }
    Ok(drawn)
}

impl Drawn {
    fn rows(&self) -> Period<'_> {
        Period { table: &self.table, labels: &self.left }
    }
}
