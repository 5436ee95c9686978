//! Everything that is held about a person, in parts: from ingestion's own tables, then from the other services with the caller's
//! own rights.

mod lifecycle;

use super::opening_balance;
use crate::features::Opening;
use crate::intake::Declared;
use crate::store::customers::StoredCustomer;
use crate::store::facts::{Place, Reader};
use crate::store::keys::TenantKeys;
use crate::store::{consents, erasures, identities, openings};
use crate::{Service, feature_records};
use futures::SinkExt;
use futures::channel::mpsc;
use prost::Message;
use quintile_chain::store_error;
use quintile_domain::masking::Masked;
use quintile_proto::ingestion::{
    ExportPersonalDataResponse, ExportedMembershipChange, ExportedReject, FactKind, Reject, Row, row,
};
use quintile_proto::lifecycle::GetStageRequest;
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::scoring::GetScoreRequest;
use quintile_proto::scoring::score_service_client::ScoreServiceClient;
use quintile_proto::segmentation::profile_service_client::ProfileServiceClient;
use quintile_proto::segmentation::{GetProfileRequest, ListMembershipChangesRequest, MembershipChange};
use quintile_rpc::{AnswerStream, ApiError, Caller, convert};
use quintile_store::StoreError;
use std::sync::Arc;
use tonic::{Code, Response, Status};

/// Orders, events and changes that are read at once.
const PAGE: u64 = 500;
/// About how large a part becomes.
const PART_BYTES: usize = 1024 * 1024;

type Sender = mpsc::Sender<Result<Masked<ExportPersonalDataResponse>, Status>>;

/// Starts an export.
pub async fn start(
    service: Service,
    caller: Caller,
    name: &str,
) -> Result<AnswerStream<ExportPersonalDataResponse>, ApiError> {
    let id = convert::customer("name", name, None)?;
    caller.is_about(id.to_string());
    let (keys, customer) = service.customer_of(&caller, id).await?;
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut failed = sender.clone();
        let mut export =
            Export { service, caller, keys, customer, sender, part: ExportPersonalDataResponse::default() };
        // A reader that went away is no failure; anything else is told and ends the stream.
        if let Err(Some(status)) = export.send_all().await {
            let _ = failed.send(Err(status)).await;
        }
    });
    Ok(Box::pin(receiver))
}

struct Export {
    service: Service,
    caller: Caller,
    keys: TenantKeys,
    customer: StoredCustomer,
    sender: Sender,
    /// What is gathered and not sent yet.
    part: ExportPersonalDataResponse,
}

/// Why an export ends early: with the status to tell, or with `None` when nobody listens any more.
type Stopped = Option<Status>;

fn stored<T>(result: Result<T, StoreError>) -> Result<T, Stopped> {
    result.map_err(|error| Some(store_error(&error).into()))
}

impl Export {
    async fn send_all(&mut self) -> Result<(), Stopped> {
        self.part.export_time = Some(convert::timestamp(self.service.clock.now()));
        self.part.customer = Some(self.customer.message(&*self.declared().await?));
        self.part.restricted = self.customer.restricted_at.is_some();
        self.send_consents().await?;
        self.send_facts().await?;
        self.add_opening_balance().await?;
        self.send_rejects().await?;
        self.add_derived().await?;
        self.send_membership_changes().await?;
        self.send_from_lifecycle().await?;
        self.part.complete = true;
        self.send().await
    }

    /// What the tenant has declared.
    async fn declared(&self) -> Result<Arc<Declared>, Stopped> {
        stored(self.service.declarations.of(self.caller.tenant().id).await)
    }

    /// Sends the part.
    async fn send(&mut self) -> Result<(), Stopped> {
        let mut part = std::mem::take(&mut self.part);
        part.name = self.customer.id.to_string();
        let masked = self.caller.view_of_reached([(self.customer.id, &self.customer.attributes)]).mask(part);
        self.sender.send(Ok(masked)).await.map_err(|_| None)
    }

