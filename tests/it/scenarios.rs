//! The stories in `tests/scenarios`: mission 1's worked examples, played by a cloud and a branch, and once more with
//! the balances on a third machine. A line is an act in JSON, recorded at the branch as it stands, or one of the steps below.
//! Invariant: every file is played, to its last line, and each figure is what a person is shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, run, wait_until};

use super::panel::{ask, begin_job, page_of};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

/// Who acts as the server.
enum Server<'a> {
    /// The cloud itself.
    Cloud,
    /// A processing server, and the cloud is an account server.
    Elsewhere(&'a Branch),
}

#[test]
fn every_story_comes_out_as_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    play_all(dir.path(), &cloud, &Server::Cloud);
}

#[test]
fn every_story_comes_out_the_same_with_the_balances_on_a_third_machine() {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    cloud.stop();
    cloud.start_with(&["--role", "accounts"]);
    let invited = cloud.enroll_with(&["office", "--processing"]);
    let office = Branch::joined(dir.path().join("office"), &invited);
    office.wait_synced(PATIENCE);
    play_all(dir.path(), &cloud, &Server::Elsewhere(&office));
}

fn play_all(dir: &Path, cloud: &Cloud, server: &Server<'_>) {
    let branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
    let stories = stories();
    for story in &stories {
        let figures = play(story, cloud, &branch, server);
        assert!(figures > 0, "{} tells of no figure", story.display());
    }
    assert_eq!(stories.len(), 11, "a story for each example");
}

/// The stories' files, in their order.
pub(super) fn stories() -> Vec<PathBuf> {
    let mut stories: Vec<_> =
        fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    stories
}

/// Plays a story; returns how many figures were looked at.
fn play(story: &Path, cloud: &Cloud, branch: &Branch, server: &Server<'_>) -> usize {
    let text = fs::read_to_string(story).unwrap();
    let (mut figures, mut sessions) = (0, BTreeMap::new());
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{}:{number}: {line}", story.display());
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] | ["#", ..] => {}
            _ if line.starts_with('{') => {
                drop(branch.run_with(&["record"], line.as_bytes()).succeeded());
            }
            // How jobs settle that begin from here on: waits until the branch has heard.
            ["settlement", policy] => {
                drop(cloud.run(&["policy", "settlement", policy]).succeeded());
                wait_until(PATIENCE, &place, || branch.json(&["status"])["settlement"] == policy);
            }
            // Gives a user credits, once the branch has told of the user.
            ["grant", user, credits] => {
                wait_until(PATIENCE, &place, || {
                    row(&cloud.json(&["view", "balances"]), user).is_some()
                });
                drop(cloud.run(&["grant", user, credits]).succeeded());
            }
            // What the cloud shows of a user once it has everything.
            ["cloud", user, ref expected @ ..] => {
                branch.wait_synced(PATIENCE);
                let shown = row(&cloud.json(&["view", "balances"]), user).expect(&place);
                figures += compare(&shown, expected, &place);
            }
            // How the branch comes by a new balance while a job of the user runs there.
            ["sync-mode", mode] => drop(cloud.run(&["policy", "sync", mode]).succeeded()),
            // Somebody logs in at the branch, which asks for the balance.
            ["login", user] => {
                wait_until(PATIENCE, &place, || {
                    branch.json(&["balance", user, "--ask"])["asked"] == false
                });
            }
            // The server acts in a job of the branch, once it has everything; it says so before it acts.
            ["server", ..] | ["refused", ..] => {
                branch.wait_synced(PATIENCE);
                let (_, act) = line.split_once(' ').expect(&place);
                let act = act.replacen('{', r#"{"device":"branch","#, 1);
                let ran = match server {
                    Server::Cloud => run(&mut cloud.command(&["record"]), act.as_bytes()),
                    Server::Elsewhere(office) => office.run_with(&["act"], act.as_bytes()),
                };
                match words[0] {
                    "server" => drop(ran.succeeded()),
                    _ => drop(ran.failed(1)),
                }
            }
            // The branch hears that there is a new balance.
            ["flagged", user] => wait_until(PATIENCE, &place, || {
                branch.json(&["balance", user])["balance"]["flag"] == true
            }),
            // The branch takes in what the cloud has for it.
            ["sync", user] => wait_until(PATIENCE, &place, || {
                let known = &branch.json(&["balance", user])["balance"];
                let row = row(&cloud.json(&["view", "balances"]), user).expect(&place);
                ["balance", "held", "available"].iter().all(|figure| known[*figure] == row[*figure])
            }),
            // The software of the device asks at its panel.
            ["panel", ref step @ ..] => at_the_panel(branch, step, &mut sessions, &place),
            // What the branch knows of a user's balance.
            ["device", user, ref expected @ ..] => {
                let known = branch.json(&["balance", user])["balance"].clone();
                let known = serde_json::from_value(known).expect(&place);
                figures += compare(&known, expected, &place);
            }
            // What the branch shows of a user at once.
            ["edge", user, ref expected @ ..] => {
                let shown = row(&branch.json(&["view", "balances"]), user).expect(&place);
                figures += compare(&shown, expected, &place);
            }
            _ => panic!("{place}: no such step"),
        }
    }
    figures
}

