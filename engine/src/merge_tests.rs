//! What a burst is refused for, each by its reason: the reason decides what its device does next.
//!
//! Invariant: every burst here is signed by the log's own key, so nothing but the fault it shows refuses it. A
//! fork makes a device set its history aside, a gap makes it send again, poison stops its log.

use crate::Error;
use crate::keys::Signer;
use crate::log::{Checked, Tip, genesis, seal};
use crate::merge::{Admitted, Ahead, Burst, Refusal, admit};
use crate::store::rows::{BatchRow, PrunedRow};
use crate::store::{MemoryStore, Rows, Store};
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::{EpochOpened, EpochReason, LogClass, LogOpened};
use tallyroll_schema::event::{Bytes, UnknownEvent};
use tallyroll_schema::limits::BURST_RECORDS_KEPT_MAX;
use tallyroll_schema::{
    Batch, EpochId, Event, Hash, Head, LogId, Position, Record, TenantId, Timestamp, Wall,
};

const TENANT: TenantId = TenantId([1; 16]);
const EPOCH: EpochId = EpochId { counter: 0, nonce: [2; 16] };
const NEXT: EpochId = EpochId { counter: 1, nonce: [3; 16] };

fn signer() -> Signer {
    Signer::from_seed(&[4; 32])
}

fn signed(head: Head, batches: &[&Batch]) -> Burst {
    let batches = batches.iter().map(|batch| (*batch).clone()).collect();
    Burst { batches, head: signer().sign_head(TENANT, head) }
}

fn begin(tenant: TenantId) -> (LogId, Vec<u8>) {
    let (class, writer, about) = (LogClass::Ledger, signer().public_key(), None);
    let opened = LogOpened { tenant, class, writer, about, epoch: EPOCH };
    genesis(&opened, Timestamp::default()).expect("encodes")
}

fn record(event: impl Into<Event>) -> Vec<u8> {
    Record::encode(&event.into(), Timestamp::default()).expect("encodes")
}

/// A batch of these records at a tip, which moves on.
fn sealed(log: LogId, epoch: EpochId, tip: &mut Tip, records: &[Vec<u8>]) -> Batch {
    let (count, records) = (u32::try_from(records.len()).expect("fits"), records.concat());
    let batch = seal(log, epoch, tip.next_seq, count, &records).expect("seals");
    *tip = tip.advance(TENANT, &batch, &records).expect("goes on");
    batch
}

/// A log of three batches: its genesis, two events, two events; and the head of each.
struct Log {
    id: LogId,
    batches: [Batch; 3],
    heads: [Head; 3],
    tip: Tip,
}

fn log() -> Log {
    let (id, first) = begin(TENANT);
    let event = |uptime_seconds| record(HeartbeatSent { uptime_seconds });
    let (mut tip, mut heads) = (Tip::START, Vec::new());
    let records = [vec![first], vec![event(1), event(2)], vec![event(3), event(4)]];
    let batches = records.map(|records| {
        let batch = sealed(id, EPOCH, &mut tip, &records);
        heads.push(tip.head(id, EPOCH).expect("is there"));
        batch
    });
    Log { id, batches, heads: heads.try_into().expect("three"), tip }
}

impl Log {
    fn whole(&self) -> Burst {
        signed(self.heads[2], &self.batches.each_ref())
    }

    /// A new epoch that says it is `named`, and hangs on a head.
    fn epoch(&self, epoch: EpochId, named: EpochId, on: Head) -> Burst {
        let Position { epoch: parent, seq: parent_seq, .. } = on.position;
        let (reason, divergent) = (EpochReason::Restored, None);
        let opened = EpochOpened {
            epoch: named,
            parent,
            parent_seq,
            parent_hash: on.hash,
            reason,
            divergent,
        };
        let mut tip = Tip::START;
        let batch = sealed(self.id, epoch, &mut tip, &[record(opened)]);
        signed(tip.head(self.id, epoch).expect("is there"), &[&batch])
    }
}

/// Admits it, which comes to the same whether it was unpacked before or not.
fn bring(store: &mut MemoryStore, burst: Burst) -> Result<Admitted, Refusal> {
    let ahead = Ahead::of(&burst);
    let unpacked = brought(&mut store.clone(), (burst.clone(), ahead));
    let admitted = brought(store, (burst, Ahead::default()));
    assert_eq!(format!("{unpacked:?}"), format!("{admitted:?}"));
    admitted
}

