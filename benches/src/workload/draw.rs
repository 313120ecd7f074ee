//! Chances: one stream of numbers from a seed, and what is drawn with it.
//!
//! Invariant: the same seed gives the same numbers on every machine; only the exponential draw goes through
//! the system's logarithm, and is rounded to whole units, so that a last digit does not show.

/// A stream of numbers (SplitMix64, as Steele, Lea and Flood gave it).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and is asked one at a time")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is small beside 2⁶⁴, or 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One of them, if there are any.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// Exponentially distributed, in whole units.
    pub fn exponential(&mut self, mean: f64) -> u64 {
        let uniform = ((self.next() >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        (-uniform.ln() * mean).round() as u64
    }
}

/// Zipf's law with exponent 1: the k-th of them comes up 1/k as often as the first.
#[derive(Debug)]
pub(super) struct Zipf {
    /// Sums of the weights, in 2³²ths of the first one's.
    sums: Vec<u64>,
}

impl Zipf {
    pub(super) fn new(count: u32) -> Self {
        let weights = (1..=u64::from(count.max(1))).map(|rank| (1 << 32) / rank);
        let sum = |sum: &mut u64, weight| {
            *sum += weight;
            Some(*sum)
        };
        Self { sums: weights.scan(0, sum).collect() }
    }

    /// From 0, the most frequent, on.
    pub(super) fn draw(&self, draw: &mut Draw) -> u32 {
        let at = draw.below(self.sums.last().copied().unwrap_or(1));
        self.sums.partition_point(|sum| *sum <= at) as u32
    }
}
