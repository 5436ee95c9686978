//! The versions of score models. A version holds its cut-offs and never changes; the newest one of a model is published.

use crate::rfm::{Dimension, RfmModel};
use crate::worker::RFM;
use parking_lot::RwLock;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_rpc::policy::Tenant;
use quintile_store::{Database, StoreError};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use std::collections::HashMap;
use std::sync::Arc;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "score_model_version")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub model: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i64,
        pub cut_offs: String,
        pub published_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A published version.
#[derive(Clone, Debug)]
pub struct PublishedModel {
    /// The model.
    pub model: RfmModel,
    /// When it was published. Machine time.
    pub published_at: Instant,
}

/// The models of every tenant, remembered once read.
#[derive(Clone)]
pub struct Models {
    database: Database,
    clock: MachineClock,
    known: Arc<RwLock<HashMap<TenantId, PublishedModel>>>,
}

impl Models {
    /// The models in a database.
    pub fn new(database: Database, clock: MachineClock) -> Self {
        Self { database, clock, known: Arc::default() }
    }

    /// The model that scores a tenant's customers: the preset until the tenant's own was read.
    pub fn in_force(&self, tenant: &Tenant) -> RfmModel {
        let known = self.known.read();
        known
            .get(&tenant.id)
            .map_or_else(|| RfmModel::retail(tenant.currency.minor_digits()), |known| known.model.clone())
    }

    /// The published version of a tenant's RFM model. A tenant without one gets the retail preset as version 1.
    pub async fn published(&self, tenant: &Tenant) -> Result<PublishedModel, StoreError> {
        if let Some(known) = self.known.read().get(&tenant.id) {
            return Ok(known.clone());
        }
        let published = match self.read(tenant.id).await? {
            Some(published) => published,
            None => self.publish_preset(tenant).await?,
        };
        self.known.write().insert(tenant.id, published.clone());
        Ok(published)
    }

    async fn read(&self, tenant: TenantId) -> Result<Option<PublishedModel>, StoreError> {
        let row = entity::Entity::find()
            .filter(entity::Column::TenantId.eq(tenant.0))
            .filter(entity::Column::Model.eq(RFM))
            .order_by_desc(entity::Column::Version)
            .one(self.database.reader())
            .await?;
        row.map(|row| from_row(&row)).transpose()
    }

    async fn publish_preset(&self, tenant: &Tenant) -> Result<PublishedModel, StoreError> {
        let model = RfmModel::retail(tenant.currency.minor_digits());
        let row = entity::ActiveModel {
            tenant_id: Set(tenant.id.0),
            model: Set(RFM.to_owned()),
            version: Set(model.version()),
            cut_offs: Set(encode(&model)),
            published_at: Set(self.clock.now().micros()),
        };
        let transaction = self.database.begin().await?;
        // Another replica may have been faster; its version is the same.
        entity::Entity::insert(row)
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(&transaction)
            .await?;
        transaction.commit().await?;
        let published = self.read(tenant.id).await?;
        published.ok_or(StoreError::Sealed("a published score model is gone"))
    }
}

/// Recency, frequency and monetary, each as its four cut-offs: `30 90 180 365|2 3 5 10|5000 10000 20000 50000`.
fn encode(model: &RfmModel) -> String {
    let dimensions = [Dimension::Recency, Dimension::Frequency, Dimension::Monetary];
    dimensions.map(|dimension| model.cut_offs(dimension).map(|cut_off| cut_off.to_string()).join(" ")).join("|")
}

fn from_row(row: &entity::Model) -> Result<PublishedModel, StoreError> {
    let malformed = || StoreError::Sealed("a stored score model is malformed");
    let mut dimensions = Vec::with_capacity(3);
    for part in row.cut_offs.split('|') {
        let cut_offs: Result<Vec<i64>, _> = part.split(' ').map(str::parse).collect();
        let cut_offs: [i64; 4] = cut_offs.map_err(|_| malformed())?.try_into().map_err(|_| malformed())?;
        dimensions.push(cut_offs);
    }
    let [recency, frequency, monetary] = dimensions.try_into().map_err(|_| malformed())?;
    let model = RfmModel::new(row.version, recency, frequency, monetary).map_err(|_| malformed())?;
    Ok(PublishedModel { model, published_at: Instant::from_micros(row.published_at) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_model_is_the_one_that_was_published() {
        let model = RfmModel::retail(2);
        let row = entity::Model {
            tenant_id: 1,
            model: RFM.to_owned(),
            version: 1,
            cut_offs: encode(&model),
            published_at: 0,
        };
        assert_eq!(from_row(&row).unwrap().model, model);
        assert!(from_row(&entity::Model { cut_offs: "1 2 3|4".to_owned(), ..row }).is_err());
    }
}