    /// Sends the part if it is large enough.
    async fn send_if_large(&mut self) -> Result<(), Stopped> {
        if self.part.encoded_len() >= PART_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send_consents(&mut self) -> Result<(), Stopped> {
        let (reader, tenant) = (self.service.runtime.database.reader().clone(), self.caller.tenant().id);
        let mut before = i64::MAX;
        loop {
            let page = stored(consents::history(&reader, tenant, &self.keys, &self.customer, before, PAGE).await)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            before = *last;
            self.part.consent_history.extend(page.into_iter().map(|(_, event)| event));
            self.send_if_large().await?;
        }
    }

    async fn send_facts(&mut self) -> Result<(), Stopped> {
        let (connection, tenant) = (self.service.runtime.database.reader().clone(), self.caller.tenant().clone());
        let customers = std::slice::from_ref(&self.customer);
        let identities = stored(identities::by_subject(&connection, tenant.id, &self.keys, customers).await)?;
        let subjects = stored(consents::subjects(&connection, tenant.id, self.customer.id).await)?;
        let keys = self.keys.clone();
        let reader = Reader { tenant: &tenant, keys: &keys, subjects: &subjects, identities: &identities };
        let mut behind = Place::newest();
        loop {
            let page = stored(reader.page(&connection, FactKind::Unspecified, &behind, PAGE).await)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            behind = last.clone();
            for (_, fact) in page {
                self.part.orders.extend(fact.order);
                self.part.refunds.extend(fact.refund);
                self.part.interactions.extend(fact.interaction);
                self.part.feedback.extend(fact.feedback);
                self.send_if_large().await?;
            }
        }
    }

    async fn add_opening_balance(&mut self) -> Result<(), Stopped> {
        let (reader, tenant) = (self.service.runtime.database.reader(), self.caller.tenant());
        let subjects = stored(consents::subjects(reader, tenant.id, self.customer.id).await)?;
        let bodies = stored(openings::bodies(reader, tenant.id, &subjects).await)?;
        let balances = stored(openings::decoded(&bodies))?;
        let mut whole = Opening::default();
        for balance in balances.values() {
            whole.add(balance);
        }
        self.part.opening_balance = (!balances.is_empty()).then(|| opening_balance::message(whole, tenant.currency));
        self.send_if_large().await
    }

    async fn send_rejects(&mut self) -> Result<(), Stopped> {
        let (reader, tenant) = (self.service.runtime.database.reader().clone(), self.caller.tenant().id);
        let (rejects, _) = stored(erasures::rejects_of(&reader, tenant, &self.keys, &self.customer, 0).await)?;
        let declared = self.declared().await?;
        for (model, mut row) in rejects {
            if let Some(row::Fact::Customer(customer)) = &mut row.fact {
                declared.confirm_classes(customer);
            }
            let reject =
                Reject { row: model.row_index, reason: model.reason, field: model.field, message: model.message };
            self.part.rejects.push(exported_reject(model.stream_id, model.batch_offset, reject, row));
            self.send_if_large().await?;
        }
        Ok(())
    }

    /// What is derived and of one piece. A customer without features is out of everything derived: then nothing is missing.
    async fn add_derived(&mut self) -> Result<(), Stopped> {
        let (runtime, tenant, id) = (&self.service.runtime, self.caller.tenant().clone(), self.customer.id);
        let traits = stored(self.service.traits.of(&tenant).await)?;
        let computed =
            feature_records::compute(runtime.database.reader(), &tenant, &traits, &[id], runtime.business.now()).await;
        self.part.features = stored(computed)?.pop().and_then(|derived| derived.record.features);
        let (credentials, peers, caller) = (&self.service.credentials, &self.service.peers, &self.caller);
        let mut scores = ScoreServiceClient::new(peers.scoring.clone());
        let mut stages = StageServiceClient::new(peers.lifecycle.clone());
        let mut profiles = ProfileServiceClient::new(peers.segmentation.clone());
        let score = async {
            let message = GetScoreRequest { name: id.part_name("score") };
            scores.get_score(credentials.request_for(caller, message).await?).await
        };
        let stage = async {
            let message = GetStageRequest { name: id.part_name("stage") };
            stages.get_stage(credentials.request_for(caller, message).await?).await
        };
        let profile = async {
            let message = GetProfileRequest { name: id.part_name("profile") };
            profiles.get_profile(credentials.request_for(caller, message).await?).await
        };
        let (score, stage, profile) = tokio::join!(score, stage, profile);
        let missing = &mut self.part.missing_parts;
        self.part.scores = held("scores", score, missing).and_then(|score| score.values);
        self.part.stage = held("stage", stage, missing).and_then(|stage| stage.values);
        if let Some(profile) = held("memberships", profile, missing) {
            (self.part.labels, self.part.segments) = (profile.labels, profile.segments);
        }
        self.send_if_large().await
    }

    async fn send_membership_changes(&mut self) -> Result<(), Stopped> {
        let mut page_token = String::new();
        loop {
            let mut client = ProfileServiceClient::new(self.service.peers.segmentation.clone());
            let parent = self.customer.id.to_string();
            let message = ListMembershipChangesRequest { parent, page_size: PAGE as i32, page_token };
            let answer = async {
                let request = self.service.credentials.request_for(&self.caller, message).await?;
                client.list_membership_changes(request).await
            };
            let answer = answer.await;
            let Some(page) = held("membership_changes", answer, &mut self.part.missing_parts) else { return Ok(()) };
            self.part.membership_changes.extend(page.changes.into_iter().map(exported_change));
            self.send_if_large().await?;
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            page_token = page.next_page_token;
        }
    }
}

/// What another service holds. That it holds nothing is an answer; anything else is a missing part.
fn held<T>(name: &str, answer: Result<Response<T>, Status>, missing: &mut Vec<String>) -> Option<T> {
    match answer {
        Ok(response) => Some(response.into_inner()),
        Err(status) if status.code() == Code::NotFound => None,
        Err(_) => {
            missing.push(name.to_owned());
            None
        }
    }
}

/// A reject with its row. What is about nobody in particular is nobody's to export.
fn exported_reject(stream_id: String, offset: i64, reject: Reject, row: Row) -> ExportedReject {
    let mut exported = ExportedReject { stream_id, offset, reject: Some(reject), ..ExportedReject::default() };
    match row.fact {
        Some(row::Fact::Customer(customer)) => exported.customer = Some(customer),
        Some(row::Fact::Order(order)) => exported.order = Some(order),
        Some(row::Fact::Refund(refund)) => exported.refund = Some(refund),
        Some(row::Fact::Interaction(interaction)) => exported.interaction = Some(interaction),
        Some(row::Fact::Feedback(feedback)) => exported.feedback = Some(feedback),
        Some(row::Fact::AcquisitionSpend(_) | row::Fact::ExchangeRate(_)) | None => {}
    }
    exported
}

fn exported_change(change: MembershipChange) -> ExportedMembershipChange {
    let cause = change.cause().as_str_name().trim_start_matches("MEMBERSHIP_CAUSE_").to_owned();
    ExportedMembershipChange { parent: change.parent, entered: change.entered, valid_time: change.valid_time, cause }
}
