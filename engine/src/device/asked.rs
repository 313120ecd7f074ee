//! What a processing server asked its account server, and has no answer to.
//!
//! Invariant: a request is noted, durably, before it may be sent, and is noted until its answer is here: what
//! is noted may have been done. Only ids and kinds are kept: who wants to know sends the act again.

use super::{Device, Now};
use crate::counts::{Terms, charge, decide};
use crate::log::journal::JournalFile;
use crate::store::rows::AskedRow;
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use serde::Serialize;
use tallyroll_schema::limits::{ACTS_UNKNOWN_MAX, NAME_BYTES_MAX};
use tallyroll_schema::wire::ActRequest;
use tallyroll_schema::{JobId, RequestId, ServerAct, UserAlias, Wall};

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked {
    /// Its id.
    pub request: RequestId,
    /// The device in whose job.
    pub device: String,
    /// The job.
    pub job: JobId,
    /// The `kind` of the act.
    pub kind: String,
    /// When it was asked first, by this machine's clock.
    pub asked_at: Wall,
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Prices an act by the card that is held here and notes its request: it may be sent then. Also says
    /// whether the request was noted before, so that it may have been done.
    ///
    /// # Errors
    /// The act counts nothing or too much, or is none of a server's; too many requests have no answer;
    /// [`Error::Full`]; storage failed.
    pub fn ask(&mut self, now: Now, act: &ServerAct) -> Result<(ActRequest, bool)> {
        self.refuse_if_closed()?;
        let rejected = |why: &str| Error::Rejected(why.into());
        let request = act.request.ok_or_else(|| rejected("an act without a request id"))?;
        let job = act.act.job().ok_or_else(|| rejected("an act without a job"))?;
        if act.device.is_empty() || act.device.len() > NAME_BYTES_MAX {
            return Err(rejected("say the name of the job's device"));
        }
        // Whose it is, and how its job stands, the account server knows; neither is in the price.
        let terms = Terms { card: self.card(), ..Terms::default() };
        let event = decide(&terms, act.act.clone(), job, Some(UserAlias([0; UserAlias::LEN])))?;
        let charge = charge(&event).map(|(_, charge)| charge.clone());
        let asked = ActRequest::new(request, act, charge)?;
        let mut rows = Rows::new(self.config.tenant, &self.store);
        if let Some(row) = rows.get::<AskedRow>(&request)? {
            return match (&row.device, row.job, &*row.kind) == (&act.device, job, event.name()) {
                true => Ok((asked, true)),
                false => Err(rejected(
                    "this request id was another act's, of which it is not known whether it was done; take a new \
                     one for each act",
                )),
            };
        }
        if !self.has_room() {
            return Err(self.refused());
        }
        let unknown = self.asked()?.len();
        if unknown >= ACTS_UNKNOWN_MAX {
            return Err(Error::NotYet(format!(
                "of {unknown} requests it is not known whether they were done; send those again first, \
                 `tallyroll-edge status` lists them"
            )));
        }
        let (device, kind) = (act.device.clone(), event.name().to_owned());
        rows.put(&request, &AskedRow { device, job, kind, asked_at: now.wall });
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        Ok((asked, false))
    }

    /// Whether a request is noted: it may have been done.
    ///
    /// # Errors
    /// Storage failed.
    pub fn is_asked(&self, request: RequestId) -> Result<bool> {
        Ok(self.rows().get::<AskedRow>(&request)?.is_some())
    }

    /// Notes that a request was answered, or never sent.
    ///
    /// # Errors
    /// Storage failed; without room it stays noted, and may be asked again.
    pub fn answered(&mut self, request: RequestId) -> Result<()> {
        self.refuse_if_closed()?;
        let mut rows = Rows::new(self.config.tenant, &self.store);
        rows.delete::<AskedRow>(&request);
        let changes = rows.into_changes();
        self.commit_changes(changes)
    }

    /// The requests without an answer, by id.
    ///
    /// # Errors
    /// Storage failed.
    pub fn asked(&self) -> Result<Vec<Asked>> {
        let mut asked = Vec::new();
        self.rows().scan::<AskedRow>(&[], &[], &mut |key, row| {
            let request = key.try_into().map_err(|why| Error::corrupt("request", why))?;
            let AskedRow { device, job, kind, asked_at } = row;
            asked.push(Asked { request: RequestId(request), device, job, kind, asked_at });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(asked)
    }
}
