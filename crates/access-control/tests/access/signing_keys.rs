use crate::installation::{Installation, Process, eventually, with_token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quintile_proto::access::{
    GetJwksRequest, ListSigningKeysRequest, RotateSigningKeyRequest, SigningKey, SigningKeyState,
};
use tonic::{Code, Status};

async fn rotate(process: &Process, publish_seconds: i32) -> Result<SigningKey, Status> {
    let admin = process.token("admin", "").await;
    let request = RotateSigningKeyRequest { publish_seconds };
    process.signing_keys().rotate_signing_key(with_token(&admin, request)).await.map(tonic::Response::into_inner)
}

async fn states(process: &Process) -> Vec<SigningKeyState> {
    let admin = process.token("admin", "").await;
    let listed = process.signing_keys().list_signing_keys(with_token(&admin, ListSigningKeysRequest {})).await;
    listed.unwrap().into_inner().signing_keys.iter().map(SigningKey::state).collect()
}

async fn published(process: &Process) -> usize {
    process.tokens().get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys.len()
}

/// The name of the key that signed a token.
fn signed_by(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    format!("signingKeys/{}", header["kid"].as_str().unwrap())
}

#[tokio::test]
async fn a_key_is_published_then_signs_then_goes_and_no_valid_token_is_refused() {
    use SigningKeyState::{Published, Retired, Signing};
    for installation in Installation::on_every_database().await {
        let processes = installation.start_several(2).await;
        let (here, there) = (&processes[0], &processes[1]);
        let first = there.token("admin", "").await;
        let second_key = rotate(here, 0).await.unwrap();
        assert_eq!((second_key.state(), second_key.retire_time.as_ref()), (Published, None));
        assert_eq!(second_key.sign_time.as_ref().unwrap().seconds, installation.now_seconds() + 30);
        assert_eq!((states(here).await, published(here).await), (vec![Signing, Published], 2));
        eventually("the other process publishes it", async || published(there).await == 2).await;

        installation.advance(29);
        for process in &processes {
            assert_eq!(signed_by(&process.token("admin", "").await), signed_by(&first));
        }
        installation.advance(1);
        // Neither has read anything since: the time alone decides.
        for process in &processes {
            let second = process.token("admin", "").await;
            assert_eq!(signed_by(&second), second_key.name);
            for verifier in &processes {
                assert!(verifier.believes(&first).await && verifier.believes(&second).await);
            }
        }
        assert_eq!(states(here).await, [Retired, Signing]);

        installation.advance(12 * 3600 + 59);
        assert_eq!((states(here).await, published(here).await), (vec![Retired, Signing], 2));
        installation.advance(1);
        for process in &processes {
            eventually("the first key is gone", async || published(process).await == 1).await;
        }
        assert_eq!(states(here).await, [Signing]);
        assert!(here.believes(&there.token("admin", "").await).await);
    }
}

#[tokio::test]
async fn a_key_may_be_published_for_longer_and_there_are_sixteen_at_most() {
    let installation = Installation::new();
    let process = installation.start().await;
    for wrong in [-1, 1, 29, 604_801] {
        assert_eq!(rotate(&process, wrong).await.unwrap_err().code(), Code::InvalidArgument, "{wrong}");
    }
    let patient = rotate(&process, 604_800).await.unwrap();
    assert_eq!(patient.sign_time.unwrap().seconds, installation.now_seconds() + 604_800);
    for _ in 0..14 {
        rotate(&process, 0).await.unwrap();
    }
    assert_eq!(rotate(&process, 0).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(states(&process).await.len(), 16);
    installation.advance(30 + 12 * 3600 + 60);
    rotate(&process, 0).await.unwrap();
}
