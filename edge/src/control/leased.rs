//! The recording stream of acts that need a right: each is recorded with one, or answered with why not.
//!
//! Invariant: lines are answered in order, one at a time; an act waits for its right while the link is up,
//! and no longer than its client said, and not at all where none will ever come. What is no act needs no right and is recorded as ever. Rights
//! themselves are the keeper's; who holds what of a balance is shown by id, for a device knows no other.

use super::Desk;
use super::recording::{LineAnswer, answer_of, parse, read_line, write_answer};
use crate::keeper::{Entry, HELD_HERE, Progress, Short, Spent};
use core::time::Duration;
use std::io;
use tallyroll_schema::Act;
use tallyroll_schema::event::leases::LeaseHeld;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Without news it is tried again so soon: a link that is lost is no news of rights.
const TRIED_AGAIN: Duration = Duration::from_millis(500);

/// Records lines until the stream ends, each with a right or not at all.
///
/// # Errors
/// The stream broke, or the keeper ended; what was answered is durable all the same.
pub async fn pump<R, W>(
    mut reader: BufReader<R>,
    mut writer: W,
    desk: &Desk,
    patience: Duration,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut progress = desk.keeper.progress();
    let mut line = Vec::new();
    while read_line(&mut reader, &mut line).await? > 0 {
        if !line.iter().all(u8::is_ascii_whitespace) {
            let answer = match parse(&line) {
                Ok(Entry::Act(act)) => spend(desk, &mut progress, act, patience).await?,
                Ok(entry) => {
                    let answers =
                        desk.keeper.record(vec![entry]).await.map_err(io::Error::other)?;
                    answer_of(answers.into_iter().next())
                }
                Err(why) => LineAnswer::Error(why),
            };
            let mut text = Vec::new();
            write_answer(&mut text, &answer)?;
            writer.write_all(&text).await?;
        }
        line.clear();
    }
    writer.shutdown().await
}

async fn spend(
    desk: &Desk,
    progress: &mut watch::Receiver<Progress>,
    act: Act,
    patience: Duration,
) -> io::Result<LineAnswer> {
    let until = Instant::now() + patience;
    let mut asked = false;
    loop {
        let rights = progress.borrow_and_update().rights;
        let short = match desk.keeper.spend(act.clone()).await.map_err(io::Error::other)? {
            Spent::At(position) => return Ok(LineAnswer::Position(position)),
            Spent::Already => return Ok(LineAnswer::Already(true)),
            Spent::Refused(why) => return Ok(LineAnswer::Error(why)),
            Spent::NotNow(why) => return Ok(LineAnswer::Busy(why)),
            Spent::Short(short) => short,
        };
        if let Some(why) = desk.revoked() {
            return Ok(nothing_lent(&short, &why));
        }
        // A refusal counts that was heard since: an older one may be out of date.
        let refused = short.refused.clone().filter(|_| asked);
        asked |= short.asked;
        let (short, refused) = (Short { refused: refused.clone(), ..short }, refused.is_some());
        if refused || short.cut_off || desk.acts.is_none() || Instant::now() >= until {
            return Ok(refusal(&short, desk.acts.is_some()));
        }
        let pause = until.saturating_duration_since(Instant::now()).min(TRIED_AGAIN);
        let news = progress.wait_for(|progress| progress.rights != rights);
        if let Ok(Err(_)) = timeout(pause, news).await {
            return Err(io::Error::other(crate::keeper::Gone));
        }
    }
}

/// What whoever wanted more than there is, is told at a device that is lent no more.
fn nothing_lent(Short { needed, lease, .. }: &Short, why: &str) -> LineAnswer {
    LineAnswer::Error(format!(
        "this costs {needed} credits and {lease} are left of the user's lease here, and no more are lent: {why}"
    ))
}

/// What whoever wanted more than there is, is told.
fn refusal(short: &Short, agent: bool) -> LineAnswer {
    let Short { needed, lease, cut_off, ended, refused, here, .. } = short;
    if *cut_off && *ended {
        return LineAnswer::Busy(format!(
            "this costs {needed} credits, and the user's lease of {lease} here has ended by this machine's clock; the \
             cloud cannot be reached: it goes on when the link is back, or the clock right"
        ));
    }
    if *cut_off {
        return LineAnswer::Busy(format!(
            "this costs {needed} credits and {lease} are left of the user's lease here; the cloud cannot be reached, \
             so no more are spent: it goes on when the link is back"
        ));
    }
    let Some((available, held)) = refused else {
        let why = match agent {
            true => "the cloud was asked for more and has not answered: try again",
            false => {
                "no agent runs here that could ask the cloud for more: start `tallyroll-edge run`, then try again"
            }
        };
        return LineAnswer::Busy(format!(
            "this costs {needed} credits and {lease} are left of the user's lease here; {why}"
        ));
    };
    let own = held.iter().any(|held| held.device == *here);
    let place = |held: &LeaseHeld| match held.device == *here {
        true => format!("{} are held at this device {HELD_HERE}", held.credits),
        false => format!("{} are held by device {}", held.credits, held.device),
    };
    let held: Vec<String> = held.iter().map(place).collect();
    let elsewhere = if held.is_empty() { String::new() } else { format!("; {}", held.join(", ")) };
    LineAnswer::Error(format!(
        "this costs {needed} credits; {lease} are left of the user's lease here and {available} at the \
         cloud{elsewhere}; ask an administrator for {}",
        match own {
            true => "a grant, or to write off what `tallyroll leases` shows as frozen",
            false => "a grant",
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{Credits, DeviceId};

    #[test]
    fn who_is_short_is_told_what_would_help() {
        let credits = |whole: i64| Credits::from_thousandths(whole * 1000);
        let held = LeaseHeld { device: DeviceId([7; 16]), credits: credits(5) };
        let refused = Some((credits(1), vec![held]));
        let (needed, lease, here) = (credits(4), credits(2), DeviceId([1; 16]));
        let (cut_off, ended, asked) = (false, false, false);
        let short = Short { needed, lease, ended, cut_off, refused, here, asked };
        let LineAnswer::Error(told) = refusal(&short, true) else { panic!("it is refused") };
        assert!(
            told.contains("5.000 are held by device 0707") && told.contains("1.000 at the"),
            "{told}"
        );
        let LineAnswer::Busy(told) = refusal(&Short { cut_off: true, ..short.clone() }, true)
        else {
            panic!("it may go on")
        };
        assert!(told.contains("link is back") && !told.contains("clock"), "{told}");
        let short_by_the_clock = Short { cut_off: true, ended: true, ..short.clone() };
        let LineAnswer::Busy(told) = refusal(&short_by_the_clock, true) else {
            panic!("it may go on")
        };
        assert!(told.contains("has ended by this machine's clock"), "{told}");
        for (agent, why) in [(true, "has not answered"), (false, "start `tallyroll-edge run`")] {
            let short = Short { refused: None, ..short.clone() };
            let LineAnswer::Busy(told) = refusal(&short, agent) else { panic!("it may go on") };
            assert!(told.contains(why), "{told}");
        }
    }
}
