use crate::installation::{Installation, PATIENCE, Process, by_secret, with_token};
use quintile_proto::access::{
    CreateTenantRequest, GetPolicyRequest, IssueTokenRequest, PolicySnapshot, WatchPolicyRequest,
};
use tonic::{Code, Status, Streaming};

async fn watch(process: &Process) -> Streaming<PolicySnapshot> {
    let token = process.token("service", "").await;
    process.policies().watch_policy(with_token(&token, WatchPolicyRequest {})).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<PolicySnapshot>) -> Result<Option<PolicySnapshot>, Status> {
    loop {
        match next_message(stream).await {
            Ok(Some(snapshot)) if snapshot.unchanged => {}
            other => return other,
        }
    }
}

async fn next_message(stream: &mut Streaming<PolicySnapshot>) -> Result<Option<PolicySnapshot>, Status> {
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
    // Nothing has changed, and access-control says so.
    let unchanged = PolicySnapshot { version: first.version, unchanged: true, ..PolicySnapshot::default() };
    for _ in 0..2 {
        assert_eq!(next_message(&mut stream).await.unwrap().unwrap(), unchanged);
    }
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

#[tokio::test]
async fn the_whole_policy_is_for_the_services_of_the_first_tenant_and_others_see_their_own() {
    let process = Installation::new().start().await;
    create_tenant(&process, "acme").await;
    // The role alone makes nobody a service of the suite.
    let request = IssueTokenRequest { subject: "pipeline".to_owned(), ..by_secret("service", "") };
    let token = process.tokens().issue_token(request).await.unwrap().into_inner().token;
    let got = process.policies().get_policy(with_token(&token, GetPolicyRequest {})).await.unwrap().into_inner();
    assert_eq!(got.tenants.len(), 1);
    assert!(got.tenants[0].pseudonym_key.is_empty());
    for (role, tenant, tenants, keys) in [
        ("service", "", vec!["tenants/default", "tenants/acme"], 32),
        ("admin", "", vec!["tenants/default"], 0),
        ("service", "acme", vec!["tenants/acme"], 0),
        ("admin", "acme", vec!["tenants/acme"], 0),
    ] {
        let token = process.token(role, tenant).await;
        let got = process.policies().get_policy(with_token(&token, GetPolicyRequest {})).await.unwrap().into_inner();
        let watch = process.policies().watch_policy(with_token(&token, WatchPolicyRequest {})).await;
        let watched = next(&mut watch.unwrap().into_inner()).await.unwrap().unwrap();
        assert_eq!(got, watched);
        let names: Vec<_> = got.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        assert_eq!(names, tenants, "{role} {tenant}");
        assert!(got.tenants.iter().all(|tenant| tenant.pseudonym_key.len() == keys), "{role} {tenant}");
    }
}
