//! How often somebody may come: handshakes of an address, sessions of a device.
//!
//! Owns the acts of a processing server, too. Invariant: what one address or one device does slows no other down, and nobody can
//! fill our memory by being many. An address that may be forged is counted apart from
//! those that were shown to be true, so that nobody uses up another's allowance.

use core::hash::Hash;
use core::time::Duration;
use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use tallyroll_schema::DeviceId;
use tallyroll_schema::limits::links::{
    ACTS_BURST, ACTS_PER_SECOND, ADDRESSES_MAX, HANDSHAKES_BURST, HANDSHAKES_PER_SECOND,
    SESSION_EVERY, SESSIONS_BURST,
};

/// The allowances of everybody.
#[derive(Debug)]
pub(super) struct Rates {
    addresses: Allowances<(IpAddr, bool)>,
    devices: Allowances<DeviceId>,
    acts: Allowances<DeviceId>,
}

impl Rates {
    /// Nobody came yet.
    pub(super) fn new() -> Self {
        let [per_second, burst, sessions] =
            [HANDSHAKES_PER_SECOND, HANDSHAKES_BURST, SESSIONS_BURST]
                .map(|count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        let address = Quota::per_second(per_second).allow_burst(burst);
        let session = Quota::with_period(SESSION_EVERY).unwrap_or(Quota::per_second(sessions));
        let session = session.allow_burst(sessions);
        let [acts, at_once] = [ACTS_PER_SECOND, ACTS_BURST]
            .map(|count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        let acts = Quota::per_second(acts).allow_burst(at_once);
        let (addresses, devices) = (Allowances::new(address), Allowances::new(session));
        Self { addresses, devices, acts: Allowances::new(acts) }
    }

    /// Whether an address may begin another handshake; `shown` if it was shown that it is not forged.
    pub(super) fn may_shake_hands(&self, address: IpAddr, shown: bool) -> bool {
        self.addresses.take((network(address), shown))
    }

    /// Whether a device may begin another session.
    pub(super) fn may_begin(&self, device: DeviceId) -> bool {
        self.devices.take(device)
    }

    /// Waits until a device may ask for another act.
    pub(super) async fn may_act(&self, device: DeviceId) {
        while !self.acts.take(device) {
            tokio::time::sleep(Duration::from_secs(1) / ACTS_PER_SECOND).await;
        }
    }
}

/// What one customer of an access network has: an address, or 2⁶⁴ of the longer ones.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(long) => {
            let [a, b, c, d, ..] = long.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        short => short,
    }
}

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

#[derive(Debug)]
struct Allowances<K: Hash + Eq + Clone> {
    quota: Quota,
    taken: Mutex<Limiter<K>>,
}

impl<K: Hash + Eq + Clone> Allowances<K> {
    fn new(quota: Quota) -> Self {
        Self { quota, taken: Mutex::new(RateLimiter::hashmap(quota)) }
    }

    fn take(&self, key: K) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= ADDRESSES_MAX {
            taken.retain_recent();
            if taken.len() >= ADDRESSES_MAX {
                *taken = RateLimiter::hashmap(self.quota);
            }
        }
        taken.check_key(&key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_allowance_and_no_more_whoever_else_comes() {
        let rates = Rates::new();
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let mut taken = 0;
        while rates.may_shake_hands(here, true) {
            taken += 1;
            assert!(taken < 4 * HANDSHAKES_BURST, "it never ends");
        }
        assert!(taken >= HANDSHAKES_BURST);
        assert!(rates.may_shake_hands(there, true), "another address has its own");
        assert!(rates.may_shake_hands(here, false), "who forges it uses up another allowance");
    }

    #[tokio::test]
    async fn a_processing_server_that_asks_too_fast_waits_and_nobody_else_does() {
        let rates = Rates::new();
        let began = std::time::Instant::now();
        for _ in 0..ACTS_BURST + ACTS_PER_SECOND / 4 {
            rates.may_act(DeviceId([1; 16])).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
        assert!(rates.acts.take(DeviceId([2; 16])));
    }

    #[test]
    fn a_customer_has_one_allowance_for_all_long_addresses() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::2:0:0:1", "2001:db8:0:1::1"]
            .map(|text| network(text.parse().unwrap()));
        assert!(a == b && a != c);
        assert_eq!(
            network("::ffff:192.0.2.1".parse().unwrap()),
            "192.0.2.1".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn many_addresses_take_no_more_memory_than_stated() {
        let rates = Rates::new();
        for number in 0..3 * ADDRESSES_MAX as u32 {
            assert!(rates.may_shake_hands(IpAddr::from(number.to_be_bytes()), true));
        }
        assert!(rates.addresses.taken.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
