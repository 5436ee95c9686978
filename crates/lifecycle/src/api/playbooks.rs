//! Playbooks: made, started, stopped, and what they bring about.

use super::next_best_actions::{Advisor, Measurements};
use super::offers::check_there as check_rewards;
use super::{contact_policies, enrolments, playbook_runs};
use crate::playbooks::{self as definitions, DEFAULT_GOAL_DAYS, segments_of};
use crate::running::{Playbooks, begin_following, forget_following};
use crate::store::playbooks::{self, Stored};
use crate::store::{deliveries, runs};
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::progress::Watermark;
use quintile_chain::{page, store_error};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::{language, names};
use quintile_proto::lifecycle::playbook_service_server::PlaybookService;
use quintile_proto::lifecycle::{
    ContactPolicy, CreatePlaybookRequest, DeletePlaybookRequest, DeletePlaybookResponse, DeliveryKind,
    EnrolCustomerRequest, GetContactPolicyRequest, GetNextBestActionsRequest, GetPlaybookOutcomeRequest,
    GetPlaybookRequest, ListPlaybookRunsRequest, ListPlaybookRunsResponse, ListPlaybookTemplatesRequest,
    ListPlaybookTemplatesResponse, ListPlaybooksRequest, ListPlaybooksResponse, NextBestActions, Playbook,
    PlaybookOutcome, PlaybookRun, PlaybookTemplate, StartPlaybookRequest, StopPlaybookRequest,
    UpdateContactPolicyRequest, UpdatePlaybookRequest, step,
};
use quintile_proto::segmentation::CheckMembersRequest;
use quintile_proto::types::{ErrorReason, Purpose};
use quintile_rpc::client::upstream_error;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::{StoreError, Transaction};
use std::sync::Arc;
use tonic::{Code, Request};

/// The most playbooks of a tenant.
const MAX_PLAYBOOKS: u64 = 200;
/// The most of them that run.
const MAX_RUNNING: usize = 100;
/// What the names of playbooks begin with.
const COLLECTION: &str = "playbooks/";
/// What the names of templates begin with.
const TEMPLATES: &str = "playbookTemplates/";

/// The handlers.
pub struct Handlers {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
    pub playbooks: Arc<Playbooks>,
    pub measurements: Measurements,
}

/// What a caller is told of an error of the store.
pub fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

/// Refuses what the state of things does not allow.
pub fn refused(problem: impl Into<String>) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}

/// The id in the name of a playbook.
pub fn id_in<'a>(field: &str, name: &'a str) -> Result<&'a str, ApiError> {
    let id = name.strip_prefix(COLLECTION).filter(|id| names::resource_id(id).is_ok());
    id.ok_or_else(|| ApiError::invalid_field(field, "must be playbooks/{id}"))
}

/// What a request says that a playbook is.
fn checked(playbook: Playbook) -> Result<Playbook, ApiError> {
    definitions::check(&playbook)
        .map_err(|problem| ApiError::invalid_field(format!("playbook.{}", problem.field), problem.problem))?;
    let goal_days = if playbook.goal_days == 0 { DEFAULT_GOAL_DAYS } else { playbook.goal_days };
    Ok(Playbook { goal_days, ..playbook })
}

/// Refuses what is no language, of which none at all is one.
fn check_language(tag: &str) -> Result<(), ApiError> {
    if tag.is_empty() || language::is_tag(tag) {
        return Ok(());
    }
    Err(ApiError::invalid_field("language", "must be a BCP 47 tag, such as en or zh-Hant"))
}

/// What a playbook is to be made of.
fn content(request: &CreatePlaybookRequest) -> Result<Playbook, ApiError> {
    match (&request.playbook, request.template.as_str()) {
        (Some(_), template) if !template.is_empty() => {
            Err(ApiError::invalid_field("template", "must be empty where the playbook is said"))
        }
        (Some(_), _) if !request.language.is_empty() => {
            Err(ApiError::invalid_field("language", "must be empty where the playbook is said"))
        }
        (Some(playbook), _) => checked(playbook.clone()),
        (None, "") => Err(ApiError::invalid_field("playbook", "is required")),
        (None, name) => {
            check_language(&request.language)?;
            let id = name.strip_prefix(TEMPLATES);
            let known = id.and_then(|id| definitions::template(id, &request.language));
            let known =
                known.ok_or_else(|| ApiError::invalid_field("template", "must be one of ListPlaybookTemplates"))?;
            checked(known.clone())
        }
    }
}

impl Handlers {
    /// A playbook.
    pub async fn get(&self, tenant: TenantId, id: &str) -> Result<Stored, ApiError> {
        let found = playbooks::get(self.runtime.database.reader(), tenant, id).await.map_err(failed)?;
        found.ok_or_else(ApiError::not_found)
    }

