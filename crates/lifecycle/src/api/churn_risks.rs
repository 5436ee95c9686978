//! How likely customers are to leave, and why.

use super::labelled_risks::{self, Labelled};
use super::records::current;
use crate::churn::Value;
use crate::churning::features::{self, Seen};
use crate::churning::{Churning, InForce, Risk, refused, told_of};
use crate::worker::StageLink;
use quintile_chain::derive::Current;
use quintile_chain::{feed, page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::churn_service_server::ChurnService;
use quintile_proto::lifecycle::{
    ChurnFactor, ChurnRisk, GetChurnRiskRequest, ListChurnRisksRequest, ListChurnRisksResponse,
};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::records::Record;
use quintile_store::{StoreError, records};
use std::sync::Arc;
use tonic::Request;

/// The part of a customer that is told.
const PART: &str = "churnRisk";
/// Customers that a page looks at, at most and at once.
const LOOKED_AT: u64 = 5_000;
const LOOKED_AT_ONCE: u64 = 500;

/// The handlers.
pub struct ChurnRisks {
    pub churning: Arc<Churning>,
    pub link: Arc<StageLink>,
}

fn failed(error: impl Into<StoreError>) -> ApiError {
    store_error(&error.into())
}

impl ChurnRisks {
    async fn model(&self, caller: &Caller) -> Result<Arc<InForce>, ApiError> {
        let model = self.churning.model(caller.tenant().id).await.map_err(failed)?;
        let model = model.ok_or_else(|| refused("no churn model is in force"))?;
        if let Some(label) = &model.label {
            label.check_foretold(caller)?;
        }
        Ok(model)
    }
}

/// A customer's risk. `None`: it has none.
fn risk(
    caller: &Caller,
    model: &InForce,
    record: &CustomerRecord,
    as_of: Instant,
    explained: bool,
) -> Result<Option<ChurnRisk>, ApiError> {
    let customer = CustomerId::try_from(record.customer_id).map_err(|_| ApiError::not_found())?;
    let as_of = told_of(record, as_of);
    let found = model.risk(record, as_of, caller.tenant(), explained);
    let Some(found) = found.map_err(|error| ApiError::internal(error.to_string()))? else { return Ok(None) };
    let mut told = told(caller, model, customer, as_of, found);
    add_values(record, as_of, caller.tenant(), &mut told.factors);
    Ok(Some(told))
}

/// A risk as it is told, without what features are of the customer.
pub fn told(caller: &Caller, model: &InForce, customer: CustomerId, as_of: Instant, found: Risk) -> ChurnRisk {
    let mut told = ChurnRisk {
        name: customer.part_name(PART),
        model: model.name.clone(),
        horizon_days: model.horizon_days,
        risk: found.risk,
        as_of: Some(convert::timestamp(as_of)),
        ..ChurnRisk::default()
    };
    if let Some(explanation) = found.explanation {
        told.base_log_odds = explanation.base;
        told.factors = explanation
            .factors
            .into_iter()
            .filter(|factor| features::is_told(caller, model.label.as_ref(), &factor.feature))
            .map(|factor| ChurnFactor {
                feature: factor.feature,
                contribution: factor.contribution,
                ..Default::default()
            })
            .collect();
        told.factors.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
    }
    told
}

/// Adds to factors what they are of a customer at an instant that its record tells of, but for money.
fn add_values(record: &CustomerRecord, as_of: Instant, tenant: &Tenant, factors: &mut [ChurnFactor]) {
    if factors.is_empty() {
        return;
    }
    let Some(seen) = Seen::active(record, as_of, &tenant.zone, tenant.currency) else { return };
    for (feature, value) in features::all().iter().zip(seen.row()) {
        let told = factors.iter_mut().find(|factor| factor.feature == feature.name);
        match (told, value) {
            (Some(factor), Value::Number(number)) if !features::is_financial(&feature.name) => {
                factor.number = Some(number);
            }
            (Some(factor), Value::Category(text)) => text.clone_into(&mut factor.text),
            _ => {}
        }
    }
}

/// A page that is being looked for.
struct Looking<'a> {
    caller: &'a Caller,
    model: &'a InForce,
    as_of: Instant,
    min_risk: f64,
    size: u64,
    /// Up to whom it has come.
    after: u32,
    found: Vec<CustomerRecord>,
    risks: Vec<ChurnRisk>,
}

