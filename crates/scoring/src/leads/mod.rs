//! How leads become customers: a chance to buy by age, common to all (piecewise constant hazards), times a ratio of those who came by the same channel and
//! campaign, which is drawn to that of the larger group where they are few (a gamma prior).
//!
//! Pure: leads give a model, a model and a lead's age give the probability that it buys.

pub mod encoding;
mod holdout;
#[cfg(test)]
mod tests;

pub use holdout::{Foretold, foretell};

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// The first ages of the bands of ages, in days since a lead came. Who buys on the day it comes was no lead.
pub const BANDS: [i32; 5] = [1, 8, 31, 91, 366];
/// How many conversions as expected a group is given besides its own.
const PRIOR_CONVERSIONS: f64 = 5.0;
/// How many customers like those of the larger group a group is given besides its own.
const PRIOR_CUSTOMERS: f64 = 20.0;
/// The fewest customers whose worth a group tells of: who knows that of all but one would know that one's.
const MIN_CUSTOMERS: i64 = 5;
/// The most channels and campaigns that have a group of their own: those with the most leads.
const MAX_CHANNELS: usize = 200;
const MAX_CAMPAIGNS: usize = 1_000;

/// Someone who came and did not buy on that day. Days are since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lead {
    /// The place of its way among those of [`Leads`].
    pub way: u32,
    /// The day on which it came.
    pub came: i32,
    /// The day on which it bought first. `None`: it has not bought.
    pub bought: Option<i32>,
}

/// A channel and a campaign. Either may be empty: not known.
pub type Way = (String, String);

/// All leads.
#[derive(Clone, Debug, Default)]
pub struct Leads {
    /// The ways by which they came.
    pub ways: Vec<Way>,
    places: HashMap<Way, u32>,
    /// The leads.
    pub leads: Vec<Lead>,
}

impl Leads {
    /// Takes in somebody who came by a way, unless it bought on that day or before.
    pub fn add(&mut self, channel: &str, campaign: &str, came: i32, bought: Option<i32>) -> bool {
        if bought.is_some_and(|bought| bought <= came) {
            return false;
        }
        let way = (channel.to_owned(), campaign.to_owned());
        let next = self.ways.len() as u32;
        let place = *self.places.entry(way.clone()).or_insert(next);
        if place == next {
            self.ways.push(way);
        }
        self.leads.push(Lead { way: place, came, bought });
        true
    }
}

/// What is known of leads at some ages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Band {
    /// The days that leads had not bought before.
    pub days: i64,
    /// Those on which one bought.
    pub conversions: i64,
}

impl Band {
    /// The chance to buy on a day, as a rate: its complement is `exp(-rate)`.
    fn rate(&self) -> f64 {
        if self.days == 0 {
            return 0.0;
        }
        // Where everybody bought at once, as if one more had not.
        let chance = (self.conversions as f64 / self.days as f64).min(self.days as f64 / (self.days + 1) as f64);
        -(-chance).ln_1p()
    }
}

/// A group of leads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Group {
    /// Leads.
    pub leads: i64,
    /// Those who have bought.
    pub conversions: i64,
    /// How much more likely to buy they are than all are at their ages.
    pub ratio: f64,
    /// The mean of what those who have bought are worth, in minor units. `None`: nobody knows.
    pub value_minor: Option<f64>,
}

/// How leads become customers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeadModel {
    /// All leads by age.
    pub bands: [Band; BANDS.len()],
    /// All leads.
    pub all: Group,
    /// By channel.
    pub channels: BTreeMap<String, Group>,
    /// By channel and campaign.
    pub campaigns: BTreeMap<Way, Group>,
}

/// The days within a band of those after one age up to another.
fn days_in_band(band: usize, after: i32, last: i32) -> i32 {
    let ends = BANDS.get(band + 1).map_or(i32::MAX, |next| next - 1);
    (last.min(ends) - after.max(BANDS[band] - 1)).max(0)
}

/// What is summed of a group.
#[derive(Clone, Copy, Default)]
struct Sums {
    leads: i64,
    conversions: i64,
    expected: f64,
    customers: i64,
    value_minor: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.leads += other.leads;
        self.conversions += other.conversions;
        self.expected += other.expected;
        self.customers += other.customers;
        self.value_minor += other.value_minor;
    }

    /// The group, drawn to a larger one.
    fn group(&self, larger: &Group) -> Group {
        let expected = larger.ratio * self.expected;
        let own = |value| (self.value_minor + PRIOR_CUSTOMERS * value) / (self.customers as f64 + PRIOR_CUSTOMERS);
        let value = larger.value_minor.map(|value| if self.customers < MIN_CUSTOMERS { value } else { own(value) });
        Group {
            leads: self.leads,
            conversions: self.conversions,
            ratio: larger.ratio * (self.conversions as f64 + PRIOR_CONVERSIONS) / (expected + PRIOR_CONVERSIONS),
            value_minor: value,
        }
    }
}

