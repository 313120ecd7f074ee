//! What carries a device's events to the cloud, some of them more than once.
//!
//! Invariant: the messages are those of real sessions, in order; what comes again is a whole burst, as after a
//! connection that broke before its receipt.

use super::{Cloud, Edge, TENANT};
use crate::sim::entropy::Entropy;
use core::time::Duration;
use std::collections::VecDeque;
use tallyroll_engine::device::Now;
use tallyroll_engine::merge::Burst;
use tallyroll_engine::sync::{Effect, Output, Role, Session, SessionConfig};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::DeviceId;
use tallyroll_schema::wire::{Message, StreamKind};

/// Who is carried for, to whom, and when.
pub(super) struct Way<'a> {
    pub(super) device: &'a mut Edge,
    pub(super) cloud: &'a mut Cloud,
    pub(super) now: Now,
    pub(super) entropy: &'a mut Entropy,
}

/// One device's way to the cloud.
pub(super) struct Carrier {
    duplicates: u64,
    /// Bursts that come again later.
    late: Vec<Burst>,
}

impl Carrier {
    pub(super) fn new(duplicates: u64) -> Self {
        Self { duplicates, late: Vec::new() }
    }

    /// Runs sessions until everything is there; returns how many events came again. At the `last`, what
    /// is late comes.
    pub(super) fn carry(&mut self, mut way: Way<'_>, last: bool) -> Result<u64> {
        let mut again = 0;
        while !self.session(&mut way, &mut again)? {}
        let Way { device, cloud, now, entropy } = way;
        while self.late.len() > if last { 0 } else { 4 } {
            let burst = self.late.swap_remove(entropy.index(self.late.len()));
            again += deliver(cloud, device.id(), burst, now)?;
        }
        Ok(again)
    }

    /// One session; whether both ends have all.
    fn session(&mut self, way: &mut Way<'_>, again: &mut u64) -> Result<bool> {
        let Way { device, cloud, now, entropy } = way;
        let (id, now) = (device.id(), *now);
        let mut edge = Session::new(config(Role::Device, id), device.opening()?, Duration::ZERO);
        let mut hub = Session::new(config(Role::Cloud, id), cloud.opening(id)?, Duration::ZERO);
        let (mut up, mut down) = (VecDeque::new(), VecDeque::new());
        let closed = |why: &dyn core::fmt::Debug| Error::Rejected(format!("closed: {why:?}"));
        loop {
            while let Some(output) = edge.poll_output() {
                match output {
                    Output::Send { stream, message } => up.push_back((stream, message)),
                    Output::Perform(effect) => edge.complete(device.perform(now, effect)?),
                    Output::Close(error) if error.retryable => return Ok(false),
                    Output::Close(error) => return Err(closed(&error)),
                }
            }
            while let Some(output) = hub.poll_output() {
                match output {
                    Output::Send { stream, message } => down.push_back((stream, message)),
                    Output::Perform(effect) => {
                        let burst = match &effect {
                            Effect::Persist(burst) if entropy.percent(self.duplicates) => {
                                Some(burst.clone())
                            }
                            _ => None,
                        };
                        let replies = cloud.perform(now, vec![(id, effect)])?;
                        replies.into_iter().for_each(|reply| hub.complete(reply));
                        match burst {
                            Some(burst) if entropy.percent(50) => {
                                *again += deliver(cloud, id, burst, now)?;
                            }
                            Some(burst) => self.late.push(burst),
                            None => {}
                        }
                    }
                    Output::Close(error) => return Err(closed(&error)),
                }
            }
            if !one_message(&mut up, &mut hub) & !one_message(&mut down, &mut edge) {
                return Ok(true);
            }
        }
    }
}

fn one_message(wire: &mut VecDeque<(StreamKind, Message)>, to: &mut Session) -> bool {
    let Some((stream, message)) = wire.pop_front() else { return false };
    to.handle(stream, message);
    true
}

fn config(role: Role, device: DeviceId) -> SessionConfig {
    SessionConfig { role, tenant: TENANT, device, window: 1 << 20, agent: String::new() }
}

/// A burst comes once more; returns how many events are in it.
fn deliver(cloud: &mut Cloud, device: DeviceId, burst: Burst, now: Now) -> Result<u64> {
    let events = burst.batches.iter().map(|batch| u64::from(batch.header().count)).sum();
    cloud.perform(now, vec![(device, Effect::Persist(burst))])?;
    Ok(events)
}
