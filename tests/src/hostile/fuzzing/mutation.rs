//! Making hostile inputs of valid ones.
//!
//! Invariant: an input is a function of the source of choices and the pool alone, and at most
//! [`BYTES_MAX`] long; most are far shorter, so that many can be tried.

use crate::sim::entropy::Entropy;

/// The longest input: over every limit of the schema.
const BYTES_MAX: usize = 1 << 20;
/// Most are no longer than this.
const USUAL_BYTES_MAX: usize = 4 << 10;

/// Numbers at which something changes: signs, widths, limits.
pub(super) const EDGES: [u64; 16] = [
    0,
    1,
    23,
    24,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    0x1_0000,
    256 * 1024,
    512 * 1024,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 63,
    u64::MAX,
];

/// One of the pool, with one to four changes.
pub(super) fn mutate(entropy: &mut Entropy, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut input = pool[entropy.index(pool.len())].clone();
    for _ in 0..entropy.between(1, 4) {
        change(entropy, &mut input, pool);
    }
    let max =
        if entropy.below(1000) == 0 { BYTES_MAX } else { USUAL_BYTES_MAX.max(input.len() / 2) };
    input.truncate(max);
    input
}

fn change(entropy: &mut Entropy, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
    if input.is_empty() {
        return input.push(entropy.draw() as u8);
    }
    let at = entropy.index(input.len());
    match entropy.below(9) {
        0 => input[at] ^= 1 << entropy.below(8),
        1 => input[at] = entropy.draw() as u8,
        2 => input[at] = EDGES[entropy.index(7)] as u8,
        3 => write_number(entropy, input, at),
        4 => input.truncate(at),
        5 => drop(input.drain(at..end(entropy, at, input.len()))),
        6 => {
            let piece = input[at..end(entropy, at, input.len())].to_vec();
            let times = if entropy.percent(90) { 1 } else { entropy.between(2, 2000) as usize };
            let piece = piece.repeat(times.min(BYTES_MAX / piece.len()));
            input.splice(at..at, piece);
        }
        7 => {
            let piece = (0..entropy.between(1, 16)).map(|_| entropy.draw() as u8);
            input.splice(at..at, piece.collect::<Vec<_>>());
        }
        _ => {
            let other = &pool[entropy.index(pool.len())];
            if !other.is_empty() {
                let from = entropy.index(other.len());
                let until = end(entropy, from, other.len());
                let over = end(entropy, at, input.len());
                input.splice(at..over, other[from..until].iter().copied());
            }
        }
    }
}

/// Where a piece that begins at `at` ends; mostly soon.
fn end(entropy: &mut Entropy, at: usize, len: usize) -> usize {
    let longest = if entropy.percent(50) { 8 } else { len };
    at + 1 + entropy.index((len - at).min(longest))
}

/// Writes an edge, or a number near what stands there, one to eight bytes wide.
fn write_number(entropy: &mut Entropy, input: &mut [u8], at: usize) {
    let width = (1 << entropy.below(4)).min(input.len() - at);
    let place = &mut input[at..at + width];
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(place);
    let number = match entropy.below(3) {
        0 => EDGES[entropy.index(EDGES.len())],
        1 => EDGES[entropy.index(EDGES.len())].wrapping_sub(1),
        _ => u64::from_le_bytes(bytes).wrapping_add(entropy.below(5)).wrapping_sub(2),
    };
    let bytes = number.to_le_bytes();
    place.copy_from_slice(&bytes[..width]);
    if entropy.percent(50) {
        place.reverse(); // CBOR's order
    }
}
