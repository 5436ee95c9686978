//! Which lines: conditions on columns.

use super::columns::{Column, Line};
use super::keys::Keys;
use super::value::Context;
use crate::error::ImportError;
use crate::reject::Problem;
use crate::values::{NumberForm, number};
use rust_decimal::Decimal;

/// A condition on one column. A missing value meets none but `present = false`.
#[derive(Clone, Debug)]
pub struct Condition {
    column: Column,
    test: Test,
    ignore_case: bool,
    not: bool,
    form: NumberForm,
}

#[derive(Clone, Debug)]
enum Test {
    OneOf(Vec<String>),
    StartsWith(Vec<String>),
    Above(Decimal),
    AtLeast(Decimal),
    Below(Decimal),
    AtMost(Decimal),
    Present(bool),
}

/// Lines that are left out, and why.
#[derive(Clone, Debug)]
pub struct Skip {
    /// What these lines are, in a few words.
    pub name: String,
    /// What they have in common: all of it.
    pub when: Vec<Condition>,
}

impl Skip {
    /// Reads a filter.
    pub fn read(mut keys: Keys, context: &mut Context) -> Result<Self, ImportError> {
        let name = keys.text("name")?.ok_or_else(|| keys.fault("name", "is needed: what these lines are"))?;
        let when = conditions(&mut keys, context)?;
        if when.is_empty() {
            return Err(keys.fault("when", "is needed: which lines to leave out"));
        }
        keys.finish()?;
        Ok(Self { name, when })
    }
}

/// Reads the conditions of `when`: a table, or a list of tables that all have to hold.
pub fn conditions(keys: &mut Keys, context: &mut Context) -> Result<Vec<Condition>, ImportError> {
    let single = matches!(keys.peek("when"), Some(toml::Value::Table(_)));
    let tables = if single { vec![keys.table("when")?] } else { keys.tables("when")? };
    tables.into_iter().map(|keys| Condition::read(keys, context)).collect()
}

/// Whether all conditions hold for a line.
pub fn all_hold(conditions: &[Condition], line: Line) -> Result<bool, Problem> {
    for condition in conditions {
        if !condition.holds(line)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Condition {
    fn read(mut keys: Keys, context: &mut Context) -> Result<Self, ImportError> {
        let name = keys.text("column")?.ok_or_else(|| keys.fault("column", "is needed"))?;
        let column = context.columns.named(&name, &keys.at("column"));
        let mut tests: Vec<Test> = Vec::new();
        tests.extend(keys.texts("equals")?.map(Test::OneOf));
        tests.extend(keys.texts("one_of")?.map(Test::OneOf));
        tests.extend(keys.texts("starts_with")?.map(Test::StartsWith));
        tests.extend(bound(&mut keys, "above")?.map(Test::Above));
        tests.extend(bound(&mut keys, "at_least")?.map(Test::AtLeast));
        tests.extend(bound(&mut keys, "below")?.map(Test::Below));
        tests.extend(bound(&mut keys, "at_most")?.map(Test::AtMost));
        if keys.has("present") {
            tests.push(Test::Present(keys.flag("present")?));
        }
        let (ignore_case, not) = (keys.flag("ignore_case")?, keys.flag("not")?);
        let (Some(test), true) = (tests.pop(), tests.is_empty()) else {
            let problem = "needs one test: one_of, starts_with, above, at_least, below, at_most or present";
            return Err(keys.fault("column", problem));
        };
        keys.finish()?;
        Ok(Self { column, test, ignore_case, not, form: context.defaults.numbers })
    }

    fn holds(&self, line: Line) -> Result<bool, Problem> {
        let text = line.get(self.column);
        if let Test::Present(present) = self.test {
            return Ok((text.is_some() == present) != self.not);
        }
        let Some(text) = text else { return Ok(false) };
        let matches = |wanted: &str, text: &str| {
            if self.ignore_case { wanted.to_lowercase() == text.to_lowercase() } else { wanted == text }
        };
        let starts = |wanted: &str| {
            if self.ignore_case {
                text.to_lowercase().starts_with(&wanted.to_lowercase())
            } else {
                text.starts_with(wanted)
            }
        };
        let value = || number(text, self.form).map_err(|fault| Problem::new("when", fault));
        let holds = match &self.test {
            Test::OneOf(wanted) => wanted.iter().any(|wanted| matches(wanted, text)),
            Test::StartsWith(wanted) => wanted.iter().any(|wanted| starts(wanted)),
            Test::Above(bound) => value()? > *bound,
            Test::AtLeast(bound) => value()? >= *bound,
            Test::Below(bound) => value()? < *bound,
            Test::AtMost(bound) => value()? <= *bound,
            Test::Present(present) => *present,
        };
        Ok(holds != self.not)
    }
}

/// A number that is compared with: `0`, or in quotes where it has decimals.
fn bound(keys: &mut Keys, key: &'static str) -> Result<Option<Decimal>, ImportError> {
    let text = match keys.value(key) {
        None => return Ok(None),
        Some(toml::Value::Integer(whole)) => whole.to_string(),
        Some(toml::Value::String(text)) => text,
        Some(_) => return Err(keys.fault(key, "must be a whole number, or a decimal in quotes")),
    };
    let plain = NumberForm { decimal: '.', thousands: None };
    number(&text, plain).map(Some).map_err(|_| keys.fault(key, "must be a whole number, or a decimal in quotes"))
}
