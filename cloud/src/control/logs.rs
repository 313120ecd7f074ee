//! Answers about events: which logs there are, what is in them, whether they verify.
//!
//! Invariant: events are read in pages, so that a long log neither fills memory
//! nor keeps the keeper from committing. Verifying recomputes from stored bytes;
//! what does not hold is an answer, not a failure.

use super::Failure;
use super::desk::{Desk, Items};
use super::fleet::find;
use crate::keeper::Replica;
use core::ops::ControlFlow;
use serde::Serialize;
use serde_json::{Value, json};
use tallyroll_engine::hub::{LogSummary, Verified};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{DeviceId, Event, LogId, Position, Receipt, Record, Wall};

/// Events read at once.
const PAGE_EVENTS: u64 = 512;
/// Bytes of records read at once.
const PAGE_BYTES: usize = 512 * 1024;

/// A log's epoch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LogRow {
    #[serde(flatten)]
    summary: LogSummary,
    device_name: Option<String>,
}

/// One event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct EventLine {
    position: Position,
    device: Option<DeviceId>,
    class: LogClass,
    wall: Wall,
    event: Value,
}

/// What verifying an epoch found, and whose it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct VerifiedLine {
    #[serde(flatten)]
    found: Verified,
    class: LogClass,
    device: Option<DeviceId>,
    device_name: Option<String>,
}

impl Desk {
    pub(super) async fn logs(&self) -> Result<Vec<LogRow>, Failure> {
        Ok(self.keeper.run(|replica| select(replica, None)).await?)
    }

