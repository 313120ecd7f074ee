//! Merging: what makes a burst from a peer part of the logs held here.
//!
//! Invariant: a batch is admitted only if it continues its epoch without a gap,
//! its chain ends at the burst's head and the head is signed by the key that is in
//! force there. What is held already is recognised, byte for byte;
//! another history at the same place is a fork, never an overwrite. Who may
//! bring which log is the caller's [`Admission`].

mod ahead;

pub use self::ahead::Ahead;

use crate::log::{
    AFTER_ROTATION, Checked, InForce, Opened, Tip, admit_opening, check_rotation, closes,
    hash_before, in_force, open, read_genesis, read_opening, rotation,
};
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, HeadRow, LogRow, PrunedRow, TipRow};
use crate::store::{Rows, Store};
use crate::{Error, Result, keys};
use tallyroll_schema::event::log::{EpochOpened, KeyRotated, LogClass, LogOpened};
use tallyroll_schema::limits::BURST_RECORDS_KEPT_MAX;
use tallyroll_schema::{
    Batch, DecodeError, EpochId, Head, LogId, Position, QuarantineId, SignedHead, TenantId,
};

/// Batches of one epoch, contiguous, closed by the head of the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// At least one.
    pub batches: Vec<Batch>,
    /// Of the last batch's end.
    pub head: SignedHead,
}

impl Burst {
    /// The log and epoch its head names.
    pub fn epoch(&self) -> (LogId, EpochId) {
        (self.head.head.position.log, self.head.head.position.epoch)
    }

    /// Its batches' size, bytes.
    pub fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes().len()).sum()
    }

    /// Whether it has no batch, which no peer may send.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

/// Why a burst was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something before it is missing here.
    #[error("batch begins at seq {found}, but seq {expected} is next here; send from there")]
    Gap {
        /// What is next here.
        expected: u64,
        /// Where the burst begins.
        found: u64,
    },
    /// Another history than the one held.
    #[error("another history than the one held, at seq {seq}; one of the two is a copy")]
    Fork {
        /// Where it shows.
        seq: u64,
    },
    /// An epoch that hangs on a history that is not held.
    #[error("the epoch hangs on {parent}, which is not held here as it says")]
    Orphan {
        /// What it names as its parent's end.
        parent: Position,
    },
    /// An epoch that another one continues.
    #[error("the epoch ended before seq {seq}: another one continues it")]
    Ended {
        /// The seq that would come next.
        seq: u64,
    },
    /// The log was closed for good.
    #[error(
        "the log was closed at seq {seq} when its device was retired; nothing is taken after that"
    )]
    Closed {
        /// The seq that would come next there.
        seq: u64,
    },
    /// It is kept apart until an administrator decides; so is what comes after it.
    #[error(
        "in quarantine at the cloud as {id}: {reason}; until its administrator releases or discards it \
         (`tallyroll quarantine show {id}`), this log goes no further"
    )]
    Quarantined {
        /// The entry.
        id: QuarantineId,
        /// Why.
        reason: String,
    },
    /// There is no room to keep it apart.
    #[error(
        "not taken, and this device's quarantine at the cloud is full: {0}; its administrator makes room \
         with `tallyroll quarantine`"
    )]
    QuarantineFull(String),
    /// It was receipted and is kept here no more.
    #[error(
        "seq {from} is asked for, and the device pruned its events before seq {end} after the cloud had confirmed \
         them: restore a newer backup of the cloud, or retire this device and enrol it anew"
    )]
    Pruned {
        /// The first seq that was asked for.
        from: u64,
        /// The first one after the pruned ones.
        end: u64,
    },
    /// It does not verify.
    #[error("it does not verify: {0}")]
    Poison(String),
    /// The peer may not bring this log.
    #[error("not allowed: {0}")]
    Denied(String),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Poison(error.to_string())
    }
}

/// What admitting a burst came to.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The log's genesis.
    pub genesis: LogOpened,
    /// The batches that are new here; empty when all were held.
    pub new: Vec<Checked>,
    /// The epoch's end afterwards.
    pub tip: Tip,
    /// The change of keys that the burst ends with, if it is new here.
    pub rotated: Option<KeyRotated>,
}

/// Says what a peer may bring.
pub trait Admission {
    /// Whether it may bring a log with this genesis.
    ///
    /// # Errors
    /// Why not.
    fn may_bring(&self, log: LogId, genesis: &LogOpened) -> Result<(), Refusal>;

