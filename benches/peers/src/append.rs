//! Durable append: SQLite, fjall, redb and LMDB, a key and a record a row.
//!
//! Invariant: the key is the record's number, so every peer appends at its end, which suits them best. A commit
//! has returned, and with it the sync that the peer makes for it, before the next one begins. Peers take turns,
//! so that a disk that slows down slows all of them.

use crate::{Outcome, Plan};
use heed::types::{Bytes, U64};
use std::path::Path;
use std::time::Instant;

/// Events a commit, and commits a run.
const SIZES: [(usize, usize); 3] = [(1, 2_000), (10, 1_000), (100, 1_000)];

/// A peer: makes commits of so many records in a directory, and returns the seconds.
type Peer = fn(&Path, &[Vec<u8>], usize) -> Outcome<f64>;

const PEERS: [(&str, &str, Peer); 4] = [
    ("SQLite WAL FULL", "fsync each commit", sqlite),
    ("fjall", "fdatasync each commit", fjall),
    ("redb", "fsync each commit", redb),
    ("LMDB", "fdatasync each commit", lmdb),
];

pub(super) fn run(plan: &Plan) -> Outcome {
    for (per_commit, commits) in SIZES {
        let count = (per_commit * commits).min(plan.records.len());
        let records = &plan.records[..count];
        let mut rates = PEERS.map(|_| Vec::new());
        for _ in 0..plan.runs {
            for ((_, _, peer), rates) in PEERS.iter().zip(&mut rates) {
                let dir = tempfile::tempdir_in(&plan.dir)?;
                rates.push(count as f64 / peer(dir.path(), records, per_commit)?);
            }
        }
        for ((name, durable, _), rates) in PEERS.iter().zip(rates) {
            let stage = format!("append {per_commit} a commit");
            plan.tell(&stage, name, "events/s", durable, rates)?;
        }
    }
    Ok(())
}

fn sqlite(dir: &Path, records: &[Vec<u8>], per_commit: usize) -> Outcome<f64> {
    let mut database = rusqlite::Connection::open(dir.join("sqlite"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, record BLOB)", ())?;
    let began = Instant::now();
    for (at, group) in (0..).step_by(per_commit).zip(records.chunks(per_commit)) {
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2)")?;
            for (seq, record) in (at..).zip(group) {
                insert.execute((seq as i64, record))?;
            }
        }
        transaction.commit()?;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn fjall(dir: &Path, records: &[Vec<u8>], per_commit: usize) -> Outcome<f64> {
    let database = fjall::Database::builder(dir.join("fjall")).open()?;
    let events = database.keyspace("events", fjall::KeyspaceCreateOptions::default)?;
    let began = Instant::now();
    for (at, group) in (0u64..).step_by(per_commit).zip(records.chunks(per_commit)) {
        let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncData));
        for (seq, record) in (at..).zip(group) {
            batch.insert(&events, seq.to_be_bytes(), record.as_slice());
        }
        batch.commit()?;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn redb(dir: &Path, records: &[Vec<u8>], per_commit: usize) -> Outcome<f64> {
    const EVENTS: redb::TableDefinition<'static, u64, &[u8]> = redb::TableDefinition::new("events");
    let database = redb::Database::create(dir.join("redb"))?;
    let began = Instant::now();
    for (at, group) in (0u64..).step_by(per_commit).zip(records.chunks(per_commit)) {
        let write = database.begin_write()?;
        {
            let mut events = write.open_table(EVENTS)?;
            for (seq, record) in (at..).zip(group) {
                events.insert(seq, record.as_slice())?;
            }
        }
        write.commit()?;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn lmdb(dir: &Path, records: &[Vec<u8>], per_commit: usize) -> Outcome<f64> {
    // SAFETY: no other process has the file of a directory that was made just now.
    let database = unsafe { heed::EnvOpenOptions::new().map_size(1 << 30).open(dir)? };
    let mut write = database.write_txn()?;
    let events: heed::Database<U64<heed::byteorder::BigEndian>, Bytes> =
        database.create_database(&mut write, None)?;
    write.commit()?;
    let began = Instant::now();
    for (at, group) in (0u64..).step_by(per_commit).zip(records.chunks(per_commit)) {
        let mut write = database.write_txn()?;
        for (seq, record) in (at..).zip(group) {
            events.put_with_flags(&mut write, heed::PutFlags::APPEND, &seq, record)?;
        }
        write.commit()?;
    }
    Ok(began.elapsed().as_secs_f64())
}
