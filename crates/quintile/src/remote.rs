//! The commands' side of the wire: channels, tokens, and what a refusal means to a person.

use crate::config::{Config, Role};
use crate::data_dir::{endpoint, existing_bootstrap_secret};
use anyhow::Context;
use quintile_proto::access::IssueTokenRequest;
use quintile_proto::access::token_service_client::TokenServiceClient;
use quintile_proto::longrunning::operations_client::OperationsClient;
use quintile_proto::longrunning::{Operation, WaitOperationRequest};
use quintile_rpc::client::{AUTHORIZATION, Channel, channel};
use quintile_rpc::convert;
use quintile_rpc::settings::TlsSettings;
use std::time::Duration;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// How long the token of one command is valid.
const COMMAND_LIFETIME: Duration = Duration::from_hours(1);
/// How long the token of a command is valid that may run for hours: the longest that there is.
const LONG_LIFETIME: Duration = Duration::from_hours(12);

/// How long a server may take to say whether it serves.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Whose token to get.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The role.
    pub role: String,
    /// The subject; empty: the role's name.
    pub subject: String,
    /// The tenant; empty: `default`.
    pub tenant: String,
}

impl Identity {
    /// A role of the default tenant.
    pub fn of_role(role: &str) -> Self {
        Self { role: role.to_owned(), subject: String::new(), tenant: String::new() }
    }
}

/// A channel to a service.
pub fn connect(config: &Config, role: Role) -> anyhow::Result<Channel> {
    channel(&endpoint(config, role)?, config.server.tls.as_ref()).map_err(anyhow::Error::msg)
}

/// Gets a token for the bootstrap secret.
pub async fn token(config: &Config, identity: &Identity, lifetime: Option<Duration>) -> anyhow::Result<String> {
    let request = IssueTokenRequest {
        bootstrap_secret: existing_bootstrap_secret(config)?,
        role: identity.role.clone(),
        subject: identity.subject.clone(),
        tenant: identity.tenant.clone(),
        lifetime: lifetime.map(convert::duration),
        ..IssueTokenRequest::default()
    };
    let mut client = TokenServiceClient::new(connect(config, Role::AccessControl)?);
    let answer = client.issue_token(request).await.context("access-control gave no token")?;
    Ok(answer.into_inner().token)
}

/// Gets a token for the secret of a service account.
pub async fn account_token(
    config: &Config,
    principal: &str,
    secret: &str,
    tenant: &str,
    lifetime: Option<Duration>,
) -> anyhow::Result<String> {
    let request = IssueTokenRequest {
        principal: principal.to_owned(),
        client_secret: secret.to_owned(),
        tenant: tenant.to_owned(),
        lifetime: lifetime.map(convert::duration),
        ..IssueTokenRequest::default()
    };
    let mut client = TokenServiceClient::new(connect(config, Role::AccessControl)?);
    let answer = client.issue_token(request).await.context("access-control gave no token")?;
    Ok(answer.into_inner().token)
}

/// Makes requests with a token.
#[derive(Clone)]
pub struct Session {
    authorization: MetadataValue<Ascii>,
}

impl Session {
    /// A session as a role.
    pub async fn begin(config: &Config, identity: &Identity) -> anyhow::Result<Self> {
        Self::lasting(config, identity, COMMAND_LIFETIME).await
    }

    /// A session for what may take hours, such as a stream, which ends with its token.
    pub async fn begin_long(config: &Config, identity: &Identity) -> anyhow::Result<Self> {
        Self::lasting(config, identity, LONG_LIFETIME).await
    }

    async fn lasting(config: &Config, identity: &Identity, lifetime: Duration) -> anyhow::Result<Self> {
        let token = token(config, identity, Some(lifetime)).await?;
        Ok(Self { authorization: format!("Bearer {token}").parse()? })
    }

    /// A request with the session's token.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(AUTHORIZATION, self.authorization.clone());
        request
    }
}

/// Waits until a server says that it serves. The caller bounds how long.
pub async fn wait_until_serving(channel: &Channel) {
    let mut client = HealthClient::new(channel.clone());
    loop {
        let answer = client.check(HealthCheckRequest { service: String::new() }).await;
        if answer.is_ok_and(|answer| answer.into_inner().status == ServingStatus::Serving as i32) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a server answered that was asked once whether it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Serving,
    /// Not yet, or not any more.
    NotServing,
    /// Nobody answered in time, or not as a server of ours.
    Silent,
}

/// Asks a server once whether it serves.
pub async fn ask_health(url: &str, tls: Option<&TlsSettings>) -> anyhow::Result<Answer> {
    let channel = channel(url, tls).map_err(anyhow::Error::msg)?;
    let mut client = HealthClient::new(channel);
    let asked = client.check(HealthCheckRequest { service: String::new() });
    Ok(match tokio::time::timeout(HEALTH_TIMEOUT, asked).await {
        Ok(Ok(answer)) if answer.get_ref().status == ServingStatus::Serving as i32 => Answer::Serving,
        Ok(Ok(_)) => Answer::NotServing,
        Ok(Err(_)) | Err(_) => Answer::Silent,
    })
}

/// An operation of a service, once it has ended.
pub async fn waited_for(service: Channel, session: &Session, begun: Operation) -> anyhow::Result<Operation> {
    let mut operations = OperationsClient::new(service);
    let mut operation = begun;
    while !operation.done {
        let request = WaitOperationRequest { name: operation.name, timeout: None };
        operation = operations.wait_operation(session.request(request)).await?.into_inner();
    }
    Ok(operation)
}
