use super::dry_run::{Cell, Counts, Scores, count, find_cut_offs, stability_index};
use super::{Column, Population, features_of};
use crate::models::cut_offs::{CutOffs, Direction, Method, TieRule};
use crate::models::feature::{Conventions, Feature, Value};
use crate::models::grade::Grading;
use crate::models::{At, Definition, Dimension, Points, Scale, Scored};
use proptest::prelude::*;
use quintile_domain::money::Currency;
use quintile_domain::time::{Instant, TimeZone};
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};

/// A customer's values of the features below, one for each.
type Row = [Option<i64>; 4];

const FEATURES: [&str; 4] = ["days_since(last_order_at)", "orders", "revenue", "top_category"];
const TEXTS: [&str; 3] = ["gold", "tin", "tea"];

fn at() -> At<'static> {
    let currency = Currency::from_code("USD").unwrap();
    At::new(Instant::parse("1998-07-01T00:00:00Z").unwrap(), Conventions { currency, zone: &TimeZone::UTC })
}

fn value(place: usize, number: Option<i64>) -> Value<'static> {
    match (place, number) {
        (_, None) => Value::Missing,
        (0, Some(day)) => Value::Day(at().day - day),
        (3, Some(text)) => Value::Text(TEXTS[text.rem_euclid(3) as usize]),
        (_, Some(number)) => Value::Number(number),
    }
}

fn population(rows: &[Row]) -> Population {
    let columns = FEATURES.iter().enumerate().map(|(place, name)| {
        let mut column = Column::default();
        for (index, row) in rows.iter().enumerate() {
            column.set(index + 1, value(place, row[place]));
        }
        (Feature::from_name(name).unwrap(), column)
    });
    Population::of_columns(columns.collect(), rows.len())
}

fn dimension(place: usize, scale: Scale, missing: u8, weight: u32) -> Dimension {
    let feature = Feature::from_name(FEATURES[place]).unwrap();
    Dimension { name: format!("d{place}"), feature, scale, missing, weight }
}

fn numbers(method: Method, direction: Direction, bins: u8) -> Scale {
    Scale::Numbers(CutOffs { method, direction, bins, edges: Vec::new() })
}

/// A model of all four, with a grade.
fn definition(methods: [(Method, Direction, u8); 3], missing: u8) -> Definition {
    let points = Points { of: [("gold".to_owned(), 2), ("tin".to_owned(), 1)].into(), other: missing, bins: 2 };
    let mut dimensions: Vec<_> = methods
        .into_iter()
        .enumerate()
        .map(|(place, (method, direction, bins))| dimension(place, numbers(method, direction, bins), missing, 3))
        .collect();
    dimensions.push(dimension(3, Scale::Texts(points), 0, 1));
    Definition { description: String::new(), dimensions, grading: Some(Grading::default()) }
}

/// What the model alone says of a customer.
fn scored(definition: &Definition, row: &Row) -> Scored {
    let values = definition.dimensions.iter().map(|dimension| {
        let place = FEATURES.iter().position(|name| *name == dimension.feature.name()).unwrap();
        value(place, row[place])
    });
    definition.score_values(values, &at())
}

/// What is counted, customer by customer, by the model alone.
fn one_by_one(definition: &Definition, other: Option<&Definition>, rows: &[Row]) -> Counts {
    let mut counts = Counts::default();
    counts.dimensions.resize_with(definition.dimensions.len(), Default::default);
    for (dimension, counts) in definition.dimensions.iter().zip(&mut counts.dimensions) {
        counts.customers = vec![0; usize::from(dimension.scale.bins()) + 1];
        let before = other.and_then(|other| other.dimensions.iter().find(|before| before.name == dimension.name));
        counts.before = before.map(|before| vec![0; usize::from(before.scale.bins()) + 1]);
    }
    for row in rows {
        let (now, before) = (scored(definition, row), other.map(|other| scored(other, row)));
        counts.customers += 1;
        let same =
            before.as_ref().is_some_and(|before| (&before.scores, before.composite) == (&now.scores, now.composite));
        counts.changed += i64::from(!same);
        for (place, of_dimension) in counts.dimensions.iter_mut().enumerate() {
            of_dimension.customers[usize::from(now.scores[place])] += 1;
            if let (Some(before), Some(counted)) = (&before, &mut of_dimension.before) {
                counted[usize::from(before.scores[place])] += 1;
                if before.scores[place] != now.scores[place] {
                    *of_dimension.moves.entry((before.scores[place], now.scores[place])).or_default() += 1;
                }
            }
        }
        let cell = counts.cells.entry(now.scores).or_default();
        cell.customers += 1;
        cell.revenue_minor = cell.revenue_minor.saturating_add(row[2].unwrap_or(0));
    }
    counts
}

fn any_row() -> impl Strategy<Value = Row> {
    let number = || prop_oneof![3 => (-3..30_i64).prop_map(Some), 1 => Just(None)];
    let wide = prop_oneof![6 => (-3..30_i64).prop_map(Some), 1 => any::<i32>().prop_map(|wide| Some(i64::from(wide) * 4)), 1 => Just(None)];
    (number(), number(), wide, number()).prop_map(|(days, orders, revenue, text)| [days, orders, revenue, text])
}

