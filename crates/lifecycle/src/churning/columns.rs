//! Values of attributes as they are read, one column for each: numbers as long as all of them read as such, otherwise categories.

use super::labels::number_of;
use crate::churn::{Feature, Kind, MAX_TABLE_LEVELS, Table, Value};
use std::collections::HashMap;

/// The code of a value that is not known.
const MISSING: u32 = u32::MAX;

/// A column. It has 12 bytes for each row at most.
#[derive(Debug)]
pub struct Column {
    name: String,
    /// The values as numbers; what is not known is none. `None`: a value is no number.
    numbers: Option<Vec<f64>>,
    /// The values as levels. `None`: there are too many for a category.
    levels: Option<Levels>,
}

#[derive(Debug, Default)]
struct Levels {
    names: Vec<String>,
    places: HashMap<String, u32>,
    codes: Vec<u32>,
}

impl Column {
    /// Of a feature, without rows.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), numbers: Some(Vec::new()), levels: Some(Levels::default()) }
    }

    /// Adds a row.
    pub fn push(&mut self, text: Option<&str>) {
        if let Some(numbers) = &mut self.numbers {
            match text.map(number_of) {
                None => numbers.push(f64::NAN),
                Some(Some(number)) => numbers.push(number),
                Some(None) => self.numbers = None,
            }
        }
        if self.levels.as_mut().is_some_and(|levels| !levels.push(text)) {
            self.levels = None;
        }
    }

    /// What its values are. `None`: neither numbers nor of so few levels that it is a category.
    fn kind(&self) -> Option<Kind> {
        match (&self.numbers, &self.levels) {
            (Some(_), _) => Some(Kind::Number),
            (None, Some(_)) => Some(Kind::Category),
            (None, None) => None,
        }
    }

    fn value(&self, row: usize) -> Value<'_> {
        if let Some(numbers) = &self.numbers {
            let number = numbers.get(row).copied().filter(|number| !number.is_nan());
            return number.map_or(Value::Missing, Value::Number);
        }
        let level = self.levels.as_ref().and_then(|levels| levels.names.get(*levels.codes.get(row)? as usize));
        level.map_or(Value::Missing, |level| Value::Category(level))
    }
}

impl Levels {
    /// Adds a row. Returns whether there is room for its level.
    fn push(&mut self, text: Option<&str>) -> bool {
        let code = match text {
            None => MISSING,
            Some(text) => match self.places.get(text) {
                Some(code) => *code,
                None if self.names.len() >= MAX_TABLE_LEVELS => return false,
                None => {
                    let code = self.names.len() as u32;
                    self.names.push(text.to_owned());
                    self.places.insert(text.to_owned(), code);
                    code
                }
            },
        };
        self.codes.push(code);
        true
    }
}

/// Why columns make no table.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The feature at this place is neither a number nor a category.
    Name(usize),
    /// The table takes no more.
    Table(crate::churn::ChurnError),
}

/// The table of so many rows of columns.
pub fn table(columns: &[Column], rows: usize) -> Result<Table, Unfit> {
    let mut features = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        features.push(Feature { name: column.name.clone(), kind: column.kind().ok_or(Unfit::Name(place))? });
    }
    let mut table = Table::new(features).map_err(Unfit::Table)?;
    for row in 0..rows {
        let values: Vec<Value<'_>> = columns.iter().map(|column| column.value(row)).collect();
        table.push(&values).map_err(Unfit::Table)?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column<'t>(texts: impl IntoIterator<Item = Option<&'t str>>) -> Column {
        let mut column = Column::new("attributes/a");
        texts.into_iter().for_each(|text| column.push(text));
        column
    }

    #[test]
    fn one_value_that_is_no_number_makes_a_category_of_all() {
        let numbers = column([Some("1"), None, Some("02")]);
        assert_eq!(numbers.kind(), Some(Kind::Number));
        assert_eq!([0, 1, 2].map(|row| numbers.value(row)), [Value::Number(1.0), Value::Missing, Value::Number(2.0)]);
        let category = column([Some("1"), None, Some("02"), Some("many")]);
        assert_eq!(category.kind(), Some(Kind::Category));
        let expected = [Value::Category("1"), Value::Missing, Value::Category("02"), Value::Category("many")];
        assert_eq!([0, 1, 2, 3].map(|row| category.value(row)), expected);
        assert_eq!(column([None, None]).kind(), Some(Kind::Number));
    }

    #[test]
    fn what_has_too_many_values_is_a_number_or_nothing() {
        let texts: Vec<String> = (0..=MAX_TABLE_LEVELS).map(|number| number.to_string()).collect();
        let mut many = column(texts.iter().map(|text| Some(text.as_str())));
        assert_eq!(many.kind(), Some(Kind::Number));
        let table_of = |column: Column| table(&[column], 1).map(|table| table.rows());
        many.push(Some("x"));
        assert_eq!(many.kind(), None);
        assert_eq!(table_of(many), Err(Unfit::Name(0)));
        assert_eq!(table_of(column([Some("x")])), Ok(1));
    }
}
