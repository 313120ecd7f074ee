//! Where figures go: a table, JSON, CSV or a workbook, to stdout or a file.
//!
//! Invariant: a file is there whole or not at all, durable once its name is, and none is replaced
//! unless that was said; nothing but a file ever is, no link, pipe or device. A workbook never goes to
//! a terminal. What the formats hold is `sheet`'s.

use super::sheet::{csv, workbook};
use super::table::{Column, table, table_for};
use super::{CommandError, Result, print};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How figures are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// Everything there is.
    Json,
    /// Values separated by commas, RFC 4180.
    Csv,
    /// A workbook.
    Xlsx,
}

/// How, and where to.
#[derive(Args)]
pub(crate) struct OutputArguments {
    /// How to write it.
    #[arg(long, value_enum, default_value = "table", conflicts_with = "json")]
    format: Format,
    /// To a file, and not to stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "out")]
    force: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Figures to be written.
pub(super) struct Sheet<'a> {
    /// All of the answer; its `committed-at` dates a workbook.
    pub(super) answer: &'a Value,
    pub(super) title: &'a str,
    pub(super) columns: &'a [Column<'a>],
    pub(super) rows: &'a [Value],
    /// What a person should know beside them.
    pub(super) notes: Vec<String>,
}

impl OutputArguments {
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    /// Writes figures.
    pub(super) fn deliver(&self, sheet: &Sheet<'_>) -> Result {
        let out = self.out.as_deref();
        let Sheet { answer, title, columns, rows, notes } = sheet;
        let bytes = match (self.format(), out) {
            (Format::Table, None) => {
                print(table(columns, rows))?;
                notes.iter().try_for_each(|note| print(super::table::printable(note)))?;
                return Ok(ExitCode::SUCCESS);
            }
            (Format::Table, Some(_)) => {
                let lines = [table_for(columns, rows, false)].into_iter().chain(notes.clone());
                lines.map(|line| line + "\n").collect::<String>().into_bytes()
            }
            (Format::Json, _) => format!("{answer}\n").into_bytes(),
            (Format::Csv, _) => csv(columns, rows)?,
            (Format::Xlsx, None) if io::stdout().is_terminal() => {
                let why = "a workbook is nothing for a terminal: say --out FILE";
                return Err(CommandError::Usage(why.into()));
            }
            (Format::Xlsx, _) => {
                let dated = answer["committed-at"].as_u64().unwrap_or_default();
                workbook(title, dated, columns, rows)?
            }
        };
        match out {
            Some(path) => write_file(path, &bytes, self.force)?,
            None => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush()).map_err(CommandError::Stdout)?;
            }
        }
        if matches!(self.format(), Format::Csv | Format::Xlsx) {
            notes.iter().for_each(|note| eprintln!("{}", super::table::printable(note)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_file(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    let exists = || {
        let why = format!("{} exists; say --force to replace it, or name another", path.display());
        CommandError::Usage(why)
    };
    if let Ok(there) = path.symlink_metadata() {
        if let Some(what) = no_file(there.file_type()) {
            let why = format!("{} is {what}, which no file replaces; name another", path.display());
            return Err(CommandError::Usage(why));
        }
        if !force {
            return Err(exists());
        }
    }
    put(path, bytes, force).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => exists(),
        _ => CommandError::Unwritten { path: path.to_owned(), source },
    })
}

/// What it is, if no regular file.
fn no_file(kind: FileType) -> Option<&'static str> {
    match kind {
        file if file.is_file() => None,
        link if link.is_symlink() => Some("a symbolic link"),
        directory if directory.is_dir() => Some("a directory"),
        pipe if pipe.is_fifo() => Some("a pipe"),
        device if device.is_char_device() || device.is_block_device() => Some("a device"),
        _ => Some("a socket"),
    }
}

/// To a neighbour first, which takes the name once it is durable.
fn put(path: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut unfinished = name.to_owned();
    unfinished.push(format!(".unfinished-{}", std::process::id()));
    let unfinished = directory.join(unfinished);
    let written =
        OpenOptions::new().write(true).create_new(true).open(&unfinished).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            let flags = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
            renameat_with(CWD, &unfinished, CWD, path, flags)?;
            File::open(directory)?.sync_all()
        });
    if written.is_err() {
        drop(fs::remove_file(&unfinished)); // it may not be there
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_and_replaced_only_if_that_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("figures.csv");
        write_file(&path, b"first", false).unwrap();
        let refused = write_file(&path, b"second", false).unwrap_err().to_string();
        assert!(
            refused.ends_with("exists; say --force to replace it, or name another"),
            "{refused}"
        );
        assert!(put(&path, b"raced", false).is_err(), "also if it came meanwhile");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write_file(&path, b"second", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let nowhere = write_file(&dir.path().join("none/figures.csv"), b"", false).unwrap_err();
        assert!(matches!(nowhere, CommandError::Unwritten { .. }));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn what_is_no_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str| dir.path().join(name);
        fs::write(of("file"), b"kept").unwrap();
        std::os::unix::fs::symlink(of("file"), of("link")).unwrap();
        std::os::unix::fs::symlink(of("nothing"), of("dangling")).unwrap();
        fs::create_dir(of("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(of("socket")).unwrap();
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, of("pipe"), pipe, 0o600.into(), 0).unwrap();
        let kinds = [
            (of("link"), "a symbolic link"),
            (of("dangling"), "a symbolic link"),
            (of("directory"), "a directory"),
            (of("socket"), "a socket"),
            (of("pipe"), "a pipe"),
            ("/dev/null".into(), "a device"),
        ];
        for (path, kind) in kinds {
            let before = path.symlink_metadata().unwrap().file_type();
            for force in [false, true] {
                let refused = write_file(&path, b"figures", force).unwrap_err().to_string();
                assert!(
                    refused.contains(&format!("is {kind}, which no file replaces")),
                    "{refused}"
                );
            }
            assert_eq!(path.symlink_metadata().unwrap().file_type(), before);
        }
        assert_eq!(fs::read(of("file")).unwrap(), b"kept");
    }
}
