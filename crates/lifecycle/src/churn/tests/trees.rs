//! Boosted trees: few rows computed by hand, and what more of them have to find.

use super::super::{
    Boosted, Boosting, Calibration, ChurnError, ChurnModel, Evaluation, Model, Node, Question, Settings, Stopping,
    Value,
};
use super::*;
use proptest::prelude::*;
use std::num::NonZeroUsize;

/// One tree of all rows and features that takes its whole step.
fn one_tree(depth: usize) -> Boosting {
    let (trees, shrinkage, row_share, feature_share) = (1, 1.0, 1.0, 1.0);
    Boosting { trees, shrinkage, depth, rows_per_leaf: 1, row_share, feature_share, ..Boosting::new(1) }
}

fn model(table: &Table, labels: &[bool], boosting: &Boosting) -> ChurnModel {
    let model = Model::fit(table, labels, &Settings::Boosted(*boosting)).unwrap();
    let model = ChurnModel { model, calibration: Calibration::None };
    assert_eq!(model.check(), Ok(()));
    model
}

fn log_odds(risk: f64) -> f64 {
    (risk / (1.0 - risk)).ln()
}

#[test]
fn a_tree_of_two_leaves_is_that_on_paper() {
    // Of 0 one in four left, of 1 three. Risks are all 1/2, so that gradients add up to 1 and -1, curvatures to 1, and
    // with a penalty of 1 leaves are -1/2 and 1/2.
    let table = numbers([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0].map(|value| [value]));
    let labels = [false, false, false, true, true, true, true, false];
    let found = model(&table, &labels, &one_tree(1));
    assert_close(log_odds(found.risk(&[Value::Number(0.4)]).unwrap()), -0.5, 1e-8, "left leaf");
    assert_close(log_odds(found.risk(&[Value::Number(0.6)]).unwrap()), 0.5, 1e-8, "right leaf");
    let Model::Boosted(Boosted { trees, base, .. }) = &found.model else { panic!("not boosted") };
    assert_close(*base, 0.0, 0.0, "base");
    assert!(matches!(trees[0].nodes[0], Node::Split { question: Question::AtMost(0.5), rows: 8, .. }));
}

#[test]
fn those_of_whom_it_is_not_known_go_where_they_belong() {
    for (own, other, like, unlike) in
        [(true, false, 1.0, 0.0), (false, true, 1.0, 0.0), (true, false, 0.0, 1.0), (false, true, 0.0, 1.0)]
    {
        let values = [unlike, unlike, unlike, like, like, like, f64::NAN, f64::NAN];
        let labels = [other, other, other, own, own, own, own, own];
        let found = model(&numbers(values.map(|value| [value])), &labels, &one_tree(1));
        let [missing, like, unlike] = [Value::Missing, Value::Number(like), Value::Number(unlike)];
        let risk = |value| found.risk(&[value]).unwrap();
        assert_close(risk(missing), risk(like), 0.0, "risk");
        assert!((risk(missing) > risk(unlike)) == own);
    }
}

#[test]
fn where_none_were_missing_those_who_are_go_with_most() {
    let values = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let labels = [false, false, false, false, false, true, true, true];
    let found = model(&numbers(values.map(|value| [value])), &labels, &one_tree(1));
    let risk = |value| found.risk(&[value]).unwrap();
    assert_close(risk(Value::Missing), risk(Value::Number(0.0)), 0.0, "risk");
}

#[test]
fn a_level_is_asked_for_by_itself_and_one_never_seen_is_another() {
    let mut table = Table::new(vec![category("channel")]).unwrap();
    let levels = ["a", "b", "c", "a", "b", "c", "a", "b", "c"];
    for level in levels {
        table.push(&[Value::Category(level)]).unwrap();
    }
    let labels: Vec<bool> = levels.iter().map(|level| *level == "b").collect();
    let found = model(&table, &labels, &one_tree(1));
    let risk = |level| found.risk(&[Value::Category(level)]).unwrap();
    assert!(risk("b") > 0.5 && risk("a") < 0.4);
    assert_close(risk("c"), risk("a"), 0.0, "risk");
    assert_close(risk("never seen"), risk("a"), 0.0, "risk");
}

#[test]
fn two_features_that_matter_only_together_are_found() {
    let both = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
    // Unevenly, as otherwise no first question would help.
    let rows: Vec<[f64; 2]> = (0..200).map(|row| both[(row * row / 3 + row) % 4]).collect();
    let labels: Vec<bool> = rows.iter().map(|row| (row[0] > 0.5) != (row[1] > 0.5)).collect();
    let boosting = Boosting { trees: 30, shrinkage: 0.5, ..one_tree(2) };
    let risks = model(&numbers(rows), &labels, &boosting).risks(&numbers(both)).unwrap();
    assert!(risks[0] < 0.1 && risks[3] < 0.1 && risks[1] > 0.9 && risks[2] > 0.9, "{risks:?}");
}

#[test]
fn the_same_model_comes_of_any_number_of_threads() {
    // Enough rows that threads are used.
    let (table, labels) = customers(60_000, 1);
    let fit = |threads| {
        let threads = NonZeroUsize::new(threads).unwrap();
        let stopping = Some(Stopping { held_out: 0.2, patience: 5 });
        Boosted::fit(&table, &labels, &Boosting { trees: 10, threads, stopping, ..Boosting::new(7) }).unwrap()
    };
    let one = fit(1);
    assert_eq!(one, fit(2));
    assert_eq!(one, fit(5));
}

