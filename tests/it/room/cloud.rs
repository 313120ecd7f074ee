//! A cloud whose disk has no room: its first start, and a cloud that is ready; it enrols a device, takes in its events,
//! commits, grants.
//! Invariant: what it said is done is there after the next start; what it refused for want of room is not.

use serde_json::{Value, json};
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{
    Branch, Cloud, Invitation, PATIENCE, Process, Ran, wait_for, wait_until,
};

use super::cases::{Came, NoRoom, each, seen, tracing};
use super::{is_ending, judge, names_the_disk};
use crate::fsync::Place;
use crate::traced::{From, attach, under};

const SEED: u64 = 12;
const ACTS: usize = 3;
const USER: &str = "anna";
const GRANTED: u64 = 7;
const LENT: &str = "00000000000000d1";

struct Site<'a> {
    cloud: &'a Cloud,
    process: Process,
    no_room: Option<&'a NoRoom>,
    invitation: Option<Invitation>,
    joined: bool,
    /// Credits that it said were granted, and those of which nobody knows.
    granted: u64,
    unknown: u64,
    /// Whether a page was paid of credits that it lent.
    lent: bool,
}

impl Site<'_> {
    fn is_over(&self) -> bool {
        self.no_room.is_none_or(NoRoom::is_over)
    }

    /// Asks until it is done, or refused for good: with room again it is done. Tells what it cost in refusals.
    fn ask(&mut self, mut ask: impl FnMut(&Cloud) -> Ran) -> Option<Ran> {
        let Self { cloud, process, no_room, .. } = self;
        wait_for(PATIENCE, "the cloud does as it is asked, or ends, or has no room", || {
            let ran = ask(cloud);
            if ran.code() == Some(0) {
                return Some(Some(ran));
            }
            let told = names_the_disk(&ran.stderr) || is_ending(process);
            assert!(no_room.is_some() && told, "{ran:?}");
            let goes_on = no_room.is_none_or(NoRoom::is_over);
            (!goes_on || !process.is_running()).then_some(None)
        })
    }

    fn work(&mut self, branch: &mut Branch) {
        if self.invitation.is_none() {
            let invited = self.ask(|cloud| cloud.run(&["enroll", "branch", "--json"]));
            self.invitation = invited.map(|invited| {
                let invited: Value = serde_json::from_str(&invited.stdout).unwrap();
                let text = |key: &str| invited[key].as_str().unwrap().to_owned();
                Invitation { url: text("url"), pin: text("pin") }
            });
        }
        if let Some(invitation) = self.invitation.clone()
            && self.process.is_running()
        {
            self.joined = self.ask(|_| branch.join(&invitation)).is_some();
        }
        if self.joined {
            branch.start();
            let lines: String =
                Acts::new(SEED, 0).take(ACTS).map(|(job, said)| said.line(job)).collect();
            drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
        }
        drop(self.ask(|cloud| cloud.run(&["users", "add", USER])));
        let credits = GRANTED.to_string();
        let mut unknown = 0;
        let granted = self.ask(|cloud| {
            let ran = cloud.run(&["grant", USER, &credits]);
            let refused = ran.stderr.contains("no room") || ran.stderr.contains("no user");
            unknown += if ran.code() == Some(0) || refused { 0 } else { GRANTED };
            ran
        });
        self.granted += granted.map_or(0, |_| GRANTED);
        self.unknown = unknown;
        if self.joined {
            // Of credits that are lent now, where that can be.
            let wait = if self.is_over() { "20" } else { "1" };
            let act = json!({"kind": "pages.captured", "job": LENT, "user": USER, "pages": 1, "color": "color"});
            let leased = ["record", "--leased", "--wait", wait];
            let ran = branch.run_with(&leased, act.to_string().as_bytes());
            self.lent = ran.code() == Some(0);
            assert!(self.lent || self.no_room.is_some(), "{ran:?}");
        }
        if self.process.is_running() {
            let verified = self.cloud.run(&["log", "verify"]);
            assert!(verified.code() == Some(0) || is_ending(&mut self.process), "{verified:?}");
        }
        if self.is_over() && self.joined {
            wait_until(PATIENCE, "it goes on or has ended", || {
                !self.process.is_running() || {
                    let at = branch.standing();
                    at.linked && at.cloud == at.local
                }
            });
        }
    }
}

