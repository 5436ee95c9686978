//! Which tasks came to a call or a meeting of which ingestion is to be told.

use sea_orm_migration::prelude::*;

pub struct M0012FollowUps;

impl MigrationName for M0012FollowUps {
    fn name(&self) -> &'static str {
        "m0012_follow_ups"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0012FollowUps {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        // Nullable: the version before, which may still run, writes none.
        connection.execute_unprepared("ALTER TABLE task ADD COLUMN to_tell INTEGER").await?;
        let of_those = "CREATE INDEX task_to_tell ON task (tenant_id, seq, place) WHERE to_tell = 1";
        connection.execute_unprepared(of_those).await?;
        Ok(())
    }
}
