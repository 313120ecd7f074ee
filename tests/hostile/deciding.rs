//! What an administrator may look at and decide: every operation that names something, of each of two tenants.
//!
//! Invariant shown here: an administrator is one of a tenant, that of the cloud which is asked; what another tenant has
//! cannot be seen or decided about, and whatever is asked, no row of it changes. Only people are named by ids that mean
//! nothing elsewhere: what is said of such an id stands in the own books.
//! The rule stands in [`may`] and nowhere else; the cells are made from it. Left out: devices, for no message of theirs
//! asks for any of this; what names nothing (rate cards, policies, months, invitations), or only people, as these do
//! (groups, allotments); and leases, which are found by a device as to retire it is. Who may be an administrator
//! is the system's: who can open the control socket, see `tests/it`.

use super::matrix::{MINE, OTHER, Owner, Standing, THEIRS, World, hello, say};
use core::ops::ControlFlow;
use std::collections::BTreeSet;
use tallyroll_engine::hub::{Correction, Hub};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::{Kind, Result};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::StreamKind;
use tallyroll_schema::{
    Credits, DeviceId, EpochId, Event, LogId, Position, QuarantineId, SubjectId, UserAlias,
};
use tallyroll_tests::hostile::place::{Party, now};
use tallyroll_tests::hostile::shared::Shared;

/// Whose alias it is that the devices' first act names, see `place::work`.
const ALIAS: UserAlias = UserAlias([1; 16]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Show,
    Verify,
    Statement,
    Retire,
    Revoke,
    Correct,
    Release,
    Discard,
    Link,
    Grant,
    Forget,
}

impl Operation {
    const ALL: [Self; 11] = [
        Self::Show,
        Self::Verify,
        Self::Statement,
        Self::Retire,
        Self::Revoke,
        Self::Correct,
        Self::Release,
        Self::Discard,
        Self::Link,
        Self::Grant,
        Self::Forget,
    ];
}

/// The rule.
fn may(owner: Owner, operation: Operation) -> bool {
    let of_people = matches!(operation, Operation::Link | Operation::Grant | Operation::Forget);
    owner == Owner::Tenant || of_people
}

/// What there is of a tenant to look at and to decide about.
struct Things {
    device: DeviceId,
    /// Somebody who was charged there.
    subject: SubjectId,
    ledger: (LogId, EpochId),
    charge: Position,
    /// What a device brought that was revoked meanwhile.
    quarantined: QuarantineId,
}

/// Two tenants that have the same: a device that works, and what another one brought too late.
fn world() -> (World, [Things; 2]) {
    let mut world = World::new(Standing::Active);
    let ours = (MINE, OTHER, Owner::Own);
    // A tenant's only device is the one that is revoked, after it worked.
    let things = [ours, (THEIRS, THEIRS, Owner::Foreign)].map(|(party, late, owner)| {
        let ledger = world.logs[&(owner, LogClass::Ledger)];
        let of = |party: Party| {
            DeviceId::of_key(party.tenant, &Signer::from_seed(&party.device).public_key())
        };
        let (device, late_device) = (of(party), of(late));
        let place = match owner {
            Owner::Own => world.logs[&(Owner::Tenant, LogClass::Ledger)],
            _ => ledger,
        };
        let (mut brings, _) =
            world.brought(late, place, StreamKind::Ledger, &Signer::from_seed(&late.device));
        let older = 1..brings.len() - 2; // of a revoked device only what comes next is kept
        brings.drain(older);
        let hub = if owner == Owner::Foreign { &mut world.their_hub } else { &mut world.hub };
        hub.revoke(now(520), late_device, String::new()).unwrap();
        let opens = hello(late.tenant, late_device);
        drop(say(hub, late_device, [vec![opens], brings].concat()));
        let subject = SubjectId(late.device[..16].try_into().unwrap());
        hub.link(now(521), vec![(device, ALIAS, subject)]).unwrap();
        let quarantined = hub.quarantine().unwrap();
        let [quarantined] = &quarantined[..] else { panic!("{quarantined:?}") };
        let quarantined = quarantined.entry.id;
        Things { device, subject, ledger, charge: charge(hub, ledger), quarantined }
    });
    (world, things)
}

