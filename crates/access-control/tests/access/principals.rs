use crate::installation::{Installation, Process, by_secret, with_token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost_types::{FieldMask, Timestamp};
use quintile_proto::access::{
    CreatePrincipalRequest, CreateSecretRequest, CreateSecretResponse, CreateTenantRequest, DeletePrincipalRequest,
    DeleteSecretRequest, GetPrincipalRequest, IssueTokenRequest, ListPrincipalsRequest, Principal, PrincipalKind,
    UpdatePrincipalRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

fn account() -> Principal {
    Principal {
        kind: PrincipalKind::ServiceAccount.into(),
        role: "analyst".to_owned(),
        department: "crm".to_owned(),
        region: "east".to_owned(),
        ..Principal::default()
    }
}

fn user() -> Principal {
    Principal { kind: PrincipalKind::User.into(), ..account() }
}

async fn create(process: &Process, token: &str, id: &str, principal: Principal) -> Result<Principal, Status> {
    let request = CreatePrincipalRequest { principal_id: id.to_owned(), principal: Some(principal) };
    process.principals().create_principal(with_token(token, request)).await.map(Response::into_inner)
}

async fn get(process: &Process, token: &str, id: &str) -> Result<Principal, Status> {
    let request = GetPrincipalRequest { name: format!("principals/{id}") };
    process.principals().get_principal(with_token(token, request)).await.map(Response::into_inner)
}

async fn update(process: &Process, token: &str, principal: Principal, paths: &[&str]) -> Result<Principal, Status> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let request = UpdatePrincipalRequest { principal: Some(principal), update_mask: Some(FieldMask { paths }) };
    process.principals().update_principal(with_token(token, request)).await.map(Response::into_inner)
}

async fn secret(
    process: &Process,
    token: &str,
    id: &str,
    expires: Option<i64>,
) -> Result<CreateSecretResponse, Status> {
    let expire_time = expires.map(|seconds| Timestamp { seconds, nanos: 0 });
    let request = CreateSecretRequest { parent: format!("principals/{id}"), expire_time };
    process.principals().create_secret(with_token(token, request)).await.map(Response::into_inner)
}

async fn delete_secret(process: &Process, token: &str, name: &str) -> Result<(), Status> {
    let request = DeleteSecretRequest { name: name.to_owned() };
    process.principals().delete_secret(with_token(token, request)).await.map(drop)
}

fn by_account(id: &str, client_secret: &str) -> IssueTokenRequest {
    IssueTokenRequest {
        principal: id.to_owned(),
        client_secret: client_secret.to_owned(),
        ..IssueTokenRequest::default()
    }
}

async fn issue(process: &Process, request: impl tonic::IntoRequest<IssueTokenRequest>) -> Result<String, Status> {
    process.tokens().issue_token(request).await.map(|answer| answer.into_inner().token)
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_service_account_exchanges_its_secret_for_a_token_of_what_it_is() {
    for installation in Installation::on_every_database().await {
        let process = installation.start().await;
        let admin = process.token("admin", "").await;
        let made = create(&process, &admin, "loader", account()).await.unwrap();
        assert_eq!((made.name.as_str(), made.secrets.len()), ("principals/loader", 0));
        let secret = secret(&process, &admin, "loader", None).await.unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(&secret.client_secret).unwrap().len(), 32);
        assert!(!format!("{secret:?}").contains(&secret.client_secret));
        let shown = get(&process, &admin, "loader").await.unwrap();
        assert_eq!(shown, Principal { secrets: vec![secret.secret.unwrap()], ..made });
        let token = issue(&process, by_account("loader", &secret.client_secret)).await.unwrap();
        let claims = claims(&token);
        for (name, value) in [
            ("sub", json!("loader")),
            ("tenant", json!("default")),
            ("role", json!("analyst")),
            ("department", json!("crm")),
            ("region", json!("east")),
        ] {
            assert_eq!(claims[name], value, "{name}");
        }
        assert!(process.believes(&token).await);
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_an_exchange_the_answer_is_the_same() {
    let installation = Installation::new();
    let process = installation.start().await;
    let admin = process.token("admin", "").await;
    for id in ["loader", "shut-out", "other"] {
        create(&process, &admin, id, account()).await.unwrap();
    }
    create(&process, &admin, "ann", user()).await.unwrap();
    let loader = secret(&process, &admin, "loader", None).await.unwrap().client_secret;
    let shut_out = secret(&process, &admin, "shut-out", None).await.unwrap().client_secret;
    let patch = Principal { name: "principals/shut-out".to_owned(), disabled: true, ..Principal::default() };
    update(&process, &admin, patch, &["disabled"]).await.unwrap();
    let mut answers = Vec::new();
    for (id, secret) in [
        ("loader", "wrong"),
        ("loader", &loader[1..]),
        ("loader", &shut_out),
        ("other", &loader),
        ("shut-out", &shut_out),
        ("nobody", &loader),
        ("ann", &loader),
        ("LOADER", &loader),
    ] {
        answers.push(issue(&process, by_account(id, secret)).await.unwrap_err());
    }
    let elsewhere = IssueTokenRequest { tenant: "acme".to_owned(), ..by_account("loader", &loader) };
    answers.push(issue(&process, elsewhere).await.unwrap_err());
    for answer in &answers {
        assert_eq!(answer.code(), Code::Unauthenticated);
        assert_eq!((answer.message(), answer.details()), (answers[0].message(), answers[0].details()));
    }
    issue(&process, by_account("loader", &loader)).await.unwrap();
}

#[tokio::test]
async fn an_exchange_asks_for_nothing_besides() {
    let process = Installation::new().start().await;
    let base = || by_account("loader", "secret");
    for (request, field) in [
        (by_account("loader", ""), "client_secret"),
        (by_account("", "secret"), "principal"),
        (IssueTokenRequest { role: "admin".to_owned(), ..base() }, "role"),
        (IssueTokenRequest { subject: "ann".to_owned(), ..base() }, "subject"),
        (IssueTokenRequest { bootstrap_secret: "secret".to_owned(), ..base() }, "bootstrap_secret"),
    ] {
        let status = issue(&process, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}

#[tokio::test]
async fn secrets_are_rotated_by_a_second_one_and_end_when_they_should() {
    for installation in Installation::on_every_database().await {
        let process = installation.start().await;
        let admin = process.token("admin", "").await;
        create(&process, &admin, "loader", account()).await.unwrap();
        create(&process, &admin, "ann", user()).await.unwrap();
        let past = secret(&process, &admin, "loader", Some(installation.now_seconds())).await;
        assert_eq!(past.unwrap_err().code(), Code::InvalidArgument);
        let expiring = secret(&process, &admin, "loader", Some(installation.now_seconds() + 60)).await.unwrap();
        let lasting = secret(&process, &admin, "loader", None).await.unwrap();
        for (id, code) in [
            ("loader", Code::FailedPrecondition),
            ("ann", Code::FailedPrecondition),
            ("nobody", Code::NotFound),
            ("No-Id", Code::InvalidArgument),
        ] {
            assert_eq!(secret(&process, &admin, id, None).await.unwrap_err().code(), code, "{id}");
        }
        for known in [&expiring, &lasting] {
            issue(&process, by_account("loader", &known.client_secret)).await.unwrap();
        }
        installation.advance(60);
        let over = issue(&process, by_account("loader", &expiring.client_secret)).await;
        assert_eq!(over.unwrap_err().code(), Code::Unauthenticated);
        // What has expired takes no place.
        let next = secret(&process, &admin, "loader", None).await.unwrap();
        let name = lasting.secret.unwrap().name;
        delete_secret(&process, &admin, &name).await.unwrap();
        assert_eq!(delete_secret(&process, &admin, &name).await.unwrap_err().code(), Code::NotFound);
        let deleted = issue(&process, by_account("loader", &lasting.client_secret)).await;
        assert_eq!(deleted.unwrap_err().code(), Code::Unauthenticated);
        issue(&process, by_account("loader", &next.client_secret)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_principal_was_is_revoked_when_it_changes_or_goes() {
    for installation in Installation::on_every_database().await {
        let process = installation.start().await;
        let admin = process.token("admin", "").await;
        let made = create(&process, &admin, "loader", account()).await.unwrap();
        let client_secret = secret(&process, &admin, "loader", None).await.unwrap().client_secret;
        let token = async || issue(&process, by_account("loader", &client_secret)).await.unwrap();
        let mut present = made.clone();
        for (path, patch) in [
            ("role", Principal { role: "support".to_owned(), ..made.clone() }),
            ("department", Principal { department: String::new(), ..made.clone() }),
            ("region", Principal { region: "west".to_owned(), ..made.clone() }),
        ] {
            let before = token().await;
            let same = Principal { etag: present.etag.clone(), ..present.clone() };
            update(&process, &admin, same, &[path]).await.unwrap();
            assert!(process.believes(&before).await, "nothing has changed");
            let patch = Principal { etag: present.etag.clone(), ..patch };
            present = update(&process, &admin, patch.clone(), &[path]).await.unwrap();
            assert!(!process.believes(&before).await, "{path}");
            assert_eq!(update(&process, &admin, patch, &[path]).await.unwrap_err().code(), Code::Aborted, "{path}");
            installation.advance(1);
            assert!(process.believes(&token().await).await, "{path}");
        }
        let claims = claims(&token().await);
        assert_eq!((&claims["role"], &claims["region"]), (&json!("support"), &json!("west")));
        assert_eq!(claims.get("department"), None);

        let before = token().await;
        let stale = DeletePrincipalRequest { name: made.name.clone(), etag: made.etag.clone() };
        let stale = process.principals().delete_principal(with_token(&admin, stale)).await;
        assert_eq!(stale.unwrap_err().code(), Code::Aborted);
        let delete = DeletePrincipalRequest { name: made.name.clone(), etag: present.etag };
        process.principals().delete_principal(with_token(&admin, delete)).await.unwrap();
        assert!(!process.believes(&before).await);
        assert_eq!(get(&process, &admin, "loader").await.unwrap_err().code(), Code::NotFound);
        // Made again, it has none of the secrets that it had.
        create(&process, &admin, "loader", account()).await.unwrap();
        let old = issue(&process, by_account("loader", &client_secret)).await;
        assert_eq!(old.unwrap_err().code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn an_administrator_has_tokens_for_a_principal_as_it_is() {
    let installation = Installation::new();
    let process = installation.start().await;
    let admin = process.token("admin", "").await;
    create(&process, &admin, "ann", user()).await.unwrap();
    let order = |role: &str| {
        let request = IssueTokenRequest { subject: "ann".to_owned(), role: role.to_owned(), ..Default::default() };
        with_token(&admin, request)
    };
    for role in ["", "analyst"] {
        let claims = claims(&issue(&process, order(role)).await.unwrap());
        assert_eq!((&claims["role"], &claims["department"]), (&json!("analyst"), &json!("crm")));
    }
    assert_eq!(issue(&process, order("admin")).await.unwrap_err().code(), Code::InvalidArgument);
    // The bootstrap secret is above principals, and says where they belong all the same.
    let boot = IssueTokenRequest { subject: "ann".to_owned(), ..by_secret("support", "") };
    let boot = claims(&issue(&process, boot).await.unwrap());
    assert_eq!((&boot["role"], &boot["region"]), (&json!("support"), &json!("east")));
    let external = IssueTokenRequest { subject: "okta:ann".to_owned(), ..by_secret("support", "") };
    assert_eq!(issue(&process, external).await.unwrap_err().code(), Code::InvalidArgument);
    let patch = Principal { name: "principals/ann".to_owned(), disabled: true, ..Principal::default() };
    update(&process, &admin, patch, &["disabled"]).await.unwrap();
    assert_eq!(issue(&process, order("")).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn principals_are_listed_by_pages_and_are_their_tenants_alone() {
    for installation in Installation::on_every_database().await {
        let process = installation.start().await;
        let admin = process.token("admin", "").await;
        let tenant = CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: None };
        process.tenants().create_tenant(with_token(&admin, tenant)).await.unwrap();
        for id in ["c", "a", "b"] {
            create(&process, &admin, id, user()).await.unwrap();
        }
        let page = async |token: &str, page_token: &str| {
            let request = ListPrincipalsRequest { page_size: 2, page_token: page_token.to_owned() };
            process.principals().list_principals(with_token(token, request)).await.map(Response::into_inner)
        };
        let first = page(&admin, "").await.unwrap();
        let second = page(&admin, &first.next_page_token).await.unwrap();
        assert_eq!(second.next_page_token, "");
        let listed = first.principals.iter().chain(&second.principals);
        let names: Vec<_> = listed.map(|principal| principal.name.as_str()).collect();
        assert_eq!(names, ["principals/a", "principals/b", "principals/c"]);
        let other = process.token("admin", "acme").await;
        assert_eq!(page(&other, "").await.unwrap().principals, []);
        assert_eq!(page(&other, &first.next_page_token).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(get(&process, &other, "a").await.unwrap_err().code(), Code::NotFound);
        let patch = Principal { name: "principals/a".to_owned(), ..Principal::default() };
        assert_eq!(update(&process, &other, patch, &["region"]).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_principal_that_is_none_is_refused_by_the_name_of_the_part() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    for (id, principal, field) in [
        ("Ann", user(), "principal_id"),
        ("ann", Principal { kind: 0, ..user() }, "principal.kind"),
        ("ann", Principal { kind: 9, ..user() }, "principal.kind"),
        ("ann", Principal { role: "owner".to_owned(), ..user() }, "principal.role"),
        ("ann", Principal { role: String::new(), ..user() }, "principal.role"),
        ("ann", Principal { department: " ".to_owned(), ..user() }, "principal.department"),
        ("ann", Principal { region: "a\0".to_owned(), ..user() }, "principal.region"),
    ] {
        let status = create(&process, &admin, id, principal).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    create(&process, &admin, "ann", user()).await.unwrap();
    assert_eq!(create(&process, &admin, "ann", user()).await.unwrap_err().code(), Code::AlreadyExists);
    let named = Principal { name: "principals/ann".to_owned(), ..user() };
    for paths in [&[][..], &["kind"], &["secrets"], &["*"]] {
        let status = update(&process, &admin, named.clone(), paths).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{paths:?}");
    }
}
