//! Keeping the columns: a block of customers at a time, when enough of them have changed and nobody waits.
//!
//! What is kept follows from records alone, and only makes a load faster. A block is as of a step; whoever is touched behind it is written down in the
//! transaction that touches it, and is read from its record when the block is loaded.

use crate::engine::{BLOCK_CUSTOMERS, block_of};
use crate::store::column_blocks::KeptBlock;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant as MachineInstant;

/// Fewer customers of a block are loaded from their records.
const MIN_CUSTOMERS: u32 = 1_024;
/// So many touches of a block since it was kept are worth keeping it anew: a load reads one record in eight at the most, where facts come evenly.
const MANY: u32 = BLOCK_CUSTOMERS / 8;
/// Steps that are remembered for a block at the most.
const OLD: i64 = 10_000;
/// How long a block is left alone while it is being touched, so that whoever changes everybody has each block kept once.
const QUIET: Duration = Duration::from_secs(5);
/// How long at the most: a block that is touched all the time is kept anew no more often.
const PATIENCE: Duration = Duration::from_mins(1);
/// Blocks that are kept at once.
const AT_ONCE: usize = 4;
/// How hard blocks are compressed: as little as possible, they are written more often than read.
const LEVEL: i32 = 1;

/// Blocks by number, as bytes.
pub type Blocks = Vec<(u32, Vec<u8>)>;

/// Which blocks are kept, and what was touched since.
#[derive(Default)]
pub struct Keeping {
    /// The last step.
    step: i64,
    blocks: BTreeMap<u32, State>,
}

/// A block.
#[derive(Default)]
struct State {
    /// The step that what is kept is as of. `None`: nothing is kept.
    kept: Option<i64>,
    since: Since,
    /// What is about to be kept: as of which step, and what was touched since.
    pending: Option<(i64, Since)>,
    /// When it was last touched, and when first since it was kept.
    last_touched: Option<MachineInstant>,
    first_touched: Option<MachineInstant>,
}

/// What happened to a block since a step.
#[derive(Clone, Copy, Default)]
struct Since {
    /// The first step that touched it.
    first: Option<i64>,
    touches: u32,
}

impl Since {
    fn touch(&mut self, step: i64) {
        self.first.get_or_insert(step);
        self.touches = self.touches.saturating_add(1);
    }
}

/// What of kept blocks is to be read, and from where.
pub struct Plan {
    /// The blocks that are kept.
    pub kept: Vec<u32>,
    /// Customers of these who were touched since.
    pub touched: RoaringBitmap,
}

impl Keeping {
    /// What is kept: blocks with their steps, and who was touched in which step; and what a load makes of it.
    pub fn new(kept: Vec<(u32, i64)>, log: &[(i64, RoaringBitmap)]) -> (Self, Plan) {
        let last = kept.iter().map(|(_, step)| *step).chain(log.iter().map(|(step, _)| *step)).max();
        let state = |(block, step)| (block, State { kept: Some(step), ..State::default() });
        let mut keeping = Self { step: last.unwrap_or(0), blocks: kept.into_iter().map(state).collect() };
        let mut touched = RoaringBitmap::new();
        for (step, customers) in log {
            for customer in customers {
                let Some(state) = keeping.blocks.get_mut(&block_of(customer)) else { continue };
                if state.kept.is_some_and(|kept| kept < *step) {
                    state.since.touch(*step);
                    touched.insert(customer);
                }
            }
        }
        let kept = keeping.blocks.keys().copied().collect();
        (keeping, Plan { kept, touched })
    }

    /// Nothing is kept of a block after all.
    pub fn lose(&mut self, block: u32) {
        self.blocks.remove(&block);
    }

    /// Begins a step that touches customers. Who of them is to be written down with it, and under which number: those of whose block something is kept.
    pub fn touch(&mut self, customers: impl Iterator<Item = u32>, now: MachineInstant) -> Option<(i64, RoaringBitmap)> {
        self.step += 1;
        let mut noted = RoaringBitmap::new();
        for customer in customers {
            let state = self.blocks.entry(block_of(customer)).or_default();
            state.last_touched = Some(now);
            state.first_touched.get_or_insert(now);
            state.since.touch(self.step);
            if let Some((_, since)) = &mut state.pending {
                since.touch(self.step);
            }
            if state.kept.is_some() || state.pending.is_some() {
                noted.insert(customer);
            }
        }
        (!noted.is_empty()).then_some((self.step, noted))
    }

