//! Rotation of the master key, under a key management service that is a double: remote, counted, and failing when told to.

use crate::installation::{Installation, PATIENCE, Process, entropy, with_token};
use parking_lot::Mutex;
use quintile_domain::entropy::Entropy;
use quintile_proto::access::{
    CreateTenantRequest, GetPolicyRequest, KeyState, ListKeyStatesRequest, ListKeyStatesResponse,
    ReportKeyStateRequest, RewrapKeysRequest,
};
use quintile_store::StoreError;
use quintile_store::sealing::{Key, KeyEncryption, KeyId, WrappedKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::{Code, Status};

/// The keys of access-control: that of its secrets, and that of its page tokens.
const KEYS: i64 = 2;

/// A key management service: its keys never leave it, and their ids are its own.
struct Kms {
    entropy: Entropy,
    state: Mutex<KmsState>,
}

#[derive(Default)]
struct KmsState {
    /// The versions of its key by id; the last is the present one.
    versions: BTreeMap<String, Key>,
    wraps: usize,
    unwraps: usize,
    fails: bool,
}

impl Kms {
    fn new() -> Arc<Self> {
        let kms = Self { entropy: entropy(), state: Mutex::default() };
        kms.rotate();
        Arc::new(kms)
    }

    fn rotate(&self) {
        let mut state = self.state.lock();
        let id = format!("projects/p/keys/k/versions/{:04}", state.versions.len() + 1);
        state.versions.insert(id, Key::generate(&self.entropy));
    }

    /// Destroys every version but the present one.
    fn retire(&self) {
        let mut state = self.state.lock();
        let present = state.versions.pop_last().unwrap();
        state.versions = BTreeMap::from([present]);
    }

    fn fail(&self, fails: bool) {
        self.state.lock().fails = fails;
    }

    fn unwraps(&self) -> usize {
        self.state.lock().unwraps
    }

    fn present_id(&self) -> String {
        self.state.lock().versions.last_key_value().unwrap().0.clone()
    }

    /// A call over a network, which gives other tasks a turn.
    async fn call<T>(&self, answer: impl FnOnce(&mut KmsState) -> Result<T, StoreError>) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        let mut state = self.state.lock();
        if state.fails {
            return Err(StoreError::Configuration("the key management service does not answer".to_owned()));
        }
        answer(&mut state)
    }
}

#[async_trait::async_trait]
impl KeyEncryption for Kms {
    async fn current_id(&self) -> Result<KeyId, StoreError> {
        self.call(|state| Ok(KeyId::new(state.versions.last_key_value().unwrap().0))).await
    }

    async fn wrap(&self, key: &Key, place: &[u8]) -> Result<WrappedKey, StoreError> {
        self.call(|state| {
            state.wraps += 1;
            let (id, version) = state.versions.last_key_value().unwrap();
            Ok(WrappedKey { key_id: KeyId::new(id), wrapped: version.seal(&self.entropy, place, key.expose()) })
        })
        .await
    }

    async fn unwrap(&self, id: &KeyId, place: &[u8], wrapped: &[u8]) -> Result<Key, StoreError> {
        self.call(|state| {
            state.unwraps += 1;
            let version = state.versions.get(id.as_str());
            let version = version.ok_or_else(|| StoreError::Configuration(format!("{id} is destroyed")))?;
            Key::from_bytes(&version.open(place, wrapped)?)
        })
        .await
    }

