//! What is fuzzed: a reader of bytes from outside, and how its outcomes are told apart.
//!
//! Invariant: reading says what came of it and never changes the decoder, so that inputs do not
//! depend on each other. What was accepted and does not read back the same, once it is written again,
//! is a panic: wrong, not refused.

use crate::sim::entropy::Entropy;

/// A reader of bytes from outside.
pub trait Decoder {
    /// Its name, and its corpus's.
    fn name(&self) -> &'static str;

    /// Valid inputs.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// An input with a hostile inside in a frame that is right.
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8>;

    /// Reads an input as production does; what it was, or why it was refused.
    ///
    /// # Errors
    /// Why it was refused.
    fn read(&self, input: &[u8]) -> Result<String, String>;
}

const OUTCOME_CHARS_MAX: usize = 44;

/// What came of an input, without the figures and names in it.
pub(super) fn outcome(read: &Result<String, String>) -> String {
    match read {
        Ok(what) => name("accepted", what),
        Err(why) => name("refused", why),
    }
}

/// A verdict and its text as the name of a file.
pub(super) fn name(verdict: &str, text: &str) -> String {
    let (mut name, mut quoted) = (format!("{verdict}-"), false);
    let words = text.split(' ').filter(|word| !word.contains('/')); // a position
    for letter in words.collect::<Vec<_>>().join(" ").chars() {
        quoted ^= matches!(letter, '`' | '"');
        match letter {
            _ if quoted || letter.is_ascii_digit() => {}
            'a'..='z' | 'A'..='Z' => name.push(letter.to_ascii_lowercase()),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
        if name.len() >= OUTCOME_CHARS_MAX {
            break;
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// Holds that a value reads back as it was accepted.
pub(super) fn assert_reads_back<T: PartialEq + core::fmt::Debug, E: core::fmt::Debug>(
    accepted: &T,
    again: &Result<T, E>,
) {
    let same = again.as_ref().is_ok_and(|again| again == accepted);
    assert!(same, "{accepted:?} was accepted, but reads back as {again:?}");
}
