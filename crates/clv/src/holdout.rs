//! How well a model that was fitted on the past foretells what came after it, which it has not seen.

#![expect(clippy::float_cmp, reason = "the same numbers are meant, not close ones")]

use super::histories::History;

const GROUPS: usize = 10;

/// A customer of the past, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// What the model knows.
    pub history: History,
    /// How often it bought afterwards.
    pub bought: u32,
}

/// How close expectations come to what was bought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// The mean absolute error, in purchases. By itself it tells little: who expects nothing of anybody is hardly worse.
    pub mae: f64,
    /// The root of the mean squared error, in purchases.
    pub rmse: f64,
    /// By what part of all that was bought too much was expected of all: 0 is none, -0.1 a tenth too little. Where nothing was bought it is 0 if
    /// nothing was expected, and infinite otherwise.
    pub bias: f64,
    /// Between expected and bought. `None`: one of the two is the same of everybody.
    pub correlation: Option<f64>,
}

/// A tenth of the customers, of whom similar numbers were expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decile {
    /// How many.
    pub customers: u64,
    /// The mean of what was expected.
    pub expected: f64,
    /// The mean of what was bought.
    pub bought: f64,
}

/// The accuracy of a model, beside those of two that know nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Holdout {
    /// Of the model.
    pub model: Accuracy,
    /// Of the expectation that nobody buys again.
    pub nobody_buys: Accuracy,
    /// Of the expectation that everybody goes on buying as often as before.
    pub all_go_on: Accuracy,
    /// By what the model expected, from the least to the most; fewer where there are fewer customers.
    pub deciles: Vec<Decile>,
}

impl Holdout {
    /// Compares what is `expected` of a history within a time over the `time` that was held out. The order of customers does not matter.
    pub fn new(expected: impl Fn(&History, f64) -> f64, time: f64, held: impl IntoIterator<Item = Held>) -> Self {
        let foretold = |held: Held| (expected(&held.history, time), held);
        let mut foretold: Vec<(f64, Held)> = held.into_iter().map(foretold).collect();
        foretold.sort_unstable_by(|(one, of_one), (other, of_other)| {
            let ages = of_one.history.age.total_cmp(&of_other.history.age);
            one.total_cmp(other).then(of_one.bought.cmp(&of_other.bought)).then(ages)
        });
        let rate = |history: &History| if history.age > 0.0 { f64::from(history.repeats) / history.age } else { 0.0 };
        let pairs = |expected: &dyn Fn(&(f64, Held)) -> f64| -> Vec<(f64, f64)> {
            foretold.iter().map(|it| (expected(it), f64::from(it.1.bought))).collect()
        };
        Self {
            model: Accuracy::of(&pairs(&|(expected, _)| *expected)),
            nobody_buys: Accuracy::of(&pairs(&|_| 0.0)),
            all_go_on: Accuracy::of(&pairs(&|(_, held)| rate(&held.history) * time)),
            deciles: deciles(&levelled(&pairs(&|(expected, _)| *expected))),
        }
    }
}

impl Accuracy {
    /// Of pairs of expected and bought.
    fn of(pairs: &[(f64, f64)]) -> Self {
        let customers = (pairs.len() as f64).max(1.0);
        let mean = |value: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(value).sum::<f64>() / customers;
        let (expected, bought) = (mean(&|it| it.0), mean(&|it| it.1));
        let both = mean(&|it| (it.0 - expected) * (it.1 - bought));
        let (spread, spread_bought) = (mean(&|it| (it.0 - expected).powi(2)), mean(&|it| (it.1 - bought).powi(2)));
        // Of values that are all the same the spread is not always 0: their mean is rounded.
        let varies = pairs.iter().any(|it| it.0 != pairs[0].0) && pairs.iter().any(|it| it.1 != pairs[0].1);
        Self {
            mae: mean(&|it| (it.0 - it.1).abs()),
            rmse: mean(&|it| (it.0 - it.1).powi(2)).sqrt(),
            bias: if expected == bought { 0.0 } else { expected / bought - 1.0 },
            correlation: varies.then(|| both / (spread * spread_bought).sqrt()),
        }
    }
}

/// Pairs in which those of whom the same was expected bought the same, their mean: the border of two deciles may part them, and must not part
/// those who bought from those who did not.
fn levelled(pairs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let level = |same: &[(f64, f64)]| {
        let mean = same.iter().map(|it| it.1).sum::<f64>() / same.len() as f64;
        vec![(same[0].0, mean); same.len()]
    };
    pairs.chunk_by(|one, next| one.0 == next.0).flat_map(level).collect()
}

fn deciles(pairs: &[(f64, f64)]) -> Vec<Decile> {
    let part = |group: usize| group * pairs.len() / GROUPS;
    let groups = (0..GROUPS).map(|group| &pairs[part(group)..part(group + 1)]).filter(|group| !group.is_empty());
    let decile = |group: &[(f64, f64)]| {
        let customers = group.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| group.iter().map(value).sum::<f64>() / customers;
        Decile { customers: group.len() as u64, expected: mean(|it| it.0), bought: mean(|it| it.1) }
    };
    groups.map(decile).collect()
}
