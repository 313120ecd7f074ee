//! From what a client says to what the ledger holds: alias, job, price, commit.
//!
//! Invariant: each entry gets one answer, in order, and only after the commit it
//! went into; a wrong entry keeps no other one out. A page-log line's key is its
//! job, so a line that is in the ledger is answered as counted already; so is a job's numbered page.

use super::checks::{check_event, class_of, may_be_of, no_name, random_job};
use super::room::unless_full;
use super::{Clock, DiskDevice};
use crate::identity::Enrolment;
use crate::people::mint;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_engine::counts::{SpoolJob, Standing, decide};
use tallyroll_engine::device::ends_work;
use tallyroll_engine::{Error, Kind};
use tallyroll_schema::event::counts::CountSource;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Credits, Event, JobId, Position, RecordHeader, UserAlias};

/// One thing to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Something a user did.
    Act(Act),
    /// Something else that happened to the device.
    Event(Event),
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// Durable, there.
    At(Position),
    /// It was durable before.
    Already,
    /// Not recorded, and why.
    Refused(String),
    /// Not recorded now, and why; the same may be later.
    NotNow(String),
}

/// What became of an act that is recorded only with a right.
pub(super) enum Backed {
    /// As for any entry; and who paid how much, if it cost anything.
    Recorded(Recorded, Option<(UserAlias, Credits)>),
    /// Whose lease does not cover what it costs.
    Short(UserAlias, Credits),
}

/// Content of one commit, bytes: far below the journal's limit for one.
const COMMIT_BYTES: usize = 256 * 1024;
/// Why page-log lines, and the pages of jobs, wait at a device that was restored or copied.
const UNCONFIRMED: &str = "this device was restored or copied, and the cloud may have counted this already; \
    run the agent until `status` no longer says so, then try again: nothing is lost meanwhile";
/// Names whose aliases are kept at hand.
const CACHED_NAMES_MAX: usize = 4096;

pub(super) struct Recorder {
    enrolment: Enrolment,
    aliases: BTreeMap<String, UserAlias>,
}

impl Recorder {
    pub(super) fn new(enrolment: Enrolment) -> Self {
        Self { enrolment, aliases: BTreeMap::new() }
    }

    /// Knows names no more that are forgotten.
    pub(super) fn forget(&mut self, names: &[String]) {
        self.aliases.retain(|name, _| !names.contains(name));
    }

    /// Records entries; returns an answer for each, and whether aliases were minted.
    pub(super) fn record(
        &mut self,
        device: &mut DiskDevice,
        clock: Clock,
        entries: Vec<Entry>,
    ) -> Result<(Vec<Recorded>, bool), Error> {
        if let Err(why) = device.refuse_if_retired() {
            return Ok((vec![Recorded::Refused(why.to_string()); entries.len()], false));
        }
        // Without room for a new name, the device is full now, and what needs one is refused.
        let minted = unless_full(self.mint_missing(device, &entries))?.unwrap_or(false);
        let mut answers = Vec::with_capacity(entries.len());
        let mut group = Group::default();
        for entry in entries {
            if group.bytes > COMMIT_BYTES {
                core::mem::take(&mut group).commit(device, clock, &mut answers)?;
            }
            match self.decided(device, &mut group, entry)? {
                Ok(event) => {
                    group.push(answers.len(), event);
                    answers.push(Recorded::Already); // until its commit says where
                }
                Err(answer) => answers.push(answer),
            }
        }
        group.commit(device, clock, &mut answers)?;
        Ok((answers, minted))
    }

    /// Records an act if the device has a right to what it costs; tells, too, whether an alias was minted.
    /// Without `records` it only tells what would become of the act.
    pub(super) fn spend(
        &mut self,
        device: &mut DiskDevice,
        clock: Clock,
        act: Act,
        (records, cut_off): (bool, bool),
    ) -> Result<(Backed, bool), Error> {
        let answered = |answer| Backed::Recorded(answer, None);
        if let Err(why) = device.refuse_if_retired() {
            return Ok((answered(Recorded::Refused(why.to_string())), false));
        }
        let entry = Entry::Act(act);
        let missing = self.mint_missing(device, core::slice::from_ref(&entry));
        let minted = unless_full(missing)?.unwrap_or(false);
        let mut group = Group::default();
        let event = match self.decided(device, &mut group, entry)? {
            Ok(event) => event,
            Err(answer) => return Ok((answered(answer), minted)),
        };
        let cost = device.cost(&event);
        let event = match (cost, device.back(clock.now(), event.clone(), cut_off)) {
            (Some((user, needed)), None) => return Ok((Backed::Short(user, needed), minted)),
            (None, None) => event,
            (_, Some(backed)) => backed,
        };
        if !records {
            return Ok((answered(Recorded::Already), minted));
        }
        let mut answers = [Recorded::Already];
        group.push(0, event);
        group.commit(device, clock, &mut answers)?;
        let [answer] = answers;
        Ok((Backed::Recorded(answer, cost), minted))
    }

