//! What is granted to customers in one transaction, by steps of playbooks or by hand: in its order, each by what was granted before it.

use crate::offers::tiers::enter;
use crate::offers::{OFFERS, Validity, codes, may_grant};
use crate::store::{grants, loyalty, offers};
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::language;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Grant, GrantState, StepSkipReason, TierChange};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::history::Position;
use quintile_store::keys::KeyStore;
use quintile_store::sealing::Key;
use quintile_store::{StoreError, Transaction};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The purposes of the keys: of that which spells codes, and of that by whose hash they are found.
const SPELLING: &str = "codes of grants";
const FINDING: &str = "hashes of codes of grants";
/// Bytes of the hash by which a code is found.
const HASH_BYTES: usize = 16;

/// The keys of a tenant's codes. They are to be had before a transaction begins, since asking for the first time makes them.
#[derive(Clone)]
pub struct Codes {
    spelling: Key,
    finding: Key,
}

impl Codes {
    /// Those of a tenant.
    pub async fn of(keys: &KeyStore, tenant: TenantId) -> Result<Self, StoreError> {
        Ok(Self { spelling: keys.of(tenant, SPELLING).await?, finding: keys.of(tenant, FINDING).await? })
    }

    /// The code that follows from where a grant comes from: the same whenever it is asked.
    pub fn code(&self, origin: &str) -> String {
        codes::spell(&self.spelling.hash(origin.as_bytes()))
    }

    /// By which a code is found.
    pub fn hash(&self, code: &str) -> Vec<u8> {
        self.finding.hash(code.as_bytes())[..HASH_BYTES].to_vec()
    }

    /// A grant as callers see it at an instant.
    pub fn message(&self, stored: &grants::Stored, now: Instant) -> Grant {
        stored.message(self.code(&stored.origin()), now)
    }
}

/// To whom something is granted, when, and by what.
#[derive(Clone, Copy)]
pub struct Grantee<'a> {
    /// The customer.
    pub customer: CustomerId,
    /// When.
    pub at: Instant,
    /// The playbook and its run, by their names. Empty: somebody grants it.
    pub playbook: &'a str,
    /// The run.
    pub run: &'a str,
    /// The place of the step, 1 for the first. 0: somebody grants it.
    pub step: i32,
    /// Who grants it. Empty: a playbook does.
    pub subject: &'a str,
}

/// What may be granted, and to whom.
#[derive(Default)]
pub struct Wanted {
    /// The numbers of the customers, ascending.
    pub customers: Vec<i64>,
    /// The ids of offers that are granted.
    pub offers: BTreeSet<String>,
    /// The ids of offers that are told of alone.
    pub told: BTreeSet<String>,
    /// The names of tiers that customers come into, or came into.
    pub tiers: BTreeSet<String>,
    /// Whether customers come into them now.
    pub moves: bool,
}

/// What is granted in one transaction.
pub struct Granting<'a> {
    tenant: &'a Tenant,
    codes: Codes,
    next: Position,
    /// By id.
    offers: BTreeMap<String, offers::Stored>,
    tiers: Vec<loyalty::Stored>,
    /// What is neither redeemed nor revoked, what was just granted included.
    open: HashMap<CustomerId, Vec<grants::Stored>>,
    changes: HashMap<CustomerId, Vec<loyalty::Change>>,
    made: Vec<grants::Stored>,
    moved: Vec<loyalty::Change>,
}

