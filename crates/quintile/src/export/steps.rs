//! The steps of an export: which files are made of which rows.

use super::FileKind;
use super::note::Folder;
use super::server::Server;
use super::table::{Cell, Row, TableFile};
use super::{records, rows};
use crate::progress::Progress;
use anyhow::bail;
use quintile_proto::ingestion::{
    AcquisitionSpend, Customer, CustomerFact, ExchangeRate, ExportKind, ExportRowsResponse, Feedback, Interaction,
    Order, OrderLine, Refund,
};
use quintile_proto::types::CustomerRecord;
use tonic::{Code, Status};

/// Files that are made together, since they are made of the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Customers,
    Orders,
    Facts(ExportKind, FileKind),
    AcquisitionSpend,
    ExchangeRates,
    Records,
    Memberships,
}

/// The steps, in their order.
pub const STEPS: [Step; 9] = [
    Step::Customers,
    Step::Orders,
    Step::Facts(ExportKind::Refund, FileKind::Refunds),
    Step::Facts(ExportKind::Interaction, FileKind::Interactions),
    Step::Facts(ExportKind::Feedback, FileKind::Feedback),
    Step::AcquisitionSpend,
    Step::ExchangeRates,
    Step::Records,
    Step::Memberships,
];

impl Step {
    /// The files that it makes.
    pub fn files(self) -> Vec<FileKind> {
        match self {
            Self::Customers => vec![FileKind::Customers],
            Self::Orders => vec![FileKind::Orders, FileKind::OrderLines],
            Self::Facts(_, file) => vec![file],
            Self::AcquisitionSpend => vec![FileKind::AcquisitionSpend],
            Self::ExchangeRates => vec![FileKind::ExchangeRates],
            Self::Records => vec![FileKind::Records],
            Self::Memberships => vec![FileKind::Memberships],
        }
    }

    /// Makes those of its files that are wanted. Returns their names, and how many rows each has.
    pub async fn write(
        self,
        server: &mut Server,
        folder: &Folder,
        wanted: &[FileKind],
    ) -> anyhow::Result<Vec<(String, u64)>> {
        let mut files = Files::create(folder, wanted)?;
        let mut progress = Progress::without_end(&wanted.first().map(|file| file.name()).unwrap_or_default());
        match self {
            Self::Customers => {
                let take = |row| files.push(FileKind::Customers, rows::customer(row)?);
                export(server, ExportKind::Customer, &mut progress, |page| page.customers, take).await?;
            }
            Self::Orders => {
                let mut number = 0;
                let take = |fact| {
                    number += 1;
                    take_order(&mut files, number, fact)
                };
                export(server, ExportKind::Order, &mut progress, |page| page.facts, take).await?;
            }
            Self::Facts(kind, file) => {
                let take = |fact| files.push(file, rows::fact(fact)?);
                export(server, kind, &mut progress, |page| page.facts, take).await?;
            }
            Self::AcquisitionSpend => {
                let take = |row| files.push(FileKind::AcquisitionSpend, rows::spend(row));
                let kind = ExportKind::AcquisitionSpend;
                export(server, kind, &mut progress, |page| page.acquisition_spend, take).await?;
            }
            Self::ExchangeRates => {
                let take = |row| files.push(FileKind::ExchangeRates, rows::rate(row));
                export(server, ExportKind::ExchangeRate, &mut progress, |page| page.exchange_rates, take).await?;
            }
            Self::Records => export_records(server, &mut files, &mut progress).await?,
            Self::Memberships => export_memberships(server, &mut files, &mut progress).await?,
        }
        progress.finish();
        files.finish()
    }
}

