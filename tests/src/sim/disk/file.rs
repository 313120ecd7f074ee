//! One file of a simulated disk: what processes read, and what the platters hold.
//!
//! Invariant: `durable` changes only by a sync, or by an accident that decides which unsynced
//! sectors made it. Sectors of zeros are not kept, so a preallocated file costs nothing.

use crate::sim::entropy::Entropy;
use crate::sim::faults::{Fault, Happened};
use std::collections::BTreeMap;
use std::io;

type Sectors = BTreeMap<u64, Vec<u8>>;

#[derive(Debug, Clone)]
pub(super) struct File {
    sector_bytes: usize,
    cache: Sectors,
    cache_len: u64,
    durable: Sectors,
    durable_len: u64,
    /// Sectors in which the two may differ, and the write that made them so. A sector that a
    /// failed sync lost is not among them: the system believes it clean.
    dirty: BTreeMap<u64, u64>,
    writes: u64,
}

impl File {
    pub(super) fn new(sector_bytes: usize) -> Self {
        Self {
            sector_bytes,
            cache: Sectors::new(),
            cache_len: 0,
            durable: Sectors::new(),
            durable_len: 0,
            dirty: BTreeMap::new(),
            writes: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.cache_len
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if offset + bytes.len() as u64 > self.cache_len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.fill(0);
        let (size, end) = (self.sector_bytes as u64, offset + bytes.len() as u64);
        for (number, sector) in self.cache.range(offset / size..end.div_ceil(size)) {
            let start = number * size;
            let (from, to) = (start.max(offset), (start + size).min(end));
            let into = (from - offset) as usize..(to - offset) as usize;
            bytes[into].copy_from_slice(&sector[(from - start) as usize..(to - start) as usize]);
        }
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.writes += 1;
        self.cache_len = self.cache_len.max(offset + bytes.len() as u64);
        for (number, at, part) in parts(self.sector_bytes, offset, bytes) {
            self.write_sector(number, at, part);
        }
    }

    /// A write that was cut short: some of its sectors, in no order.
    pub(super) fn write_some(&mut self, offset: u64, bytes: &[u8], entropy: &mut Entropy) {
        self.writes += 1;
        self.cache_len = self.cache_len.max(offset + bytes.len() as u64);
        for (number, at, part) in parts(self.sector_bytes, offset, bytes) {
            if entropy.percent(50) {
                self.write_sector(number, at, part);
            }
        }
    }

    fn write_sector(&mut self, number: u64, at: usize, part: &[u8]) {
        let is_zero = part.iter().all(|byte| *byte == 0);
        if is_zero && !self.cache.contains_key(&number) && !self.durable.contains_key(&number) {
            return;
        }
        let sector = self.cache.entry(number).or_insert_with(|| vec![0; self.sector_bytes]);
        sector[at..at + part.len()].copy_from_slice(part);
        self.dirty.insert(number, self.writes);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.cache_len {
            let size = self.sector_bytes as u64;
            self.cache.split_off(&len.div_ceil(size));
            self.dirty.split_off(&len.div_ceil(size));
            if let Some(last) = self.cache.get_mut(&(len / size)) {
                last[(len % size) as usize..].fill(0);
                self.dirty.insert(len / size, self.writes);
            }
        }
        self.cache_len = len;
    }

    pub(super) fn sync(&mut self) {
        for (number, _) in core::mem::take(&mut self.dirty) {
            self.store(number);
        }
        self.resize_durable();
    }

    /// Of the unsynced sectors some are durable and none is dirty any more; of the others some
    /// fall out of the cache.
    pub(super) fn fail_sync(&mut self, entropy: &mut Entropy) {
        for (number, _) in core::mem::take(&mut self.dirty) {
            match entropy.below(3) {
                0 => self.store(number),
                1 => copy(&self.durable, &mut self.cache, number),
                _ => {}
            }
        }
    }

    /// What the system believes clean falls out of the cache: from here on it is what the platters hold.
    pub(super) fn drop_clean(&mut self) {
        let known: Vec<u64> = self.cache.keys().chain(self.durable.keys()).copied().collect();
        for number in known.into_iter().filter(|number| !self.dirty.contains_key(number)) {
            copy(&self.durable, &mut self.cache, number);
        }
    }

    pub(super) fn lose_power(&mut self, entropy: &mut Entropy, happened: &mut Happened) {
        let survive = [0, 50, 50, 90][entropy.index(4)];
        let dirty = core::mem::take(&mut self.dirty);
        let mut order: Vec<(u64, u64)> =
            dirty.iter().map(|(number, write)| (*write, *number)).collect();
        order.sort_unstable();
        let (mut lost, mut last_lost) = (false, None);
        let (mut reordered, mut torn, mut survived_of) = (false, false, None);
        for (write, number) in order {
            if entropy.percent(survive) {
                self.store(number);
                reordered |= lost;
                torn |= last_lost == Some(write);
                survived_of = Some(write);
            } else {
                (lost, last_lost) = (true, Some(write));
                torn |= survived_of == Some(write);
            }
        }
        let effects = [
            (Fault::LostWrite, lost),
            (Fault::ReorderedWrite, reordered),
            (Fault::TornWrite, torn),
        ];
        effects.iter().filter(|(_, took)| *took).for_each(|(fault, _)| happened.count(*fault));
        if entropy.percent(50) {
            self.resize_durable();
        }
        self.lose_everything_unsynced();
    }

    pub(super) fn lose_everything_unsynced(&mut self) {
        self.cache = self.durable.clone();
        self.cache_len = self.durable_len;
        self.dirty.clear();
        self.set_len(self.durable_len);
        let beyond = self.durable_len.div_ceil(self.sector_bytes as u64);
        self.cache.split_off(&beyond);
    }

    fn store(&mut self, number: u64) {
        copy(&self.cache, &mut self.durable, number);
        let end = (number + 1) * self.sector_bytes as u64;
        self.durable_len = self.durable_len.max(end.min(self.cache_len));
    }

    fn resize_durable(&mut self) {
        if self.cache_len < self.durable_len {
            self.durable.split_off(&self.cache_len.div_ceil(self.sector_bytes as u64));
        }
        self.durable_len = self.cache_len;
    }
}

fn copy(from: &Sectors, to: &mut Sectors, number: u64) {
    match from.get(&number) {
        Some(sector) => drop(to.insert(number, sector.clone())),
        None => drop(to.remove(&number)),
    }
}

/// A write's sectors: number, offset within, bytes.
fn parts(size: usize, offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let rest = bytes.get(done..).filter(|rest| !rest.is_empty())?;
        let at = offset + done as u64;
        let within = (at % size as u64) as usize;
        let part = rest.get(..size - within).unwrap_or(rest);
        done += part.len();
        Some((at / size as u64, within, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.len() as usize];
        file.read(0, &mut bytes).expect("reads");
        bytes
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_is_torn_at_sectors() {
        for number in 0..200 {
            let mut entropy = Entropy::new(7, number, "file");
            let mut file = File::new(512);
            file.write(0, &[1; 2000]);
            file.sync();
            file.write(100, &[2; 1900]);
            file.lose_power(&mut entropy, &mut Happened::default());
            let bytes = bytes_of(&file);
            assert_eq!(bytes.len(), 2000);
            assert_eq!(bytes[..100], [1; 100]);
            for sector in bytes[100..].chunks(412).take(1).chain(bytes[512..].chunks(512)) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is never torn");
            }
        }
    }

    #[test]
    fn a_failed_sync_leaves_pages_that_look_durable_and_are_not() {
        let mut seen_lost = false;
        for number in 0..50 {
            let mut entropy = Entropy::new(7, number, "file");
            let mut file = File::new(512);
            file.write(0, &[0; 512]);
            file.write(0, &[1; 512]);
            file.fail_sync(&mut entropy);
            let looked = bytes_of(&file);
            file.sync(); // nothing is dirty any more, so this says nothing
            file.lose_power(&mut entropy, &mut Happened::default());
            let mut after = bytes_of(&file);
            after.resize(512, 0);
            seen_lost |= looked == [1; 512] && after == [0; 512];
        }
        assert!(seen_lost);
    }
}
