//! Whether one set of risks is better than another, on the same rows.

use super::error::{ChurnError, check_length, check_outcomes};
use super::evaluation::{Evaluation, squared_error};

/// One in eighty for each of two differences, of each of two candidates: of drafts that are no better at most one in
/// twenty is taken for better.
const ONE_SIDED: f64 = 2.241_402_727_604_947;

/// What a candidate has over what is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The candidate's area under the curve less the other's: above 0 it ranks better. Its standard error is `DeLong`'s
    /// (1988), which knows that both are of the same rows.
    pub area_under_curve: Difference,
    /// The candidate's Brier score less the other's: below 0 its risks are nearer to what happened.
    pub brier: Difference,
    /// Whether the candidate is to take the other's place: it ranks better, or its risks are nearer to what happened, by
    /// more than chance would have it one time in forty, and is no worse in the other: a higher Brier score is worse, and
    /// a smaller area if it is by more than chance. More than by chance, because a model that comes and goes is worse
    /// than one that stays; by either, as a model that has aged ranks customers long after its risks have ceased to mean
    /// what they say.
    pub better: bool,
}

/// A difference and how far chance may move it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The difference.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// Compares risks of a candidate with those of a baseline or of the model in use. Two rows at least have to be of
/// either outcome.
pub fn compare(candidate: &[f64], other: &[f64], labels: &[bool]) -> Result<Comparison, ChurnError> {
    compare_ranked((candidate, candidate), (other, other), labels)
}

/// The same where the order of either is that of its scores, of which its risks may have made ties.
pub fn compare_ranked(
    (own_scores, candidate): (&[f64], &[f64]),
    (scores, other): (&[f64], &[f64]),
    labels: &[bool],
) -> Result<Comparison, ChurnError> {
    check_length(other.len(), candidate.len())?;
    let of_candidate = Evaluation::ranked(own_scores, candidate, labels)?;
    let of_other = Evaluation::ranked(scores, other, labels)?;
    check_outcomes(labels, 2)?;
    let area_under_curve = Difference {
        value: of_candidate.area_under_curve - of_other.area_under_curve,
        standard_error: delong(own_scores, scores, labels),
    };
    let gaps = candidate.iter().zip(other).zip(labels);
    let gaps = gaps.map(|((own, other), label)| squared_error((own, label)) - squared_error((other, label)));
    let brier = Difference {
        value: of_candidate.brier - of_other.brier,
        standard_error: (variance(&gaps.collect::<Vec<f64>>()) / labels.len() as f64).sqrt(),
    };
    let by_chance = ONE_SIDED * area_under_curve.standard_error;
    let (ranks_better, ranks_worse) = (area_under_curve.value > by_chance, -area_under_curve.value > by_chance);
    let is_nearer = -brier.value > ONE_SIDED * brier.standard_error;
    let better = (ranks_better && brier.value <= 0.0) || (is_nearer && !ranks_worse);
    Ok(Comparison { area_under_curve, brier, better })
}

/// The standard error of a difference of two areas (`DeLong`, `DeLong` and Clarke-Pearson 1988), by ranks (Sun and Xu
/// 2014).
fn delong(one: &[f64], other: &[f64], labels: &[bool]) -> f64 {
    let gaps = placements(one, labels).into_iter().zip(placements(other, labels)).zip(labels);
    let gaps: Vec<(f64, bool)> = gaps.map(|((one, other), label)| (one - other, *label)).collect();
    let of = |outcome: bool| -> Vec<f64> { gaps.iter().filter(|gap| gap.1 == outcome).map(|gap| gap.0).collect() };
    let (left, stayed) = (of(true), of(false));
    (variance(&left) / left.len() as f64 + variance(&stayed) / stayed.len() as f64).sqrt()
}

/// For each row the share of rows of the other outcome that it ranks right against, a tie counting half.
fn placements(scores: &[f64], labels: &[bool]) -> Vec<f64> {
    let mut order: Vec<(f64, bool, usize)> =
        scores.iter().zip(labels).enumerate().map(|(row, (score, label))| (*score, *label, row)).collect();
    order.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let churned = labels.iter().filter(|label| **label).count() as f64;
    let stayed = labels.len() as f64 - churned;
    let mut found = vec![0.0; labels.len()];
    let (mut left_below, mut stayed_below) = (0.0, 0.0);
    for tied in order.chunk_by(|one, other| one.0 >= other.0) {
        let left_here = tied.iter().filter(|(_, label, _)| *label).count() as f64;
        let stayed_here = tied.len() as f64 - left_here;
        for (_, label, row) in tied {
            if let Some(placement) = found.get_mut(*row) {
                *placement = if *label {
                    (stayed_below + stayed_here / 2.0) / stayed
                } else {
                    (churned - left_below - left_here / 2.0) / churned
                };
            }
        }
        left_below += left_here;
        stayed_below += stayed_here;
    }
    found
}

/// The sample variance (divided by n - 1).
fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0).max(1.0)
}
