//! The audit log: one chain whoever writes, and no change of it that goes unnoticed.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use prost::Message;
use quintile_audit::verify::{Fault, Verified, Verifier};
use quintile_audit::{canonical, signed_text, thumbprint};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::audit::{AuditCheckpoint, AuditEntry, AuditEvent, AuditHead};
use quintile_rpc::convert;
use quintile_store::audit::{self, Behind, Checkpoint, Entry, GENESIS, Head, Span, link};
use quintile_store::{Database, StoreError};
use quintile_tests::{SERVICE, TENANT, TestStore, on_both_databases};
use sea_orm::{ConnectionTrait, Statement, Value};
use std::collections::BTreeSet;

on_both_databases! {
    entries_of_two_processes_at_once_make_one_chain,
    tenants_have_chains_of_their_own,
    a_batch_that_meets_a_forged_entry_is_not_written,
    entries_are_read_by_time_in_either_direction_and_within_a_span,
    a_checkpoint_is_kept_once_and_tells_how_far_the_log_is_signed,
    every_change_is_noticed_where_it_was_made,
}

/// Concurrent writers, half of them in either process.
const WRITERS: i64 = 8;
/// Batches of each.
const BATCHES: i64 = 6;
/// Entries of a batch.
const BATCH: i64 = 3;

fn event(subject: &str) -> AuditEvent {
    AuditEvent { service: SERVICE.to_owned(), subject: subject.to_owned(), ..AuditEvent::default() }
}

fn at(micros: i64) -> Instant {
    Instant::from_micros(micros)
}

async fn append(database: &Database, tenant: TenantId, subjects: &[&str]) -> Head {
    let events: Vec<_> = subjects.iter().zip(1..).map(|(subject, number)| (at(number), event(subject))).collect();
    audit::append(database, tenant, &events, None, canonical).await.unwrap()
}

async fn all(database: &Database, tenant: TenantId) -> Vec<Entry> {
    audit::page(database.reader(), tenant, 0, 10_000).await.unwrap()
}

/// Signs like access-control.
fn signed(seed: u8, seq: i64, hash: &[u8]) -> AuditCheckpoint {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public_x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let mut checkpoint = AuditCheckpoint {
        service: SERVICE.to_owned(),
        tenant: "default".to_owned(),
        seq,
        hash: hash.to_vec(),
        time: Some(convert::timestamp(at(7))),
        kid: thumbprint(&public_x),
        public_x,
        signature: Vec::new(),
    };
    checkpoint.signature = key.sign(signed_text(&checkpoint).as_bytes()).as_ref().to_vec();
    checkpoint
}

fn kept(checkpoint: &AuditCheckpoint) -> Checkpoint {
    Checkpoint {
        seq: checkpoint.seq,
        hash: checkpoint.hash.clone(),
        at: convert::sent_instant(checkpoint.time.as_ref()).unwrap(),
        kid: checkpoint.kid.clone(),
        public_x: checkpoint.public_x.clone(),
        signature: checkpoint.signature.clone(),
    }
}

fn message(kept: Checkpoint) -> AuditCheckpoint {
    AuditCheckpoint {
        service: SERVICE.to_owned(),
        tenant: "default".to_owned(),
        seq: kept.seq,
        hash: kept.hash,
        time: Some(convert::timestamp(kept.at)),
        kid: kept.kid,
        public_x: kept.public_x,
        signature: kept.signature,
    }
}

/// Verifies a log as it is in the database, against what the witness has.
async fn verify(database: &Database, tenant: TenantId, witnessed: &[AuditCheckpoint]) -> Result<Verified, Fault> {
    let mut verifier = Verifier::new(SERVICE, "default");
    for own in audit::checkpoints(database.reader(), tenant, 0, 100).await.unwrap() {
        verifier.checkpoint(message(own))?;
    }
    for copy in witnessed {
        verifier.witness(copy.clone())?;
    }
    let head = audit::head(database.reader(), tenant).await.unwrap();
    for Entry { seq, body, hash, .. } in all(database, tenant).await {
        verifier.entry(&AuditEntry { seq, event: body, hash })?;
    }
    verifier.finish(&AuditHead { service: SERVICE.to_owned(), seq: head.seq, hash: head.hash })
}

