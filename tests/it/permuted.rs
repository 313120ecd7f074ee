//! The stories in `tests/scenarios` once more, their events in every order in which they can arrive, and again.
//! A device's log arrives in its order and a job is one device's, so another order comes about by copies of the device
//! (an epoch each, in any order) and by the server's acts between them; which orders there are is told by `orders`.
//! A panel's pages have one order; its top-up comes before any of them.
//! Invariant: all orders of all stories are lived, each by a user of its own, and end in the story's last figures, at
//! the cloud and at the device that was copied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, run, wait_until};

use super::orders::{Life, Scene, Writer, lives, scenes_of};
use super::panel::ask;
use super::scenarios::stories;

/// All of a story's users in all their orders take a while to be granted to and to be told.
const LONG: Duration = Duration::from_secs(60);

fn lines<'a>(acts: impl IntoIterator<Item = &'a Value>) -> String {
    acts.into_iter().fold(String::new(), |mut text, act| {
        writeln!(text, "{act}").unwrap();
        text
    })
}

fn record(branch: &Branch, acts: &str) {
    drop(branch.run_with(&["record"], acts.as_bytes()).succeeded());
}

/// The device of a backup, elsewhere.
fn restored(backup: &Path, name: &str) -> Branch {
    let branch = Branch::new(backup.with_file_name(name));
    drop(branch.run(&["restore", backup.to_str().unwrap()]).succeeded());
    branch
}

/// Runs these copies side by side until the cloud has what they hold.
fn come_online(copies: &mut [&mut Branch]) {
    copies.iter_mut().for_each(|copy| copy.start());
    for copy in copies.iter() {
        wait_until(LONG, "it knows its past", || copy.json(&["status"])["unconfirmed"] == false);
        copy.wait_synced(LONG);
    }
    copies.iter_mut().for_each(|copy| copy.stop());
}

/// Pages captured, converted, sent and saved, by what was asked for.
fn pages<'a>(acts: impl IntoIterator<Item = &'a Value>) -> [u64; 4] {
    let mut sums = [0; 4];
    for act in acts {
        let count = |field: &str| act[field].as_u64().unwrap_or(1);
        let kinds = act["conversions"].as_array().map_or(0, Vec::len) as u64;
        let counted =
            [("captured", 1), ("converted", kinds), ("sent", count("destinations")), ("saved", 1)];
        for (sum, (kind, times)) in sums.iter_mut().zip(counted) {
            if act["kind"].as_str().is_some_and(|name| name.ends_with(&format!(".{kind}"))) {
                *sum += count("pages") * times;
            }
        }
    }
    sums
}

fn shown_pages(cloud: &Cloud) -> [u64; 4] {
    let totals = cloud.json(&["view", "totals"]);
    let rows = totals["rows"].as_array().unwrap();
    ["captured", "converted", "sent", "saved"]
        .map(|figure| rows.iter().map(|row| row[figure].as_u64().unwrap()).sum())
}

fn balances(cloud: &Cloud) -> BTreeMap<String, Value> {
    let shown = cloud.json(&["view", "balances"]);
    let rows = shown["rows"].as_array().unwrap().iter();
    rows.filter_map(|row| Some((row["name"].as_str()?.to_owned(), row.clone()))).collect()
}

/// Everybody begins, and is given what the story gives.
fn begin(cloud: &Cloud, branch: &Branch, lives: &[Life], begun: &[Value]) {
    for policy in ["server-settles", "additive"] {
        drop(cloud.run(&["policy", "settlement", policy]).succeeded());
        wait_until(PATIENCE, policy, || branch.json(&["status"])["settlement"] == policy);
        let theirs = lives.iter().filter(|life| life.scene.policy == policy);
        let users: BTreeSet<&str> = theirs.map(|life| life.user.as_str()).collect();
        record(
            branch,
            &lines(begun.iter().filter(|act| users.contains(act["user"].as_str().unwrap()))),
        );
    }
    branch.wait_synced(LONG);
    wait_until(LONG, "the users are known", || balances(cloud).len() == lives.len());
    std::thread::scope(|scope| {
        for lives in lives.chunks(lives.len().div_ceil(4)) {
            scope.spawn(move || lives.iter().for_each(|life| grant(cloud, life)));
        }
    });
}

