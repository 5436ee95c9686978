//! `quintile segments audience`: by what advertising and social platforms know the members of a segment or label, as a file for them.

use super::csv_file::CsvFile;
use super::server::Server;
use super::table::{Cell, Row, part_of};
use crate::commands::CallerArgs;
use crate::config::Config;
use crate::output::thousands;
use crate::progress::Progress;
use anyhow::{Context, ensure};
use quintile_proto::ingestion::AudienceMember;
use std::ffi::OsStr;
use std::path::Path;

/// Customers of a request: the most that there may be.
const CUSTOMERS_PER_REQUEST: usize = 1_000;

/// Writes by what platforms know those members of `parent` who may be passed on to a CSV file. It names nobody by its number here: the file
/// leaves the company.
pub async fn run(parent: &str, path: &Path, caller: &CallerArgs) -> anyhow::Result<()> {
    ensure!(path.extension() == Some(OsStr::new("csv")), "{} must end in .csv", path.display());
    let config = Config::load(&caller.config)?;
    let mut server = Server::begin(config, caller.identity()).await?;
    // Before a file is begun: a segment that is not there makes none.
    let mut page = server.list_members(parent, "").await?;
    let mut file = CsvFile::create(path, part_of(path), &row(AudienceMember::default()))?;
    let mut progress = Progress::without_end(parent);
    let mut members = 0;
    loop {
        for customers in page.customers.chunks(CUSTOMERS_PER_REQUEST) {
            let told = server.export_audience(customers).await?.members;
            for row in told.into_iter().map(row).filter(says_something) {
                file.push(row)?;
            }
            members += customers.len() as u64;
            progress.count(members);
        }
        if page.next_page_token.is_empty() {
            break;
        }
        page = server.list_members(parent, &page.next_page_token).await?;
    }
    progress.finish();
    let rows = file.finish().context("the file is not whole")?;
    say!("{} of {} members in {}", thousands(rows), thousands(members), path.display());
    Ok(())
}

fn row(member: AudienceMember) -> Row {
    vec![
        ("email_sha256", Cell::shown(member.email_sha256)),
        ("phone_sha256", Cell::shown(member.phone_sha256)),
        ("phone_digits_sha256", Cell::shown(member.phone_digits_sha256)),
    ]
}

/// Whether anything of a row is for the caller.
fn says_something(row: &Row) -> bool {
    row.iter().any(|(_, cell)| *cell != Cell::Text(None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::masking::REDACTED;

    #[test]
    fn a_row_has_what_may_be_seen_and_no_number_and_of_what_is_hidden_there_is_none() {
        let customer = || "customers/7".to_owned();
        let hidden = || Some(REDACTED.to_owned());
        let (email_sha256, phone_sha256, phone_digits_sha256) = (Some("ab".to_owned()), hidden(), None);
        let in_part = row(AudienceMember { customer: customer(), email_sha256, phone_sha256, phone_digits_sha256 });
        assert!(says_something(&in_part));
        assert_eq!(
            in_part,
            [
                ("email_sha256", Cell::text("ab")),
                ("phone_sha256", Cell::Text(None)),
                ("phone_digits_sha256", Cell::Text(None))
            ]
        );
        let (email_sha256, phone_sha256, phone_digits_sha256) = (hidden(), None, hidden());
        assert!(!says_something(&row(AudienceMember {
            customer: customer(),
            email_sha256,
            phone_sha256,
            phone_digits_sha256
        })));
    }
}
