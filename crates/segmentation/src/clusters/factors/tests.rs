//! Against R's published example, and correlations made of factors that are known.

use super::*;
use proptest::prelude::*;
use std::ops::Range;

/// Covariances of six tests of 112 people (Bartholomew 1987): the lower triangle.
const ABILITY: [&[f64]; 6] = [
    &[24.641],
    &[5.991, 6.700],
    &[33.520, 18.137, 149.831],
    &[6.023, 1.782, 19.424, 12.711],
    &[20.755, 4.936, 31.430, 4.757, 52.604],
    &[29.701, 7.204, 50.753, 9.075, 66.762, 135.292],
];

fn named(size: usize) -> Vec<String> {
    (0..size).map(|place| place.to_string()).collect()
}

fn of_covariances(triangle: &[&[f64]]) -> Symmetric {
    let at = |row: usize, column: usize| triangle[row.max(column)][row.min(column)];
    Symmetric::new(triangle.len(), |row, column| at(row, column) / (at(row, row) * at(column, column)).sqrt())
}

#[test]
fn factors_of_the_ability_tests_are_those_of_another_program() {
    // statsmodels: Factor(corr=R, n_factor=2, method="ml").fit(), and scikit-learn's varimax of its loadings divided by
    // the roots of the communalities, times these.
    let expected = [
        [0.501_137_72, 0.541_882_65],
        [0.158_013_85, 0.621_047_06],
        [0.208_476_52, 0.859_277_59],
        [0.109_995_02, 0.467_418_06],
        [0.956_801_78, 0.179_104_97],
        [0.785_471_85, 0.222_363_76],
    ];
    let uniquenesses = [0.455_224_17, 0.589_332_17, 0.218_179_56, 0.769_421_45, 0.052_451_76, 0.333_588_33];
    let found = of_correlations(named(6), &of_covariances(&ABILITY), 2).unwrap();
    assert!(found.settled);
    for (feature, (expected, uniqueness)) in expected.iter().zip(uniquenesses).enumerate() {
        for (factor, expected) in found.factors.iter().zip(expected) {
            assert!((factor.loadings[feature] - expected).abs() < 2e-6, "{} {expected}", factor.loadings[feature]);
        }
        assert!((found.uniquenesses[feature] - uniqueness).abs() < 2e-6);
    }
    for (place, factor) in found.factors.iter().enumerate() {
        let share = expected.iter().map(|row| row[place] * row[place]).sum::<f64>() / 6.0;
        assert!((factor.explained - share).abs() < 2e-6);
    }
}

#[test]
fn factors_of_the_ability_tests_are_the_published_ones_turned_a_little_further() {
    // R: factanal(factors = 2, covmat = ability.cov), as the tests of the package GPArotation have its loadings. Its
    // varimax ends when a turn gains less than 1e-5.
    let published = [
        [0.499_437_829, 0.156_070_079, 0.205_786_989, 0.108_530_754, 0.956_242_470, 0.784_768_183],
        [0.543_449_046, 0.621_537_989, 0.859_925_885, 0.467_761_017, 0.182_096_319, 0.224_822_136],
    ];
    let found = of_correlations(named(6), &of_covariances(&ABILITY), 2).unwrap();
    for feature in 0..6 {
        for (factor, published) in found.factors.iter().zip(published) {
            assert!((factor.loadings[feature] - published[feature]).abs() < 4e-3);
        }
        let communality = published.iter().map(|factor| factor[feature] * factor[feature]).sum::<f64>();
        assert!(
            (found.uniquenesses[feature] - (1.0 - communality)).abs() < 2e-5,
            "{feature} {}",
            found.uniquenesses[feature] - (1.0 - communality)
        );
    }
    let ours: Vec<Vec<f64>> = found.factors.iter().map(|factor| factor.loadings.clone()).collect();
    assert!(criterion(&ours) > criterion(&published.map(|factor| factor.to_vec())));
}

#[test]
fn factors_that_correlations_were_made_of_are_found_again() {
    // Each feature belongs to one factor: varimax has nothing to turn.
    let made = [[0.0, 0.9], [0.0, -0.8], [0.0, 0.7], [0.9, 0.0], [0.8, 0.0], [0.6, 0.0], [0.5, 0.0]];
    let product = |one: usize, other: usize| made[one][0] * made[other][0] + made[one][1] * made[other][1];
    let correlations = Symmetric::new(7, |row, column| if row == column { 1.0 } else { product(row, column) });
    let found = of_correlations(named(7), &correlations, 2).unwrap();
    for (feature, made) in made.iter().enumerate() {
        for (factor, expected) in found.factors.iter().zip(made) {
            assert!((factor.loadings[feature] - expected).abs() < 1e-5);
        }
        assert!((found.uniquenesses[feature] - (1.0 - product(feature, feature))).abs() < 1e-5);
    }
}

