//! Bugs planted in the engine itself, for the thread that lives a history.
//!
//! Invariant: only what is under test runs with the bug. Whoever looks at its disks and logs does
//! so with a sound engine: a checker that shared the bug would find nothing wrong. The list of bugs
//! is the engine's, who must find which the test `planted`'s. Bugs of disk, network and rim are in
//! [`planted`](super::planted).

pub use tallyroll_engine::planted::Bug;

/// The checker that must find a bug.
pub fn finder(bug: Bug) -> &'static str {
    use Bug::*;
    match bug {
        JournalUnsynced | TornEntryAccepted | CommitIgnoresFailure | DeviceGoesOn | HubGoesOn
        | GenerationNotStored | EvidenceDropped => "durable",
        FirstOfCommitCounted | SnapshotWithoutCut | LastArrivedHolds => "converges",
        BatchesUnchained | HybridTimeIsRaw | ClockForgetsSealed => "never-rewrites",
        NonceWithoutEntropy | SignsBeforeChaining | LastRunDropped | AnchorIgnored
        | EndedEpochGrows | WrittenUnsurveyed | AccountsKept => "never-forks",
        CreditIgnored => "bounded",
        RightsReused | CopiedTwice | PoolUnchecked | ActUnchecked | ActDoneAgain => {
            "never-overspends"
        }
        ReturnUncounted | MembersApart | GiftGivenAgain => "every-credit-has-a-place",
        SnapshotWithoutGrants
        | ImportsNotStored
        | BroughtImportsIgnored
        | HeldRecordedAgain
        | DivergedStaysConfirmed
        | ResubmittedCountedAgain
        | UnbackedForgotten
        | MonthOfImport
        | ConversionsDoubled
        | DestinationsUncharged
        | ConversionChargedAgain
        | DiscardKeepsHold
        | AdditiveHeld
        | AdjustmentsDropped
        | ClosedMonthMoves
        | RunningTotalsAdded => "conserves",
        HubCommitIgnoresFailure
        | CommitNumberShared
        | RedbUnsynced
        | OlderReceiptKept
        | CommitEpochKept => "receipts",
        CreditKept | SurveyedUntold | GrowthUnheard | NothingGivenBack | LinkIgnoredBySeal
        | NamesNotSentAgain | ReceiptsSaidOnce => "liveness",
        GapAccepted
        | CompressedLengthTrusted
        | RecordCountTrusted
        | OrphanAdmitted
        | SignatureUnchecked
        | TailUnverified
        | HeldUncompared
        | OldKeyBelieved
        | HeadHashUnchecked
        | OtherEpochsBatch
        | ReceiptUnverified
        | ReceiptForOtherHistory
        | DeviceTakesAnyLog
        | OthersLogsBrought
        | SecondLedger
        | DeviceAuthorsDecisions
        | RevokedBelieved => "verifies",
    }
}

/// Plants a bug in all engines on this thread, or none.
#[cfg(feature = "planted")]
pub(super) fn plant(bug: Option<Bug>) {
    tallyroll_engine::planted::plant(bug);
}

/// There is no engine here to plant anything in.
#[cfg(not(feature = "planted"))]
pub(super) fn plant(bug: Option<Bug>) {
    assert_eq!(bug, None, "to plant a bug, build with `--features planted`");
}

/// Looks at something without the bug.
pub(crate) fn soundly<T>(look: impl FnOnce() -> T) -> T {
    let planted = Bug::ALL.iter().copied().find(|bug| tallyroll_engine::planted::planted(*bug));
    plant(None);
    let seen = look();
    plant(planted);
    seen
}
