//! Keeping what changes by itself up to date: issuers' keys, and what no token can meet any more.

use crate::oidc::Fetcher;
use crate::policy::in_force::{InForce, InForceError};
use crate::store::issuers::Due;
use futures::future::BoxFuture;
use futures::future::join_all;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_rpc::issuer_keys::IssuerKeys;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often machine time is asked whether something is due.
const TURN: Duration = Duration::from_secs(1);

/// Refreshes issuers' keys.
pub struct Refresher {
    /// The policy, which holds the issuers.
    pub in_force: Arc<InForce>,
    /// Where keys come from.
    pub fetcher: Fetcher,
    /// Machine time.
    pub clock: MachineClock,
}

impl Refresher {
    /// Fetches an issuer's keys, unless it was tried within the last minute, by this process or another. The last good keys stay if they
    /// can't be had.
    pub async fn refresh(&self, due: &Due) -> Result<(), InForceError> {
        let store = self.in_force.store();
        if !store.claim_fetch(due.tenant, &due.id, self.clock.now()).await? {
            return Ok(());
        }
        // They are as old as the question, not as the answer.
        let asked = self.clock.now();
        match self.fetcher.keys(&due.issuer).await {
            Ok(keys) => {
                store.keep_keys(due, keys, asked).await?;
                self.in_force.refresh().await
            }
            Err(error) => {
                tracing::warn!(%error, issuer = due.id, tenant = due.tenant.0, "an issuer's keys could not be fetched");
                Ok(())
            }
        }
    }

    /// Refreshes what is due and sweeps what is over, without end.
    pub async fn follow(&self) -> Infallible {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "what is due was not done; trying again");
            }
        }
    }

    async fn turn(&self) -> Result<(), InForceError> {
        let now = self.clock.now();
        let due = self.in_force.store().due_issuers(now).await?;
        for refreshed in join_all(due.iter().map(|due| self.refresh(due))).await {
            refreshed?;
        }
        if self.in_force.store().sweep(now).await? {
            self.in_force.refresh().await?;
        }
        Ok(())
    }
}

/// For this process's own edge; the other services ask over the wire.
impl IssuerKeys for Refresher {
    fn look<'a>(&'a self, issuer: &'a str, tenant: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let snapshot = self.in_force.snapshot();
            let tenant_name = format!("tenants/{tenant}");
            let tenant = snapshot.tenants.iter().find(|known| known.name == tenant_name);
            let known = snapshot.issuers.iter().find(|known| known.name == issuer && known.tenant == tenant_name);
            let (Some(tenant), Some(known)) = (tenant, known) else { return };
            let id = issuer.strip_prefix("issuers/").unwrap_or_default().to_owned();
            let due = Due { tenant: TenantId(tenant.number), id, issuer: known.issuer.clone() };
            if let Err(error) = self.refresh(&due).await {
                tracing::warn!(%error, issuer, "new keys of an issuer could not be looked for");
            }
        })
    }
}
