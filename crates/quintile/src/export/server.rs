//! The server as an export asks it: for hours, across ends of tokens and restarts.

use crate::config::{Config, Role};
use crate::remote::{Identity, Session, connect};
use quintile_proto::ingestion::export_service_client::ExportServiceClient;
use quintile_proto::ingestion::{
    ExportAudienceRequest, ExportAudienceResponse, ExportKind, ExportRowsRequest, ExportRowsResponse,
};
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::lifecycle::{ListRecordsRequest, ListRecordsResponse};
use quintile_proto::segmentation::label_service_client::LabelServiceClient;
use quintile_proto::segmentation::segment_service_client::SegmentServiceClient;
use quintile_proto::segmentation::{
    ListLabelSetsRequest, ListMemberRecordsRequest, ListMemberRecordsResponse, ListMembersRequest, ListMembersResponse,
    ListSegmentsRequest, ListSegmentsResponse,
};
use std::time::Duration;
use tonic::{Code, Status};

/// Label sets of a page: more than a tenant may have.
const SETS_PER_PAGE: i32 = 1_000;
/// Records of a page.
const RECORDS_PER_PAGE: i32 = 500;
/// Segments of a page.
const SEGMENTS_PER_PAGE: i32 = 1_000;
/// Members of a page.
const MEMBERS_PER_PAGE: i32 = 10_000;
/// The largest page that is read.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// Times that a server is asked again which answers no more, and how long it is left alone before each.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

/// A server that is asked again where it was away for a while.
pub struct Server {
    config: Config,
    identity: Identity,
    session: Session,
    /// Whether it has answered at all: one that never did is not asked again.
    has_answered: bool,
    failures: u32,
}

/// Calls until it is answered: `$server` is asked by `$client` of `$role` for `$method` of `$request`.
macro_rules! ask {
    ($server:ident, $client:ident, $role:expr, $method:ident, $request:expr) => {
        loop {
            let client = $client::new(connect(&$server.config, $role)?);
            let mut client = client.max_decoding_message_size(MAX_PAGE_BYTES);
            match client.$method($server.session.request($request)).await {
                Ok(answer) => {
                    $server.went_well();
                    break Ok(answer.into_inner());
                }
                Err(status) => $server.recover(status).await?,
            }
        }
    };
}

impl Server {
    /// A server that lets somebody in.
    pub async fn begin(config: Config, identity: Identity) -> anyhow::Result<Self> {
        let session = Session::begin_long(&config, &identity).await?;
        Ok(Self { config, identity, session, has_answered: false, failures: 0 })
    }

    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// All rows of a kind, page by page.
    pub async fn export_rows(
        &mut self,
        kind: ExportKind,
        mut take: impl FnMut(ExportRowsResponse) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut cursor = String::new();
        loop {
            match self.export_from(kind, &mut cursor, &mut take).await {
                Ok(()) => return Ok(()),
                Err(error) => self.recover(error.downcast::<Status>()?).await?,
            }
        }
    }

    /// All rows of a kind behind a cursor, which follows the pages that were taken.
    async fn export_from(
        &mut self,
        kind: ExportKind,
        cursor: &mut String,
        take: &mut impl FnMut(ExportRowsResponse) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let request = ExportRowsRequest { kind: kind.into(), cursor: cursor.clone() };
        let client = ExportServiceClient::new(connect(&self.config, Role::Ingestion)?);
        let mut client = client.max_decoding_message_size(MAX_PAGE_BYTES);
        let mut pages = client.export_rows(self.session.request(request)).await?.into_inner();
        while let Some(page) = pages.message().await? {
            self.went_well();
            if page.complete {
                return Ok(());
            }
            let behind = page.cursor.clone();
            take(page)?;
            *cursor = behind;
        }
        Err(Status::unavailable("the export broke off").into())
    }

    /// By what platforms know some customers: of those who may be passed on.
    pub async fn export_audience(&mut self, customers: &[String]) -> anyhow::Result<ExportAudienceResponse> {
        let request = || ExportAudienceRequest { customers: customers.to_vec() };
        ask!(self, ExportServiceClient, Role::Ingestion, export_audience, request())
    }

    /// A page of records.
    pub async fn list_records(&mut self, page_token: &str) -> anyhow::Result<ListRecordsResponse> {
        let request = || ListRecordsRequest { page_size: RECORDS_PER_PAGE, page_token: page_token.to_owned() };
        ask!(self, StageServiceClient, Role::Lifecycle, list_records, request())
    }

    /// A page of the segments that the caller may use.
    pub async fn list_segments(&mut self, page_token: &str) -> anyhow::Result<ListSegmentsResponse> {
        let request = || ListSegmentsRequest { page_size: SEGMENTS_PER_PAGE, page_token: page_token.to_owned() };
        ask!(self, SegmentServiceClient, Role::Segmentation, list_segments, request())
    }

    /// The names of the labels of all sets that the caller may use.
    pub async fn labels(&mut self) -> anyhow::Result<Vec<String>> {
        let request = || ListLabelSetsRequest { page_size: SETS_PER_PAGE, page_token: String::new() };
        let sets: anyhow::Result<_> = ask!(self, LabelServiceClient, Role::Segmentation, list_label_sets, request());
        Ok(sets?.label_sets.into_iter().flat_map(|set| set.labels).map(|label| label.name).collect())
    }

    /// A page of the records of a segment's or label's members.
    pub async fn list_member_records(
        &mut self,
        parent: &str,
        page_token: &str,
    ) -> anyhow::Result<ListMemberRecordsResponse> {
        let (parent, page_token) = (parent.to_owned(), page_token.to_owned());
        let request = || ListMemberRecordsRequest {
            parent: parent.clone(),
            page_size: RECORDS_PER_PAGE,
            page_token: page_token.clone(),
        };
        ask!(self, SegmentServiceClient, Role::Segmentation, list_member_records, request())
    }

    /// A page of the members of a segment or label.
    pub async fn list_members(&mut self, parent: &str, page_token: &str) -> anyhow::Result<ListMembersResponse> {
        let (parent, page_token) = (parent.to_owned(), page_token.to_owned());
        let request = || ListMembersRequest {
            parent: parent.clone(),
            page_size: MEMBERS_PER_PAGE,
            page_token: page_token.clone(),
        };
        ask!(self, SegmentServiceClient, Role::Segmentation, list_members, request())
    }

    fn went_well(&mut self) {
        (self.has_answered, self.failures) = (true, 0);
    }

    /// Gets ready to ask again, if what went wrong may be over in a while; fails otherwise.
    async fn recover(&mut self, status: Status) -> anyhow::Result<()> {
        if !self.has_answered || self.failures == TRIES || !may_be_over_soon(&status) {
            return Err(status.into());
        }
        if self.failures == 0 {
            eprintln!("the server does not answer any more ({}): asking again", status.code());
        }
        self.failures += 1;
        tokio::time::sleep(PAUSE).await;
        // Where there is none to be had the next call says why.
        if let Ok(session) = Session::begin_long(&self.config, &self.identity).await {
            self.session = session;
        }
        Ok(())
    }
}

/// Whether a failure is one of the moment: of a token that ran out, of a server that is away or has too much to do.
fn may_be_over_soon(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Unauthenticated | Code::ResourceExhausted => true,
        // No server of ours answers so without saying more: the connection broke.
        Code::Unknown | Code::Internal | Code::Cancelled => status.details().is_empty(),
        _ => false,
    }
}
