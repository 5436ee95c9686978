//! Warnings: each a row from its raising on, which tells all that has become of it.
//!
//! A row's key is where it was raised; `changed_seq` is where it last changed, by which watchers read. Both number the feed of warnings, which has no
//! records: its head is the lock that orders changes.

use crate::warnings::{Stake, Thresholds, Worth};
use prost::Message;
use quintile_chain::feed::Removed;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Warning, WarningEvidence, WarningState};
use quintile_proto::types::{StageValues, WarningKind};
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::bulk::{Column, OnConflict, Target};
use quintile_store::history::{self, History, Position};
use quintile_store::numbers::Numbers;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::{BTreeSet, HashMap};

/// The feed that numbers them.
pub const WARNINGS: &str = "warnings";
/// How long a warning goes on at most.
pub const EXPIRES_AFTER_MICROS: i64 = 90 * 86_400_000_000;

pub(super) mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "warning")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub kind: i32,
        pub state: i32,
        /// Whether it is in a state that goes on: what most who list them ask for.
        pub goes_on: i32,
        pub severity: i32,
        pub raised_at: i64,
        pub value_at_stake: i64,
        pub assignee: String,
        pub changed_seq: i64,
        pub body: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl History for entity::Entity {
    const TENANT: entity::Column = entity::Column::TenantId;
    const CUSTOMER: entity::Column = entity::Column::CustomerId;
    const SEQ: entity::Column = entity::Column::Seq;
    const PLACE: entity::Column = entity::Column::Place;
}

const TABLE: Target = Target {
    table: "warning",
    columns: &[
        "tenant_id",
        "customer_id",
        "seq",
        "place",
        "kind",
        "state",
        "goes_on",
        "severity",
        "raised_at",
        "value_at_stake",
        "assignee",
        "changed_seq",
        "body",
    ],
    key: &["tenant_id", "customer_id", "seq", "place"],
    on_conflict: OnConflict::Replace(&["state", "goes_on", "assignee", "changed_seq", "body"]),
};

/// A warning, and where it was raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The customer.
    pub customer: CustomerId,
    /// Where it was raised.
    pub raised: Position,
    /// What there is to know, aside from the name.
    pub warning: Warning,
    /// What is at stake, in minor units.
    pub value_at_stake: i64,
}

impl Stored {
    /// The warning with its name.
    pub fn named(self) -> Warning {
        let Position { seq, place } = self.raised;
        Warning { name: self.customer.part_name(&format!("warnings/{seq}-{place}")), ..self.warning }
    }

    /// Says that somebody ends it.
    pub fn resolve(&mut self, at: Instant) {
        self.warning.state = WarningState::Resolved.into();
        let raised = convert::sent_instant(self.warning.raise_time.as_ref()).unwrap_or(at);
        self.warning.end_time = Some(convert::timestamp(at.max(raised)));
    }

    /// Whether it ended while the customer showed the sign: somebody ended it, or it had gone on for too long.
    fn may_have_gone_on(&self) -> bool {
        let [raised, ended] =
            [&self.warning.raise_time, &self.warning.end_time].map(|time| convert::sent_instant(time.as_ref()));
        let expires = raised.map(|raised| raised.plus_micros(EXPIRES_AFTER_MICROS));
        match self.warning.state() {
            WarningState::Resolved => true,
            WarningState::Expired => ended == expires,
            _ => false,
        }
    }

    /// Ends it by itself. Where time has jumped, it may have expired before.
    fn end(&mut self, at: Instant, state: WarningState) {
        let raised = convert::sent_instant(self.warning.raise_time.as_ref()).unwrap_or(at);
        let expires = raised.plus_micros(EXPIRES_AFTER_MICROS);
        let (at, state) = if at >= expires { (expires, WarningState::Expired) } else { (at, state) };
        self.warning.state = state.into();
        // What was raised by what was known later ends no earlier.
        self.warning.end_time = Some(convert::timestamp(at.max(raised)));
    }
}

