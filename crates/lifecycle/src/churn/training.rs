//! From rows to a model that may be published, or to the finding that none is better than a rule of thumb.

use super::calibration::{Calibration, Method};
use super::card::{Against, ModelCard, Rows};
use super::comparison::compare_ranked;
use super::drift::RiskProfile;
use super::error::{ChurnError, check_length, check_outcomes};
use super::evaluation::Evaluation;
use super::model::{ChurnModel, Model, Settings};
use super::table::Table;

/// The fewest rows of either outcome in each period: of less nothing can be told.
pub(super) const LEAST_OUTCOMES: usize = 10;
/// The most candidates, and the most baselines. The best of many is best by chance.
const MOST: usize = 8;

/// Rows of a period, and who left in what came after.
#[derive(Clone, Copy, Debug)]
pub struct Period<'p> {
    /// Features as of the period's end.
    pub table: &'p Table,
    /// For each row whether it left.
    pub labels: &'p [bool],
}

/// A model to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its kind, and how it is fitted.
    pub settings: Settings,
    /// How its risks are calibrated.
    pub calibration: Method,
}

/// What a model has to be better than: a rule of thumb such as days since the last order or 1 - P(alive), or the model
/// in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// Its score for each row of the calibration period: any finite score, the higher the likelier to leave. They rank as
    /// they are, and make risks by that of a line and a curve, learnt of the same rows as those of candidates, whose risks
    /// are nearer to what happened: nothing is held against them but what they do not know. `None`: they are risks, and
    /// are taken at their word.
    pub calibration: Option<Vec<f64>>,
    /// Its score, or risk, for each row of the holdout period.
    pub holdout: Vec<f64>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Of each candidate, in their order.
    pub trained: Vec<Trained>,
    /// What baselines are worth on the holdout, in their order, by name.
    pub baselines: Vec<(String, Evaluation)>,
    /// The place of the candidate to publish: of those better than each baseline the one with the largest area under
    /// the curve, of equal ones the first. `None`: there is none.
    pub chosen: Option<usize>,
}

/// A candidate, trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The model.
    pub model: ChurnModel,
    /// Its figures.
    pub card: ModelCard,
}

/// A baseline's risks on the holdout.
pub(super) struct Known<'b> {
    name: &'b str,
    scores: &'b [f64],
    risks: Vec<f64>,
}

/// What a model is judged by, and what it was made of.
pub(super) struct Judging<'j> {
    /// The scores of rows that it has not seen, by which they are ranked.
    pub scores: &'j [f64],
    /// Their risks.
    pub risks: &'j [f64],
    /// Who of these left.
    pub labels: &'j [bool],
    /// The rows that it was fitted to.
    pub fitted: Rows,
    /// Those that it was calibrated on.
    pub calibrated: Rows,
    /// How risks are spread that later ones are to be compared with.
    pub profile: RiskProfile,
}

/// Fits candidates to the first period, calibrates them on the second and holds them against baselines on the third. In
/// time, periods follow each other, so that no model knows what comes after. Each needs ten rows of either outcome.
/// There may be 1 to 8 candidates and up to 8 baselines; without any nothing is better than them, and nothing is
/// chosen.
pub fn train(
    fit: Period<'_>,
    calibration: Period<'_>,
    holdout: Period<'_>,
    candidates: &[Candidate],
    baselines: &[Baseline],
) -> Result<Training, ChurnError> {
    check_numbers(candidates, baselines)?;
    for period in [fit, calibration, holdout] {
        check_length(period.labels.len(), period.table.rows())?;
        check_outcomes(period.labels, LEAST_OUTCOMES)?;
    }
    let known: Vec<Known<'_>> =
        baselines.iter().map(|one| known(one, calibration, holdout)).collect::<Result<_, ChurnError>>()?;
    let trained = candidates.iter().map(|candidate| try_out(candidate, fit, calibration, holdout, &known));
    let trained = trained.collect::<Result<Vec<Trained>, ChurnError>>()?;
    let chosen = chosen(&trained);
    Ok(Training { trained, baselines: evaluated(&known, holdout.labels)?, chosen })
}

/// Refuses too few candidates or too many, and too many baselines.
pub(super) fn check_numbers(candidates: &[Candidate], baselines: &[Baseline]) -> Result<(), ChurnError> {
    if !(1..=MOST).contains(&candidates.len()) {
        return Err(ChurnError::Setting("candidates"));
    }
    if baselines.len() > MOST { Err(ChurnError::Setting("baselines")) } else { Ok(()) }
}

