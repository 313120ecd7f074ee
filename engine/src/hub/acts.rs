//! Acts of the processing server: it asks before it converts, sends, saves or discards in a device's job.
//!
//! Invariant: the commit of an act reserves what it costs, and its position is the permission to act: an act
//! that costs more than is there is refused whole, before anything happened. What is there is the pool, and
//! what its own job holds, which comes free; leases that idle at devices are recalled first, if that
//! suffices, and nobody else is lent what comes back while the act waits. An act with a request id is
//! recorded once. A processing server elsewhere says what it costs, and is right about it, or nothing is
//! done. Whose name a user bears is the rim's.

use super::leases::RECALL;
use super::{Hub, Standing as FleetStanding};
use crate::counts::{CreditSum, Lease, RightKey, Standing, Terms, charge, decide};
use crate::device::Now;
use crate::fold::Origin;
use crate::planted::{Bug, planted};
use crate::store::Store;
use crate::store::rows::CloudRole;
use crate::{Error, Kind, Result};
use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::counts::{Charge, DocumentSaved, DocumentSent, PagesConverted};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::ActOutcome;
use tallyroll_schema::{
    Act, DeviceId, Event, JobId, Position, RequestId, ServerAct, SubjectId, UserAlias,
};

/// Why an act is not done whose request id has been used.
pub const ANOTHER_ACTS: &str = "this request id was another act's; take a new one for each act";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedAct {
    /// The device in whose job.
    pub device: DeviceId,
    /// What.
    pub act: Act,
    /// Of two with the same id only the first is done.
    pub request: Option<RequestId>,
    /// The processing server that asks by its session, and what it says that it costs; absent where it is
    /// asked for at the cloud itself.
    pub by: Option<(DeviceId, Option<Charge>)>,
}

/// What becomes of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acted {
    /// It is recorded there, and may be done.
    At(Position),
    /// It waits for a device: ask again after the next commit, and with the same beginning.
    Waits {
        /// When it was asked first, by the monotonic clock.
        since: Duration,
    },
}

impl Acted {
    /// What a processing server is told; nothing yet, while it waits.
    ///
    /// # Errors
    /// Storage failed: then nobody knows, and nothing may be told.
    pub fn outcome(acted: Result<Self>) -> Result<Option<ActOutcome>> {
        match acted {
            Ok(Self::At(position)) => Ok(Some(ActOutcome::At(position))),
            Ok(Self::Waits { .. }) => Ok(None),
            Err(why) => match why.kind() {
                Kind::Rejected => Ok(Some(ActOutcome::Refused(why.to_string()))),
                Kind::Retry | Kind::Full => Ok(Some(ActOutcome::Later(why.to_string()))),
                _ => Err(why),
            },
        }
    }
}

/// Acts for which leases of an account are wanted back, and until when they wait, by the monotonic clock.
pub(super) type Awaited = BTreeMap<AwaitedAct, (SubjectId, Duration)>;

/// Which act waits: of two that are equal one will do.
type AwaitedAct = (DeviceId, JobId, Option<RequestId>, Duration);

impl<S: Store> Hub<S> {
    /// Until when nobody is lent anything of an account: what comes back is for an act that waits for it.
    pub(super) fn awaited(&self, account: SubjectId, now: Now) -> bool {
        self.awaited.values().any(|(of, until)| *of == account && now.monotonic < *until)
    }

    /// Whether this cloud only holds the accounts: nothing is asked for here.
    pub fn is_account_server(&self) -> bool {
        self.role.accounts_only
    }

    /// Lays down, for good, whether this cloud only holds the accounts.
    ///
    /// # Errors
    /// Storage failed.
    pub fn set_account_server(&mut self, accounts_only: bool) -> Result<()> {
        self.refuse_if_closed()?;
        let role = CloudRole { accounts_only };
        if role != self.role {
            let mut rows = self.rows();
            rows.put(&(), &role);
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
            self.role = role;
        }
        Ok(())
    }

    /// Whether this device may ask for acts by its session, or, without one, whoever is at the cloud itself.
    ///
    /// # Errors
    /// It may not; what to do.
    pub fn may_act(&self, asker: Option<DeviceId>) -> Result<()> {
        match asker {
            Some(asker) => self.fleet().processing(asker).map(drop),
            None if self.role.accounts_only => Err(Error::Rejected(
                "this is an account server, so nothing is asked for here: the processing server asks by its link, with \
                 `tallyroll-edge act`; `tallyroll serve --role all` makes this one the processing server, too"
                    .into(),
            )),
            None => Ok(()),
        }
    }

    /// Records what the server is about to do in a device's job. `reached` are the devices that can
    /// give something back or tell of the job now; `since` is what [`Acted::Waits`] said.
    ///
    /// # Errors
    /// It costs more than is there, or something else than who asks says; it is none of the server's, or who
    /// asks is none; the job is not known; storage failed.
    pub fn act(
        &mut self,
        now: Now,
        asked: AskedAct,
        reached: &BTreeSet<DeviceId>,
        since: Option<Duration>,
    ) -> Result<Acted> {
        let first = since.unwrap_or(now.monotonic);
        let key = asked.act.job().map(|job| (asked.device, job, asked.request, first));
        let acted = self.act_or_wait(now, asked, reached, since);
        if let (false, Some(key)) = (matches!(acted, Ok(Acted::Waits { .. })), key) {
            self.awaited.remove(&key);
        }
        acted
    }

