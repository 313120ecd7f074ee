//! The network: connections of ordered, reliable streams that are independent of each other.
//!
//! Invariant: within a stream frames arrive in order or not at all; a cut loses what is under way,
//! at any frame's boundary. What is sent are the production frames, encoded and read again.
//! When something arrives is drawn by the world; what it means is the session's.

use core::time::Duration;
use std::collections::BTreeMap;
use tallyroll_engine::sync::Session;
use tallyroll_schema::DecodeError;
use tallyroll_schema::wire::{FrameReader, Message, StreamKind};

/// One of a connection's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The device's.
    Device,
    /// The cloud's.
    Cloud,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Device => Self::Cloud,
            Self::Cloud => Self::Device,
        }
    }
}

/// A connection's name.
pub type ConnectionId = u64;

/// A connection between a device and the cloud.
#[derive(Debug)]
pub struct Connection {
    /// Which device's.
    pub device: usize,
    /// It is cut after so many further messages; of the device's bursts, when lingering.
    pub cut_after: Option<(u64, Cut)>,
    ends: [End; 2],
    sent: u64,
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everything under way is lost.
    Clean,
    /// What is under way to the cloud still arrives, while the device is back already.
    Lingering,
}

/// One end: its session while it lives, and what arrives at it.
#[derive(Debug, Default)]
pub struct End {
    /// Gone once this end knows that the connection is.
    pub session: Option<Session>,
    /// Whether frames to it still arrive.
    pub reachable: bool,
    /// Bytes of batches sent to it that it has given no credit for.
    pub uncredited: u64,
    /// The largest batch sent to it, bytes.
    pub largest_batch: u64,
    lanes: BTreeMap<StreamKind, Lane>,
    newest_arrived: u64,
}

#[derive(Debug)]
struct Lane {
    reader: FrameReader,
    last_arrival: Duration,
}

impl Connection {
    /// A connection whose ends have no sessions yet.
    pub fn new(device: usize) -> Self {
        let end = || End { reachable: true, ..End::default() };
        Self { device, cut_after: None, ends: [end(), end()], sent: 0 }
    }

    /// An end.
    pub fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// Whether nobody holds it any more.
    pub fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.session.is_none())
    }

    /// Numbers a frame and says when it arrives at `to`: in its stream's order.
    pub fn send(&mut self, to: Side, stream: StreamKind, arrival: Duration) -> (u64, Duration) {
        self.sent += 1;
        let number = self.sent;
        let lane = self.end(to).lane(stream);
        lane.last_arrival = lane.last_arrival.max(arrival);
        (number, lane.last_arrival)
    }
}

impl End {
    fn lane(&mut self, stream: StreamKind) -> &mut Lane {
        let new = || Lane { reader: FrameReader::new(stream), last_arrival: Duration::ZERO };
        self.lanes.entry(stream).or_insert_with(new)
    }

    /// A frame arrives; returns whether it overtook nothing, and its messages.
    ///
    /// # Errors
    /// When the frame does not decode.
    pub fn arrive(
        &mut self,
        stream: StreamKind,
        number: u64,
        frame: &[u8],
    ) -> Result<(bool, Vec<Message>), DecodeError> {
        let in_order = number > self.newest_arrived;
        self.newest_arrived = self.newest_arrived.max(number);
        let reader = &mut self.lane(stream).reader;
        reader.push(frame);
        let mut messages = Vec::new();
        while let Some(message) = reader.next_message()? {
            messages.push(message);
        }
        Ok((in_order, messages))
    }
}
