//! The witness: what it signs, for whom, and what it refuses.

use crate::installation::{Installation, by_secret, with_token};
use quintile_audit::verify::Verifier;
use quintile_proto::access::{IssueTokenRequest, ListCheckpointsRequest, SignCheckpointRequest};
use tonic::{Code, Status};

async fn token_of(process: &crate::installation::Process, service: &str, role: &str) -> String {
    let subject = if role == "service" { format!("suite:{service}") } else { service.to_owned() };
    let request = IssueTokenRequest { subject, ..by_secret(role, "default") };
    process.tokens().issue_token(request).await.unwrap().into_inner().token
}

fn head(seq: i64, byte: u8) -> SignCheckpointRequest {
    SignCheckpointRequest { seq, hash: vec![byte; 32] }
}

fn of_service(service: &str) -> ListCheckpointsRequest {
    ListCheckpointsRequest { service: service.to_owned(), page_size: 1, page_token: String::new() }
}

#[tokio::test]
async fn what_was_signed_is_never_contradicted_by_any_process() {
    for installation in Installation::on_every_database().await {
        let first = installation.start().await;
        let token = token_of(&first, "ingestion", "service").await;
        let sign = async |seq, byte| {
            let signed = first.checkpoints().sign_checkpoint(with_token(&token, head(seq, byte))).await;
            signed.map(tonic::Response::into_inner).map_err(|status: Status| status.code())
        };
        let signed = sign(5, 1).await.unwrap();
        assert_eq!((signed.service.as_str(), signed.tenant.as_str(), signed.seq), ("ingestion", "default", 5));
        Verifier::new("ingestion", "default").checkpoint(signed.clone()).unwrap();
        installation.advance(1);
        assert_eq!(sign(5, 1).await.unwrap(), signed, "the same head, the same signature");
        assert_eq!(sign(5, 2).await, Err(Code::FailedPrecondition), "another hash in its place");
        assert_eq!(sign(4, 1).await, Err(Code::FailedPrecondition), "a place before it");
        let later = sign(6, 2).await.unwrap();
        // Another service's log is another log.
        let other = token_of(&first, "scoring", "service").await;
        first.checkpoints().sign_checkpoint(with_token(&other, head(1, 9))).await.unwrap();

        let admin = first.token("admin", "default").await;
        let mut request = of_service("ingestion");
        let page =
            first.checkpoints().list_checkpoints(with_token(&admin, request.clone())).await.unwrap().into_inner();
        assert_eq!(page.checkpoints, [signed]);
        request.page_token = page.next_page_token;
        let page =
            first.checkpoints().list_checkpoints(with_token(&admin, request.clone())).await.unwrap().into_inner();
        assert_eq!(page.checkpoints, [later]);
        request.service = "scoring".to_owned();
        let refused = first.checkpoints().list_checkpoints(with_token(&admin, request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "a page token of another service");
        first.stop().await;
    }
}

#[tokio::test]
async fn only_services_have_their_own_logs_signed() {
    let installation = Installation::new();
    let process = installation.start().await;
    for (service, role, code) in [
        ("ingestion", "admin", Code::PermissionDenied),
        ("ingestion", "analyst", Code::PermissionDenied),
        ("access-control", "service", Code::PermissionDenied),
    ] {
        let token = token_of(&process, service, role).await;
        let refused = process.checkpoints().sign_checkpoint(with_token(&token, head(1, 1))).await.unwrap_err();
        assert_eq!(refused.code(), code, "{service} {role}");
    }
    let token = token_of(&process, "ingestion", "service").await;
    for wrong in [head(0, 1), head(-1, 1), SignCheckpointRequest { seq: 1, hash: vec![1; 31] }] {
        let refused = process.checkpoints().sign_checkpoint(with_token(&token, wrong)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let refused =
        process.checkpoints().list_checkpoints(with_token(&token, of_service("ingestion"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    process.stop().await;
}
