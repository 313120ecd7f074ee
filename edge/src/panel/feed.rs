//! What happened at the panel, for who waits: stops, goings on, logins, changed credits.
//!
//! Invariant: bounded; events are numbered without gaps within a run of the agent, and who was away
//! for too long, or over a restart, is told that events were lost and looks again. Not durable: what
//! counts is in the ledger.

use super::reply::Refusal;
use core::fmt::Write;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tallyroll_schema::limits::local::{PANEL_FEED_MAX, PANEL_WAIT_MAX, PANEL_WAITING_MAX};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Events after a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Heard {
    pub(super) events: Vec<Value>,
    /// The cursor for the next question.
    pub(super) after: String,
    /// Whether events before these are forgotten: ask for sessions and jobs again.
    pub(super) lost: bool,
}

pub(super) struct Feed {
    /// Tells this run of the agent from others.
    run: String,
    kept: Mutex<VecDeque<(u64, Value)>>,
    newest: watch::Sender<u64>,
    waiting: Semaphore,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            run: random_hex().unwrap_or_default(), // without entropy nothing else here works either
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
            waiting: Semaphore::new(PANEL_WAITING_MAX),
        }
    }

    /// Tells that something happened.
    pub(super) fn say(&self, event: Value) {
        let mut kept = self.kept();
        let number = *self.newest.borrow() + 1;
        if kept.len() >= PANEL_FEED_MAX {
            kept.pop_front();
        }
        kept.push_back((number, event));
        self.newest.send_replace(number);
    }

    /// Keeps nothing of what was said: a person is forgotten. Who waits looks again.
    pub(super) fn forget(&self) {
        self.kept().clear();
        self.say(json!({ "kind": "forgotten" }));
    }

    /// What happened after a cursor; if nothing yet, waits a while for it. Without one: from now on.
    pub(super) async fn after(&self, cursor: Option<&str>) -> Result<Heard, Refusal> {
        let known = cursor.map(|cursor| {
            let number = cursor.strip_prefix(self.run.as_str())?.strip_prefix('.')?;
            number.parse::<u64>().ok().filter(|number| *number <= *self.newest.borrow())
        });
        let after = match known {
            None => return Ok(self.since(*self.newest.borrow())),
            Some(None) => return Ok(Heard { lost: true, ..self.since(*self.newest.borrow()) }),
            Some(Some(number)) => number,
        };
        let Ok(_place) = self.waiting.try_acquire() else {
            let why = format!("{PANEL_WAITING_MAX} wait for events already; end one, or try again");
            return Err(Refusal::busy(why));
        };
        let mut newest = self.newest.subscribe();
        drop(timeout(PANEL_WAIT_MAX, newest.wait_for(|newest| *newest > after)).await); // or nothing happened
        Ok(self.since(after))
    }

    fn since(&self, after: u64) -> Heard {
        let kept = self.kept();
        let lost = kept.front().is_some_and(|(first, _)| *first > after + 1);
        let newer = kept.iter().filter(|(number, _)| *number > after);
        let events = newer.map(|(_, event)| event.clone()).collect();
        let newest = kept.back().map_or(0, |(number, _)| *number);
        Heard { events, after: format!("{}.{newest}", self.run), lost }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(u64, Value)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 16 random bytes in hex.
pub(super) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // into memory
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_hears_each_event_once_and_who_was_away_for_long_is_told() {
        let feed = Feed::new();
        feed.say(json!(1));
        let start = feed.after(None).await.expect("answers");
        assert!(start.events.is_empty() && !start.lost, "from now on");
        let (heard, ()) = tokio::join!(feed.after(Some(&start.after)), async {
            tokio::task::yield_now().await;
            feed.say(json!(2));
        });
        let heard = heard.expect("answers");
        assert_eq!((heard.events, heard.lost), (vec![json!(2)], false));
        for number in 0..PANEL_FEED_MAX {
            feed.say(json!(number));
        }
        let all = feed.after(Some(&heard.after)).await.expect("answers");
        assert!(!all.lost && all.events.len() == PANEL_FEED_MAX);
        feed.say(json!("one more"));
        assert!(feed.after(Some(&heard.after)).await.expect("answers").lost);
        let other = feed.after(Some("0123.1")).await.expect("answers");
        assert!(other.lost && other.events.is_empty(), "another run's cursor");
    }
}
