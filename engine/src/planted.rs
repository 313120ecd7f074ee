//! Bugs planted in the engine, so that the simulator can be seen to find them. For tests only.
//!
//! Owns the switch and the list: each bug is a mistake that a good engineer could make, in one
//! short condition where it would stand. Invariant: without the feature `planted`, which no
//! shipped crate may ask for, [`planted`] is a constant `false` and nothing of a bug is compiled.
//! Which checker finds which bug is the tests' to say.

/// Whether this build can have bugs planted.
pub const AVAILABLE: bool = cfg!(feature = "planted");

macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $what])+ $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it does, in one line.
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what),+).trim_ascii(),)+
                }
            }
        }
    };
}

bugs! {
    // log
    /// The journal writes an entry and does not sync it.
    JournalUnsynced,
    /// A journal's entry is taken in without its checksum.
    TornEntryAccepted,
    /// Each batch is hashed by itself, not with the hash before it.
    BatchesUnchained,
    /// A batch that begins anywhere continues the chain.
    GapAccepted,
    /// A batch's stated length is believed, whatever it uncompresses to.
    CompressedLengthTrusted,
    /// A batch's stated number of records is believed, however many there are.
    RecordCountTrusted,
    /// An epoch is admitted that hangs on nothing held here.
    OrphanAdmitted,
    /// The nonces of new epochs are made without the process's entropy.
    NonceWithoutEntropy,
    /// A hybrid time is the raw clock's.
    HybridTimeIsRaw,
    /// After a start the clock goes on from the raw clock, not from what was sealed.
    ClockForgetsSealed,

    // merge and fetch
    /// A head's signature is not looked at.
    SignatureUnchecked,
    /// What is given back of a cloud's log about a device is taken in whoever signed it.
    TailUnverified,
    /// A log's first key is believed for ever, whatever keys came after it.
    OldKeyBelieved,
    /// A signed head is taken for the last batch's, whatever its hash.
    HeadHashUnchecked,
    /// Another history at a place that is filled passes for the one that fills it.
    HeldUncompared,
    /// A burst's batches are admitted whichever epoch they name.
    OtherEpochsBatch,
    /// A head is signed with the hash that stood before its last batch.
    SignsBeforeChaining,

    // sync
    /// Batches are sent that the peer gave no credit for.
    CreditIgnored,
    /// No credit is given for a burst that was persisted.
    CreditKept,
    /// What the cloud has of a device's past counts as told before it was.
    SurveyedUntold,
    /// New heads of an epoch that the peer knows are not taken up.
    GrowthUnheard,
    /// A device does not offer the cloud's own logs back to it.
    NothingGivenBack,

    // device
    /// A group commit is acknowledged though the journal failed.
    CommitIgnoresFailure,
    /// After a failed write the device goes on.
    DeviceGoesOn,
    /// Sealing does not store the journal's next generation.
    GenerationNotStored,
    /// Of a tail of several batches the last, smaller one is dropped.
    LastRunDropped,
    /// Sealing does not store which page-log lines are counted.
    ImportsNotStored,
    /// A device does not note the page-log lines that the cloud brings back to it.
    BroughtImportsIgnored,
    /// A linked device seals once an hour, as one without a link.
    LinkIgnoredBySeal,
    /// A copy that could be seen at start goes on in the original's epochs.
    AnchorIgnored,
    /// What a copy set aside is not kept as evidence.
    EvidenceDropped,
    /// A copy records again what the cloud has, too.
    HeldRecordedAgain,
    /// A device whose history was another one imports page logs at once.
    DivergedStaysConfirmed,
    /// A receipt's signature is not looked at.
    ReceiptUnverified,
    /// A receipt for another history than the device's is kept.
    ReceiptForOtherHistory,
    /// An older receipt replaces a newer one.
    OlderReceiptKept,
    /// A device takes any log that the cloud sends.
    DeviceTakesAnyLog,
    /// Names are not sent again to a cloud that lost them.
    NamesNotSentAgain,

    // hub
    /// Receipts leave though the store's commit failed.
    HubCommitIgnoresFailure,
    /// After a failed write the cloud goes on.
    HubGoesOn,
    /// All batches of one commit get the same number.
    CommitNumberShared,
    /// A cloud writes to its devices where one may hold something else that it wrote.
    WrittenUnsurveyed,
    /// A cloud put back from a backup goes on with its old commit numbers.
    CommitEpochKept,
    /// A cloud put back from a backup goes on in its old accounts.
    AccountsKept,
    /// The receipts that a device may have missed are not said again.
    ReceiptsSaidOnce,
    /// An epoch that ended takes in more.
    EndedEpochGrows,
    /// A device may bring another device's logs.
    OthersLogsBrought,
    /// A device may open a second ledger.
    SecondLedger,
    /// A device may author the log about itself.
    DeviceAuthorsDecisions,
    /// A revoked device is believed.
    RevokedBelieved,
    /// Of the batches of one commit only the first is counted.
    FirstOfCommitCounted,

    // store
    /// redb's commits are not durable by themselves.
    RedbUnsynced,

    // fold and counts
    /// A view is stored without what was granted.
    SnapshotWithoutGrants,
    /// A stored view is used with the cut of an empty one.
    SnapshotWithoutCut,
    /// Of several decisions about one thing the last to arrive holds.
    LastArrivedHolds,
    /// An event that several copies recorded again counts each time.
    ResubmittedCountedAgain,
    /// What is recorded again counts as backed by a lease.
    UnbackedForgotten,
    /// A page-log line counts in the month in which it was imported.
    MonthOfImport,
    /// A conversion asked for twice is charged twice.
    ConversionsDoubled,
    /// A document is charged once, however many destinations it goes to.
    DestinationsUncharged,
    /// A job's conversion is charged with each revision that it led to.
    ConversionChargedAgain,
    /// A discarded document's captures stay held.
    DiscardKeepsHold,
    /// The policy of a job is ignored: captures are held where they should stand.
    AdditiveHeld,
    /// A device's next epoch has the rights of the one before.
    RightsReused,
    /// What a copy spent of a lease is booked twice.
    CopiedTwice,
    /// A lease is granted though the pool does not cover it.
    PoolUnchecked,
    /// An act is recorded though the pool does not cover it.
    ActUnchecked,
    /// An act that is asked for again is done again.
    ActDoneAgain,
    /// What a device gives back of a lease stays lent.
    ReturnUncounted,
    /// A member's credits are not the group's.
    MembersApart,
    /// An account is given a month's allotment whenever it is asked for.
    GiftGivenAgain,
    /// What comes of closed months too late is booked nowhere.
    AdjustmentsDropped,
    /// A closed month shows what is known now.
    ClosedMonthMoves,
    /// A spooler's running totals are added up.
    RunningTotalsAdded,
}

/// Whether this bug is planted on this thread.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn planted(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use switch::{plant, planted};

#[cfg(feature = "planted")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is planted on this thread.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug in everything that runs on this thread from now on, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}
