//! Into the sums: what settles as it happens, and what a job comes to.
//!
//! Owns how one event moves usage and jobs. Invariant: an event that cannot be (a charge below
//! nothing, a page twice, a revision made of a later one) counts in no figure, and whoever folds
//! hears of it by `None`. The rules of one job are [`super::job`]'s.

use super::job::{Job, Payer, Step};
use super::pages::PageSet;
use super::state::Counts;
use super::usage::{Usage, UsageKey, month_of};
use crate::fold::Origin;
use crate::planted::{Bug, planted};
use tallyroll_schema::event::counts::{Charge, PageRange, PagesConverted, SettlementPolicy};
use tallyroll_schema::limits::{EVENT_COUNT_MAX, JOB_STEPS_MAX};
use tallyroll_schema::{Credits, DeviceId, Event, JobId, UserAlias, Wall};

impl Counts {
    /// What settles as it happens. Nothing, like all that follow, if the event cannot be.
    pub(super) fn charge(
        &mut self,
        by: By,
        mut usage: Usage,
        charge: &Charge,
    ) -> Option<(DeviceId, Payer)> {
        usage.charged = i128::from(charge.credits.thousandths());
        let (device, payer) = self.count(by, usage, charge)?;
        if payer.again {
            let unbacked = usage.charged;
            self.add(device, payer, &Usage { unbacked, ..Usage::default() });
        }
        Some((device, payer))
    }

    /// What an event of a device's, or of the cloud's in a job of a device, would add to what is charged and
    /// held, thousandths: with a delivery, its conversions, less what was held until then.
    pub fn would_add(&self, origin: &Origin, event: &Event) -> i128 {
        let mut apart = Self::default();
        let job = job_of(event).and_then(|(about, job)| {
            let device = origin.device.or(about)?;
            self.jobs.get_key_value(&(device, job))
        });
        apart.jobs.extend(job.map(|(key, job)| (*key, job.clone())));
        apart.fold_event(origin, Wall(0), event.clone(), false);
        apart.usage.values().map(|usage| usage.charged + usage.held).sum()
    }

    fn count(&mut self, by: By, usage: Usage, charge: &Charge) -> Option<(DeviceId, Payer)> {
        let device = by.device.filter(|_| charge.credits >= Credits::ZERO)?;
        let again = by.again && !planted(Bug::UnbackedForgotten);
        let payer = Payer { again, user: by.user, month: month_of(by.at) };
        self.add(device, payer, &usage);
        Some((device, payer))
    }

    /// A capture that is provisional until its job is decided.
    pub(super) fn hold(&mut self, by: By, job: JobId, usage: Usage, charge: &Charge) -> Option<()> {
        let (device, payer) = self.count(by, usage, charge)?;
        self.change_job((device, job), |job| job.hold(payer, charge.credits));
        Some(())
    }

    /// A conversion; in a job that settles, it is charged with what is delivered of it.
    pub(super) fn convert(&mut self, by: By, e: &PagesConverted) -> Option<()> {
        let converted = times(e.pages, e.conversions.len())?;
        let usage = Usage { converted, ..Usage::default() };
        if e.policy.is_none() {
            return self.charge(by, usage, &e.charge).map(drop);
        }
        let (makes, from) = (e.revision?, e.from_revision?);
        let prices = e.prices.as_ref().filter(|prices| prices.len() == e.conversions.len())?;
        let pages = PageSet::named(e.which_pages.as_deref(), e.pages)?;
        let can_be = from < makes && makes <= JOB_STEPS_MAX;
        if !can_be || prices.iter().any(|price| *price < Credits::ZERO) {
            return None;
        }
        let (device, payer) = self.count(by, usage, &e.charge)?;
        self.change_job((device, e.job), |job| {
            for (kind, price) in e.conversions.iter().zip(prices) {
                let pages = pages.clone();
                job.convert(Step { makes, from, kind: *kind, price: *price, payer, pages });
            }
        });
        Some(())
    }

    pub(super) fn deliver(
        &mut self,
        by: By,
        job: JobId,
        usage: Usage,
        charge: &Charge,
        delivered: Option<Delivered>,
    ) -> Option<()> {
        let (device, _) = self.charge(by, usage, charge)?;
        if let Some(Delivered { revision, pages }) = delivered {
            self.change_job((device, job), |job| job.deliver(revision, &pages));
        }
        Some(())
    }