    pub(super) async fn show(
        &self,
        log: Option<String>,
        from: u64,
        limit: Option<u64>,
        items: &Items,
    ) -> Result<(), Failure> {
        let logs = self.keeper.run(move |replica| select(replica, log.as_deref())).await?;
        let mut left = limit.unwrap_or(u64::MAX);
        for LogRow { summary, .. } in logs {
            let mut next = from;
            while left > 0 && next < summary.events {
                let (of, events_max) = (summary.clone(), left.min(PAGE_EVENTS));
                let read = move |replica: &mut Replica| page(replica, &of, next, events_max);
                let lines = self.keeper.run(read).await?;
                if lines.is_empty() {
                    break;
                }
                next += lines.len() as u64;
                left -= lines.len() as u64;
                for line in lines {
                    items.give(&line).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn verify(
        &self,
        log: Option<String>,
        receipts: Vec<Receipt>,
        items: &Items,
    ) -> Result<(), Failure> {
        let logs = self.keeper.run(move |replica| select(replica, log.as_deref())).await?;
        let given = receipts.len();
        let mut unproven = receipts;
        for LogRow { summary, device_name } in logs {
            let (log, epoch) = (summary.log, summary.epoch);
            let here = |one: &mut Receipt| {
                (one.head.position.log, one.head.position.epoch) == (log, epoch)
            };
            let theirs: Vec<_> = unproven.extract_if(.., here).collect();
            let verified = self.keeper.run(move |replica| {
                let (first, more) = (theirs.first(), theirs.iter().skip(1));
                let mut found = replica.hub.verify_log(log, epoch, first)?;
                for receipt in more {
                    if found.wrong.is_none() {
                        found = replica.hub.verify_log(log, epoch, Some(receipt))?;
                    }
                }
                Ok(found)
            });
            let found = verified.await?;
            let LogSummary { class, device, .. } = summary;
            items.give(&VerifiedLine { found, class, device, device_name }).await?;
        }
        let some_proven = unproven.len() < given;
        for receipt in unproven {
            let why = self.keeper.run(move |replica| foreign(replica, &receipt, some_proven));
            if let Some(line) = why.await? {
                items.give(&line).await?;
            }
        }
        Ok(())
    }
}

/// What is wrong with a receipt for a log that is not among those asked for. Nothing, if it is held and was only given
/// along with that of a log that was asked for.
fn foreign(replica: &Replica, receipt: &Receipt, along: bool) -> Result<Option<Value>> {
    let hub = &replica.hub;
    let Position { log, epoch, seq } = receipt.head.position;
    let held_here = hub.logs()?.iter().any(|one| (one.log, one.epoch) == (log, epoch));
    let (held, why) = if !hub.has_signed(receipt) {
        (0, "the receipt is none of this cloud's: another one signed it, or it was changed")
    } else if !held_here {
        let lost = "this cloud gave the receipt and holds no such log: it lost it, or was put back from before it had it";
        (seq.saturating_add(1), lost)
    } else if along {
        return Ok(None);
    } else {
        (
            0,
            "the receipt is of this log, which is not the one that was asked for; leave LOG out, or name this one",
        )
    };
    let wrong = (receipt.head.position, why);
    Ok(Some(json!({
        "log": log, "epoch": epoch, "held": held, "events": 0, "signed": 0, "batches": 0, "wrong": wrong,
    })))
}

/// The epochs of the log that is meant: by id, a unique prefix of it, or the
/// name of the device whose ledger it is.
fn select(replica: &Replica, log: Option<&str>) -> Result<Vec<LogRow>> {
    let mut logs = replica.hub.logs()?;
    if let Some(log) = log {
        let meant = find_log(replica, &logs, log)?;
        logs.retain(|summary| summary.log == meant);
    }
    let name = |device: DeviceId| replica.hub.fleet().device(device).map(|d| d.name.clone());
    let row = |summary: LogSummary| {
        let device_name = summary.device.and_then(name);
        LogRow { summary, device_name }
    };
    Ok(logs.into_iter().map(row).collect())
}

fn find_log(replica: &Replica, logs: &[LogSummary], text: &str) -> Result<LogId> {
    let is_ledger =
        |log: &&LogSummary, device| log.class == LogClass::Ledger && log.device == Some(device);
    if let Ok((device, name)) = find(replica, text) {
        let ledger = logs.iter().find(|log| is_ledger(log, device));
        return ledger
            .map(|log| log.log)
            .ok_or_else(|| Error::Rejected(format!("{name} has not sent its ledger yet")));
    }
    let mut found: Vec<LogId> = logs.iter().map(|log| log.log).collect();
    found.retain(|log| log.to_string().starts_with(text));
    found.dedup();
    match found[..] {
        [log] => Ok(log),
        [] => Err(Error::Rejected(format!("no log {text}; `tallyroll log list` shows them"))),
        _ => {
            Err(Error::Rejected(format!("{text} begins {} log ids; write more of it", found.len())))
        }
    }
}

fn page(replica: &Replica, of: &LogSummary, from: u64, events_max: u64) -> Result<Vec<EventLine>> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    replica.hub.read_log(of.log, of.epoch, from, &mut |position, record| {
        bytes += record.bytes.len();
        lines.push(EventLine {
            position,
            device: of.device,
            class: of.class,
            wall: record.header.time.wall,
            event: event_json(record),
        });
        let full = lines.len() as u64 >= events_max || bytes >= PAGE_BYTES;
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(lines)
}

/// An event; one that is recorded again, with what it stands for read out beside its bytes.
pub(super) fn event_json(record: &Record<'_>) -> Value {
    let event = record.event().map_err(|why| why.to_string());
    let again = match &event {
        Ok(Event::EventResubmitted(again)) => Record::split(&again.record.0).ok(),
        _ => None,
    };
    let again = again.map(
        |(record, _)| json!({ "wall": record.header.time.wall, "event": record.event().ok() }),
    );
    let event = event.and_then(|event| serde_json::to_value(event).map_err(|why| why.to_string()));
    let event = event.map(|mut event| {
        if let (Some(event), Some(again)) = (event.as_object_mut(), again) {
            event.insert("recorded".into(), again);
        }
        event
    });
    event.unwrap_or_else(
        |why| json!({ "kind": "unreadable", "code": record.header.kind, "why": why }),
    )
}
