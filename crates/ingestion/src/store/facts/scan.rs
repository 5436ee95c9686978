//! Facts of everybody, kind by kind, in the order of their keys. Keys never change, whoever is merged with whom meanwhile: a reader that
//! goes on behind a key misses nothing and reads nothing twice.

use super::read::Reader;
use super::{KEYS_PER_QUERY, Key};
use crate::store::customers::{self, StoredCustomer};
use crate::store::entities::{feedback_fact, interaction_fact, order_fact, refund_fact};
use crate::store::keys::TenantKeys;
use crate::store::{identities, waiting};
use quintile_domain::ids::CustomerId;
use quintile_proto::ingestion::{CustomerFact, FactKind};
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Facts that are read at once.
const ROWS_AT_ONCE: u64 = 2 * KEYS_PER_QUERY as u64;

/// Some facts of everybody.
pub struct Chunk {
    /// The facts that are wanted, with their keys.
    pub facts: Vec<(Key, CustomerFact)>,
    /// The customers that they are of.
    pub customers: Vec<StoredCustomer>,
    /// What to go on behind. `None`: these were the last.
    pub next: Option<Key>,
}

/// Which facts are wanted.
pub struct Scan<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// Its keys.
    pub keys: &'a TenantKeys,
    /// Whether a customer's facts are wanted.
    pub wants: &'a (dyn Fn(&StoredCustomer) -> bool + Sync),
}

impl Scan<'_> {
    /// The wanted ones of the next facts of a kind behind a key.
    pub async fn chunk(
        &self,
        connection: &impl ConnectionTrait,
        kind: FactKind,
        behind: &Key,
    ) -> Result<Chunk, StoreError> {
        match kind {
            FactKind::Order => self.read::<order_fact::Entity>(connection, behind).await,
            FactKind::Refund => self.read::<refund_fact::Entity>(connection, behind).await,
            FactKind::Interaction => self.read::<interaction_fact::Entity>(connection, behind).await,
            FactKind::Feedback => self.read::<feedback_fact::Entity>(connection, behind).await,
            FactKind::Unspecified => Ok(Chunk { facts: Vec::new(), customers: Vec::new(), next: None }),
        }
    }

    async fn read<T: FactTable>(&self, connection: &impl ConnectionTrait, behind: &Key) -> Result<Chunk, StoreError> {
        let tenant = self.tenant.id;
        let rows = T::rows_behind(connection, tenant.0, behind).await?;
        let next = rows.last().filter(|_| rows.len() as u64 == ROWS_AT_ONCE).map(T::key);
        let subjects: BTreeSet<i64> = rows.iter().map(|row| T::key(row).0).collect();
        let subjects: Vec<i64> = subjects.into_iter().collect();
        let owners = waiting::owners(connection, tenant, &subjects).await?;
        let ids: BTreeSet<CustomerId> = owners.values().copied().collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let mut customers = customers::load(connection, tenant, self.keys, &ids).await?;
        customers.retain(|customer| (self.wants)(customer));
        let identities = identities::by_subject(connection, tenant, self.keys, &customers).await?;
        let reader = Reader { tenant: self.tenant, keys: self.keys, subjects: &[], identities: &identities };
        let names: BTreeMap<CustomerId, String> =
            customers.iter().map(|customer| (customer.id, customer.id.to_string())).collect();
        let mut facts = Vec::with_capacity(rows.len());
        for row in rows {
            let key = T::key(&row);
            // Erased meanwhile, or not wanted: then what is sealed stays so.
            let Some(name) = owners.get(&key.0).and_then(|owner| names.get(owner)) else { continue };
            facts.push((key, CustomerFact { customer: name.clone(), ..T::fact(&reader, row)? }));
        }
        Ok(Chunk { facts, customers, next })
    }
}

/// A table of facts.
trait FactTable: EntityTrait {
    /// Tenant, subject, source and event id.
    const KEY: [Self::Column; 4];

    fn key(row: &Self::Model) -> Key;

    fn fact(reader: &Reader<'_>, row: Self::Model) -> Result<CustomerFact, StoreError>;

    async fn rows_behind(
        connection: &impl ConnectionTrait,
        tenant_id: i32,
        (subject_id, source, event_id): &Key,
    ) -> Result<Vec<Self::Model>, StoreError> {
        let [tenant, columns @ ..] = Self::KEY;
        let place: [Value; 3] = [(*subject_id).into(), source.as_str().into(), event_id.as_str().into()];
        let behind = Expr::tuple(columns.map(Expr::col)).gt(Expr::tuple(place.map(Expr::val)));
        let mut query = Self::find().filter(tenant.eq(tenant_id)).filter(behind);
        for column in columns {
            query = query.order_by_asc(column);
        }
        Ok(query.limit(ROWS_AT_ONCE).all(connection).await?)
    }
}

macro_rules! fact_table {
    ($table:ident, $field:ident, $message:expr) => {
        impl FactTable for $table::Entity {
            const KEY: [$table::Column; 4] =
                [$table::Column::TenantId, $table::Column::SubjectId, $table::Column::Source, $table::Column::EventId];

            fn key(row: &$table::Model) -> Key {
                (row.subject_id, row.source.clone(), row.event_id.clone())
            }

            fn fact(reader: &Reader<'_>, row: $table::Model) -> Result<CustomerFact, StoreError> {
                let message = $message(reader, row)?;
                Ok(CustomerFact { $field: Some(message), ..CustomerFact::default() })
            }
        }
    };
}

fact_table!(order_fact, order, Reader::order);
fact_table!(refund_fact, refund, |reader: &Reader<'_>, row| Ok::<_, StoreError>(reader.refund(row)));
fact_table!(interaction_fact, interaction, Reader::interaction);
fact_table!(feedback_fact, feedback, Reader::feedback);
