//! What a process and its files take, as the system tells: for figures that README names.
//! Owns reading them. Invariant: it reads and changes nothing; a process that is gone takes nothing.
//! What is too much is said by those who ask.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Bytes of memory of a process that are not swapped out (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub resident: u64,
    /// At most, since it was started (`VmHWM`).
    pub peak: u64,
}

impl Memory {
    /// That of the process with this id.
    #[must_use]
    pub fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        let status = status.unwrap_or_default();
        let bytes = |key| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            kibibytes.unwrap_or(0) * 1024
        };
        Self { resident: bytes("VmRSS:"), peak: bytes("VmHWM:") }
    }
}

/// How long a process has had a processor, all its threads together (`utime` and `stime` of proc(5)).
#[must_use]
pub fn cpu_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Its name, in parentheses, may hold spaces.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10) // Linux tells hundredths of a second, whatever it counts in
}

/// Bytes that a folder and all below it take on the disk.
#[must_use]
pub fn disk_used(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let used = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_used(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0, // it is gone: a file that was being written
    });
    used.sum()
}
