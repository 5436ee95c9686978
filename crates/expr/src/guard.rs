//! Refuses, before the CEL parser sees it, whatever that parser could not survive.
//!
//! The parser recurses once per bracket, and its tree once per link of a chain such as `a.b.c` or
//! `a < b < c`, so that a short source could overflow the stack. One pass over the characters
//! bounds them all, and names what CEL has and rules do not.
//!
//! Invariant: everything let through splits into the tokens that CEL's lexer sees. A disagreement
//! about where a text ends would let brackets pass uncounted, hence the strictness about escapes.

use crate::error::{ExprError, Position};
use crate::syntax::kind;
use crate::{MAX_DEPTH, MAX_SOURCE_BYTES, MAX_TERMS};

/// Dots between two connectives: room for two long names.
const MAX_DOTS: usize = 16;

/// Checks size, nesting, terms and tokens.
pub(crate) fn check(source: &str) -> Result<(), ExprError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(ExprError::TooLong { limit: MAX_SOURCE_BYTES });
    }
    let mut guard = Guard::new(source);
    while let Some(next) = guard.peek() {
        guard.token(next)?;
    }
    Ok(())
}

/// What has been seen since the last connective, comma or opening bracket.
#[derive(Clone, Copy, Default)]
struct Term {
    comparisons: usize,
    dots: usize,
}

struct Guard<'a> {
    source: &'a str,
    at: usize,
    /// The interrupted term outside each open bracket.
    open: Vec<Term>,
    term: Term,
    terms: usize,
    /// `!` in a row.
    nots: usize,
    /// Whether the last token ended an operand: then `-` subtracts and `[` indexes.
    after_operand: bool,
}

