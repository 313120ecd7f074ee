//! A cloud and its devices on loopback, in this process: the real rims, by their libraries.
//!
//! Invariant: what runs is what the two programs run: keepers, links, files, with every sync; only signals and
//! control sockets are left out. The cloud's UDP socket counts its bytes. A device is filled without a sync for
//! each event, for that is not what is measured then; its store is synced like any other.

use crate::Outcome;
use crate::disk::{Counter, Journal, StoreFile};
use crate::wire::{Counting, Wire};
use crate::workload::Happened;
use quinn::{Endpoint, EndpointConfig};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tallyroll_cloud::authority::Authority;
use tallyroll_cloud::keeper::{Keeper, Replica, Running, start};
use tallyroll_cloud::links::{Attention, Links, Listener, Live, tls};
use tallyroll_cloud::opening::{Opened, open};
use tallyroll_edge::identity::{Enrolment, Keys};
use tallyroll_edge::link;
use tallyroll_engine::device::{Device, DeviceConfig, Now};
use tallyroll_engine::hub::{Invitation, pin_hash};
use tallyroll_engine::store::RedbStore;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{ClockQuality, Event, Hash, JoinUrl, Wall};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const PIN: &str = "314159";
/// As large as the agent's.
const DEVICE_CACHE_BYTES: usize = 2 << 20;
/// How often it is looked whether all has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A cloud that serves.
#[derive(Debug)]
pub struct Cloud {
    /// Its writer.
    pub keeper: Keeper,
    /// What its socket carried.
    pub wire: Arc<Wire>,
    running: Running,
    endpoint: Endpoint,
    links: JoinHandle<()>,
    authority: Authority,
    at: SocketAddr,
}

impl Cloud {
    /// Serves the cloud in `dir`, or a new one.
    ///
    /// # Errors
    /// Files and sockets.
    pub async fn start(dir: &Path) -> Outcome<Self> {
        let dir = tallyroll_cloud::data_dir::DataDir::new(dir);
        dir.create()?;
        let Opened { replica, .. } = open(&dir)?;
        let authority = Authority::open_or_create(&dir.authority(), SystemTime::now())?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = tcp.local_addr()?;
        let wire = Arc::new(Wire::default());
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(tls::server_config(&authority)?),
            UdpSocket::bind(at)?,
            Arc::new(Counting(wire.clone())),
        )?;
        let listener = Listener::new(tcp, Arc::new(tls::tls_config(&authority)?));
        let live = Live::new(Default::default());
        let (keeper, running) = start(replica, Some(live.clone()));
        let links = Links::new(keeper.clone(), live, Attention::default(), Arc::default());
        let links = tokio::spawn(links.serve(endpoint.clone(), listener));
        Ok(Self { keeper, wire, running, endpoint, links, authority, at })
    }

    /// Enrols a device of that name and keeps its files in `dir`.
    ///
    /// # Errors
    /// Files and sockets, or the cloud refuses.
    pub async fn enrol(&self, name: &str, dir: &Path) -> Outcome<Branch> {
        let salt = Hash([7; Hash::LEN]);
        let (name, pin_hash) = (name.to_owned(), pin_hash(&salt, PIN));
        let invitation = Invitation { name: name.clone(), pin_hash, salt, processing: false };
        let invited = self.keeper.run(|replica| replica.hub.invite(replica.now(), invitation));
        invited.await?;
        let url = JoinUrl {
            host: self.at.ip().to_string(),
            port: self.at.port(),
            tls_port: None,
            name,
            authority: self.authority.fingerprint(),
        };
        let dir = tallyroll_edge::data_dir::DataDir::new(dir);
        let enrolment = link::join::join(&dir, &url, PIN).await.map_err(|why| why.to_string())?;
        // As it is opened first: its logs begin, and what stands outside its store is noted.
        drop(tallyroll_edge::keeper::open(&dir, Keys::load_or_create(&dir)?, &enrolment)?);
        Ok(Branch { dir, enrolment })
    }

    /// Events in its views.
    ///
    /// # Errors
    /// It has ended.
    pub async fn events(&self) -> Outcome<u64> {
        let counted = |replica: &mut Replica| Ok(replica.hub.counted().values().sum());
        Ok(self.keeper.run(counted).await?)
    }

    /// Waits until it has so many.
    ///
    /// # Errors
    /// It has ended.
    pub async fn has_events(&self, expected: u64) -> Outcome {
        let mut commits = self.keeper.commits();
        while self.events().await? < expected {
            commits.changed().await?;
        }
        Ok(())
    }

    /// Stops serving; what is durable stays.
    ///
    /// # Errors
    /// A write failed.
    pub async fn stop(self) -> Outcome {
        self.endpoint.close(0u32.into(), b"");
        self.links.abort();
        drop(self.links.await); // aborted
        self.keeper.stop().await;
        Ok(self.running.join().await?)
    }
}

/// A device, enrolled.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its files.
    pub dir: tallyroll_edge::data_dir::DataDir,
    enrolment: Enrolment,
}

/// What filling a device came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filled {
    /// Events, the two that begin its logs left out.
    pub events: u64,
    /// Bytes of their records.
    pub record_bytes: u64,
    /// Seconds that sealing took, with each sync.
    pub seal_seconds: f64,
    /// Times it was sealed.
    pub seals: u64,
}

