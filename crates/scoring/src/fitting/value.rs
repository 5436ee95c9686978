//! Fits of lifetime value to everybody.

use super::{Compared, Publishing, Stopped, everybody};
use crate::clv::{Dropout, FitError};
use crate::store::fits::{Fit, Stored};
use crate::value::encoding::{model_of, report};
use crate::value::{Buyers, Found};
use crate::worker::conventions;
use crate::{Service, refused};
use quintile_chain::store_error;
use quintile_proto::scoring::{DropoutKind, PreviewProgress, ValueModel, ValueTerms};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use std::sync::Arc;

/// How much a draft's error may exceed that of a model that may have seen the days that are held out.
const TOLERATED: f64 = 1.02;
/// The days that are held out where nobody says: a quarter.
pub const HOLDOUT_DAYS: i32 = 91;

impl Fit for ValueModel {
    const KIND: i32 = 1;
    const COLLECTION: &'static str = "valueModels";
    const REVISIONS: &'static str = "value_models";
    const KEPT: i64 = 1_000;
}

impl Compared for ValueModel {
    fn foretells_worse(&self, in_force: &str) -> bool {
        let holdout = self.holdout.as_ref().filter(|holdout| holdout.in_force_model == in_force);
        let compared = holdout.and_then(|holdout| Some((holdout.accuracy?, holdout.in_force?)));
        compared.is_none_or(|(ours, in_force)| ours.rmse > in_force.rmse * TOLERATED)
    }
}

/// What is to be fitted.
#[derive(Clone, Copy)]
pub struct Asked {
    /// When customers can leave.
    pub dropout: Dropout,
    /// The days at the end that are held out for the report. 0: none.
    pub holdout_days: i32,
    /// What value is a sum of.
    pub terms: ValueTerms,
}

/// Puts a draft in force.
pub async fn publish(
    service: &Service,
    tenant: &Tenant,
    publishing: &Publishing<'_>,
) -> Result<Stored<ValueModel>, ApiError> {
    let (transaction, published) = super::publish(service, tenant.id, publishing).await?;
    transaction.commit().await.map_err(|error| store_error(&error.into()))?;
    Ok(published)
}

/// A fit to everybody.
pub struct Fitting<'a> {
    /// What it reads and keeps.
    pub service: &'a Service,
    /// Whose customers.
    pub tenant: &'a Arc<Tenant>,
    /// What is to be fitted.
    pub asked: Asked,
}

impl Fitting<'_> {
    /// Fits, and keeps what was found as a draft. `tell` hears how far it is and says whether to go on.
    pub async fn run(&self, tell: impl FnMut(PreviewProgress) -> bool) -> Result<Stored<ValueModel>, Stopped> {
        let Self { service, tenant, asked } = self;
        // One after the other, and beside no preview: each holds everybody in memory.
        let turn = service.populations.of(tenant.id).lock_owned().await;
        let before = super::in_force::<ValueModel>(service, tenant.id).await?;
        let in_force = before.as_ref().map(Stored::name).unwrap_or_default();
        let before = before.and_then(|before| model_of(&before.body)).map(|model| model.purchases);
        // The last whole day: what is bought today is not all that will be.
        let end = i64::from(tenant.zone.local_day(service.runtime.business.now())) - 1;
        let buyers = self.buyers(end, tell).await?;
        let (dropout, held) = (asked.dropout, i64::from(asked.holdout_days));
        let minor_per_major = 10_f64.powi(tenant.currency.minor_digits() as i32);
        let fitted = move || buyers.fit(dropout, held, before.as_ref(), minor_per_major);
        let fitted = tokio::task::spawn_blocking(fitted).await;
        drop(turn);
        let fitted = fitted.map_err(|error| ApiError::internal(error.to_string()))?;
        let found = fitted.map_err(|error: FitError| refused(error.to_string()))?;
        let body = self.body(&found, end, &in_force);
        let kept = async {
            let (transaction, stored) = super::keep(service, tenant.id, body).await?;
            transaction.commit().await?;
            Ok::<_, StoreError>(stored)
        };
        kept.await.map_err(|error| Some(store_error(&error)))
    }

    /// What everybody has bought.
    async fn buyers(&self, end: i64, tell: impl FnMut(PreviewProgress) -> bool) -> Result<Buyers, Stopped> {
        let mut buyers = Buyers::default();
        let take = |record: &CustomerRecord| {
            if let Some(features) = &record.features {
                buyers.add(features, end, i64::from(self.asked.holdout_days), conventions(self.tenant));
            }
        };
        everybody::read(self.service, self.tenant.id, tell, take).await?;
        Ok(buyers)
    }

    fn body(&self, found: &Found, end: i64, in_force: &str) -> ValueModel {
        ValueModel {
            dropout: match self.asked.dropout {
                Dropout::AfterRepeats => DropoutKind::AfterRepeats.into(),
                Dropout::AfterEveryPurchase => DropoutKind::AfterEveryPurchase.into(),
            },
            terms: Some(self.asked.terms),
            ..report(found, end, self.asked.holdout_days, in_force, self.tenant.currency)
        }
    }
}