    /// Forgets the blocks of customers who are no more, be they about to be kept. Those that are.
    pub fn forget(&mut self, removed: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut blocks: Vec<u32> = removed.map(block_of).collect();
        blocks.sort_unstable();
        blocks.dedup();
        for block in &blocks {
            if let Some(state) = self.blocks.get_mut(block) {
                (state.kept, state.pending) = (None, None);
            }
        }
        blocks
    }

    /// The next of so many blocks that are worth keeping.
    pub fn due(&self, blocks: u32, customers_of: impl Fn(u32) -> u32, now: MachineInstant) -> Vec<u32> {
        let is_due = |block: &u32| self.has_changed(*block, now) && customers_of(*block) >= MIN_CUSTOMERS;
        (0..blocks).filter(is_due).take(AT_ONCE).collect()
    }

    fn has_changed(&self, block: u32, now: MachineInstant) -> bool {
        let passed = |since: Option<MachineInstant>, time| since.is_none_or(|since| now.duration_since(since) >= time);
        match self.blocks.get(&block) {
            None => true,
            Some(State { pending: Some(_), .. }) => false,
            Some(State { kept, since, last_touched, first_touched, .. }) => {
                let is_old = since.first.is_some_and(|first| self.step - first >= OLD);
                let long_ago = first_touched.is_some() && passed(*first_touched, PATIENCE);
                (kept.is_none() || since.touches >= MANY || is_old) && (passed(*last_touched, QUIET) || long_ago)
            }
        }
    }

    /// Blocks are about to be kept as they are now.
    pub fn begin(&mut self, blocks: &[u32]) {
        for block in blocks {
            let state = self.blocks.entry(*block).or_default();
            state.pending = Some((self.step, Since::default()));
            state.first_touched = None;
        }
    }

    /// Those of blocks that have been compressed that are still to be kept, each with its step.
    pub fn ready(&self, blocks: Blocks) -> Vec<KeptBlock> {
        let kept = |(block, body)| {
            let step = self.blocks.get(&block)?.pending?.0;
            Some(KeptBlock { block, step, body })
        };
        blocks.into_iter().filter_map(kept).collect()
    }

    /// What was about to be kept is.
    pub fn end(&mut self) {
        for state in self.blocks.values_mut() {
            if let Some((step, since)) = state.pending.take() {
                (state.kept, state.since) = (Some(step), since);
            }
        }
    }

    /// The step before which nobody needs to know who was touched, once what is about to be kept is.
    pub fn needed_from(&self) -> i64 {
        let first = |state: &State| match (state.pending, state.kept) {
            (Some((_, since)), _) => since.first,
            (None, Some(_)) => state.since.first,
            (None, None) => None,
        };
        self.blocks.values().filter_map(first).min().unwrap_or(self.step + 1)
    }
}