/// Whether a warning of a state goes on.
pub fn goes_on(state: i32) -> bool {
    [WarningState::Open, WarningState::Acknowledged].map(i32::from).contains(&state)
}

/// What changes about the warnings of a customer at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The customer.
    pub customer: CustomerId,
    /// When. Business time.
    pub valid_at: Instant,
    /// Whether it had been removed, so that what it showed before is known from its warnings alone.
    pub returns: bool,
    /// What it begins to show.
    pub begun: Vec<WarningKind>,
    /// What it shows as before, and has given reason for again: it is warned of where no warning of it goes on.
    pub again: Option<WarningKind>,
    /// What it shows no more.
    pub ended: Vec<WarningKind>,
    /// What becomes of the warnings of that.
    pub ended_as: WarningState,
    /// The customer as it is then.
    pub evidence: WarningEvidence,
    /// What it is taken to be worth then.
    pub worth: Worth,
}

impl Change {
    /// A warning of a kind that it begins to show.
    fn warning(&self, kind: WarningKind, thresholds: Thresholds, currency: Currency) -> Stored {
        let stage = self.evidence.stage.as_ref().map(StageValues::stage).unwrap_or_default();
        let at_stake = Stake::of(self.worth.minor, stage, self.evidence.risk_percent);
        let value_at_stake = at_stake.value();
        let warning = Warning {
            kind: kind.into(),
            state: WarningState::Open.into(),
            severity: thresholds.severity(value_at_stake).into(),
            raise_time: Some(convert::timestamp(self.valid_at)),
            value_at_stake: Some(convert::money(currency, value_at_stake)),
            customer_value: Some(convert::money(currency, at_stake.customer_value)),
            risk: at_stake.risk_percent as f64 / 100.0,
            evidence: Some(self.evidence.clone()),
            value_model: self.worth.value_model.clone(),
            ..Warning::default()
        };
        Stored { customer: self.customer, raised: Position::default(), warning, value_at_stake }
    }
}

/// Raises and ends warnings, and forgets those of customers who were erased, as part of a transaction. Returns those that were raised.
pub async fn apply(
    transaction: &Transaction,
    tenant: &Tenant,
    thresholds: Thresholds,
    changes: Vec<Change>,
    removed: &[Removed],
) -> Result<Vec<Stored>, StoreError> {
    let (erased, gone): (Vec<Removed>, Vec<Removed>) = removed.iter().partition(|removed| removed.erased);
    let erased: Vec<i64> = erased.iter().map(|removed| removed.customer.as_i64()).collect();
    history::forget::<entity::Entity>(transaction, tenant.id, &erased).await?;
    let known = changes.iter().filter(|change| change.returns || change.again.is_some() || !change.ended.is_empty());
    let known = known.map(|change| change.customer).chain(gone.iter().map(|removed| removed.customer));
    let known: BTreeSet<i64> = known.map(CustomerId::as_i64).collect();
    let mut book = Book::open(transaction, tenant.id, &known.into_iter().collect::<Vec<_>>()).await?;
    let mut raised = Vec::new();
    for change in &changes {
        let begun = if change.returns { book.take_back(change) } else { change.begun.clone() };
        for kind in &change.ended {
            book.end(change.customer, (*kind).into(), change.valid_at, change.ended_as);
        }
        let again = change.again.filter(|kind| !book.goes_on(change.customer, (*kind).into()));
        for kind in begun.into_iter().chain(again) {
            let warning = change.warning(kind, thresholds, tenant.currency);
            raised.push(warning.clone());
            book.replace(warning);
        }
    }
    for removed in gone {
        book.tell_again(removed.customer);
    }
    book.write(transaction, tenant.id).await?;
    Ok(raised)
}

/// The last warnings of some customers, one of each kind, and what is done with them.
#[derive(Default)]
struct Book {
    last: HashMap<CustomerId, Vec<Stored>>,
    changed: Vec<Stored>,
}

