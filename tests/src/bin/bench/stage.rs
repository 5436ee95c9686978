//! What rows share: the scale, the folder, and customers that are there before the clock starts.

use crate::generator::{self, Arrival, Orders};
use crate::ingest::{self, Ingested};
use crate::server::Server;
use anyhow::{Context, bail};
use quintile_proto::ingestion::{Row, row};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
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
    /// Orders, at most 60 million.
    pub orders: u32,
}

impl FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (customers, orders) = match text {
            "60k" => (60_000, 600_000),
            "6m" => (6_000_000, 60_000_000),
            other => {
                let (customers, orders) = other.split_once(':').context("must be 60k, 6m or customers:orders")?;
                (customers.parse()?, orders.parse()?)
            }
        };
        if customers == 0 || orders == 0 || orders > 60_000_000 {
            bail!("must have a customer and an order, and at most 60,000,000 orders");
        }
        Ok(Self { customers, orders })
    }
}

/// Where the services keep their data while they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// One file per service.
    Sqlite,
    /// A PostgreSQL server, of which every measurement has a database of its own.
    Postgres,
}

/// What rows share.
pub struct Stage {
    /// How much is measured.
    pub scale: Scale,
    /// How long each side of a comparison of calls is measured.
    pub call_time: Duration,
    quintile: PathBuf,
    folder: PathBuf,
    postgres: Option<String>,
    peers: Option<PathBuf>,
    templates: [OnceCell<Template>; 2],
}

/// A data directory, and on PostgreSQL a database, with customers, nothing running in it.
struct Template {
    path: PathBuf,
    customers: Ingested,
}

/// The most orders that are held encoded in memory and sent.
const MAX_SENT: u32 = 10_000_000;
/// The name of the template's folder and database.
const TEMPLATE: &str = "template_with_customers";

impl Stage {
    /// A stage in an empty folder; `postgres` is the URL of a server to measure on.
    pub fn new(
        quintile: PathBuf,
        folder: PathBuf,
        postgres: Option<String>,
        scale: Scale,
        call_time: Duration,
    ) -> Self {
        Self {
            scale,
            call_time,
            quintile,
            folder,
            postgres,
            peers: None,
            templates: [OnceCell::new(), OnceCell::new()],
        }
    }

    /// A stage that has a Python for comparisons.
    pub fn beside(self, peers: Option<PathBuf>) -> Self {
        Self { peers, ..self }
    }

    /// The Python that runs comparisons. `None`: there is none.
    pub fn peers(&self) -> Option<&Path> {
        self.peers.as_deref()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn path_on(&self, store: Store, name: &str) -> PathBuf {
        self.path(&format!("{name}-{store:?}"))
    }

    /// The binary that is measured.
    pub fn quintile(&self) -> &Path {
        &self.quintile
    }

    /// The URL of a database of the PostgreSQL server.
    pub fn database_url(&self, name: &str) -> anyhow::Result<String> {
        let server = self.postgres.as_deref().context("there is no PostgreSQL to measure on: see `make bench`")?;
        let (server, _) = server.rsplit_once('/').context("the URL of PostgreSQL names no database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Says something to the PostgreSQL server that is about its databases.
    pub async fn administer(&self, sql: String) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.database_url("postgres")?).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    async fn start(&self, store: Store, name: &str) -> anyhow::Result<Server> {
        let database = match store {
            Store::Sqlite => None,
            Store::Postgres => Some(self.database_url(name)?),
        };
        Server::start(&self.quintile, self.path_on(store, name), database.as_deref()).await
    }

    /// The same data under ingestion alone.
    pub async fn with_ingestion_alone(&self, store: Store, name: &str, server: Server) -> anyhow::Result<Server> {
        let folder = server.stop().await?;
        let database = match store {
            Store::Sqlite => None,
            Store::Postgres => Some(self.database_url(name)?),
        };
        Server::start_ingestion(&self.quintile, folder, database.as_deref()).await
    }

    /// The same data under a server that was stopped and started.
    pub async fn started_again(&self, store: Store, name: &str, server: Server) -> anyhow::Result<Server> {
        let folder = server.stop().await?;
        let database = match store {
            Store::Sqlite => None,
            Store::Postgres => Some(self.database_url(name)?),
        };
        Server::start(&self.quintile, folder, database.as_deref()).await
    }

    /// A server with nothing in it.
    pub async fn empty_server(&self, store: Store, name: &str) -> anyhow::Result<Server> {
        if store == Store::Postgres {
            self.administer(format!("CREATE DATABASE {name}")).await?;
        }
        self.start(store, name).await
    }

    /// A server that knows all customers, is through with them, and has no orders.
    pub async fn server_with_customers(&self, store: Store, name: &str) -> anyhow::Result<Server> {
        let template = self.template(store).await?;
        copy_folder(&template.path, &self.path_on(store, name))?;
        if store == Store::Postgres {
            self.administer(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).await?;
        }
        self.start(store, name).await
    }

    /// Stops a server and removes what it wrote.
    pub async fn remove(&self, store: Store, name: &str, server: Server) -> anyhow::Result<()> {
        std::fs::remove_dir_all(server.stop().await?)?;
        if store == Store::Postgres {
            self.administer(format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        Ok(())
    }

    /// How fast the customers were made.
    pub async fn customers_ingested(&self, store: Store) -> anyhow::Result<&Ingested> {
        Ok(&self.template(store).await?.customers)
    }

    /// The orders of this scale; as many as the embedded store is meant for at most.
    pub fn orders(&self, arrival: Arrival) -> Orders {
        Orders::new(self.scale.customers, self.scale.orders.min(MAX_SENT), arrival)
    }

    async fn template(&self, store: Store) -> anyhow::Result<&Template> {
        self.templates[store as usize].get_or_try_init(|| self.make_template(store)).await
    }

    async fn make_template(&self, store: Store) -> anyhow::Result<Template> {
        eprintln!("making {} customers on {store:?}", self.scale.customers);
        let server = self.empty_server(store, TEMPLATE).await?;
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
        assert_eq!("6m".parse::<Scale>().unwrap(), Scale { customers: 6_000_000, orders: 60_000_000 });
        assert_eq!("600:6000".parse::<Scale>().unwrap(), Scale { customers: 600, orders: 6_000 });
        for wrong in ["", "60", "0:1", "1:0", "1:60000001"] {
            assert!(wrong.parse::<Scale>().is_err(), "{wrong}");
        }
    }
}
