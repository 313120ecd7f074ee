//! What happens to a packet, decided by a seed and nothing else.
//! A [`Fates`] is the stream of decisions for one flow in one direction: the n-th packet takes the n-th.
//! Invariant: every fate draws the same number of random words, so changing one chance of a configuration
//! leaves the other decisions of a seed as they were; and streams of other flows do not disturb this one.
//! Delivering, cutting and counting are left to the flow.

use std::time::Duration;

use super::ProxyConfig;

/// How much longer a reordered packet takes: enough for a burst behind it to pass.
pub const HELD_BACK: Duration = Duration::from_millis(10);

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client to the server.
    Up,
    /// From the server to a client.
    Down,
}

/// What happens to one packet; times are counted from its arrival at the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives after this time.
    Delivered(Duration),
    /// It arrives twice.
    Doubled(Duration, Duration),
}

/// The fates of one flow's packets in one direction, in order, without end.
#[derive(Clone, Debug)]
pub struct Fates {
    config: ProxyConfig,
    state: u64,
}

impl Fates {
    /// The fates that flow number `flow` (counted from 0, in order of first packets) meets in `direction`.
    #[must_use]
    pub fn new(config: &ProxyConfig, flow: u64, direction: Direction) -> Self {
        let stream = flow * 2 + u64::from(direction == Direction::Down);
        let mut fates = Self { config: config.clone(), state: config.seed };
        // Mixing seed and stream one after the other keeps (1, 0) apart from (0, 1).
        fates.state = fates.word() ^ stream;
        fates.state = fates.word();
        fates
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Evenly spread over [0, 1): the upper 53 bits, as many as the fraction holds.
    fn fraction(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Iterator for Fates {
    type Item = Fate;

    fn next(&mut self) -> Option<Fate> {
        let [lost, doubled, held, late, late_again] = std::array::from_fn(|_| self.fraction());
        let config = &self.config;
        let after = |late: f64| config.delay + config.jitter.mul_f64(late);
        let held_back = if held < config.reorder { HELD_BACK } else { Duration::ZERO };
        let first = after(late) + held_back;
        Some(if lost < config.loss {
            Fate::Lost
        } else if doubled < config.duplicate {
            Fate::Doubled(first, after(late_again))
        } else {
            Fate::Delivered(first)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(seed: u64) -> ProxyConfig {
        ProxyConfig {
            loss: 0.2,
            duplicate: 0.1,
            reorder: 0.1,
            delay: Duration::from_millis(250),
            jitter: Duration::from_millis(20),
            ..ProxyConfig::clean(([127, 0, 0, 1], 1).into(), seed)
        }
    }

    fn first(config: &ProxyConfig, flow: u64, direction: Direction) -> Vec<Fate> {
        Fates::new(config, flow, direction).take(500).collect()
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(first(&config(7), 0, Direction::Up), first(&config(7), 0, Direction::Up));
    }

    #[test]
    fn seed_flow_and_direction_each_give_another_sequence() {
        let base = first(&config(7), 0, Direction::Up);
        assert_ne!(base, first(&config(8), 0, Direction::Up));
        assert_ne!(base, first(&config(7), 1, Direction::Up));
        assert_ne!(base, first(&config(7), 0, Direction::Down));
    }

    #[test]
    fn more_loss_only_loses_more() {
        let worse = ProxyConfig { loss: 0.5, ..config(7) };
        let before = first(&config(7), 0, Direction::Up);
        for (before, after) in before.into_iter().zip(first(&worse, 0, Direction::Up)) {
            assert!(after == before || after == Fate::Lost, "{before:?} became {after:?}");
        }
    }

    #[test]
    fn chances_are_what_the_configuration_says() {
        let config = config(7);
        let mut lost = 0;
        let mut doubled = 0;
        for fate in Fates::new(&config, 0, Direction::Up).take(100_000) {
            match fate {
                Fate::Lost => lost += 1,
                Fate::Doubled(..) => doubled += 1,
                Fate::Delivered(after) => {
                    assert!(
                        (config.delay..config.delay + config.jitter + HELD_BACK).contains(&after)
                    );
                }
            }
        }
        // Five standard deviations of 100,000 draws; doubled ones are a tenth of what is not lost.
        assert!((19_370..=20_630).contains(&lost), "{lost} of 100,000 lost");
        assert!((7_570..=8_430).contains(&doubled), "{doubled} of 100,000 doubled");
    }

    #[test]
    fn a_clean_line_delivers_at_once() {
        let clean = ProxyConfig::clean(([127, 0, 0, 1], 1).into(), 7);
        let fates = first(&clean, 0, Direction::Up);
        assert!(fates.iter().all(|fate| *fate == Fate::Delivered(Duration::ZERO)));
    }
}
