//! Following real files through growth, rotation by rename and by copy-and-truncate.
//!
//! Invariant: whatever happens between two looks, each line is recorded once.
//! The files are real, on a disk; only time is waited for.

use super::super::import::Summary;
use super::super::import::tests::{Memory, line};
use super::super::page_log::Format;
use super::super::rejects::RejectFile;
use super::*;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory with a log in it, and what happens to it between two looks.
struct Spool {
    directory: tempfile::TempDir,
}

impl Spool {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let mut file =
            OpenOptions::new().append(true).create(true).open(self.path(name)).expect("open");
        file.write_all(text.as_bytes()).expect("write");
    }

    /// Jobs with these numbers, each printed in the second of its number.
    fn print(&self, name: &str, jobs: impl IntoIterator<Item = u32>) {
        self.write(name, &jobs.into_iter().map(|job| line(job, job)).collect::<String>());
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).expect("rename");
    }

    /// Looks once before each step and once after the last; the jobs counted, in their order.
    fn follow(&self, memory: &mut Memory, steps: &[&dyn Fn()]) -> Summary {
        let log = self.path("page_log");
        let rejects = RejectFile::open(&self.path("page_log.0")).expect("open");
        let mut importer = Importer::new(Format::default(), memory, rejects);
        let mut follower = Follower {
            log: &log,
            stop: &|| false,
            current: None,
            previous: None,
            parts: HashMap::new(),
        };
        let compressed = follower.catch_up(&mut importer).expect("catch up");
        importer.summary.not_read.extend(compressed);
        follower.look(&mut importer).expect("look");
        for step in steps {
            step();
            follower.look(&mut importer).expect("look");
        }
        importer.finish().expect("finish")
    }
}

fn jobs(memory: &Memory) -> Vec<u32> {
    memory.entries.iter().map(|entry| entry.job_number).collect()
}

#[test]
fn a_log_may_come_later_and_grow_by_halves_of_lines() {
    let (spool, mut memory) = (Spool::new(), Memory::default());
    let text = line(1, 1) + &line(2, 2);
    let (first, second) = text.split_at(text.len() / 2 + 9);
    spool.follow(
        &mut memory,
        &[&|| spool.write("page_log", first), &|| spool.write("page_log", second)],
    );
    assert_eq!(jobs(&memory), [1, 2]);
}

#[test]
fn a_renamed_log_is_read_to_its_end_also_when_it_grows_later() {
    let (spool, mut memory) = (Spool::new(), Memory::default());
    spool.print("page_log", 1..3);
    let summary = spool.follow(
        &mut memory,
        &[
            &|| {
                spool.print("page_log", 3..5);
                spool.rename("page_log", "page_log.1");
            },
            &|| spool.print("page_log", 6..8),
            // Until it is told, CUPS goes on writing to the file it has open.
            &|| spool.print("page_log.1", 5..6),
            &|| spool.print("page_log", 8..9),
        ],
    );
    assert_eq!(jobs(&memory), [1, 2, 3, 4, 6, 7, 5, 8]);
    assert_eq!((summary.rejected, summary.incomplete.len()), (0, 0));
}

#[test]
fn two_rotations_between_looks_lose_nothing() {
    let (spool, mut memory) = (Spool::new(), Memory::default());
    spool.print("page_log", 1..3);
    spool.follow(
        &mut memory,
        &[&|| {
            spool.rename("page_log", "page_log.2");
            spool.print("page_log", 3..5);
            spool.rename("page_log", "page_log.1");
            spool.print("page_log", 5..7);
        }],
    );
    let mut counted = jobs(&memory);
    counted.sort_unstable();
    assert_eq!(counted, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_log_copied_and_cut_is_read_from_its_copy_and_its_new_beginning() {
    for grown in [5..6, 5..60] {
        let (spool, mut memory) = (Spool::new(), Memory::default());
        spool.print("page_log", 1..4);
        let last = grown.end;
        let summary = spool.follow(
            &mut memory,
            &[&|| {
                spool.print("page_log", 4..5);
                std::fs::copy(spool.path("page_log"), spool.path("page_log.1")).expect("copy");
                OpenOptions::new()
                    .write(true)
                    .truncate(true)
                    .open(spool.path("page_log"))
                    .expect("cut");
                // It may be longer than before when somebody looks again.
                spool.print("page_log", grown.clone());
            }],
        );
        assert_eq!(jobs(&memory), (1..last).collect::<Vec<_>>());
        assert_eq!(summary.rejected, 0, "nothing was read from the middle of a line");
    }
}

#[test]
fn parts_rotated_while_nobody_followed_are_read_first_and_compressed_ones_named() {
    let (spool, mut memory) = (Spool::new(), Memory::default());
    spool.print("page_log.O", 1..3);
    spool.write("page_log.2.gz", "\x1f");
    spool.write("page_log.conf", "nothing of ours\n");
    spool.print("page_log", 3..5);
    let summary = spool.follow(&mut memory, &[]);
    assert_eq!(jobs(&memory), [1, 2, 3, 4]);
    assert_eq!(summary.not_read.into_iter().collect::<Vec<_>>(), [spool.path("page_log.2.gz")]);
    let again = spool.follow(&mut memory, &[]);
    assert_eq!((again.counted, again.already, again.rejected), (0, 4, 0));
}

#[test]
fn the_reject_file_is_not_followed_even_if_named_like_a_part() {
    let (spool, mut memory) = (Spool::new(), Memory::default());
    spool.write("page_log", "garbage\n");
    for _ in 0..2 {
        assert_eq!(spool.follow(&mut memory, &[]).lines, 1);
    }
}

#[test]
fn a_torn_last_line_of_a_finished_file_is_told() {
    let (spool, mut memory) = (Spool::new(), Memory::default());
    spool.write("page_log", "hall anna");
    let summary = spool.follow(
        &mut memory,
        &[
            &|| spool.rename("page_log", "page_log.1"),
            &|| spool.print("page_log", 1..2),
            &|| spool.rename("page_log", "page_log.2"),
            &|| spool.print("page_log", 2..3),
        ],
    );
    assert_eq!(jobs(&memory), [1, 2]);
    assert_eq!(
        summary.incomplete.into_iter().collect::<Vec<_>>(),
        [spool.path("page_log").display().to_string()]
    );
}

#[test]
fn stopping_records_what_was_read() {
    let (spool, mut memory) = (Spool::new(), Memory::default());
    let stop = AtomicBool::new(false);
    spool.print("page_log", 1..3);
    let rejects = RejectFile::open(&spool.path("rejects")).expect("open");
    let mut importer = Importer::new(Format::default(), &mut memory, rejects);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            spool.print("page_log", 3..5);
            stop.store(true, Ordering::SeqCst);
        });
        let stop = || stop.load(Ordering::SeqCst);
        importer.follow(&spool.path("page_log"), Duration::from_millis(1), &stop).expect("follow");
    });
    assert_eq!(importer.finish().expect("finish").counted, 4);
    assert_eq!(jobs(&memory), [1, 2, 3, 4]);
}
