//! Products for customers, and products beside products.

use crate::fitting;
use crate::recommendation::{MAX_OWN_PRODUCTS, Recommended, SIMILARITY_ONE, recommend};
use crate::store::fits::Stored;
use crate::store::products::{self, ModelProduct};
use crate::{MAX_MESSAGE_BYTES, Service, refused};
use quintile_chain::{derive, store_error};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::names::required_text;
use quintile_proto::ingestion::fact_service_client::FactServiceClient;
use quintile_proto::ingestion::{FactKind, ListCustomerFactsRequest, Order};
use quintile_proto::scoring::recommendation_service_server::RecommendationService;
use quintile_proto::scoring::{
    GetRecommendationsRequest, GetRelatedProductsRequest, PopularProduct, Recommendation, RecommendationBasis,
    RecommendationModel, Recommendations, RelatedProduct, RelatedProducts,
};
use quintile_proto::types::{CustomerAttributes, Purpose};
use quintile_rpc::client::upstream_error;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use std::collections::{HashMap, HashSet};
use tonic::Request;

/// The part of a customer that is told.
const PART: &str = "recommendations";
/// The most products for a customer.
const MAX_PRODUCTS: i32 = 100;
/// The most products beside a product.
const MAX_RELATED: i32 = 20;
/// How many there are where nobody says.
const PRODUCTS: i32 = 10;
/// The orders that are looked at: the newest.
const ORDERS: usize = 1_000;
/// Those that are asked for at once: however long their lines, they are one message.
const ORDERS_AT_ONCE: i32 = 100;
/// Products whose names are asked for at once, the best first.
const RANKED_AT_ONCE: usize = 100;
/// The longest name of a product, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The handlers.
pub struct CustomerRecommendations {
    pub service: Service,
}

fn checked_count(field: &str, asked: i32, most: i32) -> Result<usize, ApiError> {
    match asked {
        0 => Ok(PRODUCTS as usize),
        asked if (1..=most).contains(&asked) => Ok(asked as usize),
        _ => Err(ApiError::invalid_field(field, format!("must be within 1 and {most}, or 0"))),
    }
}

/// Whether a customer objects to what would be made of its purchases.
fn objects(attributes: Option<&CustomerAttributes>) -> bool {
    let purposes = [Purpose::Profiling, Purpose::Marketing].map(i32::from);
    attributes.is_some_and(|attributes| purposes.iter().any(|purpose| attributes.objections.contains(purpose)))
}

/// What a customer bought, the newest first.
struct Bought {
    /// The products, each once.
    products: Vec<String>,
    /// The categories.
    categories: HashSet<String>,
}

impl Bought {
    fn of(orders: Vec<Order>) -> Self {
        let (mut products, mut seen, mut categories) = (Vec::new(), HashSet::new(), HashSet::new());
        for line in orders.into_iter().flat_map(|order| order.lines) {
            if !line.product.is_empty() && seen.insert(line.product.clone()) {
                products.push(line.product);
            }
            categories.insert(line.category);
        }
        Self { products, categories }
    }
}

/// What is recommended to a customer.
struct Chosen {
    basis: RecommendationBasis,
    products: Vec<Recommendation>,
}

/// A model in force, and who asks of it.
struct Asking<'a> {
    service: &'a Service,
    caller: &'a Caller,
    model: &'a Stored<RecommendationModel>,
}

