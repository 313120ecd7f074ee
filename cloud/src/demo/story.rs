//! The story: what befalls the fleet, and when, until everything has arrived.
//!
//! Branches print all the while. Half of the lines are cut; in the dark one agent is
//! killed, then the cloud; both start again on their files; the lines heal. Invariant:
//! it ends when every event is durable at the cloud by the branches' own word, or
//! with an error that says who is behind. Whether it is right is the check's.

use super::branch::{Branch, Imported};
use super::error::{DemoError, Result};
use super::fleet::Fleet;
use super::stage::Stage;
use super::visit::{self, Seen, Visit};
use std::time::{Duration, Instant};

/// Printing with every line up, before the outage and after it.
const CALM: Duration = Duration::from_millis(1500);
/// How often all are asked how far they are.
const TICK: Duration = Duration::from_millis(250);
/// A link that died unseen is missed after 30 s, tried again for 15, after a pause of up to 20.
const CONVERGENCE_LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    CutLines,
    KillAgent,
    KillCloud,
    RestartCloud,
    RestartAgent,
    HealLines,
}

/// When each turn comes, in order of time.
fn turns(outage: Duration) -> [(Duration, Turn); 6] {
    let at = |share: f64| CALM + outage.mul_f64(share);
    [
        (at(0.0), Turn::CutLines),
        (at(0.3), Turn::KillAgent),
        (at(0.45), Turn::KillCloud),
        (at(0.6), Turn::RestartCloud),
        (at(0.7), Turn::RestartAgent),
        (at(1.0), Turn::HealLines),
    ]
}

/// Plays it to its end.
pub(super) async fn play(fleet: &mut Fleet, outage: Duration, stage: &mut Stage) -> Result<Seen> {
    let mut visit = Visit::begin(fleet).await?;
    let began = Instant::now();
    let printing = CALM + outage + CALM;
    let mut turns = turns(outage).into_iter().peekable();
    while began.elapsed() < printing || turns.peek().is_some() {
        while let Some((_, turn)) = turns.next_if(|(at, _)| *at <= began.elapsed()) {
            take(fleet, turn, stage).await?;
        }
        let share = began.elapsed().div_duration_f64(printing);
        fleet.branches.iter_mut().try_for_each(|branch| branch.print(share))?;
        // Who was stopped before it waits through the cloud's death.
        let cloud_is_back = !turns.clone().any(|(_, turn)| turn == Turn::RestartCloud);
        visit.attend(&fleet.cloud, cloud_is_back, stage).await?;
        fleet.look().await?;
        stage.show(fleet);
        tokio::time::sleep(TICK).await;
    }
    fleet.branches.iter_mut().try_for_each(|branch| branch.print(1.0))?;
    let imported = fleet.finish_imports().await?;
    tell_of_reading_again(fleet, &imported, stage);
    converge(fleet, &mut visit, stage).await
}

async fn take(fleet: &mut Fleet, turn: Turn, stage: &mut Stage) -> Result<()> {
    let unlucky =
        || fleet.unlucky().map(|branch| branch.name.as_str()).collect::<Vec<_>>().join(", ");
    match turn {
        Turn::CutLines => {
            stage.say(&format!("cut the lines of {}; they go on printing", unlucky()));
            fleet.unlucky().for_each(|branch| branch.relay.cut());
        }
        Turn::HealLines => {
            stage.say(&format!("healed the lines of {}", unlucky()));
            fleet.unlucky().for_each(|branch| branch.relay.heal());
        }
        Turn::KillAgent => {
            if let Some(branch) = fleet.branches.first_mut() {
                let (name, unsent) = (&branch.name, branch.progress.to_go());
                stage.say(&format!(
                    "kill -9 for the agent of {name} and its importer; at least {unsent} events were not sent yet"
                ));
                branch.kill().await?;
            }
        }
        Turn::RestartAgent => {
            if let Some(branch) = fleet.branches.first_mut() {
                branch.start().await?;
                stage.say(&format!(
                    "{} starts again and reads its page_log from the first line",
                    branch.name
                ));
            }
        }
        Turn::KillCloud => {
            fleet.cloud.kill().await?;
            stage.say("kill -9 for the cloud");
        }
        Turn::RestartCloud => {
            fleet.cloud.restart().await?;
            stage.say("the cloud starts again on its files");
        }
    }
    Ok(())
}

fn tell_of_reading_again(fleet: &Fleet, imported: &[Imported], stage: &mut Stage) {
    stage.say("all printed; waiting until all of it is at the cloud");
    for (branch, Imported { lines, already }) in fleet.branches.iter().zip(imported) {
        if *already > 0 {
            stage.say(&format!(
                "{} read {lines} lines after its restart; {already} were counted before and are not counted again",
                branch.name
            ));
        }
    }
}

async fn converge(fleet: &mut Fleet, visit: &mut Visit, stage: &mut Stage) -> Result<Seen> {
    let began = Instant::now();
    loop {
        visit.attend(&fleet.cloud, true, stage).await?;
        // Only then: what was written at the visit's end is looked at, too.
        fleet.look().await?;
        stage.show(fleet);
        if let Some(seen) = visit.seen()
            && fleet.has_converged().await?
        {
            stage.say("everything written is at the cloud");
            return Ok(seen.clone());
        }
        if began.elapsed() > CONVERGENCE_LIMIT {
            return Err(DemoError::NotConverged {
                limit: CONVERGENCE_LIMIT,
                behind: behind(fleet, visit),
            });
        }
        tokio::time::sleep(TICK).await;
    }
}

fn behind(fleet: &Fleet, visit: &Visit) -> String {
    let missing = |branch: &Branch| {
        let missing = branch.progress.to_go();
        (missing > 0).then(|| format!("{} has {missing} events to go", branch.name))
    };
    let copying = visit.seen().is_none().then(|| format!("{} is still copying", visit::USER));
    let behind: Vec<String> = fleet.branches.iter().filter_map(missing).chain(copying).collect();
    if behind.is_empty() { "names of users are missing there".into() } else { behind.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_or_killed_comes_back() {
        let turns = turns(Duration::from_secs(10));
        assert!(turns.is_sorted_by_key(|(at, _)| *at));
        let at = |turn| turns.iter().find(|(_, other)| *other == turn).unwrap().0;
        assert!(
            at(Turn::CutLines) < at(Turn::KillAgent)
                && at(Turn::KillAgent) < at(Turn::RestartAgent)
        );
        assert!(at(Turn::KillCloud) < at(Turn::RestartCloud));
        assert_eq!(at(Turn::HealLines) - at(Turn::CutLines), Duration::from_secs(10));
    }
}
