//! Answers about the quarantine: what is in it, and what an administrator decides.
//!
//! Invariant: what was decided is durable before it is answered. That something still cannot
//! be taken in is an answer, not a failure: it stays where it was.

use super::Failure;
use super::desk::{Desk, Items};
use super::logs::event_json;
use crate::keeper::{Replica, Unanswered};
use serde::Serialize;
use serde_json::json;
use tallyroll_engine::hub::{Discarded, Quarantined};
use tallyroll_engine::log::open;
use tallyroll_engine::merge::Burst;
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{DeviceId, Position, QuarantineId, Records};

/// An entry, and whose it is for people.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct QuarantineLine {
    device_name: Option<String>,
    #[serde(flatten)]
    open: Quarantined,
}

/// What was discarded of a revoked device, and whose it is for people.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct DiscardedLine {
    device_name: Option<String>,
    #[serde(flatten)]
    discarded: Discarded,
}

/// What is in quarantine, and what was discarded and is not asked for again.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Row {
    Open(QuarantineLine),
    Discarded(DiscardedLine),
}

/// What came of a decision.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Decided {
    #[serde(flatten)]
    line: QuarantineLine,
    /// Where the decision stands; absent when nothing was changed.
    position: Option<Position>,
    /// What is still wrong with it.
    still: Option<String>,
}

impl Desk {
    pub(super) async fn quarantine(&self) -> Result<Vec<Row>, Failure> {
        let rows = self.keeper.run(|replica| {
            let (open, gone) = (lines(replica)?, discarded(replica)?);
            Ok(open.into_iter().map(Row::Open).chain(gone.into_iter().map(Row::Discarded)))
        });
        Ok(rows.await?.collect())
    }

    pub(super) async fn quarantine_show(&self, id: String, items: &Items) -> Result<(), Failure> {
        let (line, bursts) = self
            .keeper
            .run(move |replica| {
                let line = find(replica, &id)?;
                let bursts = replica.hub.quarantined_bursts(&line.open)?;
                Ok((line, bursts))
            })
            .await?;
        items.give(&line).await?;
        for Burst { batches, .. } in bursts {
            for batch in batches {
                let header = *batch.header();
                let (log, epoch, first_seq) = (header.log, header.epoch, header.first_seq);
                let claimed = Position { log, epoch, seq: first_seq };
                let opened = match open(batch) {
                    Ok(opened) => opened,
                    Err(why) => {
                        let why = why.to_string();
                        items.give(&json!({ "position": claimed, "unreadable": why })).await?;
                        continue;
                    }
                };
                for (seq, record) in (first_seq..).zip(Records::new(&opened.records).flatten()) {
                    let position = Position { seq, ..claimed };
                    let (wall, event) = (record.header.time.wall, event_json(&record));
                    let line = json!({ "position": position, "wall": wall, "event": event });
                    items.give(&line).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn release(&self, id: String, reason: String) -> Result<Decided, Failure> {
        let line = self.keeper.run(move |replica| find(replica, &id)).await?;
        let id = line.open.entry.id;
        let released =
            self.keeper.run(move |replica| replica.hub.release(replica.now(), id, reason)).await;
        Ok(match released {
            Ok(position) => Decided { line, position: Some(position), still: None },
            Err(Unanswered::Engine(Error::Refused(still))) => {
                Decided { line, position: None, still: Some(still.to_string()) }
            }
            Err(why) => return Err(why.into()),
        })
    }

    pub(super) async fn discard(&self, id: String, reason: String) -> Result<Decided, Failure> {
        let discarded = self.keeper.run(move |replica| {
            let line = find(replica, &id)?;
            let position = replica.hub.discard(replica.now(), line.open.entry.id, reason)?;
            Ok(Decided { line, position: Some(position), still: None })
        });
        Ok(discarded.await?)
    }
}

pub(super) fn lines(replica: &Replica) -> Result<Vec<QuarantineLine>> {
    let line = |open: Quarantined| QuarantineLine { device_name: name(replica, open.device), open };
    Ok(replica.hub.quarantine()?.into_iter().map(line).collect())
}

pub(super) fn discarded(replica: &Replica) -> Result<Vec<DiscardedLine>> {
    let line = |discarded: Discarded| DiscardedLine {
        device_name: name(replica, discarded.device),
        discarded,
    };
    Ok(replica.hub.discarded()?.into_iter().map(line).collect())
}

fn name(replica: &Replica, device: DeviceId) -> Option<String> {
    replica.hub.fleet().device(device).map(|record| record.name.clone())
}

/// The entry of this id, or whose id alone begins so.
fn find(replica: &Replica, text: &str) -> Result<QuarantineLine> {
    let begins = |id: &QuarantineId| !text.is_empty() && id.to_string().starts_with(text);
    let mut found = lines(replica)?;
    found.retain(|line| begins(&line.open.entry.id));
    match found.len() {
        0 => {
            let why =
                format!("nothing is in quarantine as `{text}`; `tallyroll quarantine` lists it");
            Err(Error::Rejected(why))
        }
        1 => Ok(found.remove(0)),
        many => Err(Error::Rejected(format!("{text} begins {many} ids; write more of it"))),
    }
}
