//! The generation of the master keys, which is part of the snapshot, and what instances report of theirs.

use super::Store;
use super::entities::{key_generation, key_state};
use quintile_domain::time::Instant;
use quintile_proto::access::KeyState;
use quintile_rpc::convert;
use quintile_store::Result;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};

/// The one row of the generation.
const GENERATION: i32 = 1;
/// The most instances whose reports are kept.
const MAX_STATES: u64 = 1_000;
/// After which time without a report an instance is forgotten.
const FORGOTTEN_AFTER_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// After which time without a report an instance is taken to have ended: past the time at which a service that is cut off closes.
const SILENT_AFTER_MICROS: i64 = 90 * 1_000_000;

impl Store {
    /// The generation of the master keys.
    pub async fn key_generation(&self) -> Result<i64> {
        let row = key_generation::Entity::find_by_id(GENERATION).one(self.database.reader()).await?;
        Ok(row.map_or(0, |row| row.generation))
    }

    /// Begins another generation, and returns it.
    pub async fn next_key_generation(&self) -> Result<i64> {
        let transaction = self.begin_change().await?;
        key_generation::Entity::update_many()
            .col_expr(key_generation::Column::Generation, Expr::col(key_generation::Column::Generation).add(1))
            .filter(key_generation::Column::Id.eq(GENERATION))
            .exec(&transaction)
            .await?;
        let row = key_generation::Entity::find_by_id(GENERATION).one(&transaction).await?;
        transaction.commit().await?;
        Ok(row.map_or(0, |row| row.generation))
    }

    /// Keeps an instance's report, and forgets those that are too old. Returns whether there was room for it.
    pub async fn report_key_state(&self, state: &KeyState, machine_now: Instant) -> Result<bool> {
        let transaction = self.database.begin().await?;
        key_state::Entity::delete_many()
            .filter(key_state::Column::ReportedAt.lt(machine_now.micros() - FORGOTTEN_AFTER_MICROS))
            .exec(&transaction)
            .await?;
        let key = (state.service.clone(), state.instance.clone());
        let known = key_state::Entity::find_by_id(key).one(&transaction).await?.is_some();
        if !known && key_state::Entity::find().count(&transaction).await? >= MAX_STATES {
            transaction.commit().await?;
            return Ok(false);
        }
        let row = key_state::ActiveModel {
            service: Set(state.service.clone()),
            instance: Set(state.instance.clone()),
            generation: Set(state.generation),
            key_id: Set(state.key_id.clone()),
            rows_rewrapped: Set(state.rows_rewrapped),
            rows_left: Set(state.rows_left),
            reported_at: Set(machine_now.micros()),
        };
        let replace = OnConflict::columns([key_state::Column::Service, key_state::Column::Instance])
            .update_columns([
                key_state::Column::Generation,
                key_state::Column::KeyId,
                key_state::Column::RowsRewrapped,
                key_state::Column::RowsLeft,
                key_state::Column::ReportedAt,
            ])
            .to_owned();
        key_state::Entity::insert(row).on_conflict(replace).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The reports of the instances that are not forgotten.
    pub async fn key_states(&self, machine_now: Instant) -> Result<Vec<KeyState>> {
        let rows = key_state::Entity::find()
            .filter(key_state::Column::ReportedAt.gte(machine_now.micros() - FORGOTTEN_AFTER_MICROS))
            .order_by_asc(key_state::Column::Service)
            .order_by_asc(key_state::Column::Instance)
            .all(self.database.reader())
            .await?;
        Ok(rows.into_iter().map(|row| key_state_message(row, machine_now)).collect())
    }
}

fn key_state_message(row: key_state::Model, machine_now: Instant) -> KeyState {
    KeyState {
        service: row.service,
        instance: row.instance,
        generation: row.generation,
        key_id: row.key_id,
        rows_rewrapped: row.rows_rewrapped,
        rows_left: row.rows_left,
        report_time: Some(convert::timestamp(Instant::from_micros(row.reported_at))),
        silent: row.reported_at < machine_now.micros() - SILENT_AFTER_MICROS,
    }
}
