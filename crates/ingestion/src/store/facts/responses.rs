//! Facts as it is told by them how soon feedback is answered: what asks for an answer, kind by kind in the order of keys, and what answers it.

use super::load::{Owners, case};
use super::{KEYS_PER_QUERY, Key};
use crate::features::CaseEvent;
use crate::responses::{Asked, History, Kind};
use crate::store::entities::feedback_fact::{self, Column as Feedback};
use crate::store::entities::interaction_fact::{self, Column as Interaction};
use crate::store::entities::subject;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::ingestion::{CaseState, FeedbackKind, InteractionKind};
use quintile_store::StoreError;
use quintile_store::numbers::Numbers;
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};
use std::collections::HashMap;

/// Facts that are read at once.
const ROWS_AT_ONCE: u64 = 2 * KEYS_PER_QUERY as u64;
/// Facts that open or resolve a case.
const CASES: [i32; 2] = [InteractionKind::SupportTicket as i32, InteractionKind::Complaint as i32];
/// Facts that somebody was spoken to.
const CONTACTS: [i32; 2] = [InteractionKind::Call as i32, InteractionKind::Meeting as i32];

/// Of which feedback it is told.
#[derive(Clone, Debug)]
pub struct Period {
    /// From this instant on.
    pub from: Instant,
    /// Until before this one.
    pub until: Instant,
    /// Of these kinds.
    pub kinds: Vec<Kind>,
    /// By this channel. Empty: by any.
    pub channel: String,
}

/// Where feedback is that asks for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Complaints and tickets, which are interactions.
    Cases,
    /// Scores and comments.
    Feedback,
}

impl Asking {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cases, Self::Feedback];

    /// Whether feedback of some of these kinds is here.
    pub fn has_some(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| match kind {
            Kind::Complaint | Kind::SupportTicket => self == Self::Cases,
            Kind::LowScore | Kind::Comment => self == Self::Feedback,
        })
    }

    /// What asks for an answer among the next facts of a period behind a key, and what to go on behind; `None`: these were the last.
    pub async fn behind(
        self,
        connection: &impl ConnectionTrait,
        tenant: TenantId,
        period: &Period,
        key: &Key,
    ) -> Result<(Vec<Asked>, Option<Key>), StoreError> {
        match self {
            Self::Cases => cases(connection, tenant, period, key).await,
            Self::Feedback => feedback(connection, tenant, period, key).await,
        }
    }
}

/// The condition that a fact is behind a key.
fn is_behind<C: ColumnTrait>(columns: [C; 3], (subject_id, source, event_id): &Key) -> SimpleExpr {
    let place: [Value; 3] = [(*subject_id).into(), source.as_str().into(), event_id.as_str().into()];
    Expr::tuple(columns.map(Expr::col)).gt(Expr::tuple(place.map(Expr::val)))
}

/// What to go on behind, if there may be more.
fn next_of<T>(rows: &[T], key: impl FnOnce(&T) -> Key) -> Option<Key> {
    rows.last().filter(|_| rows.len() as u64 == ROWS_AT_ONCE).map(key)
}

/// The number of the interactions that open cases of a kind. `None`: it is of no cases.
fn case_kind(kind: Kind) -> Option<i32> {
    match kind {
        Kind::Complaint => Some(InteractionKind::Complaint.into()),
        Kind::SupportTicket => Some(InteractionKind::SupportTicket.into()),
        Kind::LowScore | Kind::Comment => None,
    }
}

async fn cases(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    period: &Period,
    key: &Key,
) -> Result<(Vec<Asked>, Option<Key>), StoreError> {
    let mut query = interaction_fact::Entity::find()
        .select_only()
        .columns([Interaction::SubjectId, Interaction::Source, Interaction::EventId, Interaction::OccurredAt])
        .columns([Interaction::Kind, Interaction::Channel, Interaction::About])
        .filter(Interaction::TenantId.eq(tenant.0))
        .filter(is_behind([Interaction::SubjectId, Interaction::Source, Interaction::EventId], key))
        .filter(Interaction::Kind.is_in(period.kinds.iter().filter_map(|kind| case_kind(*kind))))
        .filter(Interaction::CaseState.eq(i32::from(CaseState::Opened)))
        .filter(Interaction::OccurredAt.gte(period.from.micros()))
        .filter(Interaction::OccurredAt.lt(period.until.micros()));
    if !period.channel.is_empty() {
        query = query.filter(Interaction::Channel.eq(period.channel.as_str()));
    }
    for column in [Interaction::SubjectId, Interaction::Source, Interaction::EventId] {
        query = query.order_by_asc(column);
    }
    let query = query.limit(ROWS_AT_ONCE).into_tuple::<(i64, String, String, i64, i32, String, String)>();
    let rows = query.all(connection).await?;
    let next = next_of(&rows, |row| (row.0, row.1.clone(), row.2.clone()));
    let asked = rows.into_iter().map(|(subject, source, event, at, kind, channel, about)| {
        let is_complaint = kind == i32::from(InteractionKind::Complaint);
        let kind = if is_complaint { Kind::Complaint } else { Kind::SupportTicket };
        Asked { kind, at: Instant::from_micros(at), key: (subject, source, event), channel, about }
    });
    Ok((asked.collect(), next))
}

