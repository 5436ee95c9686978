//! Stage policies: where a customer stands, which rule says so, and when time alone will say otherwise.
//!
//! Pure: an input, an instant and a zone give a decision. The rules that a policy states in the rule language come first, then those of its
//! parameters. To add one of the latter, add it to `rule::Rule` at its place in the order, and to `Evidence::rule_of_parameters`; if it depends on
//! days, add the day on which it turns to `Evidence::turning_days`. To add a field for the former, see `fields`.

mod conditions;
mod fields;
mod policy;
mod population;
mod rational;
mod rhythm;
mod rule;

use self::conditions::{DayRow, LocalDays};
use quintile_domain::time::{Instant, TimeZone};

pub use self::conditions::{ConditionError, MAX_CONDITION_BYTES, MAX_RULES, MAX_TERMS, MAX_TURNING_TERMS, StageRule};
pub use self::fields::schema;
pub use self::policy::{StagePolicy, StagePolicyError};
pub use self::population::PopulationGaps;
pub use self::rational::Rational;
pub(crate) use self::rhythm::Rhythm;
use self::rule::Rule;
use quintile_domain::midnight::begin_of_later_day;

/// Where a customer stands in its life with the company, numbered as in `quintile.type.v1.Stage`; what each means where no rule of a policy's own says
/// otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// No order yet.
    Lead = 1,
    /// A recent first order, and few orders.
    New = 2,
    /// Buys, and none of the other stages.
    Active = 3,
    /// Many orders, and none of the stages that warn.
    Loyal = 4,
    /// Silent for longer than its own rhythm explains, hardly likely to buy still, buying or getting in touch half as often, or with a complaint that is
    /// not resolved.
    AtRisk = 5,
    /// Silent for more than twice its rhythm, or unlikely to buy still.
    Dormant = 6,
    /// Silent for more than four times its rhythm, or very unlikely to buy still.
    Churned = 7,
    /// Bought lately, after a silence that had met dormant.
    Reactivated = 8,
}

impl Stage {
    /// Every stage, by number.
    pub const ALL: [Self; 8] = [
        Self::Lead,
        Self::New,
        Self::Active,
        Self::Loyal,
        Self::AtRisk,
        Self::Dormant,
        Self::Churned,
        Self::Reactivated,
    ];

    /// The stage of a number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage as i32 == number)
    }

    /// The name, such as `AT_RISK`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lead => "LEAD",
            Self::New => "NEW",
            Self::Active => "ACTIVE",
            Self::Loyal => "LOYAL",
            Self::AtRisk => "AT_RISK",
            Self::Dormant => "DORMANT",
            Self::Churned => "CHURNED",
            Self::Reactivated => "REACTIVATED",
        }
    }
}

/// What is decided upon: the features, scores and attributes of one customer as of an instant. An empty text is a missing one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageInput<'a> {
    /// The first order. `None`: no order.
    pub first_order: Option<Instant>,
    /// The last order. `None`: no order.
    pub last_order: Option<Instant>,
    /// Orders so far.
    pub orders: i64,
    /// Gaps between consecutive distinct local purchase days, in days, oldest first.
    pub gap_days: &'a [i32],
    /// Orders in the 90 days before the instant.
    pub orders_90: i64,
    /// Orders in the 90 days before those.
    pub previous_orders_90: i64,
    /// Interactions in the 90 days before the instant.
    pub interactions_90: i64,
    /// Interactions in the 90 days before those.
    pub previous_interactions_90: i64,
    /// The last interaction. `None`: none.
    pub last_interaction: Option<Instant>,
    /// Complaints that are not resolved.
    pub open_complaints: i64,
    /// How likely the customer is to leave, in hundredths. `None`: nothing foretells it.
    pub risk_percent: Option<i32>,
    /// How likely the customer still buys, in hundredths, rounded down to a step of 5. `None`: not known.
    pub alive_percent: Option<i32>,
    /// Recency, frequency and monetary, 1 to 5. 0: no score.
    pub rfm: [i32; 3],
    /// Distinct local days with an order.
    pub purchase_days: i64,
    /// Orders in the 30 days before the instant.
    pub orders_30: i64,
    /// Orders in the 365 days before the instant.
    pub orders_365: i64,
    /// Interactions so far.
    pub interactions: i64,
    /// The latest willingness to recommend, 0 to 10. `None`: never said.
    pub last_nps: Option<i32>,
    /// The last low score. `None`: none.
    pub last_low_score: Option<Instant>,
    /// Support tickets that are not resolved.
    pub open_tickets: i64,
    /// The local day on which the customer came, in days since 1970-01-01. `None`: not known.
    pub acquired_day: Option<i32>,
    /// `customer`, `contact` or `lead`.
    pub kind: &'a str,
    /// The language, as a BCP 47 tag.
    pub language: &'a str,
    /// The channel through which the customer came.
    pub acquisition_channel: &'a str,
    /// The channel with the most contacts in 365 days.
    pub channel: &'a str,
}