/// One run of a cloud: its first from its first call on, or one that is ready.
fn cloud(place: &Place, from: From, no_room: Option<&NoRoom>) -> Came {
    let number = no_room.map_or(0, |no_room| no_room.number + 1);
    let mut cloud = Cloud::start(place.path(&format!("cloud-{from:?}-{number}")));
    cloud.stop();
    let data = cloud.data().to_owned();
    let (out, stderr) = (data.with_extension("trace"), data.with_extension("failed"));
    let mut branch = Branch::new(data.with_extension("branch"));
    let strace = tracing(&out, &data, no_room);
    let mut attached = None;
    let started = if from == From::Exec {
        std::fs::remove_dir_all(&data).unwrap(); // its first start is to come
        Process::start(&mut under(strace, &cloud.serving()), &stderr)
    } else {
        let process = Process::start(&mut cloud.serving(), &stderr).unwrap();
        attached = Some(attach(strace, process.id()));
        Ok(process)
    };
    let (mut invitation, mut joined) = (None, false);
    let (mut granted, mut unknown, mut lent) = (0, 0, false);
    let mut passing = no_room.is_some_and(NoRoom::is_passing);
    let ran = match started {
        Err(ran) => {
            passing = false; // it was never ready
            ran
        }
        Ok(process) => {
            let mut site = Site {
                cloud: &cloud,
                process,
                no_room,
                invitation: None,
                joined: false,
                granted: 0,
                unknown: 0,
                lent: false,
            };
            site.work(&mut branch);
            (invitation, joined) = (site.invitation, site.joined);
            (granted, unknown, lent) = (site.granted, site.unknown, site.lent);
            let kill = no_room.is_some_and(NoRoom::kills);
            let status = match kill && site.process.is_running() {
                true => site.process.killed(),
                false => site.process.stop(),
            };
            let stderr = std::fs::read_to_string(&stderr).unwrap_or_default();
            Ran { status, stdout: String::new(), stderr }
        }
    };
    if let Some(mut strace) = attached {
        strace.wait().unwrap();
    }
    let seen = seen(&out, &data);
    let ended = judge(&ran, &seen);
    assert!(!(ended && passing), "{ran:?}");

    let receipted = if joined { branch.standing().cloud } else { 0 };
    cloud.start_again();
    let held = tallyroll_tests::drill::books::events_held(&cloud);
    assert!(held >= receipted, "{receipted} events were receipted, {held} are held");
    if !joined {
        // What was told is an invitation still.
        let invitation = invitation.unwrap_or_else(|| cloud.enroll("another"));
        let again = branch.join(&invitation);
        let is_joined = again.code() == Some(0) || again.stderr.contains("has joined as");
        assert!(is_joined, "{again:?}");
        branch.start();
        let lines: String =
            Acts::new(SEED, 0).take(ACTS).map(|(job, said)| said.line(job)).collect();
        drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
    }
    branch.wait_synced(PATIENCE);
    let events = cloud.events();
    let times = |job: &str| {
        let acts = events.iter().map(|line| &line["event"]).filter(|event| event["job"] == job);
        acts.filter(|event| event["charge"].is_object()).count() // not what asks for a lease
    };
    for (job, _) in Acts::new(SEED, 0).take(ACTS) {
        assert_eq!(times(&job.to_string()), 1, "{job}");
    }
    assert!((usize::from(lent)..=1).contains(&times(LENT)), "{lent}: {}", times(LENT));
    let shown = cloud.json(&["leases"])["totals"]["granted"].clone();
    let there = shown.as_str().unwrap().strip_suffix(".000").unwrap().parse::<u64>().unwrap();
    assert!((granted..=granted + unknown).contains(&there), "{there}, told were {granted}");
    drop(cloud.run(&["users", "add", "bert"]).succeeded());
    drop(cloud.run(&["grant", "bert", "1"]).succeeded());
    drop(cloud.run(&["log", "verify"]).succeeded());
    Came { seen, ended }
}

#[test]
fn a_cloud_that_finds_no_room_says_so_and_loses_nothing_that_it_acknowledged() {
    let place = Place::new();
    let met = each("a cloud's first start", 16, |no_room| cloud(&place, From::Exec, no_room));
    for file in ["store.redb", "identity.json", "authority", "directory.key", "lock", "public"] {
        assert!(met.iter().any(|call| call.contains(file)), "{file}: {met:#?}");
    }
    let met = each("a cloud that is ready", 16, |no_room| cloud(&place, From::Ready, no_room));
    for file in ["store.redb", "allocations"] {
        assert!(met.iter().any(|call| call.contains(file)), "{file}: {met:#?}");
    }
}
