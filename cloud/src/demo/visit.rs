//! The visit: somebody copies at the panel of one branch, on credits that are too few.
//!
//! Owns what is asked there and what was answered: pages are paid for until nothing is
//! left, and from where that stood after a top-up. Invariant: each page is asked for
//! before it is copied, and what the panel says is noted as it is said; whether it is
//! right is the check's.

use super::cloud::Cloud;
use super::error::{DemoError, Doing, Result};
use super::fleet::Fleet;
use super::panel::{PAUSE, Panel};
use super::stage::Stage;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Who copies; nobody of the workload is called that.
pub(super) const USER: &str = "kim";
/// What is to be copied.
pub(super) const PAGES: usize = 10;
/// Credits there are at first; a page costs one.
pub(super) const GIVEN: usize = 3;
/// Credits that come later.
pub(super) const TOP_UP: usize = 7;
/// A number of the device's choice, with which the beginning can be repeated.
const JOB: &str = "000000000000c0de";
/// Reasons to stop that pass without anybody giving credits.
const PASSING: [&str; 4] = ["asked", "line-down", "held-elsewhere", "not-yet"];

/// What the visitor saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Where it was.
    pub(super) branch: String,
    /// When each page was paid for, seconds since the Unix epoch.
    pub(super) paid: Vec<i64>,
    /// Where the job was stopped first.
    pub(super) stopped: Option<Stop>,
    /// Pages that the panel says the job had at its end.
    pub(super) recorded: u64,
}

/// A page that was not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    /// Its number, from 1.
    pub(super) page: usize,
    /// The panel's reason, for programs.
    pub(super) reason: String,
    /// The same, for the display.
    pub(super) message: String,
}

/// The visit, as far as it is.
#[derive(Debug)]
pub(super) struct Visit {
    at_panel: JoinSet<Result<Visitor>>,
    stopped: Option<Visitor>,
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Visitor {
    panel: Panel,
    seen: Seen,
}

impl Visit {
    /// Somebody is given credits and goes to the panel of a branch whose line stays up, if there is one.
    pub(super) async fn begin(fleet: &Fleet) -> Result<Self> {
        fleet.cloud.ask(&["users", "add", USER], &[0]).await?;
        grant(&fleet.cloud, GIVEN).await?;
        let mut visit = Self { at_panel: JoinSet::new(), stopped: None, seen: None };
        if let Some(branch) = fleet.branches.get(1).or(fleet.branches.first()) {
            let seen = Seen { branch: branch.name.clone(), ..Seen::default() };
            let visitor = Visitor { panel: Panel::at(branch.desk().panel_socket()), seen };
            visit.at_panel.spawn(visitor.arrive());
        }
        Ok(visit)
    }

    /// What was seen, once all is copied.
    pub(super) fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// Looks after the visitor; one who was stopped gets more credits and goes on, if it `may_top_up`.
    pub(super) async fn attend(
        &mut self,
        cloud: &Cloud,
        may_top_up: bool,
        stage: &Stage,
    ) -> Result<()> {
        if let Some(visitor) = self.at_panel.try_join_next() {
            let visitor = visitor.doing("wait for a visitor")??;
            let Seen { branch, paid, stopped, .. } = &visitor.seen;
            match stopped {
                Some(Stop { page, message, .. }) if paid.len() < PAGES => {
                    stage.say(&format!(
                        "{USER} copies {PAGES} pages at {branch} on {GIVEN} credits; its panel stops before page {page}: {message}"
                    ));
                    self.stopped = Some(visitor);
                }
                _ => {
                    let after = match stopped {
                        Some(_) => format!("went on after a top-up of {TOP_UP}"),
                        None => "were never stopped".to_owned(),
                    };
                    let pages = paid.len();
                    stage.say(&format!("{USER}'s copies at {branch} {after}: {pages} pages"));
                    self.seen = Some(visitor.seen);
                }
            }
        }
        if may_top_up && let Some(visitor) = self.stopped.take() {
            grant(cloud, TOP_UP).await?;
            self.at_panel.spawn(visitor.copy());
        }
        Ok(())
    }
}

impl Visitor {
    /// Logs in, begins, and copies.
    async fn arrive(self) -> Result<Self> {
        let (_, said) = self.ask(&[201], "/v1/sessions", &json!({ "user": USER })).await?;
        let session = &said["session"];
        let wish = json!({ "session": session, "kind": "print", "job": JOB, "pages": PAGES });
        while self.ask(&[201, 409], "/v1/jobs", &wish).await?.0 == 409 {
            tokio::time::sleep(PAUSE).await; // credits were asked for
        }
        self.copy().await
    }

    /// Copies page by page, until the job is stopped for the first time, or to its end.
    async fn copy(mut self) -> Result<Self> {
        while self.seen.paid.len() < PAGES {
            let page = self.seen.paid.len() + 1;
            let path = format!("/v1/jobs/{JOB}/pages");
            let (status, said) = self.ask(&[200, 409], &path, &json!({ "page": page })).await?;
            let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
            let (reason, message) = (text("reason"), text("message"));
            if status == 200 {
                self.seen.paid.push(Timestamp::now().as_second());
            } else if self.seen.stopped.is_some() || PASSING.contains(&&*reason) {
                tokio::time::sleep(PAUSE).await;
            } else {
                self.seen.stopped = Some(Stop { page, reason, message });
                return Ok(self);
            }
        }
        let (_, said) = self.ask(&[200], &format!("/v1/jobs/{JOB}/end"), &json!({})).await?;
        self.seen.recorded = said["recorded"].as_u64().unwrap_or_default();
        Ok(self)
    }

    async fn ask(&self, statuses: &[u16], path: &str, body: &Value) -> Result<(u16, Value)> {
        let (status, said) = self.panel.post(path, body).await;
        if statuses.contains(&status) {
            return Ok((status, said));
        }
        Err(DemoError::answer("the panel", "what was not expected", &said.to_string()))
    }
}

#[cfg(test)]
impl Seen {
    /// What is seen where everything goes as it should.
    pub(super) fn as_it_should(branch: &str) -> Self {
        let (reason, message) = ("zero".into(), "nothing is left".into());
        Self {
            branch: branch.into(),
            paid: vec![1_793_491_200; PAGES],
            stopped: Some(Stop { page: GIVEN + 1, reason, message }),
            recorded: PAGES as u64,
        }
    }
}

async fn grant(cloud: &Cloud, credits: usize) -> Result<()> {
    cloud.ask(&["grant", USER, &credits.to_string()], &[0]).await.map(drop)
}