/// Where a customer stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageDecision {
    /// The stage.
    pub stage: Stage,
    /// Local calendar days since the last order. `None`: no order.
    pub silent_days: Option<i32>,
    /// The silence that the customer's rhythm explains, in days. `None`: no order.
    pub rhythm_p80: Option<Rational>,
    /// The rule that decided, in words.
    pub reason: String,
    /// The earliest later local midnight at which the stage is another if nothing happens and windows, scores and probabilities
    /// stay what they are: these change elsewhere, and bring a new input. `None`: never.
    pub next_change: Option<Instant>,
}

/// An input, reduced to what the rules ask of it.
struct Evidence<'a> {
    policy: &'a StagePolicy,
    input: &'a StageInput<'a>,
    zone: &'a TimeZone,
    // Local days since 1970-01-01.
    first_order_day: i64,
    last_order_day: i64,
    /// What the policy's own rules may ask for.
    local_days: LocalDays,
    p80: Rational,
    /// The gap before the last order met DORMANT by what was known before it.
    back_from_dormant: bool,
    /// Why the customer is at risk, whatever its silence.
    risk: Option<Rule>,
}

impl StagePolicy {
    /// Decides where a customer stands as of an instant, by the local days of `zone`.
    pub fn evaluate(&self, input: &StageInput<'_>, as_of: Instant, zone: &TimeZone) -> StageDecision {
        let Some(evidence) = Evidence::of(self, input, zone) else {
            return StageDecision {
                stage: Rule::NoOrder.stage(),
                silent_days: None,
                rhythm_p80: None,
                reason: Rule::NoOrder.in_words(self),
                next_change: None,
            };
        };
        let rule = evidence.rule_at(as_of);
        StageDecision {
            stage: rule.stage(),
            silent_days: Some(evidence.silent_days(i64::from(zone.local_day(as_of))) as i32),
            rhythm_p80: Some(evidence.p80),
            reason: rule.in_words(self),
            next_change: evidence.next_change(rule.stage(), as_of),
        }
    }
}

impl StagePolicy {
    /// Whether there are at most half as many of something as before, when there were enough to tell.
    pub(crate) fn declined(&self, now: i64, before: i64) -> bool {
        before >= self.decline_min_count && now.saturating_mul(2) <= before
    }
}

/// From the first order until the silence that makes a customer churned. Neither rules of a policy's own nor the probability of being alive count: since when
/// they have said so can't be told from the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Local days, until now where it goes on.
    pub days: i64,
    /// Whether it is over.
    pub ended: bool,
}

impl StagePolicy {
    /// How long a customer has stayed as of an instant. `None`: no order.
    pub fn stay(&self, input: &StageInput<'_>, as_of: Instant, zone: &TimeZone) -> Option<Stay> {
        let evidence = Evidence::of(self, input, zone)?;
        let today = i64::from(zone.local_day(as_of));
        let churned = evidence.last_order_day.saturating_add(evidence.p80.first_beyond(self.churned_factor));
        let days = (today.min(churned) - evidence.first_order_day).max(0);
        Some(Stay { days, ended: churned <= today })
    }
}

/// Why a customer is at risk, whatever its silence. `None`: it is not.
fn risk(policy: &StagePolicy, input: &StageInput<'_>) -> Option<Rule> {
    if policy.declined(input.orders_90, input.previous_orders_90) {
        Some(Rule::AtRiskByFewerOrders)
    } else if policy.declined(input.interactions_90, input.previous_interactions_90) {
        Some(Rule::AtRiskByFewerInteractions)
    } else {
        (input.open_complaints > 0).then_some(Rule::AtRiskByComplaint)
    }
}

