//! Users who pay from a balance: credits lent to devices, spent there, recalled and given back.
//!
//! Invariant: as of the workload, whose part this is. These users do nothing but what they have a
//! right to, so that what they are charged can be held against what they were given. A number that
//! stands outside the cloud's disk is the machine's and outlives its process.

use super::machine::DeviceMachine;
use super::occasions::Occasion;
use super::truth::{CLOUD, Fate, Figures, Grant, Noted};
use super::workload::user_name;
use super::world::{Happening, Step, World};
use core::time::Duration;
use std::collections::BTreeSet;
use tallyroll_engine::Kind;
use tallyroll_engine::counts::{RightKey, decide};
use tallyroll_engine::hub::HeldLease;
use tallyroll_schema::event::counts::{ColorMode, CreditsGranted};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Credits, DeviceId, JobId, SubjectId, UserAlias};

/// Users who pay, by their number; the others are below.
pub(super) const PAYERS: core::ops::Range<usize> = 100..105;

/// A payer's identity at the cloud.
pub(crate) fn payer(user: usize) -> SubjectId {
    SubjectId([user as u8; 16])
}

impl World {
    /// Somebody is given credits, gives some back, or does something for them.
    pub(super) fn pay(&mut self, index: usize) -> Step {
        let user = PAYERS.start + self.entropy.index(self.plan.payers);
        if self.entropy.percent(12) {
            return self.fund(payer(user));
        }
        if self.entropy.percent(6) {
            return self.write_off();
        }
        if self.plan.acts && self.entropy.percent(30) {
            return self.serve();
        }
        if self.plan.accounts && self.entropy.percent(15) && self.cloud.process.is_some() {
            return self.keep_accounts();
        }
        let Some(alias) = self.alias(index, user)? else { return Ok(()) };
        let device = self.devices[index].id;
        if self.paying.insert((device, alias)) {
            self.pending_links.push_back((device, alias, payer(user)));
            return self.link_pending();
        }
        if self.plan.acts && self.entropy.percent(50) {
            return match self.entropy.percent(15) {
                true => self.ask_balance(index, alias),
                false => self.pay_in_job(index, user, alias),
            };
        }
        match self.entropy.below(10) {
            0 => self.give_back(index, alias),
            1 => self.give_back_recalled(index),
            _ => self.spend(index, user, alias),
        }
    }

