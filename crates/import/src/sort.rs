//! Sorting more than fits into memory: sorted runs in temporary files, merged as they are read.
//!
//! The files have no name once they are made, so that nothing is left of them, whatever becomes of the process.

use crate::error::ImportError;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// The most runs that are merged at once; each needs a file and a buffer.
const MAX_RUNS: usize = 128;
/// The buffer of a run that is read.
const RUN_BUFFER_BYTES: usize = 128 * 1024;

/// Takes entries in any order.
pub struct Sorter {
    directory: PathBuf,
    memory_bytes: usize,
    buffer: Buffer,
    /// The run that is sorted and written while the next entries are taken, and its buffer.
    writing: Option<JoinHandle<io::Result<(File, Buffer)>>>,
    runs: Vec<File>,
    entries: u64,
}

/// Entries one behind the other, and where each is.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    key_end: usize,
    end: usize,
    /// Of the key, once it is sorted.
    rank: u64,
}

/// An entry: sorted by its key, byte by byte.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// What it is sorted by.
    pub key: Vec<u8>,
    /// What goes with it.
    pub value: Vec<u8>,
}

/// Gives entries in the order of their keys.
pub struct Sorted {
    left: Left,
    entries: u64,
}

enum Left {
    Memory { buffer: Buffer, next: usize },
    Runs(Merge),
}

/// The next key of a run, the run, and the value.
type Head = (Vec<u8>, usize, Vec<u8>);

struct Merge {
    runs: Vec<BufReader<File>>,
    // Equal keys come in the order of their runs, which is that of their arrival.
    heads: BinaryHeap<Reverse<Head>>,
}

impl Sorter {
    /// A sorter that holds about so many bytes in memory, and the rest in a directory.
    pub fn new(directory: &Path, memory_bytes: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            memory_bytes,
            buffer: Buffer::default(),
            writing: None,
            runs: Vec::new(),
            entries: 0,
        }
    }

    /// Takes an entry.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        self.buffer.push(key, value);
        self.entries += 1;
        // The other half is for the run that is being written.
        if self.buffer.memory_bytes() >= self.memory_bytes / 2 { self.spill() } else { Ok(()) }
    }

    /// Whether nothing was taken.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Ends the taking.
    pub fn finish(mut self) -> Result<Sorted, ImportError> {
        let entries = self.entries;
        if self.runs.is_empty() && self.writing.is_none() {
            self.buffer.sort();
            return Ok(Sorted { left: Left::Memory { buffer: self.buffer, next: 0 }, entries });
        }
        self.spill()?;
        self.written()?;
        let merge = Merge::new(self.runs).map_err(ImportError::Temporary)?;
        Ok(Sorted { left: Left::Runs(merge), entries })
    }

    fn spill(&mut self) -> Result<(), ImportError> {
        if self.buffer.spans.is_empty() {
            return Ok(());
        }
        let empty = self.written()?;
        let mut full = std::mem::replace(&mut self.buffer, empty);
        let directory = self.directory.clone();
        self.writing = Some(std::thread::spawn(move || {
            full.sort();
            let run = write_run(&directory, full.spans.iter().map(|span| Ok(full.entry(*span))))?;
            full.clear();
            Ok((run, full))
        }));
        Ok(())
    }

    /// Waits for the run that is being written, and gives its buffer back.
    fn written(&mut self) -> Result<Buffer, ImportError> {
        let Some(writing) = self.writing.take() else { return Ok(Buffer::default()) };
        let written = writing.join().unwrap_or_else(|_| Err(io::Error::other("sorting panicked")));
        let (run, buffer) = written.map_err(ImportError::Temporary)?;
        self.runs.push(run);
        if self.runs.len() == MAX_RUNS {
            let merged = self.merged().map_err(ImportError::Temporary)?;
            self.runs.push(merged);
        }
        Ok(buffer)
    }

    fn merged(&mut self) -> io::Result<File> {
        let mut merge = Merge::new(std::mem::take(&mut self.runs))?;
        let mut entries = std::iter::from_fn(|| merge.next().transpose());
        write_run_of(&self.directory, &mut entries)
    }
}

/// Writes sorted entries to a file without a name, and goes back to its beginning.
fn write_run<'a>(
    directory: &Path,
    entries: impl Iterator<Item = io::Result<(&'a [u8], &'a [u8])>>,
) -> io::Result<File> {
    let mut writer = BufWriter::with_capacity(RUN_BUFFER_BYTES, tempfile::tempfile_in(directory)?);
    for entry in entries {
        let (key, value) = entry?;
        write_entry(&mut writer, key, value)?;
    }
    rewound(writer)
}

fn write_run_of(directory: &Path, entries: &mut dyn Iterator<Item = io::Result<Entry>>) -> io::Result<File> {
    let mut writer = BufWriter::with_capacity(RUN_BUFFER_BYTES, tempfile::tempfile_in(directory)?);
    for entry in entries {
        let entry = entry?;
        write_entry(&mut writer, &entry.key, &entry.value)?;
    }
    rewound(writer)
}

fn write_entry(writer: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    writer.write_all(&(key.len() as u32).to_le_bytes())?;
    writer.write_all(&(value.len() as u32).to_le_bytes())?;
    writer.write_all(key)?;
    writer.write_all(value)
}

