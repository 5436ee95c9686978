//! The parameters of the default stage policy.

use thiserror::Error;

/// One version of the default stage policy. Its windows of 90 days for a decline are those of the features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePolicy {
    /// The version, from 1. Default: 1.
    pub version: i64,
    /// The population's 0.8 quantile of gaps, in days, frozen in this version. Default: 119, that of CDNOW.
    pub population_p80_days: i32,
    /// NEW: the first order is less than this many local days ago. Default: 90.
    pub new_days: i32,
    /// NEW: fewer orders than this. Default: 3.
    pub new_orders: i64,
    /// LOYAL: this many orders or more. Default: 5.
    pub loyal_orders: i64,
    /// CHURNED: silent for more than this many times the rhythm. Default: 4.
    pub churned_factor: i32,
    /// DORMANT: silent for more than this many times the rhythm. Default: 2.
    pub dormant_factor: i32,
    /// REACTIVATED: the last order is less than this many local days ago. Default: 90.
    pub reactivated_days: i32,
    /// `AT_RISK` by decline: at least this many orders in the 90 days before the last 90. Default: 4.
    pub decline_min_count: i64,
    /// A sign of leaving: the risk is so many hundredths or more. Default: 70.
    pub risk_warning_percent: i32,
}

/// Why a policy is refused, by the name of the parameter.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StagePolicyError {
    /// The parameter is not within 1 and so much.
    #[error("must be within 1 and {1}")]
    OutOfBounds(&'static str, i64),
    /// The parameter is not greater than the other.
    #[error("must be greater than {1}")]
    NotGreater(&'static str, &'static str),
}

impl StagePolicyError {
    /// The parameter's name.
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::OutOfBounds(name, _) | Self::NotGreater(name, _) => name,
        }
    }
}

impl Default for StagePolicy {
    fn default() -> Self {
        Self {
            version: 1,
            population_p80_days: 119,
            new_days: 90,
            new_orders: 3,
            loyal_orders: 5,
            churned_factor: 4,
            dormant_factor: 2,
            reactivated_days: 90,
            decline_min_count: 4,
            risk_warning_percent: 70,
        }
    }
}

/// A parameter, and the most that it can be.
struct Bounded {
    name: &'static str,
    value: i64,
    most: i64,
}

/// The most days of a parameter: ten years.
const MAX_DAYS: i64 = 3_650;
/// The most orders, or whatever else is counted.
const MAX_COUNT: i64 = 1_000_000;

impl StagePolicy {
    /// Refuses parameters under which a stage cannot be reached, or everybody is in it. Evaluating such a policy is
    /// defined all the same.
    pub fn validate(&self) -> Result<(), StagePolicyError> {
        let bounded = |name, value: i64, most| Bounded { name, value, most };
        let parameters = [
            bounded("population_p80_days", self.population_p80_days.into(), MAX_DAYS),
            bounded("new_days", self.new_days.into(), MAX_DAYS),
            bounded("new_orders", self.new_orders, MAX_COUNT),
            bounded("loyal_orders", self.loyal_orders, MAX_COUNT),
            bounded("dormant_factor", self.dormant_factor.into(), 100),
            bounded("churned_factor", self.churned_factor.into(), 1_000),
            bounded("reactivated_days", self.reactivated_days.into(), MAX_DAYS),
            bounded("decline_min_count", self.decline_min_count, MAX_COUNT),
            bounded("risk_warning_percent", self.risk_warning_percent.into(), 100),
        ];
        let is_out = |parameter: &&Bounded| !(1..=parameter.most).contains(&parameter.value);
        if let Some(Bounded { name, most, .. }) = parameters.iter().find(is_out) {
            return Err(StagePolicyError::OutOfBounds(name, *most));
        }
        // AT_RISK lies between once the rhythm and DORMANT.
        if self.dormant_factor <= 1 {
            return Err(StagePolicyError::NotGreater("dormant_factor", "1"));
        }
        if self.churned_factor <= self.dormant_factor {
            return Err(StagePolicyError::NotGreater("churned_factor", "dormant_factor"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_valid() {
        assert_eq!(StagePolicy::default().validate(), Ok(()));
    }

    #[test]
    fn a_policy_with_a_stage_out_of_reach_is_refused() {
        let policy = StagePolicy { new_orders: 0, ..StagePolicy::default() };
        assert_eq!(policy.validate(), Err(StagePolicyError::OutOfBounds("new_orders", 1_000_000)));
        let policy = StagePolicy { dormant_factor: 1, ..StagePolicy::default() };
        assert_eq!(policy.validate(), Err(StagePolicyError::NotGreater("dormant_factor", "1")));
        let policy = StagePolicy { churned_factor: 2, ..StagePolicy::default() };
        let refused = policy.validate().unwrap_err();
        assert_eq!(
            (refused.parameter(), refused.to_string().as_str()),
            ("churned_factor", "must be greater than dormant_factor")
        );
    }
}