#[test]
fn a_feature_that_follows_from_another_leaves_the_least_to_itself() {
    // The first two are the same.
    let of = |row: usize, column: usize| match (row.min(column), row.max(column)) {
        (one, other) if one == other => 1.0,
        (0, 1) => 1.0,
        (0 | 1, _) => 0.4,
        _ => 0.3,
    };
    let found = of_correlations(named(4), &Symmetric::new(4, of), 1).unwrap();
    assert!(found.uniquenesses.iter().all(|uniqueness| (LEAST_UNIQUENESS..=1.0).contains(uniqueness)));
    assert!(found.uniquenesses[..2].iter().all(|uniqueness| *uniqueness < 0.01));
    assert!(found.factors[0].loadings.iter().all(|loading| loading.is_finite()));
}

#[test]
fn so_many_factors_are_determined_as_the_books_say() {
    // Lawley and Maxwell: (p - q)² ≥ p + q.
    let most = [0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 6];
    for (features, most) in most.into_iter().enumerate() {
        assert_eq!(most_factors(features), most, "{features}");
    }
    let correlations = of_covariances(&ABILITY);
    for factors in [0, 4, 7] {
        let refused = of_correlations(named(6), &correlations, factors).unwrap_err();
        assert_eq!(refused, ClusterError::FactorsOutOfRange { factors, most: 3 });
    }
}

/// Kaiser's criterion: the variances of the squared loadings, of features of length 1.
fn criterion(factors: &[Vec<f64>]) -> f64 {
    let features = factors[0].len();
    let squares: Vec<Vec<f64>> =
        factors.iter().map(|factor| factor.iter().map(|loading| loading * loading).collect()).collect();
    let lengths: Vec<f64> = (0..features).map(|feature| squares.iter().map(|factor| factor[feature]).sum()).collect();
    let of_one = |factor: &Vec<f64>| {
        let shares: Vec<f64> = factor.iter().zip(&lengths).map(|(square, length)| square / length).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter().map(|share| share * share).sum::<f64>() / features as f64 - (sum / features as f64).powi(2)
    };
    squares.iter().map(of_one).sum()
}

fn factors(count: usize, loadings: Range<f64>, features: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(loadings, features), count)
}

proptest! {
    #[test]
    fn no_other_turn_of_two_factors_is_simpler_and_communalities_stay(
        before in (3..9_usize).prop_flat_map(|features| factors(2, 0.05..0.9, features)),
        signs: u16,
    ) {
        let mut before = before;
        for (place, loading) in before.iter_mut().flatten().enumerate() {
            *loading *= if signs >> (place % 16) & 1 == 0 { 1.0 } else { -1.0 };
        }
        let mut turned = before.clone();
        varimax(&mut turned);
        for feature in 0..before[0].len() {
            let communality = |factors: &[Vec<f64>]| factors.iter().map(|factor| factor[feature].powi(2)).sum::<f64>();
            prop_assert!((communality(&before) - communality(&turned)).abs() < 1e-12);
        }
        let best = criterion(&turned);
        for degree in 0..180 {
            let (sine, cosine) = f64::from(degree).to_radians().sin_cos();
            let pairs = before[0].iter().zip(&before[1]);
            let (first, second) = pairs.map(|(x, y)| (cosine * x + sine * y, cosine * y - sine * x)).unzip();
            prop_assert!(criterion(&[first, second]) <= best + 1e-9);
        }
    }

    #[test]
    fn no_pair_of_three_factors_is_left_to_turn(
        mut factors in (4..9_usize).prop_flat_map(|features| factors(3, -0.9..0.9, features)),
    ) {
        prop_assume!(factors.iter().flatten().all(|loading| loading.abs() > 0.01));
        varimax(&mut factors);
        let best = criterion(&factors);
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            for angle in [-0.3_f64, -0.01, 0.01, 0.3] {
                let mut turned = factors.clone();
                let (sine, cosine) = angle.sin_cos();
                for (feature, (x, y)) in factors[one].iter().zip(&factors[other]).enumerate() {
                    turned[one][feature] = cosine * x + sine * y;
                    turned[other][feature] = cosine * y - sine * x;
                }
                prop_assert!(criterion(&turned) <= best + 1e-9);
            }
        }
    }
}
