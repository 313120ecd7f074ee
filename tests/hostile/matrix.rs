//! Who may do what: every standing of a device with every log of two tenants, read and written. Names are rows of
//! their own in `naming`, a processing server's acts in `asking`, an administrator's decisions in `deciding`.
//!
//! Invariant shown here: a device writes its own logs and reads what concerns it, nothing else; what it is given
//! that its cloud had lost, signed by that cloud, it may give back; two tenants in one store never see each other.
//! The rule stands in [`may`] and nowhere else; the cells are made from it. Left out, for they reach no log of
//! anybody's: CREDIT, and what only a cloud says, which ends a device's session (beside the engine's); and by which
//! certificate a device is known, which is tested in `tests/it`.

use std::collections::BTreeMap;
use tallyroll_engine::Kind;
use tallyroll_engine::device::Device;
use tallyroll_engine::hub::Hub;
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::{Tip, seal};
use tallyroll_engine::store::rows::{BatchRow, TipRow, epoch_key};
use tallyroll_engine::store::{Rows, Store, Table};
use tallyroll_engine::sync::Session;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::{
    Have, Hello, Message, PROTOCOL_VERSION, SCHEMA_VERSION, StreamKind, Want,
};
use tallyroll_schema::{
    Batch, Credits, DeviceId, EpochId, Event, Hash, LogId, Record, SignedHead, SubjectId, TenantId,
    Timestamp,
};
use tallyroll_tests::hostile::image::Image;
use tallyroll_tests::hostile::place::{Party, Wire, cloud_session, now, serve, talk, work};
use tallyroll_tests::hostile::shared::Shared;

pub(super) const MINE: Party =
    Party { tenant: TenantId([1; 16]), cloud: [2; 32], device: [6; 32], name: "mine" };
pub(super) const OTHER: Party = Party { device: [7; 32], name: "other", ..MINE };
pub(super) const THEIRS: Party =
    Party { tenant: TenantId([9; 16]), cloud: [3; 32], device: [8; 32], name: "theirs" };

/// What the cloud thinks of the device that speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    Retired,
    Revoked,
    /// A device of another tenant.
    Stranger,
}

/// Whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Written by the device that speaks, or about it.
    Own,
    /// By or about another device of the tenant, or the tenant's.
    Tenant,
    /// The other tenant's.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// Asks for the log from its begin.
    Read,
    /// Brings the log with one more batch, signed by who writes it: stolen, or given back.
    Relay,
    /// The same, signed by the device that speaks.
    Forge,
}

/// The rule.
fn may(standing: Standing, owner: Owner, class: LogClass, operation: Operation) -> bool {
    let believed = matches!(standing, Standing::Active | Standing::Retired);
    let written = owner == Owner::Own && matches!(class, LogClass::Ledger | LogClass::Telemetry);
    let concerned = (owner == Owner::Own && class == LogClass::Device)
        || (owner == Owner::Tenant && class == LogClass::Public);
    believed
        && match operation {
            Operation::Read | Operation::Relay => written || concerned,
            Operation::Forge => written,
        }
}

/// Two tenants' clouds over one store, and their devices.
pub(super) struct World {
    pub(super) store: Shared,
    pub(super) hub: Hub<Shared>,
    pub(super) their_hub: Hub<Shared>,
    /// The one that speaks.
    pub(super) device: DeviceId,
    pub(super) their_device: DeviceId,
    pub(super) logs: BTreeMap<(Owner, LogClass), (LogId, EpochId)>,
}

impl World {
    pub(super) fn new(standing: Standing) -> Self {
        let store = Shared::default();
        let mut hub = MINE.open_hub(store.clone()).unwrap();
        let mut their_hub = THEIRS.open_hub(store.clone()).unwrap();
        let mine = used(MINE, &mut hub);
        let other = used(OTHER, &mut hub);
        let theirs = used(THEIRS, &mut their_hub);
        for hub in [&mut hub, &mut their_hub] {
            let credits = Credits::from_thousandths(1);
            hub.grant(now(500), SubjectId([1; 16]), credits, String::new()).unwrap();
        }
        match standing {
            Standing::Retired => drop(hub.retire(now(501), mine.id(), String::new()).unwrap()),
            Standing::Revoked => drop(hub.revoke(now(501), mine.id(), String::new()).unwrap()),
            Standing::Active | Standing::Stranger => {}
        }
        let speaker = if standing == Standing::Stranger { theirs.id() } else { mine.id() };
        let mut logs = BTreeMap::new();
        for (hub, of_tenant) in [(&hub, Owner::Tenant), (&their_hub, Owner::Foreign)] {
            for log in hub.logs().unwrap() {
                let own = log.device == Some(mine.id());
                logs.insert(
                    (if own { Owner::Own } else { of_tenant }, log.class),
                    (log.log, log.epoch),
                );
            }
        }
        let _ = other;
        Self { store, hub, their_hub, device: speaker, their_device: theirs.id(), logs }
    }

