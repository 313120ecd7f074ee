//! What a dishonest device could bring to the cloud: bursts that do not verify, and one that does.
//!
//! Invariant: each forgery is wrong in one thing and sound in all others, signatures and hashes
//! made anew where its device can make them; so only the check it is meant for stands in its way.
//! Trying them is a checker's.

use super::entropy::Entropy;
use super::machine::{DeviceMachine, TENANT};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::{Tip, genesis, seal};
use tallyroll_engine::merge::Burst;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::{EpochOpened, EpochReason, LogClass, LogOpened};
use tallyroll_schema::{
    Batch, DeviceId, EpochId, Event, Hash, Head, HybridTime, LogId, Position, Record, Timestamp,
    Wall, batch_hash,
};

/// A burst with something wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// Nothing: the device goes on writing.
    None,
    /// It begins beyond the place that is next.
    Gap,
    /// Its head is that of other records.
    OtherRecords,
    /// Somebody else signed its head.
    OtherSigner,
    /// It says that it uncompresses to more than it does.
    Length,
    /// It says that it holds more records than it does.
    Count,
    /// Its batch says that it is of another log.
    OtherLog,
    /// It goes on a log of the cloud's, signed by the device that gives it back.
    Tail,
    /// It stands at a place that is filled, with other content.
    Filled,
    /// It opens an epoch that hangs on a history that nobody wrote.
    Orphan,
    /// It is the beginning of a second ledger.
    SecondLedger,
    /// It is the beginning of a log about the device, by the device.
    Decisions,
    /// It is another device's.
    OtherDevice,
    /// Its device was revoked before it came.
    Revoked,
    /// A key signed it that its device had before; a stranger's, where there was none.
    FormerKey,
}

impl Forgery {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::None,
        Self::Gap,
        Self::OtherRecords,
        Self::OtherSigner,
        Self::Length,
        Self::Count,
        Self::OtherLog,
        Self::Tail,
        Self::Filled,
        Self::Orphan,
        Self::SecondLedger,
        Self::Decisions,
        Self::OtherDevice,
        Self::Revoked,
        Self::FormerKey,
    ];

    /// The burst, for a log that ends at `tip` and whose first batch ends at `first`.
    pub(crate) fn forge(
        self,
        entropy: &mut Entropy,
        machine: &DeviceMachine,
        (log, epoch): (LogId, EpochId),
        tip: Tip,
        first: Tip,
    ) -> Option<Burst> {
        let signer = machine.signer_in_force();
        let records = heartbeats(entropy);
        let count = HEARTBEATS;
        let sealed = |log, epoch, seq| seal(log, epoch, seq, count, &records).ok();
        let next = tip.next_seq;
        match self {
            Self::None | Self::OtherDevice | Self::Revoked | Self::Tail => {
                burst(&signer, (log, epoch), sealed(log, epoch, next)?, tip.hash, &records)
            }
            Self::Gap => {
                burst(&signer, (log, epoch), sealed(log, epoch, next + 3)?, tip.hash, &records)
            }
            Self::OtherRecords => {
                let sound =
                    burst(&signer, (log, epoch), sealed(log, epoch, next)?, tip.hash, &records)?;
                let other = seal(log, epoch, next, count, &heartbeats(entropy)).ok()?;
                Some(Burst { batches: vec![other], ..sound })
            }
            Self::OtherSigner => {
                let other = Signer::from_seed(&entropy.bytes());
                burst(&other, (log, epoch), sealed(log, epoch, next)?, tip.hash, &records)
            }
            Self::FormerKey => {
                let former = machine.former_seeds.first().copied();
                let former = Signer::from_seed(&former.unwrap_or_else(|| entropy.bytes()));
                burst(&former, (log, epoch), sealed(log, epoch, next)?, tip.hash, &records)
            }
            Self::Length | Self::Count => {
                let sound = sealed(log, epoch, next)?;
                let mut header = *sound.header();
                if self == Self::Length {
                    header.records_len += 1000;
                } else {
                    header.count += 1;
                }
                let lying = Batch::encode(header, sound.payload()).ok()?;
                burst(&signer, (log, epoch), lying, tip.hash, &records)
            }
            Self::OtherLog => {
                let batch = sealed(LogId(entropy.bytes()), epoch, next)?;
                burst(&signer, (log, epoch), batch, tip.hash, &records)
            }
            Self::Filled => {
                let held = u32::try_from(first.next_seq).ok()?;
                let records = &heartbeats_of(entropy, held);
                let batch = seal(log, epoch, 0, held, records).ok()?;
                burst(&signer, (log, epoch), batch, Hash::ZERO, records)
            }
            Self::Orphan => {
                let opened = EpochOpened {
                    epoch: EpochId { counter: epoch.counter + 9, nonce: entropy.bytes() },
                    parent: epoch,
                    parent_seq: next - 1,
                    parent_hash: Hash(entropy.bytes()),
                    reason: EpochReason::Restored,
                    divergent: None,
                };
                first_batch(&signer, log, opened.epoch, &opened.into())
            }
            Self::SecondLedger => new_log(&signer, LogClass::Ledger, None, entropy.bytes()),
            Self::Decisions => {
                new_log(&signer, LogClass::Device, Some(machine.id), entropy.bytes())
            }
        }
    }
}

/// The beginning of a ledger that nobody here knows.
pub(crate) fn log_of_a_stranger(entropy: &mut Entropy) -> Option<Burst> {
    let stranger = Signer::from_seed(&entropy.bytes());
    new_log(&stranger, LogClass::Ledger, None, entropy.bytes())
}

fn new_log(
    signer: &Signer,
    class: LogClass,
    about: Option<DeviceId>,
    nonce: [u8; 16],
) -> Option<Burst> {
    let (writer, epoch) = (signer.public_key(), EpochId { counter: 0, nonce });
    let opened = LogOpened { tenant: TENANT, class, writer, about, epoch };
    let (log, _) = genesis(&opened, time()).ok()?;
    first_batch(signer, log, epoch, &opened.into())
}

fn first_batch(signer: &Signer, log: LogId, epoch: EpochId, event: &Event) -> Option<Burst> {
    let record = Record::encode(event, time()).ok()?;
    let batch = seal(log, epoch, 0, 1, &record).ok()?;
    burst(signer, (log, epoch), batch, Hash::ZERO, &record)
}

/// A batch, and the head of its end, hashed and signed as it should be.
fn burst(
    signer: &Signer,
    (log, epoch): (LogId, EpochId),
    batch: Batch,
    before: Hash,
    records: &[u8],
) -> Option<Burst> {
    let hash = batch_hash(TENANT, batch.header(), before, records);
    let position = Position { log, epoch, seq: batch.header().end_seq().ok()? - 1 };
    let head = signer.sign_head(TENANT, Head { position, hash });
    Some(Burst { batches: vec![batch], head })
}

/// Enough alike records that they compress.
const HEARTBEATS: u32 = 8;

fn heartbeats(entropy: &mut Entropy) -> Vec<u8> {
    heartbeats_of(entropy, HEARTBEATS)
}

fn heartbeats_of(entropy: &mut Entropy, count: u32) -> Vec<u8> {
    let uptime_seconds = entropy.below(1 << 40);
    let record = Record::encode(&HeartbeatSent { uptime_seconds }.into(), time());
    record.unwrap_or_default().repeat(count as usize)
}

fn time() -> Timestamp {
    Timestamp { wall: Wall(1), hybrid: HybridTime::default(), ..Timestamp::default() }
}
