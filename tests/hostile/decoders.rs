//! Every decoder reads its corpus and fresh hostile inputs, and lives. The binary `fuzz` feeds any number of them.
//! Invariant: an input that once brought a decoder down is in the corpus, so that it is read here for ever.
//! That production's limits are stated first and met is seen by the decoders' own tests.

use tallyroll_tests::hostile::fuzzing::{corpus, decoders, run};

const SEED: u64 = 1;

/// For each decoder, beside its corpus.
const INPUTS: u64 = 100_000;

#[test]
fn no_input_brings_a_decoder_down() {
    for decoder in decoders() {
        let name = decoder.name();
        let corpus = corpus::load(name).unwrap();
        assert!(!corpus.is_empty(), "{name}: the corpus is missing");
        let found = run(decoder.as_ref(), &corpus, SEED, INPUTS);
        println!(
            "{name}: {} inputs, {} accepted, {} in the corpus",
            found.inputs,
            found.accepted,
            corpus.len()
        );
        if let Some((text, input)) = found.panics.values().next() {
            let line = "cargo run --release -p tallyroll-tests --bin fuzz -- --decoder";
            panic!("{name}: {text}\n  input {input:02x?}\n  {line} {name} --seed {SEED}");
        }
        let both = (1..found.inputs).contains(&found.accepted);
        assert!(both, "{name}: some inputs are accepted, some are refused");
    }
}
