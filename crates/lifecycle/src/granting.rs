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

/// To whom something is granted, and by what.
#[derive(Clone, Copy)]
pub struct Grantee<'a> {
    /// The customer.
    pub customer: CustomerId,
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
    /// Whether messages tell of what runs have granted.
    pub tells: bool,
    /// The names of tiers that customers come into.
    pub tiers: BTreeSet<String>,
    /// Whether customers come into tiers, or out of them.
    pub moves: bool,
}

/// What is granted in one transaction.
pub struct Granting<'a> {
    tenant: &'a Tenant,
    codes: Codes,
    now: Instant,
    next: Position,
    /// By id.
    offers: BTreeMap<String, offers::Stored>,
    tiers: Vec<loyalty::Stored>,
    /// What can be redeemed, what was just granted included.
    open: HashMap<CustomerId, Vec<grants::Stored>>,
    /// The last change of each.
    changes: HashMap<CustomerId, loyalty::Change>,
    made: Vec<grants::Stored>,
    moved: Vec<loyalty::Change>,
}

impl<'a> Granting<'a> {
    /// Begins, with a number of the feed of actions, and as of a business time: that of which all is granted, however long ago it was due, so that nothing
    /// has expired when it is made. The offers that are granted are held.
    pub async fn begin(
        transaction: &Transaction,
        tenant: &'a Tenant,
        codes: Codes,
        (seq, now): (i64, Instant),
        mut wanted: Wanted,
    ) -> Result<Self, StoreError> {
        let (mut tiers, mut changes) = (Vec::new(), HashMap::new());
        if wanted.moves {
            tiers = loyalty::all(transaction, tenant.id).await?;
            let last = loyalty::last_of(transaction, tenant.id, &wanted.customers).await?;
            changes.extend(last.into_iter().map(|change| (change.customer, change)));
        }
        let entered = tiers.iter().filter(|stored| wanted.tiers.contains(&stored.tier.name));
        let of_tiers = entered.flat_map(|stored| &stored.tier.offers).map(|name| id_of(name));
        wanted.offers.extend(of_tiers.map(str::to_owned));
        let (mut open, mut told): (HashMap<_, Vec<grants::Stored>>, _) = (HashMap::new(), BTreeSet::new());
        for stored in grants::open_of(transaction, tenant.id, &wanted.customers, now).await? {
            if wanted.tells && !stored.grant.run.is_empty() {
                told.insert(id_of(&stored.grant.offer).to_owned());
            }
            open.entry(stored.customer).or_default().push(stored);
        }
        let mut offers = offers::some(transaction, tenant.id, &wanted.offers, true).await?;
        offers.extend(offers::some(transaction, tenant.id, &(&told - &wanted.offers), false).await?);
        Ok(Self {
            tenant,
            codes,
            now,
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
        let offer = self.offers.get(id_of(offer)).ok_or(StepSkipReason::OfferNotActive)?;
        let own = self.open.get(&to.customer).into_iter().flatten();
        let open = own.filter(|stored| stored.offer == offer.number).count();
        let new = self.made.iter().filter(|stored| stored.offer == offer.number).count();
        let granted = offer.granted.saturating_add(new as i64);
        if let Some(reason) = may_grant(&offer.offer, granted, open) {
            return Err(reason);
        }
        let number = offer.number;
        let end = Validity::of(self.now, offer.offer.valid_days, &self.tenant.zone).end;
        let grant = Grant {
            offer: offer.offer.name.clone(),
            playbook: to.playbook.to_owned(),
            run: to.run.to_owned(),
            granted_by: to.subject.to_owned(),
            grant_time: Some(convert::timestamp(self.now)),
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

    /// Puts a customer into a tier by its name, and grants it the tier's offers where it was in another: those that it does not have already, and that
    /// may be granted. An error says why it stays where it is.
    pub fn put(&mut self, to: Grantee<'_>, tier: &str, may_lower: bool) -> Result<(), StepSkipReason> {
        let found = self.tiers.iter().find(|stored| stored.tier.name == tier);
        let stored = found.cloned().ok_or(StepSkipReason::NoTier)?;
        let before = self.last_change(to.customer).and_then(|last| last.standing(&self.tiers));
        let entry = enter((stored.number, &stored.tier), before, may_lower, self.now, &self.tenant.zone)?;
        let change = TierChange {
            tier: stored.tier.name.clone(),
            since_time: Some(convert::timestamp(entry.since)),
            until_time: entry.until.map(convert::timestamp),
            ..self.change_by(to)
        };
        self.note(to.customer, stored.number, change);
        for offer in stored.tier.offers.iter().filter(|_| entry.is_new) {
            // It is in the tier either way.
            let _ = self.grant(to, offer);
        }
        Ok(())
    }

    /// Takes a customer out of its tier.
    pub fn take_out(&mut self, to: Grantee<'_>) {
        let change = TierChange { since_time: Some(convert::timestamp(self.now)), ..self.change_by(to) };
        self.note(to.customer, 0, change);
    }

    fn change_by(&self, to: Grantee<'_>) -> TierChange {
        TierChange {
            set_time: Some(convert::timestamp(self.now)),
            playbook: to.playbook.to_owned(),
            run: to.run.to_owned(),
            set_by: to.subject.to_owned(),
            ..TierChange::default()
        }
    }

    fn note(&mut self, customer: CustomerId, tier: i64, change: TierChange) {
        let change = loyalty::Change { customer, made: self.take_position(), tier, change };
        self.changes.insert(customer, change.clone());
        self.moved.push(change);
    }

    /// The last change of a customer's tier.
    pub fn last_change(&self, customer: CustomerId) -> Option<&loyalty::Change> {
        self.changes.get(&customer)
    }

    /// The tiers.
    pub fn tiers(&self) -> &[loyalty::Stored] {
        &self.tiers
    }

    /// What a run has granted that can be redeemed, in its order.
    pub fn of_run(&self, customer: CustomerId, run: &str) -> Vec<&grants::Stored> {
        self.open.get(&customer).into_iter().flatten().filter(|stored| stored.grant.run == run).collect()
    }

    /// The title of the offer of a grant, in a language.
    pub fn title(&self, stored: &grants::Stored, tag: &str) -> &str {
        let texts =
            self.offers.get(id_of(&stored.grant.offer)).map(|offer| offer.offer.texts.as_slice()).unwrap_or_default();
        language::lookup(texts, |text| &text.language, tag).map(|text| text.title.as_str()).unwrap_or_default()
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
        let moved: BTreeSet<i64> = self.moved.iter().map(|change| change.customer.as_i64()).collect();
        loyalty::forget_old(transaction, tenant, &moved.into_iter().collect::<Vec<_>>()).await
    }
}

/// The id in the name of an offer.
fn id_of(offer: &str) -> &str {
    offer.strip_prefix(OFFERS).unwrap_or_default()
}
