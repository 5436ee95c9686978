//! Fits of lifetime value to everybody.

use super::{Compared, FORETOLD_WORSE, NOT_COMPARED, Publishing, Stopped, everybody};
use crate::leads::{self, LeadModel, Leads};
use crate::models::feature::Conventions;
use crate::store::fits::{Fit, Stored};
use crate::store::models;
use crate::value::Buyers;
use crate::value::encoding::{model_of, report};
use crate::worker::conventions;
use crate::{Service, refused, rescoring};
use quintile_chain::store_error;
use quintile_clv::{Dropout, FitError, Fitted};
use quintile_domain::money::Currency;
use quintile_proto::scoring::{DropoutKind, LeadFit, PreviewProgress, ValueModel, ValueTerms};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use quintile_store::{StoreError, Transaction};
use std::sync::Arc;

/// How much a draft's error may exceed that of a model that may have seen the days that are held out.
const TOLERATED: f64 = 1.02;
/// What stands against a draft that was judged by days on which nothing was bought.
const NOTHING_BOUGHT: &str =
    "the draft was not compared with the model in force: nothing was bought in the days that were held out";

impl Fit for ValueModel {
    const KIND: i32 = 1;
    const COLLECTION: &'static str = "valueModels";
    const REVISIONS: &'static str = "value_models";
    const KEPT: i64 = 1_000;
}

impl Compared for ValueModel {
    fn objection(&self, in_force: &str) -> Option<&'static str> {
        let holdout = self.holdout.as_ref().filter(|holdout| holdout.in_force_model == in_force);
        let compared = holdout.and_then(|holdout| Some((holdout.accuracy?, holdout.in_force?, holdout.nobody_buys?)));
        let Some((ours, in_force, nobody_buys)) = compared else { return Some(NOT_COMPARED) };
        // Where nothing was bought, whoever expects least is right, which tells nothing.
        let was_bought = nobody_buys.rmse > 0.0;
        match (was_bought, ours.rmse <= in_force.rmse * TOLERATED) {
            (false, _) => Some(NOTHING_BOUGHT),
            (true, false) => Some(FORETOLD_WORSE),
            (true, true) => None,
        }
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

/// Puts a draft in force. It says of everybody how likely it still buys and what it will be worth, so that all records are gone through.
pub async fn publish(
    service: &Service,
    tenant: &Tenant,
    publishing: &Publishing<'_>,
) -> Result<Stored<ValueModel>, ApiError> {
    let (transaction, published) = super::publish(service, tenant.id, publishing).await?;
    bring(service, tenant, transaction, rescoring::REVALUE, &published.name()).await?;
    Ok(published)
}

/// Takes the model in force out of it.
pub async fn retire(
    service: &Service,
    tenant: &Tenant,
    name: &str,
    etag: &str,
) -> Result<Stored<ValueModel>, ApiError> {
    let (transaction, retired) = super::retire(service, tenant.id, name, etag).await?;
    bring(service, tenant, transaction, rescoring::RETIRE_VALUES, &retired.name()).await?;
    Ok(retired)
}

/// Commits what a change of the model in force has written, and has it brought to everybody.
async fn bring(
    service: &Service,
    tenant: &Tenant,
    transaction: Transaction,
    verb: &str,
    name: &str,
) -> Result<(), ApiError> {
    rescoring::check_open(&transaction, tenant).await?;
    let done = async {
        // What scores asks whether its models have changed, and this is one of them.
        models::begin_change(&transaction, tenant.id).await?;
        rescoring::begin(&transaction, tenant, verb, name, service.clock.now()).await?;
        Ok::<_, StoreError>(transaction.commit().await?)
    };
    done.await.map_err(|error| store_error(&error))?;
    service.models.apply(tenant).await;
    Ok(())
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
    pub async fn run(&self, mut tell: impl FnMut(PreviewProgress) -> bool) -> Result<Stored<ValueModel>, Stopped> {
        let Self { service, tenant, asked } = self;
        // One after the other, and beside no preview: each holds everybody in memory.
        let turn = service.populations.of(tenant.id).lock_owned().await;
        let before = super::in_force::<ValueModel>(service, tenant.id).await?;
        let in_force = before.as_ref().map(Stored::name).unwrap_or_default();
        let before = before.and_then(|before| model_of(&before.body)).map(|model| model.purchases);
        // The last whole day: what is bought today is not all that will be.
        let end = i64::from(tenant.zone.local_day(service.runtime.business.now())) - 1;
        let (everybody, read) = self.everybody(end, &mut tell).await?;
        let telling = Telling { asked: *asked, in_force, currency: tenant.currency, end };
        let fitted = tokio::task::spawn_blocking(move || telling.body(&everybody, before.as_ref())).await;
        drop(turn);
        let fitted = fitted.map_err(|error| ApiError::internal(error.to_string()))?;
        let body = fitted.map_err(|error: FitError| refused(error.to_string()))?;
        if !tell(read) {
            return Err(None);
        }
        let kept = async {
            let (transaction, stored) = super::keep(service, tenant.id, body).await?;
            transaction.commit().await?;
            Ok::<_, StoreError>(stored)
        };
        kept.await.map_err(|error| Some(store_error(&error)))
    }

    /// What everybody has bought, and whoever came and has not.
    async fn everybody(
        &self,
        end: i64,
        tell: impl FnMut(PreviewProgress) -> bool,
    ) -> Result<(Everybody, PreviewProgress), Stopped> {
        let mut all = Everybody::default();
        let held_days = i64::from(self.asked.holdout_days);
        let take = |record: &CustomerRecord| all.add(record, end, held_days, conventions(self.tenant));
        let read = everybody::read(self.service, self.tenant.id, tell, take).await?;
        Ok((all, read))
    }
}

/// Whom models are fitted to.
#[derive(Default)]
struct Everybody {
    buyers: Buyers,
    leads: Leads,
    /// Of each lead.
    of_leads: Vec<OfLead>,
}

/// What a lead has come to.
struct OfLead {
    revenue_minor: i64,
    /// Its place among those who have bought.
    buyer: Option<usize>,
}

impl Everybody {
    fn add(&mut self, record: &CustomerRecord, end: i64, held_days: i64, conventions: Conventions<'_>) {
        let (Some(features), Some(attributes)) = (&record.features, &record.attributes) else { return };
        let buyers = self.buyers.all.len();
        self.buyers.add(features, end, held_days, conventions);
        let Some(came) = attributes.acquisition_date.and_then(convert::day_number) else { return };
        let first = convert::sent_instant(features.first_order_time.as_ref());
        let bought = first.map(|first| conventions.zone.local_day(first));
        if self.leads.add(&attributes.acquisition_channel, &attributes.acquisition_campaign, came, bought) {
            let revenue_minor = convert::sent_minor(features.revenue.as_ref(), conventions.currency).unwrap_or(0);
            let buyer = (self.buyers.all.len() > buyers).then_some(buyers);
            self.of_leads.push(OfLead { revenue_minor, buyer });
        }
    }
}

/// How what is found is told.
struct Telling {
    asked: Asked,
    /// The name of the model in force.
    in_force: String,
    currency: Currency,
    /// The last day that counts.
    end: i64,
}

impl Telling {
    /// What a fit finds. `before` is how the model in force lets customers buy.
    fn body(&self, everybody: &Everybody, before: Option<&Fitted>) -> Result<ValueModel, FitError> {
        let Self { asked, in_force, currency, end } = self;
        let minor_per_major = 10_f64.powi(currency.minor_digits() as i32);
        let found = everybody.buyers.fit(asked.dropout, i64::from(asked.holdout_days), before, minor_per_major)?;
        let body = ValueModel {
            dropout: match asked.dropout {
                Dropout::AfterRepeats => DropoutKind::AfterRepeats.into(),
                Dropout::AfterEveryPurchase => DropoutKind::AfterEveryPurchase.into(),
            },
            terms: Some(asked.terms),
            ..report(&found, *end, asked.holdout_days, in_force, *currency)
        };
        Ok(ValueModel { leads: self.leads(everybody, &body, minor_per_major), ..body })
    }

