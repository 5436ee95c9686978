//! What a name or an id from outside may hold.

use thiserror::Error;

/// The most bytes of a name or an id.
pub const MAX_NAME_BYTES: usize = 256;

/// Why a text is refused. It never holds the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TextError {
    /// It is empty, or blank.
    #[error("must not be empty or blank")]
    Blank,
    /// It is longer than allowed.
    #[error("must have at most {0} bytes")]
    TooLong(usize),
    /// It holds NUL, a control character, or one that changes the direction of text.
    #[error("must not hold control or text-direction characters")]
    Control,
    /// It is not of the form of an id.
    #[error("must be 1 to 63 of a-z, 0-9 and '-', and start with a letter")]
    NotAnId,
}

/// Checks a text that must be there: at most `max` bytes, not blank, no control and no text-direction characters.
pub fn required_text(text: &str, max: usize) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Blank);
    }
    optional_text(text, max)
}

/// Checks a text that may be empty: at most `max` bytes, no control and no text-direction characters.
pub fn optional_text(text: &str, max: usize) -> Result<(), TextError> {
    if text.len() > max {
        return Err(TextError::TooLong(max));
    }
    let is_printable_ascii = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_printable_ascii && text.chars().any(|c| c.is_control() || is_bidi_control(c)) {
        return Err(TextError::Control);
    }
    Ok(())
}

/// Checks the id of a resource that a client names: `[a-z][a-z0-9-]{0,62}`.
pub fn resource_id(id: &str) -> Result<(), TextError> {
    let well_formed = id.len() <= 63
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if well_formed { Ok(()) } else { Err(TextError::NotAnId) }
}

/// A whole number of 0 or more as names spell it, in its one spelling: no sign, no zero in front.
pub fn number(digits: &str) -> Option<i64> {
    digits.parse().ok().filter(|number: &i64| *number >= 0 && number.to_string() == digits)
}

/// The known name most like `name`, when at most a third of it would have to change.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name this long is nobody's slip of the finger, and the distance costs its square.
    if name.len() > 64 {
        return None;
    }
    let tolerated = (name.len() / 3).clamp(1, 3);
    let distances = known.into_iter().map(|known| (edit_distance(name, known), known));
    distances.filter(|(distance, _)| *distance <= tolerated).min().map(|(_, nearest)| nearest)
}

/// Insertions, deletions and replacements that make `a` into `b`, letter case aside (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (row, left) in a.bytes().enumerate() {
        let mut current = vec![row + 1];
        for (column, right) in b.bytes().enumerate() {
            let replaced = previous[column] + usize::from(!left.eq_ignore_ascii_case(&right));
            let inserted = current[column] + 1;
            let deleted = previous[column + 1] + 1;
            current.push(replaced.min(inserted).min(deleted));
        }
        previous = current;
    }
    previous[b.len()]
}

// Unicode's Bidi_Control property: characters that can make a text read as another.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_deceive_are_refused() {
        assert_eq!(required_text("", 256), Err(TextError::Blank));
        assert_eq!(required_text(" \t ", 256), Err(TextError::Blank));
        assert_eq!(required_text("a\0b", 256), Err(TextError::Control));
        assert_eq!(required_text("abc\u{202E}fed", 256), Err(TextError::Control));
        assert_eq!(required_text(&"段".repeat(86), 256), Err(TextError::TooLong(256)));
        assert_eq!(required_text("O'Brien; DROP TABLE % _", 256), Ok(()));
    }

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!([number("0"), number("42"), number("9223372036854775807")], [Some(0), Some(42), Some(i64::MAX)]);
        for wrong in ["", "-1", "+1", "01", " 1", "1.0", "9223372036854775808", "x"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_resource_id_starts_with_a_letter() {
        assert_eq!(resource_id("vip-2"), Ok(()));
        for wrong in ["", "2vip", "VIP", "a_b", "-a", &"a".repeat(64)] {
            assert_eq!(resource_id(wrong), Err(TextError::NotAnId), "{wrong:?}");
        }
    }
}