    fn act_or_wait(
        &mut self,
        now: Now,
        asked: AskedAct,
        reached: &BTreeSet<DeviceId>,
        since: Option<Duration>,
    ) -> Result<Acted> {
        let AskedAct { device, act, request, by } = asked;
        if let Some((asker, _)) = &by {
            self.may_act(Some(*asker))?;
        }
        let Some(job) = act.job().filter(|_| ServerAct::is_servers(&act)) else {
            let kinds = ServerAct::KINDS.join(", ");
            return Err(Error::Rejected(format!("the cloud records {kinds}; the device the rest")));
        };
        // First of all: what would be refused by now was done all the same.
        if let Some(done) = self.done_before(device, job, request, &act)? {
            return Ok(Acted::At(done));
        }
        match &by {
            Some((asker, _)) => drop(self.fleet().active(*asker)?),
            None => self.may_act(None)?,
        }
        let of = self.fleet().known(device)?;
        let (name, retired) = (of.name.clone(), of.standing == FleetStanding::Retired);
        // What its jobs hold comes free by a discard, which nobody else can say any more.
        if of.standing == FleetStanding::Revoked && !matches!(act, Act::Discard { .. }) {
            return Err(Error::Rejected(format!(
                "{name}, the device whose job this is, is revoked: nothing more is done in its jobs but `document.discarded`"
            )));
        }
        if self.fleet().is_processing(device) {
            return Err(Error::Rejected(format!(
                "{name} is a processing server, which asks for nothing in jobs of its own; name the device whose job it is"
            )));
        }
        let first = since.unwrap_or(now.monotonic);
        let (waits, until) = (Acted::Waits { since: first }, first.saturating_add(RECALL));
        let in_time = now.monotonic < until;
        let Some(payer) = self.counts().payer(device, job) else {
            if retired && self.is_drained(device)? {
                return Err(Error::Rejected(format!(
                    "no job {job} has begun at {name}, which is retired and has delivered all that it had: nothing is \
                     done in a job that never was"
                )));
            }
            return match in_time && reached.contains(&device) {
                true => Ok(waits), // its pages may have come before the device's word
                false => Err(Error::NotYet(format!(
                    "no job {job} has begun at {name}, as far as the cloud knows; try again once {name} is synced"
                ))),
            };
        };
        let standing = self.counts().standing(device, job);
        let event = self.decide_act(device, (job, standing), payer, act, request)?;
        if let Some((_, told)) = by {
            self.refuse_other_price(told.as_ref(), &event)?;
        }
        let (cost, pool) = (self.cost(&event), self.pool_of(device, payer)?);
        if cost > 0 {
            self.refuse_while_frozen()?;
        }
        if cost <= pool.max(0) || planted(Bug::ActUnchecked) {
            return Ok(Acted::At(self.account(now, &[event])?));
        }
        let account = self.counts().account(device, payer);
        let lent = account.map_or(Vec::new(), |account| self.lent(account, None));
        let reachable = self.reachable(&lent, reached);
        let comes_back: i128 = reachable.iter().map(|(_, lease)| lease.outstanding()).sum();
        if in_time && cost <= pool.saturating_add(comes_back) {
            self.recall(now, &reachable, Some((device, payer, job)))?;
            let key = (device, job, request, first);
            self.awaited.extend(account.map(|account| (key, (account, until))));
            return Ok(waits);
        }
        Err(self.short(cost, pool, &lent, reached))
    }

    /// Both ends price by the newest card, or nothing is done.
    fn refuse_other_price(&self, told: Option<&Charge>, event: &Event) -> Result<()> {
        let here = charge(event).map(|(_, charge)| charge);
        if told == here {
            return Ok(());
        }
        let (Some(told), Some(here)) = (told, here) else {
            let why = "an act is asked for with what it costs; one that has no price, without";
            return Err(Error::Rejected(why.into()));
        };
        let costs = format!(
            "{} credits by rate card {} there; rate card {} is in force, and says {}: nothing of this is done",
            told.credits, told.card, here.card, here.credits
        );
        match told.card == here.card {
            true => Err(Error::Rejected(costs)),
            false => Err(Error::NotYet(format!("{costs}; try again when that card has arrived"))),
        }
    }

    /// The act as it would be recorded.
    fn decide_act(
        &self,
        device: DeviceId,
        (job, standing): (JobId, Option<Standing>),
        payer: UserAlias,
        act: Act,
        asked: Option<RequestId>,
    ) -> Result<Event> {
        let policy = self.counts().settlement_policy();
        let terms = Terms { card: self.card(), policy, job: standing, over: false };
        let mut event = decide(&terms, act, job, Some(payer))?;
        let (of, request) = match &mut event {
            Event::PagesConverted(e) => (&mut e.device, &mut e.request),
            Event::DocumentSent(e) => (&mut e.device, &mut e.request),
            Event::DocumentSaved(e) => (&mut e.device, &mut e.request),
            Event::DocumentDiscarded(e) => {
                e.user = Some(payer);
                (&mut e.device, &mut e.request)
            }
            other => return Err(Error::Rejected(format!("{} is no act", other.name()))),
        };
        (*of, *request) = (Some(device), asked);
        Ok(event)
    }

