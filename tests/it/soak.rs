//! A short soak: bad lines, partitions and kills at once, and everything acknowledged is there in the end, once.
//! The soak at its full size is a command of its own:
//! `cargo run --release -p tallyroll-tests --bin soak -- --minutes 60 --seed 1`.

use std::time::Duration;

use tallyroll_tests::soak::{Options, run};

const SEED: u64 = 3;

#[test]
fn kills_and_partitions_on_bad_lines_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { length: Duration::from_secs(40), kills: 6, seed: SEED };
    let report = run(&options, dir.path(), &mut |line| eprintln!("{line}"));
    eprintln!("{report}");
    assert_eq!(report.audit.violations, [""; 0], "seed {SEED}");
    assert_eq!((report.cloud_kills, report.branch_kills), (6, vec![6; 3]));
    assert!(
        report.partitions > 0
            && report.traffic.iter().all(|line| line.lost > 0 && line.packets > 0)
    );
    assert!(report.audit.acknowledged > 500, "only {} acts: no load", report.audit.acknowledged);
}
