//! The way of an event at the edge, against what the disk allows in the same run:
//! durable append (one and a hundred a commit) beside a bare write + fdatasync of
//! the same bytes to a preallocated file, and sealing and folding beside it.

use std::error::Error;
use std::os::unix::fs::FileExt;
use tallyroll_benches::{device, event, now, open, seconds};
use tallyroll_schema::{Record, Timestamp};

const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    println!("durable = fdatasync before acknowledgement; events/s, median [min..max] of {RUNS}");
    append(1, 500)?;
    append(100, 100)?;
    seal()
}

fn append(per_commit: u64, commits: u64) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir_in(".")?;
    let mut device = device(dir.path())?;
    let mut next = 0;
    let ours = seconds(RUNS, || {
        for _ in 0..commits {
            let events: Vec<_> = (next..next + per_commit).map(event).collect();
            next += per_commit;
            device.commit(now(next), &events).map(drop).unwrap_or_else(|why| panic!("{why}"));
        }
    });

    let one = Record::encode(&event(1).1, Timestamp::default())?;
    let entry = vec![7; 56 + one.len() * usize::try_from(per_commit)?];
    let file = open(&dir.path().join("bare"))?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    file.sync_data()?;
    let mut offset = 0;
    let bare = seconds(RUNS, || {
        for _ in 0..commits {
            offset = if offset + entry.len() > 1 << 20 { 0 } else { offset };
            let written = file.write_all_at(&entry, offset as u64).and_then(|()| file.sync_data());
            written.unwrap_or_else(|why| panic!("{why}"));
            offset += entry.len();
        }
    });
    let events = (per_commit * commits) as f64;
    let rate = |seconds: [f64; 3]| seconds.map(|seconds| events / seconds);
    let ([slow, ours, fast], [_, bare, _]) = (rate([ours[2], ours[1], ours[0]]), rate(bare));
    println!(
        "append, {per_commit:>3} a commit: {ours:>9.0} [{slow:.0}..{fast:.0}]  bare {bare:>9.0}  ratio {:.2}",
        ours / bare
    );
    Ok(())
}

fn seal() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir_in(".")?;
    let mut device = device(dir.path())?;
    let (mut next, mut sealed) = (0, 0.0);
    let events = 4000;
    let all = seconds(RUNS, || {
        for _ in 0..events / 100 {
            let batch: Vec<_> = (next..next + 100).map(event).collect();
            next += 100;
            device.commit(now(next), &batch).map(drop).unwrap_or_else(|why| panic!("{why}"));
        }
        let [_, seconds, _] = seconds(1, || {
            device.seal(now(next)).map(drop).unwrap_or_else(|why| panic!("{why}"));
        });
        sealed += seconds;
    });
    println!(
        "seal, {events} events a time: {:>9.0} events/s; append and seal together {:.0}",
        events as f64 * RUNS as f64 / sealed,
        events as f64 / all[1]
    );
    Ok(())
}
