use crate::installation::{Installation, Process, eventually, with_token};
use crate::oidc_issuer::{Manner, OidcIssuer};
use futures::future::join_all;
use prost_types::FieldMask;
use quintile_proto::access::{
    CreateIssuerRequest, CreateTenantRequest, DeleteIssuerRequest, GetIssuerRequest, Issuer, ListIssuersRequest,
    RefreshIssuerRequest, RoleMapping, UpdateIssuerRequest,
};
use tonic::{Code, Status};

const HOUR: i64 = 3600;

fn issuer(oidc: &OidcIssuer) -> Issuer {
    let mapping = |value: &str, role: &str| RoleMapping { value: value.to_owned(), role: role.to_owned() };
    Issuer {
        issuer: oidc.url.clone(),
        algorithms: vec!["EdDSA".to_owned()],
        role_claim: "groups".to_owned(),
        roles: vec![mapping("ops", "admin"), mapping("care", "support")],
        ..Issuer::default()
    }
}

async fn create(process: &Process, token: &str, id: &str, issuer: Issuer) -> Result<Issuer, Status> {
    let request = CreateIssuerRequest { issuer_id: id.to_owned(), issuer: Some(issuer) };
    process.issuers().create_issuer(with_token(token, request)).await.map(tonic::Response::into_inner)
}

async fn created(process: &Process, oidc: &OidcIssuer) -> Issuer {
    let admin = process.token("admin", "").await;
    create(process, &admin, "okta", issuer(oidc)).await.unwrap()
}

async fn refresh(process: &Process) -> Issuer {
    let service = process.token("service", "").await;
    let request = RefreshIssuerRequest { name: "issuers/okta".to_owned() };
    process.issuers().refresh_issuer(with_token(&service, request)).await.unwrap().into_inner()
}

async fn list(process: &Process, token: &str) -> Result<Vec<Issuer>, Status> {
    let answer = process.issuers().list_issuers(with_token(token, ListIssuersRequest {})).await;
    answer.map(|answer| answer.into_inner().issuers)
}

