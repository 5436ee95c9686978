//! Tenants, and the keys of their keyed hashes.

use super::Store;
use super::entities::tenant;
use quintile_domain::entropy::Entropy;
use quintile_proto::access::{RevenuePolicy, Tenant};
use quintile_rpc::policy::DEFAULT_TENANT;
use quintile_store::{Result, Transaction};
use sea_orm::{
    ActiveValue::{Set, Unchanged},
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
};
use zeroize::Zeroizing;

/// The most tenants of an installation.
pub const MAX_TENANTS: u64 = 1_000;
/// Bytes of the key of a tenant's keyed hashes.
const PSEUDONYM_KEY_BYTES: usize = 32;

/// What a tenant is asked for with, and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The IANA name of the zone in which its days begin.
    pub time_zone: String,
    /// The ISO 4217 code of the currency that its money is in.
    pub base_currency: String,
    /// How refunds count in revenue.
    pub revenue_policy: RevenuePolicy,
}

impl Default for Terms {
    fn default() -> Self {
        Self { time_zone: "UTC".to_owned(), base_currency: "USD".to_owned(), revenue_policy: RevenuePolicy::Net }
    }
}

/// What became of a new tenant.
#[derive(Clone, Debug, PartialEq)]
pub enum NewTenant {
    /// It is there.
    Created(Tenant),
    /// The id is taken.
    Taken,
    /// There are [`MAX_TENANTS`] already.
    Full,
}

impl Store {
    /// The tenants by number.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        Ok(self.tenant_rows().await?.into_iter().map(message).collect())
    }

    /// The tenants by number, with their keys, for the services that hash.
    pub(super) async fn tenants_with_keys(&self) -> Result<Vec<Tenant>> {
        let mut tenants = Vec::new();
        for row in self.tenant_rows().await? {
            let sealed = row.sealed_pseudonym_key.as_deref();
            let key = sealed.map(|sealed| self.open_sealed(&place(row.number), sealed)).transpose()?;
            let pseudonym_key = key.map(|key| key.to_vec()).unwrap_or_default();
            tenants.push(Tenant { pseudonym_key, ..message(row) });
        }
        Ok(tenants)
    }

    /// Makes a tenant, under the next number.
    pub async fn create_tenant(&self, id: &str, terms: &Terms, entropy: &Entropy) -> Result<NewTenant> {
        let transaction = self.begin_change().await?;
        let taken = tenant::Entity::find().filter(tenant::Column::Name.eq(id)).one(&transaction).await?;
        if taken.is_some() {
            return Ok(NewTenant::Taken);
        }
        if tenant::Entity::find().count(&transaction).await? >= MAX_TENANTS {
            return Ok(NewTenant::Full);
        }
        let last = tenant::Entity::find().order_by_desc(tenant::Column::Number).one(&transaction).await?;
        let number = last.map_or(1, |row| row.number + 1);
        let row = self.new_tenant(number, id, terms, entropy);
        insert(&transaction, row.clone()).await?;
        transaction.commit().await?;
        Ok(NewTenant::Created(message(row)))
    }

    /// Makes the first tenant, and the keys that tenants of an older version lack. Returns whether anything was missing.
    pub(super) async fn seed_tenant(&self, transaction: &Transaction, entropy: &Entropy) -> Result<bool> {
        if tenant::Entity::find().count(transaction).await? == 0 {
            insert(transaction, self.new_tenant(1, DEFAULT_TENANT, &Terms::default(), entropy)).await?;
            return Ok(true);
        }
        let without =
            tenant::Entity::find().filter(tenant::Column::SealedPseudonymKey.is_null()).all(transaction).await?;
        let any = !without.is_empty();
        for row in without {
            let update = tenant::ActiveModel {
                number: Unchanged(row.number),
                sealed_pseudonym_key: Set(Some(self.new_pseudonym_key(row.number, entropy))),
                ..Default::default()
            };
            tenant::Entity::update(update).exec(transaction).await?;
        }
        Ok(any)
    }

    fn new_tenant(&self, number: i32, name: &str, terms: &Terms, entropy: &Entropy) -> tenant::Model {
        tenant::Model {
            number,
            name: name.to_owned(),
            time_zone: terms.time_zone.clone(),
            base_currency: terms.base_currency.clone(),
            revenue_policy: terms.revenue_policy.into(),
            sealed_pseudonym_key: Some(self.new_pseudonym_key(number, entropy)),
        }
    }

    fn new_pseudonym_key(&self, number: i32, entropy: &Entropy) -> Vec<u8> {
        let key = Zeroizing::new(entropy.bytes::<PSEUDONYM_KEY_BYTES>());
        self.seal(entropy, &place(number), key.as_ref())
    }

    async fn tenant_rows(&self) -> Result<Vec<tenant::Model>> {
        Ok(tenant::Entity::find().order_by_asc(tenant::Column::Number).all(self.database.reader()).await?)
    }
}

fn place(number: i32) -> String {
    format!("pseudonym key of tenant {number}")
}

async fn insert(transaction: &Transaction, row: tenant::Model) -> Result<()> {
    let row = tenant::ActiveModel {
        number: Set(row.number),
        name: Set(row.name),
        time_zone: Set(row.time_zone),
        base_currency: Set(row.base_currency),
        revenue_policy: Set(row.revenue_policy),
        sealed_pseudonym_key: Set(row.sealed_pseudonym_key),
    };
    tenant::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

fn message(row: tenant::Model) -> Tenant {
    Tenant {
        name: format!("tenants/{}", row.name),
        number: row.number,
        time_zone: row.time_zone,
        base_currency: row.base_currency,
        revenue_policy: row.revenue_policy,
        ..Tenant::default()
    }
}
