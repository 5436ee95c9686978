//! Customers whose facts come in bulk. They wait until no more come, or for a while, and are then computed a part at a time: whoever brings a
//! whole history is not held up by the half of it, and nobody is computed at every one of its batches. Who is touched live meanwhile does not
//! wait for them.
//!
//! While they wait, the worker's place stays behind the facts that they were touched by: a worker that goes on from there finds them again.

use quintile_domain::ids::CustomerId;
use roaring::RoaringBitmap;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// How long nothing has come in bulk when no more is coming, at least: it is longer where what came was far apart.
const QUIET: Duration = Duration::from_millis(300);
/// What comes farther apart does not belong together.
const FARTHEST_APART: Duration = Duration::from_secs(2);
/// How long they wait at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// For each second of work the seconds that are left to those who bring more.
const LEAVE: u32 = 3;

/// The customers of one tenant.
#[derive(Debug, Default)]
pub struct Bulk {
    /// Who is being computed, and the facts up to which all of them were right before.
    draining: Option<(RoaringBitmap, i64)>,
    /// Who was touched since, and the facts up to which all of them were right.
    gathering: Option<(RoaringBitmap, i64)>,
    /// When the first of those came who are gathered.
    began: Option<MachineInstant>,
    /// When the last came, and how long after the one before.
    came: Option<MachineInstant>,
    apart: Duration,
    /// When their work goes on, while more come.
    rests_until: Option<MachineInstant>,
}

impl Bulk {
    /// Adds customers of whom a look has found that they were touched in bulk. Up to the facts of `position` they were right.
    pub fn add(&mut self, customers: RoaringBitmap, position: i64, looked: MachineInstant) {
        if customers.is_empty() {
            return;
        }
        let apart = self.came.map(|came| looked.saturating_duration_since(came));
        self.apart = apart.filter(|apart| *apart <= FARTHEST_APART).unwrap_or_default();
        self.came = Some(looked);
        self.began.get_or_insert(looked);
        let (gathering, _) = self.gathering.get_or_insert_with(|| (RoaringBitmap::new(), position));
        *gathering |= customers;
    }

    /// Takes note that customers are right by all facts that were seen.
    pub fn remove(&mut self, customers: &RoaringBitmap) {
        for (waiting, _) in self.draining.iter_mut().chain(&mut self.gathering) {
            *waiting -= customers;
        }
        self.forget_nobody();
    }

    /// The facts up to which everybody is right. `None`: nobody waits.
    pub fn position(&self) -> Option<i64> {
        self.draining.as_ref().or(self.gathering.as_ref()).map(|(_, position)| *position)
    }

    /// Up to `most` customers who are to be computed after the last look, and the facts up to which they were right.
    pub fn due(&mut self, most: usize, looked: MachineInstant) -> Option<(Vec<CustomerId>, i64)> {
        let since = |instant: Option<MachineInstant>| instant.map(|instant| looked.saturating_duration_since(instant));
        let is_quiet = since(self.came).is_none_or(|quiet| quiet >= QUIET.max(2 * self.apart));
        if !is_quiet && self.rests_until.is_some_and(|until| looked < until) {
            return None;
        }
        if self.draining.is_none() {
            if !is_quiet && since(self.began).is_none_or(|waited| waited < PATIENCE) {
                return None;
            }
            (self.draining, self.began) = (self.gathering.take(), None);
        }
        let (draining, position) = self.draining.as_ref()?;
        Some((draining.iter().take(most).map(CustomerId).collect(), *position))
    }

    /// Takes note that customers who were due are computed, or will be by others, after work that took so long.
    pub fn done(&mut self, customers: &[CustomerId], took: Duration, now: MachineInstant) {
        if let Some((draining, _)) = &mut self.draining {
            *draining -= customers.iter().map(|customer| customer.0).collect::<RoaringBitmap>();
        }
        self.rests_until = Some(now + LEAVE * took);
        self.forget_nobody();
    }

