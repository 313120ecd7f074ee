//! The files a log leaves behind when it is rotated.
//!
//! Owns their names: CUPS's own `NAME.O`, logrotate's `NAME.1` and `NAME-20261121`, `NAME.old`, each also
//! compressed. Invariant: nothing else beside a log is taken for a part of it. Reading them, in whatever
//! order, is harmless (see [`super::key`]); oldest first only makes the records nicer to look at.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

/// What stands beside a log.
#[derive(Debug, Default)]
pub struct Rotated {
    /// Plain files, the oldest first.
    pub plain: Vec<PathBuf>,
    /// Compressed ones, which nobody reads here.
    pub compressed: Vec<PathBuf>,
}

/// Looks for rotated parts of `log`.
///
/// # Errors
/// If the directory cannot be read.
pub fn rotated(log: &Path) -> io::Result<Rotated> {
    let mut found = Rotated::default();
    let mut plain = Vec::new();
    let (Some(directory), Some(name)) =
        (log.parent(), log.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(found);
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    for entry in directory.read_dir()? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(suffix) = file_name.to_str().and_then(|file_name| file_name.strip_prefix(name))
        else {
            continue;
        };
        // A part may be compressed and removed while this looks around.
        let Ok(metadata) = entry.metadata() else { continue };
        match (kind(suffix), metadata.is_file()) {
            (Some(Kind::Plain), true) => plain.push((modified(&metadata), entry.path())),
            (Some(Kind::Compressed), true) => found.compressed.push(entry.path()),
            _ => {}
        }
    }
    plain.sort();
    found.plain = plain.into_iter().map(|(_, path)| path).collect();
    found.compressed.sort();
    Ok(found)
}

enum Kind {
    Plain,
    Compressed,
}

/// What a file is by what follows the log's name.
fn kind(suffix: &str) -> Option<Kind> {
    let part = suffix.strip_prefix(['.', '-'])?;
    let (part, kind) = [".gz", ".bz2", ".xz", ".zst"]
        .iter()
        .find_map(|ending| part.strip_suffix(ending))
        .map_or((part, Kind::Plain), |part| (part, Kind::Compressed));
    let numbered = part.starts_with(|first: char| first.is_ascii_digit())
        && part.chars().all(|letter| letter.is_ascii_digit() || letter == '-' || letter == '.');
    (numbered || part == "O" || part == "old").then_some(kind)
}

fn modified(metadata: &Metadata) -> Option<std::time::SystemTime> {
    metadata.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_of_the_log_are_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let names = [
            "page_log.2.gz",
            "page_log.1",
            "page_log",
            "page_log.O",
            "page_log-20261121",
            "page_log.old",
            "page_log.rejects",
            "page_log.custom",
            "page_log2",
            "page_log.1.swp",
            "error_log.1",
            "page_log.",
            "page_log-20261120.zst",
        ];
        for (age, name) in (0u64..).zip(names) {
            let file = std::fs::File::create(directory.path().join(name)).expect("create");
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(age))
                .expect("age");
        }
        std::fs::create_dir(directory.path().join("page_log.3")).expect("create");
        let found = rotated(&directory.path().join("page_log")).expect("read");
        let names = |paths: &[PathBuf]| -> Vec<String> {
            paths.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
        };
        assert_eq!(
            names(&found.plain),
            ["page_log.1", "page_log.O", "page_log-20261121", "page_log.old"]
        );
        assert_eq!(names(&found.compressed), ["page_log-20261120.zst", "page_log.2.gz"]);
    }
}
