//! The file of sessions: who is logged in and of which kind their jobs are, over a restart.
//!
//! Invariant: no name is in it, only aliases, so that who is forgotten is forgotten here too; and no
//! count: how far a job is stands in the ledger. A file that cannot be read means that nobody is
//! logged in; a job that it does not name is left to its time, or begun again by its id. What was
//! answered stands: an older file than the last answer is never left, for it would log in again who is out.

use super::Panel;
use super::jobs::{Job, Kind};
use super::reply::Refusal;
use super::sessions::Session;
use crate::keeper::{DiskDevice, Gone};
use crate::secret_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tallyroll_engine::Error;
use tallyroll_schema::{JobId, UserAlias};
use tracing::warn;

const FILE: &str = "panel.sessions";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    session: String,
    alias: UserAlias,
    jobs: BTreeMap<JobId, Kind>,
}

impl Panel {
    /// Takes up the sessions and jobs of the run before, as far as the ledger still has them running.
    pub(super) async fn take_up(&self) {
        let file = self.dir.root().join(FILE);
        let kept = secret_file::read(&file).and_then(|bytes| {
            Ok(bytes.map_or(Ok(Vec::new()), |bytes| serde_json::from_slice::<Vec<Kept>>(&bytes))?)
        });
        let kept = kept.unwrap_or_else(|why| {
            warn!(file = %file.display(), %why, "sessions cannot be read; users log in again");
            Vec::new()
        });
        if kept.is_empty() {
            return;
        }
        let read = self.keeper.query(move |device| {
            let names = device.names().unwrap_or_default();
            let names = names.into_iter().map(|(name, alias)| (alias, name)).collect();
            standing(device, kept, &names)
        });
        let Ok(sessions) = read.await else { return }; // the agent is about to end
        let mut open = self.open();
        for (user, session, jobs) in sessions {
            for job in jobs {
                open.jobs.insert(job.id, Arc::new(job));
            }
            open.sessions.insert(user, session);
        }
    }

    /// Keeps who is logged in, before that is answered. Where there is no room the file goes, and they log in again
    /// after a restart.
    ///
    /// # Errors
    /// An older file stays, and somebody must mend that. The agent is about to end; as it is where nobody knows any
    /// more what the file will say after a power cut.
    pub(super) async fn save(&self) -> Result<(), Refusal> {
        let _alone = self.saving.lock().await;
        let names: Vec<String> = self.open().sessions.keys().cloned().collect();
        let aliases = self.keeper.query(move |device| {
            let alias = |name: String| Some((device.alias(&name).ok()??, name));
            names.into_iter().filter_map(alias).collect::<Vec<_>>()
        });
        let aliases = aliases.await?;
        let kept: Vec<Kept> = {
            let open = self.open();
            let kept = aliases.into_iter().filter_map(|(alias, name)| {
                let session = open.sessions.get(&name)?.id.clone();
                let jobs = open.jobs.values().filter(|job| job.user == name);
                Some(Kept { session, alias, jobs: jobs.map(|job| (job.id, job.kind)).collect() })
            });
            kept.collect()
        };
        let text = serde_json::to_vec(&kept).unwrap_or_default(); // plain data is always written
        let (root, written) = (self.dir.root(), secret_file::write(self.dir.root(), FILE, &text));
        let lost = match written {
            Err(why) if !secret_file::is_unsynced(&why) => {
                warn!(%why, "sessions are not kept; users log in again after a restart");
                secret_file::remove(root, FILE)
            }
            written => written,
        };
        lost.map_err(|source| {
            if secret_file::is_unsynced(&source) {
                self.keeper.end(Error::Storage { doing: "keeping the panel's sessions", source });
                return Gone.into();
            }
            let file = root.join(FILE);
            Refusal::busy(format!(
                "{} is neither written nor taken away ({source}); mend that: it would log in again who is out",
                file.display()
            ))
        })
    }
}

fn standing(
    device: &DiskDevice,
    kept: Vec<Kept>,
    names: &BTreeMap<UserAlias, String>,
) -> Vec<(String, Session, Vec<Job>)> {
    let running: BTreeMap<JobId, UserAlias> =
        device.counts().running(device.id()).map(|job| (job.job, job.user)).collect();
    let sessions = kept.into_iter().filter_map(|kept| {
        let user = names.get(&kept.alias)?;
        let runs = |job: &JobId| running.get(job) == Some(&kept.alias);
        let jobs = kept.jobs.into_iter().filter(|(job, _)| runs(job));
        let jobs =
            jobs.map(|(job, kind)| Job::new(job, kind, user.clone(), recorded(device, job, 0)));
        Some((user.clone(), Session::new(kept.session), jobs.collect()))
    });
    sessions.collect()
}

/// How many pages of a job are in the ledger, at least `known`.
pub(super) fn recorded(device: &DiskDevice, job: JobId, known: u32) -> u32 {
    let mut last = known;
    while let Some(next) = last.checked_add(1)
        && matches!(device.recorded_page(job, next), Ok(Some(_)))
    {
        last = next;
    }
    last
}
