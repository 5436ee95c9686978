//! Survival: the share that is still there after so many days, from durations of which some go on (Kaplan and Meier
//! 1958, "Nonparametric estimation from incomplete observations").

use super::durations::Durations;

/// The 97.5th percentile of the normal distribution.
const NORMAL: f64 = 1.959_963_984_540_054;
/// What shares may be off by rounding, where they are held against a half or another share.
const ROUNDING: f64 = 1e-12;

/// Bounds of a share, at 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The lower one, 0 to 1.
    pub low: f64,
    /// The upper one, 0 to 1.
    pub high: f64,
}

/// A day on which some durations ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SurvivalPoint {
    /// Days since the beginning.
    pub days: u32,
    /// Durations that lasted that long, those that ended or were last looked at on this day included.
    pub at_risk: u64,
    /// Those of them that ended on this day.
    pub ended: u64,
    /// The share that lasts longer, 0 to 1: the product of `1 - ended / at_risk` up to this day. It holds until the next
    /// point.
    pub survival: f64,
    /// Its standard error (Greenwood 1926). 0 once nobody is left.
    pub standard_error: f64,
    /// Its interval on the scale of `ln(-ln S)`, which never leaves 0 to 1 and holds for few as well (Kalbfleisch and
    /// Prentice 1980). `None`: nobody is left.
    pub interval: Option<Bounds>,
}

/// A survival curve: 1 before the first of its points, then a step down at each.
#[derive(Clone, Debug, PartialEq)]
pub struct Survival {
    /// Durations it is made from.
    pub count: u64,
    /// The longest of them, in days. Beyond it the curve says nothing, unless nobody is left.
    pub longest_days: u32,
    /// By day.
    pub points: Vec<SurvivalPoint>,
}

/// The day by which a share has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantile {
    /// The first day after which no more than the rest are there. `None`: not within the days that were followed.
    pub days: Option<u32>,
    /// The lower bound at 95 % (Brookmeyer and Crowley 1982): where the curve's lower bound comes down so far. `None`: it
    /// does not.
    pub low_days: Option<u32>,
    /// The upper bound: where the curve's upper bound does. `None`: it does not, and the day may be any later one.
    pub high_days: Option<u32>,
}

/// How long durations last on average within so many days: the area under the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestrictedMean {
    /// The mean, in days.
    pub days: f64,
    /// Its standard error, in days.
    pub standard_error: f64,
}

impl Durations {
    /// The survival curve. A duration that goes on counts as at risk on its last day: what ended and what was last
    /// looked at on the same day are taken in this order.
    pub fn survival(&self) -> Survival {
        let count = self.count();
        let (mut at_risk, mut survival, mut greenwood) = (count, 1.0, 0.0);
        let mut points = Vec::new();
        for (days, of_day) in (0..).zip(self.days()) {
            if of_day.ended > 0 {
                survival *= (at_risk - of_day.ended) as f64 / at_risk as f64;
                greenwood += greenwood_term(at_risk, of_day.ended);
                points.push(SurvivalPoint {
                    days,
                    at_risk,
                    ended: of_day.ended,
                    survival,
                    standard_error: survival * greenwood.sqrt(),
                    interval: bounds(survival, greenwood),
                });
            }
            at_risk -= of_day.ended + of_day.going_on;
        }
        Survival { count, longest_days: self.days().len().saturating_sub(1) as u32, points }
    }
}

/// What a day adds to the relative variance; once nobody is left, nothing, as the share is then 0 in any case.
fn greenwood_term(at_risk: u64, ended: u64) -> f64 {
    if ended == at_risk { 0.0 } else { ended as f64 / (at_risk as f64 * (at_risk - ended) as f64) }
}

fn bounds(survival: f64, greenwood: f64) -> Option<Bounds> {
    if survival <= 0.0 {
        return None;
    }
    let reach = NORMAL * greenwood.sqrt() / survival.ln().abs();
    Some(Bounds { low: survival.powf(reach.exp()), high: survival.powf((-reach).exp()) })
}

impl Survival {
    /// The share that lasts longer than so many days, 0 to 1. `None`: nobody was followed for so long.
    pub fn at(&self, days: u32) -> Option<f64> {
        let passed = self.points.partition_point(|point| point.days <= days);
        let survival = passed.checked_sub(1).map_or(1.0, |last| self.points[last].survival);
        (self.count > 0 && (days <= self.longest_days || survival <= 0.0)).then_some(survival)
    }

    /// The day by which half have ended.
    pub fn median(&self) -> Quantile {
        self.quantile(0.5)
    }

    /// The day by which a share of all, above 0 and up to 1, have ended. Where the curve rests exactly on what is left,
    /// it is the first day of that.
    pub fn quantile(&self, ended: f64) -> Quantile {
        let left = 1.0 - ended + ROUNDING;
        let first = |of: &dyn Fn(&SurvivalPoint) -> f64| {
            self.points.iter().find(|point| of(point) <= left).map(|point| point.days)
        };
        let high = |point: &SurvivalPoint| point.interval.map_or(f64::INFINITY, |bounds| bounds.high);
        let low = |point: &SurvivalPoint| point.interval.map_or(0.0, |bounds| bounds.low);
        Quantile { days: first(&|point| point.survival), low_days: first(&low), high_days: first(&high) }
    }

    /// The mean of the durations, each cut at so many days. `None`: nobody was followed for so long.
    pub fn restricted_mean(&self, days: u32) -> Option<RestrictedMean> {
        self.at(days)?;
        let (mut area, mut variance, mut end) = (0.0, 0.0, days);
        // From the end, as what a point adds to the variance goes with the area behind it.
        for point in self.points.iter().rev().filter(|point| point.days < days) {
            area += point.survival * f64::from(end - point.days);
            variance += area * area * greenwood_term(point.at_risk, point.ended);
            end = point.days;
        }
        Some(RestrictedMean { days: area + f64::from(end), standard_error: variance.sqrt() })
    }
}
