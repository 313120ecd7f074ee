//! Spending from leases: what is asked for, renewed, and given back.
//!
//! Invariant: an act is recorded only with a right to what it costs, by the engine's word alone; what
//! is kept here decides no more than how much is asked for and when it goes back, and is lost with the
//! process. Nothing is asked for while there is no link, and nothing goes back then but what the cloud
//! wants: who is cut off spends to the end of the lease.

use super::recent::Recent;
use super::recording::Backed;
use super::room::unless_full;
use super::{Keeping, Recorded};
use core::time::Duration;
use std::collections::BTreeMap;
use tallyroll_engine::Error;
use tallyroll_engine::counts::Recall;
use tallyroll_schema::event::leases::LeaseHeld;
use tallyroll_schema::{Act, Credits, DeviceId, JobId, Position, UserAlias};

/// A lease that nobody spent from for so long goes back, unless the agent is told otherwise.
pub const LEASE_IDLE: Duration = Duration::from_secs(15 * 60);
/// How much is asked for at least: ten pages, so that a user who comes once asks once.
const LEASE_MIN: Credits = Credits::from_thousandths(10_000);
/// Without a link for so long the device counts as cut off: a link that is made anew takes less.
const CUT_OFF_AFTER: Duration = Duration::from_secs(3);
/// A lease is renewed when it ends this soon: a line may be down for a week.
const ENDS_SOON_MILLISECONDS: u64 = 7 * 86_400_000;
/// For that reason alone it is not renewed again so soon.
const RENEWED_AGAIN: Duration = Duration::from_secs(3600);
/// What could not be given back for want of room is tried again.
const RETURNED_AGAIN: Duration = Duration::from_secs(5);

/// What became of an act that is recorded only with a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spent {
    /// Durable, there, and paid.
    At(Position),
    /// It was durable before.
    Already,
    /// There is no right to what it costs.
    Short(Short),
    /// Not recorded, and why.
    Refused(String),
    /// Not recorded now, and why; the same may be later.
    NotNow(String),
}

/// Why there is no right to an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// What it costs.
    pub needed: Credits,
    /// What is left of the user's lease here, spendable or not.
    pub lease: Credits,
    /// Whether the lease has ended by this device's clock.
    pub ended: bool,
    /// Whether the cloud cannot be reached, and could not for some seconds.
    pub cut_off: bool,
    /// If the cloud refused what was asked for last: what was available, and who else holds what; this
    /// device holds it for another user of the same balance.
    pub refused: Option<(Credits, Vec<LeaseHeld>)>,
    /// This device.
    pub here: DeviceId,
    /// Whether the cloud was asked and has yet to answer.
    pub asked: bool,
}

/// Why this device itself can hold what is missing.
pub const HELD_HERE: &str =
    "for another user of the same balance, or from before it was restored or copied";

impl From<Recorded> for Spent {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::At(position) => Self::At(position),
            Recorded::Already => Self::Already,
            Recorded::Refused(why) => Self::Refused(why),
            Recorded::NotNow(why) => Self::NotNow(why),
        }
    }
}

/// What the keeper remembers of those who spend, by the monotonic clock.
#[derive(Debug)]
pub(super) struct Spending {
    users: BTreeMap<UserAlias, Recent>,
    idle: Duration,
    unlinked_since: Option<Duration>,
    /// When leases are to be looked at again.
    due: Option<Duration>,
}

impl Default for Spending {
    fn default() -> Self {
        let (users, due) = (BTreeMap::new(), Some(Duration::ZERO));
        Self { users, idle: LEASE_IDLE, unlinked_since: None, due }
    }
}

impl Spending {
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    pub(super) fn set_idle(&mut self, idle: Duration) {
        (self.idle, self.due) = (idle, Some(Duration::ZERO));
    }

    fn is_cut_off(&self, now: Duration) -> bool {
        self.unlinked_since.is_some_and(|since| now >= since.saturating_add(CUT_OFF_AFTER))
    }

    /// Notes whether there is a link, and when it was lost.
    fn note_link(&mut self, now: Duration, linked: bool) {
        if linked == self.unlinked_since.is_some() {
            (self.unlinked_since, self.due) = ((!linked).then_some(now), Some(Duration::ZERO));
        }
    }

    fn note_job(&mut self, now: Duration, job: Option<(JobId, bool)>, user: UserAlias) {
        let Some((job, begins)) = job else { return };
        self.users.entry(user).or_default().note_job(now, job, begins);
    }
}

