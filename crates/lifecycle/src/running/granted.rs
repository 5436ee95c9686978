//! What steps grant, and what messages tell of it.

use crate::granting::{Grantee, Granting, Wanted};
use crate::offers::OFFERS;
use crate::playbooks::emails::{Granted, tells_of_grant, with_grant};
use crate::playbooks::{Action, Message, offers_of, tiers_of};
use crate::store::runs::Stored;
use crate::store::{grants, playbooks};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::StepSkipReason;
use quintile_proto::types::CustomerRecord;
use quintile_store::history::Position;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Steps of runs that did not do what they were to, and why.
pub type Skips = Vec<(CustomerId, Position, i32, StepSkipReason)>;

fn id_of(offer: &str) -> String {
    offer.trim_start_matches(OFFERS).to_owned()
}

/// What the actions of a part may grant and tell of.
pub fn wanted(actions: &[(Stored, Action)], known: &HashMap<i64, playbooks::Stored>) -> Wanted {
    let mut wanted = Wanted::default();
    let mut customers = BTreeSet::new();
    for (stored, action) in actions {
        match action {
            Action::Task { .. } => continue,
            Action::Offer { offer, .. } => {
                wanted.offers.insert(id_of(offer));
            }
            Action::Tier { tier, .. } => {
                wanted.tiers.insert(tier.tier.clone());
                wanted.moves = true;
            }
            Action::Message { .. } => {
                let Some(known) = known.get(&stored.playbook) else { continue };
                wanted.told.extend(offers_of(&known.playbook).into_iter().map(id_of));
                wanted.tiers.extend(tiers_of(&known.playbook).into_iter().map(str::to_owned));
            }
        }
        customers.insert(stored.customer.as_i64());
    }
    wanted.customers = customers.into_iter().collect();
    wanted
}

/// Grants what an action of a run grants, if it does.
pub fn grant(granting: &mut Granting<'_>, playbook: &str, stored: &Stored, action: &Action, skips: &mut Skips) {
    let run = stored.name();
    let to = |at: Instant, step: i32| Grantee { customer: stored.customer, at, playbook, run: &run, step, subject: "" };
    let (step, reasons) = match action {
        Action::Offer { at, step, offer } => (*step, granting.grant(to(*at, *step), offer).err().into_iter().collect()),
        Action::Tier { at, step, tier } => {
            let put = granting.put(to(*at, *step), &tier.tier, tier.may_lower);
            (*step, put.unwrap_or_else(|reason| vec![reason]))
        }
        Action::Task { .. } | Action::Message { .. } => return,
    };
    skips.extend(reasons.into_iter().map(|reason: StepSkipReason| (stored.customer, stored.position, step, reason)));
}

/// The language of a customer.
pub fn language_of(record: Option<&CustomerRecord>) -> &str {
    record.and_then(|record| record.attributes.as_ref()).map(|of| of.language.as_str()).unwrap_or_default()
}

/// A message of a run with what it says of a grant, and what another system is told of what the run has granted. `None`: it was to tell of a grant, and there
/// is none.
pub fn told(
    granting: Option<&Granting<'_>>,
    stored: &Stored,
    at: Instant,
    language: &str,
    message: Message,
) -> Option<(Message, Vec<Value>)> {
    let granted = granting.map(|granting| (granting, granting.of_run(stored.customer, &stored.name(), at)));
    match message {
        Message::Webhook(webhook) => {
            let told =
                granted.into_iter().flat_map(|(_, granted)| granted.into_iter().map(|(of, code)| event(of, &code)));
            Some((Message::Webhook(webhook), told.collect()))
        }
        Message::Email { endpoint, message, text } if tells_of_grant(&text) => {
            let (granting, granted) = granted?;
            let (last, code) = granted.last()?;
            let expires = granting.last_date(last);
            let words = Granted { offer: granting.title(last, language), code, expires: &expires };
            Some((Message::Email { endpoint, message, text: with_grant(&text, words) }, Vec::new()))
        }
        email @ Message::Email { .. } => Some((email, Vec::new())),
    }
}

/// What an event says of a grant.
fn event(stored: &grants::Stored, code: &str) -> Value {
    json!({
        "grant": stored.name(),
        "offer": stored.grant.offer,
        "code": code,
        "expire_time": stored.expires_at.to_string(),
    })
}