    fn forget_nobody(&mut self) {
        self.draining.take_if(|(draining, _)| draining.is_empty());
        if self.gathering.take_if(|(gathering, _)| gathering.is_empty()).is_some() {
            self.began = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 2;

    fn set(customers: impl IntoIterator<Item = u32>) -> RoaringBitmap {
        customers.into_iter().collect()
    }

    fn ids(customers: impl IntoIterator<Item = u32>) -> Vec<CustomerId> {
        customers.into_iter().map(CustomerId).collect()
    }

    #[test]
    fn they_wait_until_no_more_come() {
        let (mut bulk, start) = (Bulk::default(), MachineInstant::now());
        assert_eq!((bulk.position(), bulk.due(MOST, start)), (None, None));
        bulk.add(set([1, 2, 3]), 10, start);
        bulk.add(set([3, 4]), 11, start + QUIET / 3);
        assert_eq!(bulk.due(MOST, start + QUIET), None);
        assert_eq!(bulk.position(), Some(10));
        let quiet = start + 2 * QUIET;
        assert_eq!(bulk.due(MOST, quiet), Some((ids([1, 2]), 10)));
        bulk.done(&ids([1, 2]), QUIET, quiet);
        // Nobody else wants the machine.
        assert_eq!(bulk.due(MOST, quiet), Some((ids([3, 4]), 10)));
        bulk.done(&ids([3, 4]), QUIET, quiet);
        assert_eq!((bulk.position(), bulk.due(MOST, quiet)), (None, None));
    }

    #[test]
    fn what_comes_far_apart_is_waited_for_longer() {
        let (mut bulk, start) = (Bulk::default(), MachineInstant::now());
        bulk.add(set([1]), 10, start);
        let second = start + Duration::from_secs(1);
        bulk.add(set([2]), 11, second);
        assert_eq!(bulk.due(MOST, second + Duration::from_millis(1_999)), None);
        assert_eq!(bulk.due(MOST, second + Duration::from_secs(2)), Some((ids([1, 2]), 10)));
        bulk.done(&ids([1, 2]), QUIET, second + Duration::from_secs(2));
        // Another load, an hour later.
        let later = second + Duration::from_hours(1);
        bulk.add(set([3]), 12, later);
        assert_eq!(bulk.due(MOST, later + QUIET), Some((ids([3]), 12)));
    }

    #[test]
    fn they_wait_for_a_while_and_not_for_ever() {
        let (mut bulk, start) = (Bulk::default(), MachineInstant::now());
        bulk.add(set([1, 2, 3]), 10, start);
        let late = start + PATIENCE;
        bulk.add(set([5]), 20, late);
        assert_eq!(bulk.due(MOST, late), Some((ids([1, 2]), 10)));
        bulk.done(&ids([1, 2]), QUIET, late);
        // More keep coming: they are left time, and those who come now wait in their turn.
        bulk.add(set([1, 6]), 30, late + QUIET);
        assert_eq!(bulk.due(MOST, late + LEAVE * QUIET - Duration::from_millis(1)), None);
        let later = late + LEAVE * QUIET;
        bulk.add(set([7]), 40, later);
        assert_eq!(bulk.due(MOST, later), Some((ids([3, 5]), 10)));
        bulk.done(&ids([3, 5]), Duration::ZERO, later);
        assert_eq!((bulk.position(), bulk.due(MOST, later)), (Some(30), None));
        assert_eq!(bulk.due(MOST, later + 4 * QUIET), Some((ids([1, 6]), 30)));
    }

    #[test]
    fn who_is_right_by_live_facts_waits_no_more() {
        let (mut bulk, start) = (Bulk::default(), MachineInstant::now());
        bulk.add(set([1, 2]), 10, start);
        bulk.remove(&set([1]));
        assert_eq!(bulk.due(MOST, start + QUIET), Some((ids([2]), 10)));
        bulk.add(set([1, 3]), 11, start + QUIET);
        bulk.remove(&set([2]));
        assert_eq!(bulk.position(), Some(11));
        bulk.remove(&set([1, 3]));
        assert_eq!((bulk.position(), bulk.due(MOST, start + 3 * QUIET)), (None, None));
    }
}