    async fn reload(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn states(process: &Process, token: &str) -> ListKeyStatesResponse {
    process.master_keys().list_key_states(with_token(token, ListKeyStatesRequest {})).await.unwrap().into_inner()
}

async fn rewrap(process: &Process, token: &str) -> Result<i64, Status> {
    let answer = process.master_keys().rewrap_keys(with_token(token, RewrapKeysRequest {})).await?;
    Ok(answer.into_inner().generation)
}

/// Waits until every process over the database says that all keys are under a master key in a generation.
async fn wait_until_settled(process: &Process, token: &str, processes: usize, generation: i64, key_id: &str) {
    let settled = |state: &&KeyState| {
        state.generation == generation && state.key_id == key_id && state.rows_left == 0 && !state.silent
    };
    let waiting = async {
        while states(process, token).await.states.iter().filter(settled).count() < processes {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("every process reports in time");
}

fn reported(service: &str, instance: &str) -> ReportKeyStateRequest {
    let state = KeyState {
        service: service.to_owned(),
        instance: instance.to_owned(),
        generation: 1,
        key_id: "an id".to_owned(),
        rows_left: 3,
        ..KeyState::default()
    };
    ReportKeyStateRequest { state: Some(state) }
}

#[tokio::test]
async fn a_service_starts_and_rotates_with_a_key_management_service() {
    for installation in Installation::on_every_database().await {
        let kms = Kms::new();
        let installation = installation.with_keys(kms.clone());
        let process = installation.start().await;
        let admin = process.token("admin", "").await;
        wait_until_settled(&process, &admin, 1, 1, &kms.present_id()).await;
        let unwraps = kms.unwraps();
        for _ in 0..10 {
            process.policies().get_policy(with_token(&admin, GetPolicyRequest {})).await.unwrap();
            process.token("admin", "").await;
        }
        assert_eq!(kms.unwraps(), unwraps, "calls need the key management service for nothing");

        kms.rotate();
        let generation = rewrap(&process, &admin).await.unwrap();
        assert_eq!(generation, 2);
        wait_until_settled(&process, &admin, 1, 2, &kms.present_id()).await;
        assert_eq!(states(&process, &admin).await.states[0].rows_rewrapped, KEYS);
        process.stop().await;

        kms.retire();
        let process = installation.start().await;
        let policy = process.policies().get_policy(with_token(&admin, GetPolicyRequest {})).await.unwrap();
        assert_eq!(policy.into_inner().key_generation, 2, "a restart begins no other generation");
        process.stop().await;
    }
}

#[tokio::test]
async fn a_key_management_service_that_fails_is_asked_again() {
    let kms = Kms::new();
    let installation = Installation::new().with_keys(kms.clone());
    let process = installation.start().await;
    let admin = process.token("admin", "").await;
    wait_until_settled(&process, &admin, 1, 1, &kms.present_id()).await;
    kms.rotate();
    kms.fail(true);
    let generation = rewrap(&process, &admin).await.unwrap();
    // It goes on serving, and says nothing of a generation that it has not reached.
    process.policies().get_policy(with_token(&admin, GetPolicyRequest {})).await.unwrap();
    let listed = states(&process, &admin).await;
    assert_eq!((listed.generation, listed.states[0].generation), (generation, 1));
    kms.fail(false);
    wait_until_settled(&process, &admin, 1, generation, &kms.present_id()).await;
}

#[tokio::test]
async fn without_the_master_key_it_does_not_start_and_says_which_one_is_missing() {
    let kms = Kms::new();
    let installation = Installation::new().with_keys(kms.clone());
    installation.start().await.stop_once_it_serves().await;
    let missing = kms.present_id();
    kms.rotate();
    kms.retire();
    let problem = installation.start().await.failure().await.to_string();
    assert!(problem.contains(&missing), "{problem}");
}

#[tokio::test]
async fn every_process_over_a_database_wraps_and_reports() {
    for installation in Installation::on_every_database().await {
        let kms = Kms::new();
        let installation = installation.with_keys(kms.clone());
        let processes = installation.start_several(2).await;
        let admin = processes[0].token("admin", "").await;
        wait_until_settled(&processes[0], &admin, 2, 1, &kms.present_id()).await;
        kms.rotate();
        let generation = rewrap(&processes[0], &admin).await.unwrap();
        wait_until_settled(&processes[1], &admin, 2, generation, &kms.present_id()).await;
        let rewrapped: i64 = states(&processes[1], &admin).await.states.iter().map(|state| state.rows_rewrapped).sum();
        assert_eq!(rewrapped, KEYS, "of each key one of them was faster");
    }
}

#[tokio::test]
async fn a_report_replaces_the_one_before_falls_silent_and_is_forgotten_after_a_day() {
    let installation = Installation::new();
    let process = installation.start().await;
    let (admin, service) = (process.token("admin", "").await, process.token("service", "").await);
    for instance in ["one", "one", "two"] {
        let request = with_token(&service, reported("scoring", instance));
        process.master_keys().report_key_state(request).await.unwrap();
    }
    let of_scoring = async |token: &str| {
        let states = states(&process, token).await.states;
        states.into_iter().filter(|state| state.service == "scoring").collect::<Vec<_>>()
    };
    let listed = of_scoring(&admin).await;
    assert_eq!(listed.iter().map(|state| state.instance.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(listed.iter().all(|state| state.rows_left == 3 && !state.silent && state.report_time.is_some()));
    installation.advance(91);
    assert!(of_scoring(&admin).await.iter().all(|state| state.silent));
    installation.advance(24 * 60 * 60);
    assert_eq!(of_scoring(&process.token("admin", "").await).await, []);
}

#[tokio::test]
async fn master_keys_are_the_business_of_the_tenant_that_runs_the_installation() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    let request = CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: None };
    process.tenants().create_tenant(with_token(&admin, request)).await.unwrap();
    let other = process.token("admin", "acme").await;
    assert_eq!(rewrap(&process, &other).await.unwrap_err().code(), Code::PermissionDenied);
    let listed = process.master_keys().list_key_states(with_token(&other, ListKeyStatesRequest {})).await;
    assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
    let report = process.master_keys().report_key_state(with_token(&other, reported("scoring", "one"))).await;
    assert_eq!(report.unwrap_err().code(), Code::PermissionDenied);
    let service = process.token("service", "").await;
    assert_eq!(rewrap(&process, &service).await.unwrap_err().code(), Code::PermissionDenied);
}
