//! Churn models: drafts, and one in force at most. What is told of a model is kept as its message, and what gives risks beside it; so is how its risks were
//! measured to have moved, which is written while it stays as it is.

use prost::Message;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{ChurnDrift, ChurnDriftVerdict, ChurnModel, ChurnModelState};
use quintile_rpc::convert;
use quintile_store::{StoreError, Transaction, feed};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// The collection that resource names begin with.
pub const COLLECTION: &str = "churnModels";
/// The feed whose positions number the changes of a tenant's models. It holds nothing: its head is what two that change them wait for.
const REVISIONS: &str = "churn_models";
/// The measurements of a model that are kept: a year of them.
const DRIFTS: usize = 52;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "churn_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub state: i32,
        pub body: Vec<u8>,
        pub learnt: Vec<u8>,
        pub created_at: i64,
        pub published_at: Option<i64>,
        pub revision: i64,
        pub stands_since: Option<i64>,
        pub changed: i64,
        pub measured_day: Option<i32>,
        pub drifts: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A row without what gives risks, which is large.
type Row = (i64, i32, Vec<u8>, i64, Option<i64>, i64, Option<i64>, Option<i32>, Option<Vec<u8>>);

/// How a model's risks have moved, by what was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The last whole day of the last measurement, in days since 1970-01-01. `None`: there was none since it is in force.
    pub day: Option<i32>,
    /// The newest first.
    pub drifts: Vec<ChurnDrift>,
    /// Since when they have shifted by all that was measured until `day`. Business time.
    shifted_since: Option<Instant>,
}

impl Measured {
    /// Since when they have shifted by all that was measured since the model is in force.
    pub fn shifted_since(&self) -> Option<Instant> {
        self.shifted_since.filter(|_| self.day.is_some())
    }

    /// The day of the last measurement, if by that they have shifted.
    pub fn shifted_day(&self) -> Option<i32> {
        let newest = self.drifts.first().filter(|newest| newest.verdict() == ChurnDriftVerdict::Shifted);
        newest.and(self.day)
    }

    /// With what was found by the end of a later day. A measurement that failed says nothing of whether they have shifted.
    pub fn with(&self, found: ChurnDrift, day: i32) -> Self {
        let shifted_since = match found.verdict() {
            ChurnDriftVerdict::Unspecified => self.shifted_since(),
            ChurnDriftVerdict::Shifted => self.shifted_since().or_else(|| convert::sent_instant(found.as_of.as_ref())),
            ChurnDriftVerdict::Stable | ChurnDriftVerdict::Shifting => None,
        };
        let drifts = std::iter::once(found).chain(self.drifts.iter().cloned()).take(DRIFTS).collect();
        Self { day: Some(day), drifts, shifted_since }
    }

    /// Its stored form: a model of which nothing else is told.
    fn to_bytes(&self) -> Vec<u8> {
        let drift_alarm_time = self.shifted_since.map(convert::timestamp);
        ChurnModel { drifts: self.drifts.clone(), drift_alarm_time, ..ChurnModel::default() }.encode_to_vec()
    }

    fn from_bytes(day: Option<i32>, bytes: &[u8]) -> Result<Self, StoreError> {
        let ChurnModel { drifts, drift_alarm_time, .. } = ChurnModel::decode(bytes).map_err(|_| malformed())?;
        Ok(Self { day, drifts, shifted_since: convert::sent_instant(drift_alarm_time.as_ref()) })
    }
}

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The number, from 1.
    pub number: i64,
    /// Where it stands.
    pub state: ChurnModelState,
    /// What is told of it, but for what stands here.
    pub body: ChurnModel,
    /// When it was made. Machine time.
    pub created_at: Instant,
    /// When it was published. Machine time.
    pub published_at: Option<Instant>,
    /// Which change of the tenant's models changed it last.
    pub revision: i64,
    /// When it was put in force or taken out of it last. Business time.
    pub stands_since: Option<Instant>,
    /// How its risks have moved.
    pub measured: Measured,
}

impl Stored {
    /// The resource name.
    pub fn name(&self) -> String {
        format!("{COLLECTION}/{}", self.number)
    }

    /// The etag as it is now.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// The model as it is told.
    pub fn message(&self) -> ChurnModel {
        let alarm = self.measured.shifted_since().filter(|_| self.state == ChurnModelState::Published);
        ChurnModel {
            name: self.name(),
            state: self.state.into(),
            create_time: Some(convert::timestamp(self.created_at)),
            publish_time: self.published_at.map(convert::timestamp),
            etag: self.etag(),
            drifts: self.measured.drifts.clone(),
            drift_alarm_time: alarm.map(convert::timestamp),
            ..self.body.clone()
        }
    }
}

