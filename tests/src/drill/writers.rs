//! The load: processes that record acts without end, and what they were answered.
//! Invariant: every act has a job of its own and is sent once. One whose answer never came is not sent again, so that
//! whether it was recorded or not, nothing is ambiguous. Nothing is sent while the agent is away, for a `record` that
//! finds no agent does the work itself and would keep the agent out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tallyroll_schema::{JobId, Position};

use crate::fleet::{Answer, Branch, PATIENCE, Recording};
use crate::sim::entropy::Entropy;

/// Acts that wait for their answers.
const WAITING_MAX: usize = 128;
/// Names that all writers use.
const USERS: u64 = 12;

/// An act as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub user: String,
    /// `pages.captured` or `pages.printed`.
    pub kind: &'static str,
    /// How many pages or impressions.
    pub pages: u64,
}

/// The outside journal: what was said, and what was answered.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Every act that was sent.
    pub said: BTreeMap<JobId, Said>,
    /// Those that were acknowledged, and where.
    pub acknowledged: Vec<(JobId, Position)>,
    /// Answers that were no position.
    pub refused: Vec<String>,
}

/// A source of acts, each with a job of its own.
#[derive(Debug)]
pub struct Acts {
    entropy: Entropy,
    writer: u8,
    count: u32,
}

impl Acts {
    /// The acts of this writer.
    #[must_use]
    pub fn new(seed: u64, writer: u8) -> Self {
        Self { entropy: Entropy::new(seed, writer.into(), "acts"), writer, count: 0 }
    }
}

impl Iterator for Acts {
    type Item = (JobId, Said);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d] = self.count.to_be_bytes();
        self.count += 1;
        let kind = if self.entropy.percent(30) { "pages.printed" } else { "pages.captured" };
        let user = format!("user {}", self.entropy.below(USERS));
        let said = Said { user, kind, pages: self.entropy.between(1, 50) };
        Some((JobId([self.writer, 0, 0, 0, a, b, c, d]), said))
    }
}

impl Said {
    /// The field that says how many.
    #[must_use]
    pub fn counted(&self) -> &'static str {
        if self.kind == "pages.printed" { "impressions" } else { "pages" }
    }

    /// It as a line for `record`.
    #[must_use]
    pub fn line(&self, job: JobId) -> String {
        let act: Value = json!({
            "kind": self.kind, "job": job, "user": self.user, "color": "color", self.counted(): self.pages,
        });
        format!("{act}\n")
    }
}

/// How much a writer records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Acts handed over at once.
    pub(crate) burst_max: u64,
    /// So long answers are waited for between two bursts, at most.
    pub(crate) pause_millis_max: u64,
    /// So long it rests after each burst, at most, answered or not.
    pub(crate) rest_millis_max: u64,
}

/// Writers that run.
#[derive(Debug)]
pub(crate) struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Written>>,
}

#[derive(Debug, Default)]
struct Shared {
    held: AtomicBool,
    stopped: AtomicBool,
}

impl Shared {
    fn may_send(&self) -> bool {
        !self.held.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst)
    }
}

impl Writers {
    /// Has each of `writers` record at the branch. Writers of one number say the same jobs.
    pub(crate) fn start(branch: &Branch, load: Load, writers: Range<u8>, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |writer| {
            let (branch, shared) = (branch.commands(), Arc::clone(&shared));
            std::thread::spawn(move || write(&branch, &shared, load, seed, writer))
        };
        Self { threads: writers.map(start).collect(), shared }
    }

    /// Has nothing sent while `work` is done.
    pub(crate) fn hold_while(&self, work: impl FnOnce()) {
        self.shared.held.store(true, Ordering::SeqCst);
        work();
        self.shared.held.store(false, Ordering::SeqCst);
    }

    /// Ends them once what they sent is answered.
    pub(crate) fn stop(self) -> Written {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let mut all = Written::default();
        for thread in self.threads {
            let Written { said, acknowledged, refused } = thread.join().expect("a writer ends");
            all.said.extend(said);
            all.acknowledged.extend(acknowledged);
            all.refused.extend(refused);
        }
        all
    }
}

fn write(branch: &Branch, shared: &Shared, load: Load, seed: u64, writer: u8) -> Written {
    let mut acts = Acts::new(seed, writer);
    let mut entropy = Entropy::new(seed, writer.into(), "bursts");
    let mut written = Written::default();
    while !shared.stopped.load(Ordering::SeqCst) {
        if !shared.may_send() {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let mut stream = Stream { recording: branch.record(), waiting: VecDeque::new() };
        let mut alive = true;
        while alive && shared.may_send() {
            let burst = entropy.between(1, load.burst_max) as usize;
            let pause = Duration::from_millis(entropy.below(load.pause_millis_max));
            let room = WAITING_MAX - stream.waiting.len();
            alive = stream.send(acts.by_ref().take(burst.min(room)), &mut written)
                && stream.settle(pause, &mut written);
            let rest = entropy.between(0, load.rest_millis_max);
            std::thread::sleep(Duration::from_millis(rest));
        }
        stream.recording.finish();
        while stream.settle(PATIENCE, &mut written) {}
    }
    written
}

/// A `record`, and the acts it has not answered yet.
struct Stream {
    recording: Recording,
    waiting: VecDeque<JobId>,
}

impl Stream {
    fn send(&mut self, acts: impl Iterator<Item = (JobId, Said)>, written: &mut Written) -> bool {
        let mut lines = String::new();
        for (job, said) in acts {
            lines.push_str(&said.line(job));
            self.waiting.push_back(job);
            written.said.insert(job, said);
        }
        self.recording.write(&lines)
    }

    /// Notes the answers that come within `limit`; false once none can come any more.
    fn settle(&mut self, limit: Duration, written: &mut Written) -> bool {
        let mut patience = limit;
        loop {
            match self.recording.answer(patience) {
                Ok(answer) => self.note(answer, written),
                Err(RecvTimeoutError::Timeout) => return limit < PATIENCE,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            patience = Duration::ZERO;
        }
    }

    fn note(&mut self, answer: Answer, written: &mut Written) {
        match (self.waiting.pop_front(), answer) {
            (Some(job), Answer::At(position)) => written.acknowledged.push((job, position)),
            (job, answer) => written.refused.push(format!("job {job:?} was answered {answer:?}")),
        }
    }
}
