//! How many clouds there are, and silhouettes worked out by hand.

use super::super::points::Points;
use super::super::silhouette::silhouette;
use super::super::{ClusterError, Search, choose};
use super::*;

#[test]
fn there_are_as_many_clusters_as_clouds() {
    let apart = [(0.0, 0.0, 60), (20.0, 0.0, 50), (0.0, 20.0, 40), (20.0, 20.0, 50), (10.0, 40.0, 45)];
    for count in 3..=5 {
        let prepared = prepared(2, &clouds(&apart[..count], 3));
        let choice = choose(&prepared, 2..=9, &Search::new(5)).unwrap();
        assert_eq!((choice.highest_silhouette, choice.recommended), (count, count));
        // Where some are further apart than others, as the fifth is, a curve can bend before its end.
        if count < 5 {
            assert_eq!(choice.elbow, Some(count));
        }
        assert_eq!(choice.candidates.iter().map(|one| one.clusters).collect::<Vec<_>>(), (2..=9).collect::<Vec<_>>());
        assert!(choice.candidates.is_sorted_by(|one, next| one.inertia > next.inertia));
        assert_eq!((choice.rows, choice.silhouette_rows), (prepared.rows(), prepared.rows()));
    }
}

#[test]
fn a_table_ends_where_rows_are_no_longer_distinct() {
    let rows: Vec<Vec<f64>> = (0..40).map(|row| vec![f64::from(row % 4)]).collect();
    let prepared = prepared(1, &rows);
    let choice = choose(&prepared, 2..=8, &Search::new(5)).unwrap();
    assert_eq!(choice.candidates.last().unwrap().clusters, 4);
    assert_eq!(choice.candidates.last().unwrap().silhouette, 1.0);
    let refused = |range| choose(&prepared, range, &Search::new(5)).unwrap_err();
    assert_eq!(refused(5..=8), ClusterError::TooFewDistinct { distinct: 4, clusters: 5 });
    assert_eq!(refused(1..=3), ClusterError::ClustersOutOfRange(1));
    assert_eq!(refused(std::ops::RangeInclusive::new(4, 3)), ClusterError::ClustersOutOfRange(4));
}

#[test]
fn many_rows_cost_no_more_than_a_sample() {
    let prepared = prepared(2, &clouds(&[(0.0, 0.0, 12_000), (20.0, 0.0, 13_000)], 3));
    let choice = choose(&prepared, 2..=2, &Search { restarts: 1, ..Search::new(5) }).unwrap();
    assert_eq!((choice.rows, choice.silhouette_rows, choice.highest_silhouette), (20_000, 5_000, 2));
}

#[test]
fn a_silhouette_is_as_worked_out_by_hand() {
    // 0 and 2 against 5, and 20 alone. Of 0: a = 2, b = 5 (the next is 5); of 2: a = 2, b = 3; the other two are alone.
    let points = Points::new(1, vec![0.0, 2.0, 5.0, 20.0]);
    assert_close(silhouette(&points, &[0, 0, 1, 2], 3), (3.0 / 5.0 + 1.0 / 3.0) / 4.0, 1e-12, "silhouette");
    // In the wrong cluster. Of 0: a = 5, b = 2; of 5: a = 5, b = 3; 2 is alone.
    let points = Points::new(1, vec![0.0, 2.0, 5.0]);
    assert_close(silhouette(&points, &[0, 1, 0], 2), (-3.0 / 5.0 - 2.0 / 5.0) / 3.0, 1e-12, "silhouette");
    // With nothing to compare with.
    assert_eq!(silhouette(&points, &[1, 1, 1], 2), 0.0);
}
