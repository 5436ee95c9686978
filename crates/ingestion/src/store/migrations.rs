//! The migrations of ingestion, in order. Each names its tables itself: entities change, migrations do not.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;

mod contacts;
mod facts;
mod merges;
mod referrals;
mod requests;
mod responses;
mod retention;
mod traits;
mod writing;

/// All migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(M0001Chain),
            Box::new(M0002Customers),
            Box::new(M0003Facts),
            Box::new(M0004Privacy),
            Box::new(M0005Attributes),
            Box::new(facts::M0006AllFacts),
            Box::new(merges::M0007Merges),
            Box::new(traits::M0008Traits),
            Box::new(retention::M0009Retention),
            Box::new(writing::M0010WritingFacts),
            Box::new(writing::M0011WritingIdentities),
            Box::new(writing::M0012Bulk),
            Box::new(responses::M0013ResponseTargets),
            Box::new(requests::M0014FindingRequests),
            Box::new(contacts::M0015FindingContacts),
            Box::new(referrals::M0016Referrals),
            Box::new(writing::M0017Traces),
        ]
    }
}

struct M0001Chain;

impl MigrationName for M0001Chain {
    fn name(&self) -> &'static str {
        "m0001_chain"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001Chain {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        quintile_store::migration::create_chain_tables(manager).await?;
        quintile_store::migration::create_request_table(manager).await
    }
}

#[derive(DeriveIden)]
enum Id {
    TenantId,
    CustomerId,
    SubjectId,
    Counter,
    LastId,
    Customer,
    Attributes,
    SealedPerson,
    CreatedAt,
    UpdatedAt,
    Revision,
    RestrictedAt,
    ErasedAt,
    CustomerKey,
    ConsentEvent,
    Purpose,
    State,
    SealedSource,
    Erasure,
    ErasureId,
    RequestedAt,
    CompletedAt,
    Receipts,
    Identity,
    IdentityHmac,
    Subject,
    Contact,
    WrappedKey,
    ContactHmac,
    OrderFact,
    Source,
    EventId,
    BodyHash,
    OccurredAt,
    Channel,
    AmountMinor,
    Lines,
    IngestStream,
    StreamId,
    NextOffset,
    FactsPosition,
    Reject,
    RejectId,
    BatchOffset,
    RowIndex,
    Reason,
    Field,
    Message,
    SealedRow,
    RecordedAt,
    Name,
    Attribute,
    AttributeId,
    Sensitivity,
    Description,
    Currency,
    ProfitMinor,
    RefundFact,
    OrderEventId,
    InteractionFact,
    Kind,
    About,
    CaseState,
    SealedText,
    FeedbackFact,
    Score,
    AcquisitionSpend,
    StartDay,
    EndDay,
    Campaign,
    ExchangeRate,
    Day,
    RateNanos,
    ForeignFact,
    SaidAt,
    MergedInto,
    HomeId,
    CustomerMerge,
    IdentityConflict,
    LeftId,
    RightId,
    Cause,
    DecidedAt,
    TraitDefinition,
    TraitId,
    Fact,
    Aggregate,
    Value,
    Filter,
    WindowDays,
    Complete,
    Retention,
    OrderDays,
    InteractionDays,
    FeedbackDays,
    OrderHorizon,
    InteractionHorizon,
    FeedbackHorizon,
    NextSubject,
    OpeningBalance,
    Body,
    ResponseTarget,
    ComplaintHours,
    SupportTicketHours,
    LowScoreHours,
    CommentHours,
    Referral,
    ReferrerHmac,
    IsShown,
}

fn integer(id: Id) -> ColumnDef {
    ColumnDef::new(id).integer().not_null().take()
}

fn big_integer(id: Id) -> ColumnDef {
    ColumnDef::new(id).big_integer().not_null().take()
}

fn text(id: Id) -> ColumnDef {
    ColumnDef::new(id).text().not_null().take()
}

fn binary(id: Id) -> ColumnDef {
    ColumnDef::new(id).binary().not_null().take()
}

/// A table whose rows are kept in the order of their key, where the database can: most reads are of one customer's rows.
fn keyed_table(manager: &SchemaManager<'_>, table: Id, columns: Vec<ColumnDef>, key: Vec<Id>) -> TableCreateStatement {
    let mut create = Table::create();
    create.table(table);
    for mut column in columns {
        create.col(&mut column);
    }
    let mut primary_key = Index::create();
    for column in key {
        primary_key.col(column);
    }
    create.primary_key(&mut primary_key);
    if manager.get_database_backend() == DbBackend::Sqlite {
        create.extra("WITHOUT ROWID");
    }
    create
}

struct M0002Customers;

