//! Importing files and streams into a recorder that remembers keys.
//!
//! Invariant: a second import of anything counts nothing; what does not parse is kept.
//! What lines mean is tested with the reader of lines.

use super::*;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;

/// Remembers keys, as a device's store does.
#[derive(Default)]
pub(in crate::counts) struct Memory {
    pub(in crate::counts) keys: HashSet<LineKey>,
    pub(in crate::counts) entries: Vec<Entry>,
    pub(in crate::counts) batches: Vec<usize>,
    heard: Vec<u64>,
}

impl Recorder for Memory {
    type Error = Infallible;

    fn record(&mut self, lines: &[Keyed]) -> Result<Vec<Outcome>, Infallible> {
        self.batches.push(lines.len());
        Ok(lines
            .iter()
            .map(|line| {
                if !self.keys.insert(line.key) {
                    return Outcome::Already;
                }
                self.entries.push(line.entry.clone());
                Outcome::Counted
            })
            .collect())
    }

    fn rejected(&mut self, rejection: &Rejection) {
        self.heard.push(rejection.line);
    }
}

/// A line of the default format; its time is `second` seconds after some midnight.
pub(in crate::counts) fn line(job: u32, second: u32) -> String {
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!(
        "hall anna {job} [21/Nov/2026:{hour:02}:{minute:02}:{second:02} +0100] total 1 - localhost t - -\n"
    )
}

struct Bench {
    directory: tempfile::TempDir,
    memory: Memory,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), memory: Memory::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn importer(&mut self) -> Importer<'_, Memory> {
        let rejects = RejectFile::open(&self.path("rejects")).expect("open");
        Importer::new(Format::default(), &mut self.memory, rejects)
    }

    fn import(&mut self, text: &str) -> Summary {
        let path = self.path("page_log");
        std::fs::write(&path, text).expect("write");
        let mut importer = self.importer();
        importer.read_file(&path).expect("import");
        importer.finish().expect("finish")
    }

    fn stream(&mut self, mut input: impl Read) -> Summary {
        let mut importer = self.importer();
        importer.read_stream(&mut input).expect("import");
        importer.finish().expect("finish")
    }
}

#[test]
fn again_grown_copied_or_beheaded_counts_nothing_twice() {
    let mut bench = Bench::new();
    let head: String = (1..600).map(|job| line(job, job)).collect();
    let summary = bench.import(&head);
    assert_eq!((summary.lines, summary.counted, summary.already), (599, 599, 0));
    assert_eq!(bench.memory.batches, [256, 256, 87]);
    assert_eq!(bench.import(&head).already, 599);
    let grown = head.clone() + &line(1, 601) + &line(2, 601);
    let summary = bench.import(&grown);
    assert_eq!((summary.counted, summary.already), (2, 599), "job numbers begin again");
    let (_, beheaded) = grown.split_at(grown.len() / 2);
    let summary = bench.import(beheaded);
    assert_eq!((summary.counted, summary.rejected), (0, 1), "the line in the cut's way is no line");
}

#[test]
fn identical_lines_of_one_file_all_count() {
    let mut bench = Bench::new();
    let twice = line(7, 1).repeat(3);
    assert_eq!(bench.import(&twice).counted, 3);
    assert_eq!(bench.import(&twice).already, 3);
}

#[test]
fn a_line_that_cannot_be_read_is_told_kept_once_and_passed() {
    let mut bench = Bench::new();
    let text = line(1, 1) + "garbage\n\n" + &"x".repeat(70_000) + "\n" + &line(2, 2);
    for round in 0..2 {
        let summary = bench.import(&text);
        assert_eq!(
            (summary.lines, summary.counted + summary.already, summary.rejected),
            (5, 2, 3),
            "{round}"
        );
        let told: Vec<_> =
            summary.rejections.into_iter().map(|told| (told.line, told.reason)).collect();
        assert_eq!(told, [(2, Reject::Mismatch), (3, Reject::Empty), (4, Reject::TooLong)]);
    }
    assert_eq!(bench.memory.heard, [2, 3, 4, 2, 3, 4]);
    let kept = std::fs::read_to_string(bench.path("rejects")).expect("read");
    assert_eq!(kept.lines().count(), 6);
    let mut expected = String::new();
    write!(expected, "# {}:2 {}\ngarbage\n", bench.path("page_log").display(), Reject::Mismatch)
        .expect("write");
    assert!(kept.starts_with(&expected), "{kept}");
}

