//! Training: candidates are fitted, calibrated and held against rules of thumb and the model in force; the best may be kept as a draft.

use super::gathering::{Gathered, Period, gather};
use super::in_force::{InForce, Learnt};
use super::labelled_training::{self, Labelled};
use super::{Churning, Target, telling, told};
use crate::churn::{
    self, Baseline, Boosting, Candidate, ChurnError, Method, Penalty, Period as Rows, Settings, Training, drivers,
};
use crate::store::churn_models::{self, Measured, Stored};
use quintile_chain::listening::Stopped;
use quintile_chain::store_error;
use quintile_clv::{BgNbd, Dropout, Fitted, Histories, History};
use quintile_domain::ids::TenantId;
use quintile_proto::lifecycle::{ChurnModel, ChurnModelState, ChurnProgress};
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;
use quintile_store::{StoreError, Transaction, failpoint};
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What is random of a training follows from it: the same customers give the same model.
pub(super) const SEED: u64 = 1;
/// The fewest rows of the rarer outcome that a curve is learnt from (Niculescu-Mizil and Caruana 2005); of fewer a line is.
const ROWS_OF_A_CURVE: usize = 1_000;
/// The most threads that a training takes.
const MAX_THREADS: usize = 16;
/// The baseline of who buys until it leaves unseen.
const P_ALIVE: &str = "p_alive";
/// The models of a tenant that are kept: the newest, and the one in force.
const KEPT: i64 = 100;

/// What a training came to, before it is kept.
pub struct Trained {
    body: ChurnModel,
    learnt: Learnt,
}

/// Trains for a target. `tell` hears how far it is and says whether to go on.
pub async fn train(
    churning: &Churning,
    tenant: &Tenant,
    target: &Target,
    mut tell: impl FnMut(ChurnProgress) -> bool,
) -> Result<Trained, Stopped> {
    let failed = |error: StoreError| Some(store_error(&error));
    let turn = churning.turn(|| tell(ChurnProgress::default())).await?;
    let in_force = churning.models.of(tenant.id).await.map_err(failed)?;
    match target {
        Target::Horizon(days) => {
            let (horizon, gathered) = (*days, gather(churning, tenant, *days, tell).await?);
            let learn = move || learn(&gathered, in_force.as_ref(), horizon).map_err(|error| told(&error));
            learn_apart(turn, learn).await
        }
        Target::Label(label) => {
            let labelled = Labelled::read(churning, tenant, label, tell).await?;
            learn_apart(turn, move || labelled_training::learn(&labelled, in_force.as_ref())).await
        }
    }
}

/// Learns away from the threads that answer calls.
async fn learn_apart(
    turn: OwnedSemaphorePermit,
    learn: impl FnOnce() -> Result<Trained, ApiError> + Send + 'static,
) -> Result<Trained, Stopped> {
    failpoint::reach("trainings", "before_learning").await;
    let work = tokio::task::spawn_blocking(move || {
        let trained = learn();
        // Whoever is next has to wait for this, even where nobody waits for what comes of it any more.
        drop(turn);
        trained
    });
    Ok(work.await.map_err(|_| ApiError::internal("a training panicked"))??)
}

impl Trained {
    /// A model that was chosen, and what is told of it.
    pub(super) fn new(body: ChurnModel, chosen: &churn::Trained) -> Self {
        let learnt = Learnt { model: chosen.model.clone(), profile: chosen.card.profile.clone() };
        Self { body, learnt }
    }

    /// Writes what was found as a new draft.
    pub async fn keep(
        &self,
        churning: &Churning,
        transaction: &Transaction,
        tenant: TenantId,
    ) -> Result<Stored, StoreError> {
        let bytes = self.learnt.to_bytes()?;
        // What can't be read again is not kept either.
        if Learnt::from_bytes(&bytes)? != self.learnt {
            return Err(churn_models::malformed());
        }
        let revision = churn_models::begin_change(transaction, tenant).await?;
        let newest = churn_models::page(transaction, tenant, i64::MAX, 1).await?;
        let number = newest.first().map_or(0, |newest| newest.number) + 1;
        let created_at = churning.clock.now();
        let (state, body) = (ChurnModelState::Draft, self.body.clone());
        let stored = Stored {
            number,
            state,
            body,
            created_at,
            published_at: None,
            revision,
            stands_since: None,
            measured: Measured::default(),
        };
        churn_models::insert(transaction, tenant, &stored, bytes).await?;
        churn_models::forget(transaction, tenant, number - KEPT).await?;
        Ok(stored)
    }
}