/// What is there and can't be read.
pub fn malformed() -> StoreError {
    StoreError::Sealed("a stored churn model is malformed")
}

/// Takes the right to change a tenant's models, to the end of the transaction: the number of the change.
pub async fn begin_change(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    feed::next_seq(transaction, tenant, REVISIONS).await
}

/// The number of the last change.
pub async fn revision(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<i64, StoreError> {
    feed::head(connection, tenant, REVISIONS).await
}

fn rows(tenant: TenantId) -> sea_orm::Select<entity::Entity> {
    entity::Entity::find()
        .select_only()
        .columns([entity::Column::Number, entity::Column::State, entity::Column::Body])
        .columns([entity::Column::CreatedAt, entity::Column::PublishedAt, entity::Column::Revision])
        .columns([entity::Column::StandsSince, entity::Column::MeasuredDay, entity::Column::Drifts])
        .filter(entity::Column::TenantId.eq(tenant.0))
}

/// One model.
pub async fn get(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    number: i64,
) -> Result<Option<Stored>, StoreError> {
    let row = rows(tenant).filter(entity::Column::Number.eq(number)).into_tuple::<Row>().one(connection).await?;
    row.map(stored).transpose()
}

/// The model in force.
pub async fn in_force(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<Stored>, StoreError> {
    let published = entity::Column::State.eq(ChurnModelState::Published as i32);
    rows(tenant).filter(published).into_tuple::<Row>().one(connection).await?.map(stored).transpose()
}

/// The business time from which what is in force is so, be it that nothing is. `None`: from the start.
pub async fn in_force_from(connection: &impl ConnectionTrait, tenant: TenantId) -> Result<Option<Instant>, StoreError> {
    let latest: Option<Option<i64>> = entity::Entity::find()
        .select_only()
        .column_as(entity::Column::StandsSince.max(), "latest")
        .filter(entity::Column::TenantId.eq(tenant.0))
        .into_tuple()
        .one(connection)
        .await?;
    Ok(latest.flatten().map(Instant::from_micros))
}

/// Adds to the customers of whom bringing a change of where a model stands has changed a stage or a warning: how many there are. `begins`: it is only now begun.
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
        .filter(entity::Column::Number.eq(number))
        .col_expr(entity::Column::Changed, counted)
        .exec(transaction)
        .await?;
    let row = entity::Entity::find_by_id((tenant.0, number)).select_only().column(entity::Column::Changed);
    let changed: Option<i64> = row.into_tuple().one(transaction).await?;
    Ok(changed.unwrap_or(0))
}

/// What gives risks, in its stored form.
pub async fn learnt(connection: &impl ConnectionTrait, tenant: TenantId, number: i64) -> Result<Vec<u8>, StoreError> {
    let row = entity::Entity::find_by_id((tenant.0, number)).one(connection).await?;
    row.map(|row| row.learnt).ok_or_else(malformed)
}

/// Up to `limit` models before `before`, the newest first.
pub async fn page(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    before: i64,
    limit: u64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = rows(tenant)
        .filter(entity::Column::Number.lt(before))
        .order_by_desc(entity::Column::Number)
        .limit(limit)
        .into_tuple::<Row>()
        .all(connection)
        .await?;
    rows.into_iter().map(stored).collect()
}

/// Writes a new model, with what gives risks.
pub async fn insert(
    transaction: &Transaction,
    tenant: TenantId,
    stored: &Stored,
    learnt: Vec<u8>,
) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        number: Set(stored.number),
        state: Set(stored.state.into()),
        body: Set(stored.body.encode_to_vec()),
        learnt: Set(learnt),
        created_at: Set(stored.created_at.micros()),
        published_at: Set(stored.published_at.map(Instant::micros)),
        revision: Set(stored.revision),
        stands_since: Set(stored.stands_since.map(Instant::micros)),
        changed: Set(0),
        measured_day: Set(None),
        drifts: Set(None),
    };
    entity::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Writes where a model stands. What was measured of it before says nothing of it from then on.
pub async fn update(transaction: &Transaction, tenant: TenantId, stored: &Stored) -> Result<(), StoreError> {
    let row = entity::ActiveModel {
        tenant_id: Set(tenant.0),
        number: Set(stored.number),
        state: Set(stored.state.into()),
        published_at: Set(stored.published_at.map(Instant::micros)),
        revision: Set(stored.revision),
        stands_since: Set(stored.stands_since.map(Instant::micros)),
        measured_day: Set(None),
        ..<entity::ActiveModel as sea_orm::ActiveModelTrait>::default()
    };
    entity::Entity::update(row).exec(transaction).await?;
    Ok(())
}