/// As `tallyroll grant` asks, without a process for each of thousands.
fn grant(cloud: &Cloud, life: &Life) {
    let mut stream = UnixStream::connect(cloud.data().join("control.sock")).unwrap();
    let credits = format!("{}.000", life.scene.credits);
    let wish = json!({ "grant": { "user": life.user, "credits": credits, "reason": "" } });
    writeln!(stream, "{wish}").unwrap();
    let mut said = String::new();
    BufReader::new(stream).read_line(&mut said).unwrap();
    assert!(said.contains("position"), "{}: {said}", life.user);
}

/// Everybody asks for their balance, and is told.
fn log_in(branch: &Branch, lives: &[Life]) {
    std::thread::scope(|scope| {
        for lives in lives.chunks(lives.len().div_ceil(4)) {
            scope.spawn(move || {
                lives.iter().for_each(|life| drop(balance(branch, &life.user, true)))
            });
        }
    });
    for Life { user, .. } in lives {
        wait_until(LONG, user, || balance(branch, user, false)["asked"] == false);
    }
}

/// As `tallyroll-edge balance` asks.
fn balance(branch: &Branch, user: &str, ask: bool) -> Value {
    let mut stream = UnixStream::connect(branch.data().join("control.sock")).unwrap();
    writeln!(stream, "{}", json!({ "balance": { "user": user, "ask": ask } })).unwrap();
    let mut said = String::new();
    BufReader::new(stream).read_line(&mut said).unwrap();
    serde_json::from_str(&said).unwrap()
}

/// The server asks for these acts; where each stands that was not refused.
fn serve(cloud: &Cloud, acts: &[(Writer, Value)]) -> Vec<Value> {
    let text = lines(acts.iter().map(|(_, act)| act));
    let ran = run(&mut cloud.command(&["record", "--json"]), text.as_bytes());
    let said: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), acts.len(), "{}", ran.stderr);
    for ((writer, act), said) in acts.iter().zip(&said) {
        assert_eq!(said["position"].is_string(), *writer == Writer::Server, "{act}: {said}");
    }
    said.into_iter().map(|said| said["position"].clone()).collect()
}

#[test]
fn every_story_in_every_order_of_arrival_and_with_duplicates_ends_as_it_is_told() {
    live(&stories()[..9], "wait", (31, 1708));
}

/// Example 10 is told so: the device asks by itself once it hears that a job has ended whose user is flagged.
#[test]
fn with_the_flag_every_order_ends_as_it_is_told_too() {
    live(&stories()[9..10], "flag", (1, 720));
}

