//! How much is measured, how often, and how it is told.
//!
//! Invariant: a figure is a median of runs with the least and the most of them, and stands below a header that
//! names machine, versions and load. One line for each figure, so that lines of two days can be compared.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Events of the large stages.
    pub events: u64,
    /// How often each figure is taken.
    pub runs: usize,
    /// Only stages whose name holds this, or one of these with commas between them.
    pub only: Option<String>,
    /// Where files are put: on the disk that is measured.
    pub dir: PathBuf,
    /// Where figures are noted, one a line of JSON, for who compares.
    pub out: Option<PathBuf>,
}

impl Plan {
    /// As the environment says, or a million events and three runs.
    pub fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        Self {
            events: number("TALLYROLL_BENCH_EVENTS").unwrap_or(1_000_000).max(1_000),
            runs: number("TALLYROLL_BENCH_RUNS").map_or(3, |runs: u64| runs.max(1) as usize),
            only: std::env::var("TALLYROLL_BENCH_ONLY").ok(),
            dir: std::env::var_os("TALLYROLL_BENCH_DIR").map_or_else(target, PathBuf::from),
            out: std::env::var_os("TALLYROLL_BENCH_OUT").map(PathBuf::from),
        }
    }

    /// Whether a stage is wanted.
    pub fn wants(&self, stage: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|part| stage.contains(part)))
    }

    /// Notes a figure, for who compares.
    ///
    /// # Errors
    /// The system's.
    pub fn note(
        &self,
        stage: &str,
        system: &str,
        unit: &str,
        durable: &str,
        of: Spread,
    ) -> std::io::Result<()> {
        let Some(out) = &self.out else { return Ok(()) };
        let Spread { min, median, max } = of;
        let line = serde_json::json!({
            "stage": stage, "system": system, "unit": unit, "durable": durable,
            "median": median, "min": min, "max": max,
        });
        writeln!(OpenOptions::new().create(true).append(true).open(out)?, "{line}")
    }

    /// A directory that goes with its handle.
    ///
    /// # Errors
    /// The system's.
    pub fn temporary(&self) -> std::io::Result<tempfile::TempDir> {
        tempfile::tempdir_in(&self.dir)
    }
}

/// Beside what was built: on a real disk, which a system's temporary directory need not be.
fn target() -> PathBuf {
    let here = std::env::current_exe().ok();
    let folder = here.as_deref().and_then(std::path::Path::parent);
    folder.map_or_else(std::env::temp_dir, PathBuf::from)
}

/// The least, the median and the most of several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of some values; zeros, if there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Self { min: at(0), median: at(values.len() / 2), max: at(last) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}..{}]", short(self.median), short(self.min), short(self.max))
    }
}

/// A figure as people read it: three digits that count.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        big if big >= 1e6 => (value / 1e6, " M"),
        big if big >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = if scaled.abs() >= 100.0 {
        0
    } else if scaled.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
}

/// How long something took, seconds.
///
/// # Errors
/// Its own.
pub fn seconds<T>(work: impl FnOnce() -> crate::Outcome<T>) -> crate::Outcome<(f64, T)> {
    let began = Instant::now();
    let done = work()?;
    Ok((began.elapsed().as_secs_f64(), done))
}

/// Says on what machine, with what, and how busy it is.
pub fn print_header(plan: &Plan) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0u64);
    println!(
        "machine: {}, {cores} cores, {:.0} GiB, Linux {}, load {}",
        cpu.trim_start_matches([' ', '\t', ':']),
        kib as f64 / f64::from(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
    );
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    let locked = ["redb", "quinn", "rustls", "zstd", "blake3", "ed25519-dalek"]
        .map(|name| format!("{name} {}", locked_version(name).unwrap_or("?")));
    println!(
        "versions: tallyroll {}, {}, {}",
        env!("CARGO_PKG_VERSION"),
        rustc.unwrap_or_default(),
        locked.join(", ")
    );
    println!(
        "durable = fdatasync before acknowledgement, on {}; median [min..max] of {} runs",
        file_system(plan).unwrap_or_else(|| "an unknown file system".into()),
        plan.runs
    );
}

/// What the lock file says of a package.
fn locked_version(name: &str) -> Option<&'static str> {
    let lock = include_str!("../../Cargo.lock");
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    after.split('"').next()
}

/// The file system below the plan's directory, and how it is mounted.
fn file_system(plan: &Plan) -> Option<String> {
    let dir = plan.dir.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let below = fields.filter(|(at, _, _)| dir.starts_with(at));
    let (_, kind, options) = below.max_by_key(|(at, _, _)| at.len())?;
    Some(format!("{kind} ({options})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_told_with_three_digits() {
        let spread = Spread::of(vec![1_234_567.0, 9_000.0, 12_345.0]);
        assert_eq!(spread.to_string(), "12.3 k [9000..1.23 M]");
        assert_eq!(Spread::of(vec![]).median, 0.0);
        assert_eq!(short(0.5), "0.50");
    }

    #[test]
    fn the_lock_file_is_read() {
        assert!(locked_version("redb").is_some_and(|version| version.starts_with("4.")));
        assert_eq!(locked_version("no-such-package"), None);
    }
}
