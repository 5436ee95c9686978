//! Verifying a log on the reader's side, from the bytes as they are kept: nothing that the log's keeper says of it is believed.
//!
//! Read in this order, a log that grows meanwhile is no fault: the service's checkpoints, the witness's copies, the head, and the
//! entries up to it.

use crate::checkpoint;
use prost::Message;
use quintile_proto::audit::{AuditCheckpoint, AuditEntry, AuditEvent, AuditHead};
use quintile_store::audit::{GENESIS, link};
use std::collections::BTreeMap;
use thiserror::Error;

/// The first thing that is wrong with a log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{service}: entry {seq}: {what}")]
pub struct Fault {
    /// The service whose log it is.
    pub service: String,
    /// The place.
    pub seq: i64,
    /// What is wrong there.
    pub what: &'static str,
}

/// Verifies the log of one service and tenant, as it is read.
pub struct Verifier {
    service: String,
    tenant: String,
    /// The hash that every checkpoint's place must have.
    signed: BTreeMap<i64, Vec<u8>>,
    /// The service's own checkpoints, until the witness's copy is seen.
    unwitnessed: BTreeMap<i64, AuditCheckpoint>,
    checkpoints: u64,
    seq: i64,
    hash: Vec<u8>,
}

impl Verifier {
    /// A verifier that has seen nothing yet.
    pub fn new(service: &str, tenant: &str) -> Self {
        Self {
            service: service.to_owned(),
            tenant: tenant.to_owned(),
            signed: BTreeMap::new(),
            unwitnessed: BTreeMap::new(),
            checkpoints: 0,
            seq: 0,
            hash: GENESIS.to_vec(),
        }
    }

    fn fault(&self, seq: i64, what: &'static str) -> Fault {
        Fault { service: self.service.clone(), seq, what }
    }

    /// Takes in a checkpoint that the service keeps; all of them before those of the witness.
    pub fn checkpoint(&mut self, checkpoint: AuditCheckpoint) -> Result<(), Fault> {
        self.check_signed(&checkpoint)?;
        self.checkpoints += 1;
        self.unwitnessed.insert(checkpoint.seq, checkpoint);
        Ok(())
    }

    /// Takes in a checkpoint that access-control keeps. The service need not have it: it may have stopped before it could keep it.
    pub fn witness(&mut self, checkpoint: AuditCheckpoint) -> Result<(), Fault> {
        self.check_signed(&checkpoint)?;
        let seq = checkpoint.seq;
        if self.unwitnessed.remove(&seq).is_some_and(|own| own != checkpoint) {
            return Err(self.fault(seq, "the witness's copy of its checkpoint is another one"));
        }
        self.signed.insert(seq, checkpoint.hash);
        Ok(())
    }

    fn check_signed(&self, checkpoint: &AuditCheckpoint) -> Result<(), Fault> {
        if checkpoint.service != self.service || checkpoint.tenant != self.tenant {
            return Err(self.fault(checkpoint.seq, "its checkpoint is of another log"));
        }
        checkpoint::problem(checkpoint).map_or(Ok(()), |problem| Err(self.fault(checkpoint.seq, problem)))
    }

    /// Takes in the next entry.
    pub fn entry(&mut self, entry: &AuditEntry) -> Result<(), Fault> {
        let seq = self.seq + 1;
        if entry.seq != seq {
            return Err(self.fault(seq, "it is missing"));
        }
        let hash = link(&self.hash, &entry.event);
        if entry.hash != hash {
            return Err(self.fault(seq, "its hash is not that of its event behind the entry before it"));
        }
        let Ok(event) = AuditEvent::decode(entry.event.as_slice()) else {
            return Err(self.fault(seq, "its event is malformed"));
        };
        if event.seq != seq || event.service != self.service {
            return Err(self.fault(seq, "its event was written for another place"));
        }
        if self.signed.get(&seq).is_some_and(|signed| *signed != hash) {
            return Err(self.fault(seq, "it is not the entry that was signed"));
        }
        self.seq = seq;
        self.hash = hash.to_vec();
        Ok(())
    }

    /// The place of the last entry that was taken in.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Ends with the head, as it was read before the entries up to it.
    pub fn finish(self, head: &AuditHead) -> Result<Verified, Fault> {
        if let Some(seq) = self.unwitnessed.keys().next() {
            return Err(self.fault(*seq, "access-control does not know its checkpoint"));
        }
        if self.seq != head.seq {
            return Err(self.fault(self.seq + 1, "it is missing"));
        }
        if self.hash != head.hash {
            return Err(self.fault(self.seq, "its hash is not the head's"));
        }
        // The witness was asked before the head: whatever it had signed by then was on disk, and has to be there still.
        match self.signed.keys().next_back() {
            Some(signed) if *signed > self.seq => Err(self.fault(*signed, "it was signed, and is missing")),
            _ => Ok(Verified { events: self.seq, checkpoints: self.checkpoints }),
        }
    }
}

/// A log in which nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its entries.
    pub events: i64,
    /// The checkpoints that the service keeps of it.
    pub checkpoints: u64,
}
