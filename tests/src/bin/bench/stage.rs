//! What rows share: the scale, the folder, and customers that are there before the clock starts.

use crate::generator::{self, Arrival, Orders};
use crate::ingest::{self, Ingested};
use crate::server::Server;
use anyhow::{Context, bail};
use quintile_proto::ingestion::{Row, row};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Rows of the batches that customers are made with.
const CUSTOMERS_PER_BATCH: usize = 10_000;
/// Batches of customers in flight.
const CUSTOMER_BATCHES_IN_FLIGHT: usize = 2;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Customers.
    pub customers: u32,
    /// Orders, at most 10 million: what the embedded store is meant for.
    pub orders: u32,
}

impl FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (customers, orders) = match text {
            "60k" => (60_000, 600_000),
            "6m" => (6_000_000, 10_000_000),
            other => {
                let (customers, orders) = other.split_once(':').context("must be 60k, 6m or customers:orders")?;
                (customers.parse()?, orders.parse()?)
            }
        };
        if customers == 0 || orders == 0 || orders > 10_000_000 {
            bail!("must have a customer and an order, and at most 10,000,000 orders");
        }
        Ok(Self { customers, orders })
    }
}

/// What rows share.
pub struct Stage {
    /// How much is measured.
    pub scale: Scale,
    /// How long each side of a comparison of calls is measured.
    pub call_time: Duration,
    quintile: PathBuf,
    folder: PathBuf,
    template: OnceCell<Template>,
}

/// A data directory with customers, nothing running in it.
struct Template {
    path: PathBuf,
    customers: Ingested,
}

impl Stage {
    /// A stage in an empty folder.
    pub fn new(quintile: PathBuf, folder: PathBuf, scale: Scale, call_time: Duration) -> Self {
        Self { scale, call_time, quintile, folder, template: OnceCell::new() }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A server with nothing in it.
    pub async fn empty_server(&self, name: &str) -> anyhow::Result<Server> {
        Server::start(&self.quintile, self.path(name)).await
    }

    /// A server that knows all customers, is through with them, and has no orders.
    pub async fn server_with_customers(&self, name: &str) -> anyhow::Result<Server> {
        let template = self.template().await?;
        copy_folder(&template.path, &self.path(name))?;
        Server::start(&self.quintile, self.path(name)).await
    }

    /// How fast the customers were made.
    pub async fn customers_ingested(&self) -> anyhow::Result<&Ingested> {
        Ok(&self.template().await?.customers)
    }

    /// The orders of this scale.
    pub fn orders(&self, arrival: Arrival) -> Orders {
        Orders::new(self.scale.customers, self.scale.orders, arrival)
    }

    async fn template(&self) -> anyhow::Result<&Template> {
        self.template.get_or_try_init(|| self.make_template()).await
    }

    async fn make_template(&self) -> anyhow::Result<Template> {
        eprintln!("making {} customers", self.scale.customers);
        let server = self.empty_server("template").await?;
        let count = self.scale.customers as usize;
        let batches = ingest::encode("customers", count, CUSTOMERS_PER_BATCH, |index| Row {
            fact: Some(row::Fact::Customer(generator::customer(index as u32))),
        });
        let customers = ingest::send(&server, batches, CUSTOMER_BATCHES_IN_FLIGHT).await?;
        anyhow::ensure!(customers.applied == count as i64, "{} of {count} customers", customers.applied);
        let settled = server.settled(customers.facts_position, self.scale.customers).await?;
        eprintln!("{:.0} customers/s; all services had them {settled:.1?} later", customers.rows_per_second());
        let path = server.stop().await?;
        Ok(Template { path, customers })
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_name_or_two_numbers() {
        assert_eq!("6m".parse::<Scale>().unwrap(), Scale { customers: 6_000_000, orders: 10_000_000 });
        assert_eq!("600:6000".parse::<Scale>().unwrap(), Scale { customers: 600, orders: 6_000 });
        for wrong in ["", "60", "0:1", "1:0", "1:60000000"] {
            assert!(wrong.parse::<Scale>().is_err(), "{wrong}");
        }
    }
}
