//! What administrators do that only some histories have: how often it was done.
//!
//! Invariant: as with faults, counted where it was acknowledged, never where it was planned. Doing it is left
//! to `accounts` and `books`.

/// Something that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Occasion {
    /// A payer joined the group.
    Joined,
    /// A member left it.
    Left,
    /// An account was given a month's allotment.
    Allotted,
    /// Of the month before, something lapsed.
    Lapsed,
    /// What lapses moved with who joined or left.
    Travelled,
    /// A month was closed.
    Closed,
    /// What came of closed months later was booked in another one.
    Adjusted,
    /// A charge was corrected.
    Corrected,
    /// A lease was written off.
    WrittenOff,
    /// Something came of it nevertheless.
    CameAfter,
}

impl Occasion {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Joined,
        Self::Left,
        Self::Allotted,
        Self::Lapsed,
        Self::Travelled,
        Self::Closed,
        Self::Adjusted,
        Self::Corrected,
        Self::WrittenOff,
        Self::CameAfter,
    ];
}

/// How often each was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occasions([u64; Occasion::ALL.len()]);

impl Occasions {
    /// It was done once more.
    pub fn count(&mut self, occasion: Occasion) {
        self.0[occasion as usize] += 1;
    }

    /// How often it was.
    pub fn times(&self, occasion: Occasion) -> u64 {
        self.0[occasion as usize]
    }
}
