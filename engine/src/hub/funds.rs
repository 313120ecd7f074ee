//! Funds: where an account's credits are.
//!
//! Invariant: the pool is what was granted and corrected, less what was charged or is held, less what
//! devices may still spend; so each credit is in one place, and a balance is the pool and what is out. Nobody else bears
//! what is spent after a lease was written off: whether such a charge was voided, or is true, sums cannot tell. An account is a group's, with those of its
//! members, or a person's. What leaves and comes back is [`super::leases`]'s.

use crate::counts::Counts;
use crate::planted::{Bug, planted};
use std::collections::BTreeMap;
use tallyroll_schema::SubjectId;

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

    fn by(counts: &Counts, whose: impl Fn(SubjectId) -> SubjectId) -> BTreeMap<SubjectId, Self> {
        let mut funds = BTreeMap::<SubjectId, Self>::new();
        for (subject, granted) in counts.granted() {
            funds.entry(whose(*subject)).or_default().granted += *granted;
        }
        for (subject, corrected) in counts.books().corrections() {
            funds.entry(whose(subject)).or_default().corrected += corrected;
        }
        for (key, usage) in counts.usage() {
            let Some(subject) = counts.subject(key.device, key.user) else { continue };
            let funds = funds.entry(whose(subject)).or_default();
            funds.charged += usage.charged;
            funds.held += usage.held;
        }
        for (key, lease) in counts.rights().leases() {
            let Some(subject) = counts.subject(key.device, key.user) else { continue };
            let funds = funds.entry(whose(subject)).or_default();
            funds.leased += lease.outstanding().max(0);
        }
        funds
    }
}
