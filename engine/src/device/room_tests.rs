//! Disks that fill up at every write, under a device on redb.
//! Shown here: no corruption, no error but for want of room, the end of what runs is always recorded, and
//! the same device goes on when there is room again; what was acknowledged is there after a restart.

use super::{Device, DeviceConfig, Now};
use crate::keys::Signer;
use crate::log::journal::{JournalFile, test_entropy};
use crate::store::RedbStore;
use crate::{Kind, Result};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use tallyroll_schema::event::counts::{Charge, ColorMode, JobEnded, PagesCaptured};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::DirectoryEntry;
use tallyroll_schema::{Credits, Event, JobId, LogId, Position, PublicKey, TenantId, UserAlias};

const PAGE: usize = 4096;

/// Bytes under a database. As in a file, what was written once lies on the disk and can be written over.
#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    pages: BTreeSet<usize>,
    /// How many more pages find room.
    pages_left: Option<usize>,
    /// After how many more writes a single one finds none, and is done by half.
    fails_after: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Bytes>>);

impl Disk {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Bytes> {
        self.0.lock().expect("no poison")
    }

    fn fill_after(&self, pages: Option<usize>) {
        self.bytes().pages_left = pages;
    }

    fn write_some(&self, offset: usize, data: &[u8]) -> io::Result<()> {
        let disk = &mut *self.bytes();
        let mut done = data.len();
        if let Some(writes) = disk.fails_after {
            disk.fails_after = writes.checked_sub(1);
            done = if writes == 0 { data.len() / 2 } else { done };
        }
        for page in offset / PAGE..(offset + data.len()).div_ceil(PAGE) {
            if disk.pages.contains(&page) {
                continue;
            }
            if disk.pages_left == Some(0) {
                done = done.min((page * PAGE).saturating_sub(offset));
                break;
            }
            disk.pages_left = disk.pages_left.map(|left| left - 1);
            disk.pages.insert(page);
        }
        disk.bytes[offset..offset + done].copy_from_slice(&data[..done]);
        if done < data.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().bytes.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        out.copy_from_slice(&self.bytes().bytes[offset..offset + out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().bytes.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_some(offset as usize, data)
    }
}

#[derive(Debug, Clone, Default)]
struct Entries(Arc<Mutex<Vec<u8>>>);

impl JournalFile for Entries {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("no poison").len() as u64)
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        bytes.copy_from_slice(&self.0.lock().expect("no poison")[offset..offset + bytes.len()]);
        Ok(())
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = &mut *self.0.lock().expect("no poison");
        let end = offset as usize + bytes.len();
        file.resize(file.len().max(end), 0);
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type TestDevice = Device<Entries, RedbStore>;

fn open(disk: &Disk, journal: &Entries) -> Result<TestDevice> {
    let config = DeviceConfig {
        tenant: TenantId([1; 16]),
        signer: Signer::from_seed(&[2; 32]),
        next_signer: None,
        cloud_key: PublicKey([3; 32]),
        public_log: LogId([4; 32]),
        anchor: None,
    };
    let store = RedbStore::open(disk.clone(), 1 << 20)?;
    Device::open(config, journal.clone(), store, Now::default(), test_entropy())
}

fn page(job: u8) -> (LogClass, Event) {
    let charge = Charge { credits: Credits::from_thousandths(1000), card: 0, backing: None };
    let (job, user, color) = (JobId([job; 8]), UserAlias([7; 16]), ColorMode::Color);
    (
        LogClass::Ledger,
        PagesCaptured { job, user, pages: 1, color, charge, media: None, policy: None, page: None }
            .into(),
    )
}

fn end(job: u8) -> (LogClass, Event) {
    (LogClass::Ledger, JobEnded { job: JobId([job; 8]) }.into())
}

fn name(number: u8) -> (String, DirectoryEntry) {
    (
        format!("user {number}"),
        DirectoryEntry { alias: UserAlias([number; 16]), sealed: vec![1; 64] },
    )
}

/// What worked, or nothing for want of room; any other error is a failure.
#[track_caller]
fn unless_full<T>(done: Result<T>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(error) if error.kind() == Kind::Full => None,
        Err(error) => panic!("{error}"),
    }
}

/// Goes on whatever there is room for; returns what was acknowledged and which names are in.
fn work(device: &mut TestDevice, rounds: u8) -> (Vec<Position>, Vec<u8>) {
    let (mut acknowledged, mut named) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        acknowledged
            .extend(unless_full(device.commit(Now::default(), &[page(round)])).unwrap_or_default());
        let ended = device.commit(Now::default(), &[end(round)]).expect("an end always goes in");
        acknowledged.extend(ended);
        unless_full(device.seal(Now::default()));
        named.extend(unless_full(device.mint(vec![name(round)])).map(|()| round));
    }
    (acknowledged, named)
}

