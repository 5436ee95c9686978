//! The columns that a mapping names, and where they are in a file.

use crate::error::ImportError;
use crate::record::Record;
use quintile_domain::names::nearest;

/// A column that a mapping names, by its place in [`Columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column(usize);

/// The columns that the keys of one table name.
#[derive(Debug, Default)]
pub struct Columns {
    /// Each name, with the first key that names it.
    names: Vec<(String, String)>,
}

/// Where each of [`Columns`] is in the lines of an open file.
#[derive(Debug)]
pub struct Places(Vec<usize>);

impl Columns {
    /// The column of a name, which the key at `path` gives.
    pub fn named(&mut self, name: &str, path: &str) -> Column {
        let known = self.names.iter().position(|(known, _)| known == name);
        Column(known.unwrap_or_else(|| {
            self.names.push((name.to_owned(), path.to_owned()));
            self.names.len() - 1
        }))
    }

    /// Finds the columns among those of a file.
    pub fn places(&self, of_file: &[String]) -> Result<Places, ImportError> {
        let place = |(name, path): &(String, String)| {
            of_file.iter().position(|column| column == name).ok_or_else(|| {
                let problem = match nearest(name, of_file.iter().map(String::as_str)) {
                    Some(known) => format!("names the column `{name}`, which is not there; did you mean `{known}`?"),
                    None => format!("names the column `{name}`; there are {}", of_file.join(", ")),
                };
                ImportError::mapping(path, problem)
            })
        };
        self.names.iter().map(place).collect::<Result<_, _>>().map(Places)
    }
}

/// A line as a mapping sees it.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// The line.
    pub record: &'a Record,
    /// Where its columns are.
    pub places: &'a Places,
    /// The texts that mean that there is no value.
    pub nulls: &'a [String],
}

impl<'a> Line<'a> {
    /// The text of a column without the blanks around it. `None`: there is no value.
    pub fn get(&self, column: Column) -> Option<&'a str> {
        let place = *self.places.0.get(column.0)?;
        let text = self.record.get(place)?.trim();
        if self.nulls.iter().any(|null| null == text) { None } else { Some(text) }
    }
}
