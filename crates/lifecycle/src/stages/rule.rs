//! The rules of the default policy, in the order in which they are tried.

use super::{Stage, StagePolicy};

/// The rule that decided: the first of these that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    NoOrder,
    ChurnedBySilence,
    DormantBySilence,
    CameBack,
    AtRiskBySilence,
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
            Self::ChurnedBySilence => Stage::Churned,
            Self::DormantBySilence => Stage::Dormant,
            Self::CameBack => Stage::Reactivated,
            Self::AtRiskBySilence
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
        match self {
            Self::NoOrder => "no order yet".to_owned(),
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