/// A full disk at a store's commit closed the device until a restart.
#[test]
fn a_disk_that_fills_up_at_any_page_costs_nothing_but_new_work() {
    let mut found_full = 0;
    for pages in 0.. {
        let (disk, journal) = (Disk::default(), Entries::default());
        let mut device = open(&disk, &journal).expect("there is room");
        disk.fill_after(Some(pages));
        let (acknowledged, named) = work(&mut device, 3);
        let enough = disk.bytes().pages_left != Some(0);
        found_full += u32::from(!device.has_room());
        if pages % 2 == 1 {
            drop(device);
            device = open(&disk, &journal).expect("starts on a full disk");
        }
        goes_on(&disk, &journal, device, acknowledged, &named);
        if enough {
            break;
        }
    }
    assert!(found_full > 5, "the disk was full {found_full} times");
}

/// A write of the store finds no room, and yet half of what it was to write is there.
#[test]
fn any_single_write_may_find_no_room() {
    let mut found_full = 0;
    for writes in 0.. {
        let (disk, journal) = (Disk::default(), Entries::default());
        let mut device = open(&disk, &journal).expect("there is room");
        disk.bytes().fails_after = Some(writes);
        let (acknowledged, named) = work(&mut device, 3);
        let enough = disk.bytes().fails_after.take().is_some();
        found_full += u32::from(!enough);
        if writes % 2 == 1 {
            drop(device);
            device = open(&disk, &journal).expect("starts");
        }
        goes_on(&disk, &journal, device, acknowledged, &named);
        if enough {
            break;
        }
    }
    assert!(found_full > 20, "a write failed {found_full} times");
}

/// There is room again: the device works on, and holds what was acknowledged, also after a restart.
#[track_caller]
fn goes_on(
    disk: &Disk,
    journal: &Entries,
    mut device: TestDevice,
    mut acknowledged: Vec<Position>,
    named: &[u8],
) {
    let ended = device.commit(Now::default(), &[end(9)]).expect("an end always goes in");
    acknowledged.extend(ended);
    disk.fill_after(None);
    if !device.has_room() {
        device.commit(Now::default(), &[page(9)]).expect_err("nobody tried yet");
    }
    device.seal(Now::default()).expect("there is room");
    assert!(device.has_room());
    acknowledged.extend(device.commit(Now::default(), &[page(9)]).expect("there is room"));
    let expected = acknowledged.len() as u64 + 1; // and the genesis
    assert_eq!(device.status().expect("reads").logs[0].durable_local, expected);
    let seqs: Vec<u64> = acknowledged.iter().map(|position| position.seq).collect();
    assert_eq!(seqs, (1..expected).collect::<Vec<_>>(), "each position is given once");

    drop(device);
    let device = open(disk, journal).expect("opens");
    assert_eq!(device.status().expect("reads").logs[0].durable_local, expected);
    assert_eq!(device.names().expect("reads").len(), named.len());
}

/// Guarantee 6: what is left of the journal is for the end of what runs.
#[test]
fn two_thousand_jobs_can_end_on_a_full_disk() {
    let (disk, journal) = (Disk::default(), Entries::default());
    let mut device = open(&disk, &journal).expect("there is room");
    disk.fill_after(Some(0));
    let many: Vec<_> = (0..100).map(page).collect();
    while unless_full(device.commit(Now::default(), &many)).is_some() {}
    let refused = device.commit(Now::default(), &[page(1)]).expect_err("is refused").to_string();
    assert!(refused.contains("free some space"), "{refused}");
    for _ in 0..2000 {
        device.commit(Now::default(), &[end(1)]).expect("an end always goes in");
    }
    disk.fill_after(None);
    device.seal(Now::default()).expect("there is room");
    device.commit(Now::default(), &many).expect("there is room");
}