impl Keeping {
    /// Records an act if there is a right to it; else asks for one.
    pub(super) fn spend(&mut self, act: Act, records: bool) -> Result<Spent, Error> {
        let now = self.clock.now().monotonic;
        self.spending.note_link(now, *self.linked.borrow());
        let cut_off = self.spending.is_cut_off(now);
        let job = act.job().map(|job| (job, matches!(act, Act::Begin { .. })));
        let ended = job.filter(|_| matches!(act, Act::End { .. }));
        let name = act.user().filter(|_| job.is_some()).map(str::to_owned);
        let (backed, minted) =
            self.recorder.spend(&mut self.device, self.clock, act, (records, cut_off))?;
        self.say_minted(minted);
        if let Some((job, _)) = ended {
            self.spending.users.values_mut().for_each(|recent| recent.end_job(job));
            self.spending.due = Some(Duration::ZERO);
        }
        let user = match name {
            Some(name) => self.device.alias(&name)?,
            None => None,
        };
        match backed {
            Backed::Recorded(answer, paid) => {
                if let (Some(user), Recorded::At(_)) = (user, &answer) {
                    self.spending.note_job(now, job, user);
                }
                if let (Some((user, credits)), Recorded::At(_)) = (paid, &answer) {
                    self.spending.users.entry(user).or_default().spend(now, credits);
                    self.renew(user)?;
                }
                Ok(answer.into())
            }
            Backed::Short(user, needed) => {
                if let Err(why) = self.device.refuse_if_processing() {
                    return Ok(Spent::Refused(why.to_string()));
                }
                self.spending.users.entry(user).or_default().last = now;
                self.return_ended(user)?;
                let left = i64::try_from(self.device.lease(user).outstanding().max(0));
                let missing = needed.thousandths().saturating_sub(left.unwrap_or(i64::MAX));
                self.ask(user, job.map(|(job, _)| job), Credits::from_thousandths(missing.max(1)))?;
                Ok(Spent::Short(self.short(user, needed, cut_off)))
            }
        }
    }

    /// Gives back a lease that has ended, if anybody hears it: it covers nothing, and what is left of it may be all that
    /// the pool can answer the next request with.
    fn return_ended(&mut self, user: UserAlias) -> Result<(), Error> {
        let now = self.clock.now();
        if *self.linked.borrow() && self.device.lease(user).has_ended(now.wall) {
            unless_full(self.device.return_lease(now, user, Credits::ZERO))?;
        }
        Ok(())
    }

    fn short(&self, user: UserAlias, needed: Credits, cut_off: bool) -> Short {
        let lease = self.device.lease(user);
        let left = i64::try_from(lease.outstanding().max(0)).unwrap_or(i64::MAX);
        let refused = self.device.refusal(user);
        Short {
            needed,
            lease: Credits::from_thousandths(left),
            cut_off,
            refused: refused.map(|refused| (refused.available, refused.held.clone())),
            here: self.device.id(),
            ended: lease.has_ended(self.clock.now().wall),
            asked: lease.pending().is_some(),
        }
    }

    /// Asks for more before what is left runs out, or ends.
    fn renew(&mut self, user: UserAlias) -> Result<(), Error> {
        let now = self.clock.now();
        let lease = self.device.lease(user);
        let used = self.spending.users.get(&user).map_or(0, |recent| recent.used(now.monotonic));
        let enough = used.max(i128::from(LEASE_MIN.thousandths())) / 2;
        let soon = now.wall.0.saturating_add(ENDS_SOON_MILLISECONDS);
        let ends = lease.last.is_some_and(|last| last.spend_until.0 < soon);
        let recent = self.spending.users.entry(user).or_default();
        // Once an hour: by a clock that is wrong every lease ends soon.
        let renews =
            ends && recent.renewed.is_none_or(|last| now.monotonic >= last + RENEWED_AGAIN);
        if renews {
            recent.renewed = Some(now.monotonic);
        }
        if lease.outstanding() < enough || renews {
            self.ask(user, None, Credits::ZERO)?;
        }
        Ok(())
    }