impl Asking<'_> {
    /// What a customer bought, as its caller may know.
    async fn bought(&self, customer: CustomerId) -> Result<Bought, ApiError> {
        let failed = |status| upstream_error(&status);
        let facts = FactServiceClient::new(self.service.ingestion.clone());
        let mut facts = facts.max_decoding_message_size(MAX_MESSAGE_BYTES);
        let (mut orders, mut page_token) = (Vec::new(), String::new());
        while orders.len() < ORDERS {
            let request = ListCustomerFactsRequest {
                parent: customer.to_string(),
                kind: FactKind::Order.into(),
                page_size: ORDERS_AT_ONCE,
                page_token,
            };
            let request = self.service.credentials.request_for(self.caller, request).await.map_err(failed)?;
            let listed = facts.list_customer_facts(request).await.map_err(failed)?.into_inner();
            orders.extend(listed.facts.into_iter().filter_map(|fact| fact.order));
            page_token = listed.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(Bought::of(orders))
    }

    async fn choose(&self, bought: &Bought, count: usize, exclude_own_categories: bool) -> Result<Chosen, ApiError> {
        let failed = |error| store_error(&error);
        let (reader, tenant) = (self.service.runtime.database.reader(), self.caller.tenant().id);
        let newest = bought.products.iter().take(MAX_OWN_PRODUCTS).map(String::as_str);
        let own = products::by_name(reader, tenant, self.model.number, newest).await.map_err(failed)?;
        let own: HashMap<u32, ModelProduct> = own.into_iter().map(|product| (product.number, product)).collect();
        let related = own.values().map(|product| (product.number, product.body.related()));
        let ranked = recommend(related, |product| !own.contains_key(&product), usize::MAX);
        let all: HashSet<&str> = bought.products.iter().map(String::as_str).collect();
        let mut categories: HashSet<&str> = bought.categories.iter().map(String::as_str).collect();
        categories.extend(own.values().map(|product| product.body.category.as_str()));
        // Products without a category have none in common.
        categories.remove("");
        let is_own = |category: &str| exclude_own_categories && categories.contains(category);
        let wanted = |product: &str, category: &str| !all.contains(product) && !is_own(category);
        let mut chosen = Vec::with_capacity(count);
        for part in ranked.chunks(count.max(RANKED_AT_ONCE)) {
            let numbers: Vec<u32> = part.iter().map(|ranked| ranked.product).collect();
            let found = products::by_number(reader, tenant, self.model.number, &numbers).await.map_err(failed)?;
            let found: HashMap<u32, ModelProduct> =
                found.into_iter().map(|product| (product.number, product)).collect();
            let known = part.iter().filter_map(|ranked| Some((ranked, found.get(&ranked.product)?)));
            let wanted = known.filter(|(_, product)| wanted(&product.name, &product.body.category));
            chosen.extend(wanted.take(count - chosen.len()).map(|(ranked, product)| self.told(ranked, product, &own)));
            if chosen.len() == count {
                break;
            }
        }
        let goes_by_purchases = own.values().any(|product| !product.body.others.is_empty());
        let basis = if goes_by_purchases { RecommendationBasis::Purchases } else { RecommendationBasis::NoPurchases };
        let by_purchases: HashSet<String> = chosen.iter().map(|chosen| chosen.product.clone()).collect();
        let others = self.popular(count - chosen.len(), |popular| {
            wanted(&popular.product, &popular.category) && !by_purchases.contains(&popular.product)
        });
        chosen.extend(others);
        Ok(Chosen { basis, products: chosen })
    }

    /// The most popular products that are wanted.
    fn popular(&self, count: usize, wanted: impl Fn(&PopularProduct) -> bool) -> Vec<Recommendation> {
        let popular = self.model.body.popular.iter().filter(|popular| wanted(popular)).take(count);
        let told = popular.map(|popular| Recommendation {
            product: popular.product.clone(),
            category: popular.category.clone(),
            ..Recommendation::default()
        });
        told.collect()
    }

    fn told(
        &self,
        ranked: &Recommended<u32>,
        product: &ModelProduct,
        own: &HashMap<u32, ModelProduct>,
    ) -> Recommendation {
        let reasons = ranked.because_of.iter().filter_map(|reason| own.get(reason));
        Recommendation {
            product: product.name.clone(),
            category: product.body.category.clone(),
            score: self.caller.scope().is_none().then_some(ranked.score as f64 / SIMILARITY_ONE),
            because_of: reasons.map(|reason| reason.name.clone()).collect(),
        }
    }

    /// A product with those that resemble it. `None`: the model does not know it.
    async fn related(
        &self,
        product: &str,
        count: usize,
        exclude_own_category: bool,
    ) -> Result<Option<RelatedProducts>, ApiError> {
        let failed = |error| store_error(&error);
        let (reader, tenant) = (self.service.runtime.database.reader(), self.caller.tenant().id);
        let found = products::by_name(reader, tenant, self.model.number, [product]).await.map_err(failed)?;
        let Some(ModelProduct { name, body, .. }) = found.into_iter().next() else { return Ok(None) };
        let others = products::by_number(reader, tenant, self.model.number, &body.others).await.map_err(failed)?;
        let others: HashMap<u32, ModelProduct> = others.into_iter().map(|other| (other.number, other)).collect();
        let is_own = |other: &ModelProduct| {
            exclude_own_category && !body.category.is_empty() && other.body.category == body.category
        };
        let reaches_everybody = self.caller.scope().is_none();
        let related = body.related().zip(&body.common).filter_map(|((number, similarity), common)| {
            let other = others.get(&number).filter(|other| !is_own(other))?;
            Some(RelatedProduct {
                product: other.name.clone(),
                category: other.body.category.clone(),
                similarity: reaches_everybody.then_some(similarity as f64 / SIMILARITY_ONE),
                customers: reaches_everybody.then_some(i64::from(*common)),
            })
        });
        Ok(Some(RelatedProducts {
            model: self.model.name(),
            product: name,
            related: related.take(count).collect(),
            customers: reaches_everybody.then_some(i64::from(body.customers)),
            category: body.category,
        }))
    }
}

