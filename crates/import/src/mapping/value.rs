//! Where the value of a field comes from: a column, a constant or several columns, and how it is written there.

use super::columns::{Column, Columns, Line};
use super::keys::Keys;
use crate::error::ImportError;
use crate::values::{Fault, NumberForm, TimeForm, integer, minor_units, number, product};
use jiff::tz::TimeZone;
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::google_type::{Date as ProtoDate, Money as ProtoMoney};
use quintile_rpc::convert;
use rust_decimal::Decimal;
use std::borrow::Cow;
use std::collections::BTreeMap;
use toml::Value;

/// What the values of a table have in common, unless they say otherwise.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// How numbers are written.
    pub numbers: NumberForm,
    /// The time zone of local times.
    pub zone: TimeZone,
    /// The currency of money.
    pub currency: Option<String>,
}

/// What reads the values of a table's keys.
pub struct Context<'a> {
    /// What they have in common.
    pub defaults: &'a Defaults,
    /// The columns that they name.
    pub columns: &'a mut Columns,
}

/// A text.
#[derive(Clone, Debug)]
pub struct Text {
    from: From,
    case: Option<Case>,
    map: Option<BTreeMap<String, String>>,
    default: Option<String>,
}

#[derive(Clone, Debug)]
enum From {
    Column(Column),
    Constant(String),
    Template(Vec<Part>),
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Column(Column),
    LineNumber,
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Upper,
    Lower,
}

/// A number.
#[derive(Clone, Debug)]
pub struct Number {
    from: NumberFrom,
    form: NumberForm,
    negate: bool,
    round: bool,
    default: Option<Decimal>,
}

#[derive(Clone, Debug)]
enum NumberFrom {
    Column(Column),
    Constant(Decimal),
    Product(Vec<Column>),
    Sum(Vec<Column>),
}

/// An amount of money.
#[derive(Clone, Debug)]
pub struct Money {
    number: Number,
    currency: Text,
}

/// An instant or a date.
#[derive(Clone, Debug)]
pub struct Time {
    text: Text,
    form: TimeForm,
    zone: TimeZone,
}

/// A value of a key: a name of a column by itself, or a table.
fn opened(keys: &mut Keys, key: &'static str) -> Result<Option<Keys>, ImportError> {
    let value = keys.value(key);
    value.map(|value| of_value(keys.at(key), value)).transpose()
}

/// The keys of a value at a path.
pub fn of_value(path: String, value: Value) -> Result<Keys, ImportError> {
    match value {
        Value::String(column) => {
            let entries = std::iter::once(("column".to_owned(), Value::String(column))).collect();
            Ok(Keys::new(path, entries))
        }
        Value::Table(entries) => Ok(Keys::new(path, entries)),
        _ => Err(ImportError::mapping(path, "must be the name of a column, or a table such as { constant = \"x\" }")),
    }
}

impl Text {
    /// Reads the text of a key. `None`: the key is not there.
    pub fn read(keys: &mut Keys, key: &'static str, context: &mut Context) -> Result<Option<Self>, ImportError> {
        let Some(mut own) = opened(keys, key)? else { return Ok(None) };
        let text = Self::read_own(&mut own, context)?;
        own.finish()?;
        Ok(Some(text))
    }

    /// Reads a text from the keys of its own value.
    pub fn read_own(own: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let (column, constant, template) = (own.text("column")?, own.text("constant")?, own.text("template")?);
        let from = match (column, constant, template) {
            (Some(column), None, None) => From::Column(context.columns.named(&column, &own.at("column"))),
            (None, Some(constant), None) => From::Constant(constant),
            (None, None, Some(template)) => From::Template(parts(&template, own, context)?),
            _ => return Err(own.fault("column", "is needed, or `constant` or `template`, one of them")),
        };
        let case = match own.text("case")?.as_deref() {
            None => None,
            Some("upper") => Some(Case::Upper),
            Some("lower") => Some(Case::Lower),
            Some(_) => return Err(own.fault("case", "must be `upper` or `lower`")),
        };
        let map = if own.has("map") { Some(map(own.table("map")?)?) } else { None };
        Ok(Self { from, case, map, default: own.text("default")? })
    }

    /// A text that is always the same.
    pub fn constant(text: String) -> Self {
        Self { from: From::Constant(text), case: None, map: None, default: None }
    }

    /// Every text that this can be, if that does not depend on the file.
    pub fn possible(&self) -> Option<Vec<&str>> {
        let mut possible: Vec<&str> = match (&self.map, &self.from) {
            (Some(map), _) => map.values().map(String::as_str).collect(),
            (None, From::Constant(constant)) => vec![constant],
            (None, _) => return None,
        };
        possible.extend(self.default.as_deref());
        Some(possible)
    }