    /// Where a request was done that comes again: its answer was lost.
    fn done_before(
        &self,
        device: DeviceId,
        job: JobId,
        request: Option<RequestId>,
        act: &Act,
    ) -> Result<Option<Position>> {
        let request = request.filter(|_| !planted(Bug::ActDoneAgain));
        let known = request.and_then(|request| self.counts().requested(device, request));
        let Some(known) = known else { return Ok(None) };
        let Some(payer) = self.counts().payer(device, known.job) else { return Ok(None) };
        // How the job stands by now makes it no other act.
        let event = &self.decide_act(device, (job, None), payer, act.clone(), request)?;
        let mut done = None;
        let Position { log, epoch, seq } = known.position;
        self.read_log(log, epoch, seq, &mut |_, record| {
            done = record.event().ok();
            ControlFlow::Break(())
        })?;
        if (known.job, known.kind) != (job, event.kind())
            || done.is_some_and(|done| !asks_the_same(&done, event))
        {
            return Err(Error::Rejected(ANOTHER_ACTS.into()));
        }
        Ok(Some(known.position))
    }

    /// What an act adds to what its user is charged and holds, thousandths.
    fn cost(&self, event: &Event) -> i128 {
        let (log, epoch) = self.logs.accounts;
        let position = Position { log, epoch, seq: 0 };
        let origin = Origin { device: None, class: LogClass::Accounts, position };
        self.counts().would_add(&origin, event)
    }

    fn pool_of(&self, device: DeviceId, user: UserAlias) -> Result<i128> {
        let funds =
            self.counts().account(device, user).map(|account| self.funds().remove(&account));
        Ok(funds.flatten().unwrap_or_default().pool())
    }

    fn short(
        &self,
        cost: i128,
        pool: i128,
        lent: &[(RightKey, Lease)],
        reached: &BTreeSet<DeviceId>,
    ) -> Error {
        let credits = |sum: i128| CreditSum::from_thousandths(sum).nearest();
        let (needed, left) = (credits(cost), credits(pool.max(0)));
        let mut why = format!(
            "{needed} credits needed beyond what its job holds, {left} left: nothing of this is done"
        );
        let holds = |(key, lease): &(RightKey, Lease)| {
            let name = self.fleet().device(key.device).map(|record| record.name.clone());
            let name = name.unwrap_or_else(|| key.device.to_string());
            let how = if self.is_lost(key) { "frozen at" } else { "held by" };
            format!("; {} credits {how} {name}", credits(lease.outstanding()))
        };
        why.extend(lent.iter().map(holds));
        let (lost, lent): (Vec<_>, Vec<_>) = lent.iter().partition(|(key, _)| self.is_lost(key));
        let held = |leases: &[&(RightKey, Lease)]| -> i128 {
            leases.iter().map(|(_, lease)| lease.outstanding()).sum()
        };
        let comes_back = pool.saturating_add(held(&lent));
        match cost <= comes_back {
            true if lent.iter().all(|(key, _)| reached.contains(&key.device)) => {
                let when = "a job runs there: try again when it has ended, or paused for a minute";
                Error::NotYet(format!("{why}; {when}"))
            }
            true => Error::NotYet(format!("{why}; try again when it is connected")),
            false if cost <= comes_back.saturating_add(held(&lost)) => Error::Rejected(format!(
                "{why}; what is frozen comes free by `tallyroll leases write-off DEVICE --reason TEXT`"
            )),
            false => Error::Rejected(why),
        }
    }
}

/// Whether two acts are one, asked for twice. What they cost and of which revision they are is the
/// cloud's to say, and may have changed meanwhile.
fn asks_the_same(done: &Event, asked: &Event) -> bool {
    match (done, asked) {
        (Event::PagesConverted(done), Event::PagesConverted(asked)) => {
            let (charge, policy, prices) = (done.charge.clone(), done.policy, done.prices.clone());
            let (revision, from_revision) = (done.revision, done.from_revision);
            let asked = asked.clone();
            *done == PagesConverted { charge, policy, prices, revision, from_revision, ..asked }
        }
        (Event::DocumentSent(done), Event::DocumentSent(asked)) => {
            let (charge, policy, revision) = (done.charge.clone(), done.policy, done.revision);
            *done == DocumentSent { charge, policy, revision, ..asked.clone() }
        }
        (Event::DocumentSaved(done), Event::DocumentSaved(asked)) => {
            let (charge, policy, revision) = (done.charge.clone(), done.policy, done.revision);
            *done == DocumentSaved { charge, policy, revision, ..asked.clone() }
        }
        (done, asked) => done == asked,
    }
}
