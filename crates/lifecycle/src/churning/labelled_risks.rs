//! Risks by a model of a label: of customers of whom it does not say that they have left.

use super::attribute_values::read_everybody;
use super::drift::found;
use super::in_force::{InForce, Risk};
use super::labels::{Label, Standing, value};
use super::{Churning, fault, refused};
use crate::churn::{Kind, Value};
use quintile_chain::listening::Stopped;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::AttributeValues;
use quintile_proto::lifecycle::{ChurnDrift, ChurnProgress};
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;

impl InForce {
    /// A customer's values, as the model has them, in the order of its features.
    pub fn values<'v>(&self, label: &Label, customer: &'v AttributeValues) -> Result<Vec<Value<'v>>, ApiError> {
        let encoded = &self.learnt.model.model.encoding().features;
        let each = encoded.iter().zip(label.features(customer)?);
        Ok(each.map(|(encoded, text)| value(text, encoded.kind() == Kind::Number)).collect())
    }

    /// The risk of a customer by its label. `None`: it has left.
    pub fn labelled_risk(
        &self,
        label: &Label,
        customer: &AttributeValues,
        explained: bool,
    ) -> Result<Option<Risk>, ApiError> {
        if label.standing(customer)? == Standing::Left {
            return Ok(None);
        }
        let row = self.values(label, customer)?;
        let model = &self.learnt.model;
        let risk = model.risk(&row).map_err(|error| fault(&error))?;
        let explanation = explained.then(|| model.explain(&row)).transpose().map_err(|error| fault(&error))?;
        Ok(Some(Risk { risk, explanation }))
    }
}

/// Compares the risks of everybody who has not left with those that the model gave when it was judged. Values are as they are now, be that a little after
/// `as_of`. `tell` hears how far it is and says whether to go on.
pub async fn drift(
    churning: &Churning,
    tenant: &Tenant,
    (model, label): (&InForce, &Label),
    as_of: Instant,
    tell: impl FnMut(ChurnProgress) -> bool,
) -> Result<ChurnDrift, Stopped> {
    let mut risks = Vec::new();
    let take = |customer: &AttributeValues| {
        risks.extend(model.labelled_risk(label, customer, false)?.map(|found| found.risk));
        Ok(())
    };
    read_everybody(churning, tenant, label, take, tell).await?;
    if risks.is_empty() {
        return Err(Some(refused("nobody is left who could leave")));
    }
    Ok(found(model, &risks, as_of).map_err(|error| fault(&error))?)
}
