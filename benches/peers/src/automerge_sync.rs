//! A backlog by automerge: a document with a list of records, synced to an empty one, in memory.
//!
//! Invariant: nothing is durable and nothing is sent; the bytes are those of its sync messages. The document was
//! made before, as ours was sealed before.

use crate::{Outcome, Plan};
use automerge::sync::{State, SyncDoc};
use automerge::transaction::Transactable;
use automerge::{AutoCommit, ObjType, ROOT};
use std::time::Instant;

/// Events of one change: about as many as one of our batches has.
const CHANGE_EVENTS: usize = 1_000;
/// More than a million it is not asked for: it keeps all of them in memory, twice.
const EVENTS_MAX: usize = 1_000_000;

pub(super) fn run(plan: &Plan) -> Outcome {
    let records = &plan.records[..plan.records.len().min(EVENTS_MAX)];
    let mut from = AutoCommit::new();
    let list = from.put_object(ROOT, "events", ObjType::List)?;
    for (at, group) in (0..).step_by(CHANGE_EVENTS).zip(records.chunks(CHANGE_EVENTS)) {
        for (index, record) in (at..).zip(group) {
            from.insert(&list, index, record.clone())?;
        }
        from.commit();
    }
    let (mut rates, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let mut to = AutoCommit::new();
        let (mut ours, mut theirs) = (State::new(), State::new());
        let (mut bytes, mut quiet) = (0, false);
        let began = Instant::now();
        while !quiet {
            quiet = true;
            if let Some(message) = from.sync().generate_sync_message(&mut ours) {
                let encoded = message.encode();
                (bytes, quiet) = (bytes + encoded.len(), false);
                let message = automerge::sync::Message::decode(&encoded)?;
                to.sync().receive_sync_message(&mut theirs, message)?;
            }
            if let Some(message) = to.sync().generate_sync_message(&mut theirs) {
                let encoded = message.encode();
                (bytes, quiet) = (bytes + encoded.len(), false);
                let message = automerge::sync::Message::decode(&encoded)?;
                from.sync().receive_sync_message(&mut ours, message)?;
            }
        }
        rates.push(records.len() as f64 / began.elapsed().as_secs_f64());
        sizes.push(bytes as f64 / records.len() as f64);
        if to.get_heads() != from.get_heads() {
            return Err("the two documents differ after the sync".into());
        }
    }
    plan.tell("backlog", "automerge", "events/s", "nothing: in memory, no network", rates)?;
    plan.tell("wire", "automerge", "bytes/event", "its messages alone", sizes)
}
