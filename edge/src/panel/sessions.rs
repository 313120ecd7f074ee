//! Sessions: a user at the panel, from login to logout.
//!
//! Invariant: a user has one session; who logs in again takes it over with its jobs, and the id of
//! before is worth nothing. A logout ends what runs: what is undecided counts as discarded. Who the
//! user is, the device's own software has made sure of.

use super::feed::random_hex;
use super::jobs::{Ending, JobView};
use super::reply::Refusal;
use super::{Open, Panel};
use crate::keeper::{DiskDevice, Entry, Recorded, is_name, no_name};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use tallyroll_engine::counts::CreditSum;
use tallyroll_engine::device::KnownBalance;
use tallyroll_schema::limits::local::PANEL_SESSIONS_MAX;
use tallyroll_schema::{Act, JobId, UserAlias, Wall};
use tokio::time::Instant;

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    /// What was last told of the user's credits, so that a change is told once.
    pub(super) told: Option<Credit>,
    /// When the balance was asked for last because too little was left, and how often since something was paid.
    pub(super) left_asked: Option<(Instant, u32)>,
}

impl Session {
    pub(super) fn new(id: String) -> Self {
        Self { id, told: None, left_asked: None }
    }
}

/// What is known here of a user's credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Credit {
    /// The balance, if the cloud told it.
    pub(super) account: Option<KnownBalance>,
    /// What this device may spend without asking, and did.
    pub(super) lease: LeaseView,
    /// What was charged and is held here, of the user, ever.
    pub(super) here: Here,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LeaseView {
    left: CreditSum,
    spent: CreditSum,
    overdrawn: CreditSum,
    /// When it may be spent no more, milliseconds since 1970.
    until: Option<Wall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Here {
    charged: CreditSum,
    held: CreditSum,
}

/// A session as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SessionView {
    session: String,
    user: String,
    #[serde(flatten)]
    credit: Credit,
    link: &'static str,
    jobs: Vec<JobView>,
    /// For the display.
    messages: Vec<String>,
}

impl Panel {
    /// Logs a user in, and asks the cloud for the balance.
    pub(super) async fn log_in(&self, user: String) -> Result<SessionView, Refusal> {
        if !is_name(&user) {
            return Err(Refusal::wrong(no_name()));
        }
        self.ask_balance(&user).await?;
        let id = random_hex().map_err(|why| Refusal::busy(why.to_string()))?;
        {
            let mut open = self.open();
            let full = open.sessions.len() >= PANEL_SESSIONS_MAX;
            if full && !open.sessions.contains_key(&user) {
                let why = format!("{PANEL_SESSIONS_MAX} users are logged in; log one out");
                return Err(Refusal::busy(why));
            }
            open.sessions.insert(user.clone(), Session::new(id.clone()));
        }
        self.save().await?;
        self.feed.say(json!({ "kind": "logged-in", "user": user }));
        self.session(&id).await
    }

    /// A session, as it stands.
    pub(super) async fn session(&self, id: &str) -> Result<SessionView, Refusal> {
        let user = self.user_of(id)?;
        let credit = self.credit(user.clone()).await?.ok_or_else(no_session)?;
        self.open().note(&user, credit); // it is told hereby
        let mut jobs = Vec::new();
        for job in self.jobs_of(&user) {
            jobs.push(job.view().await);
        }
        let messages = self.messages(&jobs).await?;
        let link = if self.is_linked() { "up" } else { "down" };
        Ok(SessionView { session: id.into(), user, credit, link, jobs, messages })
    }

    /// Logs a user out; returns the jobs that were ended by it.
    pub(super) async fn log_out(&self, id: &str) -> Result<Vec<JobId>, Refusal> {
        let user = self.user_of(id)?;
        let mut ended = Vec::new();
        for job in self.jobs_of(&user) {
            self.end(job.id, Ending::Discard).await?;
            ended.push(job.id);
        }
        self.open().sessions.remove(&user);
        self.save().await?;
        self.feed.say(json!({ "kind": "logged-out", "user": user }));
        Ok(ended)
    }

