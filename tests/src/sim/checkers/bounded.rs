//! Guarantee 6, bounded: windows, frames, journals and queues keep their limits.
//!
//! Invariant: batches under way to an end or buffered there never exceed its window by more than
//! one batch, or by one burst of a log that is given back to its writer: only that one's own heads
//! close it, so it cannot be cut. A journal never grows; no honest end is closed for breaking the
//! protocol.

use crate::sim::network::{ConnectionId, Side};
use crate::sim::world::{Step, World};
use tallyroll_engine::log::journal::JOURNAL_BYTES;
use tallyroll_schema::limits::{BURST_BYTES_MAX, CONTROL_BYTES_MAX};
use tallyroll_schema::wire::{ErrorCode, ErrorMessage, Message};

/// An end sends a message.
pub(crate) fn sent(world: &mut World, id: ConnectionId, side: Side, message: &Message) -> Step {
    let window = u64::from(world.plan.window);
    let given_back = is_given_back(world, id, side, message);
    let Some(connection) = world.connections.get_mut(&id) else { return Ok(()) };
    match message {
        Message::Batch(batch) => {
            let end = connection.end(side.other());
            let bytes = batch.bytes().len() as u64;
            end.uncredited += bytes;
            end.largest_batch = end.largest_batch.max(bytes);
            let beyond = if given_back { u64::from(BURST_BYTES_MAX) } else { end.largest_batch };
            if end.uncredited > window + beyond {
                let (sum, index) = (end.uncredited, connection.device);
                let what = format!("{sum} bytes under way from device {index}, window {window}");
                return Err(world.violation("bounded", what));
            }
            debug_assert!(bytes <= u64::from(BURST_BYTES_MAX), "a batch's own limit is less");
        }
        Message::Credit(bytes) => {
            let end = connection.end(side);
            end.uncredited = end.uncredited.saturating_sub(u64::from(*bytes));
        }
        control => {
            let bytes = control.encode().1.len();
            if bytes > CONTROL_BYTES_MAX as usize {
                return Err(
                    world.violation("bounded", format!("a control message of {bytes} bytes"))
                );
            }
        }
    }
    let journals = world.devices.iter().map(|machine| machine.disk.journal_bytes());
    match journals.max() {
        Some(bytes) if bytes > JOURNAL_BYTES as u64 => {
            Err(world.violation("bounded", format!("a journal of {bytes} bytes")))
        }
        _ => Ok(()),
    }
}

/// Whether a batch goes back to who wrote it.
fn is_given_back(world: &World, id: ConnectionId, side: Side, message: &Message) -> bool {
    let (Message::Batch(batch), Some(connection)) = (message, world.connections.get(&id)) else {
        return false;
    };
    // Also while its process is down: what is under way to it was sent before anybody knew.
    let own = world.devices[connection.device].own_logs.contains(&batch.header().log);
    own == (side == Side::Cloud)
}

/// An end closes its connection and says why.
pub(crate) fn closed(world: &World, error: &ErrorMessage) -> Step {
    let late = error.text.starts_with("no HELLO");
    if error.code == ErrorCode::Protocol && !late {
        return Err(world.violation("bounded", format!("closed by an honest peer: {}", error.text)));
    }
    Ok(())
}
