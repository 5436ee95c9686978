//! Playbooks as they are defined, and where each stands.

use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{Playbook, PlaybookState};
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
};

/// The feed whose positions number the changes of a tenant's playbooks. It holds nothing: its head is what two that change them wait for.
const REVISIONS: &str = "playbooks";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "playbook")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub playbook_id: String,
        pub number: i64,
        pub state: i32,
        pub version: i64,
        pub body: Vec<u8>,
        pub ran: Vec<u8>,
        pub created_at: i64,
        pub started_at: Option<i64>,
        pub stopped_at: Option<i64>,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A playbook.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// By which its runs name it: never another's, also where the id is given again.
    pub number: i64,
    /// What it is, and where it stands.
    pub playbook: Playbook,
    /// What it was when it was started last. Empty: never.
    pub ran: Vec<u8>,
    /// Which change of the tenant's playbooks changed it last.
    pub revision: i64,
}

impl Stored {
    /// A new one.
    pub fn draft(id: &str, number: i64, content: Playbook, now: Instant) -> Self {
        let playbook = Playbook {
            name: format!("playbooks/{id}"),
            state: PlaybookState::Draft.into(),
            create_time: Some(convert::timestamp(now)),
            ..content_of(content)
        };
        Self { number, playbook, ran: Vec::new(), revision: number }
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The playbook as callers see it.
    pub fn message(&self) -> Playbook {
        Playbook { etag: self.etag(), ..self.playbook.clone() }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.playbook.state() == PlaybookState::Running
    }

    /// Makes something else of it.
    pub fn replace(&mut self, content: Playbook) {
        let Playbook { name, state, version, create_time, start_time, stop_time, .. } = self.playbook.clone();
        self.playbook = Playbook { name, state, version, create_time, start_time, stop_time, ..content_of(content) };
    }

    /// Starts it: as another version where it was changed since it ran last.
    pub fn start(&mut self, at: Instant) {
        let body = content_of(self.playbook.clone()).encode_to_vec();
        if self.ran != body {
            self.playbook.version += 1;
            self.ran = body;
        }
        self.playbook.state = PlaybookState::Running.into();
        self.playbook.start_time = Some(convert::timestamp(at));
    }

    /// Stops it.
    pub fn stop(&mut self, at: Instant) {
        self.playbook.state = PlaybookState::Stopped.into();
        self.playbook.stop_time = Some(convert::timestamp(at));
    }

    fn id(&self) -> &str {
        self.playbook.name.trim_start_matches("playbooks/")
    }
}

/// A playbook without what only the service says of it.
fn content_of(playbook: Playbook) -> Playbook {
    Playbook {
        name: String::new(),
        state: 0,
        version: 0,
        create_time: None,
        start_time: None,
        stop_time: None,
        etag: String::new(),
        ..playbook
    }
}

/// Takes the right to change a tenant's playbooks, to the end of the transaction: the number of the change.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, REVISIONS).await
}

/// The number of the last change.
pub async fn revision(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    feed::head(connection, tenant, REVISIONS).await
}

/// A playbook.
pub async fn get(connection: &impl ConnectionTrait, tenant: TenantId, id: &str) -> Result<Option<Stored>, StoreError> {
    let row = entity::Entity::find_by_id((tenant.0, id.to_owned())).one(connection).await?;
    row.as_ref().map(from_row).transpose()
}

/// Up to `limit` playbooks behind an id, by id.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    behind: &str,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = of(tenant).filter(entity::Column::PlaybookId.gt(behind)).limit(limit).all(connection).await?;
    rows.iter().map(from_row).collect()
}

/// All playbooks.
pub async fn all(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Stored>, StoreError> {
    let rows = of(tenant).all(connection).await?;
    rows.iter().map(from_row).collect()
}

/// Those that run.
pub async fn running(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Stored>, StoreError> {
    let running = of(tenant).filter(entity::Column::State.eq(PlaybookState::Running as i32));
    let rows = running.all(connection).await?;
    rows.iter().map(from_row).collect()
}

/// How many there are.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<u64, StoreError> {
    Ok(of(tenant).count(connection).await?)
}

/// Writes a playbook, in the place of what is there under its id.
pub async fn write(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    let micros = |time| convert::sent_instant(time).map(Instant::micros);
    let playbook = &stored.playbook;
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        playbook_id: Set(stored.id().to_owned()),
        number: Set(stored.number),
        state: Set(playbook.state),
        version: Set(playbook.version),
        body: Set(content_of(playbook.clone()).encode_to_vec()),
        ran: Set(stored.ran.clone()),
        created_at: Set(micros(playbook.create_time.as_ref()).unwrap_or_default()),
        started_at: Set(micros(playbook.start_time.as_ref())),
        stopped_at: Set(micros(playbook.stop_time.as_ref())),
        revision: Set(stored.revision),
    };
    let replaced = [
        entity::Column::State,
        entity::Column::Version,
        entity::Column::Body,
        entity::Column::Ran,
        entity::Column::StartedAt,
        entity::Column::StoppedAt,
        entity::Column::Revision,
    ];
    let key = [entity::Column::TenantId, entity::Column::PlaybookId];
    let on_conflict = OnConflict::columns(key).update_columns(replaced).to_owned();
    entity::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(())
}

/// Deletes a playbook.
pub async fn delete(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    entity::Entity::delete_by_id((tenant.0, stored.id().to_owned())).exec(transaction).await?;
    Ok(())
}

fn of(tenant: TenantId) -> Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0)).order_by_asc(entity::Column::PlaybookId)
}

fn from_row(row: &entity::Model) -> Result<Stored, StoreError> {
    let content =
        Playbook::decode(row.body.as_slice()).map_err(|_| StoreError::Sealed("a stored playbook is malformed"))?;
    let time = |micros: Option<i64>| micros.map(|micros| convert::timestamp(Instant::from_micros(micros)));
    Ok(Stored {
        number: row.number,
        playbook: Playbook {
            name: format!("playbooks/{}", row.playbook_id),
            state: row.state,
            version: row.version,
            create_time: time(Some(row.created_at)),
            start_time: time(row.started_at),
            stop_time: time(row.stopped_at),
            ..content
        },
        ran: row.ran.clone(),
        revision: row.revision,
    })
}
