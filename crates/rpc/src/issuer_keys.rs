//! Where a server has new keys of external issuers looked for.

use crate::client::{Channel, Credentials};
use futures::future::BoxFuture;
use quintile_proto::access::RefreshIssuerRequest;
use quintile_proto::access::issuer_service_client::IssuerServiceClient;
use tonic::Status;

/// Has an issuer's keys fetched. What comes of it comes with the policy.
pub trait IssuerKeys: Send + Sync {
    /// Looks for new keys of an issuer (`issuers/{id}`) of a tenant.
    fn look<'a>(&'a self, issuer: &'a str, tenant: &'a str) -> BoxFuture<'a, ()>;
}

/// Access-control, asked over the wire.
pub struct RemoteIssuerKeys {
    /// The service's own tokens.
    pub credentials: Credentials,
    /// Access-control.
    pub access: Channel,
}

impl RemoteIssuerKeys {
    async fn ask(&self, issuer: &str, tenant: &str) -> Result<(), Status> {
        let request = self.credentials.request(tenant, RefreshIssuerRequest { name: issuer.to_owned() }).await?;
        IssuerServiceClient::new(self.access.clone()).refresh_issuer(request).await?;
        Ok(())
    }
}

impl IssuerKeys for RemoteIssuerKeys {
    fn look<'a>(&'a self, issuer: &'a str, tenant: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Err(status) = self.ask(issuer, tenant).await {
                tracing::warn!(issuer, code = ?status.code(), "new keys of an issuer could not be asked for");
            }
        })
    }
}
