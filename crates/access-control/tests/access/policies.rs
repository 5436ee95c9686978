use crate::installation::{Installation, PATIENCE, Process, with_token};
use quintile_proto::access::{CreateTenantRequest, PolicySnapshot, WatchPolicyRequest};
use std::time::Duration;
use tonic::{Code, Status, Streaming};

async fn watch(process: &Process) -> Streaming<PolicySnapshot> {
    let token = process.token("service", "").await;
    process.policies().watch_policy(with_token(&token, WatchPolicyRequest {})).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<PolicySnapshot>) -> Result<Option<PolicySnapshot>, Status> {
    tokio::time::timeout(PATIENCE, stream.message()).await.expect("a snapshot comes in time")
}

async fn create_tenant(process: &Process, id: &str) {
    let admin = process.token("admin", "").await;
    let request = CreateTenantRequest { tenant_id: id.to_owned(), tenant: None };
    process.tenants().create_tenant(with_token(&admin, request)).await.unwrap();
}

#[tokio::test]
async fn a_watcher_has_the_policy_at_once_and_then_every_change() {
    let process = Installation::new().start().await;
    let mut stream = watch(&process).await;
    let first = next(&mut stream).await.unwrap().unwrap();
    assert_eq!(first.tenants.len(), 1);
    // Nothing has changed, so nothing comes.
    assert!(tokio::time::timeout(Duration::from_millis(50), stream.message()).await.is_err());
    create_tenant(&process, "acme").await;
    let second = next(&mut stream).await.unwrap().unwrap();
    assert!(second.version > first.version);
    assert_eq!(second.tenants[1].name, "tenants/acme");
    assert_eq!((&second.roles, &second.jwks), (&first.roles, &first.jwks));
}

#[tokio::test]
async fn a_change_made_by_one_process_reaches_the_watchers_of_another() {
    for installation in Installation::on_every_database().await {
        let processes = installation.start_several(2).await;
        let (here, there) = (&processes[0], &processes[1]);
        let mut stream = watch(there).await;
        let first = next(&mut stream).await.unwrap().unwrap();
        create_tenant(here, "acme").await;
        let second = next(&mut stream).await.unwrap().unwrap();
        assert!(second.version > first.version);
        assert_eq!(second.tenants[1].name, "tenants/acme");
    }
}

#[tokio::test]
async fn a_watch_ends_as_unavailable_when_the_process_is_told_to_stop() {
    let process = Installation::new().start().await;
    let mut stream = watch(&process).await;
    next(&mut stream).await.unwrap();
    process.begin_to_stop();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unavailable);
    process.stop().await;
}

#[tokio::test]
async fn a_watch_ends_with_its_token() {
    let installation = Installation::new();
    let process = installation.start().await;
    let token = process.token("service", "").await;
    // Within the leeway, of which a second is left: the call is let in, and its stream ends with it.
    installation.advance(3629);
    let request = with_token(&token, WatchPolicyRequest {});
    let mut stream = process.policies().watch_policy(request).await.unwrap().into_inner();
    next(&mut stream).await.unwrap().unwrap();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unauthenticated);
}
