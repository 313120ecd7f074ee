//! A ledger in a stopped cloud's store is tampered with, and `log verify` is asked with an old receipt.
//! Invariant shown here: it exits with 3 and names the exact position, to people and in JSON; also where who changed a
//! record has the device's own key, so that chain, heads and tip are made anew and nothing but the receipt shows it.
//! The many other ways to tamper, and to cover it up, are drawn in `tests/hostile/tampering.rs`.

use core::ops::ControlFlow;
use std::fs::{self, File};
use std::path::PathBuf;

use redb::backends::FileBackend;
use serde_json::{Value, json};
use tallyroll_edge::data_dir::DataDir;
use tallyroll_edge::identity::{Enrolment, Keys};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::{Tip, open, seal};
use tallyroll_engine::store::rows::{BatchRow, HeadRow, TipRow, epoch_key};
use tallyroll_engine::store::{RedbStore, Rows, Store};
use tallyroll_schema::{Event, Position, Record, Records, TenantId};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE};
use tempfile::TempDir;

const DOES_NOT_HOLD: i32 = 3;
/// Syncs, each of a batch of the ledger, after the one that opens it.
const ROUNDS: usize = 4;
/// Of so many events.
const PAGES: u64 = 3;
/// The one after which the receipt is put aside.
const RECEIPTED: usize = 2;