    /// How leads become customers, and what those are worth by the model that was fitted to them. `None`: none has bought.
    fn leads(&self, everybody: &Everybody, body: &ValueModel, minor_per_major: f64) -> Option<LeadFit> {
        let (model, end) = (model_of(body)?, i32::try_from(self.end).ok()?);
        let value_minor = |place: usize| {
            let of_lead = &everybody.of_leads[place];
            let buyer = &everybody.buyers.all[of_lead.buyer?];
            let spend = buyer.spend(minor_per_major);
            let expected = model.worth(&buyer.history, spend.as_ref()).value? * minor_per_major;
            Some(model.gross_margin * of_lead.revenue_minor as f64 + expected)
        };
        let fit = LeadModel::fit(&everybody.leads, end, value_minor)?;
        let days = self.asked.holdout_days;
        let holdout = (days > 0).then(|| leads::foretell(&everybody.leads, end, days)).flatten();
        Some(leads::encoding::message(&fit, holdout.as_ref(), self.currency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::scoring::{Holdout, HoldoutAccuracy};

    /// A draft whose error was so much, beside that of a model in force and of expecting nothing.
    fn draft(rmse: f64, in_force: f64, nobody_buys: f64) -> ValueModel {
        let accuracy = |rmse| Some(HoldoutAccuracy { rmse, ..HoldoutAccuracy::default() });
        let holdout = Holdout {
            accuracy: accuracy(rmse),
            in_force: accuracy(in_force),
            nobody_buys: accuracy(nobody_buys),
            in_force_model: "valueModels/1".to_owned(),
            ..Holdout::default()
        };
        ValueModel { holdout: Some(holdout), ..ValueModel::default() }
    }

    #[test]
    fn a_draft_is_held_against_the_model_in_force_by_what_was_bought() {
        let in_force = "valueModels/1";
        assert_eq!(draft(1.01, 1.0, 2.0).objection(in_force), None);
        assert_eq!(draft(1.03, 1.0, 2.0).objection(in_force), Some(FORETOLD_WORSE));
        assert_eq!(draft(0.5, 1.0, 2.0).objection("valueModels/2"), Some(NOT_COMPARED));
        assert_eq!(ValueModel::default().objection(in_force), Some(NOT_COMPARED));
        // The less is expected where nothing is bought, the better it looks.
        for rmse in [0.1, 1.0, 9.0] {
            assert_eq!(draft(rmse, 1.0, 0.0).objection(in_force), Some(NOTHING_BOUGHT));
        }
    }
}