impl<'a> Guard<'a> {
    fn new(source: &'a str) -> Self {
        let term = Term::default();
        Self { source, at: 0, open: Vec::new(), term, terms: 1, nots: 0, after_operand: false }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn token(&mut self, next: char) -> Result<(), ExprError> {
        match next {
            ' ' | '\t' | '\r' | '\n' | '\u{c}' => self.at += 1,
            '/' if self.rest().starts_with("//") => {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            }
            '"' | '\'' => self.text(next)?,
            '0'..='9' => self.number()?,
            'a'..='z' | 'A'..='Z' | '_' => self.name()?,
            '[' if self.after_operand => return Err(self.unsupported("indexing")),
            '(' | '[' => self.opening()?,
            ')' | ']' => self.closing()?,
            '&' | '|' => self.connective(next)?,
            ',' => self.separator(1)?,
            '.' => self.dot()?,
            '=' | '<' | '>' | '!' => self.comparison_or_not(next)?,
            '-' => self.minus()?,
            '+' | '*' | '/' | '%' => return Err(self.unsupported("arithmetic")),
            '?' | ':' => return Err(self.unsupported("the conditional operator")),
            '{' | '}' => return Err(self.unsupported("a map or message")),
            '`' => return Err(self.unsupported("an escaped name")),
            _ => return Err(self.unexpected()),
        }
        Ok(())
    }

    fn operand(&mut self, bytes: usize) {
        self.at += bytes;
        self.nots = 0;
        self.after_operand = true;
    }

    fn operator(&mut self, bytes: usize) {
        self.at += bytes;
        self.nots = 0;
        self.after_operand = false;
    }

    fn opening(&mut self) -> Result<(), ExprError> {
        if self.open.len() == MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.open.push(self.term);
        self.term = Term::default();
        self.operator(1);
        Ok(())
    }

    fn closing(&mut self) -> Result<(), ExprError> {
        self.term = self.open.pop().ok_or_else(|| self.unexpected())?;
        self.operand(1);
        Ok(())
    }

    fn connective(&mut self, sign: char) -> Result<(), ExprError> {
        if !self.rest()[1..].starts_with(sign) {
            return Err(self.unexpected());
        }
        self.separator(2)
    }

    fn separator(&mut self, bytes: usize) -> Result<(), ExprError> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(ExprError::TooManyTerms { limit: MAX_TERMS });
        }
        self.term = Term::default();
        self.operator(bytes);
        Ok(())
    }

    fn dot(&mut self) -> Result<(), ExprError> {
        if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unsupported("a number written like this"));
        }
        self.term.dots += 1;
        if self.term.dots > MAX_DOTS {
            return Err(self.too_deep());
        }
        self.operator(1);
        Ok(())
    }

    fn comparison_or_not(&mut self, sign: char) -> Result<(), ExprError> {
        let with_equals = self.rest()[1..].starts_with('=');
        match (sign, with_equals) {
            ('!', false) => {
                self.at += 1;
                self.nots += 1;
                self.after_operand = false;
                if self.nots > MAX_DEPTH { Err(self.too_deep()) } else { Ok(()) }
            }
            ('=', false) => Err(self.unexpected()),
            _ => self.comparison(1 + usize::from(with_equals)),
        }
    }

    fn comparison(&mut self, bytes: usize) -> Result<(), ExprError> {
        self.term.comparisons += 1;
        if self.term.comparisons > 1 {
            return Err(self.unsupported("a comparison of comparisons"));
        }
        self.operator(bytes);
        Ok(())
    }

    fn minus(&mut self) -> Result<(), ExprError> {
        let signs_a_number = self.rest()[1..].starts_with(|c: char| c.is_ascii_digit());
        if self.after_operand || !signs_a_number {
            return Err(self.unsupported("arithmetic"));
        }
        self.operator(1);
        Ok(())
    }

    fn name(&mut self) -> Result<(), ExprError> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        if &rest[..length] == "in" {
            return self.comparison(length);
        }
        if rest[length..].starts_with(['"', '\'']) {
            return Err(self.unsupported("a raw text or bytes"));
        }
        self.operand(length);
        Ok(())
    }

    /// Whole or decimal. CEL also has hexadecimal, unsigned and exponents, which no field needs.
    fn number(&mut self) -> Result<(), ExprError> {
        let rest = self.rest();
        let whole = digits(rest);
        let decimals = rest[whole..].strip_prefix('.').map_or(0, digits);
        let length = if decimals == 0 { whole } else { whole + 1 + decimals };
        if rest[length..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err(self.unsupported("a number written like this"));
        }
        self.operand(length);
        Ok(())
    }

    fn text(&mut self, quote: char) -> Result<(), ExprError> {
        let body = &self.rest()[1..];
        if body.starts_with(quote) && body[1..].starts_with(quote) {
            return Err(self.unsupported("a triple-quoted text"));
        }
        let mut end = 0;
        loop {
            let Some(c) = body[end..].chars().next().filter(|c| !matches!(c, '\n' | '\r')) else {
                return Err(self.syntax("a text without its end"));
            };
            end += c.len_utf8();
            if c == quote {
                // One more for the opening quote.
                self.operand(end + 1);
                return Ok(());
            }
            if c == '\\' {
                let escaped = escape(&body[end..]);
                end += escaped.ok_or_else(|| self.unsupported("an escape in this text"))?;
            }
        }
    }

    fn position(&self) -> Position {
        Position::of(self.source, self.at)
    }

    fn too_deep(&self) -> ExprError {
        ExprError::TooDeep { position: self.position(), limit: MAX_DEPTH }
    }

    fn unsupported(&self, what: &'static str) -> ExprError {
        ExprError::Unsupported { position: self.position(), what: what.into() }
    }

    fn unexpected(&self) -> ExprError {
        self.syntax(kind(self.peek()))
    }

    fn syntax(&self, found: &'static str) -> ExprError {
        ExprError::Syntax { position: self.position(), found }
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The length of the escape after a backslash, when rules may use it.
fn escape(after: &str) -> Option<usize> {
    match after.chars().next()? {
        '\\' | '"' | '\'' | 'n' | 'r' | 't' => Some(1),
        'u' => {
            let hex = after.get(1..5)?;
            let all_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            let code = u32::from_str_radix(hex, 16).ok()?;
            // Surrogates are not characters.
            (all_hex && char::from_u32(code).is_some()).then_some(5)
        }
        _ => None,
    }
}