    /// Who a session is.
    pub(super) fn user_of(&self, id: &str) -> Result<String, Refusal> {
        let open = self.open();
        let found = open.sessions.iter().find(|(_, session)| session.id == id);
        found.map(|(user, _)| user.clone()).ok_or_else(no_session)
    }

    /// Asks for a user's balance, as at each login, and where nothing is left; who is new here gets an alias by it.
    pub(super) async fn ask_balance(&self, user: &str) -> Result<(), Refusal> {
        let login = Entry::Act(Act::Ask { user: user.to_owned() });
        let why = match self.keeper.record(vec![login]).await?.pop() {
            Some(Recorded::Refused(why) | Recorded::NotNow(why)) => why,
            _ => return Ok(()),
        };
        // Whom the device knows may be there all the same, and is told what is wrong by each page.
        let known = user.to_owned();
        let known = self.keeper.query(move |device| device.alias(&known)).await??;
        if known.is_some() { Ok(()) } else { Err(Refusal::busy(why)) }
    }

    /// What is known here of a user's credits; nothing of who was forgotten.
    async fn credit(&self, user: String) -> Result<Option<Credit>, Refusal> {
        let read = self.keeper.query(move |device| match device.alias(&user)? {
            Some(alias) => credit(device, alias).map(Some),
            None => Ok(None),
        });
        Ok(read.await??)
    }

    /// Tells who is logged in what changed in their credits, and logs out who was forgotten.
    pub(super) async fn tell_credits(&self) {
        let sessions = self.open().sessions.clone();
        for (user, session) in sessions {
            let Ok(credit) = self.credit(user.clone()).await else { return };
            let Some(credit) = credit else {
                if let Err(why) = self.log_out(&session.id).await {
                    tracing::debug!(?why, "who was forgotten was logged out before");
                }
                self.feed.forget();
                continue;
            };
            let changed = self.open().note(&user, credit);
            if changed {
                let event = json!({ "kind": "credits", "user": user, "credit": credit });
                self.feed.say(event);
            }
        }
    }

    async fn messages(&self, jobs: &[JobView]) -> Result<Vec<String>, Refusal> {
        let standing = self.keeper.query(|device| {
            let retired = device.refuse_if_retired().err().map(|why| why.to_string());
            let full = (!device.has_room()).then(|| device.refused().to_string());
            let processing = device.refuse_if_processing().err().map(|why| why.to_string());
            (retired, processing, full)
        });
        let (retired, processing, full) = standing.await?;
        let down = (!self.is_linked()).then(|| {
            "the line to the cloud is down: what this device was lent can be spent".to_owned()
        });
        let stopped = jobs.iter().filter_map(|job| job.message().map(str::to_owned));
        Ok([retired, processing, full, down].into_iter().flatten().chain(stopped).collect())
    }
}

impl Open {
    /// Whether this is news of a user who is logged in.
    fn note(&mut self, user: &str, credit: Credit) -> bool {
        let Some(session) = self.sessions.get_mut(user) else { return false };
        session.told.replace(credit).is_some_and(|told| told != credit)
    }
}

fn no_session() -> Refusal {
    let why = "no such session: it was logged out, or logged in again elsewhere; log in";
    Refusal::new(StatusCode::NOT_FOUND, "no-session", why)
}

fn credit(device: &DiskDevice, alias: UserAlias) -> tallyroll_engine::Result<Credit> {
    let lease = device.lease(alias);
    let own = device.id();
    let usage = device.counts().usage().iter();
    let (charged, held) = usage
        .filter(|(key, _)| (key.device, key.user) == (own, alias))
        .fold((0, 0), |(charged, held), (_, usage)| (charged + usage.charged, held + usage.held));
    let sum = CreditSum::from_thousandths;
    Ok(Credit {
        account: device.known_balance(alias)?,
        lease: LeaseView {
            left: sum(lease.outstanding().max(0)),
            spent: sum(lease.spent),
            overdrawn: sum(lease.overdrawn),
            until: lease.last.map(|last| last.spend_until),
        },
        here: Here { charged: sum(charged), held: sum(held) },
    })
}
