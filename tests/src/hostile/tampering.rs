//! Tampering with a log that lies in the cloud's store, by somebody who may write there but has no key.
//!
//! Owns the log that is tampered with, the ways to do it and to cover it up, and the judgement whether
//! verifying with an old receipt found it and named the place. Invariant: a tampering changes what the
//! log says at or before the receipt's position; one that changes nothing is drawn again.
//! Verifying is the engine's ([`Hub::verify_log`]); the command's exit code is tested in `tests/it`.

mod ledger;
mod stored;

use crate::sim::entropy::Entropy;
use ledger::Ledger;
use std::collections::BTreeMap;
use stored::{Cover, Stored};
use tallyroll_engine::hub::Hub;
use tallyroll_schema::Receipt;

/// What is done to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A byte of a record.
    Mutate,
    /// A byte of a stored row.
    Damage,
    /// Records out of it, or a whole batch.
    Delete,
    /// Two records, or two batches, in each other's place.
    Reorder,
    /// Everything from a place on.
    Truncate,
    /// A record of its own making.
    Invent,
    /// Two epochs in each other's place.
    SwapEpochs,
}

impl Deed {
    const ALL: [Self; 7] = [
        Self::Mutate,
        Self::Damage,
        Self::Delete,
        Self::Reorder,
        Self::Truncate,
        Self::Invent,
        Self::SwapEpochs,
    ];
}

/// What a run of tamperings came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many there were, by what was done and how it was covered up.
    pub times: BTreeMap<(Deed, Cover), u64>,
    /// What was not found, or not named, with the number that shows it again.
    pub missed: Vec<String>,
}

impl Tally {
    /// All of them.
    pub fn tamperings(&self) -> u64 {
        self.times.values().sum()
    }
}

/// Tampers so many times and verifies each with an old receipt.
pub fn run(seed: u64, tamperings: u64) -> Tally {
    let ledger = Ledger::write();
    let (mut tally, mut number) = (Tally::default(), 0);
    while tally.tamperings() < tamperings {
        let mut entropy = Entropy::new(seed, number, "tampering");
        let (deed, cover) = (Deed::ALL[entropy.index(7)], Cover::ALL[entropy.index(4)]);
        let cover = if deed == Deed::Damage { Cover::None } else { cover };
        let told = |why| format!("seed {seed}, number {number}: {deed:?}, {cover:?}: {why}");
        match tamper(&ledger, &mut entropy, deed, cover) {
            None => {}
            Some(found) => {
                *tally.times.entry((deed, cover)).or_default() += 1;
                tally.missed.extend(found.err().map(told));
            }
        }
        number += 1;
    }
    tally
}

/// Tampers once; returns whether that was found, or `None` if it changed nothing.
fn tamper(
    ledger: &Ledger,
    entropy: &mut Entropy,
    deed: Deed,
    cover: Cover,
) -> Option<Result<(), String>> {
    let receipt = ledger.receipts[entropy.index(ledger.receipts.len())];
    let mut stored = Stored::read(ledger);
    stored.tamper(entropy, deed, &receipt);
    stored.write(ledger, cover);
    let first = Stored::first_difference(ledger, &receipt);
    let judged = first.map(|first| judge(&ledger.hub, &receipt, first, cover));
    ledger.restore();
    judged
}

/// Verifies, and says what is wrong with the answer. `first` is where the batch that was tampered
/// with begins, or began.
fn judge<S: tallyroll_engine::store::Store>(
    hub: &Hub<S>,
    receipt: &Receipt,
    first: u64,
    cover: Cover,
) -> Result<(), String> {
    let position = receipt.head.position;
    let found = hub.verify_log(position.log, position.epoch, Some(receipt));
    let found = found.map_err(|error| format!("verifying failed: {error}"))?;
    let Some((named, why)) = found.wrong else {
        return Err(format!("not found with the receipt for {position}: {found:?}"));
    };
    let here = (named.log, named.epoch) == (position.log, position.epoch);
    // Where the chain was made anew over the change, the next signature after it shows it.
    let last = if cover == Cover::None { first } else { position.seq };
    if here && (first..=last.max(first)).contains(&named.seq) {
        return Ok(());
    }
    Err(format!(
        "begins at seq {first}, but {named} is named ({why}); the receipt is for {position}"
    ))
}
