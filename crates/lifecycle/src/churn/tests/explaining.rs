//! What makes up a risk, against the definition of Shapley's value, and what drives risks of many.

use super::super::encoding::Cell;
use super::super::shapley;
use super::super::{
    Boosted, Boosting, Calibration, ChurnModel, Explanation, Group, Model, Node, Penalty, Question, Settings, Tree,
    Value, drivers,
};
use super::*;
use proptest::prelude::*;

const FEATURES: usize = 4;

/// A tree of random questions about four numbers, each of which may be asked of more than once on a way.
fn random_tree(random: &mut Seeded) -> Tree {
    fn grow(random: &mut Seeded, nodes: &mut Vec<Node>, depth: usize) -> u32 {
        let place = nodes.len();
        nodes.push(Node::Leaf { value: random.unit() - 0.5, rows: 1 + random.below(50) as u32 });
        if depth < 5 && (depth == 0 || random.below(4) > 0) {
            let (feature, question) = (random.below(FEATURES) as u32, Question::AtMost(random.unit()));
            let missing = random.below(2) == 0;
            let (yes, no) = (grow(random, nodes, depth + 1), grow(random, nodes, depth + 1));
            let rows = (nodes[yes as usize].rows() + nodes[no as usize].rows()) as u32;
            nodes[place] = Node::Split { feature, question, missing, yes, no, rows };
        }
        place as u32
    }
    let mut nodes = Vec::new();
    grow(random, &mut nodes, 0);
    Tree { nodes }
}

/// The mean value where only some features are known: others are answered both ways, by rows.
fn expected(tree: &Tree, place: usize, cells: &[Cell], known: u32) -> f64 {
    match tree.nodes[place] {
        Node::Leaf { value, .. } => value,
        Node::Split { feature, question, missing, yes, no, .. } => {
            let of = |next: u32| expected(tree, next as usize, cells, known);
            if known >> feature & 1 == 1 {
                return of(if question.answer(cells[feature as usize], missing) { yes } else { no });
            }
            let rows = |next: u32| tree.nodes[next as usize].rows();
            (rows(yes) * of(yes) + rows(no) * of(no)) / (rows(yes) + rows(no))
        }
    }
}

/// Shapley's value (1953) by its definition, over all sets of the other features.
fn by_definition(tree: &Tree, cells: &[Cell], feature: usize) -> f64 {
    let factorial = |number: u32| (1..=number).product::<u32>().max(1);
    let sets = (0..1_u32 << FEATURES).filter(|set| set >> feature & 1 == 0);
    let each = sets.map(|set| {
        let size = set.count_ones();
        let weight =
            f64::from(factorial(size) * factorial(FEATURES as u32 - size - 1)) / f64::from(factorial(FEATURES as u32));
        weight * (expected(tree, 0, cells, set | 1 << feature) - expected(tree, 0, cells, set))
    });
    each.sum()
}

fn log_odds(risk: f64) -> f64 {
    (risk / (1.0 - risk)).ln()
}

fn models(table: &Table, labels: &[bool]) -> [ChurnModel; 2] {
    let boosting = Boosting { trees: 30, shrinkage: 0.2, ..Boosting::new(1) };
    [Settings::Logistic(Penalty::default()), Settings::Boosted(boosting)].map(|settings| {
        let model = Model::fit(table, labels, &settings).unwrap();
        ChurnModel { model, calibration: Calibration::None }
    })
}

fn contribution(explanation: &Explanation, feature: &str) -> f64 {
    explanation.factors.iter().find(|factor| factor.feature == feature).unwrap().contribution
}