#[test]
fn another_seed_is_another_model() {
    let (table, labels) = customers(500, 1);
    let fit = |seed| Boosted::fit(&table, &labels, &Boosting { trees: 5, ..Boosting::new(seed) }).unwrap();
    assert_eq!(fit(1), fit(1));
    assert_ne!(fit(1), fit(2));
}

#[test]
fn risks_come_near_to_those_that_customers_were_made_by() {
    let ((table, labels), (held, held_labels)) = (customers(20_000, 1), customers(20_000, 2));
    let found = model(&table, &labels, &Boosting::new(1));
    let regression = Model::fit(&table, &labels, &Settings::Logistic(super::super::Penalty::default())).unwrap();
    let evaluate = |model: &ChurnModel| Evaluation::new(&model.risks(&held).unwrap(), &held_labels).unwrap();
    let boosted = evaluate(&found);
    // The regression has the very form that they were made by, so nothing can be much better.
    let best = evaluate(&ChurnModel { model: regression, calibration: Calibration::None });
    assert!(best.area_under_curve - boosted.area_under_curve < 0.01, "{boosted:?}");
    assert!(boosted.calibration_error < 0.03, "{boosted:?}");
}

#[test]
fn trees_that_do_not_help_are_dropped() {
    // Nothing can be learnt from noise.
    let mut random = Seeded::new(5);
    let table = numbers((0..2_000).map(|_| [random.unit(), random.unit()]));
    let labels: Vec<bool> = (0..2_000).map(|_| random.unit() < 0.3).collect();
    let fit = |patience| {
        let stopping = Some(Stopping { held_out: 0.3, patience });
        let boosting = Boosting { trees: 500, shrinkage: 0.2, stopping, ..Boosting::new(1) };
        Boosted::fit(&table, &labels, &boosting).unwrap()
    };
    let found = fit(10);
    assert!(found.trees.len() < 50, "{}", found.trees.len());
    // Those that were tried while patience lasted are dropped, too.
    assert_eq!(found, fit(20));
}

#[test]
fn limits_hold() {
    let (table, labels) = customers(3_000, 4);
    let boosting = Boosting { trees: 20, depth: 3, leaves: 5, rows_per_leaf: 100, ..Boosting::new(1) };
    for tree in Boosted::fit(&table, &labels, &boosting).unwrap().trees {
        let leaves = tree.nodes.iter().filter(|node| matches!(node, Node::Leaf { .. })).count();
        assert!((2..=5).contains(&leaves));
        for node in &tree.nodes {
            assert!(!matches!(node, Node::Leaf { rows: 0..100, .. }));
        }
    }
    // Of two questions there are four leaves at most.
    let boosting = Boosting { trees: 20, depth: 2, leaves: 256, rows_per_leaf: 1, ..Boosting::new(1) };
    for tree in Boosted::fit(&table, &labels, &boosting).unwrap().trees {
        assert!(tree.nodes.len() <= 7);
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let (table, labels) = customers(100, 1);
    let base = Boosting::new(1);
    let wrong = [
        ("trees", Boosting { trees: 0, ..base }),
        ("trees", Boosting { trees: 2_001, ..base }),
        ("shrinkage", Boosting { shrinkage: 0.0, ..base }),
        ("shrinkage", Boosting { shrinkage: f64::NAN, ..base }),
        ("depth", Boosting { depth: 9, ..base }),
        ("leaves", Boosting { leaves: 1, ..base }),
        ("rows_per_leaf", Boosting { rows_per_leaf: 0, ..base }),
        ("penalty", Boosting { penalty: 0.0, ..base }),
        ("row_share", Boosting { row_share: 1.1, ..base }),
        ("feature_share", Boosting { feature_share: -0.5, ..base }),
        ("stopping", Boosting { stopping: Some(Stopping { held_out: 0.6, patience: 5 }), ..base }),
        ("threads", Boosting { threads: NonZeroUsize::new(65).unwrap(), ..base }),
    ];
    for (name, boosting) in wrong {
        assert_eq!(Boosted::fit(&table, &labels, &boosting), Err(ChurnError::Setting(name)));
    }
}

proptest! {
    /// Newton's steps on a convex loss with a penalty and a shrinkage of 0.3 do not overshoot.
    #[test]
    fn each_tree_lowers_the_loss_on_its_own_rows(seed in any::<u64>()) {
        let (table, labels) = customers(300, seed);
        prop_assume!(labels.iter().any(|label| *label) && labels.iter().any(|label| !*label));
        let mut last = f64::INFINITY;
        for trees in [1, 2, 4, 8] {
            let boosting = Boosting { trees, shrinkage: 0.3, rows_per_leaf: 5, ..one_tree(3) };
            let risks = model(&table, &labels, &boosting).risks(&table).unwrap();
            let loss = Evaluation::new(&risks, &labels).unwrap().log_loss;
            prop_assert!(loss < last, "{loss} after {last}");
            last = loss;
        }
    }
}
