//! A device's replica: its two logs, the cloud's word to it, its own figures.
//!
//! Owns the way of an event at the edge: commit to the journal, seal into the
//! store, hand out to the session, note the receipt. Invariant: a position is
//! returned only after the fsync that makes it durable; after a failed write
//! everything is refused until a restart replays what is there, but for one that
//! found no room: it promised nothing. Clock, entropy and files are arguments;
//! names are sealed by the rim.

mod asked;
mod balance;
#[cfg(test)]
mod copies;
mod create;
mod divergence;
mod epoch;
mod follow;
mod forget;
mod imports;
mod own_log;
mod people;
mod proof;
mod prune;
mod retire;
mod rights;
mod room;
mod rotate;
mod seal;
mod status;
mod sync;

#[cfg(test)]
mod room_tests;

pub use asked::Asked;
pub use balance::KnownBalance;
pub(crate) use create::{create_log, timestamp};
pub use prune::{Pruned, Retention};
pub use retire::Retirement;
pub use room::ends_work;
pub use rotate::Rotation;
pub use status::{LogStatus, Status};

use crate::counts::{Counts, SpoolJob, Standing, Terms, card};
use crate::fold::Replay;
use crate::keys::Signer;
use crate::log::journal::{ENTRY_BYTES_MAX, Journal, JournalFile, Section};
use crate::log::newest_time;
use crate::planted::{Bug, planted};
use crate::store::rows::{DeviceErasure, DeviceLogs, JournalState};
use crate::store::{Changes, Rows, Store, refuse_if_anothers};
use crate::{Error, Kind, Result};
use balance::KnownBefore;
use core::time::Duration;
use create::create_logs;
use imports::Imports;
use own_log::OwnLog;
use prune::Pruning;
use retire::Decided;
use room::Room;
use tallyroll_schema::event::counts::RateCard;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{
    ClockQuality, DeviceId, Event, Hash, HybridTime, JobId, LogId, Position, PublicKey, Record,
    TenantId, UserAlias, Wall,
};

/// Who a device is and whom it believes.
#[derive(Debug)]
pub struct DeviceConfig {
    /// The tenant.
    pub tenant: TenantId,
    /// The device's signing key.
    pub signer: Signer,
    /// The one that is to follow it, or already did, while the cloud may not know yet.
    pub next_signer: Option<Signer>,
    /// The cloud's signing key.
    pub cloud_key: PublicKey,
    /// The tenant's public log.
    pub public_log: LogId,
    /// What stands outside the store and does not come along when it is copied,
    /// where there is such a thing.
    pub anchor: Option<Hash>,
}

/// The clock's word at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The raw clock.
    pub wall: Wall,
    /// Its standing.
    pub quality: ClockQuality,
    /// A clock that only runs forward, from any start.
    pub monotonic: Duration,
}

/// A device's replica over its journal file and its store.
#[derive(Debug)]
pub struct Device<F, S> {
    config: DeviceConfig,
    id: DeviceId,
    store: S,
    journal: Journal<F>,
    journal_state: JournalState,
    ledger: OwnLog,
    telemetry: OwnLog,
    counts: Replay<Counts>,
    decided: Replay<Decided>,
    erasure: DeviceErasure,
    hybrid: HybridTime,
    /// Of the tail.
    imports: Imports,
    /// For the nonces of epochs to come.
    entropy: [u8; 32],
    last_seal: Option<Duration>,
    room: Room,
    pruning: Pruning,
    /// What was known of balances when the jobs that run now began.
    known_before: KnownBefore,
    closed: bool,
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Opens the replica, creating its logs in an empty store, and replays the
    /// journal. `nonces` is 32 random bytes, for new logs and epochs. If the anchor
    /// is another one than the store's, this is a copy: new epochs are opened.
    ///
    /// # Errors
    /// Storage failed or is damaged.
    pub fn open(
        config: DeviceConfig,
        file: F,
        mut store: S,
        now: Now,
        nonces: [u8; 32],
    ) -> Result<Self> {
        let tenant = config.tenant;
        let logs = match Rows::new(tenant, &store).get::<DeviceLogs>(&())? {
            Some(logs) => logs,
            None => {
                refuse_if_anothers(&store, tenant)?;
                create_logs(&config, &mut store, now, nonces)?
            }
        };
        let rows = Rows::new(tenant, &store);
        let journal_state: JournalState =
            rows.get(&())?.ok_or_else(|| Error::corrupt("store", "no journal state"))?;
        let ledger = OwnLog::load(&rows, LogClass::Ledger, logs.ledger)?;
        let telemetry = OwnLog::load(&rows, LogClass::Telemetry, logs.telemetry)?;
        let (counts, decided) = (Replay::load(&rows)?, Replay::load(&rows)?);
        let erasure = rows.get(&())?.unwrap_or_default();
        let hybrid = newest_time(&rows, logs.ledger)?.max(newest_time(&rows, logs.telemetry)?);
        let (journal, sections) =
            Journal::open(file, journal_state.key.0, journal_state.generation)?;
        let id = DeviceId::of_key(tenant, &ledger.genesis.writer); // also after its key changed
        let mut device = Self {
            config,
            id,
            store,
            journal,
            journal_state,
            ledger,
            telemetry,
            counts,
            decided,
            erasure,
            hybrid,
            imports: Imports::default(),
            entropy: nonces,
            last_seal: None,
            room: Room::default(),
            pruning: Pruning::default(),
            known_before: KnownBefore::default(),
            closed: false,
        };
        for section in &sections {
            device.take_in(section, now.monotonic)?;
        }
        device.check_anchor(now)?;
        device.close_if_retired(now)?; // the last run may have ended before this
        Ok(device)
    }

