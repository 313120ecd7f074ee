//! `fuzz`: hostile inputs for every decoder, tamperings with a stored log, damage to every byte.
//!
//! Exit codes: 0 all held, 2 usage, 3 something did not. What gave an outcome that nobody saw before, or a
//! panic, is kept in `tests/fixtures/corpus`, which CI replays. Times are not part of what must hold.

use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;
use tallyroll_tests::hostile::damage::{self, Damage, Extent};
use tallyroll_tests::hostile::fuzzing::decoder::Decoder;
use tallyroll_tests::hostile::{fuzzing, tampering};

/// Feeds hostile inputs to every decoder, and tampers with a stored log.
#[derive(Debug, Parser)]
struct Arguments {
    /// Inputs for each decoder.
    #[arg(long, default_value_t = 100_000)]
    inputs: u64,
    /// Tamperings with a stored log; none when one decoder is named.
    #[arg(long, default_value_t = 10_000)]
    tamperings: u64,
    /// The seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this decoder.
    #[arg(long)]
    decoder: Option<String>,
    /// Instead: damage every byte of a journal, of a session and of four stores, which takes hours.
    #[arg(long, conflicts_with = "decoder")]
    damage: bool,
}

/// What the process may take at its most, with every decoder's limits met at once.
const MEMORY_KIB_MAX: u64 = 128 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    std::panic::set_hook(Box::new(|_| {})); // a panic is told with its input
    if arguments.damage {
        return if damage_everything() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    }
    let mut decoders = fuzzing::decoders();
    let named = arguments.decoder.as_deref();
    decoders.retain(|decoder| named.is_none_or(|name| name == decoder.name()));
    if decoders.is_empty() {
        eprintln!("fuzz: no such decoder: {}", named.unwrap_or_default());
        return ExitCode::from(2);
    }
    let mut holds = true;
    for decoder in &decoders {
        holds &= feed(decoder.as_ref(), &arguments);
    }
    if named.is_none() {
        holds &= tamper(&arguments);
    }
    let peak = peak_kib();
    println!("peak memory {} MiB of {}", peak / 1024, MEMORY_KIB_MAX / 1024);
    ExitCode::from(if holds && peak <= MEMORY_KIB_MAX { 0 } else { 3 })
}

fn feed(decoder: &dyn Decoder, arguments: &Arguments) -> bool {
    let name = decoder.name();
    let corpus = fuzzing::corpus::load(name).expect("the corpus is read");
    let started = Instant::now();
    let run = fuzzing::run(decoder, &corpus, arguments.seed, arguments.inputs);
    let rate = run.inputs as f64 / started.elapsed().as_secs_f64();
    let accepted = 100.0 * run.accepted as f64 / run.inputs.max(1) as f64;
    println!(
        "{name:<10} {} inputs, {accepted:.1} % accepted, {rate:.0}/s, slowest {:.1} ms, {} new outcomes, {} panics",
        run.inputs,
        run.slowest.as_secs_f64() * 1e3,
        run.new.len(),
        run.panics.len(),
    );
    for (outcome, input) in &run.new {
        let kept = fuzzing::corpus::keep(name, outcome, input).expect("the corpus is written");
        println!("  new: {outcome}{}", if kept.is_none() { " (too long to keep)" } else { "" });
    }
    for (panic, (text, input)) in &run.panics {
        let kept = fuzzing::corpus::keep(name, panic, input).expect("the corpus is written");
        println!("  panic: {text}\n    input: {kept:?}");
    }
    run.panics.is_empty()
}

fn tamper(arguments: &Arguments) -> bool {
    let started = Instant::now();
    let tally = tampering::run(arguments.seed, arguments.tamperings);
    let seconds = started.elapsed().as_secs_f64();
    let (tamperings, missed) = (tally.tamperings(), tally.missed.len());
    println!("tampering  {tamperings} in {seconds:.1} s, {missed} not found or not named");
    for ((deed, cover), times) in &tally.times {
        println!("  {deed:?}, {cover:?}: {times}");
    }
    tally.missed.iter().take(10).for_each(|missed| println!("  missed: {missed}"));
    tally.missed.is_empty()
}

fn damage_everything() -> bool {
    let mut holds =
        told("journal", &damage::journal(Extent::All)) & told("session", &damage::wire());
    for image in damage::stores() {
        holds &= told(image.name, &damage::store(&image, Extent::All));
    }
    holds
}

fn told(what: &str, damage: &Damage) -> bool {
    let Damage { detected, harmless, wrong } = damage;
    println!("{what}: {detected} detected, {harmless} harmless, {} came to harm", wrong.len());
    wrong.iter().take(10).for_each(|wrong| println!("  {wrong}"));
    wrong.is_empty()
}

/// The most memory this process ever had, as Linux tells it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}