/// The place of what is to be published: see [`Training::chosen`].
pub(super) fn chosen(trained: &[Trained]) -> Option<usize> {
    let (mut chosen, mut largest) = (None, 0.0);
    for (place, one) in trained.iter().enumerate() {
        if one.card.better && one.card.evaluation.area_under_curve > largest {
            (chosen, largest) = (Some(place), one.card.evaluation.area_under_curve);
        }
    }
    chosen
}

/// What baselines are worth, by name.
pub(super) fn evaluated(known: &[Known<'_>], labels: &[bool]) -> Result<Vec<(String, Evaluation)>, ChurnError> {
    let evaluated =
        known.iter().map(|known| Ok((known.name.to_owned(), Evaluation::ranked(known.scores, &known.risks, labels)?)));
    evaluated.collect()
}

/// What a baseline gives on a holdout.
pub(super) fn known<'b>(
    baseline: &'b Baseline,
    calibration: Period<'_>,
    holdout: Period<'_>,
) -> Result<Known<'b>, ChurnError> {
    check_length(baseline.holdout.len(), holdout.labels.len())?;
    if let Some(row) = baseline.holdout.iter().position(|score| !score.is_finite()) {
        return Err(ChurnError::Prediction(row));
    }
    let (name, scores) = (&baseline.name, &baseline.holdout);
    let Some(learning) = &baseline.calibration else { return Ok(Known { name, scores, risks: scores.clone() }) };
    let mut nearest: Option<(f64, Vec<f64>)> = None;
    for method in [Method::Isotonic, Method::Platt] {
        let learnt = Calibration::learn(method, learning, calibration.labels)?;
        let risks: Vec<f64> = scores.iter().map(|score| learnt.risk(*score)).collect();
        let brier = Evaluation::new(&risks, holdout.labels)?.brier;
        if nearest.as_ref().is_none_or(|(least, _)| brier < *least) {
            nearest = Some((brier, risks));
        }
    }
    Ok(Known { name, scores, risks: nearest.map(|(_, risks)| risks).unwrap_or_default() })
}

fn try_out(
    candidate: &Candidate,
    fit: Period<'_>,
    calibration: Period<'_>,
    holdout: Period<'_>,
    baselines: &[Known<'_>],
) -> Result<Trained, ChurnError> {
    let model = Model::fit(fit.table, fit.labels, &candidate.settings)?;
    let scores = model.log_odds(calibration.table)?;
    let learnt = Calibration::learn(candidate.calibration, &scores, calibration.labels)?;
    let model = ChurnModel { model, calibration: learnt };
    let risks = model.risks(holdout.table)?;
    let judging = Judging {
        scores: &risks,
        risks: &risks,
        labels: holdout.labels,
        fitted: Rows::of(fit.labels),
        calibrated: Rows::of(calibration.labels),
        // Of rows that it was fitted to it is too sure.
        profile: RiskProfile::new(&risks)?,
    };
    judged(candidate, model, judging, baselines)
}

/// A model with its figures.
pub(super) fn judged(
    candidate: &Candidate,
    model: ChurnModel,
    judging: Judging<'_>,
    baselines: &[Known<'_>],
) -> Result<Trained, ChurnError> {
    let Judging { scores, risks, labels, fitted, calibrated, profile } = judging;
    let against = baselines.iter().map(|known| {
        let comparison = compare_ranked((scores, risks), (known.scores, &known.risks), labels)?;
        Ok(Against { baseline: known.name.to_owned(), comparison })
    });
    let against: Vec<Against> = against.collect::<Result<_, ChurnError>>()?;
    let trees = if let Model::Boosted(model) = &model.model { model.trees.len() } else { 0 };
    let converged = model.model.is_at_rest();
    let card = ModelCard {
        name: candidate.name.clone(),
        settings: candidate.settings,
        features: model.model.encoding().features.iter().map(|encoded| encoded.name.clone()).collect(),
        fitted,
        calibrated,
        calibration: candidate.calibration,
        converged,
        trees,
        evaluation: Evaluation::ranked(scores, risks, labels)?,
        better: converged && !against.is_empty() && against.iter().all(|against| against.comparison.better),
        against,
        profile,
    };
    Ok(Trained { model, card })
}