    /// The text of a line. `None`: there is none.
    pub fn of<'a>(&'a self, line: Line<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
        let text = match &self.from {
            From::Column(column) => line.get(*column).map(Cow::Borrowed),
            From::Constant(constant) => Some(Cow::Borrowed(constant.as_str())),
            From::Template(parts) => filled(parts, line).map(Cow::Owned),
        };
        let text = match self.case {
            None => text,
            Some(Case::Upper) => text.map(|text| Cow::Owned(text.to_uppercase())),
            Some(Case::Lower) => text.map(|text| Cow::Owned(text.to_lowercase())),
        };
        let text = match (&self.map, text) {
            (Some(map), Some(text)) => match (map.get(text.as_ref()), &self.default) {
                (Some(mapped), _) => Some(Cow::Borrowed(mapped.as_str())),
                (None, Some(_)) => None,
                (None, None) => return Err("is not in the mapping's `map`, which has no default"),
            },
            (_, text) => text,
        };
        let text = text.or(self.default.as_deref().map(Cow::Borrowed));
        match &text {
            // A NUL ends an identity in the order of facts.
            Some(text) if text.contains('\0') => Err("holds a NUL character"),
            _ => Ok(text),
        }
    }
}

fn map(mut keys: Keys) -> Result<BTreeMap<String, String>, ImportError> {
    let entries = keys.rest().into_iter().map(|(from, to)| match to {
        Value::String(to) => Ok((from, to)),
        _ => Err(keys.fault(&from, "must be a text")),
    });
    entries.collect()
}

fn parts(template: &str, own: &Keys, context: &mut Context) -> Result<Vec<Part>, ImportError> {
    let unclosed = || own.fault("template", "must be a text with columns in braces, such as `{id}-{line}`");
    let (mut parts, mut rest) = (Vec::new(), template);
    while let Some((literal, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').ok_or_else(unclosed)?;
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        parts.push(match name {
            "#line" => Part::LineNumber,
            name => Part::Column(context.columns.named(name, &own.at("template"))),
        });
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    if parts.iter().all(|part| matches!(part, Part::Literal(_))) {
        return Err(own.fault("template", "names no column: use `constant`"));
    }
    Ok(parts)
}

fn filled(parts: &[Part], line: Line) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Column(column) => text.push_str(line.get(*column)?),
            Part::LineNumber => text.push_str(&line.record.number.to_string()),
        }
    }
    Some(text)
}

/// The form of numbers that keys say, otherwise the given one.
pub fn number_form(keys: &mut Keys, otherwise: NumberForm) -> Result<NumberForm, ImportError> {
    let decimal = keys.character("decimal")?.unwrap_or(otherwise.decimal);
    let thousands = keys.character("thousands")?.or(otherwise.thousands);
    if thousands == Some(decimal) {
        return Err(keys.fault("thousands", "must be another character than the one before decimals"));
    }
    if decimal.is_ascii_digit() || thousands.is_some_and(|character| character.is_ascii_digit()) {
        return Err(keys.fault("decimal", "must not be a digit"));
    }
    Ok(NumberForm { decimal, thousands })
}

impl Number {
    /// Reads the number of a key. `None`: the key is not there.
    pub fn read(keys: &mut Keys, key: &'static str, context: &mut Context) -> Result<Option<Self>, ImportError> {
        let Some(mut own) = opened(keys, key)? else { return Ok(None) };
        let read = Self::read_own(&mut own, context)?;
        own.finish()?;
        Ok(Some(read))
    }

    fn read_own(own: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let form = number_form(own, context.defaults.numbers)?;
        let literal = |own: &mut Keys, key| -> Result<Option<Decimal>, ImportError> {
            let plain = NumberForm { decimal: '.', thousands: None };
            let text = own.text(key)?;
            text.map(|text| number(&text, plain).map_err(|_| own.fault(key, "must be a number in quotes"))).transpose()
        };
        let mut columns = |own: &mut Keys, key| -> Result<Option<Vec<Column>>, ImportError> {
            let names = own.texts(key)?;
            Ok(names.map(|names| names.iter().map(|name| context.columns.named(name, &own.at(key))).collect()))
        };
        let (column, factors, terms) = (columns(own, "column")?, columns(own, "product")?, columns(own, "sum")?);
        let from = match (column.as_deref(), literal(own, "constant")?, factors, terms) {
            (Some([column]), None, None, None) => NumberFrom::Column(*column),
            (None, Some(constant), None, None) => NumberFrom::Constant(constant),
            (None, None, Some(factors), None) if !factors.is_empty() => NumberFrom::Product(factors),
            (None, None, None, Some(terms)) if !terms.is_empty() => NumberFrom::Sum(terms),
            _ => return Err(own.fault("column", "is needed, or `constant`, `product` or `sum`, one of them")),
        };
        let (negate, round) = (own.flag("negate")?, own.flag("round")?);
        Ok(Self { from, form, negate, round, default: literal(own, "default")? })
    }

