//! Disks that fill up at every write, under a device on redb.
//! Shown here: no corruption, no error but for want of room, the end of what runs is always recorded, and
//! the same device goes on when there is room again; what was acknowledged is there after a restart.

use super::{Device, DeviceConfig, Now};
use crate::keys::Signer;
use crate::log::journal::{JournalFile, test_entropy};
use crate::store::RedbStore;
use crate::{Kind, Result};
use std::io;
use std::sync::{Arc, Mutex};
use tallyroll_schema::event::counts::{Charge, ColorMode, JobEnded, PagesCaptured};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::DirectoryEntry;
use tallyroll_schema::{Credits, Event, JobId, LogId, Position, PublicKey, TenantId, UserAlias};

/// Bytes under a database, and how many more writes find room.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Option<u64>)>>);

impl Disk {
    fn fill_after(&self, writes: Option<u64>) {
        self.0.lock().expect("no poison").1 = writes;
    }

    fn left(&self) -> Option<u64> {
        self.0.lock().expect("no poison").1
    }

    /// Counts a write; without room half of it is done, as by a file system that had a page left.
    fn write_some(&self, offset: usize, data: &[u8]) -> io::Result<()> {
        let (bytes, left) = &mut *self.0.lock().expect("no poison");
        let full = *left == Some(0);
        *left = left.map(|left| left.saturating_sub(1));
        let done = if full { &data[..data.len() / 2] } else { data };
        bytes[offset..offset + done.len()].copy_from_slice(done);
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("no poison").0.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        out.copy_from_slice(&self.0.lock().expect("no poison").0[offset..offset + out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().expect("no poison").0.resize(len as usize, 0);
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
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl JournalFile for Bytes {
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

type TestDevice = Device<Bytes, RedbStore>;

fn open(disk: &Disk, journal: &Bytes) -> Result<TestDevice> {
    let config = DeviceConfig {
        tenant: TenantId([1; 16]),
        signer: Signer::from_seed(&[2; 32]),
        cloud_key: PublicKey([3; 32]),
        public_log: LogId([4; 32]),
        anchor: None,
    };
    let store = RedbStore::open(disk.clone(), 1 << 20)?;
    Device::open(config, journal.clone(), store, Now::default(), test_entropy())
}

fn page(job: u8) -> (LogClass, Event) {
    let charge = Charge { credits: Credits::from_thousandths(1000), card: 0 };
    let (job, user, color) = (JobId([job; 8]), UserAlias([7; 16]), ColorMode::Color);
    (LogClass::Ledger, PagesCaptured { job, user, pages: 1, color, charge }.into())
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
fn a_disk_that_fills_up_at_any_write_costs_nothing_but_new_work() {
    let (mut found_full, mut found_room) = (0, false);
    for writes in 0.. {
        let (disk, journal) = (Disk::default(), Bytes::default());
        let mut device = open(&disk, &journal).expect("there is room");
        disk.fill_after(Some(writes));
        let (mut acknowledged, named) = work(&mut device, 3);
        if disk.left() != Some(0) {
            found_room = true;
        } else {
            found_full += 1;
        }

        if writes % 2 == 1 {
            drop(device);
            // Even what lies on the disk already finds no room here, so it may have to wait.
            device = unless_full(open(&disk, &journal)).unwrap_or_else(|| {
                disk.fill_after(None);
                open(&disk, &journal).expect("there is room")
            });
        }
        let ended = device.commit(Now::default(), &[end(9)]).expect("an end always goes in");
        acknowledged.extend(ended);

        disk.fill_after(None);
        if !device.has_room() {
            device.commit(Now::default(), &[page(9)]).expect_err("nobody tried yet");
        }
        device.seal(Now::default()).expect("there is room");
        assert!(device.has_room(), "after {writes} writes");
        acknowledged.extend(device.commit(Now::default(), &[page(9)]).expect("there is room"));
        let held = device.status().expect("reads").logs[0].durable_local;
        let expected = acknowledged.len() as u64 + 1; // and the genesis
        assert_eq!(held, expected, "after {writes} writes");
        let mut positions = acknowledged.clone();
        positions.dedup();
        assert_eq!(positions, acknowledged, "a position is given once");

        drop(device);
        let device = open(&disk, &journal).expect("opens");
        assert_eq!(device.status().expect("reads").logs[0].durable_local, expected);
        let names = device.names().expect("reads");
        assert_eq!(names.len(), named.len(), "after {writes} writes: {names:?}");
        if found_room {
            break;
        }
    }
    assert!(found_full > 20, "the disk was full {found_full} times");
}

/// Guarantee 6: what is left of the journal is for the end of what runs.
#[test]
fn two_thousand_jobs_can_end_on_a_full_disk() {
    let (disk, journal) = (Disk::default(), Bytes::default());
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
            let fails = self.1.load(std::sync::atomic::Ordering::Relaxed);
            if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }
    }
    use crate::store::{Changes, Store, Table};
    let disk = FailsToSync::default();
    let mut store = RedbStore::open(disk.clone(), 1 << 20).expect("opens");
    disk.1.store(true, std::sync::atomic::Ordering::Relaxed);
    let changes = || Changes::from([((Table::Tip, b"a".to_vec()), Some(b"one".to_vec()))]);
    assert_eq!(store.commit(changes()).expect_err("fails").kind(), Kind::Closed);
    disk.1.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(store.commit(changes()).expect_err("is not tried again").kind(), Kind::Closed);
}
