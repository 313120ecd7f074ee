//! What stands outside the store and does not come along when it is copied.
//!
//! Owns what is read: the machine's id and the birth of the store's file. A
//! backup that is restored, a directory that is copied, a disk put into another
//! machine show another anchor; an image of the whole machine shows the same, and
//! is found when a device shows more. What a cloud does about it is the engine's.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;
use tallyroll_schema::Hash;

const MACHINE_ID: &str = "/etc/machine-id";

/// The anchor of a store, or none where the machine and its file system tell nothing.
pub(crate) fn read(store: &File) -> Option<Hash> {
    let machine = std::fs::read_to_string(MACHINE_ID).unwrap_or_default();
    let born = store.metadata().ok().and_then(birth);
    if machine.trim().is_empty() && born.is_none() {
        return None;
    }
    let (nanoseconds, inode) = born.unwrap_or_default();
    let mut hasher = blake3::Hasher::new_derive_key("tallyroll anchor v1");
    hasher.update(machine.trim().as_bytes()).update(b"\n");
    hasher.update(&nanoseconds.to_le_bytes()).update(&inode.to_le_bytes());
    Some(Hash(*hasher.finalize().as_bytes()))
}

/// When a file was born, and as which inode: clocks are coarse, and two files may be born at once. A
/// file system that keeps no birth times may number its inodes anew at each mount, so neither counts.
fn birth(metadata: Metadata) -> Option<(u128, u64)> {
    let born = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((born.as_nanos(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_file_has_another_anchor_and_a_renamed_one_the_same() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let [first, moved, copy] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&first, "store").expect("writes");
        let anchor = read(&File::open(&first).expect("opens"));
        std::fs::copy(&first, &copy).expect("copies");
        std::fs::rename(&first, &moved).expect("renames");
        assert_eq!(read(&File::open(&moved).expect("opens")), anchor);
        let born = |path| std::fs::metadata(path).expect("is there").created().is_ok();
        assert!(born(&copy), "this file system tells no birth times; run the tests on another");
        assert_ne!(read(&File::open(&copy).expect("opens")), anchor);
    }
}
