//! Expected purchases as an integral over the chance of leaving: slower than the series, and accurate where that does not converge.

/// Beside the largest weight, one that no longer counts.
const NEGLIGIBLE: f64 = 1e-19;
/// The coarsest step, on the scale of log-odds.
const STEP: f64 = 0.25;
/// So far beyond the log-odds at which anything bends, what is left of the integrand is an exponential to the last digit.
const STRAIGHT: f64 = 40.0;

/// E[(1 - (1 + p·ratio)^-shape) / p] for p of the beta distribution with `a` and `b`, by the trapezoidal rule over the log-odds of p: the
/// integrand falls off exponentially to both sides, where that rule converges exponentially.
pub fn expected_while_alive(a: f64, b: f64, shape: f64, ratio: f64) -> f64 {
    let mode = (a / b).ln();
    let log_weight = |u: f64| -a * softplus(-u) - b * softplus(u);
    let peak = log_weight(mode);
    let step = STEP * (1.0 / a + 1.0 / b).sqrt().min(1.0);
    let mut sums = (1.0, purchases(logistic(mode), shape, ratio));
    // To either side the weight falls off with one parameter alone, which may be tiny: the end is summed as a geometric series.
    let bends_below = -STRAIGHT - (1.0 + b + ratio * (shape + 1.0)).ln();
    let bends_above = STRAIGHT + (1.0 + a + shape).ln();
    for (direction, parameter) in [(-step, a), (step, b)] {
        let mut u = mode;
        loop {
            u += direction;
            let weight = (log_weight(u) - peak).exp();
            let is_straight = u < bends_below || u > bends_above;
            let terms = if is_straight { 1.0 + (parameter * step).exp_m1().recip() } else { 1.0 };
            sums.0 += weight * terms;
            sums.1 += weight * terms * purchases(logistic(u), shape, ratio);
            if is_straight || weight <= NEGLIGIBLE {
                break;
            }
        }
    }
    sums.1 / sums.0
}

/// What is expected of somebody who leaves with probability `p` after each purchase.
fn purchases(p: f64, shape: f64, ratio: f64) -> f64 {
    // The limit of never leaving, which p can be too small to tell from.
    if p < f64::MIN_POSITIVE { shape * ratio } else { -(-shape * (p * ratio).ln_1p()).exp_m1() / p }
}

fn logistic(u: f64) -> f64 {
    1.0 / (1.0 + (-u).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
