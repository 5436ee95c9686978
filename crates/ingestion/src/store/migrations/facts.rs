//! The tables of refunds, interactions, feedback, spend and exchange rates, and orders in other currencies.

use super::Id::{
    About, AcquisitionSpend, AmountMinor, BodyHash, Campaign, CaseState, Channel, Currency, Day, EndDay, EventId,
    ExchangeRate, FeedbackFact, ForeignFact, InteractionFact, Kind, OccurredAt, OrderEventId, OrderFact, ProfitMinor,
    RateNanos, RefundFact, Score, SealedText, Source, StartDay, SubjectId, TenantId,
};
use super::{Id, big_integer, binary, integer, keyed_table, text};
use sea_orm_migration::prelude::*;

pub struct M0006AllFacts;

impl MigrationName for M0006AllFacts {
    fn name(&self) -> &'static str {
        "m0006_all_facts"
    }
}

/// The columns and the key of a fact of a customer, and what only its kind has.
fn events(manager: &SchemaManager<'_>, table: Id, own: Vec<ColumnDef>) -> TableCreateStatement {
    let mut columns = vec![
        integer(TenantId),
        big_integer(SubjectId),
        text(Source),
        text(EventId),
        binary(BodyHash),
        big_integer(OccurredAt),
    ];
    columns.extend(own);
    keyed_table(manager, table, columns, vec![TenantId, SubjectId, Source, EventId])
}

#[async_trait::async_trait]
impl MigrationTrait for M0006AllFacts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Orders from before are in the base currency, which is 0. One column at a time: SQLite adds no two at once.
        for column in [integer(Currency).default(0).take(), ColumnDef::new(ProfitMinor).big_integer().null().take()] {
            let add = Table::alter().table(OrderFact).add_column(column).to_owned();
            manager.alter_table(add).await?;
        }
        let own = vec![big_integer(AmountMinor), integer(Currency), text(OrderEventId)];
        manager.create_table(events(manager, RefundFact, own)).await?;
        let own = vec![integer(Kind), text(Channel), text(About), integer(CaseState), binary(SealedText)];
        manager.create_table(events(manager, InteractionFact, own)).await?;
        let score = ColumnDef::new(Score).big_integer().null().take();
        let own = vec![integer(Kind), score, text(Channel), text(About), binary(SealedText)];
        manager.create_table(events(manager, FeedbackFact, own)).await?;
        let columns = vec![
            integer(TenantId),
            text(Source),
            text(EventId),
            binary(BodyHash),
            integer(StartDay),
            integer(EndDay),
            text(Channel),
            text(Campaign),
            big_integer(AmountMinor),
            integer(Currency),
        ];
        manager.create_table(keyed_table(manager, AcquisitionSpend, columns, vec![TenantId, Source, EventId])).await?;
        let columns = vec![integer(TenantId), integer(Currency), integer(Day), big_integer(RateNanos)];
        manager.create_table(keyed_table(manager, ExchangeRate, columns, vec![TenantId, Currency, Day])).await?;
        let columns = vec![
            integer(TenantId),
            integer(Currency),
            big_integer(OccurredAt),
            big_integer(SubjectId),
            integer(Kind),
            text(Source),
            text(EventId),
        ];
        let key = vec![TenantId, Currency, OccurredAt, SubjectId, Kind, Source, EventId];
        manager.create_table(keyed_table(manager, ForeignFact, columns, key)).await
    }
}
