//! The workload is what it says: the same for a seed, of that mix, with the fixture's amounts.
//!
//! Invariant: what is pinned here changes only with the workload itself, and then figures of before are about
//! other events.

use super::*;
use crate::workload::columns::Columns;
use tallyroll_schema::{HybridTime, Record, Timestamp};

const OFFICE: Office = Office { devices: 10, users: 100, seed: 5 };

fn records(office: Office, count: usize) -> Vec<u8> {
    let record = |happened: Happened| {
        let hybrid = HybridTime { wall: happened.at, counter: 0 };
        let time = Timestamp { wall: happened.at, hybrid, ..Timestamp::default() };
        Record::encode(&happened.event, time).expect("encodes")
    };
    office.happenings().take(count).flat_map(record).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let bytes = records(OFFICE, 2_000);
    assert!(bytes == records(OFFICE, 2_000));
    assert!(bytes != records(Office { seed: 6, ..OFFICE }, 2_000));
    // Pinned, so that figures of two days are about the same events.
    let hash = blake3::hash(&bytes).to_hex();
    assert_eq!(hash.as_str().get(..16), Some("cebd18da40fe35ff"));
}

#[test]
fn the_mix_is_an_offices() {
    let count = 50_000;
    let mut shares = BTreeMap::<&str, u32>::new();
    for happened in OFFICE.happenings().take(count) {
        *shares.entry(happened.event.name()).or_default() += 1;
    }
    let percent = |name| f64::from(shares[name]) * 100.0 / count as f64;
    for (name, expected) in [
        ("pages.printed", 59.3),
        ("pages.captured", 14.4),
        ("pages.converted", 7.2),
        ("document.sent", 14.4),
        ("fault.raised", 2.3),
    ] {
        assert!((percent(name) - expected).abs() < 1.0, "{name}: {:.1} %", percent(name));
    }
}

#[test]
fn amounts_are_those_of_the_page_log() {
    let amounts = amounts();
    assert_eq!(amounts.len(), 33);
    // 105 came out of the printer; a reprint's running total holds two of them again.
    assert_eq!(amounts.iter().map(|(impressions, _)| impressions).sum::<u32>(), 107);
    let two_sided = amounts.iter().filter(|(_, sides)| sides.is_some()).count();
    assert_eq!(two_sided, 6);
}

#[test]
fn gaps_are_exponential_and_users_are_zipfs() {
    let columns = Columns::of(OFFICE.happenings().take(50_000));
    let hours = (columns.at[49_999] - columns.at[0]) as f64;
    let mean = hours / 49_999.0;
    assert!((mean - 800.0).abs() < 12.0, "a mean gap of {mean:.0} ms over ten devices");
    let gaps = columns.at.windows(2).filter(|pair| ((pair[1] - pair[0]) as f64) < mean).count();
    assert!((31_000..32_200).contains(&gaps), "1 - 1/e of them are below the mean: {gaps}");
    let of = |user| columns.user.iter().filter(|drawn| **drawn == user).count() as f64;
    let (first, tenth) = (of(0), of(9));
    assert!((8.0..12.5).contains(&(first / tenth)), "{first} and {tenth}");
}

#[test]
fn the_dump_holds_each_column_once() {
    let columns = Columns::of(OFFICE.happenings().take(100));
    let mut bytes = Vec::new();
    columns.dump(&mut bytes).expect("writes");
    let row = 4 + 4 + 8 + 8 + 2 + 4 + 4 + 1 + 4 + 8;
    assert_eq!(bytes.len(), 100 * row + 8, "and the first time");
}
