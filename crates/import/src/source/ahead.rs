//! Reading on a thread of its own, ahead of whoever makes facts of the lines.

use super::{Progress, Source};
use crate::error::ImportError;
use crate::record::Record;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// The most records that are handed over at once.
const RECORDS: usize = 1_000;
/// How many bytes of text end a list before that.
const LIST_BYTES: usize = 1024 * 1024;
/// Lists that are read ahead.
const LISTS: usize = 4;

/// A source that another thread reads.
pub struct Ahead {
    columns: Vec<String>,
    read: Receiver<List>,
    /// What is used up, to be filled again.
    used: Sender<Vec<Record>>,
    list: List,
    next: usize,
    reading: Option<JoinHandle<()>>,
}

/// Some records.
#[derive(Default)]
struct List {
    records: Vec<Record>,
    /// How many of them were read; those behind are from before.
    count: usize,
    progress: Progress,
    /// How the reading has ended behind them. `None`: it goes on.
    end: Option<Result<(), ImportError>>,
}

impl Ahead {
    /// Begins to read.
    pub fn begin(source: Box<dyn Source + Send>) -> Self {
        let columns = source.columns().to_vec();
        let list = List { progress: source.progress(), ..List::default() };
        let (sender, read) = sync_channel(LISTS);
        let (used, empty) = channel();
        let reading = Some(std::thread::spawn(move || fill(source, &sender, &empty)));
        Self { columns, read, used, list, next: 0, reading }
    }

    /// Takes the next list.
    fn turn(&mut self) {
        let Ok(list) = self.read.recv() else {
            // It is gone without a word.
            if let Some(Err(panic)) = self.reading.take().map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
            self.list.end = Some(Ok(()));
            return;
        };
        let used = std::mem::replace(&mut self.list, list).records;
        self.next = 0;
        // What has become larger than it need be is let go.
        if used.iter().map(Record::capacity).sum::<usize>() <= 2 * LIST_BYTES {
            // Where the reading has ended, nobody fills them again.
            let _ = self.used.send(used);
        }
    }
}

/// Reads until there is nothing more, or nobody wants it.
fn fill(mut source: Box<dyn Source + Send>, sender: &SyncSender<List>, empty: &Receiver<Vec<Record>>) {
    loop {
        let list = list_of(source.as_mut(), empty.try_recv().unwrap_or_default());
        let is_last = list.end.is_some();
        if sender.send(list).is_err() || is_last {
            return;
        }
    }
}

fn list_of(source: &mut dyn Source, mut records: Vec<Record>) -> List {
    records.resize_with(RECORDS, Record::default);
    let (mut count, mut bytes, mut end) = (0, 0, None);
    while count < RECORDS && bytes < LIST_BYTES && end.is_none() {
        match source.read(&mut records[count]) {
            Ok(true) => (bytes, count) = (bytes + records[count].bytes(), count + 1),
            Ok(false) => end = Some(Ok(())),
            Err(error) => end = Some(Err(error)),
        }
    }
    List { records, count, progress: source.progress(), end }
}

impl Source for Ahead {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        while self.next == self.list.count {
            match self.list.end.replace(Ok(())) {
                Some(Ok(())) => return Ok(false),
                Some(Err(error)) => return Err(error),
                None => {
                    self.list.end = None;
                    self.turn();
                }
            }
        }
        std::mem::swap(record, &mut self.list.records[self.next]);
        self.next += 1;
        Ok(true)
    }

    fn progress(&self) -> Progress {
        self.list.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many lines, of which one may be no good.
    struct Lines {
        left: u64,
        faulty: Option<u64>,
        width: usize,
    }

    impl Source for Lines {
        fn columns(&self) -> &[String] {
            &[]
        }

        fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
            if self.left == 0 {
                return Ok(false);
            }
            if self.faulty == Some(self.left) {
                return Err(ImportError::file(std::path::Path::new("faulty"), "ends early"));
            }
            record.clear();
            record.push(Some(&format!("{}{}", " ".repeat(self.width), self.left)));
            self.left -= 1;
            Ok(true)
        }

        fn progress(&self) -> Progress {
            Progress { done: 0, total: self.left }
        }
    }

    fn read(lines: Lines) -> (Vec<u64>, Result<(), ImportError>) {
        let (mut ahead, mut record, mut found) = (Ahead::begin(Box::new(lines)), Record::default(), Vec::new());
        loop {
            match ahead.read(&mut record) {
                Ok(true) => found.push(record.get(0).unwrap().trim().parse().unwrap()),
                Ok(false) => return (found, Ok(())),
                Err(error) => return (found, Err(error)),
            }
        }
    }

    #[test]
    fn every_line_comes_in_order_however_many_there_are() {
        let list = RECORDS as u64;
        for count in [0, 1, list - 1, list, list + 1, 3 * list, 10 * list + 7] {
            let (found, ended) = read(Lines { left: count, faulty: None, width: 0 });
            assert_eq!(found, (1..=count).rev().collect::<Vec<_>>(), "{count}");
            ended.unwrap();
        }
        let (found, _) = read(Lines { left: 50, faulty: None, width: LIST_BYTES / 2 });
        assert_eq!(found, (1..=50).rev().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_behind_what_came_before() {
        let (found, ended) = read(Lines { left: 2_500, faulty: Some(10), width: 0 });
        assert_eq!(found, (11..=2_500).rev().collect::<Vec<_>>());
        assert!(ended.unwrap_err().to_string().contains("ends early"));
    }

    #[test]
    fn behind_the_end_there_is_nothing_however_often_it_is_asked() {
        let mut ahead = Ahead::begin(Box::new(Lines { left: 1, faulty: None, width: 0 }));
        let mut record = Record::default();
        let read: Vec<_> = (0..3).map(|_| ahead.read(&mut record).unwrap()).collect();
        assert_eq!(read, [true, false, false]);
    }

    #[test]
    fn whoever_stops_listening_ends_the_reading() {
        let mut ahead = Ahead::begin(Box::new(Lines { left: 1_000_000, faulty: None, width: 0 }));
        assert!(ahead.read(&mut Record::default()).unwrap());
        let reading = ahead.reading.take().unwrap();
        drop(ahead);
        reading.join().unwrap();
    }
}
