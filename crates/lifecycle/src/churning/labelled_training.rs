//! Training on a label: candidates are judged across folds and held against the share who left and the model in force; the best is kept as a draft.

use super::attribute_values::read_everybody;
use super::columns::{Column, Unfit, table};
use super::in_force::InForce;
use super::labels::{Label, Standing};
use super::training::{SEED, Trained, best, candidates};
use super::{Churning, refused, telling};
use crate::churn::{Baseline, ChurnError, FOLDS, MAX_TABLE_LEVELS, Method, Period, cross_validate, drivers, fold_of};
use quintile_chain::listening::Stopped;
use quintile_proto::ingestion::AttributeValues;
use quintile_proto::lifecycle::{ChurnModel, ChurnProgress};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use std::sync::Arc;

/// Everybody who has a value of the label.
pub struct Labelled {
    label: Label,
    columns: Vec<Column>,
    left: Vec<bool>,
    /// In which each is held out.
    folds: Vec<usize>,
    /// One in so many customers was read.
    one_in: i32,
    /// The last whole local day when they were read.
    last_day: i32,
}

impl Labelled {
    /// Reads everybody. `tell` hears how far it is and says whether to go on.
    pub async fn read(
        churning: &Churning,
        tenant: &Tenant,
        label: &Label,
        tell: impl FnMut(ChurnProgress) -> bool,
    ) -> Result<Self, Stopped> {
        let columns = label.told.features.iter().map(|feature| Column::new(feature)).collect();
        let last_day = tenant.zone.local_day(churning.runtime.business.now()) - 1;
        let (left, folds) = (Vec::new(), Vec::new());
        let mut labelled = Self { label: label.clone(), columns, left, folds, one_in: 1, last_day };
        let take = |customer: &AttributeValues| labelled.add(customer);
        labelled.one_in = read_everybody(churning, tenant, label, take, tell).await?;
        Ok(labelled)
    }

    /// Adds a customer, if anything says whether it has left.
    fn add(&mut self, customer: &AttributeValues) -> Result<(), ApiError> {
        let standing = self.label.standing(customer)?;
        if standing == Standing::Unknown {
            return Ok(());
        }
        let values = self.label.features(customer)?;
        self.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        self.left.push(standing == Standing::Left);
        let id = customer.identity.as_ref().and_then(|identity| identity.id.as_deref());
        self.folds.push(fold_of(id.unwrap_or_default()));
        Ok(())
    }
}

/// What is learnt of a label.
pub fn learn(labelled: &Labelled, in_force: Option<&Arc<InForce>>) -> Result<Trained, ApiError> {
    let table = table(&labelled.columns, labelled.left.len()).map_err(|unfit| match unfit {
        Unfit::Name(place) => refused(format!(
            "label.features[{place}] has more than {MAX_TABLE_LEVELS} values, and not all of them are numbers: it is no category"
        )),
        Unfit::Table(error) => told(&error),
    })?;
    let rows = Period { table: &table, labels: &labelled.left };
    let in_force = in_force.filter(|model| model.label.as_ref() == Some(&labelled.label));
    let baselines = baselines(rows, in_force);
    // A line needs few rows, and leaves the order of scores as it is: that of folds is compared.
    let candidates = candidates(Method::Platt);
    let training = cross_validate(rows, &labelled.folds, &candidates, &baselines).map_err(|error| told(&error))?;
    let fault = || ApiError::internal("a training tried nothing");
    let place = training.chosen.or_else(|| best(&training)).ok_or_else(fault)?;
    let chosen = training.trained.get(place).ok_or_else(fault)?;
    let drivers = drivers(&chosen.model, &table, SEED).map_err(|error| told(&error))?;
    let body = ChurnModel {
        label_date: Some(convert::date(labelled.last_day)),
        sampled_one_in: labelled.one_in,
        ..labelled.label.told_in(telling::figures(&training, &chosen.card, &drivers, FOLDS as i32))
    };
    Ok(Trained::new(body, chosen))
}

fn baselines(rows: Period<'_>, in_force: Option<&Arc<InForce>>) -> Vec<Baseline> {
    let left = rows.labels.iter().filter(|left| **left).count() as f64;
    let share = left / rows.labels.len().max(1) as f64;
    let risks = |name: &str, risks| Baseline { name: name.to_owned(), calibration: None, holdout: risks };
    let mut baselines = vec![risks("share", vec![share; rows.labels.len()])];
    // One of other features, or that took a feature for a category that is a number now, can't be compared: it has to be retired first.
    if let Some(model) = in_force
        && let Ok(found) = model.learnt.model.risks(rows.table)
    {
        baselines.push(risks(&model.name, found));
    }
    baselines
}

/// What a failure to learn means to a client.
fn told(error: &ChurnError) -> ApiError {
    match error {
        // Without counts, as of midnights.
        ChurnError::TooFewOutcomes { least, .. } => refused(format!(
            "fewer than {least} customers have left by the label, or fewer have not: {least} of each are needed"
        )),
        ChurnError::TooManyRows => refused(error.to_string()),
        _ => ApiError::internal(error.to_string()),
    }
}
