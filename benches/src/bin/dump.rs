//! Writes the workload for peers: `dump EVENTS DIRECTORY`.
//!
//! Owns the layout of the files that the comparison reads: `records`, each after its length as four bytes; and
//! a file for each column of plain little-endian numbers. Invariant: they are the events of the backlog that
//! ours is measured with.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use tallyroll_benches::Outcome;
use tallyroll_benches::workload::Office;
use tallyroll_benches::workload::columns::Columns;
use tallyroll_schema::{HybridTime, Record, Timestamp};

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let usage = "say how many events, and into which directory";
    let events: usize = arguments.next().ok_or(usage)?.parse()?;
    let to = PathBuf::from(arguments.next().ok_or(usage)?);
    let office = Office::of_one_device(2);
    let mut records = BufWriter::new(File::create(to.join("records"))?);
    for happened in office.happenings().take(events) {
        let hybrid = HybridTime { wall: happened.at, counter: 0 };
        let time = Timestamp { wall: happened.at, hybrid, ..Timestamp::default() };
        let record = Record::encode(&happened.event, time)?;
        records.write_all(&(record.len() as u32).to_le_bytes())?;
        records.write_all(&record)?;
    }
    records.flush()?;
    let columns = Columns::of(office.happenings().take(events));
    for (name, bytes) in columns.named() {
        std::fs::write(to.join(name), bytes)?;
    }
    Ok(())
}