impl CustomerRecommendations {
    async fn in_force(&self, tenant: TenantId) -> Result<Stored<RecommendationModel>, ApiError> {
        let found = fitting::in_force(&self.service, tenant).await?;
        found.ok_or_else(|| refused("no model of recommendations is in force: fit and publish one"))
    }
}

#[tonic::async_trait]
impl RecommendationService for CustomerRecommendations {
    async fn get_recommendations(&self, request: Request<GetRecommendationsRequest>) -> Answer<Recommendations> {
        let caller = Caller::of(&request)?;
        let GetRecommendationsRequest { name, max_products, exclude_own_categories } = request.get_ref();
        let customer = convert::customer("name", name, Some(PART))?;
        let count = checked_count("max_products", *max_products, MAX_PRODUCTS)?;
        let runtime = &self.service.runtime;
        let current = derive::current(runtime, self.service.link.as_ref(), &caller, customer).await?;
        let model = self.in_force(caller.tenant().id).await?;
        let asking = Asking { service: &self.service, caller: &caller, model: &model };
        // Asked first: who may not know what customers buy would else be told who objects.
        let bought = asking.bought(customer).await?;
        let chosen = if objects(current.record.attributes.as_ref()) {
            Chosen { basis: RecommendationBasis::Objection, products: asking.popular(count, |_| true) }
        } else {
            asking.choose(&bought, count, *exclude_own_categories).await?
        };
        let told = Recommendations {
            name: name.clone(),
            model: model.name(),
            basis: chosen.basis.into(),
            products: chosen.products,
            watermark: Some(current.watermark.to_message()),
        };
        Ok(current.view.respond(told))
    }

    async fn get_related_products(&self, request: Request<GetRelatedProductsRequest>) -> Answer<RelatedProducts> {
        let caller = Caller::of(&request)?;
        let GetRelatedProductsRequest { product, max_products, exclude_own_category } = request.get_ref();
        required_text(product, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("product", error))?;
        let count = checked_count("max_products", *max_products, MAX_RELATED)?;
        let model = self.in_force(caller.tenant().id).await?;
        let asking = Asking { service: &self.service, caller: &caller, model: &model };
        let related = asking.related(product, count, *exclude_own_category).await?;
        Ok(caller.respond(related.ok_or_else(ApiError::not_found)?))
    }
}
