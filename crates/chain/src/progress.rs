//! How far a service's answers are true, and the waking of those who wait for more.

use parking_lot::Mutex;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::types::Watermark as WatermarkMessage;
use quintile_rpc::convert;
use quintile_store::follower::Place;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Everything up to here is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Facts acknowledged with a position up to this one.
    pub facts_position: i64,
    /// Changes that business time brings, up to this instant.
    pub time: Option<Instant>,
}

impl Watermark {
    /// The watermark of a message.
    pub fn from_message(message: &WatermarkMessage) -> Self {
        Self { facts_position: message.facts_position, time: convert::sent_instant(message.time.as_ref()) }
    }

    /// The watermark that a worker's place records.
    pub fn from_place(place: &Place) -> Self {
        let time = (place.time_micros > 0).then(|| Instant::from_micros(place.time_micros));
        Self { facts_position: place.facts_position, time }
    }

    /// The message of a watermark.
    pub fn to_message(self) -> WatermarkMessage {
        WatermarkMessage { facts_position: self.facts_position, time: self.time.map(convert::timestamp) }
    }

    fn later_of(self, other: Self) -> Self {
        Self { facts_position: self.facts_position.max(other.facts_position), time: self.time.max(other.time) }
    }
}

/// One tenant's progress in this process: changes with every commit and every tick.
#[derive(Clone)]
pub struct Progress(Arc<watch::Sender<Watermark>>);

impl Progress {
    /// The present watermark.
    pub fn watermark(&self) -> Watermark {
        *self.0.borrow()
    }

    /// Raises the watermark; it never falls. Wakes those who wait, also when only rows are new.
    pub fn raise(&self, watermark: Watermark) {
        self.0.send_modify(|present| *present = present.later_of(watermark));
    }

    /// For those who wait for more.
    pub fn subscribe(&self) -> watch::Receiver<Watermark> {
        self.0.subscribe()
    }
}

/// The progress of every tenant.
#[derive(Clone, Default)]
pub struct ProgressOfTenants(Arc<Mutex<HashMap<TenantId, Progress>>>);

impl ProgressOfTenants {
    /// A tenant's progress.
    pub fn of(&self, tenant: TenantId) -> Progress {
        let mut tenants = self.0.lock();
        tenants.entry(tenant).or_insert_with(|| Progress(Arc::new(watch::Sender::new(Watermark::default())))).clone()
    }
}