    /// Whether it may bring events that do not descend from all changes of their log's keys.
    ///
    /// # Errors
    /// Why not.
    fn may_ignore_rotation(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether it may change its keys so.
    ///
    /// # Errors
    /// Why not.
    fn may_rotate(&self, _event: &KeyRotated) -> Result<(), Refusal> {
        Ok(())
    }
}

impl<F: Fn(LogId, &LogOpened) -> Result<(), Refusal>> Admission for F {
    fn may_bring(&self, log: LogId, genesis: &LogOpened) -> Result<(), Refusal> {
        self(log, genesis)
    }
}

/// Admits a burst: writes its new batches, tip and head into `rows`. What is unpacked of it already is not unpacked again.
///
/// # Errors
/// [`crate::Error::Refused`] when it is not to be admitted (nothing was written),
/// or storage failed.
pub fn admit<S: Store>(
    rows: &mut Rows<'_, S>,
    (burst, mut ahead): (Burst, Ahead),
    allowed: &impl Admission,
) -> Result<Admitted> {
    let (log, epoch) = burst.epoch();
    let known: Option<LogRow> = rows.get(&log)?;
    let genesis = match &known {
        Some(LogRow(genesis)) => genesis.clone(),
        None => genesis_of(rows.tenant(), &burst)?,
    };
    allowed.may_bring(log, &genesis)?;

    let row = rows.get::<TipRow>(&(log, epoch))?;
    let mut closed = row.filter(|row| row.closed == Some(true)).map(|row| row.next_seq);
    let held = row.map_or(Tip::START, Tip::from);
    let Some(mut tip) = begin(rows, &burst, held)? else {
        // Signed, and laid out otherwise than what is held: its writer wrote twice.
        writer_of(rows, &genesis, &burst.head, None)?;
        return Err(Refusal::Fork { seq: first_seq(&burst) }.into());
    };
    let mut differs = None;
    let (mut new, mut hashes, mut rotated) = (Vec::<Checked>::new(), Vec::new(), None);
    let mut room = BURST_RECORDS_KEPT_MAX;
    for (at, batch) in burst.batches.into_iter().enumerate() {
        let header = *batch.header();
        if (header.log, header.epoch) != (log, epoch) && !planted(Bug::OtherEpochsBatch) {
            return Err(Refusal::Poison("a batch of another epoch than the head's".into()).into());
        }
        let is_held = header.first_seq < held.next_seq;
        if is_held
            && differs.is_none()
            && let Some(there) = held_as(rows, tip, &batch)?
        {
            tip = there;
            continue;
        }
        if is_held || differs.is_some() {
            differs.get_or_insert(header.first_seq);
            let opened = open(batch).map_err(Refusal::from)?;
            tip = advanced(rows, tip, &opened)?;
            continue;
        }
        if let Some(seq) = closed {
            return Err(Refusal::Closed { seq }.into());
        }
        if rotated.is_some() {
            return Err(Refusal::from(AFTER_ROTATION).into());
        }
        let opened = ahead.open(at, batch).map_err(Refusal::from)?;
        tip = advanced(rows, tip, &opened)?;
        if closes(&opened.records)? {
            closed = Some(tip.next_seq);
        }
        rotated = rotation(&opened.records).map_err(Refusal::from)?;
        hashes.push(tip.hash);
        new.push(Checked::from(opened).within(&mut room));
    }
    let first = new.first().filter(|_| held == Tip::START && epoch != genesis.epoch);
    let first = first.map(Checked::opened).transpose()?;
    let opening = first.as_ref().and_then(|first| read_opening(epoch, &first.records));
    let place = burst.head.head.position;
    let writer = writer_of(rows, &genesis, &burst.head, opening)?;
    check_head(rows, &burst.head.head, tip)?;
    if let Some(seq) = differs.filter(|_| !planted(Bug::HeldUncompared)) {
        return Err(Refusal::Fork { seq }.into());
    }
    if writer.superseded && !new.is_empty() {
        allowed.may_ignore_rotation()?;
    }
    let rotations = match &rotated {
        Some(event) => {
            allowed.may_rotate(event)?;
            Some(check_rotation(rows, &genesis, (place, &writer.key), event)?)
        }
        None => None,
    };
    if let Some(first) = first {
        admit_opening(rows, log, epoch, &first.records)?;
    }
    if let Some(rotations) = rotations {
        rows.put(&log, &rotations);
    }

    if known.is_none() {
        rows.put(&log, &LogRow(genesis.clone()));
    }
    for (checked, hash) in new.iter().zip(hashes) {
        let batch = checked.batch().clone();
        rows.put(&(log, epoch, batch.header().first_seq), &BatchRow { hash, batch });
    }
    if !new.is_empty() {
        let closed = closed.map(|_| true);
        rows.put(&(log, epoch), &TipRow { closed, ..tip.into() });
        rows.put(&(log, epoch, burst.head.head.position.seq), &HeadRow(burst.head));
    }
    let tip = if new.is_empty() { held } else { tip };
    Ok(Admitted { genesis, new, tip, rotated })
}

/// Who signs there; the head is signed by it.
fn writer_of<S: Store>(
    rows: &Rows<'_, S>,
    genesis: &LogOpened,
    head: &SignedHead,
    opening: Option<EpochOpened>,
) -> Result<InForce> {
    let writer = in_force(rows, genesis, head.head.position, opening)?;
    let signed_by = |key| keys::verify_head(rows.tenant(), key, head);
    let unsound = planted(Bug::SignatureUnchecked)
        || (planted(Bug::TailUnverified) && genesis.class == LogClass::Device)
        || (planted(Bug::OldKeyBelieved) && signed_by(&genesis.writer));
    if signed_by(&writer.key) || unsound {
        return Ok(writer);
    }
    Err(Refusal::Poison("its head is not signed by the log's writer".into()).into())
}

fn first_seq(burst: &Burst) -> u64 {
    burst.batches.first().map_or(0, |batch| batch.header().first_seq)
}

/// The end of what a burst continues, as it is held, if a batch ends there.
fn begin<S: Store>(rows: &Rows<'_, S>, burst: &Burst, held: Tip) -> Result<Option<Tip>> {
    let (log, epoch) = burst.epoch();
    let first = first_seq(burst);
    if burst.is_empty() || first >= held.next_seq {
        return Ok(Some(held));
    }
    match hash_before(rows, log, epoch, first)? {
        Some(hash) => Ok(Some(Tip { next_seq: first, hash })),
        // Nothing to compare it with.
        None if is_pruned(rows, (log, epoch), first)? => {
            Err(Refusal::Gap { expected: held.next_seq, found: first }.into())
        }
        None => Ok(None),
    }
}

fn advanced<S: Store>(rows: &Rows<'_, S>, tip: Tip, opened: &Opened) -> Result<Tip> {
    let found = opened.batch.header().first_seq;
    let gap = Refusal::Gap { expected: tip.next_seq, found };
    Ok(tip.advance(rows.tenant(), &opened.batch, &opened.records).ok_or(gap)?)
}

/// A log unknown here must begin with the record that makes its id.
fn genesis_of(tenant: TenantId, burst: &Burst) -> Result<LogOpened, Refusal> {
    let (log, epoch) = burst.epoch();
    if epoch.counter > 0 {
        return Err(Refusal::Orphan { parent: Position { log, epoch, seq: 0 } });
    }
    let first = burst.batches.first().ok_or(Refusal::Poison("no batches".into()))?;
    if first.header().first_seq != 0 {
        return Err(Refusal::Gap { expected: 0, found: first.header().first_seq });
    }
    let opened = open(first.clone())?;
    match read_genesis(log, epoch, &opened.records) {
        Some(genesis) if genesis.tenant == tenant => Ok(genesis),
        Some(_) => Err(Refusal::Denied("the log belongs to another tenant".into())),
        None => Err(Refusal::Poison("the first record does not make the log's id".into())),
    }
}

/// Where a batch ends that is held: byte for byte, or packed otherwise, which the chain does not
/// cover. A bit of a compressed batch can be damaged on its way and say the same.
fn held_as<S: Store>(rows: &Rows<'_, S>, tip: Tip, batch: &Batch) -> Result<Option<Tip>> {
    let header = batch.header();
    let row: Option<BatchRow> = rows.get(&(header.log, header.epoch, header.first_seq))?;
    let Some(BatchRow { hash, batch: held }) = row else { return Ok(None) };
    let there = held.header().end_seq().ok().map(|next_seq| Tip { next_seq, hash });
    if held == *batch {
        return Ok(there);
    }
    let opened = open(batch.clone()).ok();
    let same = opened.and_then(|one| tip.advance(rows.tenant(), &one.batch, &one.records));
    Ok(there.filter(|there| same.as_ref() == Some(there)))
}

fn is_pruned<S: Store>(rows: &Rows<'_, S>, epoch: (LogId, EpochId), seq: u64) -> Result<bool> {
    Ok(rows.get::<PrunedRow>(&epoch)?.is_some_and(|row| row.covers(seq)))
}

/// The head, whose signature holds, must be that of the last batch. One that is neither that nor
/// the one held there says that its writer wrote twice; else the batches are not what was signed.
fn check_head<S: Store>(rows: &Rows<'_, S>, head: &Head, tip: Tip) -> Result<(), Error> {
    let Position { log, epoch, seq } = head.position;
    if tip.head(log, epoch).as_ref() == Some(head) {
        return Ok(());
    }
    let end = seq.saturating_add(1);
    if end == tip.next_seq && planted(Bug::HeadHashUnchecked) {
        return Ok(());
    }
    match hash_before(rows, log, epoch, end)? {
        Some(held) if held != head.hash => Err(Refusal::Fork { seq }.into()),
        _ => Err(Refusal::Poison("its head is not that of its last batch".into()).into()),
    }
}
