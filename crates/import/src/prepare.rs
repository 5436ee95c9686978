//! Reading files by a mapping: every line becomes facts, sorted on the way, or is counted under the reason why not.

use crate::combine::{FactKey, Place, Rows};
use crate::error::ImportError;
use crate::facts::Kind;
use crate::join::Joined;
use crate::mapping::columns::{Line, Places};
use crate::mapping::condition::all_hold;
use crate::mapping::{Mapping, Table};
use crate::record::Record;
use crate::reject::{NO_CUSTOMER, Problem, RejectFile, optional};
use crate::report::{Observing, Report, TableReport};
use crate::sort::{Sorted, Sorter};
use crate::source::{self, Ahead, Progress, Source};
use prost::Message;
use quintile_proto::ingestion::{Row, row};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Lines between two reports of progress.
const LINES_PER_REPORT: u64 = 10_000;

/// The files of an import.
#[derive(Clone, Debug)]
pub struct Input {
    /// The file of each of the mapping's tables.
    files: Vec<PathBuf>,
}

impl Input {
    /// The files of a mapping below a path: the file itself, or a folder that holds the files that the mapping names.
    pub fn find(path: &Path, mapping: &Mapping) -> Result<Self, ImportError> {
        if path.is_dir() {
            let file = |table: &Table| {
                let problem = "is a folder, and the mapping is about one file: name the file";
                table.file.as_ref().map(|file| path.join(file)).ok_or_else(|| ImportError::file(path, problem))
            };
            return Ok(Self { files: mapping.tables.iter().map(file).collect::<Result<_, _>>()? });
        }
        if mapping.tables.len() > 1 {
            let names: Vec<_> = mapping.tables.iter().filter_map(|table| table.file.as_deref()).collect();
            let problem = format!("the mapping reads {}: name the folder that holds them", names.join(", "));
            return Err(ImportError::file(path, problem));
        }
        Ok(Self { files: vec![path.to_owned()] })
    }

    /// All files that are read, those that are joined included.
    pub(crate) fn all_files(&self, mapping: &Mapping) -> Vec<PathBuf> {
        let with_joins = self.files.iter().zip(&mapping.tables).flat_map(|(file, table)| {
            let joined = table.joins.iter().map(|join| folder_of(file).join(&join.file));
            std::iter::once(file.clone()).chain(joined)
        });
        with_joins.collect()
    }

    /// The name of a table's file, as it is shown.
    pub fn name(&self, table: u16) -> String {
        let name = self.files.get(usize::from(table)).and_then(|file| file.file_name());
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// How files are read.
pub struct Preparing<'a> {
    /// Where sorted runs are written to.
    pub temporary: &'a Path,
    /// How much of the facts is sorted in memory, in bytes.
    pub memory_bytes: usize,
    /// Whether lines that are the same as others are counted.
    pub count_repeated: bool,
    /// Where rejected lines are written down.
    pub rejects: Option<&'a mut RejectFile>,
    /// Whether the first rejected line ends the import.
    pub strict: bool,
    /// What hears of the progress.
    pub progress: &'a mut dyn FnMut(Reading),
}

/// How far the reading is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The name of the file.
    pub file: String,
    /// Its lines so far.
    pub lines: u64,
    /// The part of it that is done.
    pub done: u64,
    /// The whole of it, in the same unit.
    pub total: u64,
}

/// Files that have been read.
pub struct Prepared {
    /// Their rows, sorted by customer.
    pub rows: Rows,
    /// What they are like; the part about facts comes with the rows.
    pub report: Report,
}

/// Reads files.
pub fn prepare(input: &Input, mapping: &Mapping, options: Preparing) -> Result<Prepared, ImportError> {
    let mut reader = Reader {
        facts: Sorter::new(options.temporary, options.memory_bytes),
        owners: Sorter::new(options.temporary, options.memory_bytes / 4),
        last_owner: [0; 24],
        key: Vec::new(),
        value: Vec::new(),
        options,
    };
    let mut report = Report::default();
    for (index, (file, table)) in input.files.iter().zip(&mapping.tables).enumerate() {
        report.tables.push(reader.read(file, table, index as u16)?);
    }
    report.ids_of_several_customers = several_owners(reader.owners.finish()?)?;
    Ok(Prepared { rows: Rows::new(reader.facts.finish()?), report })
}

