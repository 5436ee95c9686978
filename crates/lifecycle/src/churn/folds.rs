//! Judging without a past: rows are in folds, and each is foretold by what the others teach.
//!
//! Where a label says who has left, nobody knows since when the features have been as they are, and there is no later
//! period to judge by. So each fold is held out in turn (Stone 1974), and figures are of all rows together, as papers
//! that publish on such data have it.

use super::calibration::Calibration;
use super::card::Rows;
use super::drift::RiskProfile;
use super::error::{ChurnError, check_length, check_outcomes};
use super::model::{ChurnModel, Model};
use super::table::Table;
use super::training::{
    Baseline, Candidate, Judging, LEAST_OUTCOMES, Period, Trained, Training, check_numbers, chosen, evaluated, judged,
    known,
};

/// The folds of a cross-validation.
pub const FOLDS: usize = 5;

/// The fold of a row by the id of whoever it is of: the CRC-32 of ISO 3309 of its bytes, modulo [`FOLDS`]. It depends on
/// nothing else, so that anybody can say who was held out when.
pub fn fold_of(id: &str) -> usize {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    let sum = !id.bytes().fold(!0, |sum: u32, byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| step(sum)));
    sum as usize % FOLDS
}

/// A fold that is held out, and the others.
struct Split {
    /// The places of the rows that are held out.
    held: Vec<usize>,
    held_table: Table,
    /// Those of all others.
    others: Vec<usize>,
    table: Table,
    labels: Vec<bool>,
}

/// Fits candidates to everybody, and judges each by rows that were held out: their scores are those of a model that was
/// fitted to the other folds, and rank them; their risks are by a line or curve that was learnt of the pooled scores of
/// these. The model that is kept is calibrated on all pooled scores. Baselines are risks of the rows, and are taken at their word.
///
/// `folds` tells the fold of each row. There have to be ten rows of either outcome, and one of each in any of the folds
/// but one together. The profile is of those who stayed, as nobody else is foretold anything.
pub fn cross_validate(
    rows: Period<'_>,
    folds: &[usize],
    candidates: &[Candidate],
    baselines: &[Baseline],
) -> Result<Training, ChurnError> {
    check_numbers(candidates, baselines)?;
    check_length(rows.labels.len(), rows.table.rows())?;
    check_length(folds.len(), rows.labels.len())?;
    check_outcomes(rows.labels, LEAST_OUTCOMES)?;
    let known = baselines.iter().map(|one| known(one, rows, rows)).collect::<Result<Vec<_>, ChurnError>>()?;
    let splits = (0..FOLDS).map(|fold| split(rows, folds, fold)).filter(|split| !split.held.is_empty());
    let splits: Vec<Split> = splits.collect();
    let mut trained: Vec<Trained> = Vec::new();
    for candidate in candidates {
        let (scores, converged) = scores(candidate, rows, &splits)?;
        let risks = risks(candidate, &scores, rows.labels, &splits)?;
        let calibration = Calibration::learn(candidate.calibration, &scores, rows.labels)?;
        let model = ChurnModel { model: Model::fit(rows.table, rows.labels, &candidate.settings)?, calibration };
        let stayed = risks.iter().zip(rows.labels).filter(|(_, left)| !**left).map(|(risk, _)| *risk);
        let judging = Judging {
            scores: &scores,
            risks: &risks,
            labels: rows.labels,
            fitted: Rows::of(rows.labels),
            calibrated: Rows::of(rows.labels),
            profile: RiskProfile::new(&stayed.collect::<Vec<f64>>())?,
        };
        let mut one = judged(candidate, model, judging, &known)?;
        one.card.converged &= converged;
        one.card.better &= converged;
        trained.push(one);
    }
    let chosen = chosen(&trained);
    Ok(Training { trained, baselines: evaluated(&known, rows.labels)?, chosen })
}

fn split(rows: Period<'_>, folds: &[usize], fold: usize) -> Split {
    let (held, others): (Vec<usize>, Vec<usize>) = (0..folds.len()).partition(|row| folds.get(*row) == Some(&fold));
    let labels = others.iter().filter_map(|row| rows.labels.get(*row)).copied().collect();
    Split { held_table: rows.table.part(&held), table: rows.table.part(&others), held, others, labels }
}

/// The score of each row by a model of the other folds, and whether all of these came to rest.
fn scores(candidate: &Candidate, rows: Period<'_>, splits: &[Split]) -> Result<(Vec<f64>, bool), ChurnError> {
    let (mut scores, mut converged) = (vec![0.0; rows.labels.len()], true);
    for split in splits {
        let model = Model::fit(&split.table, &split.labels, &candidate.settings)?;
        converged &= model.is_at_rest();
        put(&mut scores, &split.held, model.log_odds(&split.held_table)?);
    }
    Ok((scores, converged))
}

/// The risk of each row by what the scores of the other folds teach.
fn risks(candidate: &Candidate, scores: &[f64], labels: &[bool], splits: &[Split]) -> Result<Vec<f64>, ChurnError> {
    let mut risks = vec![0.0; labels.len()];
    let at = |places: &[usize]| -> Vec<f64> { places.iter().filter_map(|row| scores.get(*row)).copied().collect() };
    for split in splits {
        let learnt = Calibration::learn(candidate.calibration, &at(&split.others), &split.labels)?;
        put(&mut risks, &split.held, at(&split.held).into_iter().map(|score| learnt.risk(score)));
    }
    Ok(risks)
}

fn put(all: &mut [f64], places: &[usize], values: impl IntoIterator<Item = f64>) {
    for (place, value) in places.iter().zip(values) {
        if let Some(one) = all.get_mut(*place) {
            *one = value;
        }
    }
}
