//! A cloud and a device of it over any stores, and what carries their sessions.
//!
//! Invariant: a function of its arguments alone, so that a damaged copy can be held against what
//! was undamaged. Nothing is lost or reordered between the two, and nothing takes time.

use super::image::Image;
use core::time::Duration;
use std::collections::VecDeque;
use tallyroll_engine::counts::{SpoolJob, decide};
use tallyroll_engine::device::{Device, DeviceConfig, Now};
use tallyroll_engine::hub::{Hub, HubConfig, Invitation, pin_hash};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::journal::JournalFile;
use tallyroll_engine::store::Store;
use tallyroll_engine::sync::{Output, Role, Session, SessionConfig};
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::counts::{ColorMode, CountSource};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::{Message, StreamKind};
use tallyroll_schema::{
    Act, DeviceId, Event, Hash, JobId, LogId, PublicKey, TenantId, UserAlias, Wall,
};

/// The tenant.
pub const TENANT: TenantId = TenantId([1; 16]);
const CLOUD_SEED: [u8; 32] = [2; 32];
/// The device's.
pub const DEVICE_SEED: [u8; 32] = [6; 32];

/// Messages on their way, with their streams.
pub type Wire = VecDeque<(StreamKind, Message)>;

/// So many seconds after the story began.
pub fn now(seconds: u64) -> Now {
    let wall = Wall(1_795_000_000_000 + seconds * 1000);
    Now { wall, monotonic: Duration::from_secs(seconds), ..Now::default() }
}

/// A tenant's cloud and one of its devices, by their keys.
#[derive(Debug, Clone, Copy)]
pub struct Party {
    /// The tenant.
    pub tenant: TenantId,
    /// The cloud's signing key's seed.
    pub cloud: [u8; 32],
    /// The device's, which also stands for its certificate.
    pub device: [u8; 32],
    /// The device's name.
    pub name: &'static str,
}

/// The one that most stories need.
const PARTY: Party =
    Party { tenant: TENANT, cloud: CLOUD_SEED, device: DEVICE_SEED, name: "branch-1" };

impl Party {
    /// Opens the cloud.
    ///
    /// # Errors
    /// The engine's.
    pub fn open_hub<S: Store>(&self, store: S) -> tallyroll_engine::Result<Hub<S>> {
        let signer = Signer::from_seed(&self.cloud);
        let directory_key = PublicKey([3; 32]);
        let config = HubConfig { tenant: self.tenant, signer, directory_key, anchor: None };
        Hub::open(config, store, now(0), [4; 32])
    }

    /// Enrols the device; afterwards it can be opened.
    pub fn enrol<S: Store>(&self, hub: &mut Hub<S>) {
        let (name, salt) = (self.name.to_owned(), Hash([5; 32]));
        let pin_hash = pin_hash(&salt, "ABCD-EFGH");
        hub.invite(now(1), Invitation { name: name.clone(), pin_hash, salt, processing: false })
            .expect("invites");
        let (signer, tls) = (Signer::from_seed(&self.device), self.device);
        let request = JoinRequest {
            proof: signer.sign_enrolment(&name, &tls),
            name,
            pin: "abcdefgh".into(),
            signing_key: signer.public_key(),
            agent: String::new(),
        };
        hub.join(now(2), &request, Hash(tls), [8; 16]).expect("joins");
    }

    /// Opens the device of a cloud whose public log is this, where the anchor is `anchor`.
    ///
    /// # Errors
    /// The engine's.
    pub fn open_device<F: JournalFile, S: Store>(
        &self,
        public_log: LogId,
        anchor: u8,
        journal: F,
        store: S,
    ) -> tallyroll_engine::Result<Device<F, S>> {
        let config = DeviceConfig {
            tenant: self.tenant,
            signer: Signer::from_seed(&self.device),
            next_signer: None,
            cloud_key: Signer::from_seed(&self.cloud).public_key(),
            public_log,
            anchor: Some(Hash([anchor; 32])),
        };
        Device::open(config, journal, store, now(3), [anchor; 32])
    }
}

/// Opens the cloud.
///
/// # Errors
/// The engine's.
pub fn open_hub<S: Store>(store: S) -> tallyroll_engine::Result<Hub<S>> {
    PARTY.open_hub(store)
}

/// Enrols the device; afterwards it can be opened.
pub fn enrol<S: Store>(hub: &mut Hub<S>) {
    PARTY.enrol(hub);
}

/// Opens the device of a cloud whose public log is this, where the anchor is `anchor`.
///
/// # Errors
/// The engine's.
pub fn open_device<F: JournalFile, S: Store>(
    public_log: LogId,
    anchor: u8,
    journal: F,
    store: S,
) -> tallyroll_engine::Result<Device<F, S>> {
    PARTY.open_device(public_log, anchor, journal, store)
}

