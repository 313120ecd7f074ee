//! The reject file: every line that was not counted, kept so that somebody can look at it.
//!
//! Owns its form, two lines each: `# FILE:LINE reason`, then the line as it was. Invariants: readable by
//! its owner only (a line holds names and titles), never over its size limit, and a line stands in it
//! once, however often it is imported. With a forgotten person all are erased, for the name may be in
//! any; what is left of each, `# erased FINGERPRINT`, keeps it from coming back when its log is read again.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tallyroll_schema::limits::files::{PAGE_LOG_LINE_BYTES_MAX, REJECT_FILE_BYTES_MAX};

/// What stands where a line was erased, before its fingerprint.
const ERASED: &[u8] = b"# erased ";

/// An open reject file.
#[derive(Debug)]
pub struct RejectFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    known: HashSet<[u8; 8]>,
}

impl RejectFile {
    /// Opens or creates the file and learns what stands in it.
    ///
    /// # Errors
    /// If it cannot be opened, read or created.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_within(path, REJECT_FILE_BYTES_MAX)
    }

    fn open_within(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        file.seek(SeekFrom::Start(0))?;
        let mut known = HashSet::new();
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        // Headers are learned too: they harm nothing, and a torn entry cannot shift the others.
        while reader
            .by_ref()
            .take(PAGE_LOG_LINE_BYTES_MAX as u64 + 1)
            .read_until(b'\n', &mut line)?
            > 0
        {
            if line.pop_if(|byte| *byte == b'\n').is_none() {
                // A writer was killed here.
                (&file).write_all(b"\n")?;
            }
            known.insert(erased(&line).unwrap_or_else(|| fingerprint(&line)));
            line.clear();
        }
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, bytes_max, known })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode, by which a walk over rotated files knows to leave it out.
    ///
    /// # Errors
    /// If the file system does not tell.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        self.file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Keeps a line, unless it is kept already. `false` if the file is full.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(
        &mut self,
        source: &str,
        number: u64,
        reason: &impl std::fmt::Display,
        line: &[u8],
    ) -> io::Result<bool> {
        let fingerprint = fingerprint(line);
        if self.known.contains(&fingerprint) {
            return Ok(true);
        }
        let mut entry = format!("# {}:{number} {reason}\n", source.escape_debug()).into_bytes();
        entry.extend_from_slice(line);
        entry.push(b'\n');
        let bytes = self.bytes.saturating_add(entry.len() as u64);
        if bytes > self.bytes_max {
            return Ok(false);
        }
        self.file.write_all(&entry)?;
        self.bytes = bytes;
        self.known.insert(fingerprint);
        Ok(true)
    }

    /// Makes what was kept durable.
    ///
    /// # Errors
    /// If the file system cannot.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Erases every entry: in which of them somebody's name stands, nobody can tell. The file stays the same one,
