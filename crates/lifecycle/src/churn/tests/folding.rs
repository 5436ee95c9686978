//! Models that are judged across folds.

use super::super::{
    Baseline, Boosting, Calibration, Candidate, ChurnError, ChurnModel, Evaluation, FOLDS, Logistic, Method, Model,
    Penalty, Period, Settings, Training, cross_validate, fold_of,
};
use super::*;

fn candidates(calibration: Method) -> Vec<Candidate> {
    let candidate = |name: &str, settings| Candidate { name: name.to_owned(), settings, calibration };
    vec![
        candidate("regression", Settings::Logistic(Penalty::default())),
        candidate("boosting", Settings::Boosted(Boosting { trees: 40, ..Boosting::new(1) })),
    ]
}

fn share(labels: &[bool]) -> Baseline {
    let share = labels.iter().filter(|label| **label).count() as f64 / labels.len() as f64;
    Baseline { name: "share".to_owned(), calibration: None, holdout: vec![share; labels.len()] }
}

fn ids(rows: usize) -> Vec<String> {
    (0..rows).map(|row| format!("customer-{row}")).collect()
}

fn validated((table, labels): &(Table, Vec<bool>), method: Method) -> Result<Training, ChurnError> {
    let folds: Vec<usize> = ids(labels.len()).iter().map(|id| fold_of(id)).collect();
    cross_validate(Period { table, labels }, &folds, &candidates(method), &[share(labels)])
}

#[test]
fn a_fold_follows_from_the_id_alone() {
    // The check value of the catalogue of CRC algorithms, and that of nothing.
    assert_eq!((fold_of("123456789"), fold_of("")), (0xcbf4_3926 % FOLDS, 0));
    for id in ["7590-VHVEG", "5575-GNVDE", "段", "customer-1"] {
        assert_eq!(fold_of(id), checksum(id) as usize % FOLDS, "{id}");
    }
}

#[test]
fn figures_are_those_of_risks_that_were_held_out() {
    let normal = |random: &mut Seeded| (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    let mut random = Seeded::new(4);
    let values: Vec<[f64; 2]> = (0..600).map(|_| [normal(&mut random), normal(&mut random)]).collect();
    let labels: Vec<bool> = values.iter().map(|[x0, x1]| random.unit() < 1.0 / (1.0 + (x1 - 1.5 * x0).exp())).collect();
    let rows: Vec<Vec<Value<'_>>> = values.iter().map(|row| row.map(Value::Number).to_vec()).collect();
    let table = numbers(values.iter().copied());
    let found = validated(&(table.clone(), labels.clone()), Method::None).unwrap();
    let (ids, features) = (ids(600), table.features().to_vec());
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    // The witness splits, fits and puts together by itself.
    let risks = across_folds(&ids, &rows, &labels, &features, |fit, labels, held| {
        let model = Model::Logistic(Logistic::fit(fit, labels, Penalty::default()).unwrap());
        ChurnModel { model, calibration: Calibration::None }.risks(held).unwrap()
    });
    assert_eq!(found.trained[0].card.evaluation, Evaluation::new(&risks, &labels).unwrap());
    // What is kept is fitted to everybody.
    let whole = Logistic::fit(&table, &labels, Penalty::default()).unwrap();
    assert_eq!(found.trained[0].model.model, Model::Logistic(whole));
    assert_eq!((found.trained[0].card.fitted.rows, found.trained[0].card.calibrated.rows), (600, 600));
}

#[test]
fn the_better_of_two_that_beat_the_share_is_chosen() {
    let customers = customers(3_000, 1);
    let found = validated(&customers, Method::Platt).unwrap();
    // Customers were made by a regression.
    assert_eq!(found.chosen, Some(0));
    let left = customers.1.iter().filter(|left| **left).count();
    let share = left as f64 / 3_000.0;
    let (name, baseline) = &found.baselines[0];
    assert_eq!((name.as_str(), baseline.area_under_curve), ("share", 0.5));
    assert_close(baseline.brier, share * (1.0 - share), 1e-12, "Brier score of the share");
    for one in &found.trained {
        assert!(one.card.better && one.card.evaluation.area_under_curve > 0.75, "{:?}", one.card.evaluation);
        assert!(one.card.evaluation.calibration_error < 0.04, "{:?}", one.card.evaluation);
        // Of those who stayed alone.
        assert_eq!(one.card.profile.bands.iter().map(|band| band.customers).sum::<u64>() as usize, 3_000 - left);
    }
}

#[test]
fn levels_that_only_one_fold_knows_hold_nothing_up() {
    let mut random = Seeded::new(2);
    let mut table = Table::new(vec![category("name"), number("x")]).unwrap();
    let labels: Vec<bool> = (0..200).map(|_| random.unit() < 0.4).collect();
    for (row, id) in ids(200).iter().enumerate() {
        let name = if row % 2 == 0 { Value::Category(id) } else { Value::Missing };
        table.push(&[name, Value::Number(random.unit())]).unwrap();
    }
    assert_eq!(validated(&(table, labels), Method::Platt).unwrap().chosen, None);
}

#[test]
fn what_can_t_be_judged_is_refused() {
    let (table, mut labels) = customers(200, 1);
    labels.fill(false);
    labels[..9].fill(true);
    let few = (table, labels);
    let refused = |churned, least| Some(ChurnError::TooFewOutcomes { rows: 200, churned, least });
    assert_eq!(validated(&few, Method::Platt).err(), refused(9, 10));
    // Nobody is left to learn from where all who left are in one fold.
    let (table, mut labels) = few;
    labels[..10].fill(true);
    let folds: Vec<usize> = labels.iter().map(|left| usize::from(!*left)).collect();
    let rows = Period { table: &table, labels: &labels };
    let found = cross_validate(rows, &folds, &candidates(Method::Platt), &[]);
    assert_eq!(found.err(), Some(ChurnError::TooFewOutcomes { rows: 190, churned: 0, least: 1 }));
    let found = cross_validate(rows, &folds[1..], &candidates(Method::Platt), &[]);
    assert_eq!(found.err(), Some(ChurnError::Length { found: 199, expected: 200 }));
    let found = cross_validate(rows, &folds, &[], &[]);
    assert_eq!(found.err(), Some(ChurnError::Setting("candidates")));
}
