//! The Telco churn set (7,043 customers), against a regression of others and published figures of both kinds of model.

use super::super::{
    Boosted, Boosting, Calibration, Candidate, ChurnModel, Encoding, Evaluation, Feature, Logistic, Method, Model,
    Part, Penalty, Period, Settings, Table, Value, cross_validate, fold_of,
};
use super::vectors::{Reference, TELCO};
use super::*;

const FILE: &str = "telco/WA_Fn-UseC_-Telco-Customer-Churn.csv";
const NUMBERS: [&str; 3] = ["tenure", "MonthlyCharges", "TotalCharges"];

struct Telco {
    names: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Telco {
    fn read() -> Option<Self> {
        let (names, lines) = data(FILE)?;
        assert_eq!((names.len(), lines.len()), (21, 7_043));
        Some(Self { names, lines })
    }

    fn features(&self) -> Vec<Feature> {
        let kind = |name: &String| if NUMBERS.contains(&name.as_str()) { number(name) } else { category(name) };
        self.names[1..20].iter().map(kind).collect()
    }

    /// Eleven blanks of total charges are of customers who have not been charged yet.
    fn rows(&self) -> Vec<Vec<Value<'_>>> {
        let value = |(name, text): (&String, &'_ String)| -> Option<f64> {
            NUMBERS.contains(&name.as_str()).then(|| text.trim().parse().unwrap_or(0.0))
        };
        let row = |line: &'_ Vec<String>| -> Vec<Option<f64>> {
            self.names[1..20].iter().zip(&line[1..20]).map(value).collect()
        };
        let values = self.lines.iter().map(|line| {
            let each = row(line).into_iter().zip(&line[1..20]);
            each.map(|(number, text)| number.map_or(Value::Category(text), Value::Number)).collect()
        });
        values.collect()
    }

    fn labels(&self) -> Vec<bool> {
        self.lines.iter().map(|line| line[20] == "Yes").collect()
    }

    fn ids(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line[0].as_str()).collect()
    }

    fn table(&self) -> Table {
        let mut table = Table::new(self.features()).unwrap();
        self.rows().iter().for_each(|row| table.push(row).unwrap());
        table
    }
}

fn name(encoding: &Encoding, feature: usize, part: Part) -> String {
    let encoded = &encoding.features[feature];
    match (&encoded.learnt, part) {
        (super::super::Learnt::Category { levels, .. }, Part::Level(place)) => {
            format!("{}_{}", encoded.name, levels[place].name)
        }
        (_, Part::Amount) => encoded.name.clone(),
        _ => panic!("a term that the reference does not have"),
    }
}

fn agrees(telco: &Telco, reference: &Reference) {
    let (table, labels) = (telco.table(), telco.labels());
    let model = Logistic::fit(&table, &labels, Penalty { lambda: reference.lambda }).unwrap();
    assert!(model.converged);
    assert_close(model.log_likelihood, reference.log_likelihood, 1e-8, "log-likelihood");
    assert_close(model.intercept, reference.coefficients[0].1, 1e-9, "intercept");
    let terms = model.encoding.terms();
    assert_eq!(terms.len(), reference.coefficients.len() - 1);
    for (term, coefficient) in terms.iter().zip(&model.coefficients) {
        let name = name(&model.encoding, term.feature, term.part);
        let expected = reference.coefficients.iter().find(|(other, _)| *other == name).unwrap().1;
        assert_close(*coefficient, expected, 1e-9, &name);
    }
    let model = ChurnModel { model: Model::Logistic(model), calibration: Calibration::None };
    let risks = model.risks(&table).unwrap();
    for (risk, expected) in risks.iter().zip(reference.risks) {
        assert_close(*risk, expected, 1e-10, "risk");
    }
    let evaluation = Evaluation::new(&risks, &labels).unwrap();
    assert_close(evaluation.area_under_curve, reference.area_under_curve, 1e-9, "area under the curve");
    assert_close(evaluation.brier, reference.brier, 1e-11, "Brier score");
}

#[test]
fn a_regression_is_that_of_others() {
    if let Some(telco) = Telco::read() {
        for reference in &TELCO {
            agrees(&telco, reference);
        }
    }
}

#[test]
fn a_regression_is_as_good_across_folds_as_published() {
    let Some(telco) = Telco::read() else { return };
    let labels = telco.labels();
    let risks = across_folds(&telco.ids(), &telco.rows(), &labels, &telco.features(), |fit, labels, held| {
        let model = Model::Logistic(Logistic::fit(fit, labels, Penalty::default()).unwrap());
        ChurnModel { model, calibration: Calibration::None }.risks(held).unwrap()
    });
    let found = Evaluation::new(&risks, &labels).unwrap();
    assert_close(found.area_under_curve, 0.8449, 0.000_1, "area under the curve");
    assert_close(found.brier, 0.1355, 0.000_1, "Brier score");
}

#[test]
fn boosting_is_as_good_across_folds_as_published() {
    let Some(telco) = Telco::read() else { return };
    let labels = telco.labels();
    let risks = across_folds(&telco.ids(), &telco.rows(), &labels, &telco.features(), |fit, labels, held| {
        let model = Model::Boosted(Boosted::fit(fit, labels, &Boosting::new(1)).unwrap());
        ChurnModel { model, calibration: Calibration::None }.risks(held).unwrap()
    });
    let found = Evaluation::new(&risks, &labels).unwrap();
    println!("{found:?}");
    assert!(found.area_under_curve >= 0.8470, "{}", found.area_under_curve);
}

#[test]
fn folds_are_those_of_the_published_figures() {
    let Some(telco) = Telco::read() else { return };
    let (table, labels) = (telco.table(), telco.labels());
    let folds: Vec<usize> = telco.ids().into_iter().map(fold_of).collect();
    let logistic = |calibration| {
        let settings = Settings::Logistic(Penalty::default());
        let candidate = Candidate { name: "logistic".to_owned(), settings, calibration };
        let found = cross_validate(Period { table: &table, labels: &labels }, &folds, &[candidate], &[]).unwrap();
        found.trained[0].card.evaluation.clone()
    };
    let found = logistic(Method::None);
    assert_close(found.area_under_curve, 0.8449, 0.000_1, "area under the curve");
    assert_close(found.brier, 0.1355, 0.000_1, "Brier score");
    // A line that is learnt of the other folds changes next to nothing: a regression's log-odds mean what they say.
    let found = logistic(Method::Platt);
    assert_close(found.area_under_curve, 0.8449, 0.000_5, "area under the curve");
    assert_close(found.brier, 0.1355, 0.000_3, "Brier score");
}
