//! The stop: a page that cannot be paid is not begun, and the job hears why; and its end.
//!
//! Invariant: the reason is the true one, as far as it is known here; a page that waits for credits
//! waits a few seconds at most. A job goes on by itself as soon as its next page can be paid: that is
//! tried after every change of what may be spent, of the link or the disk, and now and then.

use super::Panel;
use super::jobs::Job;
use crate::keeper::{Gone, HELD_HERE, Short, Spent};
use crate::revocation;
use core::time::Duration;
use serde::Serialize;
use std::sync::Arc;
use tallyroll_engine::counts::CreditSum;
use tallyroll_schema::event::leases::LeaseHeld;
use tallyroll_schema::limits::local::PANEL_PATIENCE;
use tallyroll_schema::{Act, DeviceId, Position};
use tokio::time::{Instant, sleep, timeout};

/// How often a stopped job is looked at without an occasion: a top-up at the cloud is none here.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a page that waits for credits is tried: that the line is down is known after a while.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// Whoever stands there presses again and again, and each asking is an event: the second is no sooner than after this,
const LEFT_ASKED_AGAIN: Duration = Duration::from_secs(8);
/// and each pause is twice the last, so often, until something is paid.
const LEFT_ASKED_DOUBLED: u32 = 9;

/// Why a page is not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Stop {
    pub(super) reason: Reason,
    /// For the display.
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reason {
    /// Nothing is left of the balance.
    Zero,
    /// Something is left, but less than the page costs.
    CannotPay,
    /// What is missing is held by other devices, or for other users here, and cannot come back now.
    HeldElsewhere,
    /// The lease is too short, and nobody can be asked for more.
    LineDown,
    /// The cloud revoked this device: nothing is lent to it any more.
    Revoked,
    /// The cloud was asked and has yet to answer.
    Asked,
    /// There is no room on the disk.
    DiskFull,
    /// The device takes no part any more.
    Retired,
    /// Something else has to come first; the message says what.
    NotYet,
}

/// A stop, and what is tried again.
pub(super) struct Stopped {
    pub(super) stop: Stop,
    pub(super) act: Act,
}

/// What became of an act that was to be paid.
pub(super) enum Tried {
    /// It is, or could be; and where it is, if it has just been recorded.
    Paid(Option<Position>),
    Stopped(Stop),
    /// It will not be, however often it is tried.
    Refused(String),
}

#[derive(Clone, Copy)]
enum How {
    Spend,
    Look,
}

impl Panel {
    /// Pays for an act and records it.
    pub(super) async fn pay(&self, act: Act) -> Result<Tried, Gone> {
        self.patiently(act, How::Spend).await
    }

    /// Whether an act could be paid.
    pub(super) async fn may(&self, act: Act) -> Result<Tried, Gone> {
        self.patiently(act, How::Look).await
    }

    /// Waits a while for credits that were asked for.
    async fn patiently(&self, act: Act, how: How) -> Result<Tried, Gone> {
        let deadline = Instant::now() + PANEL_PATIENCE;
        let mut progress = self.keeper.progress();
        loop {
            let rights = progress.borrow_and_update().rights;
            let (tried, waits) = self.attempt(act.clone(), how).await?;
            if !waits || Instant::now() >= deadline {
                return Ok(tried);
            }
            let more = progress.wait_for(|progress| progress.rights != rights);
            drop(timeout(TRY_EVERY, more).await); // whatever it was, it is tried again
        }
    }

    /// Tries the stopped jobs again, and tells what changed; whether any may still be stopped.
    async fn try_again(&self) -> Result<bool, Gone> {
        let jobs: Vec<Arc<Job>> = self.open().jobs.values().cloned().collect();
        let mut any = false;
        for job in jobs {
            let Ok(mut state) = job.state.try_lock() else {
                any = true; // a page is being tried, or somebody looks at it: it may be stopped
                continue;
            };
            let Some(stopped) = &mut state.stopped else { continue };
            any = true;
            match self.attempt(stopped.act.clone(), How::Look).await?.0 {
                Tried::Paid(_) => {
                    state.stopped = None;
                    self.goes_on(&job.user);
                    self.say("resumed", &job.view_of(&state));
                }
                Tried::Stopped(stop) if stop != stopped.stop => {
                    stopped.stop = stop.clone();
                    self.say("stopped", &job.view_of(&state));
                    self.ask_what_is_left(&job.user, &stop).await;
                }
                Tried::Stopped(_) | Tried::Refused(_) => {} // the next page hears why
            }
        }
        Ok(any)
    }

