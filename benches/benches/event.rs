//! The way of an event, stage by stage, for ours alone: a line for each figure, beside what the disk or the
//! network allows in the same run.
//! `TALLYROLL_BENCH_EVENTS` and `TALLYROLL_BENCH_RUNS` say how much and how often, `TALLYROLL_BENCH_ONLY` which
//! stage, `TALLYROLL_BENCH_DIR` on which disk. Invariant: what is measured is left to the library's stages.

fn main() -> tallyroll_benches::Outcome {
    tallyroll_benches::run()
}
