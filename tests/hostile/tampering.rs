//! A thousand tamperings with a stored log; the binary `fuzz` does ten thousand.
//! Invariant: each is found with an old receipt, and the first bad place is named. That nothing is found where
//! nobody tampered is tested with it. The exit code of `tallyroll log verify` is left to `tests/it`.

use tallyroll_tests::hostile::tampering;

#[test]
fn a_thousand_tamperings_are_found_with_an_old_receipt_and_their_place_is_named() {
    let tally = tampering::run(1, 1000);
    let missed = tally.missed.join("\n");
    assert!(missed.is_empty(), "{} were missed:\n{missed}", tally.missed.len());
    for ((deed, cover), times) in &tally.times {
        println!("{deed:?}, {cover:?}: {times}");
        assert!(*times >= 10, "{deed:?}, {cover:?} was drawn {times} times of 1000");
    }
}
