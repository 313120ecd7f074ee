//! Jobs at the panel: begun, page by page, ended.
//!
//! Invariant: pages of a job are taken in one at a time and in order; one that is in the ledger is
//! answered with its position again and never spent twice, whatever was lost on the way: an answer,
//! the client, the agent. Why a page is not paid is [`super::stops`]'s.

use super::kept::recorded;
use super::reply::Refusal;
use super::stops::{Stop, Stopped, Tried};
use super::{Open, Panel};
use crate::keeper::{DiskDevice, Spent};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use tallyroll_schema::event::counts::{ColorMode, CountSource, Sides};
use tallyroll_schema::limits::local::PANEL_JOBS_MAX;
use tallyroll_schema::{Act, JobId, Position};
use tokio::sync::Mutex;
use tracing::warn;

/// What a job's pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Scanned; held until the job is decided.
    Capture,
    /// Printed; charged as they happen.
    Print,
}

/// What a page is priced by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Look {
    color: Option<ColorMode>,
    media: Option<String>,
    sides: Option<Sides>,
    sheets: Option<u32>,
}

/// What is asked for when a job begins.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Wish {
    pub(super) session: String,
    kind: Kind,
    job: Option<JobId>,
    /// How many pages it may become: credits for them are asked for at once.
    pages: Option<u32>,
    #[serde(flatten)]
    look: Look,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// What was sent or saved stands.
    End,
    /// The document is deleted first.
    Discard,
}

pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) kind: Kind,
    pub(super) user: String,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Pages that are known to be in the ledger.
    recorded: u32,
    pub(super) stopped: Option<Stopped>,
    ended: bool,
}

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct JobView {
    pub(super) job: JobId,
    /// None of a job that ended before, and left the panel.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// None of who was forgotten since.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    state: &'static str,
    /// Pages so far.
    recorded: u32,
    /// The number of the page to come.
    next: u32,
    #[serde(flatten)]
    stop: Option<Stop>,
}

/// What became of a page.
pub(super) enum Page {
    Recorded { position: Option<Position>, view: JobView },
    Stopped(JobView),
}

impl JobView {
    pub(super) fn message(&self) -> Option<&str> {
        self.stop.as_ref().map(|stop| stop.message.as_str())
    }
}

impl Job {
    pub(super) fn new(id: JobId, kind: Kind, user: String, recorded: u32) -> Self {
        let state = State { recorded, ..State::default() };
        Self { id, kind, user, state: Mutex::new(state) }
    }

    pub(super) async fn view(&self) -> JobView {
        self.view_of(&*self.state.lock().await)
    }

    pub(super) fn view_of(&self, state: &State) -> JobView {
        let standing = match &state.stopped {
            _ if state.ended => "ended",
            Some(_) => "stopped",
            None => "running",
        };
        JobView {
            job: self.id,
            kind: Some(self.kind),
            user: Some(self.user.clone()),
            state: standing,
            recorded: state.recorded,
            next: state.recorded.saturating_add(1),
            stop: state.stopped.as_ref().map(|stopped| stopped.stop.clone()),
        }
    }

    /// The act that so many pages are, the first of them with this number.
    fn act(&self, look: &Look, number: u32, pages: u32) -> Act {
        let (job, user, page) = (Some(self.id), self.user.clone(), Some(number));
        let (color, media) = (look.color.unwrap_or(ColorMode::Unknown), look.media.clone());
        match self.kind {
            Kind::Capture => Act::Capture { job, user, pages, color, media, page },
            Kind::Print => Act::Print {
                job,
                user,
                impressions: pages,
                sheets: Some(look.sheets.unwrap_or_else(|| sheets(look.sides, number, pages))),
                color,
                sides: look.sides,
                media,
                source: CountSource::Device,
                job_number: None,
                acted_at: None,
                spool_job: None,
                running_total: None,
                page,
            },
        }
    }
}

/// A sheet is used with its first side.
fn sheets(sides: Option<Sides>, number: u32, pages: u32) -> u32 {
    match sides {
        None | Some(Sides::OneSided) => pages,
        Some(_) => pages.div_ceil(2) - u32::from(number.is_multiple_of(2) && pages == 1),
    }
}

