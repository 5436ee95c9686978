//! The 360 view: every part from the service that owns it, with the caller's own rights, all at once.

use super::{may_read_classes, population};
use crate::Service;
use crate::population::catalogue::Kind;
use crate::store::memberships;
use quintile_chain::{page, store_error};
use quintile_domain::ids::CustomerId;
use quintile_proto::ingestion::customer_service_client::CustomerServiceClient;
use quintile_proto::ingestion::feature_service_client::FeatureServiceClient;
use quintile_proto::ingestion::{GetCustomerRequest, GetFeaturesRequest};
use quintile_proto::lifecycle::loyalty_service_client::LoyaltyServiceClient;
use quintile_proto::lifecycle::offer_service_client::OfferServiceClient;
use quintile_proto::lifecycle::stage_service_client::StageServiceClient;
use quintile_proto::lifecycle::{GetCustomerTierRequest, GetStageRequest, GrantState, ListGrantsRequest};
use quintile_proto::scoring::GetScoreRequest;
use quintile_proto::scoring::score_service_client::ScoreServiceClient;
use quintile_proto::segmentation::profile_service_server::ProfileService;
use quintile_proto::segmentation::{
    GetProfileRequest, ListMembershipChangesRequest, ListMembershipChangesResponse, Profile,
};
use quintile_rpc::client::upstream_error;
use quintile_rpc::{Answer, ApiError, Caller, convert};
use quintile_store::history::Position;
use tonic::{Code, Request, Response, Status};

/// The part of a customer that this is.
const PART: &str = "profile";
/// The most grants that a profile has.
const GRANTS: i32 = 100;

/// The handlers.
pub struct Profiles {
    pub service: Service,
}

impl Profiles {
    /// The labels and segments of a customer, as far as the caller may know of them.
    fn memberships(&self, caller: &Caller, customer: CustomerId) -> Result<(Vec<String>, Vec<String>), ApiError> {
        let loaded = population(&self.service, caller)?;
        let population = loaded.population.read();
        if !population.reaches(caller.scope(), customer.0) {
            return Err(ApiError::not_found());
        }
        let catalogue = population.catalogue();
        let (mut labels, mut segments) = (Vec::new(), Vec::new());
        for (place, part) in population.memberships(customer.0) {
            let definition = &catalogue.live()[place];
            if may_read_classes(caller, population.classes(catalogue, place)) {
                let names = if definition.key.kind == Kind::Segment { &mut segments } else { &mut labels };
                names.push(definition.parts[part].name.clone());
            }
        }
        labels.sort_unstable();
        segments.sort_unstable();
        Ok((labels, segments))
    }
}

/// A part, or its name among those that are missing. A customer that is not there is no missing part, and one without features, which
/// come from the facts themselves, is out of everything derived.
fn part<T>(name: &str, answer: Result<Response<T>, Status>, missing: &mut Vec<String>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) if status.code() == Code::NotFound && matches!(name, "customer" | "features") => {
            Err(ApiError::not_found())
        }
        Err(status) if status.code() == Code::DeadlineExceeded => Err(upstream_error(&status)),
        Err(_) => {
            missing.push(name.to_owned());
            Ok(None)
        }
    }
}

