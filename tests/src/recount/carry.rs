//! What carries a device's events to the cloud, some of them more than once.
//!
//! Invariant: the messages are those of real sessions, in order; what comes again is a whole burst, as after a
//! connection that broke before its receipt.

use super::{Cloud, Edge, TENANT};
use crate::sim::entropy::Entropy;
use core::time::Duration;
use std::collections::VecDeque;
use tallyroll_engine::device::Now;
use tallyroll_engine::log::journal::JournalFile;
use tallyroll_engine::merge::Burst;
use tallyroll_engine::sync::{Effect, Output, Role, Session, SessionConfig};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::DeviceId;
use tallyroll_schema::wire::{Message, StreamKind};

/// A journal in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal(Vec<u8>);

impl JournalFile for Journal {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        let held = self.0.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(held.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let end = offset as usize + bytes.len();
        self.0.resize(self.0.len().max(end), 0);
        self.0[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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

    /// Runs sessions until everything is there; returns how many events came again.
    pub(super) fn carry(
        &mut self,
        device: &mut Edge,
        cloud: &mut Cloud,
        now: Now,
        entropy: &mut Entropy,
    ) -> Result<u64> {
        let mut again = 0;
        while !self.session(device, cloud, now, entropy, &mut again)? {}
        if self.late.len() > 4 {
            let burst = self.late.swap_remove(entropy.index(self.late.len()));
            again += deliver(cloud, device.id(), burst, now)?;
        }
        Ok(again)
    }

    /// The same, and what is late comes.
    pub(super) fn finish(
        &mut self,
        device: &mut Edge,
        cloud: &mut Cloud,
        now: Now,
        entropy: &mut Entropy,
    ) -> Result<u64> {
        let mut again = self.carry(device, cloud, now, entropy)?;
        for burst in self.late.drain(..) {
            again += deliver(cloud, device.id(), burst, now)?;
        }
        Ok(again)
    }

    /// One session; whether both ends have all.
    fn session(
        &mut self,
        device: &mut Edge,
        cloud: &mut Cloud,
        now: Now,
        entropy: &mut Entropy,
        again: &mut u64,
    ) -> Result<bool> {
        let id = device.id();
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
