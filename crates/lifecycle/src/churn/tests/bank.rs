//! The bank's customers (`Churn_Modelling`, 10,000), against published figures of both kinds of model.

use super::super::{Boosted, Boosting, Calibration, ChurnModel, Evaluation, Feature, Logistic, Model, Penalty, Value};
use super::*;

const CATEGORIES: [&str; 4] = ["Geography", "Gender", "HasCrCard", "IsActiveMember"];

/// Evaluates risks across folds of a model that is fitted to a table and labels.
fn across(fit: impl Fn(&Table, &[bool]) -> Model) -> Option<Evaluation> {
    let (names, lines) = data("bank_churn/Churn_Modelling.csv")?;
    assert_eq!((names.len(), lines.len()), (14, 10_000));
    let kind = |name: &String| if CATEGORIES.contains(&name.as_str()) { category(name) } else { number(name) };
    let features: Vec<Feature> = names[3..13].iter().map(kind).collect();
    let value = |(feature, text): (&Feature, &'_ String)| -> Option<f64> {
        (feature.kind == Kind::Number).then(|| text.parse().unwrap())
    };
    let rows: Vec<Vec<Value<'_>>> = lines
        .iter()
        .map(|line| {
            let values = features.iter().zip(&line[3..13]).map(value).zip(&line[3..13]);
            values.map(|(number, text)| number.map_or(Value::Category(text), Value::Number)).collect()
        })
        .collect();
    let labels: Vec<bool> = lines.iter().map(|line| line[13] == "1").collect();
    let ids: Vec<&str> = lines.iter().map(|line| line[1].as_str()).collect();
    let risks = across_folds(&ids, &rows, &labels, &features, |table, labels, held| {
        let model = ChurnModel { model: fit(table, labels), calibration: Calibration::None };
        model.risks(held).unwrap()
    });
    Some(Evaluation::new(&risks, &labels).unwrap())
}

#[test]
fn a_regression_is_as_good_across_folds_as_published() {
    let found = across(|table, labels| Model::Logistic(Logistic::fit(table, labels, Penalty::default()).unwrap()));
    if let Some(found) = found {
        println!("{found:?}");
        assert_close(found.area_under_curve, 0.7652, 0.000_1, "area under the curve");
    }
}

#[test]
fn boosting_is_as_good_across_folds_as_published() {
    let found = across(|table, labels| Model::Boosted(Boosted::fit(table, labels, &Boosting::new(1)).unwrap()));
    if let Some(found) = found {
        println!("{found:?}");
        assert!(found.area_under_curve >= 0.86, "{}", found.area_under_curve);
    }
}
