//! A calendar of the processes' own: what a month brings is seen without waiting for it.
//! Invariant: every process of a fleet is given the same day, and its clock runs on from there; what counts seconds
//! is left alone. Without `libfaketime` a test fails and says where it comes from.

use std::process::Command;

/// For the loader, which knows where this system's libraries are.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketime.so.1";

/// Has a program begin on a day, `2031-02-03`, at noon in UTC.
///
/// # Panics
/// When `faketime` is not installed.
pub(super) fn on(command: &mut Command, day: &str) {
    let faketime = Command::new("faketime").arg("--version").output();
    assert!(faketime.is_ok(), "`faketime` is missing: apt-get install faketime, or run ./check");
    command
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME", format!("@{day} 12:00:00"))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .env("TZ", "UTC");
}
