//! Joins: columns of other files, looked up in memory and added to each line.

use crate::error::ImportError;
use crate::mapping::{Join, Layout};
use crate::record::Record;
use crate::source;
use quintile_domain::names::nearest;
use std::collections::HashMap;
use std::path::Path;

/// The most bytes of all joined columns together.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// What an entry costs besides its text, roughly.
const ENTRY_BYTES: usize = 64;

/// What is added to a line.
type Fields = Box<[Option<Box<str>>]>;

/// The joined file, in memory.
pub struct Joined {
    /// The field of a line that is looked up.
    on: usize,
    width: usize,
    rows: HashMap<Box<str>, Fields>,
}

impl Joined {
    /// Reads the file of a join. Of lines with the same key the first counts. `columns` are those of a line; the join's are added.
    pub fn load(join: &Join, layout: &Layout, folder: &Path, columns: &mut Vec<String>) -> Result<Self, ImportError> {
        let file = folder.join(&join.file);
        let mut source = source::open(&file, layout)?;
        let on = find(&join.on, columns, &format!("{}on", join.path))?;
        let of_file = source.columns().to_vec();
        let key = find(&join.key, &of_file, &format!("{}key", join.path))?;
        let at = format!("{}columns", join.path);
        let wanted = join.columns.iter().map(|name| find(name, &of_file, &at)).collect::<Result<Vec<_>, _>>()?;
        if let Some(twice) = join.columns.iter().find(|name| columns.contains(name)) {
            return Err(ImportError::mapping(at, format!("adds `{twice}`, which is there already")));
        }
        let (mut rows, mut bytes, mut record) = (HashMap::new(), 0, Record::default());
        while source.read(&mut record)? {
            // A line that is broken joins nothing.
            let (None, Some(key)) = (record.fault, record.get(key)) else { continue };
            let values: Fields = wanted.iter().map(|place| record.get(*place).map(Box::from)).collect();
            let value_bytes = |value: &Option<Box<str>>| value.as_ref().map_or(0, |text| text.len()) + 16;
            bytes += key.len() + ENTRY_BYTES + values.iter().map(value_bytes).sum::<usize>();
            if bytes > MAX_BYTES {
                return Err(ImportError::file(&file, "is too large to be joined: at most 256 MiB are held in memory"));
            }
            rows.entry(Box::from(key.trim())).or_insert(values);
        }
        columns.extend(join.columns.iter().cloned());
        Ok(Self { on, width: wanted.len(), rows })
    }

    /// Adds the joined fields to a line; none of them has a value where nothing is found.
    pub fn extend(&self, record: &mut Record) {
        let found = record.get(self.on).and_then(|key| self.rows.get(key.trim()));
        match found {
            Some(values) => values.iter().for_each(|value| record.push(value.as_deref())),
            None => (0..self.width).for_each(|_| record.push(None)),
        }
    }
}

fn find(name: &str, columns: &[String], path: &str) -> Result<usize, ImportError> {
    columns.iter().position(|column| column == name).ok_or_else(|| {
        let problem = match nearest(name, columns.iter().map(String::as_str)) {
            Some(known) => format!("names the column `{name}`, which is not there; did you mean `{known}`?"),
            None => format!("names the column `{name}`; there are {}", columns.join(", ")),
        };
        ImportError::mapping(path, problem)
    })
}
