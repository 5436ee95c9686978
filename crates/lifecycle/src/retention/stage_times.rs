//! Time in stage: how long spells of each stage last.

use super::durations::{Durations, Spread};
use super::history::History;
use super::survival::Survival;
use std::collections::BTreeMap;

const DAY_MICROS: i64 = 86_400_000_000;

/// Durations of spells by stage, as of an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTimes {
    as_of_micros: i64,
    stages: BTreeMap<u8, OfStage>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfStage {
    durations: Durations,
    /// Sums of the durations in microseconds, as means of whole days would be half a day short.
    completed_micros: i128,
    running_micros: i128,
}

/// How long spells of a stage last. Days are 24 hours.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTime {
    /// The stage's code.
    pub stage: u8,
    /// Spells that had ended. It is a view of the short ones: what lasts longer than there has been time to see is not
    /// among them. `None`: there are none.
    pub completed: Option<Spread>,
    /// Spells that were going on, by how long they had up to the instant. It is a view of the long ones: at any instant
    /// one is more likely to meet these. `None`: there are none.
    pub running: Option<Spread>,
    /// Both together, rightly: how many spells last longer than so many days. Its median is that of the stage.
    pub survival: Survival,
}

impl StageTimes {
    /// As of an instant, in microseconds since 1970: spells that begin after it are left out, and those that end after it
    /// count as going on.
    pub fn new(as_of_micros: i64) -> Self {
        Self { as_of_micros, stages: BTreeMap::new() }
    }

    /// Counts a customer's spells in.
    pub fn add(&mut self, history: &History<'_>) {
        for spell in history.spells().iter().take_while(|spell| spell.from_micros <= self.as_of_micros) {
            let ended = spell.until_micros.filter(|until| *until <= self.as_of_micros);
            let micros = ended.unwrap_or(self.as_of_micros).saturating_sub(spell.from_micros);
            let of_stage = self.stages.entry(spell.stage).or_default();
            // Never negative, and at most 2^63 / 86.4e9.
            of_stage.durations.add((micros / DAY_MICROS) as u32, ended.is_some());
            let sum = if ended.is_some() { &mut of_stage.completed_micros } else { &mut of_stage.running_micros };
            *sum += i128::from(micros);
        }
    }

    /// By stage.
    pub fn report(&self) -> Vec<StageTime> {
        let mean = |micros: i128| move |count: u64| micros as f64 / DAY_MICROS as f64 / count as f64;
        let report = self.stages.iter().map(|(stage, of_stage)| StageTime {
            stage: *stage,
            completed: of_stage.durations.spread(|of_day| of_day.ended, mean(of_stage.completed_micros)),
            running: of_stage.durations.spread(|of_day| of_day.going_on, mean(of_stage.running_micros)),
            survival: of_stage.durations.survival(),
        });
        report.collect()
    }
}
