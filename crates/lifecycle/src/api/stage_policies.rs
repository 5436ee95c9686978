//! Stage policies: made, tried on everybody, and put in force.

use super::{policy_previews, stage_rules};
use crate::restaging;
use crate::stages::StageRule;
use crate::store::stage_policies::{self, POLICY, Version, policy_of};
use crate::worker::StageLink;
use prost::Message;
use quintile_chain::context::Runtime;
use quintile_chain::operations::message as operation_message;
use quintile_chain::{page, store_error};
use quintile_domain::names;
use quintile_proto::lifecycle::stage_policy_service_server::StagePolicyService;
use quintile_proto::lifecycle::{
    CreateStagePolicyVersionRequest, DeleteStagePolicyVersionRequest, DeleteStagePolicyVersionResponse,
    GetStagePolicyRequest, GetStagePolicyVersionRequest, ListStageFieldsRequest, ListStageFieldsResponse,
    ListStagePolicyVersionsRequest, ListStagePolicyVersionsResponse, PreviewStagePolicyVersionRequest,
    PreviewStagePolicyVersionResponse, PublishStagePolicyVersionRequest, StagePolicy, StagePolicyState,
    StagePolicyVersion,
};
use quintile_proto::longrunning::Operation;
use quintile_proto::types::ErrorReason;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::idempotency::{self, Request as IdempotentRequest};
use quintile_store::{StoreError, Transaction};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The most versions of a policy.
const MAX_VERSIONS: u64 = 1_000;
/// The most bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 1_024;

/// The handlers.
pub struct StagePolicies {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

fn refused(problem: impl Into<String>) -> ApiError {
    ApiError::failed_precondition(ErrorReason::FailedPrecondition, problem)
}

fn check_policy(field: &str, name: &str) -> Result<(), ApiError> {
    if name == POLICY { Ok(()) } else { Err(ApiError::invalid_field(field, format!("must be {POLICY}"))) }
}

fn number_in(name: &str) -> Result<i64, ApiError> {
    let number = name.strip_prefix(POLICY).and_then(|rest| rest.strip_prefix("/versions/")).and_then(names::number);
    let number = number.filter(|number| *number > 0);
    number.ok_or_else(|| ApiError::invalid_field("name", format!("must be {POLICY}/versions/{{number}}")))
}

/// A draft as a request says it.
struct Draft {
    message: StagePolicyVersion,
    rules: Arc<[StageRule]>,
    request_id: String,
    body: Vec<u8>,
}

impl Draft {
    fn of(request: CreateStagePolicyVersionRequest) -> Result<Self, ApiError> {
        check_policy("parent", &request.parent)?;
        let body = CreateStagePolicyVersionRequest { request_id: String::new(), ..request.clone() }.encode_to_vec();
        let CreateStagePolicyVersionRequest { version, request_id, .. } = request;
        if !request_id.is_empty() && uuid::Uuid::try_parse(&request_id).is_err() {
            return Err(ApiError::invalid_field("request_id", "must be a UUID"));
        }
        let message = version.ok_or_else(|| ApiError::invalid_field("version", "is required"))?;
        names::optional_text(&message.description, MAX_DESCRIPTION_BYTES)
            .map_err(|error| ApiError::invalid_text("version.description", error))?;
        let rules = stage_rules::read("version.rules", &message.rules)?;
        Ok(Self { message, rules, request_id, body })
    }

    /// The version, whose parameters are those in force where it says nothing. Its rules are its own.
    fn version(self, in_force: &Version, number: i64) -> Result<Version, ApiError> {
        let parameters = self.message.parameters.unwrap_or_default();
        let policy = policy_of(&parameters, self.rules, &in_force.policy, number);
        policy.validate().map_err(|error| {
            ApiError::invalid_field(format!("version.parameters.{}", error.parameter()), error.to_string())
        })?;
        Ok(Version {
            policy,
            state: StagePolicyState::Draft,
            description: self.message.description,
            created_at: None,
            published_at: None,
            retired_at: None,
            in_force_from: None,
            revision: 0,
            changed: 0,
        })
    }
}

impl StagePolicies {
    /// Begins a change of a tenant's policy.
    async fn begin(&self, tenant: &Tenant) -> Result<(Transaction, i64), ApiError> {
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        let revision = stage_policies::begin_change(&transaction, tenant.id).await.map_err(failed)?;
        Ok((transaction, revision))
    }

