//! What begins runs of playbooks, of that which becomes of customers here: in the transaction that writes it, so that none is missed and none begins twice.

use crate::playbooks::triggers::{Happening, is_new};
use crate::store::runs::{self, Triggered};
use crate::store::transitions::Transition;
use crate::store::{contact_policies, playbooks, warnings};
use quintile_chain::derive::Before;
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::StageTransitionCause;
use quintile_proto::types::{CustomerRecord, Features, Stage};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, Transaction};

/// That a customer becomes known who is new.
#[derive(Clone, Copy)]
pub struct Newcomer {
    customer: CustomerId,
    at: Instant,
    stage: Stage,
}

/// Whether a record is of a customer who becomes known, and is new.
pub fn newcomer(customer: CustomerId, before: Before<'_>, after: &CustomerRecord, at: Instant) -> Option<Newcomer> {
    let stage = after.stage.as_ref()?.stage();
    let nothing = Features::default();
    let is_new = matches!(before, Before::Unknown) && is_new(after.features.as_ref().unwrap_or(&nothing), at);
    is_new.then_some(Newcomer { customer, at, stage })
}

/// The runs of playbooks that newcomers, transitions and warnings begin.
pub async fn begin_runs(
    transaction: &Transaction,
    tenant: &Tenant,
    newcomers: &[Newcomer],
    transitions: &[Transition],
    raised: &[warnings::Stored],
) -> Result<(), StoreError> {
    // Another policy is nothing that happens to a customer.
    let own = transitions.iter().filter(|transition| transition.cause != StageTransitionCause::Policy);
    let stages = own.filter_map(|transition| {
        let from = Some(Stage::try_from(transition.from).ok()?);
        Some((transition.customer, transition.valid_at, Happening::Stage { from, to: transition.to.stage() }))
    });
    let newcomers = newcomers
        .iter()
        .map(|newcomer| (newcomer.customer, newcomer.at, Happening::Stage { from: None, to: newcomer.stage }));
    let warnings = raised.iter().filter_map(|stored| {
        let at = convert::sent_instant(stored.warning.raise_time.as_ref())?;
        let happening = Happening::Warning { kind: stored.warning.kind(), severity: stored.warning.severity() };
        Some((stored.customer, at, happening))
    });
    let happenings: Vec<_> = newcomers.chain(stages).chain(warnings).collect();
    if happenings.is_empty() {
        return Ok(());
    }
    let running = playbooks::running(transaction, tenant.id).await?;
    let mut triggered = Vec::new();
    for (customer, at, happening) in happenings {
        let begun = running.iter().filter(|stored| happening.begins(&stored.playbook));
        triggered.extend(begun.map(|stored| Triggered {
            customer,
            playbook: stored.number,
            version: stored.playbook.version,
            at,
        }));
    }
    if triggered.is_empty() || contact_policies::get(transaction, tenant.id).await?.paused {
        return Ok(());
    }
    runs::begin(transaction, tenant.id, triggered).await
}