/// Compresses blocks.
pub fn compressed(blocks: Blocks) -> std::io::Result<Blocks> {
    let compressed = |(block, bytes): (u32, Vec<u8>)| Ok((block, zstd::bulk::compress(&bytes, LEVEL)?));
    blocks.into_iter().map(compressed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Customers 0 to 3 of each of three blocks.
    const CUSTOMERS: [u32; 4] = [0, 1, 2, 3];
    const BLOCKS: u32 = 3;

    #[derive(Clone, Debug)]
    enum Event {
        Touch(Vec<u32>, bool),
        Begin(Vec<u32>),
        End,
        Restart,
    }

    fn customer() -> impl Strategy<Value = u32> {
        (0..BLOCKS, prop::sample::select(&CUSTOMERS)).prop_map(|(block, place)| block * BLOCK_CUSTOMERS + place)
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (prop::collection::vec(customer(), 1..4), prop::bool::weighted(0.2)).prop_map(|(who, removed)| Event::Touch(who, removed)),
            3 => prop::collection::vec(0..BLOCKS, 1..3).prop_map(Event::Begin),
            3 => Just(Event::End),
            1 => Just(Event::Restart),
        ]
    }

    /// What a database would have, and what a process has in memory: for each customer how often it was touched.
    #[derive(Default)]
    struct World {
        truth: BTreeMap<u32, u32>,
        kept: BTreeMap<u32, (i64, BTreeMap<u32, u32>)>,
        log: BTreeMap<i64, RoaringBitmap>,
        compressing: Vec<(u32, BTreeMap<u32, u32>)>,
    }

    impl World {
        fn block(&self, block: u32) -> BTreeMap<u32, u32> {
            self.truth.iter().filter(|(id, _)| block_of(**id) == block).map(|(id, touches)| (*id, *touches)).collect()
        }

        fn touch(&mut self, keeping: &mut Keeping, who: &[u32], removed: bool) {
            for id in who {
                *self.truth.entry(*id).or_default() += 1;
            }
            self.log.extend(keeping.touch(who.iter().copied(), MachineInstant::now()));
            if removed {
                for block in keeping.forget(who.iter().copied()) {
                    self.kept.remove(&block);
                }
            }
        }

        fn begin(&mut self, keeping: &mut Keeping, blocks: &[u32]) {
            if self.compressing.is_empty() {
                self.compressing = blocks.iter().map(|block| (*block, self.block(*block))).collect();
                keeping.begin(blocks);
            }
        }

        fn end(&mut self, keeping: &mut Keeping) {
            let compressed = std::mem::take(&mut self.compressing);
            let ready = keeping.ready(compressed.iter().map(|(block, _)| (*block, Vec::new())).collect());
            for KeptBlock { block, step, .. } in ready {
                let content = compressed.iter().find(|(other, _)| *other == block).unwrap();
                self.kept.insert(block, (step, content.1.clone()));
            }
            self.log.retain(|step, _| *step >= keeping.needed_from());
            keeping.end();
        }

        fn load(&mut self) -> (Keeping, BTreeMap<u32, u32>) {
            self.compressing.clear();
            let kept = self.kept.iter().map(|(block, (step, _))| (*block, *step)).collect();
            let log: Vec<_> = self.log.iter().map(|(step, who)| (*step, who.clone())).collect();
            let (keeping, plan) = Keeping::new(kept, &log);
            let from_record = |id: &u32| !plan.kept.contains(&block_of(*id)) || plan.touched.contains(*id);
            let read = self.truth.iter().filter(|(id, _)| from_record(id)).map(|(id, touches)| (*id, *touches));
            let mut loaded: BTreeMap<u32, u32> = self.kept.values().flat_map(|(_, content)| content.clone()).collect();
            loaded.extend(read);
            (keeping, loaded)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_was_kept_a_load_finds_what_there_is(events in prop::collection::vec(event(), 1..40)) {
            let (mut world, mut keeping) = (World::default(), Keeping::default());
            for event in events {
                match event {
                    Event::Touch(who, removed) => world.touch(&mut keeping, &who, removed),
                    Event::Begin(blocks) => world.begin(&mut keeping, &blocks),
                    Event::End => world.end(&mut keeping),
                    Event::Restart => keeping = world.load().0,
                }
                // What a crash at this moment would leave.
                let compressing = world.compressing.clone();
                let (_, loaded) = world.load();
                prop_assert_eq!(&loaded, &world.truth);
                world.compressing = compressing;
            }
        }
    }

    #[test]
    fn a_block_is_kept_when_it_is_left_alone_and_again_when_much_of_it_has_changed() {
        let mut keeping = Keeping::default();
        let mut now = MachineInstant::now();
        let due = |keeping: &Keeping, now| keeping.due(2, |_| MIN_CUSTOMERS, now);
        assert_eq!(keeping.due(1, |_| MIN_CUSTOMERS - 1, now), [0; 0]);
        assert!(keeping.touch([7].into_iter(), now).is_none(), "nothing is kept yet");
        assert_eq!(due(&keeping, now), [1], "the other is being touched");
        now += QUIET;
        assert_eq!(due(&keeping, now), [0, 1]);
        keeping.begin(&[0, 1]);
        assert_eq!(due(&keeping, now), [0; 0]);
        keeping.end();
        keeping.touch(1..MANY, now);
        now += QUIET;
        assert_eq!(due(&keeping, now), [0; 0], "few have changed");
        keeping.touch([1].into_iter(), now);
        assert_eq!(due(&keeping, now), [0; 0], "it is being touched");
        for _ in 0..PATIENCE.as_secs() {
            now += Duration::from_secs(1);
            keeping.touch([1].into_iter(), now);
        }
        assert_eq!(due(&keeping, now), [0], "it is being touched all the time");
    }

    #[test]
    fn a_block_is_kept_anew_before_too_many_steps_must_be_remembered() {
        let (mut keeping, now) = (Keeping::default(), MachineInstant::now());
        keeping.begin(&[0]);
        keeping.end();
        keeping.touch([1].into_iter(), now);
        assert_eq!(keeping.needed_from(), 1);
        for _ in 0..OLD {
            keeping.touch([BLOCK_CUSTOMERS].into_iter(), now);
        }
        assert_eq!(keeping.due(1, |_| MIN_CUSTOMERS, now + QUIET), [0]);
        keeping.begin(&[0]);
        assert_eq!(keeping.needed_from(), OLD + 2);
    }
}
