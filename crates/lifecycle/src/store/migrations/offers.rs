//! The tables of offers, grants and loyalty tiers.

use sea_orm_migration::prelude::*;

/// Makes them, and the column of runs that says which steps were skipped.
pub struct M0009Offers;

impl MigrationName for M0009Offers {
    fn name(&self) -> &'static str {
        "m0009_offers"
    }
}

#[derive(DeriveIden)]
enum Offer {
    Table,
    TenantId,
    OfferId,
    Number,
    State,
    Granted,
    Body,
    CreatedAt,
    UpdatedAt,
    Revision,
}

#[derive(DeriveIden)]
enum OfferGrant {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    Offer,
    Step,
    State,
    ExpiresAt,
    CodeHash,
    Body,
}

#[derive(DeriveIden)]
enum LoyaltyTier {
    Table,
    TenantId,
    TierId,
    Number,
    Body,
    CreatedAt,
    UpdatedAt,
    Revision,
}

#[derive(DeriveIden)]
enum TierChange {
    Table,
    TenantId,
    CustomerId,
    Seq,
    Place,
    Tier,
    Body,
}

#[derive(DeriveIden)]
enum PlaybookRun {
    Table,
    Skipped,
}

#[async_trait::async_trait]
impl MigrationTrait for M0009Offers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [offers(), grants(), tiers(), tier_changes()] {
            manager.create_table(table).await?;
        }
        for index in [
            "CREATE INDEX offer_grant_made ON offer_grant (tenant_id, seq, place)",
            "CREATE INDEX offer_grant_offer ON offer_grant (tenant_id, offer, seq, place)",
            "CREATE INDEX offer_grant_code ON offer_grant (tenant_id, code_hash)",
        ] {
            manager.get_connection().execute_unprepared(index).await?;
        }
        // The version before writes none.
        let skipped = Table::alter()
            .table(PlaybookRun::Table)
            .add_column(ColumnDef::new(PlaybookRun::Skipped).binary())
            .to_owned();
        manager.alter_table(skipped).await
    }
}

fn offers() -> TableCreateStatement {
    Table::create()
        .table(Offer::Table)
        .col(ColumnDef::new(Offer::TenantId).integer().not_null())
        .col(ColumnDef::new(Offer::OfferId).text().not_null())
        .col(ColumnDef::new(Offer::Number).big_integer().not_null())
        .col(ColumnDef::new(Offer::State).integer().not_null())
        .col(ColumnDef::new(Offer::Granted).big_integer().not_null())
        .col(ColumnDef::new(Offer::Body).binary().not_null())
        .col(ColumnDef::new(Offer::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Offer::UpdatedAt).big_integer().not_null())
        .col(ColumnDef::new(Offer::Revision).big_integer().not_null())
        .primary_key(Index::create().col(Offer::TenantId).col(Offer::OfferId))
        .to_owned()
}

fn grants() -> TableCreateStatement {
    Table::create()
        .table(OfferGrant::Table)
        .col(ColumnDef::new(OfferGrant::TenantId).integer().not_null())
        .col(ColumnDef::new(OfferGrant::CustomerId).big_integer().not_null())
        .col(ColumnDef::new(OfferGrant::Seq).big_integer().not_null())
        .col(ColumnDef::new(OfferGrant::Place).big_integer().not_null())
        .col(ColumnDef::new(OfferGrant::Offer).big_integer().not_null())
        .col(ColumnDef::new(OfferGrant::Step).integer().not_null())
        .col(ColumnDef::new(OfferGrant::State).integer().not_null())
        .col(ColumnDef::new(OfferGrant::ExpiresAt).big_integer().not_null())
        .col(ColumnDef::new(OfferGrant::CodeHash).binary().not_null())
        .col(ColumnDef::new(OfferGrant::Body).binary().not_null())
        .primary_key(
            Index::create()
                .col(OfferGrant::TenantId)
                .col(OfferGrant::CustomerId)
                .col(OfferGrant::Seq)
                .col(OfferGrant::Place),
        )
        .to_owned()
}

fn tiers() -> TableCreateStatement {
    Table::create()
        .table(LoyaltyTier::Table)
        .col(ColumnDef::new(LoyaltyTier::TenantId).integer().not_null())
        .col(ColumnDef::new(LoyaltyTier::TierId).text().not_null())
        .col(ColumnDef::new(LoyaltyTier::Number).big_integer().not_null())
        .col(ColumnDef::new(LoyaltyTier::Body).binary().not_null())
        .col(ColumnDef::new(LoyaltyTier::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(LoyaltyTier::UpdatedAt).big_integer().not_null())
        .col(ColumnDef::new(LoyaltyTier::Revision).big_integer().not_null())
        .primary_key(Index::create().col(LoyaltyTier::TenantId).col(LoyaltyTier::TierId))
        .to_owned()
}

fn tier_changes() -> TableCreateStatement {
    Table::create()
        .table(TierChange::Table)
        .col(ColumnDef::new(TierChange::TenantId).integer().not_null())
        .col(ColumnDef::new(TierChange::CustomerId).big_integer().not_null())
        .col(ColumnDef::new(TierChange::Seq).big_integer().not_null())
        .col(ColumnDef::new(TierChange::Place).big_integer().not_null())
        .col(ColumnDef::new(TierChange::Tier).big_integer().not_null())
        .col(ColumnDef::new(TierChange::Body).binary().not_null())
        .primary_key(
            Index::create()
                .col(TierChange::TenantId)
                .col(TierChange::CustomerId)
                .col(TierChange::Seq)
                .col(TierChange::Place),
        )
        .to_owned()
}
