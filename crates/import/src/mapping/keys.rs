//! The keys of a TOML table, taken one by one: what nobody asks for is refused, with the nearest name that is known.

use crate::error::ImportError;
use quintile_domain::names::nearest;
use toml::{Table, Value};

/// A table of a mapping that is being read.
pub struct Keys {
    path: String,
    entries: Table,
    known: Vec<&'static str>,
}

impl Keys {
    /// The keys of a table at a path. The path of the whole mapping is empty.
    pub fn new(path: String, entries: Table) -> Self {
        Self { path, entries, known: Vec::new() }
    }

    /// The path of a key.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A fault of a key.
    pub fn fault(&self, key: &str, problem: impl Into<String>) -> ImportError {
        ImportError::mapping(self.at(key), problem)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a key, which stays.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// Takes a value out.
    pub fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// Takes a text out.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, ImportError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.fault(key, "must be a text")),
        }
    }

    /// Takes a text out that must be one character.
    pub fn character(&mut self, key: &'static str) -> Result<Option<char>, ImportError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(Some(character)),
            _ => Err(self.fault(key, "must be one character")),
        }
    }

    /// Takes a list of texts out, or a text by itself.
    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, ImportError> {
        let list = match self.value(key) {
            None => return Ok(None),
            Some(Value::String(text)) => return Ok(Some(vec![text])),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.fault(key, "must be a list of texts")),
        };
        let texts = list.into_iter().map(|value| match value {
            Value::String(text) => Ok(text),
            _ => Err(self.fault(key, "must be a list of texts")),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    /// Takes a yes or no out; no if it is not there.
    pub fn flag(&mut self, key: &'static str) -> Result<bool, ImportError> {
        match self.value(key) {
            None => Ok(false),
            Some(Value::Boolean(flag)) => Ok(flag),
            Some(_) => Err(self.fault(key, "must be true or false")),
        }
    }

    /// Takes a whole number out that is not negative; 0 if it is not there.
    pub fn count(&mut self, key: &'static str) -> Result<u64, ImportError> {
        match self.value(key) {
            None => Ok(0),
            Some(Value::Integer(count)) if count >= 0 => Ok(count.unsigned_abs()),
            Some(_) => Err(self.fault(key, "must be a whole number, 0 or more")),
        }
    }

    /// Takes a table out; an empty one if it is not there.
    pub fn table(&mut self, key: &'static str) -> Result<Self, ImportError> {
        match self.value(key) {
            None => Ok(Self::new(self.at(key), Table::new())),
            Some(Value::Table(table)) => Ok(Self::new(self.at(key), table)),
            Some(_) => Err(self.fault(key, "must be a table")),
        }
    }

    /// Takes a list of tables out; an empty one if it is not there.
    pub fn tables(&mut self, key: &'static str) -> Result<Vec<Self>, ImportError> {
        let list = match self.value(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.fault(key, format!("must be a list of tables: write `[[{}]]`", self.at(key)))),
        };
        let tables = list.into_iter().enumerate().map(|(index, value)| match value {
            Value::Table(table) => Ok(Self::new(format!("{}[{index}]", self.at(key)), table)),
            _ => Err(self.fault(key, "must be a list of tables")),
        });
        tables.collect()
    }

    /// Takes everything that is left, for tables whose keys are names of their own.
    pub fn rest(&mut self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.entries).into_iter().collect()
    }

    /// Refuses what is left.
    pub fn finish(self) -> Result<(), ImportError> {
        let Some(unknown) = self.entries.keys().next() else { return Ok(()) };
        let problem = match nearest(unknown, self.known.iter().copied()) {
            Some(known) => format!("is not a key of mappings; did you mean `{known}`?"),
            None => format!("is not a key of mappings; there are {}", self.known.join(", ")),
        };
        Err(self.fault(unknown, problem))
    }
}