impl Panel {
    /// Begins a job, if its first page can be paid.
    pub(super) async fn begin(&self, wish: Wish) -> Result<JobView, Refusal> {
        let user = self.user_of(&wish.session)?;
        let id = match wish.job {
            Some(job) => job,
            None => random_job()?,
        };
        if let Some(job) = self.job(id) {
            let same = job.user == user && job.kind == wish.kind;
            return if same { Ok(job.view().await) } else { Err(taken(id)) };
        }
        if self.open().jobs.len() >= PANEL_JOBS_MAX {
            return Err(Refusal::busy(format!("{PANEL_JOBS_MAX} jobs run already; end one")));
        }
        let job = Job::new(id, wish.kind, user.clone(), 0);
        let pages = wish.pages.unwrap_or(1).max(1);
        if pages > 1 {
            self.may(job.act(&wish.look, 1, pages)).await?; // that so much is asked for once
        }
        match self.may(job.act(&wish.look, 1, 1)).await? {
            Tried::Paid(_) => {}
            Tried::Refused(why) => return Err(Refusal::refused(why)),
            Tried::Stopped(stop) => {
                let act = job.act(&wish.look, 1, 1);
                self.ask_what_is_left(&user, &stop).await;
                let state = State { stopped: Some(Stopped { stop, act }), ..State::default() };
                return Ok(job.view_of(&state));
            }
        }
        match self.keeper.spend(Act::Begin { job: id, user: user.clone() }).await? {
            Spent::At(_) | Spent::Already => {}
            Spent::Refused(why) => self.adopt(&job, why).await?,
            Spent::NotNow(why) => return Err(Refusal::busy(why)),
            Spent::Short(_) => return Err(Refusal::busy("a beginning costs nothing; try again")),
        }
        let job = Arc::new(job);
        self.open().jobs.insert(id, job.clone());
        self.save().await?;
        let view = job.view().await;
        self.say("begun", &view);
        Ok(view)
    }

    /// A job that the ledger has running for the same user goes on here: its answer was lost.
    async fn adopt(&self, job: &Job, why: String) -> Result<(), Refusal> {
        let (id, user) = (job.id, job.user.clone());
        let known = self.keeper.query(move |device| {
            let alias = device.alias(&user).ok().flatten();
            let ours = device
                .counts()
                .running(device.id())
                .any(|running| running.job == id && Some(running.user) == alias);
            ours.then(|| recorded(device, id, 0))
        });
        let Some(known) = known.await? else { return Err(Refusal::refused(why)) };
        job.state.lock().await.recorded = known;
        Ok(())
    }

    /// Records a page, if it can be paid; or says again where it is.
    pub(super) async fn page(&self, id: JobId, number: u32, look: Look) -> Result<Page, Refusal> {
        let job = self.job(id).ok_or_else(|| no_job(id))?;
        let mut state = job.state.lock().await;
        if state.ended {
            return Err(Refusal::refused(format!("job {id} has ended; begin another one")));
        }
        if number > state.recorded {
            let known = state.recorded;
            let read = self.keeper.query(move |device| {
                let ended = device.terms(id).job.is_none_or(|standing| standing.ended);
                (recorded(device, id, known), ended)
            });
            let (known, ended) = read.await?;
            state.recorded = known;
            if ended {
                let why = format!("job {id} was ended, not by the panel; begin another one");
                return Err(Refusal::refused(why));
            }
        }
        if number == 0 || number > state.recorded.saturating_add(1) {
            let next = state.recorded.saturating_add(1);
            let why = format!("page {number}: pages come in order, the next is {next}");
            return Err(Refusal::new(StatusCode::CONFLICT, "order", why));
        }
        if number <= state.recorded {
            let position = self.place(id, number).await?;
            return Ok(Page::Recorded { position, view: job.view_of(&state) });
        }
        let act = job.act(&look, number, 1);
        let position = match self.pay(act.clone()).await? {
            Tried::Paid(Some(position)) => Some(position),
            Tried::Paid(None) => self.place(id, number).await?,
            Tried::Refused(why) => return Err(Refusal::refused(why)),
            Tried::Stopped(stop) => {
                let stopped = Stopped { stop: stop.clone(), act };
                let before = state.stopped.replace(stopped).map(|before| before.stop);
                let view = job.view_of(&state);
                if before.as_ref() != Some(&stop) {
                    self.say("stopped", &view);
                }
                self.stopped.notify_one();
                self.ask_what_is_left(&job.user, &stop).await;
                return Ok(Page::Stopped(view));
            }
        };
        state.recorded = number;
        let resumed = state.stopped.take().is_some();
        if resumed {
            self.goes_on(&job.user);
        }
        let view = job.view_of(&state);
        if resumed {
            self.say("resumed", &view);
        }
        Ok(Page::Recorded { position, view })
    }

