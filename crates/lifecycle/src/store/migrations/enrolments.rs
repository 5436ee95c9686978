//! Who put customers into runs of playbooks, by hand.

use sea_orm_migration::prelude::*;

pub struct M0011Enrolments;

impl MigrationName for M0011Enrolments {
    fn name(&self) -> &'static str {
        "m0011_enrolments"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0011Enrolments {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Nullable: the version before, which may still run, writes none.
        let by_hand = "ALTER TABLE playbook_run ADD COLUMN enrolled_by TEXT";
        manager.get_connection().execute_unprepared(by_hand).await?;
        Ok(())
    }
}
