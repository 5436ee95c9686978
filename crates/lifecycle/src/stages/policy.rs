//! What a version of the stage policy goes by: its own rules, and the parameters of those that follow them.

use super::StageRule;
use std::sync::Arc;
use thiserror::Error;

/// One version of the stage policy. Its windows of 90 days for a decline are those of the features.
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
    /// CHURNED: less likely than so many hundredths to buy still. Default: 5. 0: never.
    pub churned_below_alive_percent: i32,
    /// DORMANT: less likely than so many hundredths to buy still. Default: 20. 0: never.
    pub dormant_below_alive_percent: i32,
    /// `AT_RISK`: less likely than so many hundredths to buy still. Default: 50. 0: never.
    pub at_risk_below_alive_percent: i32,
    /// Rules that are asked before those of the parameters. Default: none.
    pub rules: Arc<[StageRule]>,
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
    /// The parameter is no percentage that the probability of being alive comes in.
    #[error("must be a multiple of 5 within 0 and 100")]
    NotInSteps(&'static str),
    /// The parameter is less than the other.
    #[error("must not be less than {1}")]
    Less(&'static str, &'static str),
}

impl StagePolicyError {
    /// The parameter's name.
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::OutOfBounds(name, _) | Self::NotGreater(name, _) | Self::NotInSteps(name) | Self::Less(name, _) => {
                name
            }
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
            churned_below_alive_percent: 5,
            dormant_below_alive_percent: 20,
            at_risk_below_alive_percent: 50,
            rules: Arc::default(),
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
/// The steps in which the probability of being alive is known, rounded down: below a step of them is below it exactly.
const ALIVE_STEP_PERCENT: i32 = 5;

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
        self.validate_alive()
    }

    fn validate_alive(&self) -> Result<(), StagePolicyError> {
        let ascending = [
            ("churned_below_alive_percent", self.churned_below_alive_percent),
            ("dormant_below_alive_percent", self.dormant_below_alive_percent),
            ("at_risk_below_alive_percent", self.at_risk_below_alive_percent),
        ];
        let is_step = |percent: i32| (0..=100).contains(&percent) && percent % ALIVE_STEP_PERCENT == 0;
        if let Some((name, _)) = ascending.iter().find(|(_, percent)| !is_step(*percent)) {
            return Err(StagePolicyError::NotInSteps(name));
        }
        match ascending.windows(2).find(|pair| pair[1].1 < pair[0].1) {
            Some(pair) => Err(StagePolicyError::Less(pair[1].0, pair[0].0)),
            None => Ok(()),
        }
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

    #[test]
    fn probabilities_are_in_their_steps_and_ascend_with_how_alive_somebody_is() {
        let policy = |churned, dormant, at_risk| StagePolicy {
            churned_below_alive_percent: churned,
            dormant_below_alive_percent: dormant,
            at_risk_below_alive_percent: at_risk,
            ..StagePolicy::default()
        };
        for (churned, dormant, at_risk) in [(0, 0, 0), (0, 0, 5), (100, 100, 100), (5, 5, 50)] {
            assert_eq!(policy(churned, dormant, at_risk).validate(), Ok(()));
        }
        let not_in_steps = |name| Err(StagePolicyError::NotInSteps(name));
        assert_eq!(policy(3, 20, 50).validate(), not_in_steps("churned_below_alive_percent"));
        assert_eq!(policy(-5, 20, 50).validate(), not_in_steps("churned_below_alive_percent"));
        assert_eq!(policy(5, 20, 105).validate(), not_in_steps("at_risk_below_alive_percent"));
        let refused = policy(25, 20, 50).validate().unwrap_err();
        assert_eq!(refused, StagePolicyError::Less("dormant_below_alive_percent", "churned_below_alive_percent"));
        assert_eq!(policy(5, 20, 0).validate().unwrap_err().parameter(), "at_risk_below_alive_percent");
    }
}
