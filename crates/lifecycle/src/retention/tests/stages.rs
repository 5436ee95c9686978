//! Reports on stages against the stage at every single instant.

use crate::retention::{
    Change, Funnel, FunnelStep, History, MAX_STEPS, RetentionError, Spell, StageFlow, StageTimes, Survival,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const DAY: i64 = 86_400_000_000;

fn spell(stage: u8, from_micros: i64, until_micros: impl Into<Option<i64>>) -> Spell {
    Spell { stage, from_micros, until_micros: until_micros.into() }
}

fn change(from: impl Into<Option<u8>>, to: impl Into<Option<u8>>) -> Change {
    Change { from: from.into(), to: to.into() }
}

#[test]
fn spells_have_to_come_one_after_another() {
    let of = |spells: &[Spell]| History::new(spells).map(|_| ());
    assert_eq!(of(&[]), Ok(()));
    assert_eq!(of(&[spell(1, 0, 5), spell(2, 5, 5), spell(1, 5, 9), spell(1, 11, None)]), Ok(()));
    assert_eq!(of(&[spell(1, 5, 4)]), Err(RetentionError::SpellOutOfOrder(0)));
    assert_eq!(of(&[spell(1, 0, 5), spell(2, 4, None)]), Err(RetentionError::SpellOutOfOrder(1)));
    assert_eq!(of(&[spell(1, 0, None), spell(2, 4, None)]), Err(RetentionError::SpellWithoutEnd(0)));
    assert_eq!(of(&[spell(1, 0, 5), spell(1, 5, None)]), Err(RetentionError::SpellUnchanged(1)));
}

#[test]
fn a_stage_holds_from_its_first_instant_up_to_the_next_ones() {
    let spells = [spell(1, 0, 5), spell(2, 5, 5), spell(3, 5, 9), spell(4, 11, None)];
    let history = History::new(&spells).unwrap();
    let stages = [-1, 0, 4, 5, 8, 9, 10, 11, i64::MAX].map(|at| history.stage_at(at));
    assert_eq!(stages, [None, Some(1), Some(1), Some(3), Some(3), None, None, Some(4), Some(4)]);
}

#[test]
fn whoever_has_come_far_has_passed_what_is_before() {
    let mut funnel = Funnel::new(&[&[1], &[2, 8], &[4]]).unwrap();
    let customers = [
        vec![spell(1, 0, None)],
        vec![spell(1, 0, 5), spell(2, 5, None)],
        // Straight to the end, and back again.
        vec![spell(4, 0, 5), spell(1, 5, None)],
        vec![spell(8, 0, None)],
        // Of no step.
        vec![spell(7, 0, None)],
        // Before and after the time that counts; and just within it, for no time at all.
        vec![spell(4, -9, 0)],
        vec![spell(4, 100, None)],
        vec![spell(1, -9, 0), spell(4, 0, 0), spell(5, 0, None)],
    ];
    for spells in &customers {
        funnel.add(&History::new(spells).unwrap(), 0, 100);
    }
    let step = |reached, of_previous, of_first| FunnelStep { reached, of_previous, of_first };
    let expected = [step(5, None, Some(1.0)), step(4, Some(0.8), Some(0.8)), step(2, Some(0.5), Some(0.4))];
    assert_eq!(funnel.steps(), expected);
}

#[test]
fn funnels_that_make_no_sense_are_refused() {
    let of = |steps: &[&[u8]]| Funnel::new(steps).map(|_| ());
    assert_eq!(of(&[]), Err(RetentionError::StepsOutOfRange(0)));
    assert_eq!(of(&[[1].as_slice(); MAX_STEPS + 1]), Err(RetentionError::StepsOutOfRange(MAX_STEPS + 1)));
    assert_eq!(of(&[&[1], &[]]), Err(RetentionError::StepStages(1)));
    assert_eq!(of(&[&[1], &[2, 1]]), Err(RetentionError::StepStages(1)));
    assert_eq!(of(&[&[1, 1], &[2]]), Ok(()));
    let empty = Funnel::new(&[&[1], &[2]]).unwrap().steps();
    assert!(empty.iter().all(|step| step.reached == 0 && step.of_previous.is_none() && step.of_first.is_none()));
}

#[test]
fn flow_counts_both_ends_and_every_move_between_them() {
    let mut flow = StageFlow::new(10, 20);
    let customers = [
        vec![spell(1, 0, None)],
        vec![spell(1, 0, 20), spell(2, 20, None)],
        // A move at the first instant has happened before.
        vec![spell(1, 0, 10), spell(2, 10, None)],
        vec![spell(1, 0, 12), spell(2, 12, 14), spell(1, 14, None)],
        vec![spell(3, 15, None)],
        vec![spell(3, 0, 15)],
        vec![spell(3, 21, None)],
    ];
    for spells in &customers {
        flow.add(&History::new(spells).unwrap());
    }
    let ends = [(change(None, 3), 1), (change(1, 1), 2), (change(1, 2), 1), (change(2, 2), 1), (change(3, None), 1)];
    assert_eq!(flow.ends(), &BTreeMap::from(ends));
    let moves = [(change(None, 3), 1), (change(1, 2), 2), (change(2, 1), 1), (change(3, None), 1)];
    assert_eq!(flow.moves(), &BTreeMap::from(moves));
    assert_eq!((flow.sizes(1), flow.sizes(2), flow.sizes(3)), ((3, 2), (1, 2), (1, 1)));
}

#[test]
fn times_in_stage_are_told_apart_by_whether_they_have_ended() {
    let mut times = StageTimes::new(100 * DAY);
    let customers = [
        vec![spell(1, 0, 10 * DAY), spell(2, 10 * DAY, 30 * DAY + DAY / 2), spell(1, 30 * DAY + DAY / 2, None)],
        vec![spell(1, 80 * DAY, 120 * DAY), spell(2, 120 * DAY, None)],
        vec![spell(3, 101 * DAY, None)],
        vec![spell(1, i64::MIN, None)],
    ];
    for spells in &customers {
        times.add(&History::new(spells).unwrap());
    }
    let report = times.report();
    assert_eq!(report.iter().map(|time| time.stage).collect::<Vec<_>>(), [1, 2]);
    let completed = report[0].completed.unwrap();
    assert_eq!((completed.count, completed.median_days, completed.p90_days), (1, 10, 10));
    // Running for 69.5 and 20 days, and since the beginning of time.
    let running = report[0].running.unwrap();
    assert_eq!((running.count, running.median_days), (3, 69));
    let completed = report[1].completed.unwrap();
    assert!((completed.mean_days - 20.5).abs() < 1e-12);
    assert_eq!((completed.median_days, report[1].running), (20, None));
    let Survival { count, ref points, .. } = report[0].survival;
    assert_eq!((count, points.len(), points[0].survival.to_bits()), (4, 1, 0.75_f64.to_bits()));
}

/// Spells from steps: how long each lasts, its stage, and whether a time in no stage follows.
fn any_spells() -> impl Strategy<Value = Vec<Spell>> {
    let steps = prop::collection::vec((0..5_i64, 0..4_u8, 0..3_i64), 0..8);
    (-6..6_i64, steps, any::<bool>()).prop_map(|(mut at, steps, goes_on)| {
        let mut spells: Vec<Spell> = Vec::new();
        for (lasts, stage, pause) in steps {
            let touching = spells.last().filter(|last| last.until_micros == Some(at));
            if touching.is_none_or(|last| last.stage != stage) {
                spells.push(spell(stage, at, at + lasts));
                // Two of three go over into the next.
                at += lasts + (pause - 1).max(0);
            }
        }
        if let Some(last) = spells.last_mut().filter(|_| goes_on) {
            last.until_micros = None;
        }
        spells
    })
}

/// By looking at each spell.
fn stage_at(spells: &[Spell], at: i64) -> Option<u8> {
    let holds = |spell: &&Spell| spell.from_micros <= at && spell.until_micros.is_none_or(|until| at < until);
    spells.iter().find(holds).map(|spell| spell.stage)
}

proptest! {
    #[test]
    fn one_stage_holds_at_every_instant(spells in any_spells()) {
        let history = History::new(&spells).unwrap();
        for at in -10..60 {
            prop_assert_eq!(history.stage_at(at), stage_at(&spells, at));
        }
    }

    #[test]
    fn moves_explain_how_the_stages_of_one_instant_become_those_of_another(
        customers in prop::collection::vec(any_spells(), 0..12), from in -8..20_i64, lasts in 0..20_i64,
    ) {
        let mut flow = StageFlow::new(from, from + lasts);
        for spells in &customers {
            flow.add(&History::new(spells).unwrap());
        }
        for stage in 0..4_u8 {
            let there = |at: i64| customers.iter().filter(|spells| stage_at(spells, at) == Some(stage)).count() as u64;
            prop_assert_eq!(flow.sizes(stage), (there(from), there(from + lasts)));
            let sum = |of: &dyn Fn(&Change) -> Option<u8>| -> u64 {
                flow.moves().iter().filter(|(change, _)| of(change) == Some(stage)).map(|(_, count)| count).sum()
            };
            let (into, out) = (sum(&|change| change.to), sum(&|change| change.from));
            prop_assert_eq!(there(from) + into, there(from + lasts) + out);
            // Entered as often as spells begin.
            let begun = customers.iter().flatten().filter(|spell| {
                spell.stage == stage && from < spell.from_micros && spell.from_micros <= from + lasts
            });
            prop_assert_eq!(into as usize, begun.count());
        }
        for (ends, count) in flow.ends() {
            let both = |spells: &&Vec<Spell>| {
                change(stage_at(spells, from), stage_at(spells, from + lasts)) == *ends
            };
            prop_assert_eq!(*count as usize, customers.iter().filter(both).count());
        }
        prop_assert!(flow.moves().keys().all(|change| change.from != change.to));
    }

    #[test]
    fn a_step_is_reached_by_those_who_were_ever_in_it_or_further(
        customers in prop::collection::vec(any_spells(), 0..12), since in -8..20_i64, lasts in 1..20_i64,
    ) {
        let before = since + lasts;
        let mut funnel = Funnel::new(&[&[2], &[0], &[3]]).unwrap();
        for spells in &customers {
            funnel.add(&History::new(spells).unwrap(), since, before);
        }
        for (place, step) in funnel.steps().iter().enumerate() {
            let further = &[2, 0, 3][place..];
            // At an instant of the time that counts, or begun within it.
            let was = |spell: &Spell| {
                let begun = (since..before).contains(&spell.from_micros);
                let within = (since..before).any(|at| stage_at(&[*spell], at).is_some());
                further.contains(&spell.stage) && (begun || within)
            };
            let reached = customers.iter().filter(|spells| spells.iter().any(was)).count();
            prop_assert_eq!(step.reached as usize, reached);
        }
        prop_assert!(funnel.steps().is_sorted_by(|one, next| one.reached >= next.reached));
    }
}