proptest! {
    #[test]
    fn what_features_add_is_shapleys_value(seed in any::<u64>()) {
        let mut random = Seeded::new(seed);
        let tree = random_tree(&mut random);
        let cell = |random: &mut Seeded| if random.below(5) == 0 { Cell::Missing } else { Cell::Number(random.unit()) };
        let cells: Vec<Cell> = (0..FEATURES).map(|_| cell(&mut random)).collect();
        let mut found = vec![0.0; FEATURES];
        shapley::add(&tree, &cells, &mut found);
        for (feature, found) in found.iter().enumerate() {
            assert_close(*found, by_definition(&tree, &cells, feature), 1e-12, "contribution");
        }
    }

    #[test]
    fn contributions_and_base_add_up_to_the_log_odds(
        x in prop::array::uniform3(prop::option::of(-4.0..4.0_f64)),
        level in prop::option::of("[a-e]"),
        seed in 0..5_u64,
    ) {
        let (table, labels) = customers(400, seed);
        let number = |value: Option<f64>| value.map_or(Value::Missing, Value::Number);
        let level = level.as_deref().map_or(Value::Missing, Value::Category);
        let row = [number(x[0]), number(x[1]), number(x[2]), level];
        for model in models(&table, &labels) {
            let explanation = model.explain(&row).unwrap();
            assert_close(explanation.log_odds(), log_odds(model.risk(&row).unwrap()), 1e-9, "log-odds");
        }
    }
}

#[test]
fn a_regressions_base_is_the_mean_log_odds_and_a_contribution_its_share() {
    let (table, labels) = customers(2_000, 1);
    let [model, _] = models(&table, &labels);
    let log_odds = model.model.log_odds(&table).unwrap();
    let row = [Value::Number(1.0), Value::Number(1.0), Value::Missing, Value::Category("b")];
    let explanation = model.explain(&row).unwrap();
    assert_close(explanation.base, log_odds.iter().sum::<f64>() / 2_000.0, 1e-9, "base");
    let Model::Logistic(regression) = &model.model else { panic!("not a regression") };
    let super::super::Learnt::Number { mean, deviation } = regression.encoding.features[0].learnt else {
        panic!("not a number")
    };
    let expected = regression.coefficients[0] * (1.0 - mean) / deviation;
    assert_close(contribution(&explanation, "x0"), expected, 1e-12, "contribution");
}

#[test]
fn the_strongest_factors_come_first_with_their_direction() {
    let (table, labels) = customers(5_000, 1);
    for model in models(&table, &labels) {
        let row = [Value::Number(2.5), Value::Number(1.0), Value::Number(0.0), Value::Category("a")];
        let explanation = model.explain(&row).unwrap();
        let top = explanation.top(2);
        assert_eq!(top.iter().map(|factor| factor.feature.as_str()).collect::<Vec<_>>(), ["x0", "x1"]);
        assert!(top[0].contribution > 0.0 && top[1].contribution < 0.0);
        assert!(explanation.top(99).len() <= 4);
    }
}

#[test]
fn drivers_are_what_customers_were_made_by() {
    let (table, labels) = customers(5_000, 1);
    for model in models(&table, &labels) {
        let found = drivers(&model, &table, 1).unwrap();
        assert_eq!(found[..2].iter().map(|driver| driver.feature.as_str()).collect::<Vec<_>>(), ["x0", "x1"]);
        assert!(found[0].direction.unwrap() > 0.9 && found[1].direction.unwrap() < -0.9);
        let level = found.iter().find(|driver| driver.feature == "level").unwrap();
        assert_eq!((level.direction, &level.levels[0].level), (None, &Group::Level("b".to_owned())));
        assert!(level.levels[0].mean > 0.0 && level.levels[2].mean < 0.0);
        let missing = found.iter().find(|driver| driver.feature == "x2").unwrap();
        assert!(missing.levels[0].level == Group::Missing && missing.levels[0].mean > 0.0);
        assert!(missing.levels[0].rows > 1_000 && missing.levels[0].rows < 1_500);
    }
}

#[test]
fn of_one_tree_the_strength_is_that_on_paper() {
    // Half of the customers are at 1/2, half at -1/2, as in the tree of two leaves.
    let table = numbers([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0].map(|value| [value]));
    let labels = [false, false, false, true, true, true, true, false];
    let (trees, shrinkage, row_share) = (1, 1.0, 1.0);
    let boosting = Boosting { trees, shrinkage, row_share, rows_per_leaf: 1, depth: 1, ..Boosting::new(1) };
    let model = Model::Boosted(Boosted::fit(&table, &labels, &boosting).unwrap());
    let found = drivers(&ChurnModel { model, calibration: Calibration::None }, &table, 1).unwrap();
    assert_close(found[0].strength, 0.5, 1e-8, "strength");
    assert_close(found[0].direction.unwrap(), 1.0, 1e-12, "direction");
}