impl<'a> Granting<'a> {
    /// Begins, with a number of the feed of actions. The offers that are granted are held.
    pub async fn begin(
        transaction: &Transaction,
        tenant: &'a Tenant,
        codes: Codes,
        seq: i64,
        mut wanted: Wanted,
    ) -> Result<Self, StoreError> {
        let mut tiers = Vec::new();
        if !wanted.tiers.is_empty() {
            tiers = loyalty::all(transaction, tenant.id).await?;
        }
        let entered = tiers.iter().filter(|stored| wanted.tiers.contains(&stored.tier.name));
        let of_tiers = entered.flat_map(|stored| &stored.tier.offers).filter_map(|name| name.strip_prefix(OFFERS));
        let named = if wanted.moves { &mut wanted.offers } else { &mut wanted.told };
        named.extend(of_tiers.map(str::to_owned));
        let told = &wanted.told - &wanted.offers;
        let mut offers = offers::some(transaction, tenant.id, &wanted.offers, true).await?;
        offers.extend(offers::some(transaction, tenant.id, &told, false).await?);
        let mut open: HashMap<_, Vec<grants::Stored>> = HashMap::new();
        for stored in grants::open_of(transaction, tenant.id, &wanted.customers).await? {
            open.entry(stored.customer).or_default().push(stored);
        }
        let mut changes: HashMap<_, Vec<loyalty::Change>> = HashMap::new();
        if wanted.moves {
            for change in loyalty::changes_of(transaction, tenant.id, &wanted.customers).await? {
                changes.entry(change.customer).or_default().push(change);
            }
        }
        Ok(Self {
            tenant,
            codes,
            next: Position { seq, place: 0 },
            offers: offers.into_iter().map(|stored| (stored.id().to_owned(), stored)).collect(),
            tiers,
            open,
            changes,
            made: Vec::new(),
            moved: Vec::new(),
        })
    }

    fn take_position(&mut self) -> Position {
        let taken = self.next;
        self.next.place += 1;
        taken
    }

    /// Grants an offer by its name. An error says why it is not granted.
    pub fn grant(&mut self, to: Grantee<'_>, offer: &str) -> Result<grants::Stored, StepSkipReason> {
        let id = offer.strip_prefix(OFFERS).unwrap_or_default();
        let offer = self.offers.get(id).ok_or(StepSkipReason::OfferNotActive)?;
        let own = self.open.get(&to.customer).into_iter().flatten();
        let open = own.filter(|stored| stored.offer == offer.number && stored.is_open(to.at)).count();
        let new = self.made.iter().filter(|stored| stored.offer == offer.number).count();
        let granted = offer.granted.saturating_add(new as i64);
        if let Some(reason) = may_grant(&offer.offer, granted, open) {
            return Err(reason);
        }
        let number = offer.number;
        let end = Validity::of(to.at, offer.offer.valid_days, &self.tenant.zone).end;
        let grant = Grant {
            offer: offer.offer.name.clone(),
            playbook: to.playbook.to_owned(),
            run: to.run.to_owned(),
            granted_by: to.subject.to_owned(),
            grant_time: Some(convert::timestamp(to.at)),
            expire_time: Some(convert::timestamp(end)),
            ..Grant::default()
        };
        let mut stored = grants::Stored {
            customer: to.customer,
            made: self.take_position(),
            offer: number,
            step: to.step,
            state: GrantState::Open,
            expires_at: end,
            code_hash: Vec::new(),
            grant,
        };
        stored.code_hash = self.codes.hash(&self.codes.code(&stored.origin()));
        self.open.entry(to.customer).or_default().push(stored.clone());
        self.made.push(stored.clone());
        Ok(stored)
    }

    /// Puts a customer into a tier by its name, and grants it the tier's offers where it was in another. Returns why some of these are not granted. An error
    /// says why it stays where it is.
    pub fn put(&mut self, to: Grantee<'_>, tier: &str, may_lower: bool) -> Result<Vec<StepSkipReason>, StepSkipReason> {
        let found = self.tiers.iter().find(|stored| stored.tier.name == tier);
        let stored = found.cloned().ok_or(StepSkipReason::NoTier)?;
        let last = self.changes.get(&to.customer).and_then(|changes| changes.last());
        let before = last.and_then(|last| last.standing(&self.tiers));
        let entry = enter((stored.number, &stored.tier), before, may_lower, to.at, &self.tenant.zone)?;
        let change = TierChange {
            tier: stored.tier.name.clone(),
            since_time: Some(convert::timestamp(entry.since)),
            until_time: entry.until.map(convert::timestamp),
            ..change_by(to)
        };
        self.note(to.customer, stored.number, change);
        let offers = stored.tier.offers.iter().filter(|_| entry.is_new);
        Ok(offers.filter_map(|offer| self.grant(to, offer).err()).collect())
    }

