//! The funnel: how far customers have come.

use super::error::RetentionError;
use super::history::History;

/// The most steps of a funnel.
pub const MAX_STEPS: usize = 32;

/// Counts of customers by the furthest step that they reached.
///
/// A step is a set of stages. Whoever has ever been in a stage of a step has reached it and all before it, in whichever
/// order and whether or not it has been seen in those: stages are passed unseen when much happens at once, and a
/// customer that was imported as loyal has been new before. Counts therefore never rise from step to step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funnel {
    /// By stage code, the step that it belongs to.
    step_of: [Option<u8>; 256],
    /// By step, those who came no further.
    furthest: Vec<u64>,
}

/// A step of a funnel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FunnelStep {
    /// Customers that reached it.
    pub reached: u64,
    /// Their share of those that reached the step before, 0 to 1. `None`: it is the first, or nobody reached that.
    pub of_previous: Option<f64>,
    /// Their share of those that reached the first step, 0 to 1. `None`: nobody reached that.
    pub of_first: Option<f64>,
}

impl Funnel {
    /// A funnel of steps in order, each with its stages; 1 to [`MAX_STEPS`]. A stage belongs to one step, or to none.
    pub fn new(steps: &[&[u8]]) -> Result<Self, RetentionError> {
        if !(1..=MAX_STEPS).contains(&steps.len()) {
            return Err(RetentionError::StepsOutOfRange(steps.len()));
        }
        let mut step_of = [None; 256];
        for (step, stages) in steps.iter().enumerate() {
            if stages.is_empty() {
                return Err(RetentionError::StepStages(step));
            }
            for stage in *stages {
                let of_stage = &mut step_of[usize::from(*stage)];
                if of_stage.is_some_and(|earlier| usize::from(earlier) != step) {
                    return Err(RetentionError::StepStages(step));
                }
                *of_stage = Some(step as u8);
            }
        }
        Ok(Self { step_of, furthest: vec![0; steps.len()] })
    }

    /// Counts a customer in by the spells that it was in at or after one instant and before another (microseconds since
    /// 1970), be it for no time at all.
    pub fn add(&mut self, history: &History<'_>, since_micros: i64, before_micros: i64) {
        let spells = history.spells().iter().filter(|spell| {
            let lasted = spell.until_micros.is_none_or(|until| until > since_micros);
            (lasted || spell.from_micros >= since_micros) && spell.from_micros < before_micros
        });
        if let Some(step) = spells.filter_map(|spell| self.step_of[usize::from(spell.stage)]).max() {
            self.furthest[usize::from(step)] += 1;
        }
    }

    /// The steps in order.
    pub fn steps(&self) -> Vec<FunnelStep> {
        let mut reached: Vec<u64> = self.furthest.clone();
        for step in (1..reached.len()).rev() {
            reached[step - 1] += reached[step];
        }
        let share = |count: u64, of: u64| (of > 0).then(|| count as f64 / of as f64);
        let steps = reached.iter().enumerate().map(|(step, count)| FunnelStep {
            reached: *count,
            of_previous: step.checked_sub(1).and_then(|previous| share(*count, reached[previous])),
            of_first: share(*count, reached[0]),
        });
        steps.collect()
    }
}
