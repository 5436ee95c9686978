use crate::installation::{Installation, Process, by_secret, eventually, with_token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost_types::Timestamp;
use quintile_proto::access::revocation::Target;
use quintile_proto::access::{
    CreateRevocationRequest, CreateTenantRequest, IssueTokenRequest, ListRevocationsRequest, Revocation,
};
use tonic::{Code, Status};

async fn revoke(process: &Process, token: &str, target: Option<Target>) -> Result<Revocation, Status> {
    let request = CreateRevocationRequest { revocation: Some(Revocation { target, ..Revocation::default() }) };
    process.revocations().create_revocation(with_token(token, request)).await.map(tonic::Response::into_inner)
}

async fn token_of(process: &Process, role: &str, subject: &str) -> String {
    let request = IssueTokenRequest { subject: subject.to_owned(), ..by_secret(role, "") };
    process.tokens().issue_token(request).await.unwrap().into_inner().token
}

fn id_of(token: &str) -> String {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

fn before(seconds: i64) -> Target {
    Target::IssuedBefore(Timestamp { seconds, nanos: 0 })
}

#[tokio::test]
async fn one_token_is_revoked_by_its_id_in_every_process() {
    for installation in Installation::on_every_database().await {
        let processes = installation.start_several(2).await;
        let (here, there) = (&processes[0], &processes[1]);
        let admin = here.token("admin", "").await;
        let (lost, kept) = (token_of(here, "analyst", "ann").await, token_of(here, "analyst", "ann").await);
        // Both remember it as verified.
        assert!(here.believes(&lost).await && there.believes(&lost).await);
        let made = revoke(here, &admin, Some(Target::TokenId(id_of(&lost)))).await.unwrap();
        assert_eq!(made.tenant, "tenants/default");
        assert_eq!(made.revoke_time.as_ref().unwrap().seconds, installation.now_seconds());
        assert_eq!(made.expire_time.as_ref().unwrap().seconds, installation.now_seconds() + 12 * 3600 + 60);
        assert!(!here.believes(&lost).await);
        eventually("the other process refuses it", async || !there.believes(&lost).await).await;
        assert!(here.believes(&kept).await && there.believes(&kept).await);
    }
}

#[tokio::test]
async fn a_subject_is_shut_out_until_it_is_issued_another_token() {
    let installation = Installation::new();
    let process = installation.start().await;
    let admin = process.token("admin", "").await;
    let (ann, bob) = (token_of(&process, "analyst", "ann").await, token_of(&process, "analyst", "bob").await);
    revoke(&process, &admin, Some(Target::Subject("ann".to_owned()))).await.unwrap();
    assert!(!process.believes(&ann).await);
    assert!(process.believes(&bob).await);
    installation.advance(1);
    assert!(process.believes(&token_of(&process, "analyst", "ann").await).await);
}

#[tokio::test]
async fn a_tenant_revokes_what_was_issued_before_an_instant_but_for_services_and_nobody_elses() {
    let installation = Installation::new();
    let process = installation.start().await;
    let admin = process.token("admin", "").await;
    let tenant = CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: None };
    process.tenants().create_tenant(with_token(&admin, tenant)).await.unwrap();
    let (service, analyst) = (process.token("service", "").await, process.token("analyst", "").await);
    let other = process.token("analyst", "acme").await;
    installation.advance(10);
    let later = process.token("analyst", "").await;
    let future = revoke(&process, &admin, Some(before(installation.now_seconds() + 1))).await;
    assert_eq!(future.unwrap_err().code(), Code::InvalidArgument);
    revoke(&process, &admin, Some(before(installation.now_seconds()))).await.unwrap();
    for (token, believed) in [(&admin, false), (&analyst, false), (&later, true), (&service, true), (&other, true)] {
        assert_eq!(process.believes(token).await, believed);
    }
}

#[tokio::test]
async fn revocations_are_listed_by_pages_until_they_are_over_and_within_their_tenant() {
    for installation in Installation::on_every_database().await {
        let process = installation.start().await;
        let admin = process.token("admin", "").await;
        let tenant = CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: None };
        process.tenants().create_tenant(with_token(&admin, tenant)).await.unwrap();
        for subject in ["ann", "bob", "eve"] {
            revoke(&process, &admin, Some(Target::Subject(subject.to_owned()))).await.unwrap();
        }
        let page = async |token: &str, page_token: &str| {
            let request = ListRevocationsRequest { page_size: 2, page_token: page_token.to_owned() };
            process.revocations().list_revocations(with_token(token, request)).await.map(tonic::Response::into_inner)
        };
        let subjects = |revocations: &[Revocation]| {
            let targets = revocations.iter().map(|revocation| revocation.target.clone().unwrap());
            targets.map(|target| if let Target::Subject(name) = target { name } else { String::new() }).collect()
        };
        let first = page(&admin, "").await.unwrap();
        let found: Vec<String> = subjects(&first.revocations);
        assert_eq!(found, ["eve", "bob"]);
        let second = page(&admin, &first.next_page_token).await.unwrap();
        let found: Vec<String> = subjects(&second.revocations);
        assert_eq!((found.as_slice(), second.next_page_token.as_str()), (&["ann".to_owned()][..], ""));
        let other = process.token("admin", "acme").await;
        assert_eq!(page(&other, "").await.unwrap().revocations, []);
        for (token, page_token) in [(&other, first.next_page_token.as_str()), (&admin, "nonsense")] {
            assert_eq!(page(token, page_token).await.unwrap_err().code(), Code::InvalidArgument);
        }
        installation.advance(12 * 3600 + 60);
        let admin = process.token("admin", "").await;
        assert_eq!(page(&admin, "").await.unwrap().revocations, []);
    }
}

#[tokio::test]
async fn a_revocation_says_of_what() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    let none = process.revocations().create_revocation(with_token(&admin, CreateRevocationRequest::default())).await;
    assert_eq!(none.unwrap_err().code(), Code::InvalidArgument);
    for target in [None, Some(Target::TokenId(String::new())), Some(Target::Subject(" ".to_owned())), Some(before(-1))]
    {
        let refused = revoke(&process, &admin, target.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{target:?}");
    }
}