impl Profiles {
    /// What the other services know of a customer, each asked for its parts at once.
    async fn gather(&self, caller: &Caller, id: CustomerId) -> Result<Profile, ApiError> {
        let credentials = &self.service.credentials;
        let lifecycle = || self.service.lifecycle.clone();
        let mut customers = CustomerServiceClient::new(self.service.ingestion.clone());
        let mut features = FeatureServiceClient::new(self.service.ingestion.clone());
        let mut scores = ScoreServiceClient::new(self.service.scoring.clone());
        let mut stages = StageServiceClient::new(lifecycle());
        let mut tiers = LoyaltyServiceClient::new(lifecycle());
        let mut offers = OfferServiceClient::new(lifecycle());
        let customer = async {
            let message = GetCustomerRequest { name: id.to_string() };
            customers.get_customer(credentials.request_for(caller, message).await?).await
        };
        let features = async {
            let message = GetFeaturesRequest { name: id.part_name("features"), as_of: None };
            features.get_features(credentials.request_for(caller, message).await?).await
        };
        let score = async {
            let message = GetScoreRequest { name: id.part_name("score") };
            scores.get_score(credentials.request_for(caller, message).await?).await
        };
        let stage = async {
            let message = GetStageRequest { name: id.part_name("stage") };
            stages.get_stage(credentials.request_for(caller, message).await?).await
        };
        let tier = async {
            let message = GetCustomerTierRequest { name: id.part_name("loyaltyTier") };
            tiers.get_customer_tier(credentials.request_for(caller, message).await?).await
        };
        let grants = async {
            let message = ListGrantsRequest {
                parent: id.to_string(),
                states: vec![GrantState::Open.into()],
                page_size: GRANTS,
                ..ListGrantsRequest::default()
            };
            offers.list_grants(credentials.request_for(caller, message).await?).await
        };
        let (customer, features, score, stage, tier, grants) =
            tokio::join!(customer, features, score, stage, tier, grants);
        let mut missing_parts = Vec::new();
        let customer = part("customer", customer, &mut missing_parts)?;
        let features = part("features", features, &mut missing_parts)?;
        let score = part("scores", score, &mut missing_parts)?;
        let stage = part("stage", stage, &mut missing_parts)?;
        let tier = part("loyalty_tier", tier, &mut missing_parts)?;
        let grants = part("grants", grants, &mut missing_parts)?;
        let (stage, churn) = stage.map(|stage| (stage.values, stage.churn)).unwrap_or_default();
        Ok(Profile {
            customer,
            features: features.and_then(|features| features.features),
            scores: score.and_then(|score| score.values),
            stage,
            churn,
            loyalty_tier: tier.filter(|tier| !tier.tier.is_empty()),
            grants: grants.map(|page| page.grants).unwrap_or_default(),
            missing_parts,
            ..Profile::default()
        })
    }
}

#[tonic::async_trait]
impl ProfileService for Profiles {
    async fn get_profile(&self, request: Request<GetProfileRequest>) -> Answer<Profile> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        let id = convert::customer("name", &name, Some(PART))?;
        let gathered = Box::pin(self.gather(&caller, id)).await?;
        let (labels, segments) = self.memberships(&caller, id)?;
        // The parts were masked by the services that own them; whether the caller reaches the customer was found out above.
        let view = caller.view_of_reached([]);
        Ok(view.respond(Profile { name, labels, segments, ..gathered }))
    }

    async fn list_membership_changes(
        &self,
        request: Request<ListMembershipChangesRequest>,
    ) -> Answer<ListMembershipChangesResponse> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let customer = convert::customer("parent", &request.parent, None)?;
        let tenant = caller.tenant().id;
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let (runtime, query) = (&self.service.runtime, format!("ListMembershipChanges {customer}"));
        let decode = |bytes: Vec<u8>| Position::from_bytes(&bytes);
        let after = page::begin(&runtime.sealer, tenant, &query, &request.page_token, Position::default(), decode)?;
        let loaded = population(&self.service, &caller)?;
        let read = memberships::of_customer(runtime.database.reader(), tenant, customer, after, size).await;
        let read = read.map_err(|error| store_error(&error))?;
        let seal = |next: Position| runtime.sealer.seal(tenant, query.as_bytes(), &next.to_bytes());
        let next_page_token = read.next.map(seal).unwrap_or_default();
        {
            let population = loaded.population.read();
            if !population.contains(customer.0) || !population.reaches(caller.scope(), customer.0) {
                return Err(ApiError::not_found().into());
            }
        }
        let changes = read.changes.into_iter().filter(|logged| may_read_classes(&caller, logged.classes));
        let changes = changes.map(|logged| logged.change).collect();
        Ok(caller.view_of_reached([]).respond(ListMembershipChangesResponse { changes, next_page_token }))
    }
}