#[tokio::test]
async fn a_token_of_an_issuer_is_good_for_what_its_roles_mean_here() {
    for installation in Installation::on_every_database().await {
        let (process, oidc) = (installation.start().await, OidcIssuer::start().await);
        let before = oidc.token("a", 1, installation.now_seconds(), &["staff", "ops"]);
        assert!(!process.believes(&before).await, "the issuer is not known yet");
        let made = created(&process, &oidc).await;
        assert_eq!((made.name.as_str(), made.tenant.as_str()), ("issuers/okta", "tenants/default"));
        assert_eq!((made.keys.len(), made.keys[0].kid.as_str()), (1, "a"));
        assert_eq!(made.fetch_time.as_ref().unwrap().seconds, installation.now_seconds());
        let token = |groups: &[&str]| oidc.token("a", 1, installation.now_seconds(), groups);
        assert_eq!(list(&process, &token(&["staff", "ops"])).await.unwrap(), [made]);
        assert_eq!(list(&process, &token(&["care"])).await.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(list(&process, &token(&["staff"])).await.unwrap_err().code(), Code::Unauthenticated);
        assert!(!process.believes(&oidc.token("a", 2, installation.now_seconds(), &["ops"])).await, "another key");
    }
}

#[tokio::test]
async fn a_new_key_of_an_issuer_is_known_by_one_fetch_a_minute_however_many_ask() {
    for installation in Installation::on_every_database().await {
        let (processes, oidc) = (installation.start_several(2).await, OidcIssuer::start().await);
        created(&processes[0], &oidc).await;
        let new = oidc.token("b", 2, installation.now_seconds(), &["ops"]);
        oidc.publish(&[("a", 1), ("b", 2)]);
        assert_eq!(oidc.discoveries(), 1);
        for process in &processes {
            // Another process made it; the answer is from the database, whatever is in force here.
            assert_eq!(refresh(process).await.keys.len(), 1, "too early");
            assert!(!process.believes(&new).await);
        }
        assert_eq!(oidc.discoveries(), 1);
        installation.advance(60);
        join_all((0..40).map(|index| refresh(&processes[index % 2]))).await;
        assert_eq!(oidc.discoveries(), 2);
        for process in &processes {
            eventually("the new key is believed", async || process.believes(&new).await).await;
        }
        join_all((0..40).map(|index| refresh(&processes[index % 2]))).await;
        assert_eq!(oidc.discoveries(), 2);
    }
}

#[tokio::test]
async fn keys_are_fetched_again_without_anybody_asking() {
    let installation = Installation::new();
    let (process, oidc) = (installation.start().await, OidcIssuer::start().await);
    created(&process, &oidc).await;
    oidc.publish(&[("b", 2)]);
    installation.advance(300);
    let new = oidc.token("b", 2, installation.now_seconds(), &["ops"]);
    eventually("the new key is believed", async || process.believes(&new).await).await;
    let old = oidc.token("a", 1, installation.now_seconds(), &["ops"]);
    assert!(!process.believes(&old).await, "the key that the issuer took back");
    assert_eq!(oidc.discoveries(), 2);
}

#[tokio::test]
async fn the_last_good_keys_stay_through_an_outage_of_a_day_and_no_longer() {
    let installation = Installation::new();
    let (process, oidc) = (installation.start().await, OidcIssuer::start().await);
    let first = created(&process, &oidc).await;
    let token = || oidc.token("a", 1, installation.now_seconds(), &["ops"]);
    for manner in [Manner::Down, Manner::Failing, Manner::Nonsense, Manner::OtherIssuer] {
        oidc.behave(manner);
        installation.advance(HOUR);
        let asked = oidc.discoveries();
        eventually("it is tried again", async || oidc.discoveries() > asked).await;
        let present = refresh(&process).await;
        assert_eq!((&present.keys, &present.fetch_time), (&first.keys, &first.fetch_time), "{manner:?}");
        assert!(process.believes(&token()).await, "{manner:?}");
    }
    installation.advance(20 * HOUR);
    assert!(process.believes(&token()).await);
    installation.advance(1);
    assert!(!process.believes(&token()).await);
    oidc.behave(Manner::Good);
    installation.advance(60);
    eventually("it is believed again", async || process.believes(&token()).await).await;
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_as_it_should_is_not_made() {
    let installation = Installation::new();
    let (process, oidc) = (installation.start().await, OidcIssuer::start().await);
    let admin = process.token("admin", "").await;
    for manner in [
        Manner::Down,
        Manner::Failing,
        Manner::Redirect,
        Manner::Oversize,
        Manner::OtherIssuer,
        Manner::KeysElsewhere,
        Manner::Nonsense,
        Manner::NoKeys,
    ] {
        oidc.behave(manner);
        let status = create(&process, &admin, "okta", issuer(&oidc)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{manner:?}: {status}");
    }
    assert_eq!(list(&process, &admin).await.unwrap(), []);
    oidc.behave(Manner::Good);
    for wrong in ["http://login.example", "https://access.test", "https://login.example?a", ""] {
        let issuer = Issuer { issuer: wrong.to_owned(), ..issuer(&oidc) };
        let status = create(&process, &admin, "okta", issuer).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
    }
    create(&process, &admin, "okta", issuer(&oidc)).await.unwrap();
    for id in ["okta", "okta-2"] {
        let status = create(&process, &admin, id, issuer(&oidc)).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{id}");
    }
}

#[tokio::test]
async fn an_issuer_is_changed_and_deleted_by_those_who_know_its_state() {
    for installation in Installation::on_every_database().await {
        let (process, oidc) = (installation.start().await, OidcIssuer::start().await);
        let made = created(&process, &oidc).await;
        let admin = process.token("admin", "").await;
        let token = oidc.token("a", 1, installation.now_seconds(), &["ops"]);
        assert!(process.believes(&token).await);
        let update = |etag: &str| UpdateIssuerRequest {
            issuer: Some(Issuer {
                name: made.name.clone(),
                audience: "api://other".to_owned(),
                etag: etag.to_owned(),
                ..Issuer::default()
            }),
            update_mask: Some(FieldMask { paths: vec!["audience".to_owned()] }),
        };
        let changed = process.issuers().update_issuer(with_token(&admin, update(&made.etag))).await.unwrap();
        let changed = changed.into_inner();
        assert_eq!(changed, Issuer { audience: "api://other".to_owned(), etag: changed.etag.clone(), ..made.clone() });
        assert_ne!(changed.etag, made.etag);
        assert!(!process.believes(&token).await, "it is for the former audience");
        let stale = process.issuers().update_issuer(with_token(&admin, update(&made.etag))).await;
        assert_eq!(stale.unwrap_err().code(), Code::Aborted);
        process.issuers().update_issuer(with_token(&admin, update(""))).await.unwrap();
        let delete = |etag: &str| DeleteIssuerRequest { name: made.name.clone(), etag: etag.to_owned() };
        let stale = process.issuers().delete_issuer(with_token(&admin, delete(&made.etag))).await;
        assert_eq!(stale.unwrap_err().code(), Code::Aborted);
        process.issuers().delete_issuer(with_token(&admin, delete(""))).await.unwrap();
        let get = GetIssuerRequest { name: made.name.clone() };
        assert_eq!(process.issuers().get_issuer(with_token(&admin, get)).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn an_issuer_is_its_tenants_alone() {
    let installation = Installation::new();
    let (process, oidc) = (installation.start().await, OidcIssuer::start().await);
    let made = created(&process, &oidc).await;
    let admin = process.token("admin", "").await;
    let tenant = CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: None };
    process.tenants().create_tenant(with_token(&admin, tenant)).await.unwrap();
    let other = process.token("admin", "acme").await;
    assert_eq!(list(&process, &other).await.unwrap(), []);
    let mut issuers = process.issuers();
    let get = GetIssuerRequest { name: made.name.clone() };
    let refresh = RefreshIssuerRequest { name: made.name.clone() };
    let delete = DeleteIssuerRequest { name: made.name.clone(), etag: String::new() };
    for code in [
        issuers.get_issuer(with_token(&other, get)).await.unwrap_err().code(),
        issuers.refresh_issuer(with_token(&other, refresh)).await.unwrap_err().code(),
        issuers.delete_issuer(with_token(&other, delete)).await.unwrap_err().code(),
    ] {
        assert_eq!(code, Code::NotFound);
    }
    assert_eq!(list(&process, &admin).await.unwrap(), [made]);
}
