//! The rules of a policy, in the order in which they are tried: its own, then those of its parameters.

use super::{Stage, StagePolicy, StageRule};

/// The rule that decided: the first of these that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    NoOrder,
    /// A rule of the policy's own, and its place from 0.
    Own(Stage, usize),
    ChurnedBySilence,
    ChurnedByAlive,
    DormantBySilence,
    DormantByAlive,
    CameBack,
    AtRiskBySilence,
    AtRiskByAlive,
    AtRiskByFewerOrders,
    AtRiskByFewerInteractions,
    AtRiskByComplaint,
    NewCustomer,
    ManyOrders,
    Otherwise,
}

impl Rule {
    pub(super) const fn stage(self) -> Stage {
        match self {
            Self::NoOrder => Stage::Lead,
            Self::Own(stage, _) => stage,
            Self::ChurnedBySilence | Self::ChurnedByAlive => Stage::Churned,
            Self::DormantBySilence | Self::DormantByAlive => Stage::Dormant,
            Self::CameBack => Stage::Reactivated,
            Self::AtRiskBySilence
            | Self::AtRiskByAlive
            | Self::AtRiskByFewerOrders
            | Self::AtRiskByFewerInteractions
            | Self::AtRiskByComplaint => Stage::AtRisk,
            Self::NewCustomer => Stage::New,
            Self::ManyOrders => Stage::Loyal,
            Self::Otherwise => Stage::Active,
        }
    }

    /// The rule in words. Nothing in them changes from day to day, so that a record does not either.
    pub(super) fn in_words(self, policy: &StagePolicy) -> String {
        let alive_below = |percent: i32| format!("alive with a probability of less than {percent} %");
        match self {
            Self::NoOrder => "no order yet".to_owned(),
            Self::Own(_, place) => {
                let condition = policy.rules.get(place).map_or("", StageRule::condition);
                format!("rule {} of the policy: {condition}", place + 1)
            }
            Self::ChurnedByAlive => alive_below(policy.churned_below_alive_percent),
            Self::DormantByAlive => alive_below(policy.dormant_below_alive_percent),
            Self::AtRiskByAlive => alive_below(policy.at_risk_below_alive_percent),
            Self::ChurnedBySilence => {
                format!("silent for more than {} times what its rhythm explains", policy.churned_factor)
            }
            Self::DormantBySilence => {
                format!("silent for more than {} times what its rhythm explains", policy.dormant_factor)
            }
            Self::CameBack => format!(
                "bought under {} days ago, after a gap of more than {} times what its rhythm then explained",
                policy.reactivated_days, policy.dormant_factor
            ),
            Self::AtRiskBySilence => "silent for longer than its rhythm explains".to_owned(),
            Self::AtRiskByFewerInteractions => format!(
                "interactions of 90 days at most half of those of the 90 days before, which were {} or more",
                policy.decline_min_count
            ),
            Self::AtRiskByComplaint => "a complaint that is not resolved".to_owned(),
            Self::AtRiskByFewerOrders => format!(
                "orders of 90 days at most half of those of the 90 days before, which were {} or more",
                policy.decline_min_count
            ),
            Self::NewCustomer => {
                format!("first order under {} days ago, and fewer than {} orders", policy.new_days, policy.new_orders)
            }
            Self::ManyOrders => format!("{} orders or more, and no other rule matched before", policy.loyal_orders),
            Self::Otherwise => "buys, and no other rule matched".to_owned(),
        }
    }
}
