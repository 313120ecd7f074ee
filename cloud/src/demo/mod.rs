//! `demo`: a cloud and its branches, an outage, two kills, and then the books.
//!
//! Owns the whole show: real processes, files and QUIC on this machine, fed with a
//! seeded workload ([`workload`]) and a visitor ([`visit`]), broken on purpose
//! ([`story`]), watched ([`stage`]),
//! and at last checked from files ([`evidence`], [`check`]) against a sum made without
//! the engine ([`naive`]). Invariant: it exits with 0 only if every figure is right,
//! and leaves no process behind. What it starts, it knows by its commands alone.

mod branch;
mod check;
mod cloud;
mod ending;
mod error;
mod evidence;
mod fleet;
mod leash;
mod naive;
mod panel;
mod place;
mod process;
mod programs;
mod relay;
mod stage;
mod story;
mod visit;
mod workload;

use check::Verdict;
use clap::Args;
pub(crate) use error::DemoError;
use error::{Doing, Result};
use fleet::Fleet;
use leash::Inner;
use place::Place;
use programs::Programs;
use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DemoArguments {
    /// Branches.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    branches: u16,
    /// Jobs they print in all.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    jobs: u32,
    /// How long half of the lines are cut, as `10s` or `500ms`.
    #[arg(long, default_value = "10s", value_parser = parse_outage)]
    outage: Duration,
    /// For the same jobs again; another one each time, if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Keep all files there; a new or empty directory.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    #[command(subcommand)]
    inner: Option<Inner>,
}

fn parse_outage(text: &str) -> std::result::Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    let outage = parsed.and_then(|outage| Duration::try_from(outage).ok());
    let longest = Duration::from_secs(600);
    let within = outage.filter(|outage| *outage <= longest);
    within.ok_or_else(|| "an outage lasts up to 10m, as `10s` or `500ms`".into())
}

/// Plays the demo. Ctrl-C ends it and all it started.
pub(crate) async fn run(arguments: DemoArguments) -> Result<ExitCode> {
    if let Some(Inner::Leash(leash)) = arguments.inner {
        return Err(leash::become_program(leash));
    }
    let mut terminate = signal(SignalKind::terminate()).doing("listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).doing("listen for signals")?;
    tokio::select! {
        played = play(arguments) => played,
        _ = terminate.recv() => Err(DemoError::Interrupted),
        _ = interrupt.recv() => Err(DemoError::Interrupted),
    }
}

async fn play(arguments: DemoArguments) -> Result<ExitCode> {
    let programs = Programs::find().await?;
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => u64::from(getrandom::u32().doing("ask for entropy")?),
    };
    let mut place = Place::make(arguments.keep.as_deref())?;
    let verdict = match perform(&arguments, seed, &programs, &place).await {
        Ok(verdict) => verdict,
        Err(why) => {
            place.keep();
            let DemoArguments { branches, jobs, outage, .. } = arguments;
            let outage = outage.as_millis();
            let again = format!(
                "demo --seed {seed} --branches {branches} --jobs {jobs} --outage {outage}ms"
            );
            let files = place.root().to_owned();
            return Err(DemoError::BrokeOff { files, again, source: Box::new(why) });
        }
    };
    if !verdict.holds() {
        place.keep();
    }
    println!("{}", ending::text(&verdict, seed, &place, &programs));
    Ok(ending::exit_code(&verdict))
}

async fn perform(
    arguments: &DemoArguments,
    seed: u64,
    programs: &Programs,
    place: &Place,
) -> Result<Verdict> {
    let mut stage = Stage::open();
    let work = workload::workload(seed, arguments.branches.into(), arguments.jobs as usize);
    let lines: usize = work.iter().map(|branch| branch.lines().count()).sum();
    stage.say(&format!(
        "seed {seed}: {} jobs at {} branches, {lines} page_log lines; files in {}",
        arguments.jobs,
        work.len(),
        place.root().display()
    ));
    let mut fleet = Fleet::start(programs, place, &work).await?;
    stage.say("a cloud and its branches are running, each enrolled with a PIN of its own");
    let seen = story::play(&mut fleet, arguments.outage, &mut stage).await?;
    fleet.stop().await?;
    stage.close();
    stage.say("all processes stopped; reading their files");
    let evidence = evidence::gather(&fleet).await?;
    Ok(check::check(&naive::sum(&work, &seen), &evidence, &seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_a_short_time() {
        assert_eq!(parse_outage("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_outage("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "10", "-1s", "11m", "soon"] {
            assert!(parse_outage(wrong).is_err(), "{wrong}");
        }
    }
}