    /// The log's batches from its begin and one more, closed by a head that `signer` signs.
    fn grown(
        &self,
        tenant: TenantId,
        (log, epoch): (LogId, EpochId),
        signer: &Signer,
    ) -> (Vec<Batch>, SignedHead) {
        let rows = Rows::new(tenant, &self.store);
        let mut batches = Vec::new();
        let prefix = epoch_key(log, epoch);
        rows.scan::<BatchRow>(&prefix, &prefix, &mut |_, row| {
            batches.push(row.batch);
            Ok(core::ops::ControlFlow::Continue(()))
        })
        .unwrap();
        let tip = self.tip(tenant, (log, epoch));
        let event = Event::from(HeartbeatSent { uptime_seconds: 1 });
        let record = Record::encode(&event, Timestamp::default()).unwrap();
        let batch = seal(log, epoch, tip.next_seq, 1, &record).unwrap();
        let tip = tip.advance(tenant, &batch, &record).unwrap();
        batches.push(batch);
        (batches, signer.sign_head(tenant, tip.head(log, epoch).unwrap()))
    }

    fn tip(&self, tenant: TenantId, epoch: (LogId, EpochId)) -> Tip {
        let row = Rows::new(tenant, &self.store).get::<TipRow>(&epoch).unwrap();
        row.map_or(Tip::START, Tip::from)
    }

    /// Says all this as the device; returns what the cloud says, or nothing if there is no session.
    pub(super) fn say(&mut self, messages: Vec<(StreamKind, Message)>) -> Wire {
        say(&mut self.hub, self.device, messages)
    }

    /// What brings the log with one more batch that `signer` signs, and that batch.
    pub(super) fn brought(
        &self,
        party: Party,
        (log, epoch): (LogId, EpochId),
        stream: StreamKind,
        signer: &Signer,
    ) -> (Vec<(StreamKind, Message)>, Batch) {
        let (batches, head) = self.grown(party.tenant, (log, epoch), signer);
        let have = Have { heads: vec![head.head], more: false };
        let last = batches.last().unwrap().clone();
        let mut messages = vec![(StreamKind::Control, Message::Have(have))];
        messages.extend(batches.into_iter().map(|batch| (stream, Message::Batch(batch))));
        messages.push((stream, Message::Head(head)));
        (messages, last)
    }

    /// Tries an operation; returns whether it came to anything.
    fn attempt(&mut self, operation: Operation, (owner, class): (Owner, LogClass)) -> bool {
        let place = self.logs[&(owner, class)];
        let (log, epoch) = place;
        let party = if owner == Owner::Foreign { THEIRS } else { MINE };
        let mut messages = vec![hello(MINE.tenant, self.device)];
        if operation == Operation::Read {
            let want = Want { log, epoch, from: 0, hash: Hash::ZERO };
            let control = [Message::Want(want), Message::Credit(1 << 20)];
            messages.extend(control.map(|message| (StreamKind::Control, message)));
            let said = self.say(messages);
            return said.iter().any(|(_, message)| matches!(message, Message::Batch(batch) if batch.header().log == log));
        }
        let writer = match (class, owner) {
            (LogClass::Ledger | LogClass::Telemetry, Owner::Own) => MINE.device,
            (LogClass::Ledger | LogClass::Telemetry, Owner::Tenant) => OTHER.device,
            (LogClass::Ledger | LogClass::Telemetry, Owner::Foreign) => THEIRS.device,
            (LogClass::Public | LogClass::Accounts | LogClass::Device, _) => party.cloud,
        };
        let speaker = if self.device == self.their_device { THEIRS.device } else { MINE.device };
        let signer =
            Signer::from_seed(if operation == Operation::Forge { &speaker } else { &writer });
        let stream =
            if class == LogClass::Telemetry { StreamKind::Telemetry } else { StreamKind::Ledger };
        let (brings, last) = self.brought(party, place, stream, &signer);
        messages.extend(brings);
        let brought = last.header().first_seq;
        self.say(messages);
        let row = Rows::new(MINE.tenant, &self.store).get::<BatchRow>(&(log, epoch, brought));
        row.unwrap().is_some_and(|row| row.batch == last)
    }

