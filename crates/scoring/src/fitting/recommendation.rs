//! Fits of recommendations to what everybody bought.

use super::{Compared, FORETOLD_WORSE, NOT_COMPARED, Publishing, Stopped, orders};
use crate::recommendation::{Accuracy, CoPurchase, Foretold, Neighbour, Product, Purchases, Seen, foretell};
use crate::store::fits::{Fit, Stored};
use crate::store::products::{self, Body, ModelProduct};
use crate::{Service, refused};
use quintile_chain::store_error;
use quintile_proto::scoring::{
    PopularProduct, PreviewProgress, RankingAccuracy, RecommendationHoldout, RecommendationModel, RecommendationTerms,
};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, convert};
use quintile_store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;

/// How much a draft's recall may be below that of a model that may have seen the days that are held out.
const TOLERATED: f64 = 0.98;
/// The popular products that are told.
const POPULAR: usize = 100;

impl Fit for RecommendationModel {
    const KIND: i32 = 2;
    const COLLECTION: &'static str = "recommendationModels";
    const REVISIONS: &'static str = "recommendation_models";
    const KEPT: i64 = 10;
}

impl Compared for RecommendationModel {
    fn objection(&self, in_force: &str) -> Option<&'static str> {
        // There is no report where nobody bought anything new.
        let holdout = self.holdout.as_ref().filter(|holdout| holdout.in_force_model == in_force);
        let compared = holdout.and_then(|holdout| Some((holdout.accuracy?, holdout.in_force?)));
        let Some((ours, in_force)) = compared else { return Some(NOT_COMPARED) };
        (ours.recall_at_10 < in_force.recall_at_10 * TOLERATED).then_some(FORETOLD_WORSE)
    }
}

/// What is to be fitted.
#[derive(Clone, Copy)]
pub struct Asked {
    /// How it is fitted.
    pub terms: RecommendationTerms,
    /// The days at the end that are held out for the report. 0: none.
    pub holdout_days: i32,
}

/// Puts a draft in force.
pub async fn publish(
    service: &Service,
    tenant: &Tenant,
    publishing: &Publishing<'_>,
) -> Result<Stored<RecommendationModel>, ApiError> {
    let (transaction, published) = super::publish(service, tenant.id, publishing).await?;
    transaction.commit().await.map_err(|error| store_error(&error.into()))?;
    Ok(published)
}

/// A fit to what everybody bought.
pub struct Fitting<'a> {
    /// What it reads and keeps.
    pub service: &'a Service,
    /// Whose customers.
    pub tenant: &'a Arc<Tenant>,
    /// What is to be fitted.
    pub asked: Asked,
}

/// What a fit has found.
struct Found {
    purchases: Purchases,
    co_purchase: CoPurchase,
    /// `None`: no days were held out, or there is nobody to judge by.
    foretold: Option<Foretold>,
}

impl Fitting<'_> {
    /// Fits, and keeps what was found as a draft. `tell` hears how far it is and says whether to go on.
    pub async fn run(
        &self,
        mut tell: impl FnMut(PreviewProgress) -> bool,
    ) -> Result<Stored<RecommendationModel>, Stopped> {
        let Self { service, tenant, asked } = self;
        // One after the other, and beside no preview: each holds everybody in memory.
        let turn = service.populations.of(tenant.id).lock_owned().await;
        let in_force = super::in_force::<RecommendationModel>(service, tenant.id).await?;
        let known = match &in_force {
            Some(stored) => products::all(service.runtime.database.reader(), tenant.id, stored.number).await,
            None => Ok(Vec::new()),
        };
        let known = known.map_err(|error| store_error(&error))?;
        // The last whole day: what is bought today is not all that will be.
        let end = tenant.zone.local_day(service.runtime.business.now()) - 1;
        let first = if asked.terms.history_days == 0 { i32::MIN } else { end - asked.terms.history_days + 1 };
        let held_out_from = end - asked.holdout_days + 1;
        let (purchases, read) = orders::read(service, tenant, first..=end, held_out_from, &mut tell).await?;
        let (asked, judges) = (*asked, in_force.is_some());
        let found = tokio::task::spawn_blocking(move || find(purchases, end, asked, judges.then_some(&known))).await;
        drop(turn);
        let found = found.map_err(|error| ApiError::internal(error.to_string()))?;
        if found.co_purchase.related_products() == 0 {
            return Err(Some(refused(
                "no two products were bought by that many of the same customers; products are what the lines of orders name",
            )));
        }
        if !tell(read) {
            return Err(None);
        }
        let in_force = in_force.map(|stored| stored.name()).unwrap_or_default();
        let body = body(&found, end, asked, &in_force);
        let rows = rows(&found, asked);
        let kept = async {
            let (transaction, stored) = super::keep(service, tenant.id, body).await?;
            products::write(&transaction, tenant.id, stored.number, &rows).await?;
            products::forget_orphans(&transaction, tenant.id).await?;
            transaction.commit().await?;
            Ok::<_, StoreError>(stored)
        };
        kept.await.map_err(|error| Some(store_error(&error)))
    }
}

