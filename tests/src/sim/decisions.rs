//! What administrators do at the cloud: grants, links of aliases, rate cards.
//!
//! Invariant: as of the workload, whose part this is: what is asked for is in the truth before it is
//! asked, and certain only once it was acknowledged. Usage is the workload's.

use super::faults::Fault;
use super::truth::{CLOUD, Fate, Grant, Noted};
use super::workload::USERS;
use super::world::{Step, World};
use tallyroll_schema::event::counts::{
    CreditsGranted, RateCard, RateCardPublished, SettlementPolicy, SettlementPolicyPublished,
};
use tallyroll_schema::event::people::SubjectLinked;
use tallyroll_schema::{Credits, SubjectId};

impl World {
    /// An administrator grants credits or joins an alias to a person.
    pub(super) fn operate_cloud(&mut self) -> Step {
        if self.plan.has(Fault::Poison) && self.entropy.percent(20) {
            return self.decide_about_quarantine();
        }
        // Of the cloud's own logs a restored one gets back only what its devices have, too.
        if self.entropy.percent(if self.plan.has(Fault::TailLost) { 40 } else { 15 }) {
            return self.publish();
        }
        if self.plan.accounts && self.entropy.percent(50) {
            return self.keep_accounts();
        }
        if self.plan.books && self.entropy.percent(60) {
            return self.keep_books();
        }
        if self.entropy.percent(50) {
            return self.grant();
        }
        let Some(process) = &self.cloud.process else { return Ok(()) };
        let directory = process.directory();
        let Some(directory) = self.cloud_outcome(directory)? else { return Ok(()) };
        if directory.is_empty() {
            return Ok(());
        }
        let (device, alias) = directory[self.entropy.index(directory.len())].0;
        if self.paying.contains(&(device, alias)) {
            return Ok(()); // who pays is held against what was given, and stays who it is
        }
        let subject = subject(self.entropy.below(USERS));
        self.pending_links.push_back((device, alias, subject));
        self.link_pending()
    }

    fn grant(&mut self) -> Step {
        let subject = subject(self.entropy.below(USERS));
        let thousandths = match self.entropy.between(0, 90_000) as i64 - 20_000 {
            0 => 1, // a grant of nothing is refused
            some => some,
        };
        let reason = format!("grant {}", self.truth.grants_asked);
        self.truth.grants_asked += 1;
        let grant = Grant { subject, thousandths, fate: Fate::Open };
        self.truth.grants.insert(reason.clone(), grant);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let now = self.cloud.clock.show(self.now);
        let credits = Credits::from_thousandths(thousandths);
        let granted = process.grant(now, subject, credits, reason.clone());
        self.trace.note(self.now, format_args!("cloud grants {credits}"));
        let Some(position) = self.cloud_outcome(granted)? else { return Ok(()) };
        if let Some(grant) = self.truth.grants.get_mut(&reason) {
            grant.fate = Fate::Certain;
        }
        let event = CreditsGranted { subject, credits, reason }.into();
        self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })
    }

    /// Jobs that begin from now on settle the other way.
    fn lay_down_policy(&mut self) -> Step {
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let policy = match process.counts().settlement_policy() {
            SettlementPolicy::ServerSettles => SettlementPolicy::Additive,
            SettlementPolicy::Additive => SettlementPolicy::ServerSettles,
        };
        let now = self.cloud.clock.show(self.now);
        let published = process.publish_settlement(now, policy);
        self.trace.note(self.now, format_args!("cloud lays down {policy:?}"));
        let Some(Some(position)) = self.cloud_outcome(published)? else { return Ok(()) };
        let event = SettlementPolicyPublished { policy }.into();
        self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })?;
        self.tell_of_new_decisions()
    }

    /// A new rate card; its prices stay those of mission 1.
    fn publish(&mut self) -> Step {
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        if process.recovery().is_some() {
            return Ok(()); // the public log is frozen
        }
        if self.entropy.percent(50) {
            return self.lay_down_policy();
        }
        let before = process.card();
        let card = RateCard { version: before.version + 1, ..before };
        let now = self.cloud.clock.show(self.now);
        let published = process.publish(now, card.clone());
        self.trace.note(self.now, format_args!("cloud publishes card {}", card.version));
        let Some(position) = self.cloud_outcome(published)? else { return Ok(()) };
        let event = RateCardPublished { card }.into();
        self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })?;
        self.tell_of_new_decisions()
    }

    /// Asks for each link until it is acknowledged, in order.
    pub(super) fn link_pending(&mut self) -> Step {
        while let Some((device, alias, subject)) = self.pending_links.front().copied() {
            let Some(process) = &mut self.cloud.process else { return Ok(()) };
            let now = self.cloud.clock.show(self.now);
            let linked = process.link(now, vec![(device, alias, subject)]);
            self.trace.note(self.now, format_args!("cloud links {alias}"));
            let Some(position) = self.cloud_outcome(linked)? else { return Ok(()) };
            self.pending_links.pop_front();
            self.truth.links.insert((device, alias), subject);
            let event = SubjectLinked { device, alias, subject }.into();
            self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })?;
        }
        Ok(())
    }
}

/// A person's identity at the cloud.
fn subject(user: u64) -> SubjectId {
    SubjectId([user as u8 + 1; 16])
}