    /// Everything a tenant has.
    pub(super) fn rows(&self, tenant: TenantId) -> BTreeMap<(Table, Vec<u8>), Vec<u8>> {
        let mut rows = BTreeMap::new();
        for table in Table::ALL {
            let (from, to) =
                (tenant.as_bytes().to_vec(), [tenant.as_bytes(), &[0xff; 128][..]].concat());
            self.store
                .scan(table, &from, &to, &mut |key, value| {
                    rows.insert((table, key.to_vec()), value.to_vec());
                    Ok(core::ops::ControlFlow::Continue(()))
                })
                .unwrap();
        }
        rows
    }
}

/// Says all this to a cloud as a device; returns what the cloud says, or nothing if there is no session.
pub(super) fn say(
    hub: &mut Hub<Shared>,
    device: DeviceId,
    messages: Vec<(StreamKind, Message)>,
) -> Wire {
    let mut said = Wire::new();
    match hub.opening(device) {
        Err(why) => assert_eq!(why.kind(), Kind::Rejected, "{why}"),
        Ok(_) => {
            let mut session: Session = cloud_session(hub, device);
            serve(hub, &mut session, device, &mut said);
            for (stream, message) in messages {
                session.handle(stream, message);
                serve(hub, &mut session, device, &mut said);
            }
        }
    }
    said
}

pub(super) fn hello(tenant: TenantId, device: DeviceId) -> (StreamKind, Message) {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        schema_min: 1,
        schema_max: SCHEMA_VERSION,
        tenant,
        device,
        window: 1 << 20,
        agent: String::new(),
        accounts: None,
        names: None,
        enrolment: None,
    };
    (StreamKind::Control, Message::Hello(hello))
}

/// A device that has worked and is in sync.
fn used(party: Party, hub: &mut Hub<Shared>) -> Device<Image, Shared> {
    party.enrol(hub);
    let mut device = party
        .open_device(hub.public_log(), party.device[0], Image::default(), Shared::default())
        .unwrap();
    work(&mut device, 0);
    device.seal(now(400)).unwrap();
    talk(&mut device, hub);
    device
}

#[test]
fn a_device_does_what_the_rule_allows_and_nothing_else() {
    let (mut allowed, mut denied) = (0, 0);
    for standing in [Standing::Active, Standing::Retired, Standing::Revoked, Standing::Stranger] {
        let cells: Vec<(Owner, LogClass)> = World::new(standing).logs.into_keys().collect();
        assert_eq!(cells.len(), 3 + 5 + 5, "of each class one by each owner: {cells:?}");
        for (owner, class) in cells {
            for operation in [Operation::Read, Operation::Relay, Operation::Forge] {
                let mut world = World::new(standing);
                let others: Vec<_> = world
                    .logs
                    .iter()
                    .filter(|(key, _)| **key != (owner, class))
                    .map(|(_, at)| *at)
                    .collect();
                let tips: Vec<Tip> = others.iter().map(|at| world.tip(MINE.tenant, *at)).collect();
                let theirs = world.rows(THEIRS.tenant);
                let done = world.attempt(operation, (owner, class));
                let cell = format!("{standing:?}, {owner:?} {class:?}, {operation:?}");
                assert_eq!(done, may(standing, owner, class, operation), "{cell}");
                assert_eq!(world.rows(THEIRS.tenant), theirs, "{cell}: the other tenant's rows");
                for (at, tip) in others.iter().zip(tips) {
                    let is_ours = world.logs.iter().any(|((_, class), place)| {
                        place == at
                            && matches!(
                                class,
                                LogClass::Public | LogClass::Accounts | LogClass::Device
                            )
                    });
                    assert!(
                        is_ours || world.tip(MINE.tenant, *at) == tip,
                        "{cell}: another log changed"
                    );
                }
                *(if done { &mut allowed } else { &mut denied }) += 1;
            }
        }
    }
    println!("{allowed} allowed, {denied} denied");
    assert!(allowed >= 10 && denied >= 100);
}

#[test]
fn a_session_for_another_tenant_ends_before_anything_is_said() {
    let mut world = World::new(Standing::Active);
    let place = world.logs[&(Owner::Tenant, LogClass::Public)];
    let want = Want { log: place.0, epoch: place.1, from: 0, hash: Hash::ZERO };
    let messages = [Message::Want(want), Message::Credit(1 << 20)]
        .map(|message| (StreamKind::Control, message));
    let hello = hello(THEIRS.tenant, world.device);
    let said = world.say([vec![hello], messages.into()].concat());
    assert!(!said.iter().any(|(_, message)| matches!(message, Message::Batch(_))), "{said:?}");
}