/// Calls back with each of the wanted lines as it was. They come in the order of their places.
pub fn lines_again(
    input: &Input,
    mapping: &Mapping,
    mut wanted: impl Iterator<Item = Result<Place, ImportError>>,
    mut found: impl FnMut(Place, &[u8]) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut next = wanted.next().transpose()?;
    for (index, (file, table)) in input.files.iter().zip(&mapping.tables).enumerate() {
        let of_this = |place: &Place| usize::from(place.table) == index;
        if !next.as_ref().is_some_and(of_this) {
            continue;
        }
        let (mut source, mut record) = (source::open(file, &table.layout)?, Record::default());
        while source.read(&mut record)? {
            while let Some(place) = next.filter(|place| of_this(place) && place.line == record.number) {
                found(place, &record.content())?;
                next = wanted.next().transpose()?;
            }
        }
    }
    Ok(())
}

struct Reader<'a> {
    facts: Sorter,
    /// The customers of each event id that facts are combined by, as hashes.
    owners: Sorter,
    last_owner: [u8; 24],
    key: Vec<u8>,
    value: Vec<u8>,
    options: Preparing<'a>,
}

/// What becomes of a line.
enum Fate {
    Skipped(usize),
    Unused,
    Facts(String, Vec<(u16, Row)>),
}

impl Reader<'_> {
    fn read(&mut self, file: &Path, table: &Table, index: u16) -> Result<TableReport, ImportError> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut source = Ahead::begin(source::open(file, &table.layout)?);
        let mut columns = source.columns().to_vec();
        let width = columns.len();
        let joins = table.joins.iter().map(|join| Joined::load(join, &table.layout, folder_of(file), &mut columns));
        let joins = joins.collect::<Result<Vec<_>, _>>()?;
        let places = table.columns.places(&columns)?;
        let mut observing = Observing::new(name.clone(), width, table.skips.len());
        let mut repeated = self.options.count_repeated.then(|| Sorter::new(self.options.temporary, 64 * 1024 * 1024));
        let mut record = Record::default();
        while source.read(&mut record)? {
            observing.report.lines += 1;
            if observing.report.lines.is_multiple_of(LINES_PER_REPORT) {
                let Progress { done, total } = source.progress();
                (self.options.progress)(Reading { file: name.clone(), lines: observing.report.lines, done, total });
            }
            if let Some(repeated) = &mut repeated {
                repeated.push(&Sha256::digest(record.content())[..16], &[])?;
            }
            let place = Place { table: index, line: record.number };
            match fate_of(table, &joins, &places, &mut record, width, &mut observing) {
                Ok(Fate::Skipped(skip)) => observing.skipped(skip),
                Ok(Fate::Unused) => observing.report.unused += 1,
                Ok(Fate::Facts(customer, facts)) => {
                    for (fact, row) in facts {
                        observing.used(&row);
                        self.take(table, place, &customer, fact, &row)?;
                    }
                }
                Err(problem) => {
                    observing.rejected(place, problem);
                    self.reject(&name, place, problem, &record)?;
                }
            }
        }
        observing.report.repeated_lines = repeated.map(|repeated| repeats(repeated.finish()?)).transpose()?;
        Ok(observing.finish(columns[..width].iter(), table.skips.iter().map(|skip| &skip.name)))
    }

    fn take(&mut self, table: &Table, place: Place, customer: &str, fact: u16, row: &Row) -> Result<(), ImportError> {
        let Some(kind) = Kind::of(row) else { return Ok(()) };
        let of = &table.facts[usize::from(fact)];
        let combined_by = match &row.fact {
            Some(row::Fact::Order(order)) if of.combine => Some(order.event_id.as_str()),
            Some(row::Fact::Refund(refund)) if of.combine => Some(refund.event_id.as_str()),
            _ => None,
        };
        let (source, customer) = if of.is_about_a_customer() { (table.source.as_str(), customer) } else { ("", "") };
        FactKey { source, customer, kind, combined_by, place, fact }.write(&mut self.key);
        self.value.clear();
        // A vector grows as it needs to.
        row.encode(&mut self.value).map_err(|_| ImportError::Damaged)?;
        self.facts.push(&self.key, &self.value)?;
        combined_by.map_or(Ok(()), |event_id| self.own(kind, source, event_id, customer))
    }

    /// Notes whose an event id is.
    fn own(&mut self, kind: Kind, source: &str, event_id: &str, customer: &str) -> Result<(), ImportError> {
        let mut owner = [0; 24];
        let id = Sha256::new_with_prefix([kind as u8]).chain_update(source).chain_update([0]).chain_update(event_id);
        owner[..16].copy_from_slice(&id.finalize()[..16]);
        owner[16..].copy_from_slice(&Sha256::digest(customer)[..8]);
        // The lines of an order are mostly neighbours.
        if owner != self.last_owner {
            self.last_owner = owner;
            self.owners.push(&owner, &[])?;
        }
        Ok(())
    }

    fn reject(&mut self, file: &str, place: Place, problem: Problem, record: &Record) -> Result<(), ImportError> {
        let Problem { field, message } = problem;
        if let Some(rejects) = &mut self.options.rejects {
            rejects.write(file, place.line, field, message, &record.content())?;
        }
        if self.options.strict {
            return Err(ImportError::Rejected { file: file.to_owned(), line: place.line, field, message });
        }
        Ok(())
    }
}

