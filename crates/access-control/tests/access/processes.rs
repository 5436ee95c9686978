use crate::installation::{Installation, with_token};
use futures::future::join_all;
use quintile_proto::access::{CreateTenantRequest, GetJwksRequest, GetPolicyRequest};
use std::collections::BTreeSet;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn processes_that_start_at_once_share_one_key_and_one_tenant() {
    for installation in Installation::on_every_database().await {
        let processes = installation.start_several(4).await;
        let answers = join_all(processes.iter().map(|process| async {
            let jwks = process.tokens().get_jwks(GetJwksRequest {}).await.unwrap().into_inner();
            let token = process.token("admin", "").await;
            let policy = process.policies().get_policy(with_token(&token, GetPolicyRequest {})).await.unwrap();
            (jwks, policy.into_inner())
        }))
        .await;
        for (jwks, policy) in &answers {
            assert_eq!(jwks.keys.len(), 1);
            assert_eq!((jwks, policy), (&answers[0].0, &answers[0].1));
            assert_eq!((policy.version, policy.tenants.len()), (1, 1));
        }
    }
}

#[tokio::test]
async fn tenants_made_at_once_by_several_processes_have_numbers_of_their_own() {
    for installation in Installation::on_every_database().await {
        let processes = installation.start_several(4).await;
        let made = join_all((0..12).map(|index| {
            let process = &processes[index % 4];
            async move {
                let admin = process.token("admin", "").await;
                // Each id twice: one of the two calls is too late.
                let request = CreateTenantRequest { tenant_id: format!("tenant-{}", index / 2), tenant: None };
                process.tenants().create_tenant(with_token(&admin, request)).await
            }
        }))
        .await;
        let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
        assert!(refused.into_iter().all(|answer| answer.unwrap_err().code() == Code::AlreadyExists));
        let numbers: BTreeSet<_> = made.into_iter().map(|answer| answer.unwrap().into_inner().number).collect();
        assert_eq!(numbers, (2..=7).collect());
    }
}

#[tokio::test]
async fn a_tenant_made_by_one_process_is_known_to_another_at_once() {
    let installation = Installation::new();
    let processes = installation.start_several(2).await;
    let (here, there) = (&processes[0], &processes[1]);
    // Both have loaded the policy before it changes.
    there.token("admin", "").await;
    let admin = here.token("admin", "").await;
    let request = CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: None };
    here.tenants().create_tenant(with_token(&admin, request)).await.unwrap();
    let token = there.token("admin", "acme").await;
    there.policies().get_policy(with_token(&token, GetPolicyRequest {})).await.unwrap();
}

#[tokio::test]
async fn a_token_outlives_the_process_that_issued_it() {
    let installation = Installation::new();
    let process = installation.start().await;
    let token = process.token("admin", "").await;
    process.stop().await;
    let process = installation.start().await;
    process.policies().get_policy(with_token(&token, GetPolicyRequest {})).await.unwrap();
}

#[tokio::test]
async fn a_database_may_be_migrated_before_it_is_served() {
    for installation in Installation::on_every_database().await {
        for _ in 0..2 {
            quintile_access_control::migrate(&installation.database).await.unwrap();
        }
        installation.start().await.token("admin", "").await;
    }
}

#[tokio::test]
async fn health_says_that_it_serves() {
    let process = Installation::new().start().await;
    let services = [
        "",
        "TokenService",
        "PolicyService",
        "TenantService",
        "PrincipalService",
        "IssuerService",
        "RevocationService",
        "SigningKeyService",
    ];
    // The first answer waits for the server; the health reporter runs beside it.
    process.token("admin", "").await;
    for service in services {
        let service = if service.is_empty() { String::new() } else { format!("quintile.access.v1.{service}") };
        let mut health = HealthClient::new(process.channel.clone());
        let mut states = health.watch(HealthCheckRequest { service }).await.unwrap().into_inner();
        while states.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    }
}
