//! Risks by a model of a label: by the values that customers have now.

use super::churn_risks::told;
use crate::churn::Value;
use crate::churning::{Churning, InForce, Label, read_some};
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Sensitivity;
use quintile_domain::time::Instant;
use quintile_proto::ingestion::AttributeValues;
use quintile_proto::lifecycle::{ChurnFactor, ChurnRisk};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::{ApiError, Caller};
use std::collections::HashMap;

/// A label, and the values of customers whom a caller reaches.
pub struct Labelled<'l> {
    label: &'l Label,
    customers: HashMap<CustomerId, AttributeValues>,
}

/// Reads the values of customers.
pub async fn read<'l>(
    churning: &Churning,
    caller: &Caller,
    label: &'l Label,
    records: &[CustomerRecord],
) -> Result<Labelled<'l>, ApiError> {
    let customers: Vec<CustomerId> = records.iter().filter_map(number).collect();
    Ok(Labelled { label, customers: read_some(churning, caller.tenant(), label, &customers).await? })
}

fn number(record: &CustomerRecord) -> Option<CustomerId> {
    CustomerId::try_from(record.customer_id).ok()
}

impl Labelled<'_> {
    fn of(&self, record: &CustomerRecord) -> Option<(CustomerId, &AttributeValues)> {
        let customer = number(record)?;
        Some((customer, self.customers.get(&customer)?))
    }

    /// Whether a customer was read.
    pub fn check_is_there(&self, record: &CustomerRecord) -> Result<(), ApiError> {
        self.of(record).map(|_| ()).ok_or_else(ApiError::not_found)
    }

    /// A customer's risk. `None`: it has none.
    pub fn risk(
        &self,
        caller: &Caller,
        model: &InForce,
        record: &CustomerRecord,
        as_of: Instant,
        explained: bool,
    ) -> Result<Option<ChurnRisk>, ApiError> {
        let Some((customer, values)) = self.of(record) else { return Ok(None) };
        let Some(found) = model.labelled_risk(self.label, values, explained)? else { return Ok(None) };
        let mut risk = told(caller, model, customer, as_of, found);
        for (feature, value) in self.label.told.features.iter().zip(model.values(self.label, values)?) {
            let factor = risk.factors.iter_mut().find(|factor| factor.feature == *feature);
            // What tells something about a person is not told beside what it adds.
            if let Some(factor) = factor.filter(|_| self.label.class_of(feature) == Some(Sensitivity::None)) {
                add(factor, value);
            }
        }
        Ok(Some(risk))
    }
}

/// Adds to a factor what it is of the customer.
fn add(factor: &mut ChurnFactor, value: Value<'_>) {
    match value {
        Value::Number(number) => factor.number = Some(number),
        Value::Category(text) => text.clone_into(&mut factor.text),
        Value::Missing => {}
    }
}
