//! What an office does: prints, scans and copies in jobs that are sent, saved, discarded or left.
//!
//! Invariant: every act is decided by the engine as a device's rim asks it to; who does how much is
//! distributed by Zipf's law. Grants, links and changes of the policy come from the cloud meanwhile.

use super::{Cloud, Edge, Options};
use crate::sim::acts;
use crate::sim::entropy::Entropy;
use tallyroll_engine::Result;
use tallyroll_engine::counts::decide;
use tallyroll_engine::device::Now;
use tallyroll_schema::event::counts::SettlementPolicy;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Credits, DeviceId, JobId, SubjectId, UserAlias};

/// One in so many users is linked to nobody.
const UNLINKED: u64 = 7;

pub(super) struct Office {
    entropy: Entropy,
    /// The sum of the shares of the first users: 1, 1 + 1/2, 1 + 1/2 + 1/3, in millionths.
    shares: Vec<u64>,
    additive: bool,
}

impl Office {
    pub(super) fn new(options: &Options, cloud: &mut Cloud, devices: &[Edge]) -> Result<Self> {
        let shares = (1..=options.users).scan(0, |sum, rank| {
            *sum += 1_000_000 / rank;
            Some(*sum)
        });
        let began = super::at(options, 0);
        let linked = (0..options.users).filter(|user| user % UNLINKED != 3);
        let links = linked.flat_map(|user| {
            devices.iter().map(move |device| (device.id(), alias(device.id(), user), subject(user)))
        });
        cloud.link(began, links.collect())?;
        let entropy = Entropy::new(options.seed, 0, "office");
        Ok(Self { entropy, shares: shares.collect(), additive: false })
    }

    fn user(&mut self) -> u64 {
        let drawn = self.entropy.below(self.shares.last().copied().unwrap_or(1).max(1));
        self.shares.partition_point(|share| *share <= drawn) as u64
    }

    /// Does one job at a device; returns how many events it recorded.
    pub(super) fn job(&mut self, device: &mut Edge, now: Now) -> Result<u64> {
        let (job, user) = (JobId(self.entropy.bytes()), self.user());
        let alias = alias(device.id(), user);
        let name = || format!("user {user}");
        let mut record = |act: Act| -> Result<()> {
            let event = decide(&device.terms(job), act, job, Some(alias))?;
            device.commit(now, &[(LogClass::Ledger, event)]).map(drop)
        };
        // Half of an office's work is a print, and that is one event.
        if self.entropy.percent(50) {
            let (act, _) = acts::print_of(&mut self.entropy, job, name());
            return record(act).map(|()| 1);
        }
        record(Act::Begin { job, user: name() })?;
        let acts = self.entropy.between(1, 6);
        for _ in 0..acts {
            let (act, _) = acts::draw(&mut self.entropy, job, name());
            record(act)?;
        }
        let end = match self.entropy.below(10) {
            0 => return Ok(acts + 1), // nobody decides it
            1 => Act::Discard { job },
            _ => Act::End { job },
        };
        record(end).map(|()| acts + 2)
    }

    /// What administrators do now and then.
    pub(super) fn decide(&mut self, cloud: &mut Cloud, now: Now) -> Result<()> {
        let credits = Credits::from_thousandths(self.entropy.between(1, 500_000) as i64 - 50_000);
        let subject = subject(self.user());
        cloud.grant(now, subject, credits, "a recount".into())?;
        if self.entropy.percent(10) {
            self.additive = !self.additive;
            let policy = match self.additive {
                true => SettlementPolicy::Additive,
                false => SettlementPolicy::ServerSettles,
            };
            cloud.publish_settlement(now, policy)?;
        }
        Ok(())
    }
}

fn alias(device: DeviceId, user: u64) -> UserAlias {
    let mut alias = device.0;
    alias.iter_mut().zip(user.to_le_bytes()).for_each(|(byte, of_user)| *byte ^= of_user);
    UserAlias(alias)
}

fn subject(user: u64) -> SubjectId {
    let mut subject = [7; 16];
    subject.iter_mut().zip(user.to_le_bytes()).for_each(|(byte, of_user)| *byte = of_user);
    SubjectId(subject)
}