/// All rows of a kind.
async fn export<T>(
    server: &mut Server,
    kind: ExportKind,
    progress: &mut Progress,
    rows_of: impl Fn(ExportRowsResponse) -> Vec<T>,
    mut take: impl FnMut(T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut taken = 0;
    let take_page = |page| {
        for row in rows_of(page) {
            take(row)?;
            taken += 1;
        }
        progress.count(taken);
        Ok(())
    };
    server.export_rows(kind, take_page).await
}

fn take_order(files: &mut Files, number: u64, fact: CustomerFact) -> anyhow::Result<()> {
    let Some(order) = fact.order else { bail!("the server sent a fact that is no order") };
    let (order, lines) = rows::order(number, &fact.customer, order)?;
    files.push(FileKind::Orders, order)?;
    lines.into_iter().try_for_each(|line| files.push(FileKind::OrderLines, line))
}

async fn export_records(server: &mut Server, files: &mut Files, progress: &mut Progress) -> anyhow::Result<()> {
    let (mut page_token, mut taken) = (String::new(), 0);
    loop {
        let page = server.list_records(&page_token).await?;
        for record in page.records {
            files.push(FileKind::Records, records::row(record))?;
            taken += 1;
        }
        progress.count(taken);
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

async fn export_memberships(server: &mut Server, files: &mut Files, progress: &mut Progress) -> anyhow::Result<()> {
    let (mut parents, mut page_token) = (server.labels().await?, String::new());
    loop {
        let page = server.list_segments(&page_token).await?;
        parents.extend(page.segments.into_iter().map(|segment| segment.name));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let mut taken = 0;
    for parent in parents {
        let mut page_token = String::new();
        loop {
            let page = match server.list_members(&parent, &page_token).await {
                Ok(page) => page,
                // A segment that somebody has deleted meanwhile has no members.
                Err(error) if is(&error, Code::NotFound) => break,
                Err(error) => return Err(error),
            };
            for customer in page.customers {
                files.push(FileKind::Memberships, membership(&customer, &parent)?)?;
                taken += 1;
            }
            progress.count(taken);
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
    }
    Ok(())
}

/// Whether an error is a refusal of this kind.
pub fn is(error: &anyhow::Error, code: Code) -> bool {
    error.downcast_ref::<Status>().is_some_and(|status| status.code() == code)
}

/// A row of `memberships`.
fn membership(customer: &str, parent: &str) -> anyhow::Result<Row> {
    let label = parent.strip_prefix("labelSets/").and_then(|label| label.split_once("/labels/"));
    let (set, label) = label.unwrap_or_default();
    Ok(vec![
        ("customer", rows::number(customer)?),
        ("segment", Cell::text(parent.strip_prefix("segments/").unwrap_or_default())),
        ("label_set", Cell::text(set)),
        ("label", Cell::text(label)),
    ])
}

/// A row of a file as it is without a value in it: its columns.
fn shape(file: FileKind) -> anyhow::Result<Row> {
    let one_line = || Order { lines: vec![OrderLine::default()], ..Order::default() };
    match file {
        FileKind::Customers => rows::customer(Customer::default()),
        FileKind::Orders => Ok(rows::order(0, "", Order::default())?.0),
        FileKind::OrderLines => Ok(rows::order(0, "", one_line())?.1.pop().unwrap_or_default()),
        FileKind::Refunds => rows::refund("", Refund::default()),
        FileKind::Interactions => rows::interaction("", Interaction::default()),
        FileKind::Feedback => rows::feedback("", Feedback::default()),
        FileKind::AcquisitionSpend => Ok(rows::spend(AcquisitionSpend::default())),
        FileKind::ExchangeRates => Ok(rows::rate(ExchangeRate::default())),
        FileKind::Records => Ok(records::row(CustomerRecord::default())),
        FileKind::Memberships => membership("", ""),
    }
}

/// The files of a step that are wanted.
struct Files(Vec<(FileKind, TableFile)>);

impl Files {
    fn create(folder: &Folder, wanted: &[FileKind]) -> anyhow::Result<Self> {
        let create =
            |file: &FileKind| anyhow::Ok((*file, TableFile::create(&folder.file(&file.name()), &shape(*file)?)?));
        wanted.iter().map(create).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Adds a row to a file, if the file is wanted.
    fn push(&mut self, file: FileKind, row: Row) -> anyhow::Result<()> {
        match self.0.iter_mut().find(|(kind, _)| *kind == file) {
            Some((_, table)) => table.push(row),
            None => Ok(()),
        }
    }

    fn finish(self) -> anyhow::Result<Vec<(String, u64)>> {
        self.0.into_iter().map(|(file, table)| Ok((file.name(), table.finish()?))).collect()
    }
}