impl Book {
    async fn open(transaction: &Transaction, tenant: TenantId, customers: &[i64]) -> Result<Self, StoreError> {
        let mut book = Self::default();
        for numbers in Numbers::queries(customers) {
            // All of a customer's: what has ended tells of what it was warned.
            let rows = entity::Entity::find()
                .filter(entity::Column::TenantId.eq(tenant.0))
                .filter(numbers.contain(entity::Column::CustomerId))
                .order_by_asc(entity::Column::CustomerId)
                .order_by_asc(entity::Column::Seq)
                .order_by_asc(entity::Column::Place)
                .lock_exclusive()
                .all(transaction)
                .await?;
            for row in rows {
                book.replace(from_row(&row)?);
            }
        }
        Ok(book)
    }

    /// Makes a warning the last of its kind.
    fn replace(&mut self, stored: Stored) {
        let last = self.last.entry(stored.customer).or_default();
        last.retain(|other| other.warning.kind != stored.warning.kind);
        last.push(stored);
    }

    /// Whether a warning of a kind goes on of a customer.
    fn goes_on(&self, customer: CustomerId, kind: i32) -> bool {
        let mut last = self.last.get(&customer).into_iter().flatten();
        last.any(|stored| stored.warning.kind == kind && goes_on(stored.warning.state))
    }

    fn end(&mut self, customer: CustomerId, kind: i32, at: Instant, state: WarningState) {
        let last = self.last.entry(customer).or_default();
        let place = last.iter().position(|stored| stored.warning.kind == kind && goes_on(stored.warning.state));
        if let Some(mut stored) = place.map(|place| last.swap_remove(place)) {
            stored.end(at, state);
            self.changed.push(stored);
        }
    }

    /// Takes up the warnings of a customer who comes back: those of what it shows no more end. Returns what it shows and has not been warned of. Of what
    /// somebody has resolved, or has expired, it may have shown the sign all the time: it is not warned of again before it has ceased to.
    fn take_back(&mut self, change: &Change) -> Vec<WarningKind> {
        let last = self.last.remove(&change.customer).unwrap_or_default();
        let mut begun = change.begun.clone();
        for mut stored in last {
            let shown = begun.iter().position(|kind| i32::from(*kind) == stored.warning.kind);
            if let Some(place) = shown.filter(|_| goes_on(stored.warning.state) || stored.may_have_gone_on()) {
                begun.swap_remove(place);
            }
            if goes_on(stored.warning.state) {
                if shown.is_none() {
                    stored.end(change.valid_at, change.ended_as);
                }
                // Told again in any case: it was told as gone.
                self.changed.push(stored);
            }
        }
        begun
    }

    /// Has watchers read what goes on of a customer again, who is no more.
    fn tell_again(&mut self, customer: CustomerId) {
        let last = self.last.remove(&customer).unwrap_or_default();
        self.changed.extend(last.into_iter().filter(|stored| goes_on(stored.warning.state)));
    }

    /// Writes what was raised, and what has changed.
    async fn write(self, transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
        let is_new = |stored: &Stored| stored.raised == Position::default();
        let mut changed = self.changed;
        changed.extend(self.last.into_values().flatten().filter(is_new));
        write(transaction, tenant, changed).await
    }
}

