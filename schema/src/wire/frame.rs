//! Framing: `u32 length ‖ type ‖ payload`, the same on every stream.
//!
//! Invariant: [`FrameReader`] never holds more than one frame of its stream's
//! limit plus what the caller pushed last, and refuses an over-long frame from
//! its first four bytes.

use super::Message;
use crate::DecodeError;
use crate::limits::{CONTROL_BYTES_MAX, FRAME_BYTES_MAX};

/// Which stream of a session a frame travels on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamKind {
    /// The one bidirectional stream: small, first.
    Control,
    /// Batches of ledgers and of the cloud's decisions.
    Ledger,
    /// Batches of telemetry, after everything else.
    Telemetry,
}

impl StreamKind {
    /// All, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Ledger, Self::Telemetry];

    /// The first byte of a unidirectional stream says which it is.
    pub fn tag(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Ledger => 1,
            Self::Telemetry => 2,
        }
    }

    /// Reads a unidirectional stream's first byte.
    pub fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Ledger),
            2 => Some(Self::Telemetry),
            _ => None,
        }
    }

    pub(super) fn frame_bytes_max(self) -> u32 {
        match self {
            Self::Control => CONTROL_BYTES_MAX,
            Self::Ledger | Self::Telemetry => FRAME_BYTES_MAX,
        }
    }
}

/// The frame of a message, ready to be written.
pub fn encode_frame(message: &Message) -> Vec<u8> {
    let (tag, payload) = message.encode();
    let len = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.extend_from_slice(&len.to_le_bytes());
    frame.push(tag);
    frame.extend_from_slice(&payload);
    frame
}

/// Cuts a stream's bytes, however they arrive, into messages.
#[derive(Debug)]
pub struct FrameReader {
    stream: StreamKind,
    unread: Unread,
}

impl FrameReader {
    /// A reader at a stream's first frame.
    pub fn new(stream: StreamKind) -> Self {
        Self { stream, unread: Unread::default() }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.push(bytes);
    }

    /// The next whole message, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// When a frame is over the limit, empty or malformed; the stream is then useless.
    pub fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        let Some(frame) = whole_frame(self.unread.rest(), self.stream.frame_bytes_max())? else {
            return Ok(None);
        };
        let (message, bytes) = (decode_frame(frame)?, 4 + frame.len());
        self.unread.drop_first(bytes);
        Ok(Some(message))
    }
}

/// Bytes that arrived and are not read yet.
#[derive(Debug, Default)]
pub(super) struct Unread {
    buffer: Vec<u8>,
    start: usize,
}

impl Unread {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    pub(super) fn drop_first(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.buffer.len() {
            // An idle session gives its buffer back.
            (self.buffer, self.start) = (Vec::new(), 0);
        }
    }
}

/// The frame that the bytes begin with, without its length, once all of it is there.
pub(super) fn whole_frame(bytes: &[u8], limit: u32) -> Result<Option<&[u8]>, DecodeError> {
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*len);
    if len > limit {
        let (found, limit) = (u64::from(len), u64::from(limit));
        return Err(DecodeError::Limit { what: "frame", found, limit });
    }
    Ok(rest.get(..len as usize))
}

pub(super) fn decode_frame(frame: &[u8]) -> Result<Message, DecodeError> {
    let (tag, payload) = frame.split_first().ok_or(DecodeError::Malformed("empty frame"))?;
    Message::decode(*tag, payload.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let messages =
            [Message::Credit(7), Message::DirectoryStored(vec![]), Message::Unknown(200)];
        let bytes: Vec<u8> = messages.iter().flat_map(encode_frame).collect();
        for cut in 1..bytes.len() {
            let mut reader = FrameReader::new(StreamKind::Control);
            let mut found = Vec::new();
            for chunk in bytes.chunks(cut) {
                reader.push(chunk);
                while let Some(message) = reader.next_message().expect("valid") {
                    found.push(message);
                }
            }
            assert_eq!(found, messages, "cut {cut}");
        }
    }

    #[test]
    fn an_over_long_frame_is_refused_from_its_length() {
        let mut reader = FrameReader::new(StreamKind::Control);
        reader.push(&(CONTROL_BYTES_MAX + 1).to_le_bytes());
        assert!(matches!(reader.next_message(), Err(DecodeError::Limit { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, tag: u8) {
            let _ = Message::decode(tag % 10, bytes.clone());
            let mut reader = FrameReader::new(StreamKind::Ledger);
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_message() {}
        }
    }
}
