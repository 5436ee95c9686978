//! How well a model of leads foretells who buys.

use super::{LeadModel, Leads};

/// A holdout report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Foretold {
    /// Leads who had not bought before.
    pub leads: i64,
    /// How many of them were expected to buy.
    pub expected: f64,
    /// How many did.
    pub conversions: i64,
    /// The mean squared difference between the probability and what happened.
    pub brier: f64,
    /// Of giving all of them the mean probability.
    pub brier_all_alike: f64,
}

/// Judges a fit to what leads had done by so many days before a day's end by what they did since. `None`: there is nobody to judge by.
pub fn foretell(leads: &Leads, end: i32, days: i32) -> Option<Foretold> {
    let before = end - days;
    let model = LeadModel::fit(leads, before, |_| None)?;
    let open =
        leads.leads.iter().filter(|lead| lead.came <= before && lead.bought.is_none_or(|bought| bought > before));
    let judged = open.map(|lead| {
        let (channel, campaign) = &leads.ways[lead.way as usize];
        let (group, ..) = model.group(channel, campaign);
        let bought = lead.bought.is_some_and(|bought| bought <= end);
        (model.probability(group, before - lead.came, days), f64::from(u8::from(bought)))
    });
    let judged: Vec<(f64, f64)> = judged.collect();
    if judged.is_empty() {
        return None;
    }
    let count = judged.len() as f64;
    let expected: f64 = judged.iter().map(|(probability, _)| probability).sum();
    let conversions: f64 = judged.iter().map(|(_, bought)| bought).sum();
    let brier = |error: &dyn Fn(&(f64, f64)) -> f64| judged.iter().map(|one| error(one).powi(2)).sum::<f64>() / count;
    Some(Foretold {
        leads: judged.len() as i64,
        expected,
        conversions: conversions as i64,
        brier: brier(&|(probability, bought)| probability - bought),
        brier_all_alike: brier(&|(_, bought)| expected / count - bought),
    })
}