/// Writes warnings that are new or have changed, under the next number.
async fn write(transaction: &Transaction, tenant: TenantId, mut changed: Vec<Stored>) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let seq = feed::next_seq(transaction, tenant, WARNINGS).await?;
    changed.sort_by_key(|stored| (stored.customer, stored.warning.kind, end_micros(stored)));
    for (stored, place) in changed.iter_mut().zip(0..) {
        if stored.raised == Position::default() {
            stored.raised = Position { seq, place };
        }
    }
    changed.sort_by_key(|stored| (stored.customer, stored.raised));
    let all = || changed.iter();
    let raised_at = |stored: &Stored| convert::sent_instant(stored.warning.raise_time.as_ref()).map(Instant::micros);
    let columns = vec![
        Column::Int(vec![tenant.0; changed.len()]),
        Column::BigInt(all().map(|stored| stored.customer.as_i64()).collect()),
        Column::BigInt(all().map(|stored| stored.raised.seq).collect()),
        Column::BigInt(all().map(|stored| stored.raised.place).collect()),
        Column::Int(all().map(|stored| stored.warning.kind).collect()),
        Column::Int(all().map(|stored| stored.warning.state).collect()),
        Column::Int(all().map(|stored| goes_on(stored.warning.state).into()).collect()),
        Column::Int(all().map(|stored| stored.warning.severity).collect()),
        Column::BigInt(all().map(|stored| raised_at(stored).unwrap_or_default()).collect()),
        Column::BigInt(all().map(|stored| stored.value_at_stake).collect()),
        Column::Text(all().map(|stored| stored.warning.assignee.clone()).collect()),
        Column::BigInt(vec![seq; changed.len()]),
        Column::Bytes(all().map(|stored| stored.warning.encode_to_vec()).collect()),
    ];
    TABLE.write(transaction, columns).await?;
    Ok(())
}

/// When it ended; what goes on is behind what has.
fn end_micros(stored: &Stored) -> i64 {
    convert::sent_instant(stored.warning.end_time.as_ref()).map_or(i64::MAX, Instant::micros)
}

/// The warning that was raised at a position, for somebody who may change it: it stays as it is until the transaction ends.
pub async fn hold(
    transaction: &Transaction,
    tenant: TenantId,
    customer: CustomerId,
    raised: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), raised.seq, raised.place);
    let row = entity::Entity::find_by_id(key).lock_exclusive().one(transaction).await?;
    row.as_ref().map(from_row).transpose()
}

/// Writes a warning that somebody has changed.
pub async fn replace(transaction: &Transaction, tenant: TenantId, stored: Stored) -> Result<(), StoreError> {
    write(transaction, tenant, vec![stored]).await
}

/// Ends up to `limit` of the warnings that have gone on for too long, and tells how many they were.
pub async fn expire(
    transaction: &Transaction,
    tenant: TenantId,
    now: Instant,
    limit: u64,
) -> Result<usize, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::GoesOn.eq(1))
        .filter(entity::Column::RaisedAt.lte(now.micros() - EXPIRES_AFTER_MICROS))
        .limit(limit)
        .lock_exclusive()
        .all(transaction)
        .await?;
    let mut expired = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    for stored in &mut expired {
        stored.end(now, WarningState::Expired);
    }
    let count = expired.len();
    write(transaction, tenant, expired).await?;
    Ok(count)
}

/// Whether a warning has gone on for too long.
pub async fn is_any_expired(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    now: Instant,
) -> Result<bool, StoreError> {
    let found: Option<i64> = entity::Entity::find()
        .select_only()
        .column(entity::Column::Seq)
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::GoesOn.eq(1))
        .filter(entity::Column::RaisedAt.lte(now.micros() - EXPIRES_AFTER_MICROS))
        .limit(1)
        .into_tuple()
        .one(connection)
        .await?;
    Ok(found.is_some())
}

/// The warning that was raised at a position.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
    raised: Position,
) -> Result<Option<Stored>, StoreError> {
    let key = (tenant.0, customer.as_i64(), raised.seq, raised.place);
    entity::Entity::find_by_id(key).one(connection).await?.as_ref().map(from_row).transpose()
}

/// How many warnings of a customer are kept.
pub async fn count(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<i64, StoreError> {
    history::count::<entity::Entity>(connection, tenant, customer).await
}

pub(super) fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    let malformed = || StoreError::Sealed("a stored warning is malformed");
    Ok(Stored {
        customer: CustomerId::try_from(row.customer_id).map_err(|_| malformed())?,
        raised: Position { seq: row.seq, place: row.place },
        warning: Warning::decode(&*row.body).map_err(|_| malformed())?,
        value_at_stake: row.value_at_stake,
    })
}