/// so an import that has it open goes on; killed in between, it is done again by who asked.
///
/// # Errors
/// If it cannot be read or written.
pub fn erase_rejects(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    let mut kept = Vec::with_capacity(bytes.len());
    while let Some(first) = lines.next() {
        if erased(first).is_some() {
            kept.extend_from_slice(first);
            continue;
        }
        // A header torn by a kill has no line of its own: what was erased before is not taken for it.
        let is_header = first.starts_with(b"# ");
        let line = lines.next_if(|line| is_header && erased(line).is_none()).unwrap_or(first);
        let fingerprint = fingerprint(line.strip_suffix(b"\n").unwrap_or(line));
        let digits = format!("{:016x}\n", u64::from_be_bytes(fingerprint));
        kept.extend_from_slice(&[ERASED, digits.as_bytes()].concat());
    }
    if kept != bytes {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&kept)?;
        file.set_len(kept.len() as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

/// The fingerprint of a line that was erased, if it stands here.
fn erased(line: &[u8]) -> Option<[u8; 8]> {
    let digits = std::str::from_utf8(line.strip_prefix(ERASED)?).ok()?.trim_end();
    u64::from_str_radix(digits, 16).ok().map(u64::to_be_bytes)
}

fn fingerprint(line: &[u8]) -> [u8; 8] {
    let mut bytes = [0; 8];
    blake3::Hasher::new().update(line).finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn path() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rejects");
        (directory, path)
    }

    #[test]
    fn a_line_is_kept_once_across_openings() {
        let (_directory, path) = path();
        for _ in 0..2 {
            let mut rejects = RejectFile::open(&path).expect("open");
            for number in 1..3 {
                assert!(rejects.keep("page_log", number, &"odd", b"# gar\xffbage").expect("keep"));
            }
        }
        assert_eq!(std::fs::read(&path).expect("read"), b"# page_log:1 odd\n# gar\xffbage\n");
        assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_entry_torn_by_a_kill_hurts_no_other() {
        let (_directory, path) = path();
        std::fs::write(&path, b"# page_log:1 odd\nfirst\n# page_log:2 o").expect("write");
        let mut rejects = RejectFile::open(&path).expect("open");
        assert!(rejects.keep("page_log", 1, &"odd", b"first").expect("keep"));
        assert!(rejects.keep("page_log", 2, &"odd", b"second").expect("keep"));
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, "# page_log:1 odd\nfirst\n# page_log:2 o\n# page_log:2 odd\nsecond\n");
    }

    #[test]
    fn who_is_forgotten_takes_every_entry_along_and_none_comes_back() {
        let (_directory, path) = path();
        let mut rejects = RejectFile::open(&path).expect("open");
        for (number, line) in [(1, "ada 5 pages"), (2, "x canary 7"), (3, "# bob"), (4, "canary")] {
            assert!(rejects.keep("page_log", number, &"odd", line.as_bytes()).expect("keep"));
        }
        assert!(rejects.keep("page_log", 5, &"no user `canary`", b"torn").expect("keep"));
        erase_rejects(&path).expect("erases");
        let text = std::fs::read_to_string(&path).expect("read");
        let all_erased = |text: &str| text.lines().all(|line| line.starts_with("# erased "));
        assert!(text.lines().count() == 5 && all_erased(&text), "{text}");
        assert!(rejects.keep("page_log", 6, &"odd", b"later").expect("keep"), "it is open still");
        // Read again, the log brings none of them back; erased again, nothing more goes.
        let mut again = RejectFile::open(&path).expect("open");
        assert!(again.keep("page_log", 4, &"odd", b"canary").expect("is known"));
        let after = std::fs::read_to_string(&path).expect("read");
        assert_eq!(after, format!("{text}# page_log:6 odd\nlater\n"));
        erase_rejects(&path).expect("erases");
        let after = std::fs::read_to_string(&path).expect("read");
        assert!(
            after.starts_with(&text) && after.lines().count() == 6 && all_erased(&after),
            "{after}"
        );
        erase_rejects(&path.with_extension("none")).expect("is none");
    }

    #[test]
    fn a_torn_header_swallows_nothing_erased_before() {
        let (_directory, path) = path();
        let erased = "# erased 0123456789abcdef\n";
        std::fs::write(&path, format!("# page_log:2 o\n{erased}")).expect("write");
        erase_rejects(&path).expect("erases");
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.ends_with(erased) && text.lines().count() == 2, "{text}");
    }

    #[test]
    fn a_full_file_takes_no_more() {
        let (_directory, path) = path();
        let mut rejects = RejectFile::open_within(&path, 40).expect("open");
        assert!(rejects.keep("a", 1, &"odd", b"first").expect("keep"));
        assert!(!rejects.keep("a", 2, &"odd", &[b'x'; 40]).expect("keep"));
        assert!(rejects.keep("a", 3, &"odd", b"first").expect("keep"), "known already");
        assert!(std::fs::metadata(&path).expect("metadata").len() <= 40);
    }
}