/// Subject, source, event id, instant, scale, score, channel, and what it is about.
type ScoredRow = (i64, String, String, i64, i32, Option<i64>, String, String);

async fn feedback(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    period: &Period,
    key: &Key,
) -> Result<(Vec<Asked>, Option<Key>), StoreError> {
    let mut query = feedback_fact::Entity::find()
        .select_only()
        .columns([Feedback::SubjectId, Feedback::Source, Feedback::EventId, Feedback::OccurredAt, Feedback::Kind])
        .columns([Feedback::Score, Feedback::Channel, Feedback::About])
        .filter(Feedback::TenantId.eq(tenant.0))
        .filter(is_behind([Feedback::SubjectId, Feedback::Source, Feedback::EventId], key))
        .filter(Feedback::OccurredAt.gte(period.from.micros()))
        .filter(Feedback::OccurredAt.lt(period.until.micros()));
    if !period.channel.is_empty() {
        query = query.filter(Feedback::Channel.eq(period.channel.as_str()));
    }
    for column in [Feedback::SubjectId, Feedback::Source, Feedback::EventId] {
        query = query.order_by_asc(column);
    }
    let rows = query.limit(ROWS_AT_ONCE).into_tuple::<ScoredRow>().all(connection).await?;
    let next = next_of(&rows, |row| (row.0, row.1.clone(), row.2.clone()));
    let asked = rows.into_iter().filter_map(|(subject, source, event, at, scale, score, channel, about)| {
        let kind = Kind::of_feedback(FeedbackKind::try_from(scale).unwrap_or_default(), score);
        let kind = kind.filter(|kind| period.kinds.contains(kind))?;
        Some(Asked { kind, at: Instant::from_micros(at), key: (subject, source, event), channel, about })
    });
    Ok((asked.collect(), next))
}

/// What answers may be found in, of customers by number: all that was said of their cases until before now, and whom it was spoken to in a period.
/// A customer without any is not among them.
pub async fn histories(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    customers: &[CustomerId],
    (from, now): (Instant, Instant),
) -> Result<HashMap<CustomerId, History>, StoreError> {
    let mut histories: HashMap<CustomerId, History> = HashMap::with_capacity(customers.len());
    let mut wanted: Vec<i64> = customers.iter().map(|id| id.as_i64()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for numbers in Numbers::queries(&wanted) {
        let links = subject::Entity::find()
            .filter(subject::Column::TenantId.eq(tenant.0))
            .filter(numbers.contain(subject::Column::CustomerId))
            .all(connection)
            .await?;
        let owners = Owners::new(&links)?;
        let mut subjects: Vec<i64> = links.iter().map(|link| link.subject_id).collect();
        subjects.sort_unstable();
        for subjects in Numbers::queries(&subjects) {
            for row in answering(connection, tenant, &subjects, (from, now)).await? {
                add(&mut histories, &owners, row)?;
            }
        }
    }
    histories.values_mut().for_each(History::sort);
    Ok(histories)
}

/// Subject, source, event id, instant, kind, what it is about, and case state.
type AnsweringRow = (i64, String, String, i64, i32, String, i32);

async fn answering(
    connection: &impl ConnectionTrait,
    tenant: TenantId,
    subjects: &Numbers,
    (from, now): (Instant, Instant),
) -> Result<Vec<AnsweringRow>, StoreError> {
    let contacts =
        Condition::all().add(Interaction::Kind.is_in(CONTACTS)).add(Interaction::OccurredAt.gte(from.micros()));
    let query = interaction_fact::Entity::find()
        .select_only()
        .columns([Interaction::SubjectId, Interaction::Source, Interaction::EventId, Interaction::OccurredAt])
        .columns([Interaction::Kind, Interaction::About, Interaction::CaseState])
        .filter(Interaction::TenantId.eq(tenant.0))
        .filter(subjects.contain(Interaction::SubjectId))
        .filter(Interaction::OccurredAt.lt(now.micros()))
        .filter(Condition::any().add(Interaction::Kind.is_in(CASES)).add(contacts));
    Ok(query.into_tuple::<AnsweringRow>().all(connection).await?)
}

fn add(
    histories: &mut HashMap<CustomerId, History>,
    owners: &Owners,
    (subject, source, event, at, kind, about, state): AnsweringRow,
) -> Result<(), StoreError> {
    let history = histories.entry(owners.of(subject)?).or_default();
    let at = Instant::from_micros(at);
    match case(kind, state, source, &about) {
        Some(CaseEvent { complaint, id: (source, case), resolved }) => {
            history.add_word((complaint, source, case), (at, resolved, subject, event));
        }
        None => history.add_contact(at),
    }
    Ok(())
}