    /// Asks the cloud for what a job needs, which may be nothing, and wanted by recent use; unless
    /// nobody would hear it, or it has just said no.
    fn ask(&mut self, user: UserAlias, job: Option<JobId>, needed: Credits) -> Result<(), Error> {
        let now = self.clock.now();
        let lease = self.device.lease(user);
        let known = lease.pending().is_some_and(|asked| asked.needed >= needed);
        if known || !*self.linked.borrow() {
            return Ok(());
        }
        let recent = self.spending.users.entry(user).or_default();
        match self.device.refusal(user) {
            Some(refused) => {
                // What was refused was more, or was no need.
                let renewal = lease.requested.is_some_and(|asked| asked.needed <= Credits::ZERO);
                let other = needed > Credits::ZERO && (renewal || needed <= refused.available);
                if !other && !recent.may_ask(now.monotonic, refused.answers) {
                    return Ok(());
                }
            }
            None => recent.refused = recent.refused.filter(|_| lease.pending().is_some()),
        }
        let used = i64::try_from(recent.used(now.monotonic)).unwrap_or(i64::MAX);
        let wanted = LEASE_MIN.max(Credits::from_thousandths(used));
        let asked = unless_full(self.device.request_lease(now, (user, job), needed, wanted));
        if asked?.is_some() && needed > Credits::ZERO {
            self.seal(now)?; // somebody waits for it
        }
        Ok(())
    }

    /// After whatever may have changed what may be spent here.
    pub(super) fn rights_changed(&mut self) {
        self.spending.due = Some(Duration::ZERO);
        self.progress.send_modify(|progress| progress.rights += 1);
    }

    /// Gives back what is wanted back, as far as no job that runs needs it, and what idles.
    pub(super) fn tend_leases(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        let at = now.monotonic;
        let linked = *self.linked.borrow();
        self.spending.note_link(at, linked);
        if self.spending.due.is_none_or(|due| at < due) {
            return Ok(());
        }
        let (recalled, mut due) = (self.device.recalled(), None);
        let leases = self.device.leases();
        for (user, lease) in leases.iter().filter(|(_, lease)| lease.outstanding() > 0) {
            let stopped = self.device.counts().is_stopped(self.device.id(), *user);
            let recent = self.spending.users.entry(*user);
            let recent = recent.or_insert_with(|| Recent::since(at));
            let (idle_at, runs) =
                (recent.last.saturating_add(self.spending.idle), recent.runs_until(at));
            let (gives, keep, again) = match recalled.get(user) {
                // A job that has stopped goes on with more than this or not at all; while it asks for that, this stays:
                // two that ask each other would both give, for ever.
                Some(Recall::Idle) if stopped && lease.pending().is_some() => {
                    (false, LEASE_MIN, None)
                }
                Some(Recall::Idle) if runs.is_some() && !stopped => (true, LEASE_MIN, runs),
                Some(Recall::Idle | Recall::Whole) => (true, Credits::ZERO, None),
                None => (linked && at >= idle_at, Credits::ZERO, linked.then_some(idle_at)),
            };
            let returned = match gives {
                true => unless_full(self.device.return_lease(now, *user, keep))?,
                false => Some(None),
            };
            if let Some(Some(_)) = returned {
                self.progress.send_modify(|progress| progress.rights += 1);
                if linked {
                    self.seal(now)?; // somebody may wait for it
                }
            }
            let again = if returned.is_none() { Some(at + RETURNED_AGAIN) } else { again };
            due = [due, again.filter(|again| *again > at)].into_iter().flatten().min();
        }
        self.spending.due = due;
        let lent = |user: &UserAlias| {
            leases.iter().any(|(of, lease)| {
                of == user && (lease.outstanding() > 0 || lease.pending().is_some())
            })
        };
        self.spending.users.retain(|user, recent| !recent.is_over(at) || lent(user));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_device_is_cut_off_only_after_some_seconds_without_a_link() {
        let mut spending = Spending::default();
        spending.note_link(seconds(10), false);
        assert!(!spending.is_cut_off(seconds(12)) && spending.is_cut_off(seconds(13)));
        spending.note_link(seconds(14), true);
        assert!(!spending.is_cut_off(seconds(20)));
        spending.note_link(seconds(21), false);
        assert!(!spending.is_cut_off(seconds(22)) && spending.is_cut_off(seconds(24)));
    }

    #[test]
    fn a_job_runs_until_it_ends_or_nothing_is_done_in_it() {
        let (mut spending, user, job) = (Spending::default(), UserAlias([1; 16]), JobId([1; 8]));
        let runs = |spending: &Spending, at| {
            spending.users.get(&user).and_then(|recent| recent.runs_until(seconds(at)))
        };
        spending.note_job(seconds(1), Some((job, false)), user);
        assert_eq!(runs(&spending, 2), None, "it never began");
        spending.note_job(seconds(3), Some((job, true)), user);
        spending.note_job(seconds(30), Some((job, false)), user);
        assert_eq!(runs(&spending, 89), Some(seconds(90)));
        assert_eq!(runs(&spending, 90), None);
    }
}