/// A step at the panel; `sessions` are who is logged in there.
fn at_the_panel(
    branch: &Branch,
    step: &[&str],
    sessions: &mut BTreeMap<String, Value>,
    place: &str,
) {
    match *step {
        ["login", user] => {
            let (status, said) = ask(branch, "POST", "/v1/sessions", &json!({ "user": user }));
            assert_eq!(status, 201, "{place}: {said}");
            sessions.insert(user.to_owned(), said["session"].clone());
        }
        // Begins to scan so many pages, once the first can be paid.
        ["begin", user, job, pages] => {
            let pages: u32 = pages.parse().expect(place);
            let session = sessions[user].as_str().expect(place);
            wait_until(PATIENCE, place, || begin_job(branch, session, job, pages).0 == 201);
        }
        // Scans from one page to another; each is asked for twice, and has one place.
        ["pages", job, from, to] => {
            for number in from.parse().expect(place)..=to.parse::<u32>().expect(place) {
                let [first, again] = [(); 2].map(|()| page_of(branch, job, number));
                assert_eq!((first.0, again.0), (200, 200), "{place}: {} {}", first.1, again.1);
                assert_eq!(first.1["position"], again.1["position"], "{place}: page {number}");
            }
        }
        // A page is not begun, for this reason.
        ["stopped", job, number, reason] => {
            let (status, said) = page_of(branch, job, number.parse().expect(place));
            let told = (status, said["state"].as_str(), said["reason"].as_str());
            assert_eq!(told, (409, Some("stopped"), Some(reason)), "{place}: {said}");
        }
        // The job goes on by itself at that page.
        ["resumed", job, number] => wait_until(PATIENCE, place, || {
            let (_, said) = ask(branch, "GET", &format!("/v1/jobs/{job}"), &Value::Null);
            said["state"] == "running" && said["next"].as_u64() == number.parse().ok()
        }),
        _ => panic!("{place}: no such step"),
    }
}

/// A user's row.
fn row(view: &Value, user: &str) -> Option<BTreeMap<String, Value>> {
    let rows = view["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == user)?;
    Some(serde_json::from_value(row.clone()).unwrap())
}

fn compare(shown: &BTreeMap<String, Value>, expected: &[&str], place: &str) -> usize {
    for pair in expected.chunks(2) {
        let [name, amount] = pair else { panic!("{place}: a name without its amount") };
        let figure = &shown[*name];
        let figure = figure.as_str().map_or_else(|| figure.to_string(), ToOwned::to_owned);
        assert_eq!(figure, *amount, "{place}: {name}");
    }
    expected.len() / 2
}
