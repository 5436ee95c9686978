//! Shares that have moved, against indices of the science sheet's vectors.

use super::super::{Cluster, Drift, Partition, Preparation, Tally};
use super::assert_close;
use quintile_domain::stability::Verdict;

fn partition(sizes: &[u64]) -> Partition {
    let cluster =
        |(number, size): (u32, &u64)| Cluster { number, size: *size, centre: vec![f64::from(number)], moved: None };
    Partition {
        preparation: Preparation { columns: vec![] },
        clusters: (1..).zip(sizes).map(cluster).collect(),
        mean_distance: 2.0,
        last_number: sizes.len() as u32,
    }
}

fn drift(then: &[u64], now: &[u64], distance: f64) -> Option<Drift> {
    let mut tally = Tally::default();
    for (number, count) in (1..).zip(now) {
        (0..*count).for_each(|_| tally.add(number, distance));
    }
    Drift::since_fit(&partition(then), &tally)
}

#[test]
fn indices_are_those_of_the_vectors() {
    let cases: [(&[u64], &[u64], f64, Verdict); 4] = [
        (&[100; 10], &[100; 10], 0.0, Verdict::Stable),
        (&[100; 10], &[90, 95, 100, 100, 100, 100, 100, 105, 105, 105], 0.002_041_924_091_057_494, Verdict::Stable),
        (&[200; 5], &[100, 150, 200, 250, 300], 0.135_402_510_055_110_48, Verdict::Shifting),
        (&[10, 20, 30, 40], &[40, 30, 20, 10], 0.912_869_638_293_567_3, Verdict::Shifted),
    ];
    for (then, now, expected, verdict) in cases {
        let found = drift(then, now, 2.0).unwrap();
        assert_close(found.stability_index, expected, 1e-12, "index");
        assert_eq!(found.verdict, verdict);
        assert_eq!(found.distance_ratio, Some(1.0));
    }
}

#[test]
fn a_cluster_that_nobody_is_in_any_more_counts_as_one_in_ten_thousand() {
    let found = drift(&[50, 50], &[100, 0], 2.0).unwrap();
    let expected = 0.5 * 2.0_f64.ln() + (1e-4 - 0.5) * (1e-4 / 0.5_f64).ln();
    assert_close(found.stability_index, expected, 1e-12, "index");
    assert_eq!(found.verdict, Verdict::Shifted);
}

#[test]
fn customers_who_move_away_from_the_centres_count_though_shares_stay() {
    for (distance, verdict) in [
        (1.0, Verdict::Stable),
        (2.25, Verdict::Stable),
        (2.5, Verdict::Shifting),
        (2.875, Verdict::Shifting),
        (3.0, Verdict::Shifted),
    ] {
        let found = drift(&[30, 70], &[30, 70], distance).unwrap();
        assert_eq!((found.distance_ratio, found.verdict), (Some(distance / 2.0), verdict));
    }
}

#[test]
fn chance_alone_makes_an_index_of_few_customers() {
    let found = drift(&[50, 50], &[5, 15], 2.0).unwrap();
    assert_close(found.index_by_chance, 1.0 / 100.0 + 1.0 / 20.0, 1e-12, "by chance");
    // Twenty customers drawn from the shares of the fit themselves, many times: the mean index is about that.
    let mut random = quintile_domain::seeded::Seeded::new(11);
    let mut sum = 0.0;
    for _ in 0..4_000 {
        let first = (0..200).filter(|_| random.unit() < 0.5).count() as u64;
        sum += drift(&[1_000_000, 1_000_000], &[first, 200 - first], 2.0).unwrap().stability_index;
    }
    assert_close(sum / 4_000.0, 1.0 / 200.0 + 1.0 / 2_000_000.0, 0.1, "mean index");
}

#[test]
fn nobody_cannot_drift() {
    assert_eq!(drift(&[5, 5], &[0, 0], 1.0), None);
    assert_eq!(drift(&[0, 0], &[5, 5], 1.0), None);
    let mut on_centres = partition(&[5, 5]);
    on_centres.mean_distance = 0.0;
    let mut tally = Tally::default();
    tally.add(1, 3.0);
    tally.add(2, 3.0);
    let found = Drift::since_fit(&on_centres, &tally).unwrap();
    assert_eq!((found.distance_ratio, found.verdict), (None, Verdict::Stable));
    assert_eq!((tally.total(), tally.count(1), tally.count(3)), (2, 1, 0));
}