impl LeadModel {
    /// Fits to what leads had done by the end of a day. `value_minor` tells what each of those who have bought is worth, as far as it is known. `None`:
    /// nobody has bought.
    pub fn fit(leads: &Leads, end: i32, value_minor: impl Fn(usize) -> Option<f64>) -> Option<Self> {
        let there = || leads.leads.iter().enumerate().filter(|(_, lead)| lead.came <= end);
        let bands = bands(there().map(|(_, lead)| lead), end);
        if bands.iter().all(|band| band.conversions == 0) {
            return None;
        }
        let rates = bands.map(|band| band.rate());
        let mut sums = vec![Sums::default(); leads.ways.len()];
        for (place, lead) in there() {
            let bought = lead.bought.is_some_and(|bought| bought <= end);
            let value = value_minor(place).filter(|_| bought);
            sums[lead.way as usize].add(&Sums {
                leads: 1,
                conversions: bought.into(),
                expected: expected(&rates, 0, age_at_last(lead, end)),
                customers: value.is_some().into(),
                value_minor: value.unwrap_or(0.0),
            });
        }
        Some(Self::of_sums(bands, &leads.ways, &sums))
    }

    fn of_sums(bands: [Band; BANDS.len()], ways: &[Way], sums: &[Sums]) -> Self {
        let mut by_channel: BTreeMap<&str, Sums> = BTreeMap::new();
        let mut all = Sums::default();
        for ((channel, _), sums) in ways.iter().zip(sums) {
            by_channel.entry(channel).or_default().add(sums);
            all.add(sums);
        }
        let value_minor = (all.customers >= MIN_CUSTOMERS).then(|| all.value_minor / all.customers as f64);
        let all = Group { leads: all.leads, conversions: all.conversions, ratio: 1.0, value_minor };
        let channels = by_channel.iter().filter(|(channel, sums)| !channel.is_empty() && sums.leads > 0);
        let channels = channels.map(|(channel, sums)| ((*channel).to_owned(), sums.group(&all)));
        let channels = largest(channels, MAX_CHANNELS);
        let campaigns = ways.iter().zip(sums).filter(|((_, campaign), sums)| !campaign.is_empty() && sums.leads > 0);
        let campaigns = campaigns.map(|(way, sums)| (way.clone(), sums.group(channels.get(&way.0).unwrap_or(&all))));
        let campaigns = largest(campaigns, MAX_CAMPAIGNS);
        Self { bands, all, channels, campaigns }
    }

    /// The smallest group that a lead belongs to, and which it is.
    pub fn group<'a>(&self, channel: &'a str, campaign: &'a str) -> (&Group, &'a str, &'a str) {
        let way = (channel.to_owned(), campaign.to_owned());
        match (self.campaigns.get(&way), self.channels.get(channel)) {
            (Some(group), _) => (group, channel, campaign),
            (None, Some(group)) => (group, channel, ""),
            (None, None) => (&self.all, "", ""),
        }
    }

    /// The probability that a lead of an age buys within so many days.
    pub fn probability(&self, group: &Group, age: i32, days: i32) -> f64 {
        let rates = self.bands.map(|band| band.rate());
        -(-group.ratio * expected(&rates, age, age.saturating_add(days))).exp_m1()
    }
}

/// The age up to which a lead was one: when it bought, or by the end of a day.
fn age_at_last(lead: &Lead, end: i32) -> i32 {
    lead.bought.map_or(end, |bought| bought.min(end)) - lead.came
}

fn bands<'a>(leads: impl Iterator<Item = &'a Lead>, end: i32) -> [Band; BANDS.len()] {
    let mut bands = [Band::default(); BANDS.len()];
    for lead in leads {
        let age = age_at_last(lead, end);
        for (place, band) in bands.iter_mut().enumerate() {
            band.days += i64::from(days_in_band(place, 0, age));
        }
        if lead.bought.is_some_and(|bought| bought <= end) {
            let place = BANDS.iter().rposition(|first| *first <= age).unwrap_or_default();
            bands[place].conversions += 1;
        }
    }
    bands
}

/// The sum of the rates of all days after one age up to another.
fn expected(rates: &[f64; BANDS.len()], after: i32, last: i32) -> f64 {
    let of_band = |(place, rate): (usize, &f64)| rate * f64::from(days_in_band(place, after, last));
    rates.iter().enumerate().map(of_band).sum()
}

/// Those with the most leads, then by name.
fn largest<K: Ord + Clone>(groups: impl Iterator<Item = (K, Group)>, count: usize) -> BTreeMap<K, Group> {
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|(key, group)| (Reverse(group.leads), key.clone()));
    groups.truncate(count);
    groups.into_iter().collect()
}