impl MigrationName for M0002Customers {
    fn name(&self) -> &'static str {
        "m0002_customers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0002Customers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use Id::{
            Attributes, Contact, ContactHmac, Counter, CreatedAt, Customer, CustomerId, CustomerKey, ErasedAt,
            Identity, IdentityHmac, LastId, Name, RestrictedAt, Revision, SealedPerson, Subject, SubjectId, TenantId,
            UpdatedAt, WrappedKey,
        };
        let columns = vec![integer(TenantId), text(Name), big_integer(LastId)];
        manager.create_table(keyed_table(manager, Counter, columns, vec![TenantId, Name])).await?;
        let columns = vec![
            integer(TenantId),
            big_integer(CustomerId),
            binary(Attributes),
            binary(SealedPerson),
            big_integer(CreatedAt),
            big_integer(UpdatedAt),
            big_integer(Revision),
            ColumnDef::new(RestrictedAt).big_integer().null().take(),
            ColumnDef::new(ErasedAt).big_integer().null().take(),
        ];
        manager.create_table(keyed_table(manager, Customer, columns, vec![TenantId, CustomerId])).await?;
        let columns = vec![integer(TenantId), big_integer(CustomerId), binary(WrappedKey)];
        manager.create_table(keyed_table(manager, CustomerKey, columns, vec![TenantId, CustomerId])).await?;
        let columns = vec![integer(TenantId), binary(IdentityHmac), big_integer(SubjectId)];
        manager.create_table(keyed_table(manager, Identity, columns, vec![TenantId, IdentityHmac])).await?;
        let columns = vec![integer(TenantId), big_integer(SubjectId), big_integer(CustomerId)];
        manager.create_table(keyed_table(manager, Subject, columns, vec![TenantId, SubjectId])).await?;
        let index = Index::create().name("subject_customer").table(Subject).col(TenantId).col(CustomerId).to_owned();
        manager.create_index(index).await?;
        let columns = vec![integer(TenantId), binary(ContactHmac), big_integer(CustomerId)];
        manager.create_table(keyed_table(manager, Contact, columns, vec![TenantId, ContactHmac, CustomerId])).await
    }
}

struct M0003Facts;

impl MigrationName for M0003Facts {
    fn name(&self) -> &'static str {
        "m0003_facts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0003Facts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use Id::{
            AmountMinor, BatchOffset, BodyHash, Channel, EventId, FactsPosition, Field, IngestStream, Lines, Message,
            NextOffset, OccurredAt, OrderFact, Reason, RecordedAt, Reject, RejectId, RowIndex, SealedRow, Source,
            StreamId, SubjectId, TenantId,
        };
        let columns = vec![
            integer(TenantId),
            big_integer(SubjectId),
            text(Source),
            text(EventId),
            binary(BodyHash),
            big_integer(OccurredAt),
            text(Channel),
            big_integer(AmountMinor),
            binary(Lines),
        ];
        let key = vec![TenantId, SubjectId, Source, EventId];
        manager.create_table(keyed_table(manager, OrderFact, columns, key)).await?;
        let columns = vec![integer(TenantId), text(StreamId), big_integer(NextOffset), big_integer(FactsPosition)];
        manager.create_table(keyed_table(manager, IngestStream, columns, vec![TenantId, StreamId])).await?;
        let columns = vec![
            integer(TenantId),
            big_integer(RejectId),
            text(StreamId),
            big_integer(BatchOffset),
            integer(RowIndex),
            integer(Reason),
            text(Field),
            text(Message),
            binary(SealedRow),
            big_integer(RecordedAt),
        ];
        manager.create_table(keyed_table(manager, Reject, columns, vec![TenantId, RejectId])).await
    }
}

struct M0004Privacy;

impl MigrationName for M0004Privacy {
    fn name(&self) -> &'static str {
        "m0004_privacy"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0004Privacy {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use Id::{
            CompletedAt, ConsentEvent, CustomerId, Erasure, ErasureId, EventId, FactsPosition, OccurredAt, Purpose,
            Receipts, RecordedAt, RequestedAt, SealedSource, State, SubjectId, TenantId,
        };
        let columns = vec![
            integer(TenantId),
            big_integer(SubjectId),
            big_integer(EventId),
            integer(Purpose),
            integer(State),
            big_integer(OccurredAt),
            big_integer(RecordedAt),
            binary(SealedSource),
        ];
        let key = vec![TenantId, SubjectId, EventId];
        manager.create_table(keyed_table(manager, ConsentEvent, columns, key)).await?;
        let columns = vec![
            integer(TenantId),
            big_integer(ErasureId),
            big_integer(CustomerId),
            big_integer(RequestedAt),
            big_integer(FactsPosition),
            ColumnDef::new(CompletedAt).big_integer().null().take(),
            binary(Receipts),
        ];
        manager.create_table(keyed_table(manager, Erasure, columns, vec![TenantId, ErasureId])).await
    }
}

struct M0005Attributes;

impl MigrationName for M0005Attributes {
    fn name(&self) -> &'static str {
        "m0005_attributes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0005Attributes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use Id::{Attribute, AttributeId, CreatedAt, Description, Sensitivity, TenantId};
        let columns =
            vec![integer(TenantId), text(AttributeId), integer(Sensitivity), text(Description), big_integer(CreatedAt)];
        manager.create_table(keyed_table(manager, Attribute, columns, vec![TenantId, AttributeId])).await
    }
}