impl Looking<'_> {
    /// Those of rows whom the caller reaches.
    fn reached(&self, rows: &[Record]) -> Result<Vec<CustomerRecord>, ApiError> {
        let mut reached = Vec::with_capacity(rows.len());
        for row in rows.iter().filter(|row| !row.is_tombstone()) {
            let mut record: CustomerRecord = feed::decode(row).map_err(failed)?;
            if self.caller.reaches(record.attributes.get_or_insert_default()) {
                reached.push(record);
            }
        }
        Ok(reached)
    }

    /// Looks at those of the next customers whom the caller reaches, until the page is full. Returns whether there may be more behind those that it has
    /// come to.
    fn take(
        &mut self,
        rows: &[Record],
        reached: Vec<CustomerRecord>,
        labelled: Option<&Labelled>,
    ) -> Result<bool, ApiError> {
        for record in reached {
            if self.risks.len() as u64 == self.size {
                return Ok(true);
            }
            self.after = CustomerId::try_from(record.customer_id).map_or(self.after, |customer| customer.0);
            let risk = match labelled {
                Some(labelled) => labelled.risk(self.caller, self.model, &record, self.as_of, false)?,
                None => risk(self.caller, self.model, &record, self.as_of, false)?,
            };
            if let Some(risk) = risk.filter(|risk| risk.risk >= self.min_risk) {
                self.risks.push(risk);
                self.found.push(record);
            }
        }
        self.after = rows.last().map_or(self.after, |last| last.customer.0);
        Ok(rows.len() as u64 == LOOKED_AT_ONCE)
    }
}

#[tonic::async_trait]
impl ChurnService for ChurnRisks {
    async fn get_churn_risk(&self, request: Request<GetChurnRiskRequest>) -> Answer<ChurnRisk> {
        let caller = Caller::of(&request)?;
        let customer = convert::customer("name", &request.get_ref().name, Some(PART))?;
        // Whom the caller does not reach is not there.
        let Current { record, view, .. } = current(&self.churning.runtime, &self.link, &caller, customer).await?;
        let model = self.model(&caller).await?;
        let as_of = self.churning.runtime.business.now();
        let (risk, otherwise) = match &model.label {
            Some(label) => {
                let labelled =
                    labelled_risks::read(&self.churning, &caller, label, std::slice::from_ref(&record)).await?;
                // Whoever is not read any more was restricted or erased just now.
                labelled.check_is_there(&record)?;
                (labelled.risk(&caller, &model, &record, as_of, true)?, "the customer has left")
            }
            None => (risk(&caller, &model, &record, as_of, true)?, "the customer has not bought in 365 days"),
        };
        Ok(view.respond(risk.ok_or_else(|| refused(otherwise))?))
    }

    async fn list_churn_risks(&self, request: Request<ListChurnRisksRequest>) -> Answer<ListChurnRisksResponse> {
        let caller = Caller::of(&request)?;
        let ListChurnRisksRequest { min_risk, page_size, page_token } = request.into_inner();
        // What is no number is within nothing.
        if !(0.0..=1.0).contains(&min_risk) {
            return Err(ApiError::invalid_field("min_risk", "must be within 0 and 1").into());
        }
        let size = convert::page_size(page_size, 100, 1_000)?;
        let (tenant, runtime) = (caller.tenant().id, &self.churning.runtime);
        let query = format!("ListChurnRisks {}", min_risk.to_bits());
        let after = page::begin_behind(&runtime.sealer, tenant, &query, &page_token)?;
        let after = u32::try_from(after).map_err(|_| ApiError::invalid_token("page_token"))?;
        let model = self.model(&caller).await?;
        let as_of = runtime.business.now();
        let mut looking = Looking {
            caller: &caller,
            model: &model,
            as_of,
            min_risk,
            size,
            after,
            found: Vec::new(),
            risks: Vec::new(),
        };
        let mut goes_on = true;
        for _ in 0..LOOKED_AT / LOOKED_AT_ONCE {
            let rows = records::scan(runtime.database.reader(), tenant, looking.after, LOOKED_AT_ONCE).await;
            let rows = rows.map_err(failed)?;
            let reached = looking.reached(&rows)?;
            let labelled = match &model.label {
                Some(label) => Some(labelled_risks::read(&self.churning, &caller, label, &reached).await?),
                None => None,
            };
            goes_on = looking.take(&rows, reached, labelled.as_ref())?;
            if !goes_on || looking.risks.len() as u64 == size {
                break;
            }
        }
        let Looking { after, found, risks, .. } = looking;
        let next_page_token = page::next_behind(&runtime.sealer, tenant, &query, goes_on, Some(i64::from(after)));
        Ok(feed::view_of(&caller, &found).respond(ListChurnRisksResponse { risks, next_page_token }))
    }
}
