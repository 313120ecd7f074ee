//! What the cloud was asked to do once, and did.
//!
//! Invariant: of several acts for one request the first counts, whatever the order they are folded in.
//! That none is done twice is left to who acts.

use super::state::Counts;
use crate::fold::Origin;
use minicbor::{Decode, Encode};
use tallyroll_schema::{DeviceId, Event, JobId, Position, RequestId};

/// What the cloud did for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Requested {
    /// Where it stands.
    #[n(0)]
    pub position: Position,
    /// In which job.
    #[n(1)]
    pub job: JobId,
    /// The event's kind.
    #[n(2)]
    pub kind: u16,
}

pub(super) fn request_of(event: &Event) -> Option<(DeviceId, JobId, RequestId)> {
    let (device, job, request) = match event {
        Event::PagesConverted(e) => (e.device, e.job, e.request),
        Event::DocumentSent(e) => (e.device, e.job, e.request),
        Event::DocumentSaved(e) => (e.device, e.job, e.request),
        Event::DocumentDiscarded(e) => (e.device, e.job, e.request),
        _ => return None,
    };
    Some((device?, job, request?))
}

impl Counts {
    /// Remembers what the cloud did for a request. A cloud that lost it may have done it again: the
    /// first counts.
    pub(super) fn fold_request(&mut self, origin: &Origin, event: &Event) {
        let (Some((device, job, request)), None) = (request_of(event), origin.device) else {
            return;
        };
        let requested = Requested { position: origin.position, job, kind: event.kind() };
        let known = self.requests.entry((device, request)).or_insert(requested);
        *known = requested.min(*known);
    }
}
