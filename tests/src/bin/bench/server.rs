//! The real binary: started in a folder, asked for tokens as an operator would, stopped.

use anyhow::{Context, bail};
use quintile_proto::lifecycle::GetStageRequest;
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::scoring::GetScoreRequest;
use quintile_proto::scoring::score_service_client::ScoreServiceClient;
use quintile_proto::segmentation::PreviewSegmentRequest;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_proto::types::Watermark;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// How long a server may take to start: migrations of empty databases, or the reading of what is there.
const START: Duration = Duration::from_mins(5);
/// The services that may be left out, as settings name them, and where they then are.
const ELSEWHERE: [&str; 3] = ["SCORING", "LIFECYCLE", "SEGMENTATION"];
const NOWHERE: &str = "http://127.0.0.1:1";
const POLL: Duration = Duration::from_millis(50);
/// HTTP/2 windows, as the servers have them.
pub const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A running server. Dropping it kills the process.
pub struct Server {
    process: Child,
    folder: PathBuf,
    endpoints: BTreeMap<String, String>,
    /// A token of the role `service`, which takes facts in.
    pub service: MetadataValue<Ascii>,
    /// A token of the role `analyst`, whose answers are masked.
    pub analyst: MetadataValue<Ascii>,
}

impl Server {
    /// Starts all services in a folder, on the embedded store or on the database at a URL, and waits until they answer.
    pub async fn start(quintile: &Path, folder: PathBuf, database: Option<&str>) -> anyhow::Result<Self> {
        Self::start_with(quintile, folder, database, &[]).await
    }

    /// Starts ingestion without those that follow it, and access-control, where all of them were started before.
    pub async fn start_ingestion(quintile: &Path, folder: PathBuf, database: Option<&str>) -> anyhow::Result<Self> {
        Self::start_with(quintile, folder, database, &["--role", "ingestion", "--role", "access-control"]).await
    }

    async fn start_with(
        quintile: &Path,
        folder: PathBuf,
        database: Option<&str>,
        roles: &[&str],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let log = std::fs::File::create(folder.join("server.log"))?;
        let mut command = Command::new(quintile);
        let mut process = command
            .args(["serve", "--port-base", "0", "--as-of", crate::generator::AS_OF, "--data-dir"])
            .arg(&folder)
            .args(database.into_iter().flat_map(|url| ["--database-url", url]))
            .args(roles)
            .envs(ELSEWHERE.map(|peer| (format!("QUINTILE_PEERS__{peer}"), NOWHERE)))
            .env("QUINTILE_LOG__FILTER", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", quintile.display()))?;
        let endpoints = wait_for_endpoints(&mut process, &folder).await?;
        let service = token(quintile, &folder, "service").await?;
        let analyst = token(quintile, &folder, "analyst").await?;
        Ok(Self { process, folder, endpoints, service, analyst })
    }

    /// The folder that it was started in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The number of its process.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.process.id().context("the server has ended")
    }

    /// A new connection to a service.
    pub async fn connect(&self, service: &str) -> anyhow::Result<Channel> {
        connect(self.url(service)?).await
    }

    /// The URL of a service.
    pub fn url(&self, service: &str) -> anyhow::Result<&str> {
        let url = self.endpoints.get(service).with_context(|| format!("there is no {service}"))?;
        Ok(url)
    }

    /// Waits until the answers of all services include the facts up to a position. Returns how long that took.
    pub async fn settled(&self, position: i64, customers: u32) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        // Slower than 200 customers a second is not slow but stuck.
        let bound = Duration::from_mins(2) + Duration::from_millis(u64::from(customers) * 5);
        let mut scores = ScoreServiceClient::new(self.connect("scoring").await?);
        let mut stages = StageServiceClient::new(self.connect("lifecycle").await?);
        let mut segments = SegmentServiceClient::new(self.connect("segmentation").await?);
        loop {
            let score =
                scores.get_score(self.as_analyst(GetScoreRequest { name: "customers/1/score".to_owned() })).await;
            let stage =
                stages.get_stage(self.as_analyst(GetStageRequest { name: "customers/1/stage".to_owned() })).await;
            let expression = "orders >= 1".to_owned();
            let preview = PreviewSegmentRequest { expression, ..PreviewSegmentRequest::default() };
            let preview = segments.preview_segment(self.as_analyst(preview)).await;
            let positions = [
                reached(score.map(|answer| answer.into_inner().watermark))?,
                reached(stage.map(|answer| answer.into_inner().watermark))?,
                reached(preview.map(|answer| answer.into_inner().watermark))?,
            ];
            if positions.iter().all(|reached| *reached >= position) {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > bound {
                bail!("after {bound:?} the services have the facts up to {positions:?}, not {position}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn as_analyst<T>(&self, message: T) -> Request<T> {
        authorised(message, Some(&self.analyst))
    }

    /// Stops the server in order. Returns its folder.
    pub async fn stop(mut self) -> anyhow::Result<PathBuf> {
        let id = self.id()?;
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().await?;
        anyhow::ensure!(told.success(), "the server can't be told to stop");
        let ended = tokio::time::timeout(START, self.process.wait()).await.context("the server does not stop")??;
        anyhow::ensure!(ended.success(), "the server ended with {ended}: {}", log_of(&self.folder));
        Ok(self.folder.clone())
    }
}

/// A new connection to a URL, with the settings that the services use among themselves.
pub async fn connect(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    Ok(endpoint.connect().await?)
}

/// A request with a token.
pub fn authorised<T>(message: T, token: Option<&MetadataValue<Ascii>>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token.clone());
    }
    request
}

async fn wait_for_endpoints(process: &mut Child, folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let begun = Instant::now();
    loop {
        // It is written at once, when all services answer.
        if let Ok(text) = std::fs::read(folder.join("endpoints.json")) {
            return Ok(serde_json::from_slice(&text)?);
        }
        if let Some(ended) = process.try_wait()? {
            bail!("the server ended with {ended}: {}", log_of(folder));
        }
        if begun.elapsed() > START {
            bail!("the server does not answer after {START:?}: {}", log_of(folder));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("server.log")).unwrap_or_default()
}

async fn token(quintile: &Path, folder: &Path, role: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    let output = Command::new(quintile)
        .args(["token", "--role", role, "--lifetime", "43200", "--data-dir"])
        .arg(folder)
        .output()
        .await?;
    anyhow::ensure!(output.status.success(), "no token: {}", String::from_utf8_lossy(&output.stderr));
    Ok(format!("Bearer {}", String::from_utf8(output.stdout)?.trim()).parse()?)
}

/// How far an answer is true. A customer that has not come so far is no failure.
fn reached(answer: Result<Option<Watermark>, Status>) -> anyhow::Result<i64> {
    match answer {
        Ok(watermark) => Ok(watermark.map_or(0, |watermark| watermark.facts_position)),
        Err(status) if matches!(status.code(), Code::NotFound | Code::Unavailable) => Ok(0),
        Err(status) => Err(status.into()),
    }
}