    async fn create(&self, caller: &Caller, draft: Draft) -> Result<Version, ApiError> {
        let tenant = caller.tenant();
        let (transaction, revision) = self.begin(tenant).await?;
        let (id, body) = (draft.request_id.clone(), draft.body.clone());
        let request = IdempotentRequest { tenant: tenant.id, method: "CreateStagePolicyVersion", id: &id, body: &body };
        if !id.is_empty()
            && let Some(earlier) = idempotency::earlier_result(&transaction, request).await.map_err(failed)?
        {
            let number = earlier.parse().unwrap_or_default();
            let made = stage_policies::get(&transaction, tenant.id, number).await.map_err(failed)?;
            return made.ok_or_else(ApiError::not_found);
        }
        if stage_policies::count(&transaction, tenant.id).await.map_err(failed)? >= MAX_VERSIONS {
            return Err(refused(format!("the policy has {MAX_VERSIONS} versions already")));
        }
        let in_force = stage_policies::published(&transaction, tenant.id).await.map_err(failed)?;
        let latest = stage_policies::latest(&transaction, tenant.id).await.map_err(failed)?;
        let now = self.link.clock.now();
        let version = Version { created_at: Some(now), revision, ..draft.version(&in_force, latest + 1)? };
        let written = async {
            stage_policies::write(&transaction, tenant.id, &version).await?;
            if !id.is_empty() {
                idempotency::remember(&transaction, request, &version.policy.version.to_string(), now).await?;
            }
            Ok(transaction.commit().await?)
        };
        written.await.map_err(|error: StoreError| failed(error))?;
        Ok(version)
    }

    /// A version, for somebody who knows its etag, or any.
    async fn found(
        &self,
        transaction: &Transaction,
        tenant: &Tenant,
        number: i64,
        etag: &str,
    ) -> Result<Version, ApiError> {
        let found = stage_policies::get(transaction, tenant.id, number).await.map_err(failed)?;
        let version = found.ok_or_else(ApiError::not_found)?;
        if etag.is_empty() || etag == version.etag() { Ok(version) } else { Err(ApiError::stale_etag()) }
    }

    async fn publish(&self, caller: &Caller, number: i64, etag: &str) -> Result<Operation, ApiError> {
        let tenant = caller.tenant();
        let (transaction, revision) = self.begin(tenant).await?;
        let version = self.found(&transaction, tenant, number, etag).await?;
        if version.state != StagePolicyState::Draft {
            return Err(refused("only a draft can be published: make a new version"));
        }
        restaging::check_room(&transaction, tenant).await?;
        let published = async {
            let now = self.link.clock.now();
            let before = stage_policies::published(&transaction, tenant.id).await?;
            let retired = Version { state: StagePolicyState::Retired, retired_at: Some(now), revision, ..before };
            stage_policies::write(&transaction, tenant.id, &retired).await?;
            let published = Version {
                state: StagePolicyState::Published,
                published_at: Some(now),
                in_force_from: Some(self.runtime.business.now()),
                revision,
                ..version
            };
            stage_policies::write(&transaction, tenant.id, &published).await?;
            let operation = restaging::begin(&transaction, tenant, restaging::PUBLISH, &published.name(), now).await?;
            transaction.commit().await?;
            Ok(operation)
        };
        let operation = published.await.map_err(|error: StoreError| failed(error))?;
        // This process's reads go by it at once. It is written whether or not that succeeds now: they come to it in a moment.
        if let Err(error) = self.link.policies.of(tenant.id).await {
            tracing::debug!(%error, "the policy in force is read a moment later");
        }
        Ok(operation_message(&operation))
    }
}

#[tonic::async_trait]
impl StagePolicyService for StagePolicies {
    type PreviewStagePolicyVersionStream = AnswerStream<PreviewStagePolicyVersionResponse>;

    async fn get_stage_policy(&self, request: Request<GetStagePolicyRequest>) -> Answer<StagePolicy> {
        let caller = Caller::of(&request)?;
        check_policy("name", &request.get_ref().name)?;
        let (database, tenant) = (self.runtime.database.reader(), caller.tenant().id);
        let published = stage_policies::published(database, tenant).await.map_err(failed)?;
        let latest_version = stage_policies::latest(database, tenant).await.map_err(failed)?;
        let published = Some(published.message());
        Ok(caller.respond(StagePolicy { name: POLICY.to_owned(), published, latest_version }))
    }

