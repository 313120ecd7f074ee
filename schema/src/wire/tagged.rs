//! All streams of a session on one, where the transport has no more: TLS over TCP.
//!
//! Form: `tag ‖ frame`, one behind the other, the tag that of the frame's stream;
//! [`KEEP_ALIVE`] stands alone and says nothing. Invariant: as of a stream's
//! reader, by the limit of each frame's stream. Frames of a stream that this build
//! does not know are left out. When to write which is left to the rims.

use super::frame::{Unread, decode_frame, whole_frame};
use super::{Message, StreamKind};
use crate::DecodeError;
use crate::limits::FRAME_BYTES_MAX;

/// What is written by who has had nothing to write for a while.
pub const KEEP_ALIVE: u8 = 255;

/// Puts its stream's tag before a frame.
pub fn tag_frame(stream: StreamKind, mut frame: Vec<u8>) -> Vec<u8> {
    frame.insert(0, stream.tag());
    frame
}

/// Cuts a connection's bytes, however they arrive, into the messages of its streams.
#[derive(Debug, Default)]
pub struct TaggedReader {
    unread: Unread,
}

impl TaggedReader {
    /// Takes the next bytes of the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.push(bytes);
    }

    /// The next whole message and its stream, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// When a frame is over its stream's limit, empty or malformed; the connection is
    /// then useless.
    pub fn next_message(&mut self) -> Result<Option<(StreamKind, Message)>, DecodeError> {
        while let Some((&tag, rest)) = self.unread.rest().split_first() {
            if tag == KEEP_ALIVE {
                self.unread.drop_first(1);
                continue;
            }
            let stream = stream_of(tag);
            let limit = stream.map_or(FRAME_BYTES_MAX, StreamKind::frame_bytes_max);
            let Some(frame) = whole_frame(rest, limit)? else { return Ok(None) };
            let bytes = 1 + 4 + frame.len();
            let read = match stream {
                Some(stream) => Some((stream, decode_frame(frame)?)),
                None => None,
            };
            self.unread.drop_first(bytes);
            if read.is_some() {
                return Ok(read);
            }
        }
        Ok(None)
    }
}

fn stream_of(tag: u8) -> Option<StreamKind> {
    let control = StreamKind::Control;
    if tag == control.tag() { Some(control) } else { StreamKind::from_tag(tag) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONTROL_BYTES_MAX;
    use crate::wire::encode_frame;
    use proptest::prelude::*;

    #[test]
    fn messages_of_all_streams_are_found_however_the_bytes_are_cut() {
        let messages = [
            (StreamKind::Control, Message::Credit(7)),
            (StreamKind::Ledger, Message::Unknown(200)),
            (StreamKind::Telemetry, Message::DirectoryStored(vec![])),
            (StreamKind::Control, Message::Credit(8)),
        ];
        let mut bytes = vec![KEEP_ALIVE];
        for (stream, message) in &messages {
            bytes.extend(tag_frame(*stream, encode_frame(message)));
            bytes.push(KEEP_ALIVE);
            let mut unknown = encode_frame(message);
            unknown.insert(0, 77);
            bytes.extend(unknown);
        }
        for cut in 1..=bytes.len() {
            let mut reader = TaggedReader::default();
            let mut found = Vec::new();
            for chunk in bytes.chunks(cut) {
                reader.push(chunk);
                while let Some(message) = reader.next_message().expect("valid") {
                    found.push(message);
                }
            }
            assert_eq!(found, messages, "cut {cut}");
            assert!(reader.unread.rest().is_empty());
        }
    }

    #[test]
    fn each_stream_has_its_own_limit() {
        let first = |tag: u8, len: u32| {
            let mut reader = TaggedReader::default();
            reader.push(&[tag]);
            reader.push(&len.to_le_bytes());
            reader.next_message()
        };
        assert_eq!(first(0, CONTROL_BYTES_MAX), Ok(None));
        assert!(matches!(first(0, CONTROL_BYTES_MAX + 1), Err(DecodeError::Limit { .. })));
        for tag in [1, 2, 77] {
            assert_eq!(first(tag, FRAME_BYTES_MAX), Ok(None));
            assert!(matches!(first(tag, FRAME_BYTES_MAX + 1), Err(DecodeError::Limit { .. })));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = TaggedReader::default();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_message() {}
        }
    }
}
