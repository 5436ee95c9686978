//! Regressions whose solution is known.

use super::super::{Logistic, Part, Penalty, Value};
use super::*;
use proptest::prelude::*;

fn fit(table: &Table, labels: &[bool], lambda: f64) -> Logistic {
    let found = Logistic::fit(table, labels, Penalty { lambda }).unwrap();
    assert!(found.converged);
    found
}

#[test]
fn of_a_category_the_coefficient_is_the_log_odds_ratio() {
    // Of "a" one in four left, of "b" three in four: -ln 3 and 2 ln 3, as there is next to no penalty.
    let mut table = Table::new(vec![category("level")]).unwrap();
    let mut labels = Vec::new();
    for (level, left, stayed) in [("b", 300, 100), ("a", 100, 300)] {
        for row in 0..left + stayed {
            table.push(&[Value::Category(level)]).unwrap();
            labels.push(row < left);
        }
    }
    let found = fit(&table, &labels, 1e-6);
    assert_close(found.intercept, -3.0_f64.ln(), 1e-6, "intercept");
    assert_close(found.coefficients[0], 2.0 * 3.0_f64.ln(), 1e-6, "coefficient");
}

#[test]
fn what_tells_outcomes_apart_without_error_has_a_finite_coefficient() {
    let table = numbers((0..100).map(|row| [f64::from(row)]));
    let labels: Vec<bool> = (0..100).map(|row| row >= 50).collect();
    let mut last = 0.0;
    for lambda in [1e3, 1.0, 1e-3, 1e-6] {
        let found = fit(&table, &labels, lambda);
        assert!(found.coefficients[0] > last && found.coefficients[0].is_finite());
        last = found.coefficients[0];
    }
}

#[test]
fn a_step_that_goes_too_far_is_halved() {
    // Two of a thousand are far from all others, and one of them left: Newton's first step makes both certain to.
    let table = numbers((0..1_002).map(|row| [f64::from(row / 1_000)]));
    let labels: Vec<bool> = (0..1_002).map(|row| row == 0 || row == 1_001).collect();
    let found = fit(&table, &labels, 1e-6);
    let model = super::super::Model::Logistic(found);
    let log_odds = model.log_odds(&numbers([[0.0], [1.0]])).unwrap();
    assert_close(log_odds[0], -999.0_f64.ln(), 1e-4, "log-odds of most");
    assert_close(log_odds[1], 0.0, 1e-4, "log-odds of the two");
}

#[test]
fn features_that_say_the_same_share_what_they_say() {
    let twice = numbers((0..60).map(|row| [f64::from(row), 2.0 * f64::from(row) + 1.0]));
    let labels: Vec<bool> = (0..60).map(|row| row % 3 == 0 || row > 40).collect();
    let found = fit(&twice, &labels, 1.0);
    assert_close(found.coefficients[0], found.coefficients[1], 1e-9, "coefficients");
}

#[test]
fn what_does_not_vary_and_what_nobody_knows_says_nothing() {
    let table = numbers((0..60).map(|row| [7.0, f64::from(row), f64::NAN]));
    let labels: Vec<bool> = (0..60).map(|row| row % 2 == 0).collect();
    let found = fit(&table, &labels, 1.0);
    assert_close(found.coefficients[0], 0.0, 1e-12, "a constant");
    assert_close(found.coefficients[2], 0.0, 1e-12, "an unknown");
}

#[test]
fn coefficients_are_those_that_customers_were_made_by() {
    let (table, labels) = customers(100_000, 1);
    let found = fit(&table, &labels, 1e-3);
    // Of -0.5 + 1.5 x0 - x1 + (level b) + (x2 missing); four standard errors. Deviations of x0 and x1 are about 1.
    assert_close(found.intercept, -0.5, 0.08, "intercept");
    let expected = [(Part::Amount, 1.5), (Part::Amount, -1.0), (Part::Amount, 0.0), (Part::Missing, 1.0)];
    let expected = expected.into_iter().chain([(Part::Level(1), 1.0), (Part::Level(2), 0.0)]);
    for ((part, value), (term, coefficient)) in expected.zip(found.encoding.terms().iter().zip(&found.coefficients)) {
        assert_eq!(term.part, part);
        assert_close(*coefficient, value, 0.08, "coefficient");
    }
}

proptest! {
    #[test]
    fn the_objective_is_flat_at_the_solution(
        rows in prop::collection::vec((-3.0..3.0_f64, -3.0..3.0_f64, any::<bool>()), 6..40), lambda in 0.01..10.0_f64,
    ) {
        prop_assume!(rows.iter().any(|row| row.2) && rows.iter().any(|row| !row.2));
        let labels: Vec<bool> = rows.iter().map(|row| row.2).collect();
        let found = fit(&numbers(rows.iter().map(|row| [row.0, row.1])), &labels, lambda);
        // The gradient by its formula: sum of (risk - label) z + lambda beta.
        let mean = |pick: fn(&(f64, f64, bool)) -> f64| rows.iter().map(pick).sum::<f64>() / rows.len() as f64;
        let means = (mean(|row| row.0), mean(|row| row.1));
        let deviation = |pick: fn(&(f64, f64, bool)) -> f64, mean: f64| {
            (rows.iter().map(|row| (pick(row) - mean).powi(2)).sum::<f64>() / rows.len() as f64).sqrt()
        };
        let deviations = (deviation(|row| row.0, means.0), deviation(|row| row.1, means.1));
        let mut gradient = [0.0, lambda * found.coefficients[0], lambda * found.coefficients[1]];
        for row in &rows {
            let z = [1.0, (row.0 - means.0) / deviations.0, (row.1 - means.1) / deviations.1];
            let log_odds = found.intercept + found.coefficients[0] * z[1] + found.coefficients[1] * z[2];
            let error = 1.0 / (1.0 + (-log_odds).exp()) - f64::from(u8::from(row.2));
            gradient.iter_mut().zip(z).for_each(|(sum, z)| *sum += error * z);
        }
        prop_assert!(gradient.iter().all(|slope| slope.abs() < 1e-8), "{gradient:?}");
    }
}
