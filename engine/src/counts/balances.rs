//! Balances told: what a device was told of its users' balances, and when it asked.
//!
//! Invariant: every field is a maximum, so the fold commutes. Both ends fold the same events: the cloud
//! reads here whom it owes a word, a device what it knows. What a balance is comes from the sums; what
//! a device makes of it in the middle of a job is its own.

use super::rights::charge;
use super::state::Place;
use crate::fold::Origin;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use tallyroll_schema::event::balances::{BalanceTold, SyncMode};
use tallyroll_schema::event::counts::SettlementPolicy;
use tallyroll_schema::{Credits, DeviceId, Event, Position, Record, UserAlias, Wall};

/// A user's balance as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Told {
    /// Where among the cloud's words to the device.
    #[n(0)]
    pub(super) place: Place,
    /// When, by the cloud's clock.
    #[n(1)]
    pub at: Wall,
    /// Granted less settled.
    #[n(2)]
    pub balance: Credits,
    /// Provisionally charged.
    #[n(3)]
    pub held: Credits,
    /// The balance less what is held.
    #[n(4)]
    pub available: Credits,
    /// The last event of the device's ledger that is in it.
    #[n(5)]
    pub up_to: Position,
}

/// What passed between a device and its cloud about a user's balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Acquaintance {
    /// The last word.
    #[n(0)]
    pub told: Option<Told>,
    /// Where the device asked last.
    #[n(1)]
    asked: Option<Position>,
    /// The last sync request flag, and the last event of the device that the cloud had then.
    #[n(2)]
    flag: Option<(Place, Position)>,
    /// The last charge at the device that only the cloud knows the end of, or whether it was in a word before.
    #[n(3)]
    provisional: Option<Position>,
    /// When the device asked last, or the cloud acted for the user there.
    #[n(4)]
    pub served_at: Wall,
    /// When the cloud acted for the user there.
    #[cbor(n(5), default)]
    acted_at: Wall,
}

impl Acquaintance {
    /// Whether the device asked and was not answered yet.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some() && self.asked > self.told.map(|told| told.up_to)
    }

    /// Whether the sync request flag is set: neither did the device ask since, nor was it told.
    pub fn is_flagged(&self) -> bool {
        self.flag.is_some_and(|(place, up_to)| {
            self.asked.is_none_or(|asked| asked <= up_to)
                && self.told.is_none_or(|told| told.place < place)
        })
    }

    /// Whether charges at the device since it was told were provisional, or recorded again.
    pub fn is_overtaken(&self) -> bool {
        self.provisional.is_some() && self.provisional > self.told.map(|told| told.up_to)
    }

    /// Whether the cloud acted for the user there since it was told: both by the cloud's clock.
    pub fn is_acted_for(&self) -> bool {
        self.told.is_some_and(|told| self.acted_at > told.at)
    }
}

/// All of a tenant's; at a device, its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Balances {
    #[n(0)]
    users: BTreeMap<(DeviceId, UserAlias), Acquaintance>,
    /// Laid down for devices that are busy, with the place of the decision.
    #[n(1)]
    mode: Option<(Place, SyncMode)>,
}

impl Balances {
    /// Users at devices where somebody asked or was told, or the cloud acted.
    pub fn users(&self) -> &BTreeMap<(DeviceId, UserAlias), Acquaintance> {
        &self.users
    }

    /// What passed about a user at a device.
    pub fn of(&self, device: DeviceId, user: UserAlias) -> Acquaintance {
        self.users.get(&(device, user)).copied().unwrap_or_default()
    }

    /// Whether anything passed about users of a device.
    pub fn is_acquainted(&self, device: DeviceId) -> bool {
        let first = (device, UserAlias([0; UserAlias::LEN]));
        self.users.range(first..).next().is_some_and(|((known, _), _)| *known == device)
    }

    /// How devices that are busy come by new balances.
    pub fn mode(&self) -> SyncMode {
        self.mode.map_or(SyncMode::Wait, |(_, mode)| mode)
    }

    /// Takes in an event where it was written first, and when that was.
    pub(super) fn fold(&mut self, origin: &Origin, at: Wall, event: &Event) {
        let position = origin.position;
        let place = (position.epoch, position.seq);
        match (origin.device, event) {
            (Some(device), Event::BalanceAsked(e)) => {
                let known = self.of_mut(device, e.user);
                known.asked = known.asked.max(Some(position));
                known.served_at = known.served_at.max(at);
            }
            (Some(device), Event::PagesCaptured(e))
                if e.policy == Some(SettlementPolicy::ServerSettles) =>
            {
                let known = self.of_mut(device, e.user);
                known.provisional = known.provisional.max(Some(position));
            }
            (None, Event::BalanceTold(e)) => {
                let known = self.of_mut(e.device, e.user);
                let BalanceTold { balance, held, available, up_to, .. } = *e;
                known.told =
                    known.told.max(Some(Told { place, at, balance, held, available, up_to }));
            }
            (None, Event::BalanceSyncRequested(e)) => {
                let known = self.of_mut(e.device, e.user);
                known.flag = known.flag.max(Some((place, e.up_to)));
            }
            (None, Event::SyncModePublished(e)) => self.mode = self.mode.max(Some((place, e.mode))),
            (None, Event::PagesConverted(e)) => self.serve(e.device, e.user, at),
            (None, Event::DocumentSent(e)) => self.serve(e.device, e.user, at),
            (None, Event::DocumentSaved(e)) => self.serve(e.device, e.user, at),
            (None, Event::DocumentDiscarded(e)) => {
                e.user.into_iter().for_each(|user| self.serve(e.device, user, at));
            }
            _ => {}
        }
    }

    /// Takes in what was recorded again: a device subtracts every charge after the last word, also one that
    /// was in that word by its first place, or by another copy.
    pub(super) fn fold_again(&mut self, origin: &Origin, record: &Record<'_>) {
        let (Some(device), Ok(event)) = (origin.device, record.event()) else { return };
        if let Some((user, _)) = charge(&event) {
            let known = self.of_mut(device, user);
            known.provisional = known.provisional.max(Some(origin.position));
        }
    }

    fn serve(&mut self, device: Option<DeviceId>, user: UserAlias, at: Wall) {
        let Some(device) = device else { return };
        let known = self.of_mut(device, user);
        known.served_at = known.served_at.max(at);
        known.acted_at = known.acted_at.max(at);
    }

    fn of_mut(&mut self, device: DeviceId, user: UserAlias) -> &mut Acquaintance {
        self.users.entry((device, user)).or_default()
    }
}