    /// Asks for the balance when somebody hears that too little is left, but not at each page: what other devices
    /// hold of it provisionally is told to nobody unasked, and the display would show it as available.
    pub(super) async fn ask_what_is_left(&self, user: &str, stop: &Stop) {
        let may_ask = || {
            let mut open = self.open();
            let asked = &mut open.sessions.get_mut(user)?.left_asked;
            let (at, times) = asked.unwrap_or((Instant::now(), 0));
            let pause = LEFT_ASKED_AGAIN * (1 << times.saturating_sub(1).min(LEFT_ASKED_DOUBLED));
            let due = times == 0 || at.elapsed() >= pause;
            due.then(|| *asked = Some((Instant::now(), times + 1)))
        };
        if matches!(stop.reason, Reason::Zero | Reason::CannotPay)
            && may_ask().is_some()
            && let Err(why) = self.ask_balance(user).await
        {
            tracing::debug!(?why, "the balance of who stands is not asked for");
        }
    }

    /// What is left is news again when a job stops next.
    pub(super) fn goes_on(&self, user: &str) {
        if let Some(session) = self.open().sessions.get_mut(user) {
            session.left_asked = None;
        }
    }

    /// Tries once; whether it is worth while to wait and try again.
    async fn attempt(&self, act: Act, how: How) -> Result<(Tried, bool), Gone> {
        let keeper = &self.keeper;
        let spent = match how {
            How::Spend => keeper.spend(act).await?,
            How::Look => keeper.may_spend(act).await?,
        };
        let stop = |reason, message| Tried::Stopped(Stop { reason, message });
        Ok(match spent {
            Spent::At(position) => (Tried::Paid(Some(position)), false),
            Spent::Already => (Tried::Paid(None), false),
            Spent::Short(short) => {
                let revoked = self.revoked();
                let waits = !short.cut_off && short.refused.is_none() && revoked.is_none();
                (Tried::Stopped(reason(&short, revoked.as_deref())), waits)
            }
            Spent::NotNow(why) if keeper.progress().borrow().full => {
                (stop(Reason::DiskFull, why), false)
            }
            Spent::NotNow(why) => (stop(Reason::NotYet, why), false),
            Spent::Refused(why) => {
                let retired = keeper.query(|device| device.refuse_if_retired().is_err()).await?;
                (if retired { stop(Reason::Retired, why) } else { Tried::Refused(why) }, false)
            }
        })
    }

    /// The cloud's words, if it revoked this device.
    fn revoked(&self) -> Option<String> {
        let by_link = self.link.borrow().revoked().map(str::to_owned);
        by_link.or_else(|| revocation::told(&self.dir))
    }
}

/// Looks after stopped jobs and changed credits for ever.
pub(super) async fn watch(panel: Arc<Panel>) {
    let (mut progress, mut link) = (panel.keeper.progress(), panel.link.clone());
    let mut rights = None;
    loop {
        let now = progress.borrow_and_update().rights;
        if rights.replace(now) != Some(now) {
            panel.tell_credits().await;
        }
        let Ok(any) = panel.try_again().await else { return }; // the agent ends
        tokio::select! {
            Ok(()) = progress.changed() => {}
            Ok(()) = link.changed() => {}
            () = panel.stopped.notified() => {}
            () = sleep(LOOK_EVERY), if any => {}
        }
    }
}