/// Writes what was measured of a model. Returns whether it has been in force since `before`, and nothing was measured of it since.
pub async fn measure(
    transaction: &Transaction,
    tenant: TenantId,
    before: &Stored,
    measured: &Measured,
) -> Result<bool, StoreError> {
    let (last, since) = (entity::Column::MeasuredDay, entity::Column::StandsSince);
    let stood = before.stands_since.map(Instant::micros);
    let written = entity::Entity::update_many()
        .col_expr(last, Expr::value(measured.day))
        .col_expr(entity::Column::Drifts, Expr::value(measured.to_bytes()))
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Number.eq(before.number))
        .filter(entity::Column::State.eq(ChurnModelState::Published as i32))
        .filter(stood.map_or_else(|| since.is_null(), |instant| since.eq(instant)))
        .filter(before.measured.day.map_or_else(|| last.is_null(), |day| last.eq(day)))
        .exec(transaction)
        .await?;
    Ok(written.rows_affected == 1)
}

/// Forgets the models up to a number that are not in force.
pub async fn forget(transaction: &Transaction, tenant: TenantId, number: i64) -> Result<(), StoreError> {
    entity::Entity::delete_many()
        .filter(entity::Column::TenantId.eq(tenant.0))
        .filter(entity::Column::Number.lte(number))
        .filter(entity::Column::State.ne(ChurnModelState::Published as i32))
        .exec(transaction)
        .await?;
    Ok(())
}

fn stored(row: Row) -> Result<Stored, StoreError> {
    let (number, state, body, created_at, published_at, revision, stands_since, measured_day, drifts) = row;
    Ok(Stored {
        number,
        state: ChurnModelState::try_from(state).map_err(|_| malformed())?,
        body: ChurnModel::decode(body.as_slice()).map_err(|_| malformed())?,
        created_at: Instant::from_micros(created_at),
        published_at: published_at.map(Instant::from_micros),
        revision,
        stands_since: stands_since.map(Instant::from_micros),
        measured: Measured::from_bytes(measured_day, &drifts.unwrap_or_default())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChurnDriftVerdict::{Shifted, Shifting, Stable, Unspecified};

    fn found(verdict: ChurnDriftVerdict, day: i32) -> ChurnDrift {
        let as_of = Some(convert::timestamp(instant(day)));
        ChurnDrift { as_of, verdict: verdict.into(), ..ChurnDrift::default() }
    }

    fn instant(day: i32) -> Instant {
        Instant::from_micros(i64::from(day) * 86_400_000_000)
    }

    #[test]
    fn an_alarm_stands_from_the_first_measurement_that_says_so_to_the_first_that_says_otherwise() {
        let said = [Stable, Shifted, Unspecified, Shifted, Shifting, Shifted];
        let since = [None, Some(7), Some(7), Some(7), None, Some(35)];
        let of_the_last = [None, Some(7), None, Some(21), None, Some(35)];
        let (mut measured, mut day) = (Measured::default(), 0);
        for ((verdict, since), of_the_last) in said.into_iter().zip(since).zip(of_the_last) {
            measured = measured.with(found(verdict, day), day);
            assert_eq!((measured.shifted_since(), measured.shifted_day()), (since.map(instant), of_the_last));
            assert_eq!(Measured::from_bytes(measured.day, &measured.to_bytes()).unwrap(), measured);
            day += 7;
        }
        let told: Vec<_> = measured.drifts.iter().rev().map(ChurnDrift::verdict).collect();
        assert_eq!(told, said);
    }

    #[test]
    fn what_was_measured_before_a_model_was_put_in_force_again_says_nothing_of_now() {
        let before = Measured { day: None, ..Measured::default().with(found(Shifted, 0), 0) };
        assert_eq!((before.shifted_since(), before.shifted_day()), (None, None));
        assert_eq!(before.with(found(Unspecified, 70), 70).shifted_since(), None);
        assert_eq!(before.with(found(Shifted, 70), 70).shifted_since(), Some(instant(70)));
    }

    #[test]
    fn a_year_of_measurements_is_kept() {
        let measured = (0..100).fold(Measured::default(), |measured, day| measured.with(found(Shifted, day), day));
        assert_eq!((measured.drifts.len(), measured.drifts[0].as_of), (DRIFTS, Some(convert::timestamp(instant(99)))));
        assert_eq!(measured.shifted_since(), Some(instant(0)));
    }
}
