//! Mappings: TOML that says how a source's files become facts. `IMPORTING.md` is the reference of its keys.

mod bundled;
pub(crate) mod columns;
pub(crate) mod condition;
pub(crate) mod keys;
pub(crate) mod value;

pub use bundled::bundled;

use crate::error::ImportError;
use crate::facts::{self, Fact};
use crate::values::NumberForm;
use columns::Columns;
use condition::Skip;
use jiff::tz::TimeZone;
use keys::Keys;
use quintile_domain::money::Currency;
use value::{Context, Defaults, Text, number_form, zone};

/// How files become facts.
#[derive(Debug)]
pub struct Mapping {
    /// Its text, of which the stream's name is made too.
    pub(crate) text: String,
    /// The tables, in the order in which they are read.
    pub(crate) tables: Vec<Table>,
}

/// How the lines of one file become facts.
#[derive(Debug)]
pub(crate) struct Table {
    /// The file's name in its folder. `None`: the mapping is about a single file.
    pub file: Option<String>,
    /// How the file is written.
    pub layout: Layout,
    /// The source of the customers' identities.
    pub source: String,
    /// The texts that mean that there is no value.
    pub nulls: Vec<String>,
    /// What the line's customer is known by.
    pub customer_id: Option<Text>,
    /// What is added to each line from other files.
    pub joins: Vec<Join>,
    /// Lines that are left out.
    pub skips: Vec<Skip>,
    /// What comes out of a line.
    pub facts: Vec<Fact>,
    /// The columns that all of this names.
    pub columns: Columns,
}

/// How a file is written.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `None`: as its name's end says.
    pub format: Option<Format>,
    /// What stands between the fields of CSV.
    pub delimiter: u8,
    /// The names of the columns. Empty: the first line has them.
    pub columns: Vec<String>,
    /// Lines at the beginning that are not read.
    pub skip_lines: u64,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fields apart by a delimiter, quoted where they hold it.
    Csv,
    /// Fields apart by any number of blanks.
    Blanks,
    /// Apache Parquet.
    Parquet,
}

/// Columns of another file, added to each line.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// The other file's name, in the same folder.
    pub file: String,
    /// The line's column that is looked up.
    pub on: String,
    /// The other file's column that it is looked up in.
    pub key: String,
    /// The other file's columns that are added.
    pub columns: Vec<String>,
    /// The path of the join in the mapping.
    pub path: String,
}

impl Mapping {
    /// Reads a mapping. An error names the key at fault.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        let mut keys = Keys::new(String::new(), text.parse()?);
        let source = keys.text("source")?;
        let defaults = Defaults {
            numbers: number_form(&mut keys, NumberForm { decimal: '.', thousands: None })?,
            zone: zone(&mut keys)?.unwrap_or(TimeZone::UTC),
            currency: currency(&mut keys)?,
        };
        let nulls = keys.texts("null")?.unwrap_or_else(|| vec![String::new()]);
        let tables = keys.tables("table")?;
        keys.finish()?;
        if tables.is_empty() {
            return Err(ImportError::mapping("table", "is needed: write `[[table]]`"));
        }
        let read = |keys| Table::read(keys, source.as_deref(), &defaults, &nulls);
        let tables: Vec<_> = tables.into_iter().map(read).collect::<Result<_, _>>()?;
        if let (Some(index), true) = (tables.iter().position(|table| table.file.is_none()), tables.len() > 1) {
            return Err(ImportError::mapping(
                format!("table[{index}].file"),
                "is needed where there are several tables",
            ));
        }
        Ok(Self { text: text.to_owned(), tables })
    }
}

impl Table {
    fn read(mut keys: Keys, source: Option<&str>, defaults: &Defaults, nulls: &[String]) -> Result<Self, ImportError> {
        let own_defaults = Defaults {
            numbers: number_form(&mut keys, defaults.numbers)?,
            zone: zone(&mut keys)?.unwrap_or_else(|| defaults.zone.clone()),
            currency: currency(&mut keys)?.or_else(|| defaults.currency.clone()),
        };
        let mut columns = Columns::default();
        let mut context = Context { defaults: &own_defaults, columns: &mut columns };
        let source = keys.text("source")?.or_else(|| source.map(str::to_owned));
        let customer_id = Text::read(&mut keys, "customer_id", &mut context)?;
        let skips = keys.tables("skip")?.into_iter().map(|keys| Skip::read(keys, &mut context));
        let skips: Vec<_> = skips.collect::<Result<_, _>>()?;
        let facts = facts::read_all(&mut keys, &mut context)?;
        if facts.is_empty() {
            return Err(keys.fault("order", "is needed, or a fact of another kind: write `[[table.order]]`"));
        }
        if customer_id.is_none() && facts.iter().any(Fact::is_about_a_customer) {
            return Err(keys.fault("customer_id", "is needed: what a line's customer is known by"));
        }
        let table = Self {
            file: keys.text("file")?,
            layout: Layout::read(&mut keys)?,
            source: source.ok_or_else(|| keys.fault("source", "is needed, here or for the whole mapping"))?,
            nulls: keys.texts("null")?.unwrap_or_else(|| nulls.to_vec()),
            customer_id,
            joins: keys.tables("join")?.into_iter().map(Join::read).collect::<Result<_, _>>()?,
            skips,
            facts,
            columns,
        };
        keys.finish()?;
        Ok(table)
    }
}

impl Layout {
    fn read(keys: &mut Keys) -> Result<Self, ImportError> {
        let format = match keys.text("format")?.as_deref() {
            None => None,
            Some("csv") => Some(Format::Csv),
            Some("blanks") => Some(Format::Blanks),
            Some("parquet") => Some(Format::Parquet),
            Some(_) => return Err(keys.fault("format", "must be `csv`, `blanks` or `parquet`")),
        };
        let delimiter = keys.character("delimiter")?.unwrap_or(',');
        let delimiter = u8::try_from(delimiter).ok().filter(|byte| byte.is_ascii() && !b"\"\r\n".contains(byte));
        Ok(Self {
            format,
            delimiter: delimiter.ok_or_else(|| keys.fault("delimiter", "must be an ASCII character, and no quote"))?,
            columns: keys.texts("columns")?.unwrap_or_default(),
            skip_lines: keys.count("skip_lines")?,
        })
    }
}

impl Join {
    fn read(mut keys: Keys) -> Result<Self, ImportError> {
        let (file, on) = (keys.text("file")?, keys.text("on")?);
        let (key, columns) = (keys.text("key")?, keys.texts("columns")?);
        let on = facts::needed(&keys, "on", on)?;
        let join = Self {
            file: facts::needed(&keys, "file", file)?,
            key: key.unwrap_or_else(|| on.clone()),
            on,
            columns: facts::needed(&keys, "columns", columns)?,
            path: keys.at(""),
        };
        keys.finish()?;
        Ok(join)
    }
}

fn currency(keys: &mut Keys) -> Result<Option<String>, ImportError> {
    let Some(code) = keys.text("currency")? else { return Ok(None) };
    match Currency::from_code(&code) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(keys.fault("currency", "must be an ISO 4217 code with minor units, such as `EUR`")),
    }
}

#[cfg(test)]
mod tests;