/// The first charge in a ledger.
fn charge(hub: &Hub<Shared>, (log, epoch): (LogId, EpochId)) -> Position {
    let mut found = None;
    hub.read_log(log, epoch, 0, &mut |position, record| {
        let is_charge = matches!(record.event(), Ok(Event::PagesPrinted(_)));
        found = is_charge.then_some(position);
        if is_charge { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    found.unwrap()
}

/// Does it; returns whether it came to anything.
fn attempt(hub: &mut Hub<Shared>, operation: Operation, things: &Things) -> Result<bool> {
    let (log, epoch) = things.ledger;
    let (last, why) = (hub.last_commit(), || "why".to_owned());
    let credits = Credits::from_thousandths(1);
    match operation {
        Operation::Show => {
            let mut read = 0;
            hub.read_log(log, epoch, 0, &mut |_, _| {
                read += 1;
                ControlFlow::Continue(())
            })?;
            return Ok(read > 0);
        }
        Operation::Verify => return hub.verify_log(log, epoch, None).map(|found| found.events > 0),
        Operation::Statement => {
            let (stated, _) = hub.statement(things.subject, None, last)?;
            return Ok(!stated.lines.is_empty());
        }
        Operation::Retire => {
            hub.retire(now(600), things.device, why())?;
        }
        Operation::Revoke => {
            hub.revoke(now(600), things.device, why())?;
        }
        Operation::Correct => {
            let (corrects, by) = (things.charge, "admin".to_owned());
            let (beyond, again) = (false, false);
            let correction = Correction { corrects, credits, reason: why(), by, beyond, again };
            drop(hub.correct(now(600), correction)?);
        }
        Operation::Release => {
            hub.release(now(600), things.quarantined, why())?;
        }
        Operation::Discard => {
            hub.discard(now(600), things.quarantined, why())?;
        }
        Operation::Link => {
            let alias = UserAlias([2; 16]);
            hub.link(now(600), vec![(things.device, alias, things.subject)])?;
        }
        Operation::Grant => {
            hub.grant(now(600), things.subject, credits, why())?;
        }
        Operation::Forget => {
            hub.forget(now(600), things.subject, Vec::new())?;
        }
    }
    Ok(hub.last_commit() > last)
}

#[test]
fn an_administrator_sees_and_decides_about_one_tenant() {
    let (mut allowed, mut denied) = (0, 0);
    for operation in Operation::ALL {
        for owner in [Owner::Tenant, Owner::Foreign] {
            let (mut world, [ours, theirs]) = world();
            let things = if owner == Owner::Foreign { theirs } else { ours };
            let before = [MINE, THEIRS].map(|party| world.rows(party.tenant));
            let attempted = attempt(&mut world.hub, operation, &things);
            let cell = format!("{operation:?}, {owner:?}");
            if let Err(why) = &attempted {
                assert_eq!(why.kind(), Kind::Rejected, "{cell}: {why}");
            }
            let done = attempted.unwrap_or(false);
            assert_eq!(done, may(owner, operation), "{cell}");
            let [mine, theirs] = [MINE, THEIRS].map(|party| world.rows(party.tenant));
            assert_eq!(theirs, before[1], "{cell}: the other tenant's rows");
            assert!(done || mine == before[0], "{cell}: what is refused changes nothing");
            *(if done { &mut allowed } else { &mut denied }) += 1;
        }
    }
    assert_eq!((allowed, denied), (11 + 3, 8));
}

/// What is listed without a name.
#[test]
fn what_an_administrator_is_shown_is_of_one_tenant() {
    let (world, [ours, theirs]) = world();
    let logs = |hub: &Hub<Shared>| -> BTreeSet<LogId> {
        hub.logs().unwrap().iter().map(|log| log.log).collect()
    };
    assert!(logs(&world.hub).is_disjoint(&logs(&world.their_hub)));
    let devices = |hub: &Hub<Shared>| -> BTreeSet<DeviceId> {
        hub.fleet().devices().keys().copied().collect()
    };
    assert!(devices(&world.hub).contains(&ours.device) && devices(&world.hub).len() == 2);
    assert_eq!(devices(&world.their_hub), [theirs.device].into());
    let quarantined = |hub: &Hub<Shared>| -> Vec<QuarantineId> {
        hub.quarantine().unwrap().iter().map(|kept| kept.entry.id).collect()
    };
    assert_eq!(quarantined(&world.hub), [ours.quarantined]);
    assert_eq!(quarantined(&world.their_hub), [theirs.quarantined]);
    let funds = |hub: &Hub<Shared>| hub.funds().into_keys().collect::<BTreeSet<_>>();
    assert!(funds(&world.hub).contains(&ours.subject));
    assert!(!funds(&world.hub).contains(&theirs.subject));
}