    /// The device's id.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.config.tenant
    }

    /// Makes events durable, all or none, and returns their positions.
    ///
    /// # Errors
    /// [`Error::Full`] when they are more than one commit takes, or new work while there is no
    /// room; the device is retired; storage failed.
    pub fn commit(&mut self, now: Now, events: &[(LogClass, Event)]) -> Result<Vec<Position>> {
        self.refuse_if_retired()?;
        self.write(now, events)
    }

    fn write(&mut self, now: Now, events: &[(LogClass, Event)]) -> Result<Vec<Position>> {
        self.refuse_if_closed()?;
        self.refuse_beyond_rights(events)?;
        let ends = events.iter().all(|(_, event)| ends_work(event));
        if !ends && !self.has_room() {
            return Err(self.refused());
        }
        let (sections, positions, hybrid) = self.encode(now, events)?;
        let content_len = Journal::<F>::content_len(&sections);
        if content_len > ENTRY_BYTES_MAX {
            let why = format!(
                "{content_len} bytes in one commit, {ENTRY_BYTES_MAX} are allowed; send fewer events at a time"
            );
            return Err(Error::Full(why));
        }
        if !self.journal.has_room(content_len, ends)
            && let Err(why) = self.seal(now)
        {
            return Err(if self.is_full() { self.refused() } else { why });
        }
        let appended = self.journal.append(&sections);
        self.room.full_if(&appended);
        let appended = if planted(Bug::CommitIgnoresFailure) { Ok(()) } else { appended };
        self.closing(appended)?;
        self.hybrid = hybrid;
        let known = self.known_now(events);
        for section in &sections {
            self.take_in(section, now.monotonic)?;
        }
        self.hold_balances(known);
        Ok(positions)
    }

    /// Whether a page-log line with this key is already counted.
    ///
    /// # Errors
    /// Storage failed.
    pub fn is_imported(&self, line: JobId) -> Result<bool> {
        Ok(self.imports.line(&self.rows(), line)?.is_some())
    }

    /// Where a job's numbered page was recorded, if it was.
    ///
    /// # Errors
    /// Storage failed.
    pub fn recorded_page(&self, job: JobId, page: u32) -> Result<Option<Position>> {
        let row = self.imports.line(&self.rows(), imports::page_key(job, page))?;
        let place = row.and_then(|row| Some((row.epoch?, row.seq)));
        Ok(place.map(|(epoch, seq)| Position { log: self.ledger.epoch.0, epoch, seq }))
    }

    /// How far a spooler's job is counted.
    ///
    /// # Errors
    /// Storage failed.
    pub fn spool_job(&self, job: JobId) -> Result<SpoolJob> {
        self.imports.job(&self.rows(), job)
    }

    /// The rate card in force as far as this device knows.
    pub fn card(&self) -> RateCard {
        self.counts.view().newest_card().cloned().unwrap_or_else(card::default_card)
    }

    /// What an act in a job is decided by, as far as this device knows.
    pub fn terms(&self, job: JobId) -> Terms {
        let counts = self.counts.view();
        let (policy, over) = (counts.settlement_policy(), counts.is_over(self.id(), job));
        let standing = counts.standing(self.id(), job);
        let job = standing.map(|standing| Standing { user: None, ..standing });
        Terms { card: self.card(), policy, job, over }
    }

    /// The same for an act of `user`'s, who may do nothing in a job that another user of this device began. A device that
    /// was put back from a backup may have forgotten that both are one.
    ///
    /// # Errors
    /// Storage failed.
    pub fn terms_for(&self, job: JobId, user: Option<UserAlias>) -> Result<Terms> {
        let mut terms = self.terms(job);
        let begun_by = self.counts.view().standing(self.id(), job).and_then(|job| job.user);
        if let (Some(begun_by), Some(user), Some(job)) = (begun_by, user, &mut terms.job)
            && begun_by != user
            && self.is_named(begun_by)?
        {
            job.user = Some(begun_by);
        }
        Ok(terms)
    }

    /// The device's own figures, everything durable here included.
    pub fn counts(&self) -> &Counts {
        self.counts.view()
    }

    /// What is sealed, and all that is kept beside it; for a copy of it.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn rows(&self) -> Rows<'_, S> {
        Rows::new(self.config.tenant, &self.store)
    }

    fn refuse_if_closed(&self) -> Result<()> {
        if self.closed { Err(Error::Closed) } else { Ok(()) }
    }

    /// After an error nobody knows what is durable, so nothing more is done; but where there was
    /// no room nothing was.
    fn closing<T>(&mut self, result: Result<T>) -> Result<T> {
        self.closed |= result.as_ref().is_err_and(|why| why.kind() != Kind::Full)
            && !planted(Bug::DeviceGoesOn);
        result
    }

    fn commit_changes(&mut self, changes: Changes) -> Result<()> {
        let committed = self.store.commit(changes);
        self.room.note(&committed);
        self.closing(committed)
    }

    fn log(&self, class: LogClass) -> &OwnLog {
        match class {
            LogClass::Telemetry => &self.telemetry,
            _ => &self.ledger,
        }
    }

    fn log_mut(&mut self, class: LogClass) -> &mut OwnLog {
        match class {
            LogClass::Telemetry => &mut self.telemetry,
            _ => &mut self.ledger,
        }
    }

    fn encode(
        &self,
        now: Now,
        events: &[(LogClass, Event)],
    ) -> Result<(Vec<Section>, Vec<Position>, HybridTime)> {
        let mut hybrid = self.hybrid;
        let (mut positions, mut sections) = (Vec::with_capacity(events.len()), Vec::new());
        let mut ledger = Section {
            class: LogClass::Ledger,
            first_seq: self.ledger.next_seq(),
            records: Vec::new(),
        };
        let mut telemetry = Section {
            class: LogClass::Telemetry,
            first_seq: self.telemetry.next_seq(),
            records: Vec::new(),
        };
        let (mut ledger_seq, mut telemetry_seq) = (ledger.first_seq, telemetry.first_seq);
        for (class, event) in events {
            let (own, section, seq) = match class {
                LogClass::Ledger => (&self.ledger, &mut ledger, &mut ledger_seq),
                LogClass::Telemetry => (&self.telemetry, &mut telemetry, &mut telemetry_seq),
                other => return Err(Error::Rejected(format!("a device writes no {other:?} log"))),
            };
            let time = timestamp(hybrid, now);
            hybrid = time.hybrid;
            section.records.extend_from_slice(&Record::encode(event, time)?);
            positions.push(own.position(*seq));
            *seq += 1;
        }
        sections.extend([ledger, telemetry].into_iter().filter(|s| !s.records.is_empty()));
        Ok((sections, positions, hybrid))
    }

    /// Takes durable records into the tail and the view.
    fn take_in(&mut self, section: &Section, now: Duration) -> Result<()> {
        let tenant = self.config.tenant;
        let own = self.log_mut(section.class);
        let Some(added) = own.append(section, now)? else { return Ok(()) };
        let (genesis, epoch) = (own.genesis.clone(), own.epoch);
        self.counts.fold_records(tenant, &genesis, epoch, section.first_seq, &section.records);
        let rows = Rows::new(tenant, &self.store);
        for (seq, record) in added {
            self.hybrid = self.hybrid.max(record.header.time.hybrid);
            if section.class == LogClass::Ledger {
                self.imports.take_in(&rows, (epoch.1, seq), &record)?;
            }
        }
        Ok(())
    }
}