/// What the device does in its `number`th commit: a page-log line, a capture, now and then a heartbeat.
pub fn work<S: Store>(device: &mut Device<Image, S>, number: u32) {
    let user = || format!("user {}", number % 5);
    let alias = UserAlias([(number % 5) as u8 + 1; 16]);
    let line = job(&[1, number]);
    let spool = job(&[2, number / 3]);
    let total = 2 * (number % 3 + 1);
    let so_far: SpoolJob = device.spool_job(spool).expect("reads");
    let printed = Act::Print {
        job: Some(line),
        user: user(),
        impressions: (so_far.after(2, Some(total)).impressions() - so_far.impressions()) as u32,
        sheets: Some(1),
        color: ColorMode::Color,
        sides: None,
        media: Some("iso_a4_210x297mm".into()),
        source: CountSource::PageLog,
        job_number: Some(number),
        acted_at: Some(now(u64::from(number)).wall),
        spool_job: Some(spool),
        running_total: Some(total),
        page: None,
    };
    let captured = Act::Capture {
        job: None,
        user: user(),
        pages: 3,
        color: ColorMode::Color,
        media: None,
        page: None,
    };
    let price = |act, job| decide(&device.terms(job), act, job, Some(alias)).expect("is priced");
    let mut events = vec![
        (LogClass::Ledger, price(printed, line)),
        (LogClass::Ledger, price(captured, job(&[3, number]))),
    ];
    if number.is_multiple_of(4) {
        let alive = Event::from(HeartbeatSent { uptime_seconds: number.into() });
        events.push((LogClass::Telemetry, alive));
    }
    device.commit(now(10 + u64::from(number)), &events).expect("commits");
}

fn job(parts: &[u32; 2]) -> JobId {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    let mut id = [0; 8];
    id.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..8]);
    JobId(id)
}

/// A session's end for either role.
pub fn session_config(role: Role, tenant: TenantId, device: DeviceId) -> SessionConfig {
    SessionConfig { role, tenant, device, window: 1 << 20, agent: String::new() }
}

/// Runs sessions until both ends have what the other has; returns what the device said.
pub fn talk<S: Store, D: Store>(device: &mut Device<Image, D>, hub: &mut Hub<S>) -> Wire {
    let mut said = Wire::new();
    for _ in 0..8 {
        if !talk_once(device, hub, &mut said) {
            return said;
        }
    }
    panic!("eight sessions, and the next one is to start over");
}

/// Runs one session; returns whether it is to start over.
fn talk_once<S: Store, D: Store>(
    device: &mut Device<Image, D>,
    hub: &mut Hub<S>,
    said: &mut Wire,
) -> bool {
    let id = device.id();
    let opening = device.opening().expect("reads");
    let mut edge =
        Session::new(session_config(Role::Device, device.tenant(), id), opening, Duration::ZERO);
    let mut cloud = cloud_session(hub, id);
    let (mut up, mut down) = (Wire::new(), Wire::new());
    loop {
        while let Some(output) = edge.poll_output() {
            match output {
                Output::Send { stream, message } => up.push_back((stream, message)),
                Output::Perform(effect) => {
                    edge.complete(device.perform(now(9), effect).expect("is performed"));
                }
                Output::Close(error) if error.retryable => return true,
                Output::Close(error) => panic!("the edge closed: {error:?}"),
            }
        }
        let closed = serve(hub, &mut cloud, id, &mut down);
        assert!(!closed, "the cloud closed: {:?}", cloud.stops());
        match (up.pop_front(), down.pop_front()) {
            (None, None) => return false,
            (from_edge, from_cloud) => {
                if let Some((stream, message)) = from_edge {
                    said.push_back((stream, message.clone()));
                    cloud.handle(stream, message);
                }
                if let Some((stream, message)) = from_cloud {
                    edge.handle(stream, message);
                }
            }
        }
    }
}

/// The cloud's end of a session with a device.
pub fn cloud_session<S: Store>(hub: &Hub<S>, device: DeviceId) -> Session {
    let opening = hub.opening(device).expect("reads");
    Session::new(session_config(Role::Cloud, hub.tenant(), device), opening, Duration::ZERO)
}

/// Carries out what the cloud's session wants; returns whether it closed.
pub fn serve<S: Store>(
    hub: &mut Hub<S>,
    cloud: &mut Session,
    device: DeviceId,
    down: &mut Wire,
) -> bool {
    while let Some(output) = cloud.poll_output() {
        match output {
            Output::Send { stream, message } => down.push_back((stream, message)),
            Output::Perform(effect) => {
                // A peer's fault is a reply; an error here would close the cloud for everybody.
                let replies = hub.perform(now(9), vec![(device, effect)]).expect("is performed");
                replies.into_iter().for_each(|reply| cloud.complete(reply));
            }
            Output::Close(_) => return true,
        }
    }
    false
}
