//! The counts view: usage per device, alias and month, jobs, and what credits were given.
//!
//! Invariant: every field is a sum, a maximum, a per-writer last value or a set,
//! so the fold commutes. What a job comes to is in the sums at once, and moves in
//! them as more of the job is known. Events where their writer may not write are not
//! believed, but counted as misplaced; kinds not understood as incomplete.

use super::accounts::Accounts;
use super::balances::Balances;
use super::books::Books;
use super::job::{Job, RunningJob, Standing};
use super::moves::Moved;
use super::requests::Requested;
use super::rights::Rights;
use super::settle::{By, Delivered, times};
use super::usage::{Usage, UsageKey};
use crate::fold::{Again, Origin, View, recorded_again};
use crate::planted::{Bug, planted};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::counts::{RateCard, SettlementPolicy};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::{
    DecodeError, DeviceId, EpochId, Event, JobId, Position, Record, RequestId, SubjectId,
    UserAlias, Wall, Writer,
};

/// Everything that is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    pub(super) usage: BTreeMap<UsageKey, Usage>,
    /// What is heard of that, where it is listened for.
    pub(super) moved: Moved,
    /// With the place of the decision that holds: a log's later epochs are folded in any order.
    pub(super) links: BTreeMap<(DeviceId, UserAlias), (Place, SubjectId)>,
    pub(super) granted: BTreeMap<SubjectId, i128>,
    pub(super) cards: BTreeMap<u32, (Place, RateCard)>,
    /// How jobs settle that begin now: one thing, if it was laid down.
    pub(super) policy: BTreeMap<(), (Place, SettlementPolicy)>,
    /// Those that settle by a policy. What they come to is in `usage`.
    pub(super) jobs: BTreeMap<(DeviceId, JobId), Job>,
    /// Those that began and have not ended, by whom; follows from the jobs.
    pub(super) running: BTreeSet<(DeviceId, UserAlias, JobId)>,
    /// What devices may spend of balances.
    pub(super) rights: Rights,
    /// What devices were told of balances.
    pub(super) balances: Balances,
    /// What the cloud was asked to do once, and did.
    pub(super) requests: BTreeMap<(DeviceId, RequestId), Requested>,
    /// What was corrected, and which months are closed.
    pub(super) books: Books,
    /// Groups, allotments, and who is forgotten.
    pub(super) accounts: Accounts,
    /// Events recorded again: where they stood, and their records' hashes.
    pub(super) resubmitted: BTreeSet<Again>,
    pub(super) incomplete: u64,
    pub(super) misplaced: u64,
}

impl Counts {
    /// Listens from now on for what moves usage.
    pub(crate) fn listen(&mut self) {
        self.moved.listen();
    }

    /// What moved usage since it was listened for, or was asked for last.
    pub(crate) fn moved(&mut self) -> BTreeMap<UsageKey, Usage> {
        self.moved.take()
    }

    /// What was decided here, with that usage and so many records that could not be used: `incomplete` and
    /// `misplaced`.
    pub(crate) fn with_usage(
        self,
        usage: BTreeMap<UsageKey, Usage>,
        (incomplete, misplaced): (u64, u64),
    ) -> Self {
        let Self { links, granted, cards, policy, books, accounts, .. } = self;
        let decided = Self { links, granted, cards, policy, books, accounts, ..Self::default() };
        Self { usage, incomplete, misplaced, ..decided }
    }

    /// Usage by device, alias and month.
    pub fn usage(&self) -> &BTreeMap<UsageKey, Usage> {
        &self.usage
    }

