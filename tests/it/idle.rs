//! What an agent costs a printer that has little: memory when idle, and room for its program.
//! The figures are printed, for README tells them; what they may be at most is asserted.
//! What it costs under load is left to the benches.

use std::time::Duration;

use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, Memory, PATIENCE, program};

const MEBIBYTE: u64 = 1024 * 1024;
const RESIDENT_MAX: u64 = 24 * MEBIBYTE;
/// It was 12 before the panel and what a user may spend were in it, and is to be 12 again.
const PROGRAM_MAX: u64 = 12 * MEBIBYTE;

#[test]
fn an_idle_linked_agent_stays_below_24_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let lines: String = Acts::new(1, 0).take(1000).map(|(job, said)| said.line(job)).collect();
    drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
    branch.wait_synced(PATIENCE);
    std::thread::sleep(Duration::from_secs(10));

    assert!(branch.standing().linked);
    let resident = Memory::of(branch.agent_id().unwrap()).resident;
    eprintln!("an idle agent: {:.1} MiB resident", resident as f64 / MEBIBYTE as f64);
    assert!(resident > 0, "the agent has ended");
    assert!(resident < RESIDENT_MAX, "{resident} bytes resident, {RESIDENT_MAX} are allowed");
}

#[test]
fn the_edge_s_release_program_is_below_12_mebibytes() {
    if cfg!(debug_assertions) {
        eprintln!("only a release build is measured");
        return;
    }
    let bytes = program("tallyroll-edge").metadata().unwrap().len();
    eprintln!("tallyroll-edge: {:.1} MiB", bytes as f64 / MEBIBYTE as f64);
    assert!(bytes < PROGRAM_MAX, "{bytes} bytes, {PROGRAM_MAX} are allowed");
}
