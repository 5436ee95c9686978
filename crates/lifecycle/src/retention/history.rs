//! The stages of one customer over time: what all reports on stages read.

use super::error::RetentionError;

/// A time in one stage: from an instant up to but not including another, in microseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spell {
    /// The stage's code.
    pub stage: u8,
    /// When it began.
    pub from_micros: i64,
    /// When it ended; the same instant, if it was left as soon as it was entered. `None`: it goes on.
    pub until_micros: Option<i64>,
}

/// The spells of one customer, in order. Between two of them may be a time in no stage.
#[derive(Clone, Copy, Debug)]
pub struct History<'a>(&'a [Spell]);

/// Something that happened between two spells, or before the first, or after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) at_micros: i64,
    /// `None`: from no stage.
    pub(super) from: Option<u8>,
    /// `None`: to no stage.
    pub(super) to: Option<u8>,
}

impl<'a> History<'a> {
    /// Spells that come one after another: each begins no earlier than the one before it ended, and only the last may go
    /// on. Of two that touch, the stages differ.
    pub fn new(spells: &'a [Spell]) -> Result<Self, RetentionError> {
        let mut before: Option<&Spell> = None;
        for (place, spell) in spells.iter().enumerate() {
            if spell.until_micros.is_some_and(|until| until < spell.from_micros) {
                return Err(RetentionError::SpellOutOfOrder(place));
            }
            if let Some(before) = before {
                let ended = before.until_micros.ok_or(RetentionError::SpellWithoutEnd(place - 1))?;
                if spell.from_micros < ended {
                    return Err(RetentionError::SpellOutOfOrder(place));
                }
                if spell.from_micros == ended && spell.stage == before.stage {
                    return Err(RetentionError::SpellUnchanged(place));
                }
            }
            before = Some(spell);
        }
        Ok(Self(spells))
    }

    /// The spells.
    pub fn spells(&self) -> &'a [Spell] {
        self.0
    }

    /// The stage at an instant. `None`: none.
    pub fn stage_at(&self, at_micros: i64) -> Option<u8> {
        let begun = self.0.partition_point(|spell| spell.from_micros <= at_micros);
        let last = self.0[..begun].last()?;
        last.until_micros.is_none_or(|until| at_micros < until).then_some(last.stage)
    }

    /// Every move, in order.
    pub(super) fn moves(&self) -> impl Iterator<Item = Move> + 'a {
        let spells = self.0;
        spells.iter().enumerate().flat_map(move |(place, spell)| {
            let before = place.checked_sub(1).map(|before| spells[before]);
            let touching = before.filter(|before| before.until_micros == Some(spell.from_micros));
            let into =
                Move { at_micros: spell.from_micros, from: touching.map(|before| before.stage), to: Some(spell.stage) };
            let next = spells.get(place + 1);
            let out = spell.until_micros.filter(|until| next.is_none_or(|next| next.from_micros != *until));
            let out = out.map(|at_micros| Move { at_micros, from: Some(spell.stage), to: None });
            std::iter::once(into).chain(out)
        })
    }
}
