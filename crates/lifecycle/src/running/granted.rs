//! What steps grant, and what messages tell of it: whatever is kept of a message until it is sent has no code, which is put in just before.

use super::Playbooks;
use crate::granting::{Codes, Grantee, Granting, Wanted};
use crate::offers::{OFFERS, Validity};
use crate::playbooks::emails::{Granted, tells_of_grant, with_grant};
use crate::playbooks::{Action, Message, grants_anything};
use crate::store::deliveries::ToldGrant;
use crate::store::runs::Stored;
use crate::store::{deliveries, grants, playbooks};
use quintile_domain::ids::CustomerId;
use quintile_proto::lifecycle::{EmailText, StepSkipReason};
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use quintile_store::history::Position;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Steps of runs that did not do what they were to, and why.
pub type Skips = Vec<(CustomerId, Position, i32, StepSkipReason)>;

/// Where an event says what was granted.
const GRANTS: &str = "/data/grants";

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
                let known = known.get(&stored.playbook);
                if !known.is_some_and(|known| grants_anything(&known.playbook)) {
                    continue;
                }
                wanted.tells = true;
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
    let to = |step: i32| Grantee { customer: stored.customer, playbook, run: &run, step, subject: "" };
    let (step, granted) = match action {
        Action::Offer { step, offer, .. } => (*step, granting.grant(to(*step), offer).map(|_| ())),
        Action::Tier { step, tier, .. } => (*step, granting.put(to(*step), &tier.tier, tier.may_lower)),
        Action::Task { .. } | Action::Message { .. } => return,
    };
    skips.extend(granted.err().map(|reason| (stored.customer, stored.position, step, reason)));
}

/// The language of a customer.
pub fn language_of(record: Option<&CustomerRecord>) -> &str {
    record.and_then(|record| record.attributes.as_ref()).map(|of| of.language.as_str()).unwrap_or_default()
}

/// What a message tells of what its run has granted, without codes.
#[derive(Default)]
pub struct Told {
    /// The grant that an e-mail tells of.
    pub grant: Option<ToldGrant>,
    /// What an event says, grant by grant.
    pub events: Vec<Value>,
}

/// What a message of a run tells of what this has granted. `None`: it was to tell of a grant, and there is none.
pub fn told(granting: Option<&Granting<'_>>, stored: &Stored, language: &str, message: &Message) -> Option<Told> {
    let granted = granting.map(|granting| (granting, granting.of_run(stored.customer, &stored.name())));
    match message {
        Message::Webhook(_) => {
            let events = granted.into_iter().flat_map(|(_, granted)| granted).map(event);
            Some(Told { events: events.collect(), ..Told::default() })
        }
        Message::Email { text, .. } if tells_of_grant(text) => {
            let (granting, granted) = granted?;
            let last = granted.last()?;
            let Position { seq, place } = last.made;
            let grant = ToldGrant { seq, place, title: granting.title(last, language).to_owned() };
            Some(Told { grant: Some(grant), ..Told::default() })
        }
        Message::Email { .. } => Some(Told::default()),
    }
}

/// What an event says of a grant.
fn event(stored: &grants::Stored) -> Value {
    json!({
        "grant": stored.name(),
        "offer": stored.grant.offer,
        "expire_time": stored.expires_at.to_string(),
    })
}

/// What a customer can redeem now.
async fn open_of(
    playbooks: &Playbooks,
    tenant: &Tenant,
    customer: CustomerId,
) -> Result<(Codes, Vec<grants::Stored>), StoreError> {
    let codes = Codes::of(&playbooks.runtime.keys, tenant.id).await?;
    let (database, now) = (playbooks.runtime.database.reader(), playbooks.runtime.business.now());
    Ok((codes, grants::open_of(database, tenant.id, &[customer.as_i64()], now).await?))
}

/// The text of an e-mail that tells of a grant, with its code. `None`: it can't be redeemed any more.
pub async fn text_with_code(
    playbooks: &Playbooks,
    tenant: &Tenant,
    customer: CustomerId,
    (text, grant): (&EmailText, &ToldGrant),
) -> Result<Option<EmailText>, StoreError> {
    let (codes, open) = open_of(playbooks, tenant, customer).await?;
    let made = Position { seq: grant.seq, place: grant.place };
    let Some(stored) = open.iter().find(|stored| stored.made == made) else { return Ok(None) };
    let expires = Validity::ending(stored.expires_at, &tenant.zone).last_date();
    let code = codes.code(&stored.origin());
    Ok(Some(with_grant(text, Granted { offer: &grant.title, code: &code, expires: &expires })))
}

/// The event of a delivery, with the codes of the grants that it tells of: of those that can be redeemed.
pub async fn event_with_codes(
    playbooks: &Playbooks,
    tenant: &Tenant,
    delivery: &deliveries::Stored,
) -> Result<Vec<u8>, StoreError> {
    let mut event: Value = serde_json::from_slice(&delivery.payload).unwrap_or_default();
    if event.pointer(GRANTS).is_none() {
        return Ok(delivery.payload.clone());
    }
    let (codes, open) = open_of(playbooks, tenant, delivery.customer).await?;
    let codes: HashMap<String, String> =
        open.iter().map(|stored| (stored.name(), codes.code(&stored.origin()))).collect();
    put_codes(&mut event, &codes);
    Ok(event.to_string().into_bytes())
}

/// Puts codes, by the names of their grants, into an event. Of grants without one nothing is said.
fn put_codes(event: &mut Value, codes: &HashMap<String, String>) {
    let Some(told) = event.pointer_mut(GRANTS).and_then(Value::as_array_mut) else { return };
    told.retain_mut(|grant| {
        let code = grant["grant"].as_str().and_then(|name| codes.get(name));
        code.inspect(|code| grant["code"] = code.as_str().into()).is_some()
    });
    if told.is_empty()
        && let Some(data) = event["data"].as_object_mut()
    {
        data.remove("grants");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_the_codes_of_what_can_be_redeemed_and_of_nothing_else() {
        let grant = |name: &str| json!({"grant": name, "offer": "offers/ten"});
        let event = json!({"id": "x", "data": {"run": "r", "grants": [grant("a"), grant("b")]}});
        let with = |codes: &[(&str, &str)]| {
            let codes = codes.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())).collect();
            let mut event = event.clone();
            put_codes(&mut event, &codes);
            event
        };
        let told = json!([{"grant": "b", "offer": "offers/ten", "code": "23456789ABCDEFGH"}]);
        assert_eq!(
            with(&[("b", "23456789ABCDEFGH"), ("c", "x")]),
            json!({"id": "x", "data": {"run": "r", "grants": told}})
        );
        assert_eq!(with(&[]), json!({"id": "x", "data": {"run": "r"}}));
    }
}
