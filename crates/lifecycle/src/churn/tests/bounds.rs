//! What is refused, and that it leaves nothing behind.

use super::super::{
    Boosted, Boosting, Calibration, ChurnError, ChurnModel, Knot, Learnt, Logistic, MAX_FEATURES, MAX_LEVELS,
    MAX_TABLE_LEVELS, Model, Node, Part, Penalty, Question, Tree, Value,
};
use super::*;

#[test]
fn features_are_bounded_and_told_apart() {
    let names = |count: usize| (0..count).map(|place| number(&place.to_string())).collect::<Vec<_>>();
    assert_eq!(Table::new(Vec::new()).err(), Some(ChurnError::FeaturesOutOfRange(0)));
    assert!(Table::new(names(MAX_FEATURES)).is_ok());
    assert_eq!(Table::new(names(MAX_FEATURES + 1)).err(), Some(ChurnError::FeaturesOutOfRange(65)));
    assert_eq!(Table::new(vec![number("a"), category("a")]).err(), Some(ChurnError::DuplicateFeature("a".to_owned())));
}

#[test]
fn a_row_that_is_refused_leaves_nothing_behind() {
    let mut table = Table::new(vec![number("n"), category("c")]).unwrap();
    table.push(&[Value::Number(1.0), Value::Category("a")]).unwrap();
    let refused = |table: &mut Table, row: &[Value<'_>]| table.push(row).unwrap_err();
    let width = ChurnError::Width { found: 1, expected: 2 };
    assert_eq!(refused(&mut table, &[Value::Number(1.0)]), width);
    assert_eq!(refused(&mut table, &[Value::Number(1.0), Value::Number(1.0)]), ChurnError::OtherKind(1));
    assert_eq!(refused(&mut table, &[Value::Category("a"), Value::Missing]), ChurnError::OtherKind(0));
    for wrong in [f64::NAN, f64::INFINITY, -1e100] {
        assert_eq!(refused(&mut table, &[Value::Number(wrong), Value::Category("b")]), ChurnError::NotFinite(0));
    }
    assert_eq!(table.rows(), 1);
    table.push(&[Value::Missing, Value::Missing]).unwrap();
    assert_eq!(table.rows(), 2);
}

#[test]
fn a_name_is_no_category() {
    let mut table = Table::new(vec![category("c")]).unwrap();
    for level in 0..MAX_TABLE_LEVELS {
        table.push(&[Value::Category(&level.to_string())]).unwrap();
    }
    assert_eq!(table.push(&[Value::Category("another")]), Err(ChurnError::TooManyLevels(0)));
    table.push(&[Value::Category("7")]).unwrap();
}

#[test]
fn rare_levels_are_one() {
    let mut table = Table::new(vec![category("c")]).unwrap();
    let mut labels = Vec::new();
    for level in 0..40 {
        // The later, the more frequent.
        for row in 0..=level {
            table.push(&[Value::Category(&format!("{level:02}"))]).unwrap();
            labels.push(row % 2 == 0);
        }
    }
    let model = Logistic::fit(&table, &labels, Penalty::default()).unwrap();
    let Learnt::Category { levels, other } = &model.encoding.features[0].learnt else { panic!("a number") };
    assert_eq!((levels.len(), levels[0].name.as_str()), (MAX_LEVELS, "08"));
    // Levels of 1 to 8 rows among those of 1 to 40.
    assert_close(*other, 36.0 / 820.0, 1e-15, "the others' share");
    let terms = model.encoding.terms();
    assert_eq!(terms.last().map(|term| term.part), Some(Part::Other));
    let of_others = model.intercept + model.coefficients[terms.len() - 1];
    let model = ChurnModel { model: Model::Logistic(model), calibration: Calibration::None };
    let risk = |level| model.risk(&[Value::Category(level)]).unwrap();
    assert_close(risk("00"), risk("never seen"), 0.0, "risk");
    assert_close(risk("00"), 1.0 / (1.0 + (-of_others).exp()), 1e-15, "risk");
}

#[test]
fn what_a_regression_never_saw_adds_nothing() {
    let mut table = Table::new(vec![number("n"), category("c")]).unwrap();
    let labels: Vec<bool> = (0..90).map(|row| row % 3 == 0 || row > 70).collect();
    for row in 0..90 {
        table.push(&[Value::Number(f64::from(row)), Value::Category(["a", "b"][row as usize % 2])]).unwrap();
    }
    let model = Model::Logistic(Logistic::fit(&table, &labels, Penalty::default()).unwrap());
    let model = ChurnModel { model, calibration: Calibration::None };
    for row in [[Value::Missing, Value::Missing], [Value::Missing, Value::Category("never seen")]] {
        let explanation = model.explain(&row).unwrap();
        assert!(explanation.factors.iter().all(|factor| factor.contribution.abs() < 1e-15));
        assert!(explanation.top(5).is_empty());
    }
}

#[test]
fn labels_have_to_be_of_both_outcomes_and_of_all_rows() {
    let table = numbers([[1.0], [2.0], [3.0]]);
    let one_sided = ChurnError::TooFewOutcomes { rows: 3, churned: 0, least: 1 };
    let (penalty, boosting) = (Penalty::default(), Boosting::new(1));
    assert_eq!(Logistic::fit(&table, &[false; 3], penalty), Err(one_sided.clone()));
    assert_eq!(Boosted::fit(&table, &[false; 3], &boosting), Err(one_sided));
    let length = ChurnError::Length { found: 2, expected: 3 };
    assert_eq!(Logistic::fit(&table, &[false, true], penalty), Err(length.clone()));
    assert_eq!(Boosted::fit(&table, &[false, true], &boosting), Err(length));
    for lambda in [0.0, -1.0, f64::NAN, 1e7] {
        let refused = Logistic::fit(&table, &[true, false, true], Penalty { lambda });
        assert_eq!(refused, Err(ChurnError::Setting("lambda")));
    }
}

#[test]
fn a_table_of_other_features_is_refused() {
    let (table, labels) = customers(200, 1);
    let model = Model::Logistic(Logistic::fit(&table, &labels, Penalty::default()).unwrap());
    assert_eq!(model.log_odds(&numbers([[1.0]])), Err(ChurnError::Width { found: 1, expected: 4 }));
    let renamed = Table::new(vec![number("x0"), number("x2"), number("x1"), category("level")]).unwrap();
    assert_eq!(model.log_odds(&renamed), Err(ChurnError::OtherFeature(1)));
    let changed = Table::new(vec![number("x0"), category("x1"), number("x2"), category("level")]).unwrap();
    assert_eq!(model.log_odds(&changed), Err(ChurnError::OtherKind(1)));
    let model = ChurnModel { model, calibration: Calibration::None };
    assert_eq!(model.risk(&[Value::Missing]), Err(ChurnError::Width { found: 1, expected: 4 }));
    let wrong = [Value::Missing, Value::Missing, Value::Category("a"), Value::Missing];
    assert_eq!(model.explain(&wrong), Err(ChurnError::OtherKind(2)));
}

#[test]
fn a_model_that_does_not_hold_together_is_refused_and_harms_nobody() {
    let (table, labels) = customers(200, 1);
    let fitted = Boosted::fit(&table, &labels, &Boosting { trees: 2, ..Boosting::new(1) }).unwrap();
    let row = [Value::Number(0.0), Value::Number(0.0), Value::Missing, Value::Category("a")];
    let split = |yes, no, feature, question| Node::Split { feature, question, missing: true, yes, no, rows: 2 };
    let leaf = Node::Leaf { value: 1.0, rows: 1 };
    let ask = Question::AtMost(0.0);
    let wrong = [
        vec![],
        // In a circle, beyond the end, and two ways to one place.
        vec![split(0, 0, 0, ask), leaf, leaf],
        vec![split(1, 9, 0, ask), leaf],
        vec![split(1, 1, 0, ask), leaf],
        // Of a feature or level that there is not, and of the other kind.
        vec![split(1, 2, 9, ask), leaf, leaf],
        vec![split(1, 2, 3, Question::Is(3)), leaf, leaf],
        vec![split(1, 2, 3, ask), leaf, leaf],
        // A leaf that nobody came to, one that is no number, and one that nothing leads to.
        vec![Node::Leaf { value: 1.0, rows: 0 }],
        vec![Node::Leaf { value: f64::NAN, rows: 1 }],
        vec![leaf, leaf],
    ];
    for nodes in wrong {
        let model = Model::Boosted(Boosted { trees: vec![Tree { nodes }], ..fitted.clone() });
        let model = ChurnModel { model, calibration: Calibration::None };
        assert!(matches!(model.check(), Err(ChurnError::Malformed(_))));
        model.risk(&row).unwrap();
        model.explain(&row).unwrap();
    }
    let falling = vec![Knot { score: 0.0, risk: 0.9 }, Knot { score: 1.0, risk: 0.1 }];
    for calibration in [
        Calibration::Isotonic { knots: falling },
        Calibration::Isotonic { knots: Vec::new() },
        Calibration::Platt { slope: -1.0, intercept: 0.0 },
    ] {
        let model = ChurnModel { model: Model::Boosted(fitted.clone()), calibration };
        assert!(model.check().is_err());
        model.risk(&row).unwrap();
    }
}

#[test]
fn errors_name_places_and_no_value() {
    let mut table = Table::new(vec![number("n")]).unwrap();
    let error = table.push(&[Value::Category("Mr Smith")]).unwrap_err();
    assert_eq!(error.to_string(), "the value of feature 0 is of the other kind");
    assert!(!format!("{error:?}").contains("Smith"));
}
