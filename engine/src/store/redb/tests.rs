//! The store over redb: what a row and a file must be to be believed.
//!
//! Invariant: a row counts under its own key alone, and a file is started over only where nothing was ever
//! committed to it. What a full disk does is tested with the device, in its `room_tests`.

use super::*;
use ::redb::ReadableTable;

#[test]
fn rows_survive_and_a_row_under_another_key_is_corrupt() {
    let backend = ::redb::backends::InMemoryBackend::new();
    let mut store = RedbStore::open(backend, 1 << 20).expect("opens");
    let changes = Changes::from([((Table::Tip, b"a".to_vec()), Some(b"one".to_vec()))]);
    store.commit(changes).expect("commits");
    assert_eq!(store.read(Table::Tip, b"a").expect("reads"), Some(b"one".to_vec()));
    assert_eq!(store.read(Table::Head, b"a").expect("reads"), None);

    let write = store.database().expect("is open").begin_write().expect("begins");
    {
        let mut rows = write.open_table(definition(Table::Tip)).expect("opens");
        let stolen = rows.get(&b"a"[..]).expect("reads").expect("is there").value().to_vec();
        rows.insert(&b"b"[..], &*stolen).expect("inserts");
    }
    write.commit().expect("commits");
    assert!(matches!(store.read(Table::Tip, b"b"), Err(Error::Corrupt { .. })));
}

/// The simulator cut the power while redb made a new database: its file was there, without the
/// magic number, and every later start refused it, though nothing had ever been in it.
#[test]
fn a_first_start_cut_short_is_started_over_and_a_lost_header_is_corrupt() {
    let unfinished = ::redb::backends::InMemoryBackend::new();
    unfinished.set_len(8192).expect("grows");
    unfinished.write(4096, &[7; 100]).expect("writes");
    RedbStore::open(unfinished, 1 << 20).expect("starts over");

    let shared = Shared::default();
    drop(RedbStore::open(shared.clone(), 1 << 20).expect("opens"));
    shared.write(0, &[0; 512]).expect("damages");
    let refused = RedbStore::open(shared, 1 << 20);
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
}

/// Its name of our first table may lie anywhere, also across the pieces that are read at a time.
#[test]
fn a_file_that_names_our_first_table_or_is_not_ours_is_left_alone() {
    const MIB: u64 = 1 << 20;
    let named = |at: Option<u64>| {
        let file = ::redb::backends::InMemoryBackend::new();
        file.set_len(3 * MIB + 9).expect("grows");
        at.map_or(Ok(()), |at| file.write(at, b"00-meta")).expect("writes");
        start_over_if_cut_short(&file).expect("reads");
        file.len().expect("is there")
    };
    assert_eq!(named(None), 0);
    for at in [4096, MIB - 7, MIB - 3, MIB - 1, MIB, 2 * MIB - 6, 3 * MIB + 2] {
        assert_eq!(named(Some(at)), 3 * MIB + 9, "at {at}");
    }
    let foreign = ::redb::backends::InMemoryBackend::new();
    foreign.set_len(8192).expect("grows");
    foreign.write(0, b"a photograph").expect("writes");
    start_over_if_cut_short(&foreign).expect("reads");
    assert_eq!(foreign.len().expect("is there"), 8192);
}

#[test]
fn the_last_row_of_a_range_is_found_and_the_locks_are_given_back() {
    let shared = Shared::default();
    let mut store = RedbStore::open(shared.clone(), 1 << 20).expect("opens");
    let row = |key: &[u8]| ((Table::Tip, key.to_vec()), Some(key.to_vec()));
    store.commit([row(b"a"), row(b"b"), row(b"d")].into()).expect("commits");
    let last = |from: &[u8], to: &[u8]| {
        let last = store.last(Table::Tip, from, to).expect("reads");
        last.map(|(key, value)| (key == value).then_some(key).expect("its own value"))
    };
    assert_eq!(last(b"a", b"c"), Some(b"b".to_vec()));
    assert_eq!((last(b"a", b"b"), last(b"c", b"d")), (Some(b"a".to_vec()), None));
    drop(store);
    assert!(shared.1.load(std::sync::atomic::Ordering::Relaxed), "closed");
}

#[derive(Debug, Clone, Default)]
struct Shared(
    std::sync::Arc<::redb::backends::InMemoryBackend>,
    std::sync::Arc<std::sync::atomic::AtomicBool>,
);

impl StorageBackend for Shared {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> std::io::Result<()> {
        self.1.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}