/// After a failed sync nobody knows what is durable, whatever the system gave as its reason.
#[test]
fn a_sync_that_found_no_room_closes_the_device() {
    #[derive(Debug, Clone, Default)]
    struct FailsToSync(Disk, Arc<std::sync::atomic::AtomicBool>);
    impl redb::StorageBackend for FailsToSync {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            // Once: whoever tries again finds a disk that works.
            let fails = self.1.swap(false, std::sync::atomic::Ordering::Relaxed);
            if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }
    }
    use crate::store::{Changes, Store, Table};
    let disk = FailsToSync::default();
    let changes = || Changes::from([((Table::Tip, b"a".to_vec()), Some(b"one".to_vec()))]);
    let tries: [fn(&mut RedbStore, Changes) -> Result<()>; 2] =
        [|store, changes| store.commit(changes), |store, _| store.shrink()];
    for fails in tries {
        let mut store = RedbStore::open(disk.clone(), 1 << 20).expect("opens");
        store.commit(changes()).expect("commits");
        disk.1.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(fails(&mut store, changes()).expect_err("fails").kind(), Kind::Closed);
        assert_eq!(store.commit(changes()).expect_err("is not tried again").kind(), Kind::Closed);
    }
}

/// Giving room back takes some: without any the store goes on as it was.
#[test]
fn a_store_that_finds_no_room_to_shrink_goes_on() {
    use crate::store::{Changes, Store, Table};
    let disk = Disk::default();
    let mut store = RedbStore::open(disk.clone(), 1 << 20).expect("opens");
    let row = |number: u8, value: Option<Vec<u8>>| ((Table::Batch, vec![number]), value);
    for number in 0..40 {
        let value = Some(vec![number; 60_000]);
        store.commit(Changes::from([row(number, value)])).expect("commits");
    }
    store.commit((0..30).map(|number| row(number, None)).collect()).expect("commits");
    disk.bytes().fails_after = Some(0);
    assert_eq!(store.shrink().expect_err("there is no room").kind(), Kind::Full);
    store.commit(Changes::from([row(50, Some(vec![1]))])).expect("goes on");
    assert_eq!(store.read(Table::Batch, &[35]).expect("reads"), Some(vec![35; 60_000]));
}

/// A full store is written to by itself, for nothing else would tell that there is room again.
#[test]
fn a_full_disk_is_found_out_to_have_room_without_anything_to_seal() {
    use core::time::Duration;
    let at = |seconds| Now { monotonic: Duration::from_secs(seconds), ..Now::default() };
    let (disk, journal) = (Disk::default(), Entries::default());
    let mut device = open(&disk, &journal).expect("there is room");
    device.seal(at(1)).expect("there is room");
    assert!(device.has_room() && !device.is_full());
    assert_eq!(device.seal_due(true), None, "there is nothing to seal");
    device.refuse_without_room(&page(1).1).expect("there is room");

    disk.fill_after(Some(0));
    let names: Vec<_> = (0..40).map(name).collect();
    assert!(unless_full(device.mint(names)).is_none());
    assert!(device.is_full() && !device.has_room());
    assert!(device.status().expect("reads").full);
    assert_eq!(device.seal_due(true), Some(Duration::from_secs(6)), "tried five seconds ago");
    let refused = device.refuse_without_room(&page(1).1).expect_err("no room").to_string();
    assert!(refused.contains("free some space"), "{refused}");
    device.refuse_without_room(&end(1).1).expect("the end of what runs goes in");

    disk.fill_after(None);
    assert!(device.is_full(), "nobody tried yet");
    assert!(!device.seal(at(7)).expect("tries"), "there is nothing to seal");
    assert!(!device.is_full() && device.has_room());
    assert!(!device.status().expect("reads").full);
    assert_eq!(device.seal_due(true), None);

    // What the rim keeps aside is another matter: the store has room, and new work is refused all the same.
    device.set_reserve(false);
    assert!(!device.is_full() && !device.has_room());
    device.refuse_without_room(&page(1).1).expect_err("no room");
    device.refuse_without_room(&end(1).1).expect("the end of what runs goes in");
    assert_eq!(device.seal_due(false), Some(Duration::from_secs(12)));
}