fn brought(store: &mut MemoryStore, burst: (Burst, Ahead)) -> Result<Admitted, Refusal> {
    let mut rows = Rows::new(TENANT, store);
    let admitted = admit(&mut rows, burst, &|_, _: &LogOpened| Ok(()));
    let changes = rows.into_changes();
    match admitted {
        Ok(admitted) => {
            store.commit(changes).expect("commits");
            Ok(admitted)
        }
        Err(Error::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

fn holding(burst: Burst) -> MemoryStore {
    let mut store = MemoryStore::default();
    bring(&mut store, burst).expect("is admitted");
    store
}

#[track_caller]
fn assert_refused(store: &mut MemoryStore, burst: Burst, why: Refusal) {
    assert_eq!(bring(store, burst).map(|admitted| admitted.tip), Err(why));
}

#[track_caller]
fn assert_poison(store: &mut MemoryStore, burst: Burst) {
    let found = bring(store, burst).map(|admitted| admitted.tip);
    assert!(matches!(found, Err(Refusal::Poison(_))), "{found:?}");
}

/// A burst's records may be five hundred times what was sent, and all of them were held at once.
#[test]
fn a_burst_is_admitted_without_all_of_its_records_at_once() {
    let (id, first) = begin(TENANT);
    let body = Bytes(vec![0; 250 * 1024]);
    let large = record(Event::Unknown(UnknownEvent { code: 0x7fff, version: 1, body }));
    let mut tip = Tip::START;
    let mut batches = vec![sealed(id, EPOCH, &mut tip, &[first])];
    batches.extend((0..40).map(|_| sealed(id, EPOCH, &mut tip, &[large.clone(), large.clone()])));
    let burst = signed(tip.head(id, EPOCH).expect("is there"), &batches.iter().collect::<Vec<_>>());
    assert!(burst.len() < 64 * 1024, "as sent");
    let admitted = bring(&mut MemoryStore::default(), burst).expect("is admitted");
    let kept: usize = admitted.new.iter().map(Checked::kept_len).sum();
    assert!((BURST_RECORDS_KEPT_MAX / 2..=BURST_RECORDS_KEPT_MAX).contains(&kept), "{kept}");
    let records = |checked: &Checked| checked.opened().expect("opens again").records.len();
    assert_eq!(admitted.new.iter().skip(1).map(records).sum::<usize>(), 80 * large.len());
}

#[test]
fn what_goes_on_after_a_gap_is_no_fork() {
    let log = log();
    let last = || signed(log.heads[2], &[&log.batches[2]]);
    let begun = signed(log.heads[0], &[&log.batches[0]]);
    assert_refused(&mut holding(begun), last(), Refusal::Gap { expected: 1, found: 3 });
    assert_refused(&mut MemoryStore::default(), last(), Refusal::Gap { expected: 0, found: 3 });
}

/// Its writer wrote twice; but where what it could be compared with was pruned, nobody can say so.
#[test]
fn batches_that_are_cut_otherwise_are_a_fork_unless_what_was_there_is_pruned() {
    let log = log();
    let mut store = holding(log.whole());
    let mut tip = Tip { next_seq: 2, hash: Hash([7; 32]) };
    let other = sealed(log.id, EPOCH, &mut tip, &[record(HeartbeatSent { uptime_seconds: 2 })]);
    let other = || signed(tip.head(log.id, EPOCH).expect("is there"), &[&other]);
    assert_refused(&mut store, other(), Refusal::Fork { seq: 2 });

    let mut rows = Rows::new(TENANT, &store);
    let Tip { next_seq, hash } = log.tip;
    let pruned = PrunedRow { next_seq, hash, events: 4, bytes: 9, newest: Wall(0) };
    rows.put(&(log.id, EPOCH), &pruned);
    rows.delete::<BatchRow>(&(log.id, EPOCH, 1));
    rows.delete::<BatchRow>(&(log.id, EPOCH, 3));
    let changes = rows.into_changes();
    store.commit(changes).expect("commits");
    assert_refused(&mut store, other(), Refusal::Gap { expected: 5, found: 2 });
}

#[test]
fn a_signed_head_of_another_history_is_a_fork_and_one_of_no_batch_is_poison() {
    let log = log();
    let mut store = holding(log.whole());
    let other = Head { hash: Hash([7; 32]), ..log.heads[1] };
    let twice = signed(other, &[&log.batches[1]]);
    assert_refused(&mut store, twice, Refusal::Fork { seq: 2 });
    let other = Head { hash: Hash([7; 32]), ..log.heads[2] };
    let begun = signed(log.heads[1], &[&log.batches[0], &log.batches[1]]);
    assert_poison(&mut holding(begun), signed(other, &[&log.batches[2]]));
}

#[test]
fn a_log_begins_with_the_record_that_makes_its_id_for_this_tenant() {
    let begun = |tenant, of: fn(LogId) -> LogId, epoch| {
        let (log, record) = begin(tenant);
        let (log, mut tip) = (of(log), Tip::START);
        let batch = sealed(log, epoch, &mut tip, &[record]);
        signed(tip.head(log, epoch).expect("is there"), &[&batch])
    };
    let store = MemoryStore::default;
    let nonce = EpochId { counter: 0, nonce: [9; 16] };
    bring(&mut store(), begun(TENANT, |log| log, EPOCH)).expect("is admitted");
    assert_poison(&mut store(), begun(TENANT, |_| LogId([9; 32]), EPOCH));
    assert_poison(&mut store(), begun(TENANT, |log| log, nonce));
    let other = bring(&mut store(), begun(TenantId([9; 16]), |log| log, EPOCH));
    assert!(matches!(other, Err(Refusal::Denied(_))), "{other:?}");
}

#[test]
fn an_epoch_says_which_it_is_and_hangs_on_a_batchs_end() {
    let log = log();
    let store = || holding(log.whole());
    for on in log.heads {
        bring(&mut store(), log.epoch(NEXT, NEXT, on)).expect("is admitted");
    }
    let another = EpochId { nonce: [9; 16], ..NEXT };
    assert_poison(&mut store(), log.epoch(NEXT, another, log.heads[2]));
    let first = EpochId { nonce: [9; 16], ..EPOCH };
    assert_poison(&mut store(), log.epoch(first, first, log.heads[2]));
    // Within a batch nothing is known of the chain, whatever its end's value is.
    let mut within = log.heads[1];
    within.position.seq = 1;
    let orphan = Refusal::Orphan { parent: within.position };
    assert_refused(&mut store(), log.epoch(NEXT, NEXT, within), orphan);
}
