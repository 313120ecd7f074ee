//! PINs: what an administrator reads to a branch.
//!
//! Invariant: 40 random bits each, from the system, in Crockford's base 32 (no
//! letter that is taken for a digit). The store keeps a hash; the PIN itself is
//! shown once and forgotten. How often one may be tried is the engine's.

/// Crockford's base 32: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new PIN, `XXXX-XXXX`.
///
/// # Errors
/// The system gave no entropy.
pub(super) fn new_pin() -> Result<String, getrandom::Error> {
    let mut random = [0; 5];
    getrandom::fill(&mut random)?;
    Ok(pin_of(random))
}

fn pin_of(random: [u8; 5]) -> String {
    let bits = random.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let digit = |index: u32| char::from(DIGITS[(bits >> (35 - 5 * index)) as usize % 32]);
    let half = |digits: std::ops::Range<u32>| digits.map(digit).collect::<String>();
    format!("{}-{}", half(0..4), half(4..8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forty_bits_are_in_it() {
        assert_eq!(pin_of([0; 5]), "0000-0000");
        assert_eq!(pin_of([0xff; 5]), "ZZZZ-ZZZZ");
        assert_eq!(pin_of([0, 0, 0, 0, 33]), "0000-0011");
        let ones: std::collections::BTreeSet<String> = (0..40)
            .map(|bit| pin_of((1_u64 << bit).to_be_bytes()[3..].try_into().unwrap()))
            .collect();
        assert_eq!(ones.len(), 40);
        assert_ne!(new_pin().unwrap(), new_pin().unwrap());
    }
}