#[test]
fn a_file_that_is_no_page_log_is_refused_and_fills_no_reject_file() {
    let mut bench = Bench::new();
    let garbage = "\u{1}\u{2} no page log\n".repeat(LEADING_REJECTS_MAX + 1);
    std::fs::write(bench.path("page_log"), &garbage).expect("write");
    let path = bench.path("page_log");
    let mut importer = bench.importer();
    importer.read_file(&path).expect("only the end tells");
    let told = importer.finish().expect_err("no page log").to_string();
    assert!(told.contains("page_log is no page_log"), "{told}");
    assert!(told.contains("none of its 17 lines follows `%p %u %j %T"), "{told}");
    assert_eq!(std::fs::metadata(bench.path("rejects")).expect("metadata").len(), 0);
    assert_eq!(bench.memory.heard.len(), LEADING_REJECTS_MAX);
}

#[test]
fn a_few_lines_that_cannot_be_read_are_kept_also_when_there_are_no_others() {
    let mut bench = Bench::new();
    let garbage: String = (0..LEADING_REJECTS_MAX).map(|n| format!("garbage {n}\n")).collect();
    let summary = bench.import(&garbage);
    assert_eq!((summary.rejected, summary.passed_over), (LEADING_REJECTS_MAX as u64, 0));
    let kept = std::fs::read_to_string(bench.path("rejects")).expect("read");
    assert_eq!(kept.lines().count(), 2 * LEADING_REJECTS_MAX);
}

#[test]
fn a_log_that_changed_its_format_is_read_where_it_can_be() {
    let mut bench = Bench::new();
    let older: String = (0..100).map(|n| format!("hall {n}\n")).collect();
    let summary = bench.import(&(older + &line(1, 1) + "garbage\n"));
    let leading = LEADING_REJECTS_MAX as u64;
    assert_eq!((summary.counted, summary.rejected, summary.passed_over), (1, 101, 100 - leading));
    let kept = std::fs::read_to_string(bench.path("rejects")).expect("read");
    assert_eq!(kept.lines().count(), 2 * (LEADING_REJECTS_MAX + 1));
}

#[test]
fn a_line_still_being_written_is_left_in_a_file_and_taken_from_a_stream() {
    let mut bench = Bench::new();
    let text = line(1, 1) + line(2, 2).trim_end();
    let summary = bench.import(&text);
    assert_eq!((summary.lines, summary.counted, summary.incomplete.len()), (1, 1, 1));
    let summary = bench.stream(text.as_bytes());
    assert_eq!(
        (summary.lines, summary.counted, summary.already, summary.incomplete.len()),
        (2, 1, 1, 0)
    );
}

#[test]
fn a_stream_that_pauses_is_recorded_up_to_there() {
    /// Gives one line at a time, as a pipe does.
    struct Pipe(u32);
    impl Read for Pipe {
        fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 3 {
                return Ok(0);
            }
            let line = line(self.0, self.0);
            buffer.write_all(line.as_bytes())?;
            Ok(line.len())
        }
    }
    let mut bench = Bench::new();
    assert_eq!(bench.stream(Pipe(0)).counted, 3);
    assert_eq!(bench.memory.batches, [1, 1, 1]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let mut bench = Bench::new();
    let path = bench.path("nothing");
    let error = bench.importer().read_file(&path).expect_err("not there").to_string();
    assert!(error.contains("nothing"), "{error}");
}