/// A cloud that stands still, and what somebody needs who tampers with it.
struct Place {
    _dir: TempDir,
    cloud: Cloud,
    tenant: TenantId,
    /// The device's: it is in on it.
    signer: Signer,
    receipt: PathBuf,
    receipted: Position,
    original: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    /// Another record, and nothing else.
    None,
    /// Chained and signed anew, to the end.
    Signed,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cloud = Cloud::start(dir.path().join("cloud"));
        let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
        branch.wait_synced(PATIENCE);
        let (receipt, mut ledger) = (dir.path().join("receipt.json"), Value::Null);
        for round in 0..ROUNDS {
            branch.stop(); // so that what is recorded becomes one batch
            let page = r#"{"kind":"pages.captured","user":"anna","pages":3}"#;
            let pages = format!("{page}\n").repeat(PAGES as usize);
            drop(branch.run_with(&["record"], pages.as_bytes()).succeeded());
            branch.start();
            branch.wait_synced(PATIENCE);
            if round == RECEIPTED {
                let status = branch.json(&["status"]);
                let mut logs = status["logs"].as_array().unwrap().iter();
                ledger = logs.find(|log| log["class"] == "ledger").unwrap().clone();
                fs::write(&receipt, status.to_string()).unwrap();
            }
        }
        branch.stop();
        cloud.stop();
        let of = DataDir::new(branch.data());
        let (tenant, signer) =
            (Enrolment::load(&of).unwrap().tenant, Keys::load_or_create(&of).unwrap().signer);
        let receipted = ledger["receipt"]["head"]["position"].as_str().unwrap().parse().unwrap();
        let original = fs::read(cloud.data().join("store.redb")).unwrap();
        Self { _dir: dir, cloud, tenant, signer, receipt, receipted, original }
    }

    fn store(&self) -> RedbStore {
        let path = self.cloud.data().join("store.redb");
        let file = File::options().read(true).write(true).open(path).unwrap();
        RedbStore::open(FileBackend::new(file).unwrap(), 1 << 20).unwrap()
    }

    fn batches(&self, rows: &Rows<'_, RedbStore>) -> Vec<BatchRow> {
        let mut batches = Vec::new();
        let prefix = epoch_key(self.receipted.log, self.receipted.epoch);
        rows.scan::<BatchRow>(&prefix, &prefix, &mut |_, row| {
            batches.push(row);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        batches
    }

    /// Makes a capture cheaper in a batch of the store as it was.
    fn tamper(&self, changed: usize, cover: Cover) {
        fs::write(self.cloud.data().join("store.redb"), &self.original).unwrap();
        let mut store = self.store();
        let Position { log, epoch, .. } = self.receipted;
        let (mut rows, mut tip) = (Rows::new(self.tenant, &store), Tip::START);
        for (number, row) in self.batches(&rows).into_iter().enumerate() {
            let (header, before) = (*row.batch.header(), row.hash);
            let mut records = open(row.batch.clone()).unwrap().records;
            let mut batch = row.batch;
            if number == changed {
                records = cheaper(&records);
                batch = seal(log, epoch, header.first_seq, header.count, &records).unwrap();
            }
            tip = tip.advance(self.tenant, &batch, &records).unwrap();
            let hash = if cover == Cover::Signed { tip.hash } else { before };
            rows.put(&(log, epoch, header.first_seq), &BatchRow { hash, batch });
            let end = (log, epoch, tip.next_seq - 1);
            if cover == Cover::Signed && rows.get::<HeadRow>(&end).unwrap().is_some() {
                let head = self.signer.sign_head(self.tenant, tip.head(log, epoch).unwrap());
                rows.put(&end, &HeadRow(head));
            }
        }
        if cover == Cover::Signed {
            rows.put(&(log, epoch), &TipRow::from(tip));
        }
        let changes = rows.into_changes();
        store.commit(changes).unwrap();
    }

    /// Verifies with the old receipt: it does not hold there, for this reason.
    #[track_caller]
    fn names(&self, seq: u64, why: &str) {
        let position = Position { seq, ..self.receipted }.to_string();
        let verify = ["log", "verify", "--receipt", self.receipt.to_str().unwrap()];
        let told = self.cloud.run(&verify).failed(DOES_NOT_HOLD);
        assert_eq!(told, format!("tallyroll: does not hold at {position}: {why}\n"));
        let found = self.cloud.run(&[&verify[..], &["--json"]].concat());
        assert_eq!(found.code(), Some(DOES_NOT_HOLD), "{found:?}");
        let found: Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(found["holds"], false);
        let logs = found["logs"].as_array().unwrap().iter();
        let wrong: Vec<&Value> = logs.map(|log| &log["wrong"]).filter(|at| !at.is_null()).collect();
        assert_eq!(wrong, [&json!([position, why])]);
    }

    #[track_caller]
    fn holds(&self, receipt: bool) {
        let with = ["--receipt", self.receipt.to_str().unwrap()];
        let with = if receipt { &with[..] } else { &[] };
        let found = self.cloud.json(&[&["log", "verify"], with].concat());
        assert_eq!(found["holds"], true, "{found}");
    }
}

/// The same records, but with the first one a page less is captured.
fn cheaper(records: &[u8]) -> Vec<u8> {
    let mut changed = false;
    let records = Records::new(records).flatten().flat_map(|record| match record.event() {
        Ok(Event::PagesCaptured(mut captured)) if !changed => {
            changed = true;
            captured.pages -= 1;
            Record::encode(&captured.into(), record.header.time).unwrap()
        }
        _ => record.bytes.to_vec(),
    });
    let records = records.collect();
    assert!(changed, "a page is in it");
    records
}

#[test]
fn what_was_tampered_with_is_named_to_the_batch_by_an_old_receipt() {
    let place = Place::new();
    place.holds(true);
    let begins: Vec<u64> = {
        let store = place.store();
        let batches = place.batches(&Rows::new(place.tenant, &store));
        batches.iter().map(|row| row.batch.header().first_seq).collect()
    };
    let expected: Vec<u64> =
        [0].into_iter().chain((0..ROUNDS as u64).map(|of| 1 + of * PAGES)).collect();
    assert_eq!(begins, expected, "the genesis, and a batch a sync");
    // The batch that the receipt is for: a receipt is of a batch's end.
    let receipted = 1 + RECEIPTED;
    assert!((begins[receipted]..begins[receipted + 1]).contains(&place.receipted.seq));

    for changed in 1..begins.len() {
        place.tamper(changed, Cover::None);
        place.names(begins[changed], "the chain differs from what was stored");

        place.tamper(changed, Cover::Signed);
        place.holds(false); // who has the key signs whatever there is
        match changed <= receipted {
            // It is the first place of which the receipt says anything.
            true => place.names(begins[receipted], "another history than the receipt's"),
            false => place.holds(true), // it is younger than the receipt
        }
    }
}

/// It said how many events are missing, of a log that was never here.
#[test]
fn a_receipt_of_another_cloud_is_told_to_be_one() {
    let place = Place::new();
    let status: Value = serde_json::from_slice(&fs::read(&place.receipt).unwrap()).unwrap();
    let logs = status["logs"].as_array().unwrap();
    let mut ledger = logs.iter().find(|log| log["class"] == "ledger").unwrap().clone();
    let here = ledger["receipt"]["head"]["position"].as_str().unwrap().to_owned();
    let other = if here.starts_with('0') { "1" } else { "0" };
    let elsewhere = format!("{other}{}", &here[1..]);
    ledger["receipt"]["head"]["position"] = elsewhere.clone().into();
    fs::write(&place.receipt, ledger.to_string()).unwrap();
    let verify = ["log", "verify", "--receipt", place.receipt.to_str().unwrap()];
    let told = place.cloud.run(&verify).failed(DOES_NOT_HOLD);
    assert!(
        told.contains(&format!("at {elsewhere}: the receipt is none of this cloud's")),
        "{told}"
    );
    let stdout = place.cloud.run(&verify).stdout;
    let sums = stdout.lines().last().unwrap();
    assert!(!sums.contains('≠'), "nothing of this cloud's is missing: {sums}");

    // One of a log that was not asked for.
    fs::write(&place.receipt, json!({ "receipt": logs[0]["receipt"] }).to_string()).unwrap();
    let class = |class: &str| logs.iter().find(|log| log["class"] == class).unwrap()["log"].clone();
    let other = if logs[0]["class"] == "ledger" { class("telemetry") } else { class("ledger") };
    let told = place.cloud.run(&[&verify[..], &[other.as_str().unwrap()]].concat());
    assert!(told.failed(DOES_NOT_HOLD).contains("not the one that was asked for"));
}