    /// The event of an entry, or the answer to one that is not to be recorded.
    fn decided(
        &self,
        device: &DiskDevice,
        group: &mut Group,
        entry: Entry,
    ) -> Result<Result<Event, Recorded>, Error> {
        match self.decide(device, group, entry) {
            Ok(Some(event)) => Ok(Ok(event)),
            Ok(None) => Ok(Err(Recorded::Already)),
            Err(error) if error.kind() == Kind::Rejected => {
                Ok(Err(Recorded::Refused(error.to_string())))
            }
            Err(error) if matches!(error.kind(), Kind::Retry | Kind::Full) => {
                Ok(Err(Recorded::NotNow(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// The event of an entry, or `None` when it is in the ledger already.
    fn decide(
        &self,
        device: &DiskDevice,
        group: &mut Group,
        entry: Entry,
    ) -> Result<Option<Event>, Error> {
        let act = match entry {
            Entry::Act(act) => act,
            Entry::Event(event) => {
                let event = check_event(event)?;
                device.refuse_without_room(&event)?;
                return Ok(Some(event));
            }
        };
        if let (Act::Print { source: CountSource::PageLog, .. }, Some(line)) = (&act, act.job()) {
            if device.is_unconfirmed()? {
                return Err(Error::NotYet(UNCONFIRMED.into()));
            }
            if !group.lines.insert(line) || device.is_imported(line)? {
                return Ok(None);
            }
        }
        if let Some((job, page)) = act.page() {
            if device.is_unconfirmed()? {
                return Err(Error::NotYet(UNCONFIRMED.into()));
            }
            if device.recorded_page(job, page)?.is_some() || !group.pages.insert((job, page)) {
                return Ok(None);
            }
        }
        let Some(act) = only_what_is_new(device, group, act)? else { return Ok(None) };
        let alias = match act.user().map(|name| (self.aliases.get(name), may_be_of(&act, name))) {
            Some((Some(alias), _)) => Some(*alias),
            Some((None, true)) => return Err(device.refused()),
            Some((None, false)) => return Err(Error::Rejected(no_name())),
            None => None,
        };
        let job = match act.job() {
            Some(job) => job,
            None => random_job()?,
        };
        let mut terms = device.terms_for(job, alias)?;
        let others = terms.job.and_then(|job| job.user);
        terms.job = group.jobs.get(&job).copied().or(terms.job);
        if let Some(job) = &mut terms.job {
            job.user = others.or(job.user);
        }
        terms.over |= group.over.contains(&job);
        let event = decide(&terms, act, job, alias)?;
        device.refuse_without_room(&event)?;
        if terms.job.is_none() && matches!(event, Event::JobEnded(_)) {
            group.over.insert(job);
        }
        if let Some(standing) = Standing::after(terms.job, &event) {
            group.jobs.insert(job, standing);
        }
        Ok(Some(event))
    }

    /// Gives every name that has none an alias, in one commit.
    fn mint_missing(&mut self, device: &mut DiskDevice, entries: &[Entry]) -> Result<bool, Error> {
        if self.aliases.len() > CACHED_NAMES_MAX {
            self.aliases.clear();
        }
        let mut new = BTreeMap::new();
        for entry in entries {
            let Entry::Act(act) = entry else { continue };
            let Some(name) = act.user() else { continue };
            if self.aliases.contains_key(name) || new.contains_key(name) {
                continue;
            }
            if !may_be_of(act, name) {
                continue; // refused when its turn comes
            }
            if is_counted(device, act)? {
                continue; // a forgotten name does not come back by a log that is read again
            }
            if let Some(alias) = device.alias(name)? {
                self.aliases.insert(name.to_owned(), alias);
                continue;
            }
            let entry = mint(self.enrolment.device, &self.enrolment.directory_key, name)
                .map_err(Error::Rejected)?;
            new.insert(name.to_owned(), entry);
        }
        if new.is_empty() || !device.has_room() {
            return Ok(false);
        }
        let aliases: Vec<_> = new.iter().map(|(name, entry)| (name.clone(), entry.alias)).collect();
        device.mint(new.into_iter().collect())?;
        self.aliases.extend(aliases);
        Ok(true)
    }
}

/// Whether it is a page log's line that was counted, or adds nothing to those that were.
fn is_counted(device: &DiskDevice, act: &Act) -> Result<bool, Error> {
    let Act::Print { source: CountSource::PageLog, impressions, spool_job, running_total, .. } =
        act
    else {
        return Ok(false);
    };
    if let Some(line) = act.job()
        && device.is_imported(line)?
    {
        return Ok(true);
    }
    let Some(job) = spool_job else { return Ok(false) };
    let so_far = device.spool_job(*job)?;
    Ok(so_far.after(*impressions, *running_total).impressions() == so_far.impressions())
}

/// Of a line about a spooler's job, what it adds; `None` when that is nothing.
fn only_what_is_new(
    device: &DiskDevice,
    group: &mut Group,
    mut act: Act,
) -> Result<Option<Act>, Error> {
    let Act::Print { spool_job: Some(job), running_total, impressions, .. } = &mut act else {
        return Ok(Some(act));
    };
    let so_far = match group.spool_jobs.get(job) {
        Some(so_far) => *so_far,
        None => device.spool_job(*job)?,
    };
    let after = so_far.after(*impressions, *running_total);
    group.spool_jobs.insert(*job, after);
    let new = after.impressions().saturating_sub(so_far.impressions());
    *impressions = u32::try_from(new).unwrap_or(u32::MAX);
    Ok((new > 0).then_some(act))
}

/// Events that share a commit, and whose answers they are.
#[derive(Default)]
struct Group {
    events: Vec<(LogClass, Event)>,
    places: Vec<usize>,
    bytes: usize,
    lines: BTreeSet<JobId>,
    pages: BTreeSet<(JobId, u32)>,
    spool_jobs: BTreeMap<JobId, SpoolJob>,
    /// Jobs that began, as they stand after these events.
    jobs: BTreeMap<JobId, Standing>,
    /// Jobs that never began and were ended by these events.
    over: BTreeSet<JobId>,
}

impl Group {
    fn push(&mut self, place: usize, event: Event) {
        self.bytes += RecordHeader::LEN + event.encode_body().len();
        self.places.push(place);
        self.events.push((class_of(&event), event));
    }

    fn commit(
        self,
        device: &mut DiskDevice,
        clock: Clock,
        answers: &mut [Recorded],
    ) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        let committed: Vec<Recorded> = match device.commit(clock.now(), &self.events) {
            Ok(positions) => positions.into_iter().map(Recorded::At).collect(),
            Err(error) if error.kind() == Kind::Full => {
                return self.commit_ends(device, clock, answers, &error);
            }
            Err(error) => return Err(error),
        };
        for (place, recorded) in self.places.into_iter().zip(committed) {
            if let Some(answer) = answers.get_mut(place) {
                *answer = recorded;
            }
        }
        Ok(())
    }
}

impl Group {
    /// There is room for the ends of what runs only; the rest hears why.
    fn commit_ends(
        self,
        device: &mut DiskDevice,
        clock: Clock,
        answers: &mut [Recorded],
        why: &Error,
    ) -> Result<(), Error> {
        let mut ends = Self::default();
        let mut any_other = false;
        for (place, (class, event)) in self.places.into_iter().zip(self.events) {
            if ends_work(&event) {
                ends.places.push(place);
                ends.events.push((class, event));
                continue;
            }
            any_other = true;
            if let Some(answer) = answers.get_mut(place) {
                *answer = Recorded::NotNow(why.to_string());
            }
        }
        if any_other {
            return ends.commit(device, clock, answers);
        }
        for place in ends.places {
            if let Some(answer) = answers.get_mut(place) {
                *answer = Recorded::NotNow(why.to_string());
            }
        }
        Ok(())
    }
}