/// Why there is no right to a page, in words for who stands before it.
fn reason(short: &Short, revoked: Option<&str>) -> Stop {
    let (needed, lease) = (short.needed, short.lease);
    let left = i128::from(lease.thousandths());
    let (reason, message) = match (revoked, &short.refused) {
        (Some(words), _) => {
            let why = format!(
                "the cloud revoked this device ({words}), of what it was lent {lease} is left, and the next page \
                 costs {needed}: nothing more is lent to it"
            );
            (Reason::Revoked, why)
        }
        (None, _) if short.cut_off && short.ended => {
            let why = format!(
                "the line to the cloud is down, and the lease of {lease} that this device was given has ended by its \
                 clock; the next page costs {needed}: it goes on when the line is back, or the clock right"
            );
            (Reason::LineDown, why)
        }
        (None, _) if short.cut_off => {
            let why = format!(
                "the line to the cloud is down, and of what this device was lent {lease} is left; the next page \
                 costs {needed}: it goes on when the line is back"
            );
            (Reason::LineDown, why)
        }
        (None, Some((available, held))) => {
            let elsewhere: i128 =
                held.iter().map(|held| i128::from(held.credits.thousandths())).sum();
            let left = CreditSum::from_thousandths(left + i128::from(available.thousandths()));
            let missing = i128::from(needed.thousandths()) - left.thousandths();
            match (elsewhere > 0, left.thousandths() > 0) {
                (true, _) if elsewhere < missing => {
                    let left = CreditSum::from_thousandths(left.thousandths() + elsewhere);
                    let why = format!(
                        "the next page costs {needed}, and {left} is left, of which {} is held elsewhere; it goes on \
                         after a top-up",
                        CreditSum::from_thousandths(elsewhere),
                    );
                    (Reason::CannotPay, why)
                }
                (true, _) if missing > 0 => {
                    let places: Vec<String> =
                        held.iter().map(|held| place(held, short.here)).collect();
                    let why = format!(
                        "the next page costs {needed}, {left} is left, and {} is held {}, which cannot be \
                         reached or where a job needs it: end the job there, or wait",
                        CreditSum::from_thousandths(elsewhere),
                        places.join(" and "),
                    );
                    (Reason::HeldElsewhere, why)
                }
                (_, false) => {
                    (Reason::Zero, "no credits are left; it goes on after a top-up".to_owned())
                }
                (_, true) => {
                    let why = format!(
                        "the next page costs {needed}, and {left} is left; it goes on after a top-up"
                    );
                    (Reason::CannotPay, why)
                }
            }
        }
        (None, None) => {
            let why = "the cloud was asked for credits and has not answered yet; it goes on as soon as it does";
            (Reason::Asked, why.to_owned())
        }
    };
    Stop { reason, message }
}

/// Who holds a part of the balance.
fn place(held: &LeaseHeld, here: DeviceId) -> String {
    match held.device == here {
        true => format!("at this device {HELD_HERE}"),
        false => format!("by device {}", held.device.short()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::Credits;

    const HERE: DeviceId = DeviceId([0x11; 16]);

    #[test]
    fn the_reason_is_the_true_one() {
        let credits = Credits::from_thousandths;
        let told = |lease, cut_off, refused: Option<(i64, i64)>| {
            let refused = refused.map(|(available, held)| {
                let held = LeaseHeld { device: DeviceId([0xab; 16]), credits: credits(held) };
                let held = if held.credits > Credits::ZERO { vec![held] } else { vec![] };
                (credits(available), held)
            });
            let (needed, lease, asked) = (credits(1_000), credits(lease), refused.is_none());
            let ended = false;
            reason(&Short { needed, lease, ended, cut_off, refused, here: HERE, asked }, None)
        };
        for (stop, expected, says) in [
            (told(0, false, Some((0, 0))), Reason::Zero, "top-up"),
            (told(500, false, Some((0, 0))), Reason::CannotPay, "costs 1.000, and 0.500 is left"),
            (told(0, false, Some((500, 0))), Reason::CannotPay, "and 0.500 is left"),
            (
                told(0, false, Some((0, 3_000))),
                Reason::HeldElsewhere,
                "3.000 is held by device abababab, which cannot be reached or where a job needs it",
            ),
            (
                told(300, false, Some((200, 200))),
                Reason::CannotPay,
                "costs 1.000, and 0.700 is left, of which 0.200 is held elsewhere; it goes on after a top-up",
            ),
            (told(300, false, Some((200, 500))), Reason::HeldElsewhere, "0.500 is held by device"),
            (told(500, true, Some((0, 3_000))), Reason::LineDown, "0.500 is left"),
            (told(0, false, None), Reason::Asked, "not answered"),
        ] {
            assert_eq!(stop.reason, expected, "{}", stop.message);
            assert!(stop.message.contains(says), "{}", stop.message);
        }
        let short = Short {
            needed: credits(1_000),
            lease: credits(500),
            ended: true,
            cut_off: true,
            refused: None,
            here: HERE,
            asked: true,
        };
        let stop = reason(&short, Some("it was stolen"));
        assert_eq!(stop.reason, Reason::Revoked);
        assert!(stop.message.contains("it was stolen") && stop.message.contains("0.500 is left"));
        let stop = reason(&short, None);
        assert_eq!(stop.reason, Reason::LineDown);
        assert!(stop.message.contains("the lease of 0.500 that this device was given has ended"));
        let held = |device| LeaseHeld { device, credits: credits(1_000) };
        assert_eq!(
            place(&held(HERE), HERE),
            "at this device for another user of the same balance, or from before it was restored or copied"
        );
    }
}