fn any_method() -> impl Strategy<Value = (Method, Direction, u8)> {
    let rules = [TieRule::Value, TieRule::CumeDist, TieRule::PercentRank].map(Method::Quantile);
    let methods: Vec<_> = rules.into_iter().chain([Method::Range]).collect();
    (prop::sample::select(methods), prop::sample::select(vec![Direction::Higher, Direction::Lower]), 2..=4_u8)
}

proptest! {
    /// The columns score as the model scores one customer, and count what it makes of each.
    #[test]
    fn a_dry_run_is_every_customer_scored_alone(
        rows in prop::collection::vec(any_row(), 1..40),
        methods in [any_method(), any_method(), any_method()],
        others in [any_method(), any_method(), any_method()],
        missing in 0..=1_u8,
    ) {
        let population = population(&rows);
        let (mut version, mut in_force) = (definition(methods, missing), definition(others, 0));
        find_cut_offs(&mut version, &population, &at());
        find_cut_offs(&mut in_force, &population, &at());
        for (place, dimension) in version.dimensions[..3].iter().enumerate() {
            prop_assert_eq!(dimension.scale.is_ready(), rows.iter().any(|row| row[place].is_some()));
        }
        let (scores, of_other) = (Scores::new(&version, &population, &at()), Scores::new(&in_force, &population, &at()));
        for other in [None, Some((&in_force, &of_other))] {
            let counted = count((&version, &scores), other, &population, &at());
            let expected = one_by_one(&version, other.map(|(definition, _)| definition), &rows);
            prop_assert_eq!(&counted.dimensions, &expected.dimensions);
            prop_assert_eq!(&counted.cells, &expected.cells);
            prop_assert_eq!((counted.customers, counted.changed), (expected.customers, expected.changed));
            let grades = counted.grades.unwrap();
            prop_assert_eq!(grades.composites.iter().sum::<i64>() + grades.ungraded, counted.customers);
            prop_assert_eq!(grades.bands.iter().sum::<i64>(), grades.tiers.iter().sum::<i64>());
        }
        let alone: Vec<_> = rows.iter().map(|row| scored(&version, row)).collect();
        // The last of these is a dimension that there is not.
        for place in 0..=version.dimensions.len() + 1 {
            let of = |scored: &Scored| match place.checked_sub(1) {
                None => scored.composite.map_or(0, |composite| composite + 1),
                Some(dimension) => scored.scores.get(dimension).copied().unwrap_or(0),
            };
            let expected: Vec<u8> = std::iter::once(0).chain(alone.iter().map(of)).collect();
            prop_assert_eq!(scores.column(&version, place, population.present()), expected, "{}", place);
        }
    }

    /// In whichever order customers became known, the cut-offs are the same, and each has its scores and its composite.
    #[test]
    fn the_order_of_customers_changes_nobodys_scores(
        (rows, order) in prop::collection::vec(any_row(), 1..40).prop_flat_map(|rows| {
            let order: Vec<usize> = (0..rows.len()).collect();
            (Just(rows), Just(order).prop_shuffle())
        }),
        methods in [any_method(), any_method(), any_method()],
    ) {
        let shuffled: Vec<Row> = order.iter().map(|place| rows[*place]).collect();
        let [(version, columns), (of_shuffled, of_their_columns)] = [&rows, &shuffled].map(|rows| {
            let (population, mut version) = (population(rows), definition(methods, 0));
            find_cut_offs(&mut version, &population, &at());
            let scores = Scores::new(&version, &population, &at());
            let columns: Vec<_> =
                (0..=version.dimensions.len()).map(|place| scores.column(&version, place, population.present())).collect();
            (version, columns)
        });
        prop_assert_eq!(version, of_shuffled);
        for (column, of_theirs) in columns.iter().zip(&of_their_columns) {
            let moved: Vec<u8> = std::iter::once(0).chain(order.iter().map(|place| column[place + 1])).collect();
            prop_assert_eq!(of_theirs, &moved);
        }
    }

    #[test]
    fn ranked_bins_are_balanced_and_parted_by_number(
        values in prop::collection::vec(0..5_i64, 1..60), bins in 2..=7_u8, lower in any::<bool>(),
    ) {
        let rows: Vec<Row> = values.iter().map(|value| [None, Some(*value), None, None]).collect();
        let population = population(&rows);
        let direction = if lower { Direction::Lower } else { Direction::Higher };
        let scale = numbers(Method::Quantile(TieRule::Ntile), direction, bins);
        let definition = Definition { description: String::new(), dimensions: vec![dimension(1, scale, 0, 0)], grading: None };
        let scores = Scores::new(&definition, &population, &at());
        let counted = count((&definition, &scores), None, &population, &at()).dimensions[0].customers.clone();
        // SQL's NTILE: the first groups have one more.
        let (size, larger) = (values.len() as i64 / i64::from(bins), values.len() % usize::from(bins));
        let expected: Vec<_> = (0..usize::from(bins)).map(|bin| size + i64::from(bin < larger)).collect();
        prop_assert_eq!(&counted[1..], &expected);
        let cells = scores.cells(&definition, population.present()).unwrap();
        let better = |a: usize, b: usize| if lower { values[a] > values[b] } else { values[a] < values[b] };
        for (a, b) in (0..values.len()).flat_map(|a| (0..values.len()).map(move |b| (a, b))) {
            if better(a, b) || (values[a] == values[b] && a < b) {
                prop_assert!(cells[a + 1] <= cells[b + 1]);
            }
        }
    }
}

