//! Samples of the events of balances told.
//!
//! Invariant: the first sample of a kind sets every field; none of these has an optional one. Which
//! files they become is left to the tests above.

use super::{ALIAS, DEVICE, POSITION};
use crate::event::balances::*;
use crate::{Credits, Event};

pub(super) fn samples() -> Vec<Event> {
    let amount = Credits::from_thousandths;
    vec![
        BalanceAsked { user: ALIAS }.into(),
        BalanceTold {
            device: DEVICE,
            user: ALIAS,
            balance: amount(97_500),
            held: amount(1_000),
            available: amount(96_500),
            up_to: POSITION,
        }
        .into(),
        BalanceSyncRequested { device: DEVICE, user: ALIAS, up_to: POSITION }.into(),
        SyncModePublished { mode: SyncMode::Flag }.into(),
    ]
}
