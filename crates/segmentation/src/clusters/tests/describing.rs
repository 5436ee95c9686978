//! What is said of centres that were chosen.

use super::super::{Cluster, Column, DISTINCT, Partition, Preparation, describe};

const WORDS: [(&str, &str, &str); 4] = [
    ("revenue", "high revenue", "low revenue"),
    ("orders", "frequent orders", "rare orders"),
    ("days since the last order", "long gone", "bought recently"),
    ("returns", "many returns", "few returns"),
];

fn partition(centres: &[(u64, [f64; 4])]) -> Partition {
    let column = |(name, high, low): &(&str, &str, &str)| Column {
        feature: super::super::Feature {
            name: (*name).to_owned(),
            logarithmic: true,
            high: (*high).to_owned(),
            low: (*low).to_owned(),
        },
        mean: 1.0,
        deviation: 2.0,
    };
    let cluster = |(number, (size, centre)): (u32, &(u64, [f64; 4]))| Cluster {
        number,
        size: *size,
        centre: centre.to_vec(),
        moved: None,
    };
    Partition {
        preparation: Preparation { columns: WORDS.iter().map(column).collect() },
        clusters: (1..).zip(centres).map(cluster).collect(),
        mean_distance: 1.0,
        last_number: centres.len() as u32,
    }
}

fn texts(centres: &[(u64, [f64; 4])]) -> Vec<String> {
    describe(&partition(centres), DISTINCT).into_iter().map(|one| one.text).collect()
}

#[test]
fn what_differs_most_is_said_first_and_at_most_three_things_are() {
    let centres = [
        (50, [2.0, 1.0, -0.6, 0.2]),
        (60, [-0.4, -0.5, 0.7, 0.0]),
        (70, [-1.0, 1.1, 1.2, -1.3]),
        (80, [0.1, -0.2, 0.3, 0.4]),
    ];
    assert_eq!(
        texts(&centres),
        [
            "high revenue, frequent orders, bought recently",
            "long gone, rare orders",
            "few returns, long gone, frequent orders",
            "close to the average customer",
        ],
    );
    let described = describe(&partition(&centres), 1.0);
    assert_eq!(described[0].text, "high revenue, frequent orders");
    assert_eq!(described[0].cluster, 1);
    assert_eq!((described[0].traits[1].feature.as_str(), described[0].traits[1].deviations), ("orders", 1.0));
}

#[test]
fn clusters_in_the_same_words_are_told_apart() {
    let centres = [(50, [1.0, 1.2, 0.0, 0.0]), (60, [3.0, 2.0, 0.0, 0.0]), (70, [0.7, 0.6, 0.0, 0.0]), (9, [0.0; 4])];
    assert_eq!(
        texts(&centres),
        [
            "frequent orders, high revenue (less so than cluster 2)",
            "high revenue, frequent orders",
            "high revenue, frequent orders (less so than cluster 1)",
            "close to the average customer",
        ],
    );
}

#[test]
fn of_clusters_that_are_equally_pronounced_the_first_is_named_by_the_second() {
    let texts = texts(&[(50, [1.0, 0.0, 0.0, 0.0]), (60, [1.0, 0.0, 0.0, 0.0])]);
    assert_eq!(texts, ["high revenue", "high revenue (less so than cluster 1)"]);
}

#[test]
fn nothing_is_said_of_a_few() {
    let described = describe(&partition(&[(4, [5.0, 0.0, 0.0, 0.0]), (5, [5.0, 0.0, 0.0, 0.0])]), DISTINCT);
    assert_eq!(described[0].text, "too few customers to describe");
    assert!(described[0].traits.is_empty());
    assert_eq!(described[1].text, "high revenue");
}

#[test]
fn no_threshold_makes_everything_distinct() {
    for threshold in [0.0, -3.0, f64::NAN] {
        let described = describe(&partition(&[(50, [0.0, 0.05, -0.2, 0.0])]), threshold);
        assert_eq!(described[0].text, "bought recently");
    }
}