    /// Begins a change of a tenant's playbooks: its transaction and its number.
    async fn begin(&self, tenant: TenantId) -> Result<(Transaction, i64), ApiError> {
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        let revision = playbooks::begin_change(&transaction, tenant).await.map_err(failed)?;
        Ok((transaction, revision))
    }

    /// Has a playbook changed by whoever knows its etag, or any.
    async fn change(
        &self,
        caller: &Caller,
        name: &str,
        etag: &str,
        change: impl FnOnce(&mut Stored) -> Result<(), ApiError> + Send,
    ) -> Answer<Playbook> {
        let id = id_in("playbook.name", name)?;
        caller.is_about(name);
        let tenant = caller.tenant().id;
        let (transaction, revision) = self.begin(tenant).await?;
        let mut stored = find(&transaction, tenant, id, etag).await?;
        change(&mut stored)?;
        stored.revision = revision;
        playbooks::write(&transaction, tenant, &stored).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(caller.respond(stored.message()))
    }

    async fn create(&self, caller: &Caller, id: &str, content: Playbook) -> Result<Stored, ApiError> {
        let tenant = caller.tenant().id;
        let (transaction, revision) = self.begin(tenant).await?;
        let stored = async {
            if playbooks::get(&transaction, tenant, id).await?.is_some() {
                return Ok(Err(ApiError::already_exists("playbook")));
            }
            if playbooks::count(&transaction, tenant).await? >= MAX_PLAYBOOKS {
                return Ok(Err(refused(format!("there are {MAX_PLAYBOOKS} playbooks already"))));
            }
            let stored = Stored::draft(id, revision, content, self.playbooks.clock.now());
            playbooks::write(&transaction, tenant, &stored).await?;
            transaction.commit().await?;
            Ok(Ok(stored))
        };
        stored.await.map_err(|error: StoreError| failed(error))?
    }

    /// Checks that a caller may start a playbook: that it may use the segments, that they are there, and that so are the endpoints.
    async fn check_start(&self, caller: &Caller, playbook: &Playbook) -> Result<(), ApiError> {
        // Whoever does not reach everybody must not have everybody contacted. Whom it reaches, where it may start a playbook at all, are those who consent to
        // marketing: see the role `marketer`.
        if caller.scope().is_some() && playbook.purpose() != Purpose::Marketing {
            return Err(ApiError::beyond_reach());
        }
        for step in playbook.variants.iter().flat_map(|variant| &variant.steps) {
            let (name, kind) = match &step.action {
                Some(step::Action::Webhook(webhook)) => (&webhook.endpoint, DeliveryKind::Webhook),
                Some(step::Action::Email(email)) => (&email.endpoint, DeliveryKind::Email),
                _ => continue,
            };
            let endpoint = self.playbooks.endpoints.of(&caller.tenant().name, name);
            if endpoint.is_none_or(|endpoint| endpoint.kind() != kind) {
                let problem = "is not configured, or is of the other kind: of webhooks, or of e-mails";
                return Err(refused(format!("the endpoint {name} {problem}")));
            }
        }
        check_rewards(&self.runtime, caller.tenant().id, playbook).await?;
        for segment in segments_of(playbook, true) {
            // Whether the caller may know who is in it is segmentation's to say, of whichever customer.
            let customers = vec![CustomerId(1).to_string()];
            let message = CheckMembersRequest { parent: segment.to_owned(), customers };
            let request = self.playbooks.credentials.request_for(caller, message).await;
            let request = request.map_err(|status| upstream_error(&status))?;
            match self.playbooks.segments().check_members(request).await {
                Ok(_) => {}
                Err(status) if status.code() == Code::NotFound => {
                    return Err(refused("a segment that it names is not there"));
                }
                Err(status) if status.code() == Code::PermissionDenied => {
                    return Err(ApiError::field_denied("playbook"));
                }
                Err(status) => return Err(upstream_error(&status)),
            }
        }
        Ok(())
    }