    fn fund(&mut self, subject: SubjectId) -> Step {
        let thousandths = self.entropy.between(1_000, 20_000) as i64;
        let reason = format!("grant {}", self.truth.grants_asked);
        self.truth.grants_asked += 1;
        self.truth
            .funded
            .entry(subject)
            .and_modify(|sum| *sum += i128::from(thousandths))
            .or_insert(i128::from(thousandths));
        let grant = Grant { subject, thousandths, fate: Fate::Open };
        self.truth.grants.insert(reason.clone(), grant);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let now = self.cloud.clock.show(self.now);
        let credits = Credits::from_thousandths(thousandths);
        let granted = process.grant(now, subject, credits, reason.clone());
        let Some(position) = self.cloud_outcome(granted)? else { return Ok(()) };
        if let Some(grant) = self.truth.grants.get_mut(&reason) {
            grant.fate = Fate::Certain;
        }
        let event = CreditsGranted { subject, credits, reason }.into();
        self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })
    }

    /// An administrator takes a lease off the books, of whatever device, or a frozen one. A device that does not
    /// hear of it goes on spending it.
    fn write_off(&mut self) -> Step {
        let now = self.cloud.clock.show(self.now);
        let (any, deaf) = (self.entropy.percent(60), self.entropy.percent(80));
        let unheard = |device: DeviceId| {
            let deaf = |machine: &&DeviceMachine| {
                machine.id == device && machine.process.is_some() && machine.connection.is_none()
            };
            self.devices.iter().find(deaf).map(|machine| machine.index)
        };
        let Some(process) = &self.cloud.process else { return Ok(()) };
        let mut leases = process.leases();
        leases.retain(|lease| lease.outstanding > 0 && (any || lease.frozen));
        if deaf && leases.iter().any(|lease| unheard(lease.device).is_some()) {
            leases.retain(|lease| unheard(lease.device).is_some());
        }
        let chosen = leases.get(self.entropy.index(leases.len().max(1))).copied();
        let Some(HeldLease { device, epoch, user, .. }) = chosen else { return Ok(()) };
        let spends = unheard(device);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let written_off = process.write_off(now, RightKey { device, epoch, user }, "lost".into());
        self.trace
            .note(self.now, format_args!("of {user} at {device} is written off: {written_off:?}"));
        if written_off.as_ref().is_err_and(|why| matches!(why.kind(), Kind::Retry | Kind::Rejected))
        {
            return Ok(()); // the device's log is frozen
        }
        if self.cloud_outcome(written_off)?.is_none() {
            return Ok(());
        }
        self.occasions.count(Occasion::WrittenOff);
        self.tell_of_new_decisions()?;
        match spends {
            Some(index) => self.spend(index, PAYERS.start, user),
            None => Ok(()),
        }
    }

    /// Scans, if there is a right to it; else asks for one.
    fn spend(&mut self, index: usize, user: usize, alias: UserAlias) -> Step {
        let (job, pages) = (JobId(self.entropy.bytes()), self.entropy.between(1, 4) as u32);
        let (wanted, color) = (self.entropy.between(1, 12) as i64, ColorMode::Monochrome);
        let machine = &mut self.devices[index];
        let (now, cut_off) = (machine.clock.show(self.now), machine.connection.is_none());
        let Some(process) = &mut machine.process else { return Ok(()) };
        let act = Act::Capture {
            job: Some(job),
            user: user_name(user),
            pages,
            color,
            media: None,
            page: None,
        };
        let event = decide(&process.terms(job), act, job, Some(alias)).map_err(|error| {
            super::checkers::Violation { checker: "conserves", what: format!("refused: {error}") }
        })?;
        let charged = i128::from(pages) * 1000; // mission 1
        let Some(event) = process.back(now, event, cut_off) else {
            let credits = |thousandths: i64| Credits::from_thousandths(thousandths);
            let (needed, wanted) = (credits(i64::from(pages) * 1000), credits(wanted * 1000));
            let asked = process.request_lease(now, (alias, Some(job)), needed, wanted);
            self.trace.note(self.now, format_args!("device {index} asks for {needed}"));
            if self.device_outcome(index, asked)?.is_some() {
                self.set_seal_timer(index);
            }
            return Ok(());
        };
        let figures = Figures { captured: pages.into(), charged, ..Figures::default() };
        let events = [(LogClass::Ledger, event)];
        self.commit(index, &events, &[(job, alias, figures, now.wall)]).map(drop)
    }

    /// Asks the cloud for what a payer scans.
    pub(super) fn ask_for_rights(&mut self, index: usize, alias: UserAlias, pages: u32) -> Step {
        let now = self.devices[index].clock.show(self.now);
        let Some(process) = &mut self.devices[index].process else { return Ok(()) };
        let needed = Credits::from_thousandths(i64::from(pages) * 1000);
        let asked = process.request_lease(now, (alias, None), needed, needed);
        if self.device_outcome(index, asked)?.is_some() {
            self.set_seal_timer(index);
        }
        Ok(())
    }

    /// A payer logs in.
    fn ask_balance(&mut self, index: usize, alias: UserAlias) -> Step {
        let now = self.devices[index].clock.show(self.now);
        let Some(process) = &mut self.devices[index].process else { return Ok(()) };
        let asked = process.ask_balance(now, alias);
        if self.device_outcome(index, asked)?.is_some() {
            self.set_seal_timer(index);
        }
        Ok(())
    }

    fn give_back(&mut self, index: usize, alias: UserAlias) -> Step {
        let now = self.devices[index].clock.show(self.now);
        let Some(process) = &mut self.devices[index].process else { return Ok(()) };
        let returned = process.return_lease(now, alias, Credits::ZERO);
        if self.device_outcome(index, returned)?.is_some() {
            self.set_seal_timer(index);
        }
        Ok(())
    }

    fn give_back_recalled(&mut self, index: usize) -> Step {
        let Some(process) = &self.devices[index].process else { return Ok(()) };
        for alias in process.recalled().into_keys() {
            self.give_back(index, alias)?;
        }
        Ok(())
    }

    /// The cloud answers what devices asked for, as its rim does after each commit.
    pub(super) fn answer_requests(&mut self) -> Step {
        if !self.plan.leases {
            return Ok(());
        }
        let reached: BTreeSet<DeviceId> =
            self.connections.values().map(|one| self.devices[one.device].id).collect();
        let (now, noted) = (self.cloud.clock.show(self.now), &mut self.cloud.allocations);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let before = process.last_commit();
        let told = if self.plan.acts { process.tell_balances(now) } else { Ok(()) };
        let answered = told.and_then(|()| {
            process.answer_requests(now, &reached, &mut |number| {
                *noted = number;
                Ok(())
            })
        });
        let (after, waits) = (process.last_commit(), process.answers_due().is_some());
        if self.cloud_outcome(answered)?.is_none() {
            return Ok(());
        }
        if waits {
            self.after(Duration::from_secs(1), Happening::CloudWork);
        }
        if before == after { Ok(()) } else { self.tell_of_new_decisions() }
    }
}
