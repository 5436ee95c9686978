//! The RPCs of lifecycle: one file per resource.

mod churn_models;
mod churn_risks;
mod churn_schedules;
mod contact_policies;
mod deliveries;
mod eligibility;
mod enrolments;
mod erasures;
mod grants;
mod labelled_risks;
mod loyalty;
mod next_best_actions;
mod offers;
mod playbook_runs;
mod playbooks;
mod policy_previews;
mod reached;
mod records;
mod retention;
mod stage_policies;
mod stage_rules;
mod stages;
mod tasks;
mod update_mask;
mod warning_watch;
mod warnings;

use crate::churning::Churning;
use crate::running::Playbooks;
use crate::worker::StageLink;
use quintile_chain::context::Runtime;
use quintile_chain::operations::LongWork;
use quintile_proto::lifecycle::churn_model_service_server::{self, ChurnModelServiceServer};
use quintile_proto::lifecycle::churn_service_server::{self, ChurnServiceServer};
use quintile_proto::lifecycle::delivery_service_server::{self, DeliveryServiceServer};
use quintile_proto::lifecycle::erasure_service_server::{self, ErasureServiceServer};
use quintile_proto::lifecycle::loyalty_service_server::{self, LoyaltyServiceServer};
use quintile_proto::lifecycle::offer_service_server::{self, OfferServiceServer};
use quintile_proto::lifecycle::playbook_service_server::{self, PlaybookServiceServer};
use quintile_proto::lifecycle::retention_service_server::{self, RetentionServiceServer};
use quintile_proto::lifecycle::stage_policy_service_server::{self, StagePolicyServiceServer};
use quintile_proto::lifecycle::stage_service_server::{self, StageServiceServer};
use quintile_proto::lifecycle::task_service_server::{self, TaskServiceServer};
use quintile_proto::lifecycle::warning_service_server::{self, WarningServiceServer};
use quintile_proto::longrunning::operations_server::{self, OperationsServer};
use quintile_rpc::lookups::Lookups;
use std::sync::Arc;
use tonic::service::Routes;

/// The services of this server.
pub fn routes(
    runtime: &Runtime,
    link: &Arc<StageLink>,
    playbooks: &Arc<Playbooks>,
    churning: &Arc<Churning>,
) -> Routes {
    let erasures = erasures::Erasures { runtime: runtime.clone(), clock: playbooks.clock.clone() };
    let (deliveries, tasks) = (
        deliveries::Deliveries { runtime: runtime.clone(), link: link.clone(), clock: playbooks.clock.clone() },
        tasks::Tasks { runtime: runtime.clone(), link: link.clone() },
    );
    let (offers, loyalty) = (
        offers::Offers {
            runtime: runtime.clone(),
            link: link.clone(),
            clock: playbooks.clock.clone(),
            lookups: Lookups::default(),
        },
        loyalty::Loyalty { runtime: runtime.clone(), link: link.clone(), clock: playbooks.clock.clone() },
    );
    let measurements = next_best_actions::Measurements::new(playbooks.clock.clone());
    let playbooks = playbooks::Handlers {
        runtime: runtime.clone(),
        link: link.clone(),
        playbooks: playbooks.clone(),
        measurements,
    };
    let risks = churn_risks::ChurnRisks { churning: churning.clone(), link: link.clone() };
    Routes::default()
        .add_service(ChurnModelServiceServer::new(churn_models::ChurnModels { churning: churning.clone() }))
        .add_service(ChurnServiceServer::new(risks))
        .add_service(DeliveryServiceServer::new(deliveries))
        .add_service(ErasureServiceServer::new(erasures))
        .add_service(LoyaltyServiceServer::new(loyalty))
        .add_service(OfferServiceServer::new(offers))
        .add_service(PlaybookServiceServer::new(playbooks))
        .add_service(TaskServiceServer::new(tasks))
        .add_service(RetentionServiceServer::new(retention::Retention { runtime: runtime.clone(), link: link.clone() }))
        .add_service(StageServiceServer::new(stages::Stages { runtime: runtime.clone(), link: link.clone() }))
        .add_service(StagePolicyServiceServer::new(stage_policies::StagePolicies {
            runtime: runtime.clone(),
            link: link.clone(),
        }))
        .add_service(OperationsServer::new(LongWork { runtime: runtime.clone() }))
        .add_service(WarningServiceServer::new(warnings::Warnings { runtime: runtime.clone(), link: link.clone() }))
}

/// Their names, for health.
pub fn names() -> Vec<&'static str> {
    vec![
        stage_service_server::SERVICE_NAME,
        retention_service_server::SERVICE_NAME,
        erasure_service_server::SERVICE_NAME,
        warning_service_server::SERVICE_NAME,
        stage_policy_service_server::SERVICE_NAME,
        playbook_service_server::SERVICE_NAME,
        task_service_server::SERVICE_NAME,
        delivery_service_server::SERVICE_NAME,
        offer_service_server::SERVICE_NAME,
        loyalty_service_server::SERVICE_NAME,
        churn_model_service_server::SERVICE_NAME,
        churn_service_server::SERVICE_NAME,
        operations_server::SERVICE_NAME,
    ]
}