    /// Whom an alias belongs to, if it is linked.
    pub fn subject(&self, device: DeviceId, alias: UserAlias) -> Option<SubjectId> {
        self.links.get(&(device, alias)).map(|(_, subject)| *subject)
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = ((DeviceId, UserAlias), SubjectId)> {
        self.links.iter().map(|(alias, (_, subject))| (*alias, *subject))
    }

    /// What a subject was granted, in thousandths of a credit.
    pub fn granted(&self) -> &BTreeMap<SubjectId, i128> {
        &self.granted
    }

    /// What a subject was granted, and what was corrected; thousandths.
    pub fn given(&self, subject: SubjectId) -> (i128, i128) {
        let granted = self.granted.get(&subject).copied().unwrap_or(0);
        (granted, self.books.corrected(subject))
    }

    /// What was corrected, and which months are closed.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The newest rate card, if any was published.
    pub fn newest_card(&self) -> Option<&RateCard> {
        self.cards.values().next_back().map(|(_, card)| card)
    }

    /// A rate card that was published.
    pub fn card(&self, version: u32) -> Option<&RateCard> {
        self.cards.get(&version).map(|(_, card)| card)
    }

    /// How jobs settle that begin now.
    pub fn settlement_policy(&self) -> SettlementPolicy {
        self.policy.get(&()).map_or(SettlementPolicy::ServerSettles, |(_, policy)| *policy)
    }

    /// How a device's job stands, if it began.
    pub fn standing(&self, device: DeviceId, job: JobId) -> Option<Standing> {
        self.jobs.get(&(device, job)).and_then(Job::standing)
    }

    /// Whether a device's job was ended and never began.
    pub fn is_over(&self, device: DeviceId, job: JobId) -> bool {
        self.jobs.get(&(device, job)).is_some_and(Job::is_over)
    }

    /// A device's jobs that began and have not ended.
    pub fn running(&self, device: DeviceId) -> impl Iterator<Item = RunningJob> {
        let first = (device, UserAlias([0; UserAlias::LEN]), JobId([0; JobId::LEN]));
        let ours = self.running.range(first..).take_while(move |(at, ..)| *at == device);
        ours.filter_map(move |(_, _, job)| self.jobs.get(&(device, *job))?.running(*job))
    }

    /// Who began a device's job.
    pub fn payer(&self, device: DeviceId, job: JobId) -> Option<UserAlias> {
        self.jobs.get(&(device, job)).and_then(Job::user)
    }

    /// Whether a job of a user runs at a device.
    pub fn is_running(&self, device: DeviceId, user: UserAlias) -> bool {
        let first = (device, user, JobId([0; JobId::LEN]));
        let next = self.running.range(first..).next();
        next.is_some_and(|(at, of, _)| (*at, *of) == (device, user))
    }

    /// Whether a job of a user runs at a device and has stopped, as far as is known: its device asked for
    /// credits for it last and was refused. It ends with that job.
    pub fn is_stopped(&self, device: DeviceId, user: UserAlias) -> bool {
        let Some(refused) = self.rights.stopped_by(device, user) else { return false };
        match refused.job {
            Some(job) => self.running.contains(&(device, user, job)),
            None => self.is_running(device, user),
        }
    }

    /// What devices were told of balances, and asked.
    pub fn balances(&self) -> &Balances {
        &self.balances
    }

    /// What the cloud did for a request about a device's job.
    pub fn requested(&self, device: DeviceId, request: RequestId) -> Option<Requested> {
        self.requests.get(&(device, request)).copied()
    }

    /// What devices may spend of balances, and what they did.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Who shares a balance, what a month gives, who is forgotten.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Whose balance pays for an alias: its subject's group, or else its subject.
    pub fn account(&self, device: DeviceId, alias: UserAlias) -> Option<SubjectId> {
        self.subject(device, alias).map(|subject| self.accounts.account(subject))
    }

    /// Events of histories that were set aside, counted where they were recorded again.
    pub fn resubmitted(&self) -> &BTreeSet<Again> {
        &self.resubmitted
    }

    /// Records whose kind or body this build does not understand.
    pub fn incomplete(&self) -> u64 {
        self.incomplete
    }

    /// Records of a kind their log's writer may not write, or that charge less than nothing or
    /// count more than [`EVENT_COUNT_MAX`](tallyroll_schema::limits::EVENT_COUNT_MAX), or cannot be.
    pub fn misplaced(&self) -> u64 {
        self.misplaced
    }

    /// Counts an event if its log's writer may write it.
    fn fold_record(&mut self, origin: &Origin, record: &Record<'_>, again: bool) {
        let Ok(event) = record.event() else {
            self.incomplete += 1;
            return;
        };
        let may = match event.writer() {
            Writer::Both => true,
            Writer::Device => origin.device.is_some(),
            Writer::Cloud => origin.device.is_none(),
        };
        match event {
            _ if !may => self.misplaced += 1,
            // What is recorded again is an event, not that one was.
            Event::EventResubmitted(_) if again => self.misplaced += 1,
            Event::EventResubmitted(event) => self.fold_resubmitted(origin, &event),
            event => {
                if !again {
                    self.rights.fold(origin, record.header.time.wall, &event);
                    self.balances.fold(origin, record.header.time.wall, &event);
                    self.fold_request(origin, &event);
                }
                self.fold_event(origin, record.header.time.wall, event, again);
            }
        }
    }

    /// Two copies of a device may have set aside the same event; it counts once.
    fn fold_resubmitted(&mut self, origin: &Origin, event: &EventResubmitted) {
        let again = recorded_again(origin.position, event);
        let (Some(again), Ok((record, _))) = (again, Record::split(&event.record.0)) else {
            self.misplaced += 1;
            return;
        };
        let first = self.resubmitted.insert(again);
        self.balances.fold_again(origin, &record);
        if first || planted(Bug::ResubmittedCountedAgain) {
            if let (Some(device), Ok(inner)) = (origin.device, record.event()) {
                self.rights.fold_again(device, event.resubmitted_from, &inner);
            }
            self.fold_record(origin, &record, true);
        }
    }

    pub(super) fn fold_event(
        &mut self,
        origin: &Origin,
        written_at: Wall,
        event: Event,
        again: bool,
    ) {
        let by = |device: Option<DeviceId>, user| By { device, user, at: written_at, again };
        let counted = match event {
            Event::PagesPrinted(e) => {
                let usage = Usage {
                    impressions: e.impressions.into(),
                    sheets: e.sheets.unwrap_or(0).into(),
                    ..Usage::default()
                };
                let acted_at = e.acted_at.filter(|_| !planted(Bug::MonthOfImport));
                let by = By { at: acted_at.unwrap_or(written_at), ..by(origin.device, e.user) };
                self.charge(by, usage, &e.charge).map(drop)
            }
            Event::PagesCaptured(e) => {
                let usage = Usage { captured: e.pages.into(), ..Usage::default() };
                let by = by(origin.device, e.user);
                match e.policy {
                    Some(SettlementPolicy::ServerSettles) => self.hold(by, e.job, usage, &e.charge),
                    Some(SettlementPolicy::Additive) if planted(Bug::AdditiveHeld) => {
                        self.hold(by, e.job, usage, &e.charge)
                    }
                    _ => self.charge(by, usage, &e.charge).map(drop),
                }
            }
            Event::PagesConverted(e) => self.convert(by(origin.device.or(e.device), e.user), &e),
            Event::DocumentSent(e) => times(e.pages, e.destinations as usize).and_then(|sent| {
                let usage = Usage { sent, ..Usage::default() };
                let by = by(origin.device.or(e.device), e.user);
                let delivered = Delivered::of(e.policy, e.revision, &e.which_pages, e.pages)?;
                self.deliver(by, e.job, usage, &e.charge, delivered)
            }),
            Event::DocumentSaved(e) => {
                let usage = Usage { saved: e.pages.into(), ..Usage::default() };
                let by = by(origin.device.or(e.device), e.user);
                Delivered::of(e.policy, e.revision, &e.which_pages, e.pages)
                    .and_then(|delivered| self.deliver(by, e.job, usage, &e.charge, delivered))
            }
            Event::DocumentDiscarded(e) => origin
                .device
                .or(e.device)
                .map(|device| self.change_job((device, e.job), Job::discard)),
            Event::JobBegun(e) => origin.device.map(|device| {
                self.change_job((device, e.job), |job| job.begin(e.policy, e.user, written_at));
            }),
            Event::JobEnded(e) => {
                origin.device.map(|device| self.change_job((device, e.job), Job::end))
            }
            event => {
                self.fold_decision(origin, event);
                Some(())
            }
        };
        self.misplaced += u64::from(counted.is_none());
    }

    fn fold_decision(&mut self, origin: &Origin, event: Event) {
        match event {
            Event::CreditsGranted(e) => {
                *self.granted.entry(e.subject).or_default() += i128::from(e.credits.thousandths());
            }
            Event::SubjectLinked(e) => {
                newest(&mut self.links, (e.device, e.alias), origin.position, e.subject);
            }
            Event::RateCardPublished(e) => {
                newest(&mut self.cards, e.card.version, origin.position, e.card);
            }
            Event::SettlementPolicyPublished(e) => {
                newest(&mut self.policy, (), origin.position, e.policy);
            }
            Event::ChargeCorrected(e) => self.books.correct(&e),
            Event::PeriodClosed(e) => self.books.close(origin.position, &e),
            Event::Unknown(_) => self.incomplete += 1,
            event => {
                for (account, added) in self.accounts.fold(origin, &event) {
                    *self.granted.entry(account).or_default() += added;
                }
            }
        }
    }
}

/// Where a decision stands within its log.
pub(super) type Place = (EpochId, u64);

/// Of several decisions about one thing, all in one log, the last holds.
pub(super) fn newest<K: Ord, V>(
    held: &mut BTreeMap<K, (Place, V)>,
    key: K,
    position: Position,
    value: V,
) {
    let place = (position.epoch, position.seq);
    let newer = held.get(&key).is_none_or(|(before, _)| *before < place);
    if newer || planted(Bug::LastArrivedHolds) {
        held.insert(key, (place, value));
    }
}

impl View for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 11;
    const CLASSES: &'static [LogClass] =
        &[LogClass::Ledger, LogClass::Public, LogClass::Accounts, LogClass::Device];

    fn fold(&mut self, origin: &Origin, record: &Record<'_>) {
        self.fold_record(origin, record, false);
    }

    fn recorded_again(&self) -> Option<&BTreeSet<Again>> {
        Some(&self.resubmitted)
    }

    fn archive(&self) -> Vec<u8> {
        super::snapshot::archive(self)
    }

    fn restore(archive: &[u8]) -> Option<Self> {
        super::snapshot::restore(archive)
    }

    fn to_base(&self) -> Vec<u8> {
        super::base::encode(self)
    }

    fn from_base(base: &[u8]) -> Result<Self, DecodeError> {
        super::base::decode(base)
    }
}

#[cfg(test)]
mod tests;
