//! A training, or a measurement, that goes on: each second it is looked whether anybody still wants what comes of it, and whether a training that waits is
//! wanted no more.

use super::{Churning, trainings};
use parking_lot::Mutex;
use quintile_chain::listening::Stopped;
use quintile_proto::lifecycle::ChurnProgress;
use quintile_rpc::ApiError;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;
use tonic::Status;

/// How often it is looked whether a training waits, and, while one goes on, how far it is and whether somebody wants its end.
pub const LOOK: Duration = Duration::from_secs(1);
/// How long what failed is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Hears how far work is, and says whether to go on.
pub type Tell = Box<dyn FnMut(ChurnProgress) -> bool + Send>;

/// What work is for.
pub trait Wanted {
    /// Hears how far it is. Returns whether it is still wanted.
    fn look(
        &mut self,
        churning: &Churning,
        tenant: &Tenant,
        progress: ChurnProgress,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Works as long as that is wanted.
pub async fn follow<T, F>(
    churning: &Churning,
    tenant: &Tenant,
    wanted: &mut impl Wanted,
    work: impl FnOnce(Tell) -> F,
) -> Result<T, Stopped>
where
    F: Future<Output = Result<T, Stopped>>,
{
    let latest = Arc::new(Mutex::new(ChurnProgress::default()));
    let told = latest.clone();
    let tell = move |progress| {
        *told.lock() = progress;
        true
    };
    let mut work = pin!(work(Box::new(tell)));
    loop {
        if let Ok(ended) = tokio::time::timeout(LOOK, &mut work).await {
            return ended;
        }
        let progress = *latest.lock();
        let looked = async {
            trainings::end_unwanted(churning, tenant).await?;
            wanted.look(churning, tenant, progress).await
        };
        match looked.await {
            Ok(true) => {}
            Ok(false) => return Err(None),
            // What was learnt is worth more than a look: what is kept of it is fenced.
            Err(error) => tracing::warn!(tenant = tenant.name, %error, "what was begun goes on unlooked at"),
        }
    }
}

/// What is said of a failure that will not pass.
pub fn problem(error: ApiError) -> String {
    let message = error.message().to_owned();
    // What clients are not told is logged where an error becomes a status.
    drop(Status::from(error));
    message
}

/// For how long what failed by the fault of a moment is left alone.
#[derive(Debug, Default)]
pub struct Pause {
    /// What it was for.
    of: i64,
    length: Duration,
    until: Option<MachineInstant>,
}

impl Pause {
    /// Whether it is left alone still.
    pub fn goes_on(&self, of: i64) -> bool {
        self.of == of && self.until.is_some_and(|until| MachineInstant::now() < until)
    }

    /// Leaves it alone: for twice as long as the last time, if it was the same.
    pub fn begin(&mut self, of: i64) {
        let length = if self.of == of { (2 * self.length).clamp(FIRST_PAUSE, LONGEST_PAUSE) } else { FIRST_PAUSE };
        *self = Self { of, length, until: Some(MachineInstant::now() + length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_left_alone_for_ever_longer() {
        let mut pause = Pause::default();
        assert!(!pause.goes_on(7));
        let mut lengths = Vec::new();
        for _ in 0..11 {
            pause.begin(7);
            lengths.push(pause.length.as_secs());
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(pause.goes_on(7) && !pause.goes_on(8));
        pause.begin(8);
        assert_eq!(pause.length, FIRST_PAUSE);
    }
}