#[test]
fn ranked_bins_are_those_of_the_reference_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/vectors/quintile_ties.json");
    let cases: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 10);
    for case in &cases {
        let listed = |key: &str| case[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap());
        // In tenths: the vectors hold 0.1 and 1,000,000.
        let rows: Vec<Row> =
            listed("values").map(|value| [None, Some((value * 10.0).round() as i64), None, None]).collect();
        let population = population(&rows);
        let scale = numbers(Method::Quantile(TieRule::Ntile), Direction::Higher, 5);
        let definition =
            Definition { description: String::new(), dimensions: vec![dimension(1, scale, 0, 0)], grading: None };
        let scores = Scores::new(&definition, &population, &at()).column(&definition, 1, population.present());
        let expected: Vec<u8> = listed("sql_ntile5").map(|score| score as u8).collect();
        assert_eq!(scores[1..], expected, "{rows:?}");
    }
}

#[test]
fn a_cell_is_its_scores_read_as_one_number() {
    let rows = [[Some(0), Some(9), Some(1), None], [Some(40), Some(1), Some(9), None], [None, Some(1), Some(1), None]];
    let fixed = |direction, edge| Scale::Numbers(CutOffs::fixed(direction, &[edge]));
    let dimensions = vec![
        dimension(0, fixed(Direction::Lower, 30), 0, 0),
        dimension(1, fixed(Direction::Higher, 5), 0, 0),
        dimension(2, fixed(Direction::Higher, 5), 0, 0),
    ];
    let definition = Definition { description: String::new(), dimensions, grading: None };
    let population = population(&rows);
    let scores = Scores::new(&definition, &population, &at());
    // 221, 112 and one without a score of days; nobody has number 0.
    assert_eq!(scores.cells(&definition, population.present()), Some(vec![0, 7, 2, 0]));
    let counted = count((&definition, &scores), None, &population, &at());
    let cell = |revenue_minor| Cell { customers: 1, revenue_minor, ..Cell::default() };
    let expected: BTreeMap<_, _> =
        [(vec![2, 2, 1], cell(1)), (vec![1, 1, 2], cell(9)), (vec![0, 1, 1], cell(1))].into();
    assert_eq!(counted.cells, expected);
}

#[test]
fn shares_that_move_make_the_index() {
    // By hand: (.5 - .25) ln(.5 / .25) twice, once with both signs.
    let expected = 0.25 * 2.0_f64.ln() + 0.25 * (0.75_f64 / 0.5).ln();
    let index = stability_index(&[9, 25, 75], &[0, 50, 50]).unwrap();
    assert!((index - expected).abs() < 1e-12, "{index}");
    assert_eq!(stability_index(&[0, 3, 4], &[7, 30, 40]), Some(0.0));
    // An empty bin has the least share.
    let emptied = (1.0 - 0.5) * (1.0_f64 / 0.5).ln() + (1e-4 - 0.5) * (1e-4_f64 / 0.5).ln();
    assert!((stability_index(&[0, 1, 1], &[0, 9, 0]).unwrap() - emptied).abs() < 1e-12);
    assert_eq!(stability_index(&[1, 0, 0], &[0, 1, 1]), None);
    assert_eq!(stability_index(&[0, 1, 1], &[0, 1, 1, 1]), None);
}

#[test]
fn who_is_no_more_is_not_counted_and_a_column_of_two_kinds_is_known() {
    let mut column = Column::default();
    column.set(1, Value::Number(5));
    column.set(2, Value::Number(i64::MAX));
    column.set(1, Value::Missing);
    assert_eq!(
        (column.number(1, &at()), column.number(2, &at()), column.number(9, &at())),
        (None, Some(i64::MAX), None)
    );
    assert!(!column.is_mixed());
    column.set(3, Value::Text("tea"));
    assert!(column.is_mixed());
    let mut population = Population::of_columns(HashMap::from([(Feature::from_name("orders").unwrap(), column)]), 3);
    population.present[2] = false;
    let fixed = Scale::Numbers(CutOffs::fixed(Direction::Higher, &[5]));
    let definition =
        Definition { description: String::new(), dimensions: vec![dimension(1, fixed, 0, 0)], grading: None };
    let scores = Scores::new(&definition, &population, &at());
    assert_eq!(count((&definition, &scores), None, &population, &at()).dimensions[0].customers, [2, 0, 0]);
    assert_eq!(scores.column(&definition, 1, population.present()), [0, 0, 0, 0]);
    assert_eq!(features_of([&definition]).len(), 3);
}