    /// Ends a job; to end one again changes nothing.
    pub(super) async fn end(&self, id: JobId, ending: Ending) -> Result<JobView, Refusal> {
        let Some(job) = self.job(id) else {
            return self.ended(id).await;
        };
        let mut state = job.state.lock().await;
        if !state.ended {
            if ending == Ending::Discard && job.kind == Kind::Capture {
                self.put_down(Act::Discard { job: id }).await?;
            }
            self.put_down(Act::End { job: id }).await?;
            (state.ended, state.stopped) = (true, None);
        }
        let view = job.view_of(&state);
        drop(state);
        if self.open().jobs.remove(&id).is_some() {
            self.save().await?;
            self.say(if ending == Ending::End { "ended" } else { "discarded" }, &view);
        }
        Ok(view)
    }

    /// Records an end, for which there is always room.
    async fn put_down(&self, act: Act) -> Result<(), Refusal> {
        match self.keeper.spend(act).await? {
            Spent::At(_) | Spent::Already => Ok(()),
            // The device is retired: its logs have ended, and with them all that ran.
            Spent::Refused(why) => {
                warn!(%why, "an end is not recorded");
                Ok(())
            }
            Spent::NotNow(why) => Err(Refusal::busy(why)),
            Spent::Short(_) => Err(Refusal::busy("an end costs nothing; try again")),
        }
    }

    /// A job, as it stands.
    pub(super) async fn job_view(&self, id: JobId) -> Result<JobView, Refusal> {
        match self.job(id) {
            Some(job) => Ok(job.view().await),
            None => self.ended(id).await,
        }
    }

    /// A job that left the panel, as far as the ledger still tells.
    async fn ended(&self, id: JobId) -> Result<JobView, Refusal> {
        let ended = self.keeper.query(move |device| ended(device, id)).await?;
        ended.ok_or_else(|| no_job(id))
    }

    pub(super) fn job(&self, id: JobId) -> Option<Arc<Job>> {
        self.open().jobs.get(&id).cloned()
    }

    pub(super) fn jobs_of(&self, user: &str) -> Vec<Arc<Job>> {
        let of_user = |open: &Open| {
            let jobs = open.jobs.values().filter(|job| job.user == user);
            jobs.cloned().collect()
        };
        of_user(&self.open())
    }

    /// Tells what happened to a job.
    pub(super) fn say(&self, kind: &'static str, job: &JobView) {
        self.feed.say(json!({ "kind": kind, "user": job.user, "job": job }));
    }

    async fn place(&self, job: JobId, page: u32) -> Result<Option<Position>, Refusal> {
        Ok(self.keeper.query(move |device| device.recorded_page(job, page)).await??)
    }
}

/// A job that has ended, as far as the ledger and the names still tell.
fn ended(device: &DiskDevice, id: JobId) -> Option<JobView> {
    let standing = device.counts().standing(device.id(), id).filter(|standing| standing.ended)?;
    let mut names = device.names().unwrap_or_default().into_iter();
    let user = names.find(|(_, alias)| Some(*alias) == standing.user).map(|(name, _)| name);
    let recorded = recorded(device, id, 0);
    let (kind, next, stop) = (None, recorded.saturating_add(1), None);
    Some(JobView { job: id, kind, user, state: "ended", recorded, next, stop })
}

fn random_job() -> Result<JobId, Refusal> {
    let mut job = JobId([0; JobId::LEN]);
    getrandom::fill(&mut job.0).map_err(|why| Refusal::busy(why.to_string()))?;
    Ok(job)
}

fn no_job(id: JobId) -> Refusal {
    let why = format!("no job {id} runs here; `GET /v1/sessions/ID` lists those that do");
    Refusal::new(StatusCode::NOT_FOUND, "no-job", why)
}

fn taken(id: JobId) -> Refusal {
    Refusal::refused(format!("job {id} is another user's or of another kind; take a new id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_used_with_its_first_side() {
        let sides = Some(Sides::TwoSidedLongEdge);
        let used = |sides| (1..=5).map(|page| sheets(sides, page, 1)).collect::<Vec<_>>();
        assert_eq!(used(None), [1, 1, 1, 1, 1]);
        assert_eq!(used(sides), [1, 0, 1, 0, 1]);
        assert_eq!((sheets(sides, 1, 5), sheets(None, 1, 5)), (3, 5), "of several at once");
    }
}