    /// The number of a line. `None`: there is none.
    pub fn of(&self, line: Line) -> Result<Option<Decimal>, Fault> {
        let one = |column: &Column| line.get(*column).map(|text| number(text, self.form)).transpose();
        let found = match &self.from {
            NumberFrom::Column(column) => one(column)?,
            NumberFrom::Constant(constant) => Some(*constant),
            NumberFrom::Product(columns) => {
                let factors: Option<Vec<_>> = columns.iter().map(one).collect::<Result<_, _>>()?;
                factors.map(|factors| factors.into_iter().try_fold(Decimal::ONE, product)).transpose()?
            }
            NumberFrom::Sum(columns) => {
                let terms: Option<Vec<_>> = columns.iter().map(one).collect::<Result<_, _>>()?;
                let add = |sum: Decimal, term| sum.checked_add(term).ok_or("is too large");
                terms.map(|terms| terms.into_iter().try_fold(Decimal::ZERO, add)).transpose()?
            }
        };
        let found = if self.negate { found.map(|number| -number) } else { found };
        Ok(found.or(self.default))
    }

    /// The whole number of a line.
    pub fn integer_of(&self, line: Line) -> Result<Option<i64>, Fault> {
        self.of(line)?.map(integer).transpose()
    }
}

impl Money {
    /// Reads the money of a key, in the currency of `keys.currency` or of the table. `None`: the key is not there.
    pub fn read(keys: &mut Keys, key: &'static str, context: &mut Context) -> Result<Option<Self>, ImportError> {
        let Some(mut own) = opened(keys, key)? else { return Ok(None) };
        let number = Number::read_own(&mut own, context)?;
        let currency = Text::read(&mut own, "currency", context)?;
        let default = || context.defaults.currency.clone().map(Text::constant);
        let currency = currency.or_else(default).ok_or_else(|| {
            own.fault("currency", "is needed, here or for the whole mapping, such as currency = \"EUR\"")
        })?;
        for code in currency.possible().unwrap_or_default() {
            if Currency::from_code(code).is_err() {
                return Err(own.fault("currency", "must be an ISO 4217 code with minor units"));
            }
        }
        own.finish()?;
        Ok(Some(Self { number, currency }))
    }

    /// The money of a line. `None`: there is none.
    pub fn of(&self, line: Line) -> Result<Option<ProtoMoney>, Fault> {
        let Some(amount) = self.number.of(line)? else { return Ok(None) };
        let code = self.currency.of(line)?.ok_or("has no currency")?;
        let currency = Currency::from_code(&code).map_err(|_| "has no ISO 4217 currency with minor units")?;
        let minor = minor_units(amount, currency, self.number.round)?;
        Ok(Some(convert::money(currency, minor)))
    }
}

impl Time {
    /// Reads the instant or date of a key. `None`: the key is not there.
    pub fn read(keys: &mut Keys, key: &'static str, context: &mut Context) -> Result<Option<Self>, ImportError> {
        let Some(mut own) = opened(keys, key)? else { return Ok(None) };
        let text = Text::read_own(&mut own, context)?;
        let word = own.text("format")?.unwrap_or_else(|| "iso".to_owned());
        let form = TimeForm::from_word(&word).map_err(|problem| own.fault("format", problem))?;
        let zone = zone(&mut own)?.unwrap_or_else(|| context.defaults.zone.clone());
        own.finish()?;
        Ok(Some(Self { text, form, zone }))
    }

    /// The instant of a line. `None`: there is none.
    pub fn instant_of(&self, line: Line) -> Result<Option<Instant>, Fault> {
        self.text.of(line)?.map(|text| self.form.instant(&text, &self.zone)).transpose()
    }

    /// The day of a line. `None`: there is none.
    pub fn date_of(&self, line: Line) -> Result<Option<ProtoDate>, Fault> {
        self.text.of(line)?.map(|text| self.form.date(&text, &self.zone)).transpose()
    }
}

/// The time zone that keys say.
pub fn zone(keys: &mut Keys) -> Result<Option<TimeZone>, ImportError> {
    let Some(name) = keys.text("time_zone")? else { return Ok(None) };
    let zone = TimeZone::get(&name);
    zone.map(Some).map_err(|_| keys.fault("time_zone", "must be an IANA time zone, such as `Europe/London`"))
}