async fn entries_of_two_processes_at_once_make_one_chain(store: TestStore) {
    let processes = [store.open_audit().await, store.open_audit().await];
    let writers = (0..WRITERS).map(|writer| {
        let database = processes[writer as usize % 2].clone();
        tokio::spawn(async move {
            // Right where nobody else has written since, and mostly wrong.
            let mut left = None;
            for batch in 0..BATCHES {
                let subject = |number| format!("{writer}/{batch}/{number}");
                let events: Vec<_> = (0..BATCH).map(|number| (at(number), event(&subject(number)))).collect();
                left = Some(audit::append(&database, TENANT, &events, left, canonical).await.unwrap());
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    let entries = all(&processes[0], TENANT).await;
    let total = WRITERS * BATCHES * BATCH;
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());
    let subjects: BTreeSet<_> =
        entries.iter().map(|entry| AuditEvent::decode(entry.body.as_slice()).unwrap().subject).collect();
    assert_eq!(subjects.len() as i64, total, "nothing is lost or doubled");
    assert_eq!(verify(&processes[1], TENANT, &[]).await, Ok(Verified { events: total, checkpoints: 0 }));
    for database in processes {
        database.close().await.unwrap();
    }
}

async fn tenants_have_chains_of_their_own(store: TestStore) {
    let database = store.open_audit().await;
    append(&database, TenantId(1), &["ann", "bob"]).await;
    append(&database, TenantId(2), &["ann"]).await;
    assert_eq!(all(&database, TenantId(2)).await[0].hash, all(&database, TenantId(1)).await[0].hash);
    assert_eq!(audit::head(database.reader(), TenantId(1)).await.unwrap().seq, 2);
    assert_eq!(audit::head(database.reader(), TenantId(2)).await.unwrap().seq, 1);
    let nobody = Head { seq: 0, hash: GENESIS.to_vec() };
    assert_eq!(audit::head(database.reader(), TenantId(3)).await.unwrap(), nobody);
    assert_eq!(all(&database, TenantId(3)).await, []);
    database.close().await.unwrap();
}

async fn a_batch_that_meets_a_forged_entry_is_not_written(store: TestStore) {
    let database = store.open_audit().await;
    append(&database, TENANT, &["ann"]).await;
    let before = all(&database, TENANT).await;
    insert(&database, TENANT, &Entry { seq: 3, ..before[0].clone() }).await;
    let events = vec![(at(1), event("bob")), (at(1), event("eve"))];
    let head = audit::head(database.reader(), TENANT).await.unwrap();
    let failed = audit::append(&database, TENANT, &events, None, canonical).await;
    assert!(matches!(failed, Err(StoreError::Configuration(_))), "{failed:?}");
    // By one statement, which the database itself refuses.
    let failed = audit::append(&database, TENANT, &events, Some(head), canonical).await;
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    assert_eq!(audit::head(database.reader(), TENANT).await.unwrap().seq, 1);
    assert_eq!(all(&database, TENANT).await.len(), 2, "the first and the forged one");
    database.close().await.unwrap();
}

async fn entries_are_read_by_time_in_either_direction_and_within_a_span(store: TestStore) {
    let database = store.open_audit().await;
    // The machine's clock went back between entries 2 and 3; entries 4 and 5 are of one moment.
    for micros in [10, 30, 20, 40, 40, 50] {
        audit::append(&database, TENANT, &[(at(micros), event("ann"))], None, canonical).await.unwrap();
    }
    for (start, end, newest_first, expected) in [
        (None, None, false, vec![1, 3, 2, 4, 5, 6]),
        (None, None, true, vec![6, 5, 4, 2, 3, 1]),
        (Some(20), Some(50), false, vec![3, 2, 4, 5]),
        (Some(40), None, true, vec![6, 5, 4]),
        (None, Some(10), false, vec![]),
    ] {
        let span = Span { start: start.map(at), end: end.map(at), newest_first };
        let (mut seqs, mut behind) = (Vec::new(), None);
        loop {
            let page = audit::page_by_time(database.reader(), TENANT, &span, behind, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            behind = Some(Behind { at: last.at, seq: last.seq });
            seqs.extend(page.iter().map(|entry| entry.seq));
        }
        assert_eq!(seqs, expected, "{start:?} {end:?} {newest_first}");
    }
    database.close().await.unwrap();
}

async fn a_checkpoint_is_kept_once_and_tells_how_far_the_log_is_signed(store: TestStore) {
    let database = store.open_audit().await;
    let head = append(&database, TENANT, &["ann", "bob"]).await;
    let (first, again) = (kept(&signed(1, 2, &head.hash)), kept(&signed(2, 2, &head.hash)));
    audit::keep_checkpoint(&database, TENANT, first.clone(), at(100)).await.unwrap();
    audit::keep_checkpoint(&database, TENANT, again, at(200)).await.unwrap();
    assert_eq!(audit::checkpoints(database.reader(), TENANT, 0, 10).await.unwrap(), [first]);
    assert_eq!(audit::checkpoints(database.reader(), TENANT, 2, 10).await.unwrap(), []);
    let later = append(&database, TENANT, &["eve"]).await;
    let standings = audit::standings(database.reader()).await.unwrap();
    assert_eq!(standings.len(), 1);
    assert_eq!((standings[0].tenant, standings[0].head.clone()), (TENANT, later));
    assert_eq!((standings[0].checkpoint_seq, standings[0].checkpoint_at), (2, at(100)));
    database.close().await.unwrap();
}

/// A log of six entries, of which the fourth was signed, and what may be done to it.
struct Log {
    entries: Vec<Entry>,
    head: Head,
    checkpoints: Vec<Checkpoint>,
    witnessed: Vec<AuditCheckpoint>,
}

impl Log {
    /// Makes the chain right again behind a change.
    fn chain_again(&mut self) {
        let mut hash = GENESIS;
        for entry in &mut self.entries {
            hash = link(&hash, &entry.body);
            entry.hash = hash.to_vec();
        }
        self.head = Head { seq: self.entries.len() as i64, hash: hash.to_vec() };
    }

    /// Another event in an entry's place.
    fn rewrite(&mut self, seq: i64) {
        self.entries[seq as usize - 1].body = canonical(&event("mallory"), seq);
    }

    fn truncate(&mut self, seq: i64) {
        self.entries.truncate(seq as usize);
        self.chain_again();
    }
}

type Change = fn(&mut Log);

/// A name, the change, and the place at which it is noticed; 0: it is none.
const CHANGES: [(&str, Change, i64); 17] = [
    ("no change", |_| (), 0),
    ("a body changed", |log| log.rewrite(2), 2),
    ("a hash changed", |log| log.entries[2].hash[0] ^= 1, 3),
    ("the last hash changed", |log| log.entries[5].hash[31] ^= 1, 6),
    ("the first row deleted", |log| drop(log.entries.remove(0)), 1),
    ("a row in the middle deleted", |log| drop(log.entries.remove(2)), 3),
    (
        "a row in the middle deleted, and the rest chained",
        |log| {
            log.entries.remove(2);
            log.chain_again();
        },
        3,
    ),
    ("the last row deleted", |log| drop(log.entries.pop()), 6),
    (
        "two rows swapped",
        |log| {
            log.entries.swap(1, 2);
            log.entries[1].seq = 2;
            log.entries[2].seq = 3;
        },
        2,
    ),
    (
        "two rows swapped, and the rest chained",
        |log| {
            log.entries.swap(1, 2);
            log.entries[1].seq = 2;
            log.entries[2].seq = 3;
            log.chain_again();
        },
        2,
    ),
    ("the tail cut off before the checkpoint", |log| log.truncate(3), 4),
    (
        "the tail and the checkpoint cut off",
        |log| {
            log.truncate(3);
            log.checkpoints.clear();
        },
        4,
    ),
    (
        "a fork chained behind the checkpoint's back",
        |log| {
            log.rewrite(2);
            log.chain_again();
        },
        4,
    ),
    (
        "a fork, its checkpoint deleted",
        |log| {
            log.rewrite(2);
            log.chain_again();
            log.checkpoints.clear();
        },
        4,
    ),
    (
        "a fork, its checkpoint signed by a stranger",
        |log| {
            log.rewrite(2);
            log.chain_again();
            log.checkpoints = vec![kept(&signed(66, 4, &log.entries[3].hash))];
        },
        4,
    ),
    (
        "a fork, its checkpoint changed",
        |log| {
            log.rewrite(2);
            log.chain_again();
            log.checkpoints[0].hash = log.entries[3].hash.clone();
        },
        4,
    ),
    ("the witness's copy deleted", |log| log.witnessed.clear(), 4),
];

async fn every_change_is_noticed_where_it_was_made(store: TestStore) {
    let database = store.open_audit().await;
    for (tenant, (name, change, noticed)) in (1..).map(TenantId).zip(CHANGES) {
        let head = append(&database, tenant, &["a", "b", "c", "d"]).await;
        let witnessed = vec![signed(1, head.seq, &head.hash)];
        audit::keep_checkpoint(&database, tenant, kept(&witnessed[0]), at(9)).await.unwrap();
        let head = append(&database, tenant, &["e", "f"]).await;
        let checkpoints = audit::checkpoints(database.reader(), tenant, 0, 10).await.unwrap();
        let mut log = Log { entries: all(&database, tenant).await, head, checkpoints, witnessed };
        change(&mut log);
        rewrite(&database, tenant, &log).await;
        let verdict = verify(&database, tenant, &log.witnessed).await;
        match verdict {
            Ok(verified) => assert_eq!((noticed, verified), (0, Verified { events: 6, checkpoints: 1 }), "{name}"),
            Err(fault) => assert_eq!(fault.seq, noticed, "{name}: {fault}"),
        }
    }
    database.close().await.unwrap();
}

async fn execute(database: &Database, sql: &str, values: Vec<Value>) {
    let statement = Statement::from_sql_and_values(database.backend(), sql, values);
    database.writer().execute_raw(statement).await.unwrap();
}

async fn insert(database: &Database, tenant: TenantId, entry: &Entry) {
    let sql = "INSERT INTO audit_event (tenant_id, seq, at_micros, body, hash) VALUES ($1, $2, $3, $4, $5)";
    let Entry { seq, at, body, hash } = entry.clone();
    execute(database, sql, vec![tenant.0.into(), seq.into(), at.micros().into(), body.into(), hash.into()]).await;
}

/// Puts a log in the place of a tenant's, as somebody who has the database can.
async fn rewrite(database: &Database, tenant: TenantId, log: &Log) {
    execute(database, "DELETE FROM audit_event WHERE tenant_id = $1", vec![tenant.0.into()]).await;
    for entry in &log.entries {
        insert(database, tenant, entry).await;
    }
    let head = vec![log.head.seq.into(), log.head.hash.clone().into(), tenant.0.into()];
    execute(database, "UPDATE audit_head SET seq = $1, hash = $2 WHERE tenant_id = $3", head).await;
    execute(database, "DELETE FROM audit_checkpoint WHERE tenant_id = $1", vec![tenant.0.into()]).await;
    for checkpoint in log.checkpoints.clone() {
        audit::keep_checkpoint(database, tenant, checkpoint, at(9)).await.unwrap();
    }
}
