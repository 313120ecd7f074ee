//! One job, and what it comes to.
//!
//! Owns settlement (mission 1). Invariant: what a job comes to is a function of the set of its
//! events: each only adds to what is known of it, and [`Job::owes`] reads the whole. What settles
//! as it happens (sends, saves, prints, the captures of `additive`) is not in here; pages are
//! counted elsewhere. Kept: a provisional capture until the job is decided, conversions and what
//! was delivered for ever, for there may be a later send.

use super::pages::PageSet;
use super::sum::CreditSum;
use crate::planted::{Bug, planted};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use tallyroll_schema::event::counts::{Conversion, JobBegun, SettlementPolicy};
use tallyroll_schema::{Credits, Event, JobId, UserAlias, Wall};

/// Whose charge, of which month, and whether by an event that was recorded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub(super) struct Payer {
    #[n(0)]
    pub(super) again: bool,
    #[n(1)]
    pub(super) user: UserAlias,
    #[n(2)]
    pub(super) month: u32,
}

/// One kind of conversion of some pages, which makes a revision of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub(super) struct Step {
    #[n(0)]
    pub(super) makes: u32,
    #[n(1)]
    pub(super) from: u32,
    #[n(2)]
    pub(super) kind: Conversion,
    /// Of one page.
    #[n(3)]
    pub(super) price: Credits,
    #[n(4)]
    pub(super) payer: Payer,
    #[n(5)]
    pub(super) pages: PageSet,
}

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub(super) struct Job {
    #[n(0)]
    policy: Option<SettlementPolicy>,
    #[n(1)]
    ended: bool,
    #[n(2)]
    discarded: bool,
    /// Captures that are provisional still, by payer.
    #[n(3)]
    captured: Vec<(Payer, CreditSum)>,
    /// In their order, each once.
    #[n(4)]
    steps: Vec<Step>,
    /// By revision.
    #[n(5)]
    delivered: Vec<(u32, PageSet)>,
    /// Who began it; absent in what was kept before anybody but its device acted in it.
    #[n(6)]
    user: Option<UserAlias>,
    /// When it began, by its device's clock; absent in what was kept before jobs were left to time.
    #[n(7)]
    begun_at: Option<Wall>,
}

/// A job that began and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningJob {
    /// Its id.
    pub job: JobId,
    /// Who began it, as the device calls them.
    pub user: UserAlias,
    /// When, by the device's clock.
    pub begun_at: Wall,
    /// Whether nothing of it was sent, saved or discarded.
    pub undecided: bool,
}

/// What a job comes to for one payer, in thousandths of a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Owed {
    pub(super) settled: i128,
    pub(super) held: i128,
}

/// How a job stands, for whoever records its next act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How it settles.
    pub policy: SettlementPolicy,
    /// The document's newest revision; 0 is as captured.
    pub revision: u32,
    /// Conversions so far, each kind.
    pub steps: usize,
    /// Whether it has ended.
    pub ended: bool,
    /// Who began it, and alone acts in it; absent in what was kept before that was known.
    pub user: Option<UserAlias>,
}

impl Standing {
    /// How a job stands after one more event of it.
    pub fn after(before: Option<Self>, event: &Event) -> Option<Self> {
        match event {
            Event::JobBegun(JobBegun { policy, user, .. }) => {
                let user = Some(*user);
                Some(Self { policy: *policy, revision: 0, steps: 0, ended: false, user })
            }
            Event::PagesConverted(converted) => before.map(|job| Self {
                revision: job.revision.max(converted.revision.unwrap_or(0)),
                steps: job.steps.saturating_add(converted.conversions.len()),
                ..job
            }),
            Event::JobEnded(_) => before.map(|job| Self { ended: true, ..job }),
            _ => before,
        }
    }
}

impl Job {
    /// It began. Should it have begun twice, the policy holds that is kinder to the user, the user
    /// whose alias is lower, and the earlier time.
    pub(super) fn begin(&mut self, policy: SettlementPolicy, user: UserAlias, at: Wall) {
        self.begun_at = Some(self.begun_at.map_or(at, |before| before.min(at)));
        self.policy = Some(self.policy.map_or(policy, |before| before.min(policy)));
        self.user = Some(self.user.map_or(user, |before| before.min(user)));
    }

    /// Who began it.
    pub(super) fn user(&self) -> Option<UserAlias> {
        self.user
    }

    /// Whose it is, while it runs.
    pub(super) fn runs_for(&self) -> Option<UserAlias> {
        self.user.filter(|_| !self.ended)
    }

