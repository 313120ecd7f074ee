//! Times as data: the raw clock, its quality, and hybrid logical time.
//!
//! Invariant: nothing here reads a clock, and no fold may decide by these times
//! (they order a display and break ties). A wild clock is flagged and moves
//! nobody else's. Hybrid logical clocks: Kulkarni et al. 2014.

use core::fmt;
use minicbor::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, as a device's own clock said it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Encode,
    Decode,
    Serialize,
    Deserialize,
    JsonSchema
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Wall(#[n(0)] pub u64);

impl Wall {
    /// The time `milliseconds` later; stops at the end of time.
    pub fn plus_milliseconds(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// How far a device trusts its own clock at the moment of a record.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema
)]
#[serde(rename_all = "kebab-case")]
pub enum ClockQuality {
    /// Nobody has said anything about this clock.
    #[default]
    Unknown = 0,
    /// Disciplined by a time source within the last day.
    Synchronized = 1,
    /// Known to be wrong: before this software's release, or it jumped.
    Suspect = 2,
}

impl ClockQuality {
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Synchronized,
            2 => Self::Suspect,
            _ => Self::Unknown,
        }
    }
}

/// A hybrid logical time: at least the raw clock, never running backwards within a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HybridTime {
    /// Milliseconds since the Unix epoch (48 bits).
    pub wall: Wall,
    /// Orders records of one millisecond.
    pub counter: u16,
}

/// A record's three times in one: raw clock, hybrid time, quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// The raw clock.
    pub wall: Wall,
    /// The hybrid logical time; its wall part is never behind `wall`.
    pub hybrid: HybridTime,
    /// The clock's standing.
    pub quality: ClockQuality,
}

impl HybridTime {
    /// The next time of a log whose last one is `self` when the raw clock says `wall`.
    ///
    /// ```
    /// use tallyroll_schema::{HybridTime, Wall};
    /// let first = HybridTime::default().next(Wall(1_000));
    /// let second = first.next(Wall(900)); // the clock went back
    /// assert_eq!((second.wall, second.counter), (Wall(1_000), 1));
    /// ```
    #[must_use]
    pub fn next(self, wall: Wall) -> Self {
        if wall > self.wall {
            return Self { wall, counter: 0 };
        }
        match self.counter.checked_add(1) {
            Some(counter) => Self { wall: self.wall, counter },
            None => Self { wall: self.wall.plus_milliseconds(1), counter: 0 },
        }
    }
}

impl fmt::Display for HybridTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.wall.0, self.counter)
    }
}
