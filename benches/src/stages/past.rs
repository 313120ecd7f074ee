//! The past: one user's usage of one month as of one commit, each drawn at random.
//!
//! Invariant: the columns are made from the cloud's real store, and that is timed; every question sums moves, none
//! is answered before it is asked; some answers are folded anew, and must be the same.

use super::backlog::After;
use crate::Outcome;
use crate::measure::{Plan, Spread, seconds};
use crate::workload::Draw;
use std::hint::black_box;
use std::ops::ControlFlow;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_engine::counts::{Usage, UsageKey};
use tallyroll_engine::store::Rows;
use tallyroll_engine::store::rows::CommitRow;
use tallyroll_schema::CommitPosition;

const QUESTIONS: usize = 10_000;
const FOLDED_ANEW: usize = 3;

/// Measures and prints.
///
/// # Errors
/// Files, or the engine.
pub fn run(plan: &Plan, after: Option<&After>) -> Outcome {
    let Some(after) = after.filter(|_| plan.wants("past")) else { return Ok(()) };
    let dir = DataDir::new(after.cloud.path());
    let (mut made, mut asked, mut draw) = (Vec::new(), Vec::new(), Draw::new(7));
    for _ in 0..plan.runs {
        let mut replica = tallyroll_cloud::opening::open(&dir)?.replica;
        let (took, ()) = seconds(|| Ok(replica.hub.keep_past()?))?;
        made.push(after.events as f64 / took);
        let hub = &replica.hub;
        let mut commits: Vec<(CommitPosition, u64)> = Vec::new();
        Rows::new(hub.tenant(), hub.store()).scan::<CommitRow>(&[], &[], &mut |key, row| {
            let before = commits.last().map_or(0, |(_, events)| *events);
            let position = CommitRow::position(key).unwrap_or_default();
            commits.push((position, before + row.end_seq - row.first_seq));
            Ok(ControlFlow::Continue(()))
        })?;
        let lines: Vec<UsageKey> = hub.counts().usage().keys().copied().collect();
        let questions: Vec<_> =
            (0..QUESTIONS).map(|_| (*draw.one_of(&lines), *draw.one_of(&commits))).collect();
        let answer = |key: UsageKey, at| {
            let wanted = |line: &UsageKey| (line.user, line.month) == (key.user, key.month);
            hub.usage_at(at, wanted)
        };
        let (took, events) = seconds(|| {
            let mut events = 0;
            for (key, (at, until)) in &questions {
                black_box(answer(*key, *at)?);
                events += until;
            }
            Ok(events)
        })?;
        asked.push(events as f64 / took);
        for (key, (at, _)) in questions.iter().take(FOLDED_ANEW) {
            let folded = hub.counts_at(*at)?;
            let of = folded.usage().iter();
            let of = of.filter(|(line, _)| (line.user, line.month) == (key.user, key.month));
            let of: Vec<(UsageKey, Usage)> = of.map(|(line, usage)| (*line, *usage)).collect();
            if !answer(*key, *at)?.into_iter().eq(of) {
                return Err(
                    format!("the past at hand of {at} is another than the one folded").into()
                );
            }
        }
    }
    println!("columns of the past made: {} events/s", Spread::of(made));
    let asked = Spread::of(asked);
    let how = "one core, columns in memory; user, month and cut at random";
    plan.note("past", "tallyroll", "events/s", how, asked)?;
    println!("a user's month as of a commit: {asked} events/s a core");
    Ok(())
}
