//! That the cloud revoked this device, as it told: a file, for it is known also where no agent runs and no cloud answers.
//!
//! Invariant: it is there from the cloud's word on, and until a cloud takes a session with this device again, as
//! one may that was put back from a backup. It decides nothing but what people are told.

use crate::data_dir::DataDir;
use crate::secret_file;
use std::io::{self, ErrorKind};

const NAME: &str = "revoked";

/// Notes what the cloud said.
///
/// # Errors
/// The system's.
pub(crate) fn note(dir: &DataDir, why: &str) -> io::Result<()> {
    if told(dir).as_deref() == Some(why) {
        return Ok(());
    }
    secret_file::write(dir.root(), NAME, why.as_bytes())
}

/// A cloud believes this device.
///
/// # Errors
/// The system's.
pub(crate) fn clear(dir: &DataDir) -> io::Result<()> {
    match std::fs::remove_file(dir.root().join(NAME)) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// What the cloud said, if it revoked this device.
pub(crate) fn told(dir: &DataDir) -> Option<String> {
    std::fs::read_to_string(dir.root().join(NAME)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cloud_said_stays_until_a_cloud_believes_the_device() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        clear(&dir).unwrap();
        assert_eq!(told(&dir), None);
        note(&dir, "stolen").unwrap();
        note(&dir, "stolen").unwrap();
        assert_eq!(told(&dir).as_deref(), Some("stolen"));
        clear(&dir).unwrap();
        assert_eq!(told(&dir), None);
    }
}
