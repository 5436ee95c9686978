use super::*;
use crate::own_fields::unknown;
use crate::population::catalogue::{Key, Live};
use crate::population::membership::Membership;
use crate::population::tests::{clusters_by, define, members, record, rule, segment, take, tenant};
use proptest::prelude::*;
use quintile_proto::types::{CustomerRecord, ModelScore, ScoreValues};

/// A score model that is the tenant's own, of one dimension.
const OWN: &str = "own";

/// What a customer is given: the cell of `rfm`, 0 or 1 plus its place; the composites of `grade` and of `own`, 0 or 1 plus each; a score of `own`.
type Given = (u8, u8, u8, u8);

/// What composites amount to where the better band begins there.
fn grades(from: i32) -> Vec<Grade> {
    let grade = |composite| Grade {
        composite,
        band: if composite >= from { "A" } else { "B" }.to_owned(),
        tier: if composite >= from / 2 { "high" } else { "low" }.to_owned(),
        vip: composite > from + 20,
    };
    (0..=100).map(grade).collect()
}

fn digit(cell: u8, of: u8) -> u8 {
    cell.checked_sub(1).map_or(0, |place| place / of % 5 + 1)
}

/// A record of these scores; the better bands of `grade` and of `own` begin there.
fn scored_record(number: i64, given: Given, from: [i32; 2]) -> CustomerRecord {
    let (cell, grade, composite, score) = given;
    let of = |composite: u8, from: i32| composite.checked_sub(1).map(|place| grades(from)[usize::from(place)].clone());
    let model = |id: &str, scores: &[u8], grade| ModelScore {
        model_version: format!("scoreModels/{id}/versions/1"),
        scores: scores.iter().map(|score| i32::from(*score)).collect(),
        grade,
    };
    let scores = ScoreValues {
        recency: digit(cell, 25).into(),
        frequency: digit(cell, 5).into(),
        monetary: digit(cell, 1).into(),
        models: vec![model(GRADE, &[1], of(grade, from[0])), model(OWN, &[score], of(composite, from[1]))],
        ..ScoreValues::default()
    };
    CustomerRecord { scores: Some(scores), ..record(number, number % 5) }
}

/// Customers with these scores, and definitions that read them, themselves and through others.
fn population(given: &[Given], from: [i32; 2]) -> Population {
    let mut population = Population::new(&tenant()).unwrap();
    population.know(unknown(&[scored_record(1, (1, 1, 1, 1), from)], &[])).unwrap();
    for (id, expression) in [
        ("recent", "rfm.r >= 4 && orders > 2"),
        ("loyal", "segment('rfm-11/loyal') || !has(rfm.f)"),
        ("calm", "orders < 3"),
        ("any", "!segment('recent') && segment('loyal')"),
        ("good", "grade.band == 'A' && grade.tier != 'low' || grade.vip == 'yes' || grade.value < 10"),
        ("own", "score.own.d1 >= 3 && score.own.band == 'B' || !has(score.own.value) && orders > 1"),
    ] {
        let live = segment(&population, id, expression);
        define(&mut population, live);
    }
    let listed = Membership::List { listed: Bitmap::from_iter([2, 3]), began_with: BTreeSet::from([1]) };
    define(&mut population, Live::segment("listed", 1, listed));
    let live = clusters_by(&population, "segment('recent') || score.own.value > 40", ["rfm.r", "grade.value"]);
    define(&mut population, live);
    let sources = [
        "segment('any') && rfm.m < 4",
        "segment('found/cluster-1')",
        "segment('good') && !segment('own')",
        "score.own.d1 > rfm.r && score.own.tier == 'high' && score.own.vip == 'no'",
        "segment('calm')",
        "segment('listed')",
    ];
    let rules = sources.map(|source| rule(&population, source)).to_vec();
    let labels = ["any", "one", "good", "own", "calm", "listed", "rest"].map(str::to_owned);
    define(&mut population, Live::label_set("through", 1, &labels, Membership::Rules(rules)));
    for (given, number) in given.iter().zip(1..) {
        take(&mut population, scored_record(number, *given, from));
    }
    population
}

