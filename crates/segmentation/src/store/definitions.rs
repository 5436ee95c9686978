//! Segments and label sets as they are written down, and what was published of them.

use super::clusterings;
use crate::fields::Classes;
use crate::labels::{Label, LabelSet, Title};
use crate::population::catalogue::{Key, Kind};
use crate::population::definition::{Body, Definition};
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::segmentation::{Label as LabelMessage, LabelRules, LabelTitle};
use quintile_store::{StoreError, Transaction};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::sync::Arc;

/// Versions that are kept of a definition.
pub const KEPT_VERSIONS: i64 = 100;

/// Forms that a body has in the database.
const RULE: i32 = 1;
const LIST: i32 = 2;
const LABELS: i32 = 3;
const CLUSTERS: i32 = 4;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "definition")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub form: i32,
        pub description: String,
        pub created_at: i64,
        pub revision: i64,
        pub version: i64,
        pub live: Option<Vec<u8>>,
        pub draft: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod version {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "definition_version")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i64,
        pub form: i32,
        pub body: Vec<u8>,
        pub published_at: i64,
        pub entered: i64,
        pub exited: i64,
        pub classes: i32,
        pub moved_classes: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A version that was published.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The number, from 1.
    pub version: i64,
    /// What it says.
    pub body: Body,
    /// When it was put in force. Machine time.
    pub published_at: Instant,
    /// Customers who entered; of a label set: who got another label.
    pub entered: u64,
    /// Customers who left.
    pub exited: u64,
    /// The classes of the fields that it read when it was put in force, those of what it referred to included.
    pub classes: Classes,
    /// The same with those of the version before: what the numbers of customers tell of.
    pub moved_classes: Classes,
}

/// The labels as they are told and kept: that of the rest is the last.
pub fn to_rules(set: &LabelSet, name: impl Fn(&str) -> String) -> LabelRules {
    let message = |label: &Label| LabelMessage {
        name: name(&label.id),
        title: label.title.clone(),
        cells: Vec::new(),
        expression: label.expression.clone(),
        titles: titles_of(label),
    };
    LabelRules {
        labels: set.labels.iter().chain([&set.rest]).map(message).collect(),
        overlaps_allowed: set.overlaps_allowed,
    }
}

/// What a label is called by language.
pub fn titles_of(label: &Label) -> Vec<LabelTitle> {
    let message = |Title { language, title }: &Title| LabelTitle { language: language.clone(), title: title.clone() };
    label.titles.iter().map(message).collect()
}

/// Labels of what is kept. `None`: there is not even one.
pub fn of_rules(LabelRules { labels, overlaps_allowed }: LabelRules) -> Option<LabelSet> {
    let title = |LabelTitle { language, title }: LabelTitle| Title { language, title };
    let label = |label: LabelMessage| Label {
        id: label.name,
        title: label.title,
        titles: label.titles.into_iter().map(title).collect(),
        expression: label.expression,
    };
    let mut labels: Vec<Label> = labels.into_iter().map(label).collect();
    let rest = labels.pop()?;
    Some(LabelSet { labels, rest, overlaps_allowed })
}

fn encode(body: &Body) -> (i32, Vec<u8>) {
    match body {
        Body::Rule(source) => (RULE, source.clone().into_bytes()),
        Body::List(began_with) => (LIST, began_with.iter().flat_map(|field| field.to_be_bytes()).collect()),
        Body::Labels(set) => (LABELS, to_rules(set, str::to_owned).encode_to_vec()),
        Body::Clusters(clustering) => (CLUSTERS, clusterings::encode(clustering)),
    }
}

fn decode(form: i32, bytes: Vec<u8>) -> Result<Body, StoreError> {
    let malformed = || StoreError::Sealed("definition");
    match form {
        RULE => String::from_utf8(bytes).map(Body::Rule).map_err(|_| malformed()),
        LIST => Ok(Body::List(bytes.as_chunks().0.iter().map(|field| u16::from_be_bytes(*field)).collect())),
        LABELS => {
            let rules = LabelRules::decode(&*bytes).map_err(|_| malformed())?;
            of_rules(rules).map(Body::Labels).ok_or_else(malformed)
        }
        CLUSTERS => clusterings::decode(&bytes).map(Arc::new).map(Body::Clusters).ok_or_else(malformed),
        _ => Err(malformed()),
    }
}

fn key(name: &str) -> Result<Key, StoreError> {
    let of = |kind, id: &str| Key { kind, id: id.to_owned() };
    let segment = name.strip_prefix("segments/").map(|id| of(Kind::Segment, id));
    let key = segment.or_else(|| name.strip_prefix("labelSets/").map(|id| of(Kind::LabelSet, id)));
    key.ok_or(StoreError::Sealed("definition"))
}

