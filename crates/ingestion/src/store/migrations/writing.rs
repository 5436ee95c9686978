//! How PostgreSQL writes facts and identities.

use quintile_store::bulk::{Kind, optimistic_function};
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub struct M0010WritingFacts;

impl MigrationName for M0010WritingFacts {
    fn name(&self) -> &'static str {
        "m0010_writing_facts"
    }
}

type Columns = &'static [(&'static str, Kind)];

/// The columns of a fact of every kind.
const EVENT: Columns = &[
    ("tenant_id", Kind::Int),
    ("subject_id", Kind::BigInt),
    ("source", Kind::Text),
    ("event_id", Kind::Text),
    ("body_hash", Kind::Bytes),
    ("occurred_at", Kind::BigInt),
];

/// A function, its table, and the columns that only this kind has.
const FUNCTIONS: [(&str, &str, Columns); 4] = [
    (
        "take_order_facts",
        "order_fact",
        &[
            ("channel", Kind::Text),
            ("amount_minor", Kind::BigInt),
            ("lines", Kind::Bytes),
            ("currency", Kind::Int),
            ("profit_minor", Kind::NullableBigInt),
        ],
    ),
    (
        "take_refund_facts",
        "refund_fact",
        &[("amount_minor", Kind::BigInt), ("currency", Kind::Int), ("order_event_id", Kind::Text)],
    ),
    (
        "take_interaction_facts",
        "interaction_fact",
        &[
            ("kind", Kind::Int),
            ("channel", Kind::Text),
            ("about", Kind::Text),
            ("case_state", Kind::Int),
            ("sealed_text", Kind::Bytes),
        ],
    ),
    (
        "take_feedback_facts",
        "feedback_fact",
        &[
            ("kind", Kind::Int),
            ("score", Kind::NullableBigInt),
            ("channel", Kind::Text),
            ("about", Kind::Text),
            ("sealed_text", Kind::Bytes),
        ],
    ),
];

#[async_trait::async_trait]
impl MigrationTrait for M0010WritingFacts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        for (function, table, own) in FUNCTIONS {
            let columns = [EVENT, own].concat();
            manager.get_connection().execute_unprepared(&optimistic_function(function, table, &columns)).await?;
        }
        Ok(())
    }
}

pub struct M0011WritingIdentities;

impl MigrationName for M0011WritingIdentities {
    fn name(&self) -> &'static str {
        "m0011_writing_identities"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0011WritingIdentities {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let columns = [("tenant_id", Kind::Int), ("identity_hmac", Kind::Bytes), ("subject_id", Kind::BigInt)];
        let function = optimistic_function("take_identities", "identity", &columns);
        manager.get_connection().execute_unprepared(&function).await.map(drop)
    }
}

pub struct M0012Bulk;

impl MigrationName for M0012Bulk {
    fn name(&self) -> &'static str {
        "m0012_bulk"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0012Bulk {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::tell_bulk_from_live(manager).await
    }
}

pub struct M0017Traces;

impl MigrationName for M0017Traces {
    fn name(&self) -> &'static str {
        "m0017_traces"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0017Traces {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::keep_traces(manager).await
    }
}