    async fn start(&self, caller: &Caller, id: &str, etag: &str) -> Result<Stored, ApiError> {
        let tenant = caller.tenant();
        let found = self.get(tenant.id, id).await?;
        if found.is_running() {
            return Err(refused("it runs already"));
        }
        self.check_start(caller, &found.playbook).await?;
        let now = self.playbooks.now(tenant).await.map_err(|status| upstream_error(&status))?;
        let beginning = begin_following(&self.playbooks, tenant, &found, now).await;
        let beginning = beginning.map_err(|status| upstream_error(&status))?;
        let (transaction, revision) = self.begin(tenant.id).await?;
        let mut stored = find(&transaction, tenant.id, id, etag).await?;
        if stored.revision != found.revision {
            // What was checked is not what is there.
            return Err(ApiError::stale_etag());
        }
        if playbooks::running(&transaction, tenant.id).await.map_err(failed)?.len() >= MAX_RUNNING {
            return Err(refused(format!("{MAX_RUNNING} playbooks run already")));
        }
        let started = async {
            if let Some(beginning) = beginning {
                beginning.write(&transaction, tenant.id).await?;
            }
            stored.start(now);
            stored.revision = revision;
            playbooks::write(&transaction, tenant.id, &stored).await?;
            Ok(transaction.commit().await?)
        };
        started.await.map_err(|error: StoreError| failed(error))?;
        Ok(stored)
    }

    async fn stop(&self, caller: &Caller, id: &str) -> Result<Stored, ApiError> {
        let tenant = caller.tenant().id;
        let (transaction, revision) = self.begin(tenant).await?;
        let mut stored = find(&transaction, tenant, id, "").await?;
        if !stored.is_running() {
            return Ok(stored);
        }
        let stopped = async {
            stored.stop(self.runtime.business.now());
            stored.revision = revision;
            playbooks::write(&transaction, tenant, &stored).await?;
            runs::stop_playbook(&transaction, tenant, stored.number).await?;
            deliveries::cancel_playbook(&transaction, tenant, stored.number).await?;
            Ok(transaction.commit().await?)
        };
        stopped.await.map_err(|error: StoreError| failed(error))?;
        self.runtime.progress.of(tenant).raise(Watermark::default());
        Ok(stored)
    }
}

/// A playbook, for somebody who knows its etag, or any.
async fn find(transaction: &Transaction, tenant: TenantId, id: &str, etag: &str) -> Result<Stored, ApiError> {
    let found = playbooks::get(transaction, tenant, id).await.map_err(failed)?;
    let stored = found.ok_or_else(ApiError::not_found)?;
    if etag.is_empty() || etag == stored.etag() { Ok(stored) } else { Err(ApiError::stale_etag()) }
}