/// All definitions of a tenant, in the order in which they were made.
pub async fn all(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Definition>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .order_by_asc(entity::Column::CreatedAt)
        .order_by_asc(entity::Column::Name)
        .all(connection)
        .await?;
    let definition = |row: entity::Model| {
        let body = |bytes: Option<Vec<u8>>| bytes.map(|bytes| decode(row.form, bytes)).transpose();
        Ok(Definition {
            key: key(&row.name)?,
            description: row.description,
            created_at: Instant::from_micros(row.created_at),
            revision: row.revision,
            version: row.version,
            live: body(row.live)?,
            draft: body(row.draft)?,
        })
    };
    rows.into_iter().map(definition).collect()
}

/// Writes a definition down, in place of what was known by its key, as part of a transaction.
pub async fn write(transaction: &Transaction, tenant: TenantId, definition: &Definition) -> Result<(), StoreError> {
    let live = definition.live.as_ref().map(encode);
    let draft = definition.draft.as_ref().map(encode);
    let form = live.as_ref().or(draft.as_ref()).map_or(RULE, |(form, _)| *form);
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        name: Set(definition.key.to_string()),
        form: Set(form),
        description: Set(definition.description.clone()),
        created_at: Set(definition.created_at.micros()),
        revision: Set(definition.revision),
        version: Set(definition.version),
        live: Set(live.map(|(_, bytes)| bytes)),
        draft: Set(draft.map(|(_, bytes)| bytes)),
    };
    let replace = OnConflict::columns([entity::Column::TenantId, entity::Column::Name])
        .update_columns([
            entity::Column::Description,
            entity::Column::Revision,
            entity::Column::Version,
            entity::Column::Live,
            entity::Column::Draft,
        ])
        .to_owned();
    entity::Entity::insert(row).on_conflict(replace).exec_without_returning(transaction).await?;
    Ok(())
}

/// Writes down that a version was published, and forgets those that are no longer kept, as part of a transaction.
pub async fn publish(
    transaction: &Transaction,
    tenant: TenantId,
    key: &Key,
    published: &Published,
) -> Result<(), StoreError> {
    let (form, body) = encode(&published.body);
    let count = |customers: u64| i64::try_from(customers).unwrap_or(i64::MAX);
    let row = version::ActiveModel {
        tenant_id: Set(tenant.0),
        name: Set(key.to_string()),
        version: Set(published.version),
        form: Set(form),
        body: Set(body),
        published_at: Set(published.published_at.micros()),
        entered: Set(count(published.entered)),
        exited: Set(count(published.exited)),
        classes: Set(published.classes.as_i32()),
        moved_classes: Set(published.moved_classes.as_i32()),
    };
    version::Entity::insert(row).exec_without_returning(transaction).await?;
    version::Entity::delete_many()
        .filter(version::Column::TenantId.eq(tenant.0))
        .filter(version::Column::Name.eq(key.to_string()))
        .filter(version::Column::Version.lte(published.version - KEPT_VERSIONS))
        .exec(transaction)
        .await?;
    Ok(())
}

/// What was published of a definition, newest first.
pub async fn versions(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    key: &Key,
) -> Result<Vec<Published>, StoreError> {
    let rows = version::Entity::find()
        .filter(version::Column::TenantId.eq(tenant.0))
        .filter(version::Column::Name.eq(key.to_string()))
        .order_by_desc(version::Column::Version)
        .limit(KEPT_VERSIONS.unsigned_abs())
        .all(connection)
        .await?;
    let published = |row: version::Model| {
        Ok(Published {
            version: row.version,
            body: decode(row.form, row.body)?,
            published_at: Instant::from_micros(row.published_at),
            entered: row.entered.unsigned_abs(),
            exited: row.exited.unsigned_abs(),
            classes: Classes::from_i32(row.classes),
            moved_classes: Classes::from_i32(row.moved_classes),
        })
    };
    rows.into_iter().map(published).collect()
}

/// Deletes a definition with its versions, as part of a transaction.
pub async fn delete(transaction: &Transaction, tenant: TenantId, key: &Key) -> Result<(), StoreError> {
    entity::Entity::delete_by_id((tenant.0, key.to_string())).exec(transaction).await?;
    version::Entity::delete_many()
        .filter(version::Column::TenantId.eq(tenant.0))
        .filter(version::Column::Name.eq(key.to_string()))
        .exec(transaction)
        .await?;
    Ok(())
}