/// How long a device took, seconds from the start of its link, handshake included.
#[derive(Debug, Clone, Copy)]
pub struct Synced {
    /// Until it had the receipt of its last event.
    pub receipted: f64,
    /// Until the cloud's views had it.
    pub in_views: f64,
}

impl Branch {
    /// The device, opened and kept, for an agent to serve.
    ///
    /// # Errors
    /// Its files.
    pub fn desk(
        &self,
    ) -> Outcome<(tallyroll_edge::control::Desk, tallyroll_edge::keeper::Running)> {
        let opened = tallyroll_edge::control::reach::open_desk(&self.dir, self.enrolment.clone());
        Ok(opened.map_err(|why| why.to_string())?)
    }

    /// Records events and seals them, as a device does that has no link.
    ///
    /// # Errors
    /// Files, or the engine.
    pub fn fill(&self, happenings: impl Iterator<Item = Happened>) -> Outcome<Filled> {
        let keys = Keys::load_or_create(&self.dir)?;
        let config = DeviceConfig {
            tenant: self.enrolment.tenant,
            signer: keys.signer,
            next_signer: None,
            cloud_key: self.enrolment.cloud_key,
            public_log: self.enrolment.public_log,
            anchor: None, // as it was noted
        };
        let store = StoreFile::open(&self.dir.store(), &Counter::default())?;
        let store = RedbStore::open(store, DEVICE_CACHE_BYTES)?;
        let journal = Journal::open_unsynced(&self.dir.journal())?;
        let mut device = Device::open(config, journal, store, Now::default(), [5; 32])?;
        let mut filled = Filled::default();
        let mut now = Now::default();
        for happened in happenings {
            now = at(happened.at);
            device.commit(now, &[(LogClass::Ledger, happened.event)])?;
            filled.events += 1;
            if device.seal_due(false).is_some_and(|due| due <= now.monotonic) {
                filled.seal(&mut device, now)?;
            }
        }
        filled.seal(&mut device, now)?;
        Ok(filled)
    }

    /// Starts the device with its link, and waits until the cloud has receipted all that it has and has counted
    /// so many events.
    ///
    /// # Errors
    /// Files and sockets.
    pub fn sync(&self, cloud: &Cloud, counted: u64) -> Outcome<Synced> {
        // One thread beside its keeper's, as in its program.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let linked = self.link()?;
            let began = Instant::now();
            linked.has_receipts().await?;
            let receipted = began.elapsed().as_secs_f64();
            cloud.has_events(counted).await?;
            let in_views = began.elapsed().as_secs_f64();
            linked.stop().await?;
            Ok(Synced { receipted, in_views })
        })
    }

    /// Opens the device and keeps its link up, on the runtime that this is called in.
    ///
    /// # Errors
    /// Files.
    pub fn link(&self) -> Outcome<Linked> {
        let (dir, enrolment) = (self.dir.clone(), self.enrolment.clone());
        let device = tallyroll_edge::keeper::open(&dir, Keys::load_or_create(&dir)?, &enrolment)?;
        let (keeper, running) = tallyroll_edge::keeper::start(&dir, device, enrolment.clone());
        let (end, acts) = link::ends();
        let linking = tokio::spawn(link::keep_up(keeper.clone(), dir, enrolment, end));
        Ok(Linked { keeper, running, linking, _acts: acts })
    }
}

/// A device that keeps its link up.
pub struct Linked {
    /// Its writer.
    pub keeper: tallyroll_edge::keeper::Keeper,
    running: tallyroll_edge::keeper::Running,
    linking: JoinHandle<Result<(), tallyroll_edge::keeper::Gone>>,
    /// Who drops these has no more to ask.
    _acts: link::Acts,
}

impl Linked {
    /// Waits until the cloud has receipted all that the device has.
    ///
    /// # Errors
    /// The device or its link has ended.
    pub async fn has_receipts(&self) -> Outcome {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let status = self.keeper.query(|device| device.status()).await??;
            let behind =
                |log: &tallyroll_engine::device::LogStatus| log.durable_local > log.durable_cloud;
            if !status.logs.iter().any(behind) {
                return Ok(());
            }
            if self.linking.is_finished() {
                return Err("the link has ended".into());
            }
        }
    }

    /// Ends link and writer; what is durable stays.
    ///
    /// # Errors
    /// A write failed.
    pub async fn stop(self) -> Outcome {
        let Self { keeper, running, linking, _acts } = self;
        linking.abort();
        drop((linking.await, _acts, keeper)); // aborted
        // It ends once nobody can ask it any more, and needs the runtime until then.
        Ok(tokio::task::spawn_blocking(|| running.join()).await??)
    }
}

impl Filled {
    fn seal(&mut self, device: &mut Device<Journal, RedbStore>, now: Now) -> Outcome {
        let began = Instant::now();
        device.seal(now)?;
        self.seal_seconds += began.elapsed().as_secs_f64();
        self.seals += 1;
        Ok(())
    }
}

/// A clock that shows the time of an event.
pub fn at(wall: Wall) -> Now {
    Now { wall, quality: ClockQuality::default(), monotonic: Duration::from_millis(wall.0) }
}

/// Events for a commit.
pub fn for_commit(happenings: impl Iterator<Item = Happened>) -> Vec<(LogClass, Event)> {
    happenings.map(|happened| (LogClass::Ledger, happened.event)).collect()
}