#[tonic::async_trait]
impl PlaybookService for Handlers {
    async fn create_playbook(&self, request: Request<CreatePlaybookRequest>) -> Answer<Playbook> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let id = &request.playbook_id;
        names::resource_id(id).map_err(|error| ApiError::invalid_text("playbook_id", error))?;
        let content = content(&request)?;
        caller.is_about(format!("{COLLECTION}{id}"));
        let stored = self.create(&caller, id, content).await?;
        Ok(caller.respond(stored.message()))
    }

    async fn get_playbook(&self, request: Request<GetPlaybookRequest>) -> Answer<Playbook> {
        let caller = Caller::of(&request)?;
        let id = id_in("name", &request.get_ref().name)?;
        let stored = self.get(caller.tenant().id, id).await?;
        Ok(caller.respond(stored.message()))
    }

    async fn list_playbooks(&self, request: Request<ListPlaybooksRequest>) -> Answer<ListPlaybooksResponse> {
        let caller = Caller::of(&request)?;
        let ListPlaybooksRequest { page_size, page_token } = request.into_inner();
        let (tenant, sealer) = (caller.tenant().id, &self.runtime.sealer);
        let size = convert::page_size(page_size, 50, 200)?;
        let query = "ListPlaybooks";
        let decode = |bytes| String::from_utf8(bytes).ok();
        let behind = page::begin(sealer, tenant, query, &page_token, String::new(), decode)?;
        let read = playbooks::page(self.runtime.database.reader(), tenant, &behind, size).await.map_err(failed)?;
        let last = read.last().filter(|_| read.len() as u64 == size);
        let id = last.map(|last| last.playbook.name.trim_start_matches(COLLECTION).as_bytes());
        let next_page_token = id.map(|id| sealer.seal(tenant, query.as_bytes(), id)).unwrap_or_default();
        let playbooks = read.iter().map(Stored::message).collect();
        Ok(caller.respond(ListPlaybooksResponse { playbooks, next_page_token }))
    }

    async fn update_playbook(&self, request: Request<UpdatePlaybookRequest>) -> Answer<Playbook> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner().playbook;
        let asked = asked.ok_or_else(|| ApiError::invalid_field("playbook", "is required"))?;
        id_in("playbook.name", &asked.name)?;
        let (name, etag) = (asked.name.clone(), asked.etag.clone());
        let content = checked(asked)?;
        let replace = |stored: &mut Stored| {
            if stored.is_running() {
                return Err(refused("it runs: stop it first"));
            }
            stored.replace(content);
            Ok(())
        };
        self.change(&caller, &name, &etag, replace).await
    }

    async fn start_playbook(&self, request: Request<StartPlaybookRequest>) -> Answer<Playbook> {
        let caller = Caller::of(&request)?;
        let StartPlaybookRequest { name, etag } = request.into_inner();
        let id = id_in("name", &name)?;
        caller.is_about(&name);
        let stored = self.start(&caller, id, &etag).await?;
        Ok(caller.respond(stored.message()))
    }

    async fn stop_playbook(&self, request: Request<StopPlaybookRequest>) -> Answer<Playbook> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        let id = id_in("name", &name)?;
        caller.is_about(&name);
        let stored = self.stop(&caller, id).await?;
        Ok(caller.respond(stored.message()))
    }

    async fn delete_playbook(&self, request: Request<DeletePlaybookRequest>) -> Answer<DeletePlaybookResponse> {
        let caller = Caller::of(&request)?;
        let DeletePlaybookRequest { name, etag } = request.into_inner();
        let id = id_in("name", &name)?;
        caller.is_about(&name);
        let tenant = caller.tenant().id;
        let (transaction, _) = self.begin(tenant).await?;
        let stored = find(&transaction, tenant, id, &etag).await?;
        if stored.is_running() {
            return Err(refused("it runs: stop it first").into());
        }
        let deleted = async {
            playbooks::delete(&transaction, tenant, &stored).await?;
            runs::forget(&transaction, tenant, stored.number).await?;
            forget_following(&transaction, tenant, stored.number).await?;
            Ok(transaction.commit().await?)
        };
        deleted.await.map_err(|error: StoreError| failed(error))?;
        Ok(caller.respond(DeletePlaybookResponse {}))
    }

    async fn list_playbook_templates(
        &self,
        request: Request<ListPlaybookTemplatesRequest>,
    ) -> Answer<ListPlaybookTemplatesResponse> {
        let caller = Caller::of(&request)?;
        let language = request.into_inner().language;
        check_language(&language)?;
        let templates = definitions::templates(&language).iter().map(|(id, playbook)| PlaybookTemplate {
            name: format!("{TEMPLATES}{id}"),
            playbook: Some(playbook.clone()),
        });
        Ok(caller.respond(ListPlaybookTemplatesResponse { templates: templates.collect() }))
    }

    async fn list_playbook_runs(&self, request: Request<ListPlaybookRunsRequest>) -> Answer<ListPlaybookRunsResponse> {
        let caller = Caller::of(&request)?;
        playbook_runs::list(&self.runtime, &self.link, &caller, request.into_inner()).await
    }

    async fn get_playbook_outcome(&self, request: Request<GetPlaybookOutcomeRequest>) -> Answer<PlaybookOutcome> {
        let caller = Caller::of(&request)?;
        let GetPlaybookOutcomeRequest { name, version } = request.into_inner();
        let id = id_in("name", &name)?;
        if version < 0 {
            return Err(ApiError::invalid_field("version", "must not be negative").into());
        }
        let stored = self.get(caller.tenant().id, id).await?;
        let version = if version == 0 { stored.playbook.version } else { version };
        if version > stored.playbook.version {
            return Err(ApiError::not_found().into());
        }
        let outcome = playbook_runs::outcome(&self.runtime, &caller, &stored, version).await?;
        Ok(caller.respond(outcome))
    }

    async fn get_next_best_actions(&self, request: Request<GetNextBestActionsRequest>) -> Answer<NextBestActions> {
        let caller = Caller::of(&request)?;
        let customer = convert::customer("customer", &request.get_ref().customer, None)?;
        let Self { runtime, link, playbooks, measurements } = self;
        Advisor { runtime, link, playbooks, measurements, caller: &caller }.advise(customer).await
    }

    async fn enrol_customer(&self, request: Request<EnrolCustomerRequest>) -> Answer<PlaybookRun> {
        let caller = Caller::of(&request)?;
        enrolments::enrol(self, &caller, request.into_inner()).await
    }

    async fn get_contact_policy(&self, request: Request<GetContactPolicyRequest>) -> Answer<ContactPolicy> {
        let caller = Caller::of(&request)?;
        contact_policies::get(&self.runtime, &caller).await
    }

    async fn update_contact_policy(&self, request: Request<UpdateContactPolicyRequest>) -> Answer<ContactPolicy> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner().policy;
        let asked = asked.ok_or_else(|| ApiError::invalid_field("policy", "is required"))?;
        contact_policies::update(&self.runtime, &self.playbooks, &caller, asked).await
    }
}
