//! Replays of a view that remembers what it was given: snapshots, and where folding goes on.
//!
//! Invariant: a snapshot is told from folding by a mark it leaves in the view; nothing else may differ. What
//! the views of the domains make of records is tested beside them.

use super::*;
use crate::log::{Tip, seal};
use crate::store::MemoryStore;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::{Event, PublicKey, Timestamp};

const TENANT: TenantId = TenantId([1; 16]);
const LOG: LogId = LogId([2; 32]);
const EPOCH: EpochId = EpochId { counter: 0, nonce: [3; 16] };
const DUE: u64 = SNAPSHOT_RECORDS;

/// How many records, the last one's seq, and whether it was ever restored.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    records: u64,
    last: u64,
    restored: bool,
}

impl View for Seen {
    const NAME: &'static str = "seen";
    const VERSION: u32 = 1;
    const CLASSES: &'static [LogClass] = &[LogClass::Telemetry];

    fn fold(&mut self, origin: &Origin, _: &Record<'_>) {
        self.records += 1;
        self.last = origin.position.seq;
    }

    fn archive(&self) -> Vec<u8> {
        [self.records.to_le_bytes(), self.last.to_le_bytes()].concat()
    }

    fn restore(archive: &[u8]) -> Option<Self> {
        let (records, last) = archive.split_at_checked(8)?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
        Some(Self { records: number(records)?, last: number(last)?, restored: true })
    }
}

fn opened(class: LogClass) -> LogOpened {
    LogOpened { tenant: TENANT, class, writer: PublicKey([4; 32]), about: None, epoch: EPOCH }
}

fn heartbeats(count: u64) -> Vec<u8> {
    let event = Event::from(HeartbeatSent { uptime_seconds: 1 });
    let record = Record::encode(&event, Timestamp::default()).expect("encodes");
    record.repeat(usize::try_from(count).expect("fits"))
}

/// A store with a batch of so many records, and after it one of a single record.
fn stored(count: u64) -> MemoryStore {
    let mut store = MemoryStore::default();
    let mut rows = Rows::new(TENANT, &store);
    rows.put(&LOG, &LogRow(opened(LogClass::Telemetry)));
    for (first_seq, count) in [(0, count), (count, 1)] {
        let all = u32::try_from(count).expect("fits");
        let batch = seal(LOG, EPOCH, first_seq, all, &heartbeats(count)).expect("seals");
        rows.put(&(LOG, EPOCH, first_seq), &BatchRow { hash: Hash([5; 32]), batch });
        let tip = Tip { next_seq: first_seq + count, hash: Hash([5; 32]) };
        rows.put(&(LOG, EPOCH), &TipRow::from(tip));
    }
    let changes = rows.into_changes();
    store.commit(changes).expect("commits");
    store
}

/// Loads the view and writes a snapshot if one is due; whether it did.
fn snapshot(store: &mut MemoryStore, replay: &mut Replay<Seen>) -> bool {
    let mut rows = Rows::new(TENANT, store);
    replay.snapshot_if_due(&mut rows);
    let changes = rows.into_changes();
    let written = !changes.is_empty();
    store.commit(changes).expect("commits");
    written
}

fn load(store: &MemoryStore) -> Replay<Seen> {
    Replay::load(&Rows::new(TENANT, store)).expect("loads")
}

#[test]
fn a_snapshot_is_written_when_enough_was_folded_and_spares_folding_it_again() {
    let mut store = stored(DUE - 1);
    let mut replay = load(&store);
    assert_eq!(*replay.view(), Seen { records: DUE, last: DUE - 1, restored: false });
    assert!(snapshot(&mut store, &mut replay), "it is due at exactly so many");
    assert!(!snapshot(&mut store, &mut replay), "and not again at once");
    let again = load(&store);
    assert_eq!(*again.view(), Seen { records: DUE, last: DUE - 1, restored: true });
    assert_eq!(again.cut(), replay.cut());

    let mut store = stored(DUE - 2);
    let mut replay = load(&store);
    assert!(!snapshot(&mut store, &mut replay), "one too few");
    assert!(!load(&store).view().restored);
}

#[test]
fn a_snapshot_of_another_version_is_dropped_and_folded_again() {
    let mut store = stored(DUE);
    let mut replay = load(&store);
    assert!(snapshot(&mut store, &mut replay));
    let mut rows = Rows::new(TENANT, &store);
    let row: SnapshotRow = rows.get(&Seen::NAME.into()).expect("reads").expect("is there");
    rows.put(&Seen::NAME.into(), &SnapshotRow { fingerprint: Hash([9; 32]), ..row });
    let changes = rows.into_changes();
    store.commit(changes).expect("commits");
    assert_eq!(*load(&store).view(), Seen { records: DUE + 1, last: DUE, restored: false });
}

#[test]
fn what_the_cut_holds_is_not_folded_again_and_other_classes_are_left() {
    let mut replay = Replay::<Seen>::default();
    let records = heartbeats(3);
    let mut fold = |class, first_seq| {
        replay.fold_records(TENANT, &opened(class), (LOG, EPOCH), first_seq, &records);
        (replay.view().records, replay.view().last)
    };
    assert_eq!(fold(LogClass::Public, 0), (0, 0));
    assert_eq!(fold(LogClass::Telemetry, 0), (3, 2));
    assert_eq!(fold(LogClass::Telemetry, 0), (3, 2), "the same again");
    assert_eq!(fold(LogClass::Telemetry, 2), (5, 4), "one of them again");
    assert_eq!(replay.cut().get(&(LOG, EPOCH)), Some(&5));
}

/// Each batch is read once, and what lies in another one is looked for there.
#[test]
fn what_was_recorded_again_is_found_at_its_old_place_in_whichever_batch_that_is() {
    let next = EpochId { counter: 1, ..EPOCH };
    let mut store = MemoryStore::default();
    let mut rows = Rows::new(TENANT, &store);
    for (epoch, first_seq) in [(EPOCH, 0), (EPOCH, 2), (next, 0)] {
        let batch = seal(LOG, epoch, first_seq, 2, &heartbeats(2)).expect("seals");
        rows.put(&(LOG, epoch, first_seq), &BatchRow { hash: Hash([5; 32]), batch });
    }
    let changes = rows.into_changes();
    store.commit(changes).expect("commits");
    let rows = Rows::new(TENANT, &store);
    let (there, other) = (Hash(*blake3::hash(&heartbeats(1)).as_bytes()), Hash([9; 32]));
    let is_held = |epoch: EpochId, seq: u64, hash: Hash| {
        // For this one the first batch is read, in which something else stands.
        let first = (Position { log: LOG, epoch: EPOCH, seq: 0 }, other);
        let places = BTreeSet::from([first, (Position { log: LOG, epoch, seq }, hash)]);
        again::any_is_held(&rows, &places).expect("reads")
    };
    for (epoch, seq) in [(EPOCH, 1), (EPOCH, 2), (EPOCH, 3), (next, 0), (next, 1)] {
        assert!(is_held(epoch, seq, there), "{seq} of {epoch}");
        assert!(!is_held(epoch, seq, other), "{seq} of {epoch}");
    }
    assert!(!is_held(next, 2, there), "nothing stands there");
}