/// What becomes of a line, of which the first fields are the file's and the others are joined.
fn fate_of(
    table: &Table,
    joins: &[Joined],
    places: &Places,
    record: &mut Record,
    width: usize,
    observing: &mut Observing,
) -> Result<Fate, Problem> {
    if let Some(fault) = record.fault {
        return Err(Problem::new("line", fault));
    }
    let is_null = |text: Option<&str>| text.is_none_or(|text| table.nulls.iter().any(|null| null == text.trim()));
    (0..width).filter(|column| is_null(record.get(*column))).for_each(|column| observing.null(column));
    for join in joins {
        join.extend(record);
    }
    let line = Line { record, places, nulls: &table.nulls };
    // Before the filters, so that all lines without a customer are counted as such.
    let customer = match &table.customer_id {
        None => String::new(),
        Some(id) => optional("customer_id", id.of(line))?.ok_or(Problem::new("customer_id", NO_CUSTOMER))?.into(),
    };
    for (index, skip) in table.skips.iter().enumerate() {
        if all_hold(&skip.when, line)? {
            return Ok(Fate::Skipped(index));
        }
    }
    let mut facts = Vec::with_capacity(table.facts.len());
    for (index, fact) in table.facts.iter().enumerate() {
        if all_hold(&fact.when, line)? {
            facts.push((index as u16, fact.row(line, &table.source, &customer)?));
        }
    }
    Ok(if facts.is_empty() { Fate::Unused } else { Fate::Facts(customer, facts) })
}

/// How many of sorted entries are the same as the one before.
fn repeats(sorted: Sorted) -> Result<u64, ImportError> {
    let (mut repeats, mut last) = (0, None);
    for entry in sorted {
        let key = Some(entry?.key);
        repeats += u64::from(key == last);
        last = key;
    }
    Ok(repeats)
}

/// How many event ids have more than one customer.
fn several_owners(owners: Sorted) -> Result<u64, ImportError> {
    let (mut several, mut last, mut counted) = (0, Vec::new(), false);
    for entry in owners {
        let key = entry?.key;
        let same_id = last.get(..16) == key.get(..16);
        if same_id && last != key && !counted {
            (several, counted) = (several + 1, true);
        }
        counted &= same_id;
        last = key;
    }
    Ok(several)
}