/// What is learnt of past midnights.
fn learn(gathered: &Gathered, in_force: Option<&Arc<InForce>>, horizon: i32) -> Result<Trained, ChurnError> {
    let [fit, calibration, holdout] = &gathered.periods;
    let in_force = in_force.filter(|model| model.horizon_days == horizon);
    let baselines = baselines(gathered, in_force);
    let candidates = candidates(curve(calibration));
    let training = churn::train(fit.rows(), calibration.rows(), holdout.rows(), &candidates, &baselines)?;
    let place = training.chosen.or_else(|| best(&training)).ok_or(ChurnError::Setting("candidates"))?;
    let chosen = training.trained.get(place).ok_or(ChurnError::Setting("candidates"))?;
    let drivers = drivers(&chosen.model, &holdout.table, SEED)?;
    let body = telling::model(gathered, &training, &chosen.card, &drivers, horizon);
    Ok(Trained::new(body, chosen))
}

/// Where nothing is better than every baseline, what comes nearest.
pub(super) fn best(training: &Training) -> Option<usize> {
    let area = |place: &usize| training.trained[*place].card.evaluation.area_under_curve;
    (0..training.trained.len()).max_by(|one, other| area(one).total_cmp(&area(other)))
}

/// By what the rows of a period are enough to calibrate.
fn curve(calibration: &Period) -> Method {
    let left = calibration.left.iter().filter(|left| **left).count();
    let rarer = left.min(calibration.left.len() - left);
    if rarer < ROWS_OF_A_CURVE { Method::Platt } else { Method::Isotonic }
}

/// Both ways to learn, calibrated by one method.
pub(super) fn candidates(calibration: Method) -> [Candidate; 2] {
    // Half of the cores are left to live work.
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) / 2;
    let threads = NonZeroUsize::new(threads.min(MAX_THREADS)).unwrap_or(NonZeroUsize::MIN);
    let logistic = Settings::Logistic(Penalty::default());
    let boosted = Settings::Boosted(Boosting { threads, ..Boosting::new(SEED) });
    [("logistic", logistic), ("boosting", boosted)].map(|(name, settings)| Candidate {
        name: name.to_owned(),
        settings,
        calibration,
    })
}

fn baselines(gathered: &Gathered, in_force: Option<&Arc<InForce>>) -> Vec<Baseline> {
    let [_, calibration, holdout] = &gathered.periods;
    let rule = |name: &str, of: fn(&Period) -> &Vec<f64>| Baseline {
        name: name.to_owned(),
        calibration: Some(of(calibration).clone()),
        holdout: of(holdout).clone(),
    };
    let mut baselines = vec![rule("recency", |period| &period.recency), rule("silence", |period| &period.silence)];
    baselines.extend(p_alive(gathered));
    // One that was made of other features, or foretells another time, can't be compared: it has to be retired first.
    if let Some(model) = in_force
        && let Ok(risks) = model.learnt.model.risks(&holdout.table)
    {
        baselines.push(Baseline { name: model.name.clone(), calibration: None, holdout: risks });
    }
    baselines
}

/// How likely each has left by the days on which it bought alone. The model is fitted to all who had bought by the midnight of the first period: it is those
/// who had left before the period that show how customers leave. Of BG/NBD and MBG/NBD it is the likelier one: the former has nobody leave who has bought
/// once. `None`: nobody has bought again, or the days do not tell that anybody leaves.
fn p_alive(gathered: &Gathered) -> Option<Baseline> {
    let [_, calibration, holdout] = &gathered.periods;
    let ever = Histories::new(gathered.ever.iter().copied());
    let fits = [Dropout::AfterRepeats, Dropout::AfterEveryPurchase].map(|dropout| BgNbd::fit(dropout, &ever).ok());
    let identified = fits.into_iter().flatten().filter(Fitted::dropout_is_identified);
    let likelier = identified.max_by(|one, other| one.log_likelihood.total_cmp(&other.log_likelihood))?;
    let left = |history: &History| 1.0 - likelier.model.p_alive(history);
    let scores = |period: &Period| period.histories.iter().map(left).collect();
    Some(Baseline { name: P_ALIVE.to_owned(), calibration: Some(scores(calibration)), holdout: scores(holdout) })
}

impl Period {
    fn rows(&self) -> Rows<'_> {
        Rows { table: &self.table, labels: &self.left }
    }
}
