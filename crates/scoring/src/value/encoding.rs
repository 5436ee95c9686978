//! Between fits of lifetime value and their messages.

use super::{Foretold, Found, ValueModel};
use quintile_clv::{Accuracy, BgNbd, Decile, Dropout, FitError, Fitted, FittedSpend, GammaGamma, Nbd};
use quintile_domain::money::Currency;
use quintile_proto::scoring as sent;
use quintile_rpc::convert;

/// Billionths of a major unit.
const NANOS: f64 = 1e9;
/// What is said where the data do not tell that anybody leaves.
const NOT_IDENTIFIED: &str = "dropout not identified: the data do not tell that anybody leaves, so all customers are \
    taken to stay (NBD), and nobody has a probability of being alive";

/// What a fit has found, as callers read it. `end` is the last day that counts, `in_force` the name of the model that was when it was made.
pub fn report(found: &Found, end: i64, holdout_days: i32, in_force: &str, currency: Currency) -> sent::ValueModel {
    let foretold = found.holdout.as_ref().and_then(|holdout| holdout.as_ref().ok());
    let problem = found.holdout.as_ref().and_then(|holdout| holdout.as_ref().err());
    let is_identified = found.purchases.dropout_is_identified();
    sent::ValueModel {
        purchases: Some(purchases(&found.purchases, found.customers, end)),
        dropout_problem: if is_identified { String::new() } else { NOT_IDENTIFIED.to_owned() },
        spend: found.spend.as_ref().ok().map(|spend| spend_fit(spend, found.spenders, currency)),
        spend_problem: found.spend.err().map(spend_problem).unwrap_or_default(),
        holdout: foretold.map(|foretold| sent::Holdout {
            in_force_model: if foretold.in_force.is_some() { in_force.to_owned() } else { String::new() },
            ..holdout(foretold, end, holdout_days)
        }),
        holdout_problem: problem.map(|error| format!("before the days that are held out: {error}")).unwrap_or_default(),
        ..sent::ValueModel::default()
    }
}

fn purchases(fit: &Fitted, customers: u64, end: i64) -> sent::PurchaseFit {
    sent::PurchaseFit {
        r: fit.model.r,
        alpha: fit.model.alpha,
        a: fit.model.a,
        b: fit.model.b,
        log_likelihood: fit.log_likelihood,
        never_leaving_r: fit.never_leaving.r,
        never_leaving_alpha: fit.never_leaving.alpha,
        never_leaving_log_likelihood: fit.never_leaving_log_likelihood,
        dropout_identified: fit.dropout_is_identified(),
        customers: customers as i64,
        end_date: i32::try_from(end).ok().map(convert::date),
    }
}

fn spend_problem(error: FitError) -> String {
    match error {
        FitError::NoRepeats => "nobody who bought again spent anything".to_owned(),
        FitError::NotFound | FitError::NoMeanSpend => error.to_string(),
    }
}

fn spend_fit(fit: &FittedSpend, customers: u64, currency: Currency) -> sent::SpendFit {
    let GammaGamma { p, q, v } = fit.model;
    sent::SpendFit {
        p,
        q,
        v_nanos: Some((v * NANOS).round() as i64),
        log_likelihood: fit.log_likelihood,
        correlation: fit.correlation,
        mean: Some(money(fit.model.expected_spend(None), currency)),
        customers: customers as i64,
    }
}

/// An amount in major units as money: to the smallest unit, half away from zero.
pub fn money(major: f64, currency: Currency) -> quintile_proto::google_type::Money {
    let minor = major * 10_f64.powi(currency.minor_digits() as i32);
    convert::money(currency, minor.round() as i64)
}

fn holdout(foretold: &Foretold, end: i64, days: i32) -> sent::Holdout {
    let decile = |decile: &Decile| sent::HoldoutDecile {
        customers: decile.customers as i64,
        expected: decile.expected,
        bought: decile.bought,
    };
    sent::Holdout {
        days,
        fit: Some(purchases(&foretold.fit, foretold.customers, end - i64::from(days))),
        accuracy: Some(accuracy(&foretold.holdout.model)),
        in_force: foretold.in_force.as_ref().map(|in_force| accuracy(&in_force.model)),
        nobody_buys: Some(accuracy(&foretold.holdout.nobody_buys)),
        all_go_on: Some(accuracy(&foretold.holdout.all_go_on)),
        deciles: foretold.holdout.deciles.iter().map(decile).collect(),
        in_force_model: String::new(),
        customers_left_out: foretold.left_out as i64,
    }
}

fn accuracy(accuracy: &Accuracy) -> sent::HoldoutAccuracy {
    sent::HoldoutAccuracy {
        mae: accuracy.mae,
        rmse: accuracy.rmse,
        bias_percent: Some(accuracy.bias * 100.0).filter(|percent| percent.is_finite()),
        correlation: accuracy.correlation,
    }
}

/// When customers can leave, where a message says it.
pub const fn dropout(kind: sent::DropoutKind) -> Dropout {
    match kind {
        sent::DropoutKind::AfterEveryPurchase => Dropout::AfterEveryPurchase,
        sent::DropoutKind::Unspecified | sent::DropoutKind::AfterRepeats => Dropout::AfterRepeats,
    }
}

/// The model that a message tells. `None`: it lacks a fit.
pub fn model_of(message: &sent::ValueModel) -> Option<ValueModel> {
    let (purchases, terms) = (message.purchases.as_ref()?, message.terms?);
    let dropout = dropout(message.dropout());
    let spend = message
        .spend
        .as_ref()
        .and_then(|spend| Some(GammaGamma { p: spend.p, q: spend.q, v: spend.v_nanos? as f64 / NANOS }));
    Some(ValueModel {
        purchases: Fitted {
            model: BgNbd { dropout, r: purchases.r, alpha: purchases.alpha, a: purchases.a, b: purchases.b },
            log_likelihood: purchases.log_likelihood,
            never_leaving: Nbd { r: purchases.never_leaving_r, alpha: purchases.never_leaving_alpha },
            never_leaving_log_likelihood: purchases.never_leaving_log_likelihood,
        },
        spend,
        gross_margin: terms.gross_margin_percent / 100.0,
        monthly_discount: terms.monthly_discount_percent.unwrap_or_default() / 100.0,
        months: u32::try_from(terms.months).ok()?,
    })
}
