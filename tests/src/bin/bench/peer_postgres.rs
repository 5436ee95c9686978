//! What ingest on PostgreSQL is compared with: `COPY` into the same table and key, in the same order, with the same commits.

use crate::generator::{self, Orders, StoredOrder};
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};

const TABLE: &str = "CREATE TABLE order_fact (tenant_id integer NOT NULL, subject_id bigint NOT NULL, \
     source text NOT NULL, event_id text NOT NULL, body_hash bytea NOT NULL, occurred_at bigint NOT NULL, \
     channel text NOT NULL, amount_minor bigint NOT NULL, lines bytea NOT NULL, currency integer NOT NULL, profit_minor bigint, \
     PRIMARY KEY (tenant_id, subject_id, source, event_id))";
const COPY: &str = "COPY order_fact FROM STDIN (FORMAT BINARY)";
/// The columns of the table.
const COLUMNS: i16 = 11;
/// What a binary COPY begins with: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Writes the orders into a new table of a database, in commits of these sizes. Returns the time of the writing alone: the bytes of each
/// commit are made before its clock starts.
pub async fn write(url: &str, orders: &Orders, commits: &[usize]) -> anyhow::Result<Duration> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(TABLE).execute(&mut connection).await?;
    let mut elapsed = Duration::ZERO;
    let mut first = 0;
    for rows in commits {
        let mut bytes = HEADER.to_vec();
        (first..first + rows).for_each(|place| encode(&StoredOrder::new(orders, place), &mut bytes));
        bytes.extend((-1_i16).to_be_bytes());
        first += rows;
        let begun = Instant::now();
        let mut copy = connection.copy_in_raw(COPY).await?;
        copy.send(bytes).await?;
        // Outside a transaction, its end is the commit.
        let written = copy.finish().await?;
        elapsed += begun.elapsed();
        anyhow::ensure!(written == *rows as u64, "{written} of {rows} orders were written");
    }
    anyhow::ensure!(first == orders.len(), "{first} of {} orders were committed", orders.len());
    connection.close().await?;
    Ok(elapsed)
}

fn encode(order: &StoredOrder, bytes: &mut Vec<u8>) {
    bytes.extend(COLUMNS.to_be_bytes());
    let mut field = |value: Option<&[u8]>| {
        let length = value.map_or(-1, |value| value.len() as i32);
        bytes.extend(length.to_be_bytes());
        bytes.extend(value.unwrap_or_default());
    };
    field(Some(&1_i32.to_be_bytes()));
    field(Some(&order.subject_id.to_be_bytes()));
    field(Some(generator::SOURCE.as_bytes()));
    field(Some(order.event_id.as_bytes()));
    field(Some(&order.body_hash));
    field(Some(&order.occurred_at.to_be_bytes()));
    field(Some(order.channel.as_bytes()));
    field(Some(&order.amount_minor.to_be_bytes()));
    field(Some(&order.lines));
    field(Some(&0_i32.to_be_bytes()));
    field(None);
}
