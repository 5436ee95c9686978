//! Early warnings.

use super::reached::{self, Page, check_assignee, check_number, check_numbers};
use super::records::current;
use super::warning_watch;
use crate::store::warning_lists::{self, PageEnd, Wanted};
use crate::store::warning_policies;
use crate::store::warnings::{self, Stored};
use crate::warnings::Thresholds;
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::progress::Watermark;
use quintile_chain::{page, store_error};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::masking::Sensitivity;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::lifecycle::warning_service_server::WarningService;
use quintile_proto::lifecycle::{
    AcknowledgeWarningRequest, AssignWarningRequest, GetWarningPolicyRequest, GetWarningRequest, ListWarningsRequest,
    ListWarningsResponse, ResolveWarningRequest, UpdateWarningPolicyRequest, Warning, WarningOrder, WarningPolicy,
    WarningResolution, WarningSeverity, WarningState, WatchWarningsRequest, WatchWarningsResponse,
};
use quintile_proto::types::{ErrorReason, WarningKind};
use quintile_rpc::caller::View;
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::StoreError;
use quintile_store::history::Position;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The handlers.
pub struct Warnings {
    pub runtime: Runtime,
    pub link: Arc<StageLink>,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

/// The customer of a warning, and where it was raised.
fn parse_name(name: &str) -> Result<(CustomerId, Position), ApiError> {
    reached::parse_name("name", name, "warnings")
}

/// Refuses kinds that are none, and a severity that is none.
pub fn check_kinds(kinds: &[i32], min_severity: i32) -> Result<(), ApiError> {
    check_numbers::<WarningKind>("kinds", kinds)?;
    if min_severity == 0 { Ok(()) } else { check_number::<WarningSeverity>("min_severity", min_severity) }
}

fn check_list(caller: &Caller, request: &ListWarningsRequest) -> Result<Wanted, ApiError> {
    let customer = reached::parse_parent(&request.parent)?;
    check_numbers::<WarningState>("states", &request.states)?;
    check_kinds(&request.kinds, request.min_severity)?;
    check_assignee(&request.assignee)?;
    let order = WarningOrder::try_from(request.order);
    let order = order.map_err(|_| ApiError::invalid_field("order", "must be one of the values of its enum"))?;
    let by_value = order == WarningOrder::Value;
    if by_value && !caller.reads_in_clear(Sensitivity::Financial) {
        return Err(ApiError::field_denied("order"));
    }
    let mut states = request.states.clone();
    if states.is_empty() {
        states = [WarningState::Open, WarningState::Acknowledged].map(i32::from).to_vec();
    }
    let going_on = states.iter().filter(|state| warnings::goes_on(**state)).count();
    let goes_on = match going_on {
        0 => Some(false),
        count if count == states.len() => Some(true),
        _ => None,
    };
    let (kinds, min_severity, assignee) = (request.kinds.clone(), request.min_severity, request.assignee.clone());
    Ok(Wanted { customer, states, goes_on, kinds, min_severity, assignee, by_value })
}

impl Warnings {
    fn watermark(&self, tenant: TenantId) -> Watermark {
        self.runtime.progress.of(tenant).watermark()
    }

    /// The caller's view of a customer. `NOT_FOUND` for whom it does not reach.
    async fn view(&self, caller: &Caller, customer: CustomerId) -> Result<View, ApiError> {
        Ok(current(&self.runtime, &self.link, caller, customer).await?.view)
    }

