//! The versions of stage policies. What was published never changes.
//!
//! Version 1 is there without a row: nobody has made it. It is in force until another one is.

use crate::stages::{Stage, StagePolicy, StageRule};
use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{StageParameters, StagePolicyState, StagePolicyVersion, StageRule as StageRuleMessage};
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
};
use std::sync::Arc;

/// The feed whose positions number the changes of a tenant's policy. It holds nothing: its head is what two that change it wait for.
const REVISIONS: &str = "stage_policies";
/// The state of a version that is no more: its number is not given again.
const DELETED: i32 = StagePolicyState::Unspecified as i32;
/// The name of the policy.
pub const POLICY: &str = "stagePolicies/default";

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "stage_policy")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i64,
        pub state: i32,
        pub body: Vec<u8>,
        pub created_at: i64,
        pub published_at: Option<i64>,
        pub retired_at: Option<i64>,
        pub in_force_from: Option<i64>,
        pub revision: i64,
        pub changed: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What it defines, its number included.
    pub policy: StagePolicy,
    /// Where it stands.
    pub state: StagePolicyState,
    /// What it is for.
    pub description: String,
    /// When it was made. Machine time. `None`: it was there from the start.
    pub created_at: Option<Instant>,
    /// When it was published. Machine time.
    pub published_at: Option<Instant>,
    /// When it was replaced. Machine time.
    pub retired_at: Option<Instant>,
    /// From when it has decided. Business time.
    pub in_force_from: Option<Instant>,
    /// Which change of the tenant's policy changed it last.
    pub revision: i64,
    /// Customers whom its restaging has changed.
    pub changed: i64,
}

impl Version {
    /// The one that is there from the start.
    fn first(state: StagePolicyState) -> Self {
        Self {
            policy: StagePolicy::default(),
            state,
            description: String::new(),
            created_at: None,
            published_at: None,
            retired_at: None,
            in_force_from: None,
            revision: 0,
            changed: 0,
        }
    }

    /// The resource name.
    pub fn name(&self) -> String {
        version_name(self.policy.version)
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The version as callers see it.
    pub fn message(&self) -> StagePolicyVersion {
        StagePolicyVersion {
            name: self.name(),
            state: self.state.into(),
            description: self.description.clone(),
            parameters: Some(parameters(&self.policy)),
            create_time: self.created_at.map(convert::timestamp),
            publish_time: self.published_at.map(convert::timestamp),
            retire_time: self.retired_at.map(convert::timestamp),
            etag: self.etag(),
            rules: self.policy.rules.iter().map(rule_message).collect(),
        }
    }
}

fn rule_message(rule: &StageRule) -> StageRuleMessage {
    StageRuleMessage { stage: rule.stage() as i32, condition: rule.condition().to_owned() }
}

/// The resource name of a version.
pub fn version_name(number: i64) -> String {
    format!("{POLICY}/versions/{number}")
}

/// The parameters of a policy.
fn parameters(policy: &StagePolicy) -> StageParameters {
    // Counts are within a million, so each is a number of the message.
    let count = |count: i64| i32::try_from(count).ok();
    StageParameters {
        population_p80_days: Some(policy.population_p80_days),
        new_days: Some(policy.new_days),
        new_orders: count(policy.new_orders),
        loyal_orders: count(policy.loyal_orders),
        dormant_factor: Some(policy.dormant_factor),
        churned_factor: Some(policy.churned_factor),
        reactivated_days: Some(policy.reactivated_days),
        decline_min_count: count(policy.decline_min_count),
        risk_warning_percent: Some(policy.risk_warning_percent),
        churned_below_alive_percent: Some(policy.churned_below_alive_percent),
        dormant_below_alive_percent: Some(policy.dormant_below_alive_percent),
        at_risk_below_alive_percent: Some(policy.at_risk_below_alive_percent),
    }
}

/// A policy of parameters, of which those that are unset are another's, and of rules.
pub fn policy_of(
    parameters: &StageParameters,
    rules: Arc<[StageRule]>,
    otherwise: &StagePolicy,
    version: i64,
) -> StagePolicy {
    let count = |count: Option<i32>, otherwise: i64| count.map_or(otherwise, i64::from);
    StagePolicy {
        version,
        population_p80_days: parameters.population_p80_days.unwrap_or(otherwise.population_p80_days),
        new_days: parameters.new_days.unwrap_or(otherwise.new_days),
        new_orders: count(parameters.new_orders, otherwise.new_orders),
        loyal_orders: count(parameters.loyal_orders, otherwise.loyal_orders),
        churned_factor: parameters.churned_factor.unwrap_or(otherwise.churned_factor),
        dormant_factor: parameters.dormant_factor.unwrap_or(otherwise.dormant_factor),
        reactivated_days: parameters.reactivated_days.unwrap_or(otherwise.reactivated_days),
        decline_min_count: count(parameters.decline_min_count, otherwise.decline_min_count),
        risk_warning_percent: parameters.risk_warning_percent.unwrap_or(otherwise.risk_warning_percent),
        churned_below_alive_percent: parameters
            .churned_below_alive_percent
            .unwrap_or(otherwise.churned_below_alive_percent),
        dormant_below_alive_percent: parameters
            .dormant_below_alive_percent
            .unwrap_or(otherwise.dormant_below_alive_percent),
        at_risk_below_alive_percent: parameters
            .at_risk_below_alive_percent
            .unwrap_or(otherwise.at_risk_below_alive_percent),
        rules,
    }
}

/// Takes the right to change a tenant's policy, to the end of the transaction: the number of the change.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, REVISIONS).await
}