    /// Learns more of a job, and moves what it comes to.
    pub(super) fn change_job(&mut self, key: (DeviceId, JobId), learn: impl FnOnce(&mut Job)) {
        let job = self.jobs.entry(key).or_default();
        let (before, ran_for) = (job.owes(), job.runs_for());
        learn(job);
        let (after, runs_for) = (job.owes(), job.runs_for());
        if ran_for != runs_for {
            let running = |user| (key.0, user, key.1);
            if let Some(user) = ran_for {
                self.running.remove(&running(user));
            }
            self.running.extend(runs_for.map(running));
        }
        for (payer, owed) in before {
            self.owe(key.0, payer, -owed.settled, -owed.held);
        }
        for (payer, owed) in after {
            self.owe(key.0, payer, owed.settled, owed.held);
        }
    }

    fn owe(&mut self, device: DeviceId, payer: Payer, settled: i128, held: i128) {
        let unbacked = if payer.again { settled } else { 0 };
        let by = Usage { charged: settled, unbacked, held, ..Usage::default() };
        self.add(device, payer, &by);
    }

    /// The one way in which usage moves.
    fn add(&mut self, device: DeviceId, payer: Payer, by: &Usage) {
        let key = UsageKey { device, user: payer.user, month: payer.month };
        self.usage.entry(key).or_default().add(by);
        self.moved.hear(key, by);
    }

    /// What is held, and who runs a job, follows from the jobs, so it is not kept beside them.
    pub(super) fn hold_again(&mut self) {
        let runs =
            |((device, id), job): (&(DeviceId, JobId), &Job)| Some((*device, job.runs_for()?, *id));
        self.running = self.jobs.iter().filter_map(runs).collect();
        let held = |((device, _), job): (&(DeviceId, JobId), &Job)| {
            job.owes()
                .into_iter()
                .map(|(payer, owed)| (*device, payer, owed.held))
                .collect::<Vec<_>>()
        };
        let held: Vec<_> = self.jobs.iter().flat_map(held).filter(|held| held.2 != 0).collect();
        for (device, payer, held) in held {
            self.add(device, payer, &Usage { held, ..Usage::default() });
        }
    }
}

/// The job of an event, and the device that it says it is of.
pub(super) fn job_of(event: &Event) -> Option<(Option<DeviceId>, JobId)> {
    match event {
        Event::PagesCaptured(e) => Some((None, e.job)),
        Event::PagesConverted(e) => Some((e.device, e.job)),
        Event::DocumentSent(e) => Some((e.device, e.job)),
        Event::DocumentSaved(e) => Some((e.device, e.job)),
        Event::DocumentDiscarded(e) => Some((e.device, e.job)),
        _ => None,
    }
}

/// Who did something: where, when, and whether it was recorded again.
#[derive(Clone, Copy)]
pub(super) struct By {
    pub(super) device: Option<DeviceId>,
    pub(super) user: UserAlias,
    pub(super) at: Wall,
    pub(super) again: bool,
}

/// What was sent or saved of a job that settles.
pub(super) struct Delivered {
    revision: u32,
    pages: PageSet,
}

impl Delivered {
    /// Of an event's fields: `Some(None)` for a job that does not settle, `None` for what cannot be.
    pub(super) fn of(
        policy: Option<SettlementPolicy>,
        revision: Option<u32>,
        which: &Option<Vec<PageRange>>,
        pages: u32,
    ) -> Option<Option<Self>> {
        if policy.is_none() {
            return Some(None);
        }
        let revision = revision.filter(|revision| *revision <= JOB_STEPS_MAX)?;
        Some(Some(Self { revision, pages: PageSet::named(which.as_deref(), pages)? }))
    }
}

/// The product, if it is within what one event may count: then no sum of them overflows.
pub(super) fn times(pages: u32, factor: usize) -> Option<u64> {
    let product = u64::from(pages).checked_mul(factor as u64)?;
    (product <= EVENT_COUNT_MAX).then_some(product)
}