impl<'a> Evidence<'a> {
    /// `None`: no order.
    fn of(policy: &'a StagePolicy, input: &'a StageInput<'a>, zone: &'a TimeZone) -> Option<Self> {
        let (first_order, last_order) = input.first_order.zip(input.last_order)?;
        let rhythm = Rhythm::of(input.gap_days, policy.population_p80_days);
        let back_from_dormant = rhythm
            .last_gap
            .is_some_and(|(gap, p80_before)| p80_before.is_exceeded(policy.dormant_factor, i64::from(gap)));
        let local_days = if policy.rules.is_empty() { LocalDays::default() } else { LocalDays::of(input, zone) };
        Some(Self {
            policy,
            input,
            zone,
            first_order_day: i64::from(zone.local_day(first_order)),
            last_order_day: i64::from(zone.local_day(last_order)),
            local_days,
            p80: rhythm.p80,
            back_from_dormant,
            risk: risk(policy, input),
        })
    }

    /// Days since the last order; an order up to 5 minutes ahead counts as one of the same day.
    fn silent_days(&self, day: i64) -> i64 {
        (day - self.last_order_day).max(0)
    }

    /// Whether it is known that the customer is less likely to buy still.
    fn is_alive_below(&self, percent: i32) -> bool {
        self.input.alive_percent.is_some_and(|alive| alive < percent)
    }

    /// The first rule that matches at an instant.
    fn rule_at(&self, at: Instant) -> Rule {
        let day = self.zone.local_day(at);
        let row = DayRow { evidence: self, at, day };
        let own = self.policy.rules.iter().enumerate().find(|(_, rule)| rule.holds(&row));
        own.map_or_else(|| self.rule_of_parameters(i64::from(day)), |(place, rule)| Rule::Own(rule.stage(), place))
    }

    /// The first rule of the parameters that matches on a local day.
    fn rule_of_parameters(&self, day: i64) -> Rule {
        let policy = self.policy;
        let silent_days = self.silent_days(day);
        let days_since_first = (day - self.first_order_day).max(0);
        if self.p80.is_exceeded(policy.churned_factor, silent_days) {
            Rule::ChurnedBySilence
        } else if self.is_alive_below(policy.churned_below_alive_percent) {
            Rule::ChurnedByAlive
        } else if self.p80.is_exceeded(policy.dormant_factor, silent_days) {
            Rule::DormantBySilence
        } else if self.is_alive_below(policy.dormant_below_alive_percent) {
            Rule::DormantByAlive
        } else if self.back_from_dormant && silent_days < i64::from(policy.reactivated_days) {
            Rule::CameBack
        } else if self.p80.is_exceeded(1, silent_days) {
            Rule::AtRiskBySilence
        } else if self.is_alive_below(policy.at_risk_below_alive_percent) {
            Rule::AtRiskByAlive
        } else if let Some(risk) = self.risk {
            risk
        } else if days_since_first < i64::from(policy.new_days) && self.input.orders < policy.new_orders {
            Rule::NewCustomer
        } else if self.input.orders >= policy.loyal_orders {
            Rule::ManyOrders
        } else {
            Rule::Otherwise
        }
    }

    /// The local days after one on which a condition of a rule turns, ascending; between them nothing can change.
    fn turning_days(&self, today: i64) -> Vec<i64> {
        let policy = self.policy;
        let silent_for = |days: i64| self.last_order_day.saturating_add(days);
        let mut days = vec![
            silent_for(self.p80.first_beyond(1)),
            silent_for(self.p80.first_beyond(policy.dormant_factor)),
            silent_for(self.p80.first_beyond(policy.churned_factor)),
            silent_for(i64::from(policy.reactivated_days)),
            self.first_order_day + i64::from(policy.new_days),
        ];
        for rule in policy.rules.iter() {
            rule.add_turning_days(self, &mut days);
        }
        days.retain(|day| *day > today);
        days.sort_unstable();
        days.dedup();
        days
    }

    fn next_change(&self, stage: Stage, as_of: Instant) -> Option<Instant> {
        let today = i64::from(self.zone.local_day(as_of));
        self.turning_days(today).into_iter().find_map(|day| {
            // A zone that crosses the date line leaves a day out, and the next one begins in its place: it is that one which is asked about.
            let begin = begin_of_later_day(self.zone, day, as_of)?;
            (self.rule_at(begin).stage() != stage).then_some(begin)
        })
    }
}

#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod tests;
