//! Columns of few distinct values: a code of one byte per customer, of two or four where there are more values, and a bitmap per value while
//! there are few enough.

use super::bitmap::{WORD_BITS, lengthen, place};
use std::collections::HashMap;

/// The code of a missing value.
pub(super) const MISSING: u32 = 0;

/// Beyond this many codes a bitmap per value would take more than the codes and their scan are worth: 64 bits are 8 bytes
/// per customer.
const MAX_BITMAPS: usize = 64;

/// A code per customer, in as many bytes as the widest of them has needed.
enum Codes {
    Byte(Vec<u8>),
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl Default for Codes {
    fn default() -> Self {
        Self::Byte(Vec::new())
    }
}

/// The codes of a column.
#[derive(Clone, Copy)]
pub(super) enum CodeSlice<'a> {
    Byte(&'a [u8]),
    Narrow(&'a [u16]),
    Wide(&'a [u32]),
}

impl Codes {
    fn get(&self, index: usize) -> Option<u32> {
        match self {
            Self::Byte(codes) => codes.get(index).copied().map(u32::from),
            Self::Narrow(codes) => codes.get(index).copied().map(u32::from),
            Self::Wide(codes) => codes.get(index).copied(),
        }
    }

    /// Replaces a code within the length; returns the one before.
    fn replace(&mut self, index: usize, code: u32) -> u32 {
        self.widen_for(code);
        match self {
            // Each is as wide as the code.
            Self::Byte(codes) => std::mem::replace(&mut codes[index], code as u8).into(),
            Self::Narrow(codes) => std::mem::replace(&mut codes[index], code as u16).into(),
            Self::Wide(codes) => std::mem::replace(&mut codes[index], code),
        }
    }

    fn widen_for(&mut self, code: u32) {
        *self = match self {
            Self::Byte(codes) if code > u16::MAX.into() => Self::Wide(widened(codes, codes.capacity())),
            Self::Byte(codes) if code > u8::MAX.into() => Self::Narrow(widened(codes, codes.capacity())),
            Self::Narrow(codes) if code > u16::MAX.into() => Self::Wide(widened(codes, codes.capacity())),
            _ => return,
        };
    }

    fn lengthen(&mut self, length: usize) {
        match self {
            Self::Byte(codes) => lengthen(codes, length),
            Self::Narrow(codes) => lengthen(codes, length),
            Self::Wide(codes) => lengthen(codes, length),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Byte(codes) => codes.capacity(),
            Self::Narrow(codes) => codes.capacity() * size_of::<u16>(),
            Self::Wide(codes) => codes.capacity() * size_of::<u32>(),
        }
    }
}

/// The same codes in more bytes, with as much room.
fn widened<Code: Copy, Wider: From<Code>>(codes: &[Code], room: usize) -> Vec<Wider> {
    let mut wider = Vec::with_capacity(room);
    wider.extend(codes.iter().copied().map(Wider::from));
    wider
}

/// A code per customer.
#[derive(Default)]
pub(super) struct CodeColumn {
    codes: Codes,
    /// Customers of each code.
    counts: Vec<u32>,
    valid: Vec<u64>,
    /// Per code the customers that have it; an empty one before its first customer. None: there are too many codes.
    bitmaps: Option<Vec<Vec<u64>>>,
}

impl CodeColumn {
    pub(super) fn new() -> Self {
        Self { bitmaps: Some(Vec::new()), ..Self::default() }
    }

    pub(super) fn lengthen(&mut self, words: usize) {
        self.codes.lengthen(words * WORD_BITS);
        lengthen(&mut self.valid, words);
        for bitmap in self.bitmaps.iter_mut().flatten().filter(|bitmap| !bitmap.is_empty()) {
            lengthen(bitmap, words);
        }
    }

    pub(super) fn codes(&self) -> CodeSlice<'_> {
        match &self.codes {
            Codes::Byte(codes) => CodeSlice::Byte(codes),
            Codes::Narrow(codes) => CodeSlice::Narrow(codes),
            Codes::Wide(codes) => CodeSlice::Wide(codes),
        }
    }

    /// Codes are numbered from 0 to one less than this.
    pub(super) fn code_count(&self) -> usize {
        self.counts.len().max(1)
    }

    pub(super) fn valid(&self) -> &[u64] {
        &self.valid
    }

    pub(super) fn code(&self, customer_id: u32) -> u32 {
        self.codes.get(customer_id as usize).unwrap_or(MISSING)
    }

    pub(super) fn count(&self, code: u32) -> u32 {
        self.counts.get(code as usize).copied().unwrap_or(0)
    }

    /// The codes that a customer has, missing aside.
    pub(super) fn live_codes(&self) -> impl Iterator<Item = u32> {
        let codes = self.counts.iter().zip(0_u32..).skip(1);
        codes.filter(|(count, _)| **count > 0).map(|(_, code)| code)
    }

    /// The bitmap of a code that a customer has; none when bitmaps are no longer kept.
    pub(super) fn bitmap(&self, code: u32) -> Option<&[u64]> {
        Some(self.bitmaps.as_ref()?.get(code as usize)?.as_slice())
    }

    /// Replaces the code of a customer within the length; returns the one before.
    pub(super) fn set(&mut self, customer_id: u32, code: u32) -> u32 {
        let before = self.codes.replace(customer_id as usize, code);
        if before == code {
            return before;
        }
        let (word, bit) = place(customer_id);
        if before == MISSING {
            self.valid[word] |= bit;
        } else {
            self.counts[before as usize] -= 1;
            if let Some(bitmaps) = &mut self.bitmaps {
                bitmaps[before as usize][word] &= !bit;
            }
        }
        if code == MISSING {
            self.valid[word] &= !bit;
            return before;
        }
        self.make_room(code);
        self.counts[code as usize] += 1;
        if let Some(bitmaps) = &mut self.bitmaps {
            let bitmap = &mut bitmaps[code as usize];
            lengthen(bitmap, self.valid.len());
            bitmap[word] |= bit;
        }
        before
    }

    fn make_room(&mut self, code: u32) {
        let length = code as usize + 1;
        if self.counts.len() < length {
            self.counts.resize(length, 0);
        }
        if length > MAX_BITMAPS {
            self.bitmaps = None;
        }
        if let Some(bitmaps) = &mut self.bitmaps
            && bitmaps.len() < length
        {
            bitmaps.resize(length, Vec::new());
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let bitmap_words: usize = self.bitmaps.iter().flatten().map(Vec::capacity).sum();
        self.codes.memory_bytes()
            + self.counts.capacity() * size_of::<u32>()
            + (self.valid.capacity() + bitmap_words) * size_of::<u64>()
    }
}

/// A text field.
pub(super) struct TextColumn {
    codes: CodeColumn,
    /// The text of each code; that of a code no customer has is left over.
    texts: Vec<Box<str>>,
    code_of: HashMap<Box<str>, u32>,
    /// Codes that no customer has any longer.
    free: Vec<u32>,
}

impl TextColumn {
    pub(super) fn new() -> Self {
        Self { codes: CodeColumn::new(), texts: vec!["".into()], code_of: HashMap::new(), free: Vec::new() }
    }

    pub(super) fn codes(&self) -> &CodeColumn {
        &self.codes
    }

    pub(super) fn lengthen(&mut self, words: usize) {
        self.codes.lengthen(words);
    }

    /// The text of a code; empty for the missing one.
    pub(super) fn text(&self, code: u32) -> &str {
        &self.texts[code as usize]
    }

    /// The code of a text that some customer has.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.code_of.get(text).copied()
    }

    pub(super) fn value(&self, customer_id: u32) -> Option<&str> {
        let code = self.codes.code(customer_id);
        (code != MISSING).then(|| self.text(code))
    }

    /// Sets a customer's text.
    pub(super) fn set(&mut self, customer_id: u32, text: Option<&str>) {
        let code = text.map_or(MISSING, |text| self.code_for(text));
        let before = self.codes.set(customer_id, code);
        if before != MISSING && before != code && self.codes.count(before) == 0 {
            self.code_of.remove(&self.texts[before as usize]);
            self.free.push(before);
        }
    }

    /// Sets the text of a customer who has none, by its code.
    pub(super) fn set_code(&mut self, customer_id: u32, code: u32) {
        self.codes.set(customer_id, code);
    }

    /// The code of a text, which some customer is given next.
    pub(super) fn code_for(&mut self, text: &str) -> u32 {
        if let Some(code) = self.find(text) {
            return code;
        }
        let boxed: Box<str> = text.into();
        let code = if let Some(code) = self.free.pop() {
            self.texts[code as usize] = boxed.clone();
            code
        } else {
            self.texts.push(boxed.clone());
            (self.texts.len() - 1) as u32
        };
        self.code_of.insert(boxed, code);
        code
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let entry = 2 * size_of::<Box<str>>() + size_of::<u32>();
        let texts: usize = self.texts.iter().map(|text| 2 * text.len() + entry).sum();
        self.codes.memory_bytes() + texts
    }
}

/// A score: code `score + 1`.
pub(super) struct ScoreColumn {
    codes: CodeColumn,
}

impl ScoreColumn {
    pub(super) fn new() -> Self {
        Self { codes: CodeColumn::new() }
    }

    pub(super) fn codes(&self) -> &CodeColumn {
        &self.codes
    }

    pub(super) fn lengthen(&mut self, words: usize) {
        self.codes.lengthen(words);
    }

    /// The score of a code that is not the missing one.
    pub(super) fn score(code: u32) -> i64 {
        i64::from(code) - 1
    }

    pub(super) fn value(&self, customer_id: u32) -> Option<i64> {
        let code = self.codes.code(customer_id);
        (code != MISSING).then(|| Self::score(code))
    }

    pub(super) fn set(&mut self, customer_id: u32, score: Option<u8>) {
        self.codes.set(customer_id, score.map_or(MISSING, |score| u32::from(score) + 1));
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.codes.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_nobody_has_any_longer_gives_its_code_back() {
        let mut column = TextColumn::new();
        column.lengthen(1);
        for round in 0..1000 {
            column.set(1, Some(&format!("owner {round}")));
        }
        assert_eq!(column.value(1), Some("owner 999"));
        assert!(column.texts.len() <= 3);
        column.set(1, None);
        assert_eq!(column.value(1), None);
        assert_eq!(column.find("owner 999"), None);
    }

    #[test]
    fn bitmaps_stop_where_they_cost_more_than_they_save() {
        let mut column = TextColumn::new();
        column.lengthen(2);
        for id in 1..MAX_BITMAPS as u32 {
            column.set(id, Some(&format!("region {id}")));
        }
        assert_eq!(column.codes.bitmap(5), Some(&[1 << 5, 0][..]));
        column.set(64, Some("one more"));
        assert_eq!(column.codes.bitmap(5), None);
        assert_eq!(column.value(5), Some("region 5"));
    }
}
