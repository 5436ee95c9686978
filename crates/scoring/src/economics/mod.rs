//! Unit economics: what was spent on winning customers beside what they bring in.
//!
//! Pure: spends and customers of a period go in, groups with their means come out.

#[cfg(test)]
mod tests;

use quintile_domain::time::{date_of_day, day_number};
use std::collections::BTreeMap;

/// Days of a month.
const MONTH_DAYS: f64 = 365.25 / 12.0;

/// What customers and spend are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// The channel.
    Channel,
    /// The channel and the campaign.
    Campaign,
    /// The calendar month.
    Cohort,
}

/// A group; the parts that it is not made by are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The channel.
    pub channel: String,
    /// The campaign.
    pub campaign: String,
    /// The first day of the month, in days since 1970-01-01.
    pub month: Option<i32>,
}

/// What was spent on a channel and campaign in a period of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The campaign.
    pub campaign: &'a str,
    /// The first day.
    pub start: i32,
    /// The last day.
    pub end: i32,
    /// How much, in minor units of the base currency.
    pub minor: i64,
}

/// A customer who has bought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Customer<'a> {
    /// The channel that it came through.
    pub channel: &'a str,
    /// The campaign.
    pub campaign: &'a str,
    /// The day of the first order.
    pub first_day: i32,
    /// Revenue so far, in minor units.
    pub revenue_minor: i64,
    /// The margin that is expected of it, in minor units. `None`: nothing is known of it.
    pub expected_minor: Option<f64>,
}

/// What one group cost and is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Group {
    /// What was spent, in minor units.
    pub spend_minor: i64,
    /// New customers.
    pub customers: i64,
    revenue_minor: i64,
    expected_minor: f64,
    /// Those of whom something is expected.
    valued: i64,
    customer_days: i64,
}

/// The groups of a period of days.
#[derive(Clone, Debug)]
pub struct Economics {
    grouping: Grouping,
    start: i32,
    end: i32,
    today: i32,
    groups: BTreeMap<Key, Group>,
}

impl Economics {
    /// Of the days from `start` to `end`, seen from `today`.
    pub fn new(grouping: Grouping, start: i32, end: i32, today: i32) -> Self {
        Self { grouping, start, end, today, groups: BTreeMap::new() }
    }

    /// Whether a spend is of the period, be it in part.
    pub fn concerns(&self, spend: &Spend<'_>) -> bool {
        spend.start <= self.end && spend.end >= self.start
    }

    /// Takes a spend in: the part for the days of the period, and of each month where they are told apart.
    pub fn add_spend(&mut self, spend: &Spend<'_>) {
        let (first, last) = (spend.start.max(self.start), spend.end.min(self.end));
        let mut day = first;
        while day <= last {
            let (month, next) = month_of(day);
            let until = if self.grouping == Grouping::Cohort { last.min(next - 1) } else { last };
            let group = self.groups.entry(self.key(spend.channel, spend.campaign, month)).or_default();
            let part = spent_until(spend, until) - spent_until(spend, day - 1);
            group.spend_minor = group.spend_minor.saturating_add(part);
            day = until + 1;
        }
    }

    /// Whether a day is one of the period.
    pub fn is_of_period(&self, day: i32) -> bool {
        (self.start..=self.end).contains(&day)
    }

    /// Takes a customer in, if it is one of the period.
    pub fn add_customer(&mut self, customer: &Customer<'_>) {
        if !self.is_of_period(customer.first_day) {
            return;
        }
        let (month, _) = month_of(customer.first_day);
        let days = i64::from((self.today - customer.first_day).max(0) + 1);
        let group = self.groups.entry(self.key(customer.channel, customer.campaign, month)).or_default();
        group.customers += 1;
        group.revenue_minor = group.revenue_minor.saturating_add(customer.revenue_minor);
        group.expected_minor += customer.expected_minor.unwrap_or_default();
        group.valued += i64::from(customer.expected_minor.is_some());
        group.customer_days += days;
    }

    fn key(&self, channel: &str, campaign: &str, month: i32) -> Key {
        match self.grouping {
            Grouping::Channel => Key { channel: channel.to_owned(), ..Key::default() },
            Grouping::Campaign => Key { channel: channel.to_owned(), campaign: campaign.to_owned(), month: None },
            Grouping::Cohort => Key { month: Some(month), ..Key::default() },
        }
    }

    /// The groups that have spend or customers, in order.
    pub fn groups(&self) -> impl Iterator<Item = (&Key, &Group)> {
        self.groups.iter()
    }

    /// All of them together.
    pub fn total(&self) -> Group {
        self.groups.values().fold(Group::default(), |total, group| Group {
            spend_minor: total.spend_minor.saturating_add(group.spend_minor),
            customers: total.customers + group.customers,
            revenue_minor: total.revenue_minor.saturating_add(group.revenue_minor),
            expected_minor: total.expected_minor + group.expected_minor,
            valued: total.valued + group.valued,
            customer_days: total.customer_days + group.customer_days,
        })
    }
}

impl Group {
    fn per_customer(&self, sum: f64) -> Option<f64> {
        (self.customers > 0).then(|| sum / self.customers as f64)
    }

    /// Spend for each new customer, in minor units. `None`: there are none, or nothing is known to have been spent, which does not mean that they
    /// were free.
    pub fn acquisition_cost(&self) -> Option<f64> {
        self.per_customer(self.spend_minor as f64).filter(|_| self.spend_minor > 0)
    }

    /// Mean revenue so far, in minor units. `None`: there are no customers.
    pub fn mean_revenue(&self) -> Option<f64> {
        self.per_customer(self.revenue_minor as f64)
    }

    /// The mean of margins so far and of what is expected, in minor units, at a margin of 0 to 1. `None`: nothing is known of some of them.
    pub fn mean_lifetime_value(&self, margin: f64) -> Option<f64> {
        let all_are_known = self.valued == self.customers;
        self.per_customer(margin * self.revenue_minor as f64 + self.expected_minor).filter(|_| all_are_known)
    }

    /// Lifetime value by acquisition cost. `None`: one of them is not known.
    pub fn value_to_cost(&self, margin: f64) -> Option<f64> {
        Some(self.mean_lifetime_value(margin)? / self.acquisition_cost()?)
    }

    /// Months in which the margin so far, on average over the customers' months, gives back what they cost. `None`: what they cost is not known, or
    /// they have brought in nothing.
    pub fn payback_months(&self, margin: f64) -> Option<f64> {
        let per_month = margin * self.revenue_minor as f64 / (self.customer_days as f64 / MONTH_DAYS);
        self.acquisition_cost().filter(|_| per_month > 0.0).map(|cost| cost / per_month)
    }
}

/// The first day of a day's month, and that of the month behind it.
fn month_of(day: i32) -> (i32, i32) {
    let (year, month, _) = date_of_day(day);
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    // The first of a month is a day; behind the last year of the calendar there is none, and no spend reaches it.
    (day_number(year, month, 1).unwrap_or(day), day_number(next_year, next_month, 1).unwrap_or(i32::MAX))
}

/// What of a spend is for its days up to one: evenly, and all of it by its last.
fn spent_until(spend: &Spend<'_>, day: i32) -> i64 {
    let days = i128::from(spend.end) - i128::from(spend.start) + 1;
    let passed = (i128::from(day) - i128::from(spend.start) + 1).clamp(0, days);
    // A part of a number of 64 bits.
    (i128::from(spend.minor) * passed / days) as i64
}
