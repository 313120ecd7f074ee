//! Jobs that begin and settle: what is done in them, at one device after the other.
//!
//! Invariant: as of the workload, whose part this is: what is asked for is in the truth before it
//! is asked. What it comes to is reckoned by the checker `conserves`, from this and not from the engine.

use super::checkers::Violation;
use super::truth::Deed;
use super::workload::{USERS, user_name};
use super::world::{Step, World};
use tallyroll_engine::counts::{Standing, decide};
use tallyroll_schema::event::counts::{ColorMode, Conversion, PageRange};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Event, JobId, UserAlias};

/// A job under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    index: usize,
    job: JobId,
    user: usize,
}

/// Pages of the documents that are scanned, at most: few, so that parts of them overlap.
const PAGES: u64 = 6;

impl World {
    /// A user begins a job, or goes on with one; now and then this is its end.
    pub(super) fn work_on_job(&mut self, index: usize) -> Step {
        let open = self.jobs.iter().position(|running| running.index == index);
        let known = open.filter(|_| self.entropy.percent(60)).map(|at| self.jobs.remove(at));
        let running = known.unwrap_or_else(|| Running {
            index,
            job: JobId(self.entropy.bytes()),
            user: self.entropy.below(USERS) as usize,
        });
        let Some(alias) = self.alias(index, running.user)? else { return Ok(()) };
        let mut acts = Vec::new();
        if known.is_none() {
            acts.push(Act::Begin { job: running.job, user: user_name(running.user) });
        }
        for _ in 0..self.entropy.between(1, 4) {
            acts.push(self.draw_in_job(running));
        }
        let ends = self.entropy.percent(40);
        if ends {
            let job = running.job;
            acts.push(if self.entropy.percent(50) {
                Act::End { job }
            } else {
                Act::Discard { job }
            });
        } else {
            self.jobs.push(running);
        }
        let events = self.decide_in_job(running, alias, acts)?;
        self.commit(index, &events, &[]).map(drop)
    }

    fn draw_in_job(&mut self, Running { job, user, .. }: Running) -> Act {
        let (user, media) = (user_name(user), None);
        let pages = self.entropy.between(1, PAGES) as u32;
        let color = [ColorMode::Unknown, ColorMode::Monochrome, ColorMode::Color];
        let color = color[self.entropy.index(3)];
        // Pages other than the first ones; now and then the document as captured.
        let first = self.entropy.between(1, PAGES) as u32;
        let range = PageRange { first, last: first + pages - 1 };
        let which_pages = self.entropy.percent(30).then(|| vec![range]);
        let revision = self.entropy.percent(20).then_some(0);
        match self.entropy.below(6) {
            0 | 1 => Act::Capture { job: Some(job), user, pages, color, media, page: None },
            2 | 3 => {
                let kinds = [Conversion::Resize, Conversion::ColorToMonochrome];
                let conversions = kinds[..self.entropy.between(1, 2) as usize].to_vec();
                let (from_revision, revision) = (revision, None);
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
            4 => {
                let destinations = self.entropy.between(1, 3) as u32;
                Act::Send { job, user, pages, destinations, color, media, revision, which_pages }
            }
            _ => Act::Save { job, user, pages, media, revision, which_pages },
        }
    }

    /// As the rim does: each act knows of those before it that go into the same commit.
    fn decide_in_job(
        &mut self,
        running: Running,
        alias: UserAlias,
        acts: Vec<Act>,
    ) -> Result<Vec<(LogClass, Event)>, Violation> {
        let Running { index, job, .. } = running;
        let Some(process) = &self.devices[index].process else { return Ok(Vec::new()) };
        let terms = process.terms_for(job, Some(alias));
        let mut terms = terms.map_err(|error| self.violation("durable", error.to_string()))?;
        let wall = self.devices[index].clock.show(self.now).wall;
        let mut events = Vec::with_capacity(acts.len());
        for act in acts {
            let event = decide(&terms, act.clone(), job, Some(alias)).map_err(|error| {
                self.violation("conserves", format!("an act in a job is refused: {error}"))
            })?;
            terms.job = Standing::after(terms.job, &event);
            let deed = Deed { act, event: event.clone(), user: alias, wall };
            let device = self.devices[index].id;
            self.truth.jobs.entry((device, job)).or_default().push(deed);
            events.push((LogClass::Ledger, event));
        }
        Ok(events)
    }
}