/// The number of the last change.
pub async fn revision(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    feed::head(connection, tenant, REVISIONS).await
}

/// The version in force.
pub async fn published(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Version, StoreError> {
    let published = of(tenant).filter(entity::Column::State.eq(StagePolicyState::Published as i32));
    let row = published.one(connection).await?;
    row.as_ref().map_or_else(|| Ok(Version::first(StagePolicyState::Published)), from_row)
}

/// The highest number that a version was given.
pub async fn latest(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    let newest = of(tenant).order_by_desc(entity::Column::Version).one(connection).await?;
    Ok(newest.map_or(1, |row| row.version))
}

/// One version.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    number: i64,
) -> Result<Option<Version>, StoreError> {
    if number == 1 {
        return first(connection, tenant).await.map(Some);
    }
    let row = entity::Entity::find_by_id((tenant.0, number)).one(connection).await?;
    row.as_ref().filter(|row| row.state != DELETED).map(from_row).transpose()
}

/// The version that is there from the start.
async fn first(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Version, StoreError> {
    let in_force = published(connection, tenant).await?;
    if in_force.policy.version == 1 {
        return Ok(in_force);
    }
    let published = of(tenant).filter(entity::Column::PublishedAt.is_not_null());
    let replaced = published.order_by_asc(entity::Column::PublishedAt).one(connection).await?;
    let retired_at = replaced.and_then(|row| row.published_at).map(Instant::from_micros);
    // It has no row to remember by which change: when it was is as good.
    let revision = retired_at.map_or(0, Instant::micros);
    Ok(Version { retired_at, revision, ..Version::first(StagePolicyState::Retired) })
}

/// Up to `limit` versions before `before`, the newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    before: i64,
    limit: u64,
) -> Result<Vec<Version>, StoreError> {
    let versions = of(tenant)
        .filter(entity::Column::Version.lt(before))
        .filter(entity::Column::State.ne(DELETED))
        .order_by_desc(entity::Column::Version)
        .limit(limit);
    let rows = versions.all(connection).await?;
    let mut read = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    if (read.len() as u64) < limit && before > 1 {
        read.push(first(connection, tenant).await?);
    }
    Ok(read)
}

