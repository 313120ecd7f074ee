//! A device and a hub in memory, and what carries messages between their sessions.
//!
//! Invariant: nothing is lost or reordered here, and nothing takes time. What
//! happens with faults is the simulator's.

use super::{Effect, Fetch, Output, Reply, Role, Session, SessionConfig};
use crate::counts::decide;
use crate::device::{Device, DeviceConfig, Now};
use crate::hub::{Hub, HubConfig, Invitation, pin_hash};
use crate::keys::Signer;
use crate::log::MemoryFile;
use crate::store::MemoryStore;
use core::time::Duration;
use std::collections::VecDeque;
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::event::counts::ColorMode;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::event::{Bytes, UnknownEvent};
use tallyroll_schema::wire::{Message, StreamKind};
use tallyroll_schema::{
    Act, DeviceId, Event, Hash, Head, JobId, Position, PublicKey, TenantId, UserAlias, Wall,
};

pub(super) const TENANT: TenantId = TenantId([1; 16]);

pub(crate) fn now(seconds: u64) -> Now {
    let wall = Wall(1_795_000_000_000 + seconds * 1000);
    Now { wall, monotonic: Duration::from_secs(seconds), ..Now::default() }
}

pub(crate) fn hub() -> Hub<MemoryStore> {
    let config = HubConfig {
        tenant: TENANT,
        signer: Signer::from_seed(&[2; 32]),
        directory_key: PublicKey([3; 32]),
        anchor: None,
    };
    Hub::open(config, MemoryStore::default(), now(0), [4; 32]).expect("opens")
}

pub(crate) fn enrol(hub: &mut Hub<MemoryStore>, name: &str, seed: u8) -> TestDevice {
    enrol_as(hub, name, seed, false)
}

/// Enrols a device, or a processing server.
pub(super) fn enrol_as(
    hub: &mut Hub<MemoryStore>,
    name: &str,
    seed: u8,
    processing: bool,
) -> TestDevice {
    let salt = Hash([5; 32]);
    let invitation =
        Invitation { name: name.into(), pin_hash: pin_hash(&salt, "ABCD-EFGH"), salt, processing };
    hub.invite(now(1), invitation).expect("invites");
    let signer = Signer::from_seed(&[seed; 32]);
    let tls = [seed; 32];
    let request = JoinRequest {
        name: name.into(),
        pin: "abcdefgh".into(),
        signing_key: signer.public_key(),
        proof: signer.sign_enrolment(name, &tls),
        agent: String::new(),
    };
    let welcome = hub.join(now(2), &request, Hash(tls), [seed; 16]).expect("joins").welcome;
    let config = DeviceConfig {
        tenant: welcome.tenant,
        signer,
        next_signer: None,
        cloud_key: welcome.cloud_key,
        public_log: welcome.public_log,
        anchor: Some(Hash([9; 32])),
    };
    TestDevice::open(config, MemoryFile::default(), MemoryStore::default(), now(3), [seed; 32])
        .expect("opens")
}

pub(crate) fn capture(device: &mut TestDevice, pages: u32, at: u64) {
    capture_at(device, pages, now(at));
}

pub(super) fn capture_at(device: &mut TestDevice, pages: u32, now: Now) {
    let color = ColorMode::Color;
    let act = Act::Capture { job: None, user: "a".into(), pages, color, media: None, page: None };
    let event = decide(&device.terms(JobId([7; 8])), act, JobId([7; 8]), Some(UserAlias([8; 16])))
        .expect("is priced");
    device.commit(now, &[(LogClass::Ledger, event)]).expect("commits");
}

/// An event of some 40 KB that no compression makes smaller.
pub(super) fn noise(number: u64) -> Event {
    let mut body = vec![0; 40_000];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    Event::Unknown(UnknownEvent { code: 0x7fff, version: 9, body: Bytes(body) })
}

pub(super) fn config(role: Role, device: DeviceId) -> SessionConfig {
    SessionConfig { role, tenant: TENANT, device, window: 1 << 20, agent: String::new() }
}

pub(crate) type TestDevice = Device<MemoryFile, MemoryStore>;
type Wire = VecDeque<(StreamKind, Message)>;

/// Runs sessions until neither end has anything to say and none is to start over; returns every
/// message to the hub.
pub(crate) fn talk(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) -> Vec<Message> {
    talk_at(device, hub, 9)
}

/// What the cloud has of an epoch after a head comes to a device, as a burst of its own.
pub(super) fn bring(hub: &mut Hub<MemoryStore>, device: &mut TestDevice, held: Head, at: u64) {
    let Position { log, epoch, seq } = held.position;
    let ask = Fetch { log, epoch, from: seq + 1, after: held.hash, bytes_max: 1 << 20 };
    let ask = vec![(device.id(), Effect::Fetch(ask))];
    let fetched = hub.perform(now(at), ask).expect("reads").remove(0);
    let Reply::Fetched(burst) = fetched else { panic!("{fetched:?}") };
    device.perform(now(at), Effect::Persist(burst)).expect("takes it");
}

/// The same, at some second.
pub(super) fn talk_at(
    device: &mut TestDevice,
    hub: &mut Hub<MemoryStore>,
    at: u64,
) -> Vec<Message> {
    let mut seen = Vec::new();
    for _ in 0..8 {
        if !talk_once(device, hub, at, &mut seen) {
            return seen;
        }
    }
    panic!("eight sessions, and the next one is to start over: {seen:?}");
}

/// Runs one session; returns whether it is to start over.
fn talk_once(
    device: &mut TestDevice,
    hub: &mut Hub<MemoryStore>,
    at: u64,
    seen: &mut Vec<Message>,
) -> bool {
    let id = device.id();
    let (opening, theirs) = (device.opening().expect("reads"), hub.opening(id).expect("reads"));
    let mut edge = Session::new(config(Role::Device, id), opening, Duration::ZERO);
    let mut cloud = Session::new(config(Role::Cloud, id), theirs, Duration::ZERO);
    let (mut up, mut down) = (Wire::new(), Wire::new());
    loop {
        while let Some(output) = edge.poll_output() {
            match output {
                Output::Send { stream, message } => up.push_back((stream, message)),
                Output::Perform(effect) => {
                    edge.complete(device.perform(now(at), effect).expect("is performed"));
                }
                Output::Close(error) if error.retryable => return true,
                Output::Close(error) => panic!("the edge closed: {error:?}"),
            }
        }
        while let Some(output) = cloud.poll_output() {
            match output {
                Output::Send { stream, message } => down.push_back((stream, message)),
                Output::Perform(effect) => {
                    let replies = hub.perform(now(at), vec![(id, effect)]).expect("is performed");
                    replies.into_iter().for_each(|reply| cloud.complete(reply));
                }
                Output::Close(error) => panic!("the cloud closed: {error:?}"),
            }
        }
        match (up.pop_front(), down.pop_front()) {
            (None, None) => return false,
            (from_edge, from_cloud) => {
                if let Some((stream, message)) = from_edge {
                    seen.push(message.clone());
                    cloud.handle(stream, message);
                }
                if let Some((stream, message)) = from_cloud {
                    edge.handle(stream, message);
                }
            }
        }
    }
}
