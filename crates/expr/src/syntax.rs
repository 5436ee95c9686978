//! Runs the CEL parser where it can do no harm.

use crate::error::{ExprError, Position};
use cel::common::ast::{IdedExpr, SourceInfo};
use std::thread;

/// The parser takes up to 250 KiB per level in debug builds, and a stack overflow cannot be caught:
/// twice what 32 levels need. Untouched pages cost nothing.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The guard has counted the brackets already; this only stops the parser if the two disagree.
const MAX_PARSER_DEPTH: u16 = 48;

/// An expression as CEL sees it, with the place of each of its parts.
pub(crate) struct Parsed {
    pub(crate) root: IdedExpr,
    places: SourceInfo,
}

impl Parsed {
    /// The byte where a part of the expression starts, or where its operator is.
    pub(crate) fn offset(&self, part: &IdedExpr) -> usize {
        self.places.offset_for(part.id).map_or(0, |(start, _)| start as usize)
    }
}

/// Parses a source that has passed the guard, on a thread of its own: for its stack, and so that a
/// panic in the parser stays there.
pub(crate) fn parse(source: &str) -> Result<Parsed, ExprError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("quintile-expr".to_owned());
        let worker = thread.stack_size(STACK_BYTES).spawn_scoped(scope, || run(source));
        let outcome = worker.map_err(|_| ExprError::ParserFailed)?.join();
        outcome.unwrap_or(Err(ExprError::ParserFailed))
    })
}

fn run(source: &str) -> Result<Parsed, ExprError> {
    // An environment without macros leaves `has(x)` a call, so that it takes plain names too.
    // Recovery is off because only the first error is reported.
    let parser = cel::Env::default().parser().max_recursion_depth(MAX_PARSER_DEPTH).error_recovery_limit(0);
    match parser.parse_with_source_info(source) {
        Ok((root, places)) => Ok(Parsed { root, places }),
        Err(errors) => {
            let (line, column) = errors.errors.first().map_or((1, 1), |error| error.pos);
            let position = Position {
                line: usize::try_from(line).unwrap_or(1).max(1),
                column: usize::try_from(column).unwrap_or(1).max(1),
            };
            // The parser's own message quotes the source, literals included.
            Err(ExprError::Syntax { position, found: kind_at(source, position) })
        }
    }
}

fn kind_at(source: &str, position: Position) -> &'static str {
    let line = source.split('\n').nth(position.line - 1).unwrap_or_default();
    kind(line.chars().nth(position.column - 1))
}

/// What sort of thing starts with this character, without showing it.
pub(crate) fn kind(start: Option<char>) -> &'static str {
    match start {
        None => "the end",
        Some('"' | '\'') => "a text",
        Some(c) if c.is_ascii_digit() => "a number",
        Some(c) if c.is_ascii_alphabetic() || c == '_' => "a name",
        Some(_) => "this symbol",
    }
}
