//! Rows that were refused, for the people who see to them: listed, shown, replayed and dropped.

use crate::commands::CallerArgs;
use crate::config::{Config, Role};
use crate::output::{self, Format, table};
use crate::remote::{Session, connect};
use anyhow::bail;
use clap::Subcommand;
use quintile_proto::ingestion::ingest_service_client::IngestServiceClient;
use quintile_proto::ingestion::{
    DeleteRejectRequest, GetRejectRequest, ListRejectsRequest, ReplayRejectRequest, StoredReject,
};
use quintile_proto::types::ErrorReason;
use quintile_rpc::client::Channel;

/// Rejects that are asked for at once.
const PAGE: i32 = 1_000;

#[derive(Debug, Subcommand)]
pub enum RejectsCommand {
    /// Lists the rows that were refused, oldest first
    List {
        /// Those of one stream or request alone
        #[arg(long, value_name = "ID")]
        stream_id: Option<String>,
        /// Rejects to list at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Shows a row as it came, as far as the caller may see it
    Show {
        /// `rejects/{number}`, or the number
        reject: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Takes rows in as they came, once what they lacked is there
    Replay {
        /// `rejects/{number}`, or the number
        #[arg(required_unless_present = "stream_id")]
        rejects: Vec<String>,
        /// All of one stream or request
        #[arg(long, value_name = "ID", conflicts_with = "rejects")]
        stream_id: Option<String>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Drops rows: they will never be taken in
    Drop {
        /// `rejects/{number}`, or the number
        #[arg(required = true)]
        rejects: Vec<String>,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// Runs a command.
pub async fn run(command: RejectsCommand) -> anyhow::Result<()> {
    match command {
        RejectsCommand::List { stream_id, limit, caller } => {
            let (config, session) = caller.session().await?;
            let listed = all(&config, &session, stream_id.as_deref(), limit).await?;
            list(&listed, caller.output)
        }
        RejectsCommand::Show { reject, caller } => {
            let (config, session) = caller.session().await?;
            let request = session.request(GetRejectRequest { name: name(&reject) });
            let row = client(&config)?.get_reject(request).await?.into_inner();
            say!("{}", output::json(&row, "quintile.ingestion.v1.RejectedRow")?);
            Ok(())
        }
        RejectsCommand::Replay { rejects, stream_id, caller } => {
            let (config, session) = caller.session().await?;
            let names = match stream_id {
                Some(stream) => {
                    let of_stream = all(&config, &session, Some(&stream), usize::MAX).await?;
                    of_stream.into_iter().map(|reject| reject.name).collect()
                }
                None => rejects.iter().map(|reject| name(reject)).collect(),
            };
            replay(&config, &session, names).await
        }
        RejectsCommand::Drop { rejects, caller } => {
            let (config, session) = caller.session().await?;
            for reject in &rejects {
                let request = session.request(DeleteRejectRequest { name: name(reject) });
                client(&config)?.delete_reject(request).await?;
            }
            say!("{} dropped", rejects.len());
            Ok(())
        }
    }
}

fn client(config: &Config) -> anyhow::Result<IngestServiceClient<Channel>> {
    Ok(IngestServiceClient::new(connect(config, Role::Ingestion)?))
}

fn name(reject: &str) -> String {
    format!("rejects/{}", reject.trim_start_matches("rejects/"))
}

/// The rejects of a stream, or of all, `limit` at most.
async fn all(
    config: &Config,
    session: &Session,
    stream_id: Option<&str>,
    limit: usize,
) -> anyhow::Result<Vec<StoredReject>> {
    let (mut client, mut found, mut page_token) = (client(config)?, Vec::new(), String::new());
    loop {
        let request = session.request(ListRejectsRequest { page_size: PAGE, page_token });
        let page = client.list_rejects(request).await?.into_inner();
        found.extend(page.rejects.into_iter().filter(|it| stream_id.is_none_or(|stream| it.stream_id == stream)));
        found.truncate(limit);
        if page.next_page_token.is_empty() || found.len() == limit {
            return Ok(found);
        }
        page_token = page.next_page_token;
    }
}

fn list(rejects: &[StoredReject], format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        for reject in rejects {
            say!("{}", output::json(reject, "quintile.ingestion.v1.StoredReject")?);
        }
        return Ok(());
    }
    let row = |stored: &StoredReject| {
        let reject = stored.reject.clone().unwrap_or_default();
        let reason = ErrorReason::try_from(reject.reason).unwrap_or_default().as_str_name();
        let reason = reason.trim_start_matches("ERROR_REASON_").to_owned();
        let place = format!("{} {} {}", stored.stream_id, stored.offset, reject.row);
        vec![stored.name.clone(), place, reject.field, reject.message, reason]
    };
    let header = ["reject", "stream, batch, row", "field", "problem", "reason"];
    say!("{}", table(&header, false, rejects.iter().map(row).collect()));
    Ok(())
}

async fn replay(config: &Config, session: &Session, names: Vec<String>) -> anyhow::Result<()> {
    let (mut client, mut taken_in, mut refused) = (client(config)?, 0, 0);
    for name in names {
        let request = session.request(ReplayRejectRequest { name: name.clone(), row: None });
        let answer = client.replay_reject(request).await?.into_inner();
        match answer.rejects.first() {
            None => taken_in += 1,
            Some(reject) => {
                refused += 1;
                eprintln!("{name}: {}: {}", reject.field, reject.message);
            }
        }
    }
    say!("{taken_in} taken in, {refused} refused again");
    if refused > 0 {
        bail!("correct them with ReplayReject, or drop them");
    }
    Ok(())
}
