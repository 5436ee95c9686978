//! What is told of a model.

use super::gathering::{Gathered, Period};
use crate::churn::{Driver, Evaluation, Group, LevelEffect, ModelCard, Settings, Training};
use quintile_proto::lifecycle::{
    ChurnBaseline, ChurnCandidate, ChurnDriver, ChurnDriverLevel, ChurnEvaluation, ChurnMethod, ChurnModel,
    ChurnPeriod, ReliabilityBin,
};
use quintile_rpc::convert;

/// What is said of fewer customers is said of somebody.
const LEAST_CUSTOMERS: usize = 50;
/// What adds less to log-odds adds nothing but what rounding leaves.
const LEAST_STRENGTH: f64 = 1e-9;
/// The share whose lift is told.
const TOP_TENTH: f64 = 0.1;

/// A model as it is told: all but its name, its state and its times.
pub fn model(
    gathered: &Gathered,
    training: &Training,
    card: &ModelCard,
    drivers: &[Driver],
    horizon_days: i32,
) -> ChurnModel {
    let [fit, calibration, holdout] = &gathered.periods;
    ChurnModel {
        horizon_days,
        fit: Some(period(fit)),
        calibration: Some(period(calibration)),
        holdout: Some(period(holdout)),
        sampled_one_in: gathered.one_in,
        ..figures(training, card, drivers, 0)
    }
}

/// What models of both kinds have in common: how they learn, foretell and explain. `folds`: across how many of them they were judged, 0 where by a
/// later period.
pub fn figures(training: &Training, card: &ModelCard, drivers: &[Driver], folds: i32) -> ChurnModel {
    let evaluation = |known: &Evaluation| ChurnEvaluation { folds, ..evaluation(known) };
    let baselines = card.against.iter().zip(&training.baselines).map(|(against, (_, known))| ChurnBaseline {
        baseline: against.baseline.clone(),
        evaluation: Some(evaluation(known)),
        area_gained: against.comparison.area_under_curve.value,
        area_gained_standard_error: against.comparison.area_under_curve.standard_error,
        brier_gained: against.comparison.brier.value,
        brier_gained_standard_error: against.comparison.brier.standard_error,
        better: against.comparison.better,
    });
    let candidates = training.trained.iter().map(|one| ChurnCandidate {
        method: method(&one.card).into(),
        evaluation: Some(evaluation(&one.card.evaluation)),
    });
    ChurnModel {
        method: method(card).into(),
        features: card.features.clone(),
        evaluation: Some(evaluation(&card.evaluation)),
        candidates: candidates.collect(),
        baselines: baselines.collect(),
        better: card.better,
        drivers: drivers.iter().filter(|driver| driver.strength > LEAST_STRENGTH).map(driver).collect(),
        ..ChurnModel::default()
    }
}

fn method(card: &ModelCard) -> ChurnMethod {
    match card.settings {
        Settings::Logistic(_) => ChurnMethod::Logistic,
        Settings::Boosted(_) => ChurnMethod::Boosting,
    }
}

fn period(period: &Period) -> ChurnPeriod {
    ChurnPeriod {
        date: Some(convert::date(period.day)),
        customers: period.left.len() as i64,
        left: period.left.iter().filter(|left| **left).count() as i64,
    }
}

fn evaluation(evaluation: &Evaluation) -> ChurnEvaluation {
    let top = evaluation.lifts.iter().find(|lift| lift.share >= TOP_TENTH);
    let bin = |bin: &crate::churn::ReliabilityBin| ReliabilityBin {
        customers: bin.rows as i64,
        mean_risk: bin.mean_risk,
        share_left: bin.churned_share,
    };
    ChurnEvaluation {
        customers: evaluation.rows as i64,
        left: evaluation.churned as i64,
        area_under_curve: evaluation.area_under_curve,
        kolmogorov_smirnov: evaluation.kolmogorov_smirnov,
        brier: evaluation.brier,
        log_loss: evaluation.log_loss,
        calibration_error: evaluation.calibration_error,
        lift_in_top_tenth: top.map_or(0.0, |top| top.lift),
        reliability: evaluation.reliability.iter().map(bin).collect(),
        ..ChurnEvaluation::default()
    }
}

fn driver(driver: &Driver) -> ChurnDriver {
    let told = driver.levels.iter().filter(|level| level.rows >= LEAST_CUSTOMERS);
    ChurnDriver {
        feature: driver.feature.clone(),
        strength: driver.strength,
        direction: driver.direction,
        levels: told.map(level).collect(),
    }
}

fn level(effect: &LevelEffect) -> ChurnDriverLevel {
    let level = if let Group::Level(name) = &effect.level { name.clone() } else { String::new() };
    ChurnDriverLevel {
        level,
        missing: effect.level == Group::Missing,
        customers: effect.rows as i64,
        mean_contribution: effect.mean,
    }
}