fn rewound(writer: BufWriter<File>) -> io::Result<File> {
    let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

impl Buffer {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.spans.push(Span { start, key_end, end: self.bytes.len(), rank: 0 });
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    fn sort(&mut self) {
        let shared = self.shared_prefix();
        let bytes = &self.bytes;
        let key = |span: &Span| &bytes[span.start + shared..span.key_end];
        // Most keys differ in the bytes behind what all of them begin with: those are compared as numbers, without a look at the keys.
        self.spans.iter_mut().for_each(|span| span.rank = rank(key(span)));
        self.spans.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| key(a).cmp(key(b))));
    }

    /// How many bytes all keys begin with.
    fn shared_prefix(&self) -> usize {
        let keys = || self.spans.iter().map(|span| &self.bytes[span.start..span.key_end]);
        let Some(first) = keys().next() else { return 0 };
        let shared = |most: usize, key: &[u8]| first[..most].iter().zip(key).take_while(|(a, b)| a == b).count();
        keys().fold(first.len(), shared)
    }

    fn entry(&self, span: Span) -> (&[u8], &[u8]) {
        (&self.bytes[span.start..span.key_end], &self.bytes[span.key_end..span.end])
    }
}

/// The first bytes of a key as a number. Where two numbers differ, they lie as the keys do; a byte that is not there is as a 0.
fn rank(key: &[u8]) -> u64 {
    let mut bytes = [0; size_of::<u64>()];
    let length = key.len().min(bytes.len());
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

impl Merge {
    fn new(runs: Vec<File>) -> io::Result<Self> {
        let runs = runs.into_iter().map(|run| BufReader::with_capacity(RUN_BUFFER_BYTES, run)).collect();
        let mut merge = Self { runs, heads: BinaryHeap::new() };
        for (run, reader) in merge.runs.iter_mut().enumerate() {
            merge.heads.extend(next_of(reader, run)?.map(Reverse));
        }
        Ok(merge)
    }

    fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(mut least) = self.heads.peek_mut() else { return Ok(None) };
        let run = least.0.1;
        let Reverse((key, _, value)) = match next_of(&mut self.runs[run], run)? {
            Some(next) => std::mem::replace(&mut *least, Reverse(next)),
            None => PeekMut::pop(least),
        };
        Ok(Some(Entry { key, value }))
    }
}

/// Reads the next entry of a run.
fn next_of(reader: &mut BufReader<File>, run: usize) -> io::Result<Option<Head>> {
    let mut lengths = [0; 8];
    match reader.read(&mut lengths[..1])? {
        0 => return Ok(None),
        _ => reader.read_exact(&mut lengths[1..])?,
    }
    let length = |index| u32::from_le_bytes([0, 1, 2, 3].map(|byte: usize| lengths[index + byte])) as usize;
    let (mut key, mut value) = (vec![0; length(0)], vec![0; length(4)]);
    reader.read_exact(&mut key)?;
    reader.read_exact(&mut value)?;
    Ok(Some((key, run, value)))
}

impl Sorted {
    /// How many entries there were at first.
    pub const fn count_at_first(&self) -> u64 {
        self.entries
    }
}

impl Iterator for Sorted {
    type Item = Result<Entry, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.left {
            Left::Memory { buffer, next } => {
                let (key, value) = buffer.entry(*buffer.spans.get(*next)?);
                *next += 1;
                Some(Ok(Entry { key: key.to_vec(), value: value.to_vec() }))
            }
            Left::Runs(merge) => merge.next().map_err(ImportError::Temporary).transpose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look shuffled: 7919 has no factor in common with their count.
    fn shuffled(count: u32) -> Vec<u32> {
        (0..count).map(|index| (u64::from(index) * 7919 % u64::from(count)) as u32).collect()
    }

    fn sorted(numbers: &[u32], memory_bytes: usize) -> Vec<(u32, Vec<u8>)> {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(directory.path(), memory_bytes);
        for (place, number) in numbers.iter().enumerate() {
            sorter.push(&number.to_be_bytes(), &place.to_be_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "a temporary file has a name");
        let key = |entry: &Entry| u32::from_be_bytes(entry.key.as_slice().try_into().unwrap());
        sorter.finish().unwrap().map(|entry| entry.unwrap()).map(|entry| (key(&entry), entry.value)).collect()
    }

    #[test]
    fn entries_come_sorted_whatever_fits_into_memory() {
        let numbers = shuffled(10_000);
        let expected: Vec<u32> = (0..10_000).collect();
        // All of it, some runs, and so many runs that they are merged in between.
        for memory_bytes in [usize::MAX, 64 * 1024, 256] {
            let found = sorted(&numbers, memory_bytes);
            assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), expected, "{memory_bytes}");
            for (number, place) in found {
                assert_eq!(numbers[usize::from_be_bytes(place.try_into().unwrap())], number);
            }
        }
    }

    #[test]
    fn keys_lie_byte_by_byte_whatever_they_begin_with() {
        let keys: [&[u8]; 9] = [
            b"shop\0b",
            b"shop\0",
            b"shop",
            b"shop\0b\0",
            b"shop\0a-long-one-1",
            b"shop\0a-long-one-0",
            b"s",
            b"",
            b"shop\xff",
        ];
        for count in 1..=keys.len() {
            let mut sorter = Sorter::new(Path::new(""), usize::MAX);
            keys[..count].iter().for_each(|key| sorter.push(key, &[]).unwrap());
            let found: Vec<_> = sorter.finish().unwrap().map(|entry| entry.unwrap().key).collect();
            let mut expected = keys[..count].to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn entries_with_the_same_key_come_in_the_order_of_their_arrival() {
        let places: Vec<_> = (0_usize..1_000).map(|place| place.to_be_bytes().to_vec()).collect();
        for memory_bytes in [usize::MAX, 1_024] {
            let found = sorted(&[7; 1_000], memory_bytes);
            assert_eq!(found.into_iter().map(|(_, place)| place).collect::<Vec<_>>(), places, "{memory_bytes}");
        }
    }

    #[test]
    fn nothing_is_sorted_into_nothing() {
        assert_eq!(sorted(&[], 16), []);
    }
}
