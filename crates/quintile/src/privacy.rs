//! What a person may ask of whoever holds their data, for the people who carry it out.

use crate::config::{Config, Role};
use crate::output;
use crate::remote::{Session, connect};
use anyhow::Context;
use prost::Message;
use quintile_proto::ingestion::privacy_service_client::PrivacyServiceClient;
use quintile_proto::ingestion::{ExportPersonalDataRequest, ExportPersonalDataResponse};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes everything that is held about a person to a file that nobody else may read, as JSON.
pub async fn export(config: &Config, session: &Session, customer: &str, out: &Path) -> anyhow::Result<()> {
    let number = customer.trim_start_matches("customers/");
    let request = session.request(ExportPersonalDataRequest { name: format!("customers/{number}") });
    let mut client = PrivacyServiceClient::new(connect(config, Role::Ingestion)?);
    let mut parts = client.export_personal_data(request).await?.into_inner();
    // Messages put behind each other are one message: lists continue each other.
    let mut together = Vec::new();
    while let Some(part) = parts.message().await? {
        part.encode(&mut together)?;
    }
    let export = ExportPersonalDataResponse::decode(together.as_slice())?;
    anyhow::ensure!(export.complete, "the export broke off: run it again");
    let text = output::json(&export, "quintile.ingestion.v1.ExportPersonalDataResponse")?;
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(out);
    let mut file = opened.with_context(|| format!("cannot write {}", out.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    say!("{}", out.display());
    if !export.missing_parts.is_empty() {
        anyhow::bail!("the export is without {}: run it again", export.missing_parts.join(", "));
    }
    Ok(())
}