    async fn create_stage_policy_version(
        &self,
        request: Request<CreateStagePolicyVersionRequest>,
    ) -> Answer<StagePolicyVersion> {
        let caller = Caller::of(&request)?;
        let draft = Draft::of(request.into_inner())?;
        caller.is_about(POLICY);
        let version = self.create(&caller, draft).await?;
        Ok(caller.respond(version.message()))
    }

    async fn get_stage_policy_version(
        &self,
        request: Request<GetStagePolicyVersionRequest>,
    ) -> Answer<StagePolicyVersion> {
        let caller = Caller::of(&request)?;
        let number = number_in(&request.get_ref().name)?;
        let found = stage_policies::get(self.runtime.database.reader(), caller.tenant().id, number).await;
        let found = found.map_err(failed)?.ok_or_else(ApiError::not_found)?;
        Ok(caller.respond(found.message()))
    }

    async fn list_stage_fields(&self, request: Request<ListStageFieldsRequest>) -> Answer<ListStageFieldsResponse> {
        let caller = Caller::of(&request)?;
        Ok(caller.respond(ListStageFieldsResponse { fields: stage_rules::fields() }))
    }

    async fn list_stage_policy_versions(
        &self,
        request: Request<ListStagePolicyVersionsRequest>,
    ) -> Answer<ListStagePolicyVersionsResponse> {
        let caller = Caller::of(&request)?;
        let ListStagePolicyVersionsRequest { parent, page_size, page_token } = request.into_inner();
        check_policy("parent", &parent)?;
        let (tenant, sealer) = (caller.tenant().id, &self.runtime.sealer);
        let size = convert::page_size(page_size, 20, 100)?;
        let query = "ListStagePolicyVersions";
        let decode = |bytes: Vec<u8>| bytes.try_into().ok().map(i64::from_be_bytes);
        let before = page::begin(sealer, tenant, query, &page_token, i64::MAX, decode)?;
        let read = stage_policies::page(self.runtime.database.reader(), tenant, before, size).await.map_err(failed)?;
        // Nothing is behind the first version.
        let last = read.last().map(|last| last.policy.version).filter(|last| *last > 1);
        let next_page_token = page::next_behind(sealer, tenant, query, read.len() as u64 == size, last);
        let versions = read.iter().map(Version::message).collect();
        Ok(caller.respond(ListStagePolicyVersionsResponse { versions, next_page_token }))
    }

    async fn delete_stage_policy_version(
        &self,
        request: Request<DeleteStagePolicyVersionRequest>,
    ) -> Answer<DeleteStagePolicyVersionResponse> {
        let caller = Caller::of(&request)?;
        let DeleteStagePolicyVersionRequest { name, etag } = request.into_inner();
        let number = number_in(&name)?;
        caller.is_about(name);
        let tenant = caller.tenant();
        let (transaction, _) = self.begin(tenant).await?;
        let version = self.found(&transaction, tenant, number, &etag).await?;
        if version.state != StagePolicyState::Draft {
            return Err(refused("only a draft can be deleted").into());
        }
        stage_policies::delete(&transaction, tenant.id, number).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(caller.respond(DeleteStagePolicyVersionResponse {}))
    }

    async fn preview_stage_policy_version(
        &self,
        request: Request<PreviewStagePolicyVersionRequest>,
    ) -> Result<Response<Self::PreviewStagePolicyVersionStream>, Status> {
        let caller = Caller::of(&request)?;
        let number = number_in(&request.get_ref().name)?;
        let (database, tenant) = (self.runtime.database.reader(), caller.tenant().id);
        let version = stage_policies::get(database, tenant, number).await.map_err(failed)?;
        let version = version.ok_or_else(ApiError::not_found)?;
        let in_force = stage_policies::published(database, tenant).await.map_err(failed)?;
        let model = self.link.models.of(tenant).await.map_err(failed)?;
        let in_force = (in_force.policy, model);
        Ok(Response::new(policy_previews::preview(self.runtime.clone(), caller, version, in_force)))
    }

    async fn publish_stage_policy_version(
        &self,
        request: Request<PublishStagePolicyVersionRequest>,
    ) -> Answer<Operation> {
        let caller = Caller::of(&request)?;
        let PublishStagePolicyVersionRequest { name, etag } = request.into_inner();
        let number = number_in(&name)?;
        caller.is_about(name);
        let operation = self.publish(&caller, number, &etag).await?;
        Ok(caller.respond(operation))
    }
}
