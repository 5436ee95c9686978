//! Why a rule is refused, in words that are safe to show to its author.

use std::borrow::Cow;
use std::fmt;

/// A place in a rule's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The position of the byte `offset`, which may be anywhere: it is only ever reported.
    pub(crate) fn of(source: &str, offset: usize) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a rule is refused.
///
/// No text holds a literal of the rule, since a literal may be personal data; names of fields and
/// functions are shown, cut to 64 bytes. All but [`ExprError::ParserFailed`] are the author's to
/// correct.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The source has more than [`MAX_SOURCE_BYTES`](crate::MAX_SOURCE_BYTES).
    #[error("the rule is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More conditions and list elements than [`MAX_TERMS`](crate::MAX_TERMS).
    #[error("the rule has more than {limit} terms")]
    TooManyTerms {
        /// The limit, in conditions and list elements together.
        limit: usize,
    },
    /// Nested more deeply than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("the rule is nested more than {limit} deep at {position}")]
    TooDeep {
        /// Where the limit is passed.
        position: Position,
        /// The limit, in levels.
        limit: usize,
    },
    /// Not an expression.
    #[error("syntax error at {position}: did not expect {found} here")]
    Syntax {
        /// Where reading stopped.
        position: Position,
        /// What kind of thing is there.
        found: &'static str,
    },
    /// Valid in CEL, but not part of the rule language.
    #[error("{what} is not supported at {position}")]
    Unsupported {
        /// Where it is.
        position: Position,
        /// What it is, as a noun phrase.
        what: Cow<'static, str>,
    },
    /// A name that the schema does not have.
    #[error("unknown field `{name}` at {position}{}", suggestion(.nearest.as_deref()))]
    UnknownField {
        /// Where the name starts.
        position: Position,
        /// The name as written, cut to 64 bytes.
        name: String,
        /// The known name most like it, when one is close.
        nearest: Option<String>,
    },
    /// Things that do not go together: types, arguments, or decimals of a currency.
    #[error("type clash at {position}: expected {expected}, found {found}")]
    TypeClash {
        /// Where the offending part is.
        position: Position,
        /// What would be right there.
        expected: Cow<'static, str>,
        /// What kind of thing is there.
        found: &'static str,
    },
    /// No fault of the rule: the parser's thread could not start, or the parser has a defect.
    #[error("the rule could not be read")]
    ParserFailed,
}

impl ExprError {
    /// Where in the source, unless the whole rule is at fault.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::TooDeep { position, .. }
            | Self::Syntax { position, .. }
            | Self::Unsupported { position, .. }
            | Self::UnknownField { position, .. }
            | Self::TypeClash { position, .. } => Some(*position),
            Self::TooLong { .. } | Self::TooManyTerms { .. } | Self::ParserFailed => None,
        }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The start of a name that its author chose, short enough for an error text.
pub(crate) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