    /// Takes a customer out of its tier.
    pub fn take_out(&mut self, to: Grantee<'_>) {
        let change = TierChange { since_time: Some(convert::timestamp(to.at)), ..change_by(to) };
        self.note(to.customer, 0, change);
    }

    fn note(&mut self, customer: CustomerId, tier: i64, change: TierChange) {
        let change = loyalty::Change { customer, made: self.take_position(), tier, change };
        self.changes.entry(customer).or_default().push(change.clone());
        self.moved.push(change);
    }

    /// The last change of a customer's tier.
    pub fn last_change(&self, customer: CustomerId) -> Option<&loyalty::Change> {
        self.changes.get(&customer).and_then(|changes| changes.last())
    }

    /// The tiers.
    pub fn tiers(&self) -> &[loyalty::Stored] {
        &self.tiers
    }

    /// What a run has granted that can be redeemed at an instant, in its order, each with its code.
    pub fn of_run(&self, customer: CustomerId, run: &str, at: Instant) -> Vec<(&grants::Stored, String)> {
        let own = self.open.get(&customer).into_iter().flatten();
        let own = own.filter(|stored| stored.grant.run == run && stored.is_open(at));
        own.map(|stored| (stored, self.codes.code(&stored.origin()))).collect()
    }

    /// The title of the offer of a grant, in a language.
    pub fn title(&self, stored: &grants::Stored, tag: &str) -> &str {
        let id = stored.grant.offer.strip_prefix(OFFERS).unwrap_or_default();
        let texts = self.offers.get(id).map(|offer| offer.offer.texts.as_slice()).unwrap_or_default();
        language::lookup(texts, |text| &text.language, tag).map(|text| text.title.as_str()).unwrap_or_default()
    }

    /// The last day on which a grant can be redeemed, as `2026-12-31`.
    pub fn last_date(&self, stored: &grants::Stored) -> String {
        Validity::ending(stored.expires_at, &self.tenant.zone).last_date()
    }

    /// Writes what was granted.
    pub async fn write(mut self, transaction: &Transaction) -> Result<(), StoreError> {
        let tenant = self.tenant.id;
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        for stored in &self.made {
            *counts.entry(stored.offer).or_default() += 1;
        }
        for (offer, grants) in counts {
            offers::count_granted(transaction, tenant, offer, grants).await?;
        }
        self.made.sort_by_key(|stored| (stored.customer, stored.made));
        grants::write(transaction, tenant, &self.made).await?;
        self.moved.sort_by_key(|change| (change.customer, change.made));
        loyalty::append(transaction, tenant, &self.moved).await?;
        let moved: BTreeSet<CustomerId> = self.moved.iter().map(|change| change.customer).collect();
        for customer in moved {
            let changes = self.changes.get(&customer).map(Vec::as_slice).unwrap_or_default();
            let beyond = changes.len().checked_sub(loyalty::KEPT + 1).and_then(|place| changes.get(place));
            if let Some(last) = beyond {
                loyalty::forget_up_to(transaction, tenant, last).await?;
            }
        }
        Ok(())
    }
}

fn change_by(to: Grantee<'_>) -> TierChange {
    TierChange {
        set_time: Some(convert::timestamp(to.at)),
        playbook: to.playbook.to_owned(),
        run: to.run.to_owned(),
        set_by: to.subject.to_owned(),
        ..TierChange::default()
    }
}
