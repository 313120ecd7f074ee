//! A record: a fixed little-endian header and a CBOR body, drawn in `FORMAT.md`.
//!
//! Invariant: a record's bytes are made once, by [`Record::encode`], and then
//! only copied. Reading checks lengths and limits, never the body: kinds this
//! build does not know pass through untouched.

use crate::clock::{ClockQuality, HybridTime, Timestamp, Wall};
use crate::limits::{EVENT_BODY_BYTES_MAX, RECORD_BODY_BYTES_MAX};
use crate::{DecodeError, Event};

/// What stands before a record's body, 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of body that follow.
    pub body_len: u32,
    /// The event kind (see [`crate::event`]).
    pub kind: u16,
    /// The kind's version.
    pub version: u8,
    /// When, by the writer's clock.
    pub time: Timestamp,
}

impl RecordHeader {
    /// Its size, bytes.
    pub const LEN: usize = 24;

    fn encode(&self) -> [u8; Self::LEN] {
        let lead = self.time.hybrid.wall.0.saturating_sub(self.time.wall.0).min((1 << 48) - 1);
        let hybrid = lead << 16 | u64::from(self.time.hybrid.counter);
        let mut bytes = [0; Self::LEN];
        let fields: [&[u8]; 6] = [
            &self.body_len.to_le_bytes(),
            &self.kind.to_le_bytes(),
            &[self.version],
            &[self.time.quality as u8],
            &self.time.wall.0.to_le_bytes(),
            &hybrid.to_le_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let [l0, l1, l2, l3, k0, k1, version, quality, rest @ ..] = *bytes;
        let [w0, w1, w2, w3, w4, w5, w6, w7, c0, c1, d0, d1, d2, d3, d4, d5] = rest;
        let wall = Wall(u64::from_le_bytes([w0, w1, w2, w3, w4, w5, w6, w7]));
        let lead = u64::from_le_bytes([d0, d1, d2, d3, d4, d5, 0, 0]);
        let hybrid = HybridTime {
            wall: wall.plus_milliseconds(lead),
            counter: u16::from_le_bytes([c0, c1]),
        };
        Self {
            body_len: u32::from_le_bytes([l0, l1, l2, l3]),
            kind: u16::from_le_bytes([k0, k1]),
            version,
            time: Timestamp { wall, hybrid, quality: ClockQuality::from_byte(quality) },
        }
    }
}

/// One record, borrowed from the batch or journal it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The header, read.
    pub header: RecordHeader,
    /// The body, as written.
    pub body: &'a [u8],
    /// Header and body, as written.
    pub bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The bytes of a new record.
    ///
    /// # Errors
    /// [`DecodeError::Limit`] when the body is over [`EVENT_BODY_BYTES_MAX`].
    pub fn encode(event: &Event, time: Timestamp) -> Result<Vec<u8>, DecodeError> {
        let body = event.encode_body();
        let limit = match event {
            Event::EventResubmitted(_) => RECORD_BODY_BYTES_MAX,
            _ => EVENT_BODY_BYTES_MAX,
        };
        let body_len = body_len(body.len(), limit)?;
        let (kind, version) = (event.kind(), event.version());
        let mut bytes = RecordHeader { body_len, kind, version, time }.encode().to_vec();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Splits the first record off `bytes` and returns it with the rest.
    ///
    /// # Errors
    /// When the bytes end too early or the stated length is over the limit.
    pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (head, _) = bytes.split_first_chunk().ok_or(DecodeError::Truncated("record header"))?;
        let header = RecordHeader::decode(head);
        let body_len = body_len(header.body_len as usize, RECORD_BODY_BYTES_MAX)?;
        let len = RecordHeader::LEN + body_len as usize;
        let (own, rest) =
            bytes.split_at_checked(len).ok_or(DecodeError::Truncated("record body"))?;
        let body = own.get(RecordHeader::LEN..).unwrap_or_default();
        Ok((Self { header, body, bytes: own }, rest))
    }

    /// The event in the body. Unknown kinds come back as [`Event::Unknown`].
    ///
    /// # Errors
    /// When the kind is known and the body does not fit it.
    pub fn event(&self) -> Result<Event, DecodeError> {
        Event::decode(self.header.kind, self.header.version, self.body)
    }
}

fn body_len(len: usize, limit: u32) -> Result<u32, DecodeError> {
    match u32::try_from(len) {
        Ok(len) if len <= limit => Ok(len),
        _ => Err(DecodeError::Limit {
            what: "record body",
            found: len as u64,
            limit: u64::from(limit),
        }),
    }
}

/// The records laid end to end in a batch or a journal entry. Stops after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let split = Record::split(self.rest);
        self.rest = split.as_ref().map(|(_, rest)| *rest).unwrap_or_default();
        Some(split.map(|(record, _)| record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::log::EventResubmitted;
    use crate::event::{Bytes, UnknownEvent};
    use crate::{EpochId, LogId, Position};
    use ClockQuality::{Suspect, Synchronized, Unknown};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn header_reads_back(
            body_len: u32, kind: u16, version: u8, wall in 0u64..1 << 48,
            lead in 0u64..1 << 47, counter: u16, quality in 0usize..3,
        ) {
            let time = Timestamp {
                wall: Wall(wall),
                hybrid: HybridTime { wall: Wall(wall + lead), counter },
                quality: [Unknown, Synchronized, Suspect][quality],
            };
            let header = RecordHeader { body_len, kind, version, time };
            prop_assert_eq!(RecordHeader::decode(&header.encode()), header);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for record in Records::new(&bytes).flatten() {
                let _ = record.event();
            }
        }
    }

    #[test]
    fn a_lead_that_has_no_room_is_cut_and_leaves_the_counter_alone() {
        let hybrid = HybridTime { wall: Wall(u64::MAX), counter: 7 };
        let time = Timestamp { wall: Wall(5), hybrid, quality: Suspect };
        let header = RecordHeader { body_len: 0, kind: 1, version: 1, time };
        let read = RecordHeader::decode(&header.encode()).time.hybrid;
        assert_eq!(read, HybridTime { wall: Wall(5 + (1 << 48) - 1), counter: 7 });
    }

    #[test]
    fn the_largest_event_can_be_recorded_again() {
        let of = |len: u32| {
            let body = Bytes(vec![0; len as usize]);
            let event = Event::Unknown(UnknownEvent { code: 0x7fff, version: 1, body });
            Record::encode(&event, Timestamp::default())
        };
        assert!(matches!(of(EVENT_BODY_BYTES_MAX + 1), Err(DecodeError::Limit { .. })));
        let record = Bytes(of(EVENT_BODY_BYTES_MAX).expect("fits"));
        let epoch = EpochId { counter: u32::MAX, nonce: [1; 16] };
        let resubmitted_from = Position { log: LogId([2; 32]), epoch, seq: u64::MAX };
        let again = EventResubmitted { resubmitted_from, record }.into();
        let bytes = Record::encode(&again, Timestamp::default()).expect("fits too");
        assert_eq!(Record::split(&bytes).expect("reads").0.event(), Ok(again));
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_read() {
        let mut bytes = [0; RecordHeader::LEN];
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Record::split(&bytes), Err(DecodeError::Limit { .. })));
    }
}
