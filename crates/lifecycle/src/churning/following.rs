//! A training that goes on: each second it is looked whether anybody still wants what comes of it, and whether one that waits is wanted no more.

use super::training::{Trained, train};
use super::{Churning, Target, trainings};
use parking_lot::Mutex;
use quintile_chain::listening::Stopped;
use quintile_proto::lifecycle::ChurnProgress;
use quintile_rpc::policy::Tenant;
use quintile_store::StoreError;
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// How often it is looked whether a training waits, and, while one goes on, how far it is and whether somebody wants its end.
pub const LOOK: Duration = Duration::from_secs(1);
/// How long what failed is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What a training is for.
pub trait Wanted {
    /// Hears how far the training is. Returns whether it is still wanted.
    fn look(
        &mut self,
        churning: &Churning,
        tenant: &Tenant,
        progress: ChurnProgress,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Trains for a target as long as that is wanted.
pub async fn follow(
    churning: &Churning,
    tenant: &Tenant,
    target: &Target,
    wanted: &mut impl Wanted,
) -> Result<Trained, Stopped> {
    let latest = Mutex::new(ChurnProgress::default());
    let mut training = pin!(train(churning, tenant, target, |progress| {
        *latest.lock() = progress;
        true
    }));
    loop {
        if let Ok(ended) = tokio::time::timeout(LOOK, &mut training).await {
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
            Err(error) => tracing::warn!(tenant = tenant.name, %error, "a training goes on unlooked at"),
        }
    }
}

/// For how long a training that failed by the fault of a moment is left alone.
#[derive(Debug, Default)]
pub struct Pause {
    /// What it was for.
    of: i64,
    length: Duration,
    until: Option<MachineInstant>,
}

impl Pause {
    /// Whether a training is left alone still.
    pub fn goes_on(&self, of: i64) -> bool {
        self.of == of && self.until.is_some_and(|until| MachineInstant::now() < until)
    }

    /// Leaves a training alone: for twice as long as the last time, if it was the same.
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
