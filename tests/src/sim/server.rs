//! The processing server: what the cloud does in jobs of users who pay, begun and scanned at devices.
//!
//! Invariant: as of the workload, whose part this is: what is asked for is in the truth before it is asked. At
//! its device such a job is backed by leases; what the cloud does in it the cloud checks. An act that is asked
//! for again with its request id stands where it stood.

use super::checkers::Violation;
use super::truth::{CLOUD, Deed, Noted};
use super::workload::user_name;
use super::world::{Step, World};
use std::collections::BTreeSet;
use tallyroll_engine::Kind;
use tallyroll_engine::counts::{Terms, decide};
use tallyroll_engine::hub::{Acted, AskedAct};
use tallyroll_schema::event::counts::{ColorMode, Conversion};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, DeviceId, Event, JobId, Position, RequestId, UserAlias, Wall};

/// A job at a device in which the cloud acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    index: usize,
    job: JobId,
    user: usize,
    alias: UserAlias,
    ended: bool,
}

impl World {
    /// A payer begins a job, goes on scanning in it or ends it.
    pub(super) fn pay_in_job(&mut self, index: usize, user: usize, alias: UserAlias) -> Step {
        let is_open = |one: &&mut Served| {
            (one.index, one.user, one.alias, one.ended) == (index, user, alias, false)
        };
        let ends = self.entropy.percent(20);
        let pages = self.entropy.between(1, 4) as u32;
        let act = match self.served.iter_mut().find(is_open) {
            None => {
                let job = JobId(self.entropy.bytes());
                self.served.push(Served { index, job, user, alias, ended: false });
                Act::Begin { job, user: user_name(user) }
            }
            Some(one) if ends => {
                one.ended = true;
                Act::End { job: one.job }
            }
            Some(one) => Act::Capture {
                job: Some(one.job),
                user: user_name(user),
                pages,
                color: ColorMode::Monochrome,
                media: None,
                page: None,
            },
        };
        let Some(job) = act.job() else { return Ok(()) };
        let machine = &self.devices[index];
        let (device, now) = (machine.id, machine.clock.show(self.now));
        let Some(process) = &machine.process else { return Ok(()) };
        let event =
            decide(&process.terms(job), act.clone(), job, Some(alias)).map_err(|error| {
                Violation {
                    checker: "conserves",
                    what: format!("a payer's act is refused: {error}"),
                }
            })?;
        let Some(event) = process.back(now, event, machine.connection.is_none()) else {
            return self.ask_for_rights(index, alias, pages);
        };
        self.note_deed(device, job, (act, event.clone(), alias, now.wall));
        self.commit(index, &[(LogClass::Ledger, event)], &[]).map(drop)
    }

    /// The cloud converts, sends, saves or discards in some payer's job; now and then it is asked twice.
    pub(super) fn serve(&mut self) -> Step {
        if self.served.is_empty() {
            return Ok(());
        }
        let Served { index, job, user, .. } = self.served[self.entropy.index(self.served.len())];
        let (device, act) = (self.devices[index].id, self.draw_served(job, user));
        let request = RequestId(self.entropy.bytes());
        let first = self.ask_to_act(device, job, &act, request, true)?;
        if let (Some(first), true) = (first, self.entropy.percent(30))
            && let Some(again) = self.ask_to_act(device, job, &act, request, false)?
            && again != first
        {
            let what = format!("request {request} was done at {first} and again at {again}");
            return Err(self.violation("never-overspends", what));
        }
        Ok(())
    }

    fn draw_served(&mut self, job: JobId, user: usize) -> Act {
        let (user, pages, media) = (user_name(user), self.entropy.between(1, 3) as u32, None);
        let (revision, from_revision, which_pages) = (None, None, None);
        match self.entropy.below(8) {
            0 | 1 => {
                let conversions = vec![Conversion::Resize];
                Act::Convert {
                    job,
                    user,
                    pages,
                    conversions,
                    media,
                    revision,
                    from_revision,
                    which_pages,
                }
            }
            2..=5 => {
                let (destinations, color) = (self.entropy.between(1, 4) as u32, ColorMode::Color);
                Act::Send { job, user, pages, destinations, color, media, revision, which_pages }
            }
            6 => Act::Save { job, user, pages, media, revision, which_pages },
            _ => Act::Discard { job },
        }
    }

    fn ask_to_act(
        &mut self,
        device: DeviceId,
        job: JobId,
        act: &Act,
        request: RequestId,
        is_new: bool,
    ) -> Result<Option<Position>, Violation> {
        let reached: BTreeSet<DeviceId> =
            self.connections.values().map(|one| self.devices[one.device].id).collect();
        let now = self.cloud.clock.show(self.now);
        let Some(process) = &self.cloud.process else { return Ok(None) };
        let counts = process.counts();
        let Some(payer) = counts.payer(device, job) else { return Ok(None) };
        let (policy, standing) = (counts.settlement_policy(), counts.standing(device, job));
        let terms = Terms { card: process.card(), policy, job: standing, over: false };
        let Ok(event) = decide(&terms, act.clone(), job, Some(payer)) else { return Ok(None) };
        let event = of_server(event, device, payer, request);
        if is_new {
            self.note_deed(device, job, (act.clone(), event.clone(), payer, now.wall));
        }
        let Some(process) = &mut self.cloud.process else { return Ok(None) };
        let before = process.last_commit();
        let asked = AskedAct { device, act: act.clone(), request: Some(request), by: None };
        let acted = process.act(now, asked, &reached, None);
        let changed = process.last_commit() != before;
        self.trace.note(self.now, format_args!("cloud acts in {job}: {acted:?}"));
        if acted.as_ref().is_err_and(|why| matches!(why.kind(), Kind::Rejected | Kind::Retry)) {
            return Ok(None);
        }
        let Some(acted) = self.cloud_outcome(acted)? else { return Ok(None) };
        let position = match acted {
            Acted::At(position) => Some(position),
            Acted::Waits { .. } => None,
        };
        if let (Some(position), true) = (position, is_new) {
            self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })?;
        }
        if changed {
            self.tell_of_new_decisions()?;
        }
        Ok(position)
    }

    fn note_deed(
        &mut self,
        device: DeviceId,
        job: JobId,
        (act, event, user, wall): (Act, Event, UserAlias, Wall),
    ) {
        let deeds = self.truth.jobs.entry((device, job)).or_default();
        deeds.push(Deed { act, event, user, wall });
    }
}

/// An event as the cloud records it in a device's job.
fn of_server(mut event: Event, device: DeviceId, user: UserAlias, request: RequestId) -> Event {
    let (of, asked) = match &mut event {
        Event::PagesConverted(e) => (&mut e.device, &mut e.request),
        Event::DocumentSent(e) => (&mut e.device, &mut e.request),
        Event::DocumentSaved(e) => (&mut e.device, &mut e.request),
        Event::DocumentDiscarded(e) => {
            e.user = Some(user);
            (&mut e.device, &mut e.request)
        }
        _ => return event,
    };
    (*of, *asked) = (Some(device), Some(request));
    event
}
