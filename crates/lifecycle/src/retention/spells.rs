//! Spells of what is kept of a customer: its transitions, and the stage at present.

use super::history::Spell;

/// A transition: when, in microseconds since 1970, and the codes of the stages before and after.
pub type Step = (i64, u8, u8);

/// The spells that transitions tell of, in the order in which they were told. Nobody knows when the first one began, so that it goes back for ever
/// (`i64::MIN`). `now`: the stage at present, at `as_of`. Where no transition has told of it, as after a time of which nothing was kept, it begins then.
pub fn spells(steps: impl IntoIterator<Item = Step>, now: u8, as_of: i64) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    let mut steps = steps.into_iter().peekable();
    let first = steps.peek().map_or(now, |(_, from, _)| *from);
    spells.push(Spell { stage: first, from_micros: i64::MIN, until_micros: None });
    for (at, from, to) in steps.map(|(at, from, to)| (at, Some(from), to)).chain([(as_of, None, now)]) {
        // What is corrected may be told with an earlier instant than what was told before it.
        let Some(last) = spells.last_mut().filter(|last| last.stage != to) else { continue };
        let at = at.max(last.from_micros);
        last.until_micros = Some(at);
        // Between the two was something that nothing was kept of. When it began is not known.
        if let Some(unseen) = from.filter(|from| *from != last.stage && *from != to) {
            spells.push(Spell { stage: unseen, from_micros: at, until_micros: Some(at) });
        }
        spells.push(Spell { stage: to, from_micros: at, until_micros: None });
    }
    spells
}

#[cfg(test)]
mod tests {
    use super::super::History;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_transition_ends_one_spell_and_begins_another() {
        let spell = |stage, from_micros, until_micros| Spell { stage, from_micros, until_micros };
        let found = spells([(10, 1, 2), (20, 2, 5)], 5, 90);
        assert_eq!(found, [spell(1, i64::MIN, Some(10)), spell(2, 10, Some(20)), spell(5, 20, None)]);
        assert_eq!(spells([], 7, 90), [spell(7, i64::MIN, None)]);
        // A gap, an instant before the one told last, and a step to where the customer is.
        let found = spells([(10, 1, 2), (5, 3, 4), (6, 4, 4)], 4, 90);
        assert_eq!(
            found,
            [spell(1, i64::MIN, Some(10)), spell(2, 10, Some(10)), spell(3, 10, Some(10)), spell(4, 10, None)]
        );
        // What nothing has told of.
        let found = spells([(10, 1, 2)], 6, 90);
        assert_eq!(found, [spell(1, i64::MIN, Some(10)), spell(2, 10, Some(90)), spell(6, 90, None)]);
    }

    proptest! {
        /// Whatever is told makes a history.
        #[test]
        fn any_steps_make_a_history(steps in prop::collection::vec((-9..9_i64, 0..4_u8, 0..4_u8), 0..12), now in 0..4_u8) {
            let spells = spells(steps.iter().copied(), now, 9);
            let history = History::new(&spells).unwrap();
            prop_assert_eq!(history.stage_at(9), Some(now));
        }
    }
}