/// The scores of customers by a model, as scoring tells them.
fn told(model: &str, given: &[Given], from: [i32; 2]) -> Scores {
    let each = |of: fn(&Given) -> u8| given.iter().map(of).collect::<Vec<_>>();
    match model {
        RFM => Scores {
            by_place: BTreeMap::from([
                (1, each(|given| digit(given.0, 25))),
                (2, each(|given| digit(given.0, 5))),
                (3, each(|given| digit(given.0, 1))),
            ]),
            grades: Vec::new(),
        },
        GRADE => Scores { by_place: BTreeMap::from([(0, each(|given| given.1))]), grades: grades(from[0]) },
        _ => Scores {
            by_place: BTreeMap::from([(0, each(|given| given.2)), (1, each(|given| given.3))]),
            grades: grades(from[1]),
        },
    }
}

/// The same customers with what `then` gives them by one model.
fn given_by(model: &str, now: &[Given], then: &[Given]) -> Vec<Given> {
    let mixed = |(now, then): (&Given, &Given)| match model {
        RFM => (then.0, now.1, now.2, now.3),
        GRADE => (now.0, then.1, now.2, now.3),
        _ => (now.0, now.1, then.2, then.3),
    };
    now.iter().zip(then).map(mixed).collect()
}

fn any_given() -> impl Strategy<Value = Given> {
    (0..=125_u8, 0..=101_u8, 0..=101_u8, 0..=5_u8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whoever would have other scores would belong to what those belong to who have them.
    #[test]
    fn other_scores_are_supposed_as_if_customers_had_them(
        customers in prop::collection::vec((any_given(), any_given()), 1..30), from in [30..60_i32, 30..60_i32],
    ) {
        let (now, then): (Vec<Given>, Vec<Given>) = customers.into_iter().unzip();
        let before = population(&now, [50, 50]);
        for (model, from) in [(RFM, [50, 50]), (GRADE, [from[0], 50]), (OWN, [50, from[1]])] {
            let with_them = population(&given_by(model, &now, &then), from);
            let sides = [told(model, &now, [50, 50]), told(model, &then, from)];
            for (place, live) in before.catalogue().live().iter().enumerate() {
                let read = before.scores_read(place, model);
                // What is not read is not told.
                let sides = sides.clone().map(|side| Scores {
                    by_place: side.by_place.into_iter().filter(|(place, _)| read.contains(place)).collect(),
                    ..side
                });
                let found = before.parts_by_scores(place, model, sides.each_ref(), &Cancellation::default()).unwrap();
                for (supposed, expected) in found.iter().zip([&before, &with_them]) {
                    prop_assert_eq!(supposed.len(), live.parts.len());
                    for (supposed, part) in supposed.iter().zip(&live.parts) {
                        let expected = members(expected, &part.name);
                        prop_assert_eq!(supposed.iter().collect::<Vec<_>>(), expected, "{} {}", model, &part.name);
                    }
                }
            }
        }
    }
}

#[test]
fn scores_are_read_of_the_model_that_they_are_of() {
    let population = population(&[(1, 1, 1, 1)], [50, 50]);
    let read = |key, model| {
        let (place, _) = population.catalogue().find(&key).unwrap();
        population.scores_read(place, model).into_iter().collect::<Vec<_>>()
    };
    for (key, model, places) in [
        (Key::segment("recent"), RFM, vec![1]),
        (Key::segment("any"), RFM, vec![1, 2, 3]),
        (Key::segment("recent"), OWN, Vec::new()),
        (Key::segment("good"), GRADE, vec![0]),
        (Key::segment("good"), RFM, Vec::new()),
        (Key::segment("own"), OWN, vec![0, 1]),
        (Key::label_set("through"), OWN, vec![0, 1]),
        (Key::label_set("through"), GRADE, vec![0]),
        (Key::label_set("through"), "other", Vec::new()),
    ] {
        assert_eq!(read(key.clone(), model), places, "{key} {model}");
    }
}

#[test]
fn nothing_is_supposed_once_nobody_waits_for_it() {
    let population = population(&[(1, 0, 0, 0), (60, 50, 50, 3), (125, 101, 0, 5)], [50, 50]);
    let (scores, cancellation) =
        (told(RFM, &[(125, 0, 0, 0), (1, 0, 0, 0), (60, 0, 0, 0)], [50, 50]), Cancellation::default());
    cancellation.cancel();
    for place in 0..population.catalogue().live().len() {
        assert_eq!(population.parts_by_scores(place, RFM, [&scores], &cancellation), None);
    }
}
