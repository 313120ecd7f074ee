//! ACT and ACTED: a processing server asks whether it may act in a device's job, and is told.
//!
//! Invariant: an act travels as the line of JSON that `tallyroll record` takes, so that it has one form; it
//! always has a request id, by which its answer finds it and by which it is done once. Who may ask is the
//! engine's; an act that cannot be read is refused by an answer, not by the end of the session.

use crate::event::counts::Charge;
use crate::ids::{Position, RequestId};
use crate::limits::{ACT_ANSWER_BYTES_MAX, ACT_BYTES_MAX};
use crate::{DecodeError, ServerAct, read_json_line};
use minicbor::{Decode, Encode};

/// What a processing server is about to do, if it may.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ActRequest {
    /// Of two with the same id only the first is done.
    #[n(0)]
    pub request: RequestId,
    /// A [`ServerAct`] as JSON.
    #[n(1)]
    pub act: String,
    /// What it costs by the rate card that is held there; absent if it has no price.
    #[n(2)]
    pub charge: Option<Charge>,
}

impl ActRequest {
    /// An act with its request.
    ///
    /// # Errors
    /// It is longer than a message may be.
    pub fn new(
        request: RequestId,
        act: &ServerAct,
        charge: Option<Charge>,
    ) -> Result<Self, DecodeError> {
        let act = ServerAct { request: Some(request), ..act.clone() };
        let act = serde_json::to_string(&act).unwrap_or_default(); // which cannot be read
        super::within("act", act.len(), ACT_BYTES_MAX)?;
        Ok(Self { request, act, charge })
    }

    /// The act.
    ///
    /// # Errors
    /// It is none, in words for who sent it.
    pub fn read(&self) -> Result<ServerAct, String> {
        let act: ServerAct = read_json_line(self.act.as_bytes())?;
        match act.request == Some(self.request) {
            true => Ok(act),
            false => Err("the act names another request than its message".into()),
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ActAnswer {
    /// Of which request.
    #[n(0)]
    pub request: RequestId,
    /// What.
    #[n(1)]
    pub outcome: ActOutcome,
}

impl ActAnswer {
    /// An answer whose text has the length that it may have.
    pub fn new(request: RequestId, mut outcome: ActOutcome) -> Self {
        if let ActOutcome::Refused(text) | ActOutcome::Later(text) = &mut outcome {
            text.truncate(text.floor_char_boundary(ACT_ANSWER_BYTES_MAX));
        }
        Self { request, outcome }
    }
}

/// Whether an act may be done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ActOutcome {
    /// It may: what it costs is reserved by the event there.
    #[n(0)]
    At(#[n(0)] Position),
    /// It may not, and nothing of it is recorded; why, and what to do.
    #[n(1)]
    Refused(#[n(0)] String),
    /// Not now, and nothing of it is recorded; the same may be asked again.
    #[n(2)]
    Later(#[n(0)] String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"device":"branch-1","request":"00000000000000b1","kind":"document.discarded","job":"00000000000000a1"}"#;
    const REQUEST: RequestId = RequestId(*b"\0\0\0\0\0\0\0\xb1");

    #[test]
    fn an_act_is_read_as_it_was_asked_for_and_by_its_own_request() {
        let act: ServerAct = serde_json::from_str(LINE).unwrap();
        let asked = ActRequest::new(REQUEST, &act, None).unwrap();
        assert_eq!(asked.act, LINE);
        assert_eq!(asked.read(), Ok(act.clone()));
        let other = ActRequest { request: RequestId([1; 8]), ..asked.clone() };
        assert!(other.read().is_err_and(|why| why.contains("another request")));
        let none = ActRequest { act: "{}".into(), ..asked };
        assert!(none.read().is_err_and(|why| why.contains("`device`")));
        let long = ServerAct { device: "d".repeat(ACT_BYTES_MAX), ..act };
        ActRequest::new(REQUEST, &long, None).expect_err("is too long");
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        let answer = ActAnswer::new(REQUEST, ActOutcome::Later("\u{e4}".repeat(9_999)));
        let ActOutcome::Later(text) = answer.outcome else { panic!("it is later") };
        assert_eq!(text, "\u{e4}".repeat(ACT_ANSWER_BYTES_MAX / 2));
    }
}