    /// Has somebody change a warning. `change` tells whether it is another one after it.
    async fn change(
        &self,
        caller: &Caller,
        name: &str,
        change: impl FnOnce(&mut Stored) -> Result<bool, ApiError> + Send,
    ) -> Answer<Warning> {
        let (customer, raised) = parse_name(name)?;
        caller.is_about(name);
        let view = self.view(caller, customer).await?;
        let tenant = caller.tenant().id;
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        let stored = warnings::hold(&transaction, tenant, customer, raised).await.map_err(failed)?;
        let mut stored = stored.ok_or_else(ApiError::not_found)?;
        if change(&mut stored)? {
            warnings::replace(&transaction, tenant, stored.clone()).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            self.runtime.progress.of(tenant).raise(Watermark::default());
        }
        Ok(view.respond(stored.named()))
    }
}

/// Refuses to change a warning that has ended.
fn check_goes_on(warning: &Warning) -> Result<(), ApiError> {
    if warnings::goes_on(warning.state) {
        return Ok(());
    }
    Err(ApiError::failed_precondition(ErrorReason::FailedPrecondition, "the warning has ended"))
}

fn amount(field: &str, money: Option<&Money>, currency: Currency) -> Result<i64, ApiError> {
    let money = money.ok_or_else(|| ApiError::invalid_field(field, "is required"))?;
    if money.currency_code != currency.code() {
        let problem = format!("must be the tenant's base currency, {}", currency.code());
        return Err(ApiError::invalid(format!("{field}.currency_code"), ErrorReason::InvalidMoney, problem));
    }
    currency.minor_from_parts(money.units, money.nanos).map_err(|error| ApiError::invalid_money(field, error))
}

fn policy_message(policy: &warning_policies::Policy, currency: Currency) -> WarningPolicy {
    WarningPolicy {
        name: "warningPolicy".to_owned(),
        medium_from: Some(convert::money(currency, policy.thresholds.medium_from)),
        high_from: Some(convert::money(currency, policy.thresholds.high_from)),
        etag: policy.etag(),
    }
}

#[tonic::async_trait]
impl WarningService for Warnings {
    type WatchWarningsStream = AnswerStream<WatchWarningsResponse>;

    async fn list_warnings(&self, request: Request<ListWarningsRequest>) -> Answer<ListWarningsResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let wanted = check_list(&caller, &request)?;
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let query = format!("ListWarnings {wanted:?}");
        let sealer = &self.runtime.sealer;
        let decode = |bytes: Vec<u8>| PageEnd::from_bytes(&bytes);
        let end = page::begin(sealer, tenant, &query, &request.page_token, PageEnd::NONE, decode)?;
        if let Some(customer) = wanted.customer {
            self.view(&caller, customer).await?;
        }
        let watermark = self.watermark(tenant);
        let database = self.runtime.database.reader();
        let read = |end: PageEnd, limit: u64| warning_lists::page(database, tenant, &wanted, end, limit);
        let Page { items, view, end } = reached::page(&self.runtime, &caller, end, size, read).await?;
        let warnings = items.into_iter().map(Stored::named).collect();
        let next_page_token = end.map(|end| sealer.seal(tenant, query.as_bytes(), &end.to_bytes()));
        let next_page_token = next_page_token.unwrap_or_default();
        Ok(view.respond(ListWarningsResponse { warnings, next_page_token, watermark: Some(watermark.to_message()) }))
    }

    async fn get_warning(&self, request: Request<GetWarningRequest>) -> Answer<Warning> {
        let caller = Caller::of(&request)?;
        let (customer, raised) = parse_name(&request.get_ref().name)?;
        let view = self.view(&caller, customer).await?;
        let found = warnings::get(self.runtime.database.reader(), caller.tenant().id, customer, raised).await;
        let found = found.map_err(failed)?.ok_or_else(ApiError::not_found)?;
        Ok(view.respond(found.named()))
    }

    async fn acknowledge_warning(&self, request: Request<AcknowledgeWarningRequest>) -> Answer<Warning> {
        let caller = Caller::of(&request)?;
        let now = self.runtime.business.now();
        let acknowledge = |stored: &mut Stored| {
            let warning = &mut stored.warning;
            check_goes_on(warning)?;
            if warning.state() == WarningState::Acknowledged {
                return Ok(false);
            }
            warning.state = WarningState::Acknowledged.into();
            caller.subject().clone_into(&mut warning.acknowledged_by);
            warning.acknowledge_time = Some(convert::timestamp(now));
            Ok(true)
        };
        self.change(&caller, &request.get_ref().name, acknowledge).await
    }

