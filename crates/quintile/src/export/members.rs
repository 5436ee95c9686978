//! `quintile segments export`: the members of a segment or label as one file, for those who work with it in tools of their own.

use super::csv_file::CsvFile;
use super::server::Server;
use super::table::{Cell, Row, TableFile, part_of};
use super::{records, rows};
use crate::commands::CallerArgs;
use crate::config::Config;
use crate::output::thousands;
use crate::progress::Progress;
use anyhow::{Context, bail};
use quintile_proto::types::CustomerRecord;
use std::ffi::OsStr;
use std::path::Path;

/// Writes the members of `parent` to a file, Parquet or CSV by its ending.
pub async fn run(parent: &str, path: &Path, caller: &CallerArgs) -> anyhow::Result<()> {
    let config = Config::load(&caller.config)?;
    let mut server = Server::begin(config, caller.identity()).await?;
    // Before a file is begun: a segment that is not there makes none.
    let mut page = server.list_member_records(parent, "").await?;
    let mut file = MembersFile::create(path)?;
    let mut progress = Progress::without_end(parent);
    let mut taken = 0;
    loop {
        for record in page.records {
            file.push(row(record))?;
            taken += 1;
        }
        progress.count(taken);
        if page.next_page_token.is_empty() {
            break;
        }
        page = server.list_member_records(parent, &page.next_page_token).await?;
    }
    progress.finish();
    let rows = file.finish()?;
    say!("{} members in {}", thousands(rows), path.display());
    Ok(())
}

enum MembersFile {
    Csv(CsvFile),
    Parquet(TableFile),
}

impl MembersFile {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let shape = row(CustomerRecord::default());
        let part = part_of(path);
        match path.extension().and_then(OsStr::to_str) {
            Some("csv") => CsvFile::create(path, part, &shape).map(Self::Csv),
            Some("parquet") => TableFile::create_by(path, part, &shape).map(Self::Parquet),
            _ => bail!("{} must end in .csv or .parquet", path.display()),
        }
    }

    fn push(&mut self, row: Row) -> anyhow::Result<()> {
        match self {
            Self::Csv(file) => file.push(row),
            Self::Parquet(file) => file.push(row),
        }
    }

    fn finish(self) -> anyhow::Result<u64> {
        match self {
            Self::Csv(file) => file.finish(),
            Self::Parquet(file) => file.finish(),
        }
        .context("the file is not whole")
    }
}

/// A row of members: attributes, and then what `records` has.
fn row(mut record: CustomerRecord) -> Row {
    let attributes = record.attributes.take().unwrap_or_default();
    let mut row = vec![
        ("customer", Cell::Int64(Some(record.customer_id))),
        ("kind", rows::word(attributes.kind().as_str_name(), "CUSTOMER_KIND_")),
    ];
    row.extend(rows::of_attributes(&attributes, "customer_currency"));
    row.extend(records::row(record).into_iter().filter(|(name, _)| *name != "customer"));
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let row = row(CustomerRecord::default());
        let names: HashSet<_> = row.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), row.len());
    }
}
