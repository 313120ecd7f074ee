//! What the fold does not believe: events beyond counting. What it adds up is tested with the
//! reports, the jobs and the statements.
//! Snapshots are tested where they are written.

use super::*;
use crate::counts::usage::month_of;
use tallyroll_schema::event::counts::{Charge, ColorMode, DocumentSent};
use tallyroll_schema::limits::EVENT_COUNT_MAX;
use tallyroll_schema::{Credits, EpochId, LogId};

/// It was counted as 2³² − 1, though its charge was for more.
#[test]
fn an_event_beyond_counting_is_misplaced_and_not_cut_to_fit() {
    let (device, user) = (DeviceId([1; 16]), UserAlias([2; 16]));
    let epoch = EpochId { counter: 0, nonce: [5; 16] };
    let position = Position { log: LogId([4; 32]), epoch, seq: 1 };
    let origin = Origin { device: Some(device), class: LogClass::Ledger, position };
    let sent = |pages, destinations| DocumentSent {
        job: JobId([3; 8]),
        user,
        pages,
        destinations,
        color: ColorMode::Color,
        charge: Charge { credits: Credits::ZERO, card: 1, backing: None },
        device: None,
        request: None,
        media: None,
        policy: None,
        revision: None,
        which_pages: None,
    };
    let mut counts = Counts::default();
    counts.fold_event(&origin, Wall(0), sent(u32::MAX, 1).into(), false);
    counts.fold_event(&origin, Wall(0), sent(u32::MAX, 2).into(), false);
    let key = UsageKey { device, user, month: month_of(Wall(0)) };
    assert_eq!(counts.usage.get(&key).map(|usage| usage.sent), Some(EVENT_COUNT_MAX));
    assert_eq!(counts.misplaced(), 1);
}