    async fn assign_warning(&self, request: Request<AssignWarningRequest>) -> Answer<Warning> {
        let caller = Caller::of(&request)?;
        let AssignWarningRequest { name, assignee } = request.into_inner();
        parse_name(&name)?;
        check_assignee(&assignee)?;
        let assign = |stored: &mut Stored| {
            let warning = &mut stored.warning;
            check_goes_on(warning)?;
            let is_another = warning.assignee != assignee;
            warning.assignee = assignee;
            Ok(is_another)
        };
        self.change(&caller, &name, assign).await
    }

    async fn resolve_warning(&self, request: Request<ResolveWarningRequest>) -> Answer<Warning> {
        let caller = Caller::of(&request)?;
        let ResolveWarningRequest { name, resolution } = request.into_inner();
        parse_name(&name)?;
        check_number::<WarningResolution>("resolution", resolution)?;
        let now = self.runtime.business.now();
        let resolve = |stored: &mut Stored| {
            let warning = &mut stored.warning;
            if warning.state() == WarningState::Resolved && warning.resolution == resolution {
                return Ok(false);
            }
            check_goes_on(warning)?;
            warning.resolution = resolution;
            caller.subject().clone_into(&mut warning.resolved_by);
            stored.resolve(now);
            Ok(true)
        };
        self.change(&caller, &name, resolve).await
    }

    async fn watch_warnings(
        &self,
        request: Request<WatchWarningsRequest>,
    ) -> Result<Response<Self::WatchWarningsStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(warning_watch::watch(self.runtime.clone(), caller, request.into_inner()).await?))
    }

    async fn get_warning_policy(&self, request: Request<GetWarningPolicyRequest>) -> Answer<WarningPolicy> {
        let caller = Caller::of(&request)?;
        let tenant = caller.tenant();
        let found = warning_policies::get(self.runtime.database.reader(), tenant.id, tenant.currency).await;
        let found = found.map_err(failed)?;
        Ok(caller.respond(policy_message(&found, tenant.currency)))
    }

    async fn update_warning_policy(&self, request: Request<UpdateWarningPolicyRequest>) -> Answer<WarningPolicy> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner().policy.ok_or_else(|| ApiError::invalid_field("policy", "is required"))?;
        // Severities under thresholds of one's own choice tell what is at stake.
        if !caller.reads_in_clear(Sensitivity::Financial) {
            return Err(ApiError::field_denied("policy").into());
        }
        let tenant = caller.tenant();
        let medium_from = amount("policy.medium_from", asked.medium_from.as_ref(), tenant.currency)?;
        let high_from = amount("policy.high_from", asked.high_from.as_ref(), tenant.currency)?;
        if medium_from < 0 {
            return Err(ApiError::invalid_field("policy.medium_from", "must not be negative").into());
        }
        if high_from <= medium_from {
            return Err(ApiError::invalid_field("policy.high_from", "must be more than medium_from").into());
        }
        caller.is_about("warningPolicy");
        let transaction = self.runtime.database.begin().await.map_err(failed)?;
        let found = warning_policies::get(&transaction, tenant.id, tenant.currency).await.map_err(failed)?;
        if !asked.etag.is_empty() && asked.etag != found.etag() {
            return Err(ApiError::stale_etag().into());
        }
        let thresholds = Thresholds { medium_from, high_from };
        let written = warning_policies::replace(&transaction, tenant.id, &found, thresholds).await.map_err(failed)?;
        let written = written.ok_or_else(ApiError::stale_etag)?;
        transaction.commit().await.map_err(failed)?;
        Ok(caller.respond(policy_message(&written, tenant.currency)))
    }
}