/// How many versions there are.
pub async fn count(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<u64, StoreError> {
    Ok(1 + of(tenant).filter(entity::Column::State.ne(DELETED)).count(connection).await?)
}

/// Writes a version, in the place of what is there under its number. The first has no row, and needs none.
pub async fn write(transaction: &Transaction, tenant: TenantId, version: &Version) -> Result<(), StoreError> {
    let Some(created_at) = version.created_at else { return Ok(()) };
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        version: Set(version.policy.version),
        state: Set(version.state.into()),
        body: Set(version.message().encode_to_vec()),
        created_at: Set(created_at.micros()),
        published_at: Set(version.published_at.map(Instant::micros)),
        retired_at: Set(version.retired_at.map(Instant::micros)),
        in_force_from: Set(version.in_force_from.map(Instant::micros)),
        revision: Set(version.revision),
        changed: Set(version.changed),
    };
    let replaced = [
        entity::Column::State,
        entity::Column::Body,
        entity::Column::PublishedAt,
        entity::Column::RetiredAt,
        entity::Column::InForceFrom,
        entity::Column::Revision,
    ];
    let key = [entity::Column::TenantId, entity::Column::Version];
    let on_conflict = OnConflict::columns(key).update_columns(replaced).to_owned();
    entity::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(transaction).await?;
    Ok(())
}

/// Counts customers whom a version's restaging has changed, anew where it begins.
pub async fn add_changed(
    transaction: &Transaction,
    tenant: TenantId,
    number: i64,
    customers: i64,
    begins: bool,
) -> Result<i64, StoreError> {
    let counted = if begins { Expr::value(customers) } else { Expr::col(entity::Column::Changed).add(customers) };
    entity::Entity::update_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Version.eq(number))
        .col_expr(entity::Column::Changed, counted)
        .exec(transaction)
        .await?;
    Ok(get(transaction, tenant, number).await?.map_or(0, |version| version.changed))
}

/// Deletes a version. What is left of it keeps its number from being given again.
pub async fn delete(transaction: &Transaction, tenant: TenantId, number: i64) -> Result<(), StoreError> {
    // One number is enough to know which were given.
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::State.eq(DELETED))
        .filter(entity::Column::Version.lt(number))
        .exec(transaction)
        .await?;
    entity::Entity::update_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Version.eq(number))
        .col_expr(entity::Column::State, Expr::value(DELETED))
        .col_expr(entity::Column::Body, Expr::value(Vec::<u8>::new()))
        .exec(transaction)
        .await?;
    Ok(())
}

fn of(tenant: TenantId) -> Select<entity::Entity> {
    entity::Entity::find().filter(entity::Column::TenantId.eq(tenant.0))
}

fn from_row(row: &entity::Model) -> Result<Version, StoreError> {
    let malformed = || StoreError::Sealed("a stored stage policy is malformed");
    let body = StagePolicyVersion::decode(row.body.as_slice()).map_err(|_| malformed())?;
    let parameters = body.parameters.ok_or_else(malformed)?;
    // It was read when it was written, and no field of the language goes.
    let rule = |said: &StageRuleMessage| {
        let stage = Stage::from_number(said.stage)?;
        StageRule::parse(stage, &said.condition).ok()
    };
    let rules = body.rules.iter().map(rule).collect::<Option<_>>().ok_or_else(malformed)?;
    Ok(Version {
        policy: policy_of(&parameters, rules, &StagePolicy::default(), row.version),
        state: StagePolicyState::try_from(row.state).map_err(|_| malformed())?,
        description: body.description,
        created_at: Some(Instant::from_micros(row.created_at)),
        published_at: row.published_at.map(Instant::from_micros),
        retired_at: row.retired_at.map(Instant::from_micros),
        in_force_from: row.in_force_from.map(Instant::from_micros),
        revision: row.revision,
        changed: row.changed,
    })
}
