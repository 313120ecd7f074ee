//! Funds: where an account's credits are.
//!
//! Invariant: the pool is what was granted and corrected, less what was charged or is held, less what
//! devices may still spend; so each credit is in one place, and a balance is the pool and what is out. Nobody else bears
//! what is spent after a lease was written off: whether such a charge was voided, or is true, sums cannot tell. An account is a group's, with those of its
//! members, or a person's. What leaves and comes back is [`super::leases`]'s.

use crate::counts::Counts;
use crate::planted::{Bug, planted};
use std::collections::BTreeMap;
use tallyroll_schema::{DeviceId, SubjectId, UserAlias};

/// Where an account's credits are. Thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Funds {
    /// Given.
    pub granted: i128,
    /// Given back by corrections, less what they took.
    pub corrected: i128,
    /// Charged and settled.
    pub charged: i128,
    /// Provisionally charged.
    pub held: i128,
    /// What devices may still spend, frozen rights included.
    pub leased: i128,
}

impl Funds {
    /// What nobody holds.
    pub fn pool(&self) -> i128 {
        self.granted - self.used() - self.out()
    }

    /// Given and corrected, less charged.
    pub fn balance(&self) -> i128 {
        self.granted + self.corrected - self.charged
    }

    /// What was used for good, less what was given back of it.
    pub fn used(&self) -> i128 {
        self.charged - self.corrected
    }

    /// What is neither used nor in the pool, and may come back to it.
    pub fn out(&self) -> i128 {
        self.held + self.leased
    }

    /// Where each account's credits are: a group's with those of its members.
    pub fn of_accounts(counts: &Counts) -> BTreeMap<SubjectId, Self> {
        if planted(Bug::MembersApart) {
            return Self::of_subjects(counts);
        }
        Self::by(counts, |subject| counts.accounts().account(subject))
    }

    /// Where each subject's own credits are, whether it is a member of a group or not.
    pub(crate) fn of_subjects(counts: &Counts) -> BTreeMap<SubjectId, Self> {
        Self::by(counts, |subject| subject)
    }

    /// What is with an alias that nobody is known by: charged to no account, and in none.
    pub fn of_nobody(counts: &Counts) -> BTreeMap<(DeviceId, UserAlias), Self> {
        let nobodys =
            |of: (DeviceId, UserAlias)| counts.subject(of.0, of.1).is_none().then_some(of);
        let mut funds = BTreeMap::new();
        Self::add_used(&mut funds, counts, nobodys);
        funds
    }

    fn by(counts: &Counts, whose: impl Fn(SubjectId) -> SubjectId) -> BTreeMap<SubjectId, Self> {
        let mut funds = BTreeMap::<SubjectId, Self>::new();
        for (subject, granted) in counts.granted() {
            funds.entry(whose(*subject)).or_default().granted += *granted;
        }
        for (subject, corrected) in counts.books().corrections() {
            funds.entry(whose(subject)).or_default().corrected += corrected;
        }
        Self::add_used(&mut funds, counts, |of| counts.subject(of.0, of.1).map(&whose));
        funds
    }

    fn add_used<K: Ord>(
        funds: &mut BTreeMap<K, Self>,
        counts: &Counts,
        whose: impl Fn((DeviceId, UserAlias)) -> Option<K>,
    ) {
        for (key, usage) in counts.usage() {
            let Some(key) = whose((key.device, key.user)) else { continue };
            let funds = funds.entry(key).or_default();
            funds.charged += usage.charged;
            funds.held += usage.held;
        }
        for (key, lease) in counts.rights().leases() {
            let Some(key) = whose((key.device, key.user)) else { continue };
            funds.entry(key).or_default().leased += lease.outstanding().max(0);
        }
    }
}