/// Lives the stories in so many scenes and orders.
fn live(stories: &[PathBuf], sync_mode: &str, scenes_and_orders: (usize, usize)) {
    let scenes: Vec<Scene> = stories.iter().flat_map(|story| scenes_of(story)).collect();
    let (lives, begun) = lives(&scenes);
    let found = (scenes.len(), lives.len());
    assert_eq!(found, scenes_and_orders, "an order is left out, or a story is new");

    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    drop(cloud.run(&["policy", "sync", sync_mode]).succeeded());
    begin(&cloud, &branch, &lives, &begun);
    log_in(&branch, &lives);
    branch.stop();
    let backup = |branch: &Branch, name: &str| {
        let to = dir.path().join(name);
        drop(branch.run(&["backup", to.to_str().unwrap()]).succeeded());
        to
    };

    // The line is down: each round's events are recorded, and the device is copied.
    let nothing_known = backup(&branch, "begun.backup");
    let rounds = lives.iter().map(|life| life.events.len()).max().unwrap();
    let of_round = |round: usize, writers: &[Writer]| -> Vec<(Writer, Value)> {
        let events = lives.iter().filter_map(|life| life.events.get(round));
        events.filter(|(writer, _)| writers.contains(writer)).cloned().collect()
    };
    let text = |events: &[(Writer, Value)]| lines(events.iter().map(|(_, act)| act));
    let mut copies = Vec::new();
    for round in 0..rounds {
        record(&branch, &text(&of_round(round, &[Writer::Device])));
        let known = backup(&branch, &format!("round-{round}.backup"));
        let ends = restored(&nothing_known, &format!("ends-{round}"));
        record(&ends, &text(&of_round(round, &[Writer::Copy])));
        copies.push((restored(&known, &format!("copy-{round}")), ends));
    }

    // They come online in turn: a copy brings all rounds before its own again, and the original brings all.
    let (mut arrived, mut served) = (Vec::new(), Vec::new());
    for (round, (copy, ends)) in copies.iter_mut().enumerate() {
        come_online(&mut [copy, ends]);
        let number = served.len();
        let acts = of_round(round, &[Writer::Server, Writer::Refused]).into_iter().enumerate();
        let acts: Vec<_> = acts
            .map(|(at, (writer, mut act))| {
                act["device"] = json!("branch");
                act["request"] = json!(format!("{:08x}{at:08x}", number + 1));
                (writer, act)
            })
            .collect();
        let positions = serve(&cloud, &acts);
        served.push((acts, positions));
        arrived.extend(of_round(round, &[Writer::Device, Writer::Server]));
        let expected = pages(arrived.iter().map(|(_, act)| act));
        wait_until(LONG, &format!("round {round} counts once"), || shown_pages(&cloud) == expected);
    }
    come_online(&mut [&mut branch]);
    for (acts, positions) in &served {
        assert_eq!(serve(&cloud, acts), *positions, "an act was done again");
    }
    assert_eq!(shown_pages(&cloud), pages(arrived.iter().map(|(_, act)| act)));

    let shown = balances(&cloud);
    for Life { scene, user, events } in &lives {
        for (figure, expected) in &scene.figures {
            assert_eq!(shown[user][figure], **expected, "{user}: {figure} after {events:?}");
        }
    }
    let forks = cloud.json(&["forks"]);
    let resubmitted =
        forks.as_array().unwrap().iter().filter_map(|fork| fork["resubmitted"].as_u64());
    let (again, once) = (resubmitted.sum::<u64>(), of_device(&lives));
    assert!(
        again > once,
        "{once} events were recorded again {again} times in all: no copy repeated another"
    );
    drop(cloud.run(&["log", "verify"]).succeeded());
    let mut events = cloud.events().into_iter();
    let flagged = events.any(|event| event["event"]["kind"] == "balance.sync-requested");
    assert_eq!(flagged, sync_mode == "flag", "the other way of telling a busy device");

    // The device that was copied: nobody asks again, it was told in the course of it all.
    branch.start();
    branch.wait_synced(LONG);
    for Life { scene, user, events } in lives.iter().filter(|life| life.is_over()) {
        let what = format!("{user} has {:?} at the device after {events:?}", scene.figures);
        wait_until(LONG, &what, || {
            let known = &balance(&branch, user, false)["balance"];
            scene.figures.iter().all(|(figure, expected)| known[figure] == **expected)
        });
    }
}

fn of_device(lives: &[Life]) -> u64 {
    let events = lives.iter().flat_map(|life| &life.events);
    events.filter(|(writer, _)| *writer == Writer::Device).count() as u64
}

/// Example 11: a top-up comes before any page up to the one that waits for it; each page is asked for twice.
#[test]
fn a_top_up_before_any_page_gives_the_same_ten_pages() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let lived = |before: u32| {
        let (user, job) = (format!("user-{before}"), format!("{before:016x}"));
        let grant = |credits: &str| {
            wait_until(PATIENCE, "the user is known", || {
                cloud.run(&["grant", &user, credits]).code() == Some(0)
            });
        };
        let (_, said) = ask(&branch, "POST", "/v1/sessions", &json!({ "user": user }));
        grant("3");
        let wish =
            json!({ "session": said["session"], "kind": "capture", "job": job, "pages": 10 });
        wait_until(PATIENCE, "it begins", || ask(&branch, "POST", "/v1/jobs", &wish).0 == 201);
        let page = |number: u32| {
            ask(&branch, "POST", &format!("/v1/jobs/{job}/pages"), &json!({ "page": number }))
        };
        let mut places = BTreeSet::new();
        for number in 1..=10 {
            if number == 4 && before == 4 {
                assert_eq!(page(4).1["reason"], "zero");
            }
            if number == before {
                grant("7");
            }
            wait_until(PATIENCE, "the page is paid", || page(number).0 == 200);
            let [first, again] = [page(number), page(number)];
            assert_eq!(first.1["position"], again.1["position"], "page {number}");
            places.insert(first.1["position"].to_string());
        }
        assert_eq!(places.len(), 10);
        assert_eq!(page(11).0, 409, "nobody can pay that");
        user
    };
    let users: Vec<String> = std::thread::scope(|scope| {
        let lives = [1, 2, 3, 4].map(|before| scope.spawn(move || lived(before)));
        lives.into_iter().map(|life| life.join().unwrap()).collect()
    });
    branch.wait_synced(PATIENCE);
    let shown = balances(&cloud);
    for user in users {
        let figures = ["balance", "held", "available"].map(|figure| shown[&user][figure].clone());
        assert_eq!(figures, ["10.000", "10.000", "0.000"], "{user}");
    }
}
