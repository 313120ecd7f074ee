//! The last answers of the account server, for when it gives none: what is known here is told.
//!
//! Invariant: an answer is given only for the act that it was given to, all of it; of the act itself, and whose name
//! is in it, only a hash is kept. They are lost with the agent: that none is here says nothing of what was done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_schema::wire::ActOutcome;
use tallyroll_schema::{Hash, RequestId, ServerAct};

/// So many are kept, a hundred bytes each, and the words of a refusal.
const KEPT_MAX: usize = 1024;

/// A request, its act, and the answer.
type Kept = (RequestId, Hash, ActOutcome);

/// The answers that are kept, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<VecDeque<Kept>>>);

impl Answers {
    /// Keeps an answer, which takes the place of an earlier one to the same request; that it is done stays.
    pub(super) fn keep(&self, request: RequestId, act: Hash, outcome: ActOutcome) {
        let mut kept = self.lock();
        let done =
            |(other, _, outcome): &Kept| *other == request && matches!(outcome, ActOutcome::At(_));
        if kept.iter().any(done) {
            return;
        }
        kept.retain(|(other, ..)| *other != request);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((request, act, outcome));
    }

    /// The answer to a request, if it is kept, and whether it was the same act's.
    pub(super) fn of(&self, request: RequestId, act: Hash) -> Option<(ActOutcome, bool)> {
        let kept = self.lock();
        let (_, answered, outcome) = kept.iter().find(|(other, ..)| *other == request)?;
        Some((outcome.clone(), *answered == act))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // each change leaves it whole
    }
}

/// What an act is known by.
pub(super) fn hash(act: &ServerAct) -> Hash {
    Hash(*blake3::hash(&serde_json::to_vec(act).unwrap_or_default()).as_bytes()) // an act is JSON
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{Act, JobId};

    fn request(number: usize) -> RequestId {
        RequestId(number.to_be_bytes())
    }

    #[test]
    fn the_last_answers_are_given_and_only_to_the_same_act() {
        let answers = Answers::default();
        let refused = |why: &str| ActOutcome::Refused(why.into());
        let act = |job| {
            let act = Act::Discard { job: JobId([job; 8]) };
            hash(&ServerAct { device: "b".into(), request: Some(request(1)), act })
        };
        answers.keep(request(1), act(1), refused("poor"));
        answers.keep(request(1), act(1), refused("rich"));
        assert_eq!(answers.of(request(1), act(1)), Some((refused("rich"), true)));
        assert_eq!(answers.of(request(1), act(2)), Some((refused("rich"), false)));
        assert_eq!(answers.of(request(2), act(1)), None);
        let place = format!("{}/0-{}/7", "1f".repeat(32), "2e".repeat(16));
        let done = ActOutcome::At(place.parse().unwrap());
        answers.keep(request(1), act(1), done.clone());
        answers.keep(request(1), act(1), refused("revoked"));
        answers.keep(request(1), act(2), refused("another act's"));
        assert_eq!(answers.of(request(1), act(1)), Some((done, true)), "it was done");
        for number in 2..KEPT_MAX + 2 {
            answers.keep(request(number), act(1), refused("poor"));
        }
        assert_eq!(answers.of(request(1), act(1)), None, "the oldest went");
        assert_eq!(answers.lock().len(), KEPT_MAX);
    }
}
