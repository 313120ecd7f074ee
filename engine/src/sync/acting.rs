//! Acts of a processing server in a session: asked for at one end, answered at the other.
//!
//! Invariant: at the cloud so many are under way as the limit says and no request twice; what is beyond is
//! answered "later", which means not done. Each is answered once, in any order, or the session ends.
//! Whether the device may ask at all, and what the act comes to, is `hub`'s.

use super::{Effect, Role, Session};
use std::collections::BTreeSet;
use tallyroll_schema::RequestId;
use tallyroll_schema::limits::links::ACTS_UNDER_WAY_MAX;
use tallyroll_schema::wire::{ActAnswer, ActOutcome, ActRequest, Message};

#[derive(Debug, Default)]
pub(super) struct Acting {
    under_way: BTreeSet<RequestId>,
}

impl Session {
    /// As a device that is a processing server: asks whether it may act. The answer is
    /// [`Effect::Acted`], if the session lives to bring it.
    pub fn ask_to_act(&mut self, asked: ActRequest) {
        self.send(Message::Act(asked));
    }

    pub(super) fn handle_act(&mut self, asked: ActRequest) {
        let under_way = &mut self.acting.under_way;
        let at_most = under_way.len() < ACTS_UNDER_WAY_MAX || self.config.role == Role::Device;
        if at_most && under_way.insert(asked.request) {
            return self.for_role(Role::Cloud, Effect::Act(asked));
        }
        let why = match at_most {
            true => "this request is under way; wait for its answer",
            false => "too many acts are under way; wait for their answers",
        };
        let outcome = ActOutcome::Later(why.into());
        self.send(Message::Acted(ActAnswer { request: asked.request, outcome }));
    }

    pub(super) fn acted(&mut self, ActAnswer { request, outcome }: ActAnswer) {
        self.acting.under_way.remove(&request);
        self.send(Message::Acted(ActAnswer::new(request, outcome)));
    }
}
