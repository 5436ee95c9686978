use crate::installation::{Installation, Process, SECRET, by_secret, with_token};
use prost_types::Duration;
use quintile_proto::access::{GetJwksRequest, GetPolicyRequest, IssueTokenRequest, ListTenantsRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt;

async fn get_policy(process: &Process, token: &str) -> Result<(), Status> {
    process.policies().get_policy(with_token(token, GetPolicyRequest {})).await.map(drop)
}

async fn refusal(process: &Process, request: impl tonic::IntoRequest<IssueTokenRequest>) -> Status {
    process.tokens().issue_token(request).await.unwrap_err()
}

#[tokio::test]
async fn the_bootstrap_secret_buys_a_token_that_is_accepted() {
    let process = Installation::new().start().await;
    let answer = process.tokens().issue_token(by_secret("admin", "")).await.unwrap().into_inner();
    assert_eq!(answer.expire_time.unwrap().seconds, 1_709_208_000 + 3600);
    let request = with_token(&answer.token, GetPolicyRequest {});
    let policy = process.policies().get_policy(request).await.unwrap().into_inner();
    let roles: Vec<_> = policy.roles.iter().map(|role| role.role.as_str()).collect();
    assert_eq!(roles, ["admin", "service", "support", "sales", "marketer", "analyst", "data-engineer", "auditor"]);
    assert_eq!(policy.tenants[0].name, "tenants/default");
    assert_eq!(policy.jwks.unwrap().keys.len(), 1);
}

#[tokio::test]
async fn a_wrong_secret_or_none_buys_nothing() {
    let process = Installation::new().start().await;
    let longer = format!("{SECRET} ");
    for secret in ["wrong", &SECRET[1..], longer.as_str(), ""] {
        let request = IssueTokenRequest { bootstrap_secret: secret.to_owned(), ..by_secret("admin", "") };
        assert_eq!(refusal(&process, request).await.code(), Code::Unauthenticated, "{secret:?}");
    }
    // A good token does not make up for a wrong secret.
    let request = IssueTokenRequest { bootstrap_secret: "wrong".to_owned(), ..by_secret("admin", "") };
    let admin = process.token("admin", "").await;
    assert_eq!(refusal(&process, with_token(&admin, request)).await.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let process = Installation::new().start().await;
    let token = process.token("admin", "").await;
    let parts: Vec<_> = token.split('.').collect();
    let analyst = process.token("analyst", "").await;
    let other: Vec<_> = analyst.split('.').collect();
    // {"alg":"none","typ":"at+jwt"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", parts[1]);
    let wrong = [
        format!("{}.{}.{}", parts[0], parts[1], other[2]),
        format!("{}.{}.{}", other[0], parts[1], other[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        token[1..].to_owned(),
        unsigned,
        "nonsense".to_owned(),
    ];
    for wrong in wrong {
        assert_eq!(get_policy(&process, &wrong).await.unwrap_err().code(), Code::Unauthenticated, "{wrong}");
    }
    get_policy(&process, &token).await.unwrap();
}

#[tokio::test]
async fn a_token_is_accepted_until_its_time_is_over() {
    let installation = Installation::new();
    let process = installation.start().await;
    let lifetime = Some(Duration { seconds: 60, nanos: 0 });
    let request = IssueTokenRequest { lifetime, ..by_secret("admin", "") };
    let token = process.tokens().issue_token(request).await.unwrap().into_inner().token;
    installation.advance(59);
    get_policy(&process, &token).await.unwrap();
    // 30 s of leeway.
    installation.advance(31);
    assert_eq!(get_policy(&process, &token).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn roles_other_than_admin_may_neither_read_the_policy_nor_issue() {
    let process = Installation::new().start().await;
    for role in ["analyst", "support"] {
        let token = process.token(role, "").await;
        assert_eq!(get_policy(&process, &token).await.unwrap_err().code(), Code::PermissionDenied, "{role}");
        let tenants = process.tenants().list_tenants(with_token(&token, ListTenantsRequest {})).await;
        assert_eq!(tenants.unwrap_err().code(), Code::PermissionDenied, "{role}");
    }
    for role in ["analyst", "support", "service"] {
        let token = process.token(role, "").await;
        let request = IssueTokenRequest { bootstrap_secret: String::new(), ..by_secret(role, "") };
        assert_eq!(refusal(&process, with_token(&token, request)).await.code(), Code::PermissionDenied, "{role}");
    }
}

#[tokio::test]
async fn an_administrator_issues_tokens_of_its_own_tenant_alone() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    let order = |tenant: &str| {
        let request = IssueTokenRequest { bootstrap_secret: String::new(), ..by_secret("service", tenant) };
        with_token(&admin, request)
    };
    for own in ["", "default"] {
        let token = process.tokens().issue_token(order(own)).await.unwrap().into_inner().token;
        get_policy(&process, &token).await.unwrap();
    }
    // The same answer whether there is such a tenant or not.
    assert_eq!(refusal(&process, order("acme")).await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_told_by_field() {
    let process = Installation::new().start().await;
    let lasting =
        |seconds| IssueTokenRequest { lifetime: Some(Duration { seconds, nanos: 0 }), ..by_secret("analyst", "") };
    let about = |subject: &str| IssueTokenRequest { subject: subject.to_owned(), ..by_secret("analyst", "") };
    for (request, field) in [
        (by_secret("", ""), "role"),
        (by_secret("owner", ""), "role"),
        (by_secret("analyst", "acme"), "tenant"),
        (by_secret("analyst", "tenants/default"), "tenant"),
        (lasting(0), "lifetime"),
        (lasting(-1), "lifetime"),
        (lasting(12 * 3600 + 1), "lifetime"),
        (about(" "), "subject"),
        (about("a\u{202E}b"), "subject"),
        (about(&"a".repeat(257)), "subject"),
    ] {
        let status = refusal(&process, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
    process.tokens().issue_token(lasting(12 * 3600)).await.unwrap();
    process.tokens().issue_token(about(&"a".repeat(256))).await.unwrap();
}

#[tokio::test]
async fn the_keys_are_open() {
    let process = Installation::new().start().await;
    let jwks = process.tokens().get_jwks(GetJwksRequest {}).await.unwrap().into_inner();
    assert_eq!(jwks.issuer, "https://access.test");
    let key = &jwks.keys[0];
    assert_eq!((key.kty.as_str(), key.crv.as_str(), key.alg.as_str()), ("OKP", "Ed25519", "EdDSA"));
}
