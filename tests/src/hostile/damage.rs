//! Damage to bytes at rest and on the way: a byte at a time, everywhere it can lie.
//!
//! Invariant: each damaged byte comes to one of two ends: it is detected, with an error that says so, or
//! it is harmless, and what is read is what was written. Anything else is told, with its place.
//! Which bytes are damaged is the caller's: CI takes some of the many, the binary `fuzz` all.

mod journal;
mod store;
mod wire;

pub use journal::journal;
pub use store::{Image as StoreImage, store, stores};
pub use wire::wire;

use crate::sim::entropy::Entropy;

/// What damaging came to.
#[derive(Debug, Default)]
pub struct Damage {
    /// Noticed.
    pub detected: u64,
    /// Without effect.
    pub harmless: u64,
    /// Neither: where, and what was read instead.
    pub wrong: Vec<String>,
}

/// How much of what is mostly empty or alike is damaged.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// So many bytes, drawn from a seed.
    Some(u64, usize),
    /// Every byte.
    All,
}

impl Extent {
    fn places(self, len: usize, purpose: &str) -> Vec<usize> {
        match self {
            Self::All => (0..len).collect(),
            Self::Some(seed, count) => {
                let mut entropy = Entropy::new(seed, 0, purpose);
                (0..count).map(|_| entropy.index(len)).collect()
            }
        }
    }
}

impl Damage {
    fn note(&mut self, place: &str, end: Result<bool, String>) {
        match end {
            Ok(true) => self.harmless += 1,
            Ok(false) => self.detected += 1,
            Err(what) => self.wrong.push(format!("{place}: {what}")),
        }
    }
}

/// The byte that lies there afterwards: another one, the same in every run.
fn damaged(byte: u8, place: usize) -> u8 {
    byte ^ Entropy::new(0, place as u64, "mask").between(1, 255) as u8
}
