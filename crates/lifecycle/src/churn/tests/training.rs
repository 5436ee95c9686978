//! From rows to a model that may be published.

use super::super::{Baseline, Boosting, Candidate, ChurnError, Method, Penalty, Period, Settings, Training, train};
use super::*;

fn candidates() -> Vec<Candidate> {
    let candidate = |name: &str, settings| Candidate { name: name.to_owned(), settings, calibration: Method::Platt };
    vec![
        candidate("boosting", Settings::Boosted(Boosting { trees: 60, ..Boosting::new(1) })),
        candidate("regression", Settings::Logistic(Penalty::default())),
    ]
}

type Rated = (Table, Vec<bool>);

fn trained(periods: [&Rated; 3], baselines: &[Baseline]) -> Result<Training, ChurnError> {
    let [fit, calibration, holdout] = periods.map(|(table, labels)| Period { table, labels });
    train(fit, calibration, holdout, &candidates(), baselines)
}

fn baseline(name: &str, scores: impl Fn(&Rated) -> Vec<f64>, periods: [&Rated; 3]) -> Baseline {
    Baseline { name: name.to_owned(), calibration: Some(scores(periods[1])), holdout: scores(periods[2]) }
}

#[test]
fn the_better_of_two_that_beat_a_rule_is_chosen() {
    let periods = [&customers(3_000, 1), &customers(2_000, 2), &customers(2_000, 3)];
    // A rule that knows nothing.
    let rule = baseline("chance", |(table, _)| (0..table.rows()).map(|row| (row % 7) as f64).collect(), periods);
    let found = trained(periods, &[rule]).unwrap();
    // Customers were made by a regression.
    assert_eq!(found.chosen, Some(1));
    let card = &found.trained[1].card;
    assert!(card.better && card.converged && card.against[0].comparison.area_under_curve.value > 0.2);
    assert_eq!((card.fitted.rows, card.calibrated.rows, card.trees), (3_000, 2_000, 0));
    assert_eq!(found.trained[0].card.trees, 60);
    assert_eq!(found.baselines[0].0, "chance");
    assert!((found.baselines[0].1.area_under_curve - 0.5).abs() < 0.05);
    // What is calibrated means what it says.
    assert!(card.evaluation.calibration_error < 0.04, "{:?}", card.evaluation);
    assert_eq!(card.profile.bands.iter().map(|band| band.customers).sum::<u64>(), 2_000);
}

#[test]
fn nothing_is_chosen_that_is_no_better_than_what_is_there() {
    let periods = [&customers(3_000, 1), &customers(2_000, 2), &customers(2_000, 3)];
    // The scores of the model in use, which is as good as can be.
    let found = trained(periods, &[]).unwrap();
    assert_eq!(found.chosen, None);
    let in_use = |(table, _): &Rated| found.trained[1].model.model.log_odds(table).unwrap();
    let in_use = baseline("in use", in_use, periods);
    let again = trained(periods, &[in_use]).unwrap();
    assert_eq!(again.chosen, None);
    // And its risks, taken at their word.
    let risks = found.trained[1].model.risks(&periods[2].0).unwrap();
    let in_use = Baseline { name: "in use".to_owned(), calibration: None, holdout: risks };
    let again = trained(periods, &[in_use]).unwrap();
    let against = &again.trained[1].card.against[0].comparison;
    assert_eq!((again.chosen, against.area_under_curve.value, against.brier.value), (None, 0.0, 0.0));
    assert_eq!(again.baselines[0].1, again.trained[1].card.evaluation);
}

#[test]
fn noise_gives_no_model() {
    let noise = |seed| {
        let mut random = Seeded::new(seed);
        let table = numbers((0..1_000).map(|_| [random.unit(), random.unit(), random.unit()]));
        (table, (0..1_000).map(|_| random.unit() < 0.2).collect::<Vec<bool>>())
    };
    let periods = [&noise(1), &noise(2), &noise(3)];
    let rule = baseline("nothing", |(table, _)| vec![0.0; table.rows()], periods);
    assert_eq!(trained(periods, &[rule]).unwrap().chosen, None);
}

#[test]
fn periods_without_outcomes_are_refused() {
    let enough = customers(200, 1);
    let mut quiet = customers(200, 2);
    quiet.1.fill(false);
    let refused = Some(ChurnError::TooFewOutcomes { rows: 200, churned: 0, least: 10 });
    assert_eq!(trained([&quiet, &enough, &enough], &[]).err(), refused);
    assert_eq!(trained([&enough, &quiet, &enough], &[]).err(), refused);
    assert_eq!(trained([&enough, &enough, &quiet], &[]).err(), refused);
    let wrong = Baseline { name: "short".to_owned(), calibration: Some(vec![0.0; 200]), holdout: vec![0.0; 199] };
    assert_eq!(trained([&enough; 3], &[wrong]).err(), Some(ChurnError::Length { found: 199, expected: 200 }));
    let wrong = Baseline { name: "none".to_owned(), calibration: Some(vec![0.0; 200]), holdout: vec![f64::NAN; 200] };
    assert_eq!(trained([&enough; 3], &[wrong]).err(), Some(ChurnError::Prediction(0)));
}
