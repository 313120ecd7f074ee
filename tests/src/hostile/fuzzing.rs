//! Feeding every decoder with inputs that no honest peer sends.
//!
//! Half of the inputs are valid ones with bytes changed; half have a hostile inside in a frame that is
//! right: lengths, counts, checksums, chain and signatures made for it. Invariant: an input is a function of
//! decoder, seed, number and corpus. One that gives an outcome nobody saw before joins those that further
//! ones are made from. What a decoder must be is in [`decoder`]; where inputs are kept, in [`corpus`].

pub mod corpus;
pub mod decoder;
mod enrolment;
mod goldens;
mod journal;
mod mutation;
mod records;
mod text;
mod values;
mod wire;

use crate::sim::entropy::Entropy;
use core::time::Duration;
use decoder::{Decoder, name, outcome};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Every decoder.
pub fn decoders() -> Vec<Box<dyn Decoder>> {
    vec![
        Box::new(records::RecordDecoder::new()),
        Box::new(records::BatchDecoder::new()),
        Box::new(wire::WireDecoder::new()),
        Box::new(enrolment::EnrolmentDecoder::new()),
        Box::new(journal::JournalDecoder::new()),
        Box::new(text::JoinUrlDecoder),
        Box::new(text::ActDecoder::new()),
        Box::new(text::ServerActDecoder::new()),
        Box::new(text::PageLogDecoder::new()),
        Box::new(text::PageLogFormatDecoder),
        Box::new(text::RateCardDecoder),
    ]
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Run {
    /// Inputs read.
    pub inputs: u64,
    /// Of these, accepted.
    pub accepted: u64,
    /// The longest that one took.
    pub slowest: Duration,
    /// The shortest input of each outcome that neither seeds nor corpus show.
    pub new: BTreeMap<String, Vec<u8>>,
    /// An input for each way in which the decoder panicked, by name, with what it said.
    pub panics: BTreeMap<String, (String, Vec<u8>)>,
}

/// Inputs that further ones are made from; more are not kept.
const POOL_MAX: usize = 1024;

/// Reads the seeds and the corpus, then so many inputs made from them.
pub fn run(decoder: &dyn Decoder, corpus: &[Vec<u8>], seed: u64, inputs: u64) -> Run {
    let mut pool = decoder.seeds();
    pool.extend_from_slice(corpus);
    let mut run = Run::default();
    for input in &pool {
        run.feed(decoder, input);
    }
    let known = std::mem::take(&mut run.new);
    for number in 0..inputs {
        let mut entropy = Entropy::new(seed, number, decoder.name());
        let input = match number % 2 {
            0 => mutation::mutate(&mut entropy, &pool),
            _ => decoder.dressed(&mut entropy),
        };
        let Some(outcome) = run.feed(decoder, &input) else { continue };
        if known.contains_key(&outcome) {
            run.new.remove(&outcome);
        } else if run.new.get(&outcome).is_some_and(|kept| *kept == input) && pool.len() < POOL_MAX
        {
            pool.push(input);
        }
    }
    run
}

impl Run {
    /// Reads one input; returns what came of it, if the decoder lived.
    fn feed(&mut self, decoder: &dyn Decoder, input: &[u8]) -> Option<String> {
        let started = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| decoder.read(input)));
        self.slowest = self.slowest.max(started.elapsed());
        self.inputs += 1;
        match read {
            Ok(read) => {
                self.accepted += u64::from(read.is_ok());
                let outcome = outcome(&read);
                let kept = self.new.entry(outcome.clone()).or_insert_with(|| input.to_vec());
                if input.len() < kept.len() {
                    *kept = input.to_vec();
                }
                Some(outcome)
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
                let told = || (text.to_owned(), input.to_vec());
                self.panics.entry(name("panic", text)).or_insert_with(told);
                None
            }
        }
    }
}