    /// It ended.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.release();
    }

    /// Its document was deleted.
    pub(super) fn discard(&mut self) {
        self.discarded = !planted(Bug::DiscardKeepsHold);
        self.release();
    }

    /// Pages were captured, provisionally.
    pub(super) fn hold(&mut self, payer: Payer, credits: Credits) {
        let thousandths = i128::from(credits.thousandths());
        match self.captured.binary_search_by_key(&payer, |(payer, _)| *payer) {
            Ok(at) => {
                if let Some((_, sum)) = self.captured.get_mut(at) {
                    *sum = CreditSum::from_thousandths(sum.thousandths() + thousandths);
                }
            }
            Err(at) => {
                insert(&mut self.captured, at, (payer, CreditSum::from_thousandths(thousandths)));
            }
        }
        self.release();
    }

    /// Pages were converted.
    pub(super) fn convert(&mut self, step: Step) {
        if let Err(at) = self.steps.binary_search(&step) {
            insert(&mut self.steps, at, step);
        }
    }

    /// Pages of a revision were sent or saved.
    pub(super) fn deliver(&mut self, revision: u32, pages: &PageSet) {
        match self.delivered.binary_search_by_key(&revision, |(revision, _)| *revision) {
            Ok(at) => {
                if let Some((_, before)) = self.delivered.get_mut(at) {
                    *before = before.union(pages);
                }
            }
            Err(at) => insert(&mut self.delivered, at, (revision, pages.clone())),
        }
        self.release();
    }

    /// None of what decides a job is ever undone, so the captures it decided are forgotten.
    fn release(&mut self) {
        if self.is_decided() {
            self.captured = Vec::new();
        }
    }

    /// Whether something happened that decides what becomes of its provisional captures.
    pub(super) fn is_decided(&self) -> bool {
        self.ended || self.discarded || !self.delivered.is_empty()
    }

    /// How it stands, if it began.
    pub(super) fn standing(&self) -> Option<Standing> {
        Some(Standing {
            policy: self.policy?,
            revision: self.steps.last().map_or(0, |step| step.makes),
            steps: self.steps.len(),
            ended: self.ended,
            user: self.user,
        })
    }

    /// Whether it was ended and never began: what begins by its id would have ended.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.policy.is_none()
    }

    /// The job, if it is running.
    pub(super) fn running(&self, job: JobId) -> Option<RunningJob> {
        let undecided = !self.discarded && self.delivered.is_empty();
        let (user, begun_at) = (self.user.filter(|_| !self.ended)?, self.begun_at?);
        Some(RunningJob { job, user, begun_at, undecided })
    }

    /// What it comes to, besides what was settled as it happened.
    pub(super) fn owes(&self) -> BTreeMap<Payer, Owed> {
        let mut owed: BTreeMap<Payer, Owed> = BTreeMap::new();
        for (payer, held) in &self.captured {
            owed.entry(*payer).or_default().held += held.thousandths();
        }
        // Each kind and page once; of several prices the lowest.
        let mut due = self.due();
        due.sort_unstable_by_key(|(step, _)| (step.kind, step.price, step.payer));
        let mut charged: BTreeMap<Conversion, PageSet> = BTreeMap::new();
        for (step, pages) in due {
            let charged = charged.entry(step.kind).or_default();
            let again = planted(Bug::ConversionChargedAgain);
            let new = if again { pages.clone() } else { pages.without(charged) };
            *charged = charged.union(&pages);
            let price = i128::from(step.price.thousandths());
            owed.entry(step.payer).or_default().settled += price * i128::from(new.count());
        }
        owed
    }

    /// The conversions that led to what was delivered, with the pages that were.
    fn due(&self) -> Vec<(&Step, PageSet)> {
        let mut wanted: BTreeMap<u32, PageSet> = self.delivered.iter().cloned().collect();
        let mut due = Vec::new();
        // A revision is made of an earlier one, so what is wanted of it is known by its turn.
        for step in self.steps.iter().rev() {
            let Some(pages) = wanted.get(&step.makes).cloned() else { continue };
            let before = wanted.entry(step.from).or_default();
            *before = before.union(&pages);
            due.push((step, step.pages.intersection(&pages)));
        }
        due
    }
}

/// Inserts without room for more: most jobs have one of each.
fn insert<T>(list: &mut Vec<T>, at: usize, item: T) {
    list.reserve_exact(1);
    list.insert(at, item);
}