fn find(purchases: Purchases, end: i32, asked: Asked, in_force: Option<&Vec<ModelProduct>>) -> Found {
    let min_customers = asked.terms.min_customers.unsigned_abs();
    let in_force = in_force.map(|products| neighbours_of(products, &purchases));
    let foretold = (asked.holdout_days > 0)
        .then(|| foretell(&purchases, end - asked.holdout_days + 1, min_customers, in_force.as_deref()))
        .flatten();
    let co_purchase = CoPurchase::fit(&purchases, Seen::All, end + 1, min_customers);
    Found { purchases, co_purchase, foretold }
}

/// The neighbours that a model has, among products that were bought.
fn neighbours_of(products: &[ModelProduct], purchases: &Purchases) -> Vec<Vec<Neighbour>> {
    let numbers = products.iter().filter_map(|product| Some((product.number, purchases.number(&product.name)?)));
    let numbers: HashMap<u32, u32> = numbers.collect();
    let mut neighbours = vec![Vec::new(); purchases.products.len()];
    for product in products {
        let Some(own) = numbers.get(&product.number) else { continue };
        let others = product.body.related().zip(&product.body.common);
        let others = others.filter_map(|((other, similarity), customers)| {
            Some(Neighbour { product: *numbers.get(&other)?, similarity, customers: *customers })
        });
        neighbours[*own as usize] = others.collect();
    }
    neighbours
}

fn body(found: &Found, end: i32, asked: Asked, in_force: &str) -> RecommendationModel {
    let Found { purchases, co_purchase, foretold } = found;
    let popular = co_purchase.popular.iter().take(POPULAR).map(|number| {
        let product = &purchases.products[*number as usize];
        PopularProduct {
            product: product.name.clone(),
            category: category(product, asked),
            customers: co_purchase.lately[*number as usize].into(),
        }
    });
    let without = asked.holdout_days > 0 && foretold.is_none();
    let problem = "nobody who had bought before the days that are held out bought anything new in them";
    RecommendationModel {
        terms: Some(asked.terms),
        end_date: Some(convert::date(end)),
        customers: purchases.customers() as i64,
        products: co_purchase.popular.len() as i64,
        products_left_out: (purchases.products.len() - co_purchase.popular.len()) as i64,
        purchases: purchases.rows.len() as i64,
        related_products: co_purchase.related_products() as i64,
        popular: popular.collect(),
        holdout: foretold.as_ref().map(|foretold| holdout(foretold, asked.holdout_days, in_force)),
        holdout_problem: if without { problem.to_owned() } else { String::new() },
        ..RecommendationModel::default()
    }
}

/// A product's category, as far as enough customers' orders tell it.
fn category(product: &Product, asked: Asked) -> String {
    let is_told = product.category_customers >= asked.terms.min_customers.unsigned_abs();
    if is_told { product.category.clone() } else { String::new() }
}

fn holdout(foretold: &Foretold, days: i32, in_force: &str) -> RecommendationHoldout {
    RecommendationHoldout {
        days,
        customers: foretold.customers as i64,
        accuracy: Some(accuracy(&foretold.model)),
        popularity: Some(accuracy(&foretold.popularity)),
        in_force: foretold.in_force.as_ref().map(accuracy),
        in_force_model: in_force.to_owned(),
    }
}

fn accuracy(accuracy: &Accuracy) -> RankingAccuracy {
    RankingAccuracy { recall_at_10: accuracy.recall, hit_rate_at_10: accuracy.hit_rate, coverage: accuracy.coverage }
}

/// What is kept of each product that is known.
fn rows(found: &Found, asked: Asked) -> Vec<ModelProduct> {
    let Found { purchases, co_purchase, .. } = found;
    let mut known = co_purchase.popular.clone();
    known.sort_unstable();
    let row = |number: u32| {
        let (product, neighbours) = (&purchases.products[number as usize], &co_purchase.neighbours[number as usize]);
        let body = Body {
            category: category(product, asked),
            customers: co_purchase.customers[number as usize],
            others: neighbours.iter().map(|other| other.product).collect(),
            similarities: neighbours.iter().map(|other| other.similarity).collect(),
            common: neighbours.iter().map(|other| other.customers).collect(),
        };
        ModelProduct { number, name: product.name.clone(), body }
    };
    known.into_iter().map(row).collect()
}
