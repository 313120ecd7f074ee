//! The same events through what people would pick instead: `tallyroll-peers STAGE RECORDS`.
//!
//! Owns how each peer is asked to be durable and how its figures are noted (a line of JSON each, where
//! `TALLYROLL_BENCH_OUT` says). Invariant: every peer is given the records that ours is, in the same order, with
//! its own best settings for the durability that stands beside its figure.

mod append;
mod automerge_sync;
mod nats;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// What ends a measurement early.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What is measured, and how often.
struct Plan {
    records: Vec<Vec<u8>>,
    runs: usize,
    dir: PathBuf,
    out: Option<PathBuf>,
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some("versions") {
        return print_versions();
    }
    let usage = "say a stage (append, automerge or nats) and where the records are";
    let (stage, records) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let runs = std::env::var("TALLYROLL_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok());
    let dir = std::env::var_os("TALLYROLL_BENCH_DIR").map_or_else(|| ".".into(), PathBuf::from);
    let out = std::env::var_os("TALLYROLL_BENCH_OUT").map(PathBuf::from);
    let records = read_records(&std::fs::read(records)?)?;
    let plan = Plan { records, runs: runs.unwrap_or(3), dir, out };
    match stage.as_str() {
        "append" => append::run(&plan),
        "automerge" => automerge_sync::run(&plan),
        "nats" => nats::run(&plan, &arguments.next().ok_or("say where NATS is, and how it syncs")?),
        other => Err(format!("no stage {other}; {usage}").into()),
    }
}

/// What the lock file says of the peers that are built in.
fn print_versions() -> Outcome {
    let lock = include_str!("../Cargo.lock");
    for name in
        ["libsqlite3-sys", "rusqlite", "fjall", "redb", "heed", "lmdb-master-sys", "automerge"]
    {
        let found = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
        if let Some(version) = found.and_then(|(_, after)| after.split('"').next()) {
            println!("{name} {version}");
        }
    }
    Ok(())
}

fn read_records(mut bytes: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let len = u32::from_le_bytes(*len) as usize;
        let (record, rest) = rest.split_at_checked(len).ok_or("the records are cut short")?;
        records.push(record.to_vec());
        bytes = rest;
    }
    Ok(records)
}

impl Plan {
    /// Tells a figure, and notes it for who compares.
    fn tell(
        &self,
        stage: &str,
        system: &str,
        unit: &str,
        durable: &str,
        mut values: Vec<f64>,
    ) -> Outcome {
        values.sort_by(f64::total_cmp);
        let [min, median, max] = [values[0], values[values.len() / 2], values[values.len() - 1]];
        println!("{stage}: {system} {median:.1} [{min:.1}..{max:.1}] {unit}; {durable}");
        let Some(out) = &self.out else { return Ok(()) };
        let line = serde_json::json!({
            "stage": stage, "system": system, "unit": unit, "durable": durable,
            "median": median, "min": min, "max": max,
        });
        Ok(writeln!(OpenOptions::new().create(true).append(true).open(out)?, "{line}")?)
    }
}
