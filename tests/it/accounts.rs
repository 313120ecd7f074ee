//! Balances on a third machine: an account server, a processing server and a device, each a process.
//! Invariant: what the processing server was told it may do is charged once, to the thousandth, whoever is killed;
//! what it was refused is not. What acts come to is told by the stories in `scenarios`, played there with three, too.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tallyroll_tests::fleet::{Answer, Branch, Cloud, PATIENCE, Recording, run, wait_until};

/// An account server, a processing server, and a branch where anna has begun a job.
pub(super) struct Three {
    pub(super) cloud: Cloud,
    pub(super) office: Branch,
    pub(super) branch: Branch,
}

const BEGUN: &[u8] = br#"{"kind":"job.begun","job":"00000000000000a1","user":"anna"}
"#;

pub(super) fn three(dir: &Path) -> Three {
    let mut cloud = Cloud::start(dir.join("cloud"));
    cloud.stop();
    cloud.start_with(&["--role", "accounts"]);
    let office = cloud.enroll_with(&["office", "--processing"]);
    let office = Branch::joined(dir.join("office"), &office);
    let branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
    drop(branch.run_with(&["record"], BEGUN).succeeded());
    branch.wait_synced(PATIENCE);
    wait_until(PATIENCE, "anna is known", || balances(&cloud)["name"] == "anna");
    office.wait_synced(PATIENCE);
    Three { cloud, office, branch }
}

/// Anna's row.
fn balances(cloud: &Cloud) -> Value {
    cloud.json(&["view", "balances"])["rows"][0].clone()
}

pub(super) fn mail(request: &str, user: &str, destinations: u32) -> String {
    let job = r#""job":"00000000000000a1","pages":1"#;
    format!(
        r#"{{"kind":"document.sent","device":"branch","user":"{user}","request":"{request}",{job},"destinations":{destinations}}}"#
    )
}

fn sent(cloud: &Cloud) -> Vec<Value> {
    let events = cloud.events().into_iter();
    events.filter(|line| line["event"]["kind"] == "document.sent").collect()
}

#[test]
fn a_processing_server_acts_by_its_link_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let Three { mut cloud, mut office, branch } = three(dir.path());
    let act = |at: &Branch, line: &str| at.run_with(&["act"], line.as_bytes());
    let first = mail("00000000000000b1", "anna", 5);

    let poor = act(&office, &first).failed(1);
    assert!(poor.contains("0.000 left: nothing of this is done"), "{poor}");
    drop(cloud.run(&["grant", "anna", "100"]).succeeded());
    let position = act(&office, &first).succeeded();
    assert_eq!(act(&office, &first).succeeded(), position, "it is done once");
    assert_eq!(balances(&cloud)["balance"], "97.500");
    assert_eq!(office.json(&["status"])["asked"], Value::Null, "all was answered");
    let minted = first.replace(r#""request":"00000000000000b1","#, "");
    let ran = office.run_with(&["act", "--json"], minted.as_bytes());
    let answer: Value = serde_json::from_str(&ran.succeeded()).unwrap();
    let again = minted.replacen('{', &format!(r#"{{"request":{},"#, answer["request"]), 1);
    assert_eq!(act(&office, &again).succeeded().trim(), answer["position"], "by the new request");
    assert_eq!(balances(&cloud)["balance"], "95.000");

    for (line, told) in [
        (mail("00000000000000b2", "bert", 5), "bert did not begin this job at branch"),
        (mail("00000000000000b2", "anna", 5).replace("branch", "elsewhere"), "no device elsewhere"),
        (mail("00000000000000b2", "anna", 0), "at least 1"),
        (mail("00000000000000b1", "anna", 50), "take a new one"),
        (
            r#"{"device":"branch","kind":"job.ended","job":"00000000000000a1"}"#.into(),
            "tallyroll-edge record",
        ),
        ("nonsense".into(), "expected"),
    ] {
        let refused = act(&office, &line).failed(1);
        assert!(refused.contains(told), "{refused}");
    }
    let denied = act(&branch, &mail("00000000000000b3", "anna", 5)).failed(1);
    assert!(denied.contains("branch is enrolled as a device"), "{denied}");

    // Not even on its own machine, served or not, nor after a start that says nothing of it.
    let own = |cloud: &Cloud| {
        run(&mut cloud.command(&["record"]), mail("00000000000000b4", "anna", 1).as_bytes())
    };
    assert!(own(&cloud).failed(1).contains("tallyroll-edge act"));
    cloud.stop();
    assert!(own(&cloud).failed(1).contains("tallyroll-edge act"));
    let told = "the account server cannot be reached";
    wait_until(PATIENCE, "the link is down", || office.json(&["status"])["link"] == "down");
    let unreached = act(&office, &mail("00000000000000b5", "anna", 1)).failed(75);
    assert!(unreached.contains(told), "{unreached}");
    assert_eq!(office.json(&["status"])["asked"], Value::Null, "it was not asked");
    cloud.start_again();
    assert!(own(&cloud).failed(1).contains("tallyroll-edge act"));
    assert_eq!((sent(&cloud).len(), balances(&cloud)["balance"].clone()), (2, "95.000".into()));
    cloud.stop();
    cloud.start_with(&["--role", "all"]);
    drop(own(&cloud).succeeded());

    office.stop();
    let alone = act(&office, &mail("00000000000000b6", "anna", 1)).failed(75);
    assert!(alone.contains("no agent runs here"), "{alone}");
    drop(cloud.run(&["revoke", "office"]).succeeded());
    office.start();
    wait_until(PATIENCE, "it is turned away", || office.json(&["status"])["refused"] == true);
    let revoked = act(&office, &mail("00000000000000b6", "anna", 1)).failed(1);
    assert!(revoked.contains("may have been done") && revoked.contains("revoked"), "{revoked}");
}

#[test]
fn a_processing_server_says_what_it_is_and_what_is_wrong_with_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let Three { cloud, office, branch } = three(dir.path());
    let is = |at: &Branch| at.json(&["status"])["processing"].clone();
    assert_eq!((is(&office), is(&branch)), (true.into(), false.into()));
    assert!(office.run(&["status"]).succeeded().contains("role    a processing server"));
    let page = br#"{"kind":"pages.captured","user":"anna","pages":1,"color":"color"}"#;
    for told in [
        office.run_with(&["record", "--leased"], page).failed(1),
        office.run(&["balance", "anna", "--ask"]).failed(1),
    ] {
        assert!(told.contains("this is a processing server") && told.contains("act"), "{told}");
    }

    let long = "x".repeat(10 << 20);
    for (command, at) in [("act", &office), ("record", &branch)] {
        let told = at.run_with(&[command], format!("{long}\n").as_bytes()).failed(1);
        assert!(told.contains("line 1: a line of over 65536 bytes"), "{told}");
        let ran = at.run_with(&[command, "--json"], b"\nnonsense\n{}\n");
        let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<Value> = lines.map(|answer| answer["line"].clone()).collect();
        assert_eq!(lines, [2, 3]);
    }

    drop(cloud.run(&["revoke", "branch"]).succeeded());
    let told = office.run_with(&["act"], mail("00000000000000b1", "anna", 1).as_bytes()).failed(1);
    assert!(told.contains("no device branch") || told.contains("the device whose job"), "{told}");
}

/// Revoked before the answer came: what it asked for is listed as what it is.
#[test]
fn what_a_revoked_processing_server_asked_for_is_never_answered() {
    let dir = tempfile::tempdir().unwrap();
    let Three { cloud, office, .. } = three(dir.path());
    let id = rustix::process::Pid::from_raw(cloud.process_id().unwrap().cast_signed()).unwrap();
    let signal = |signal| rustix::process::kill_process(id, signal).unwrap();
    signal(rustix::process::Signal::STOP);
    let line = mail("00000000000000b1", "anna", 5);
    let told = office.run_with(&["act"], line.as_bytes()).failed(75);
    assert!(told.contains("not known"), "{told}");
    signal(rustix::process::Signal::CONT);
    drop(cloud.run(&["revoke", "office"]).succeeded());
    wait_until(PATIENCE, "it is turned away", || office.json(&["status"])["revoked"] == true);
    let shown = office.run(&["status"]).succeeded();
    assert!(shown.contains("never answered any more"), "{shown}");
    let told = office.run_with(&["act"], line.as_bytes()).failed(1);
    assert!(told.contains("never answered here any more"), "{told}");
}

/// The account server is stopped in the middle, as by `kill -STOP`, so that the answer stays away.
#[test]
fn what_is_not_known_is_told_listed_and_found_out_by_asking_again() {
    let dir = tempfile::tempdir().unwrap();
    let Three { cloud, mut office, .. } = three(dir.path());
    drop(cloud.run(&["grant", "anna", "100"]).succeeded());
    let id = rustix::process::Pid::from_raw(cloud.process_id().unwrap().cast_signed()).unwrap();
    let signal = |signal| rustix::process::kill_process(id, signal).unwrap();
    signal(rustix::process::Signal::STOP);
    let line = mail("00000000000000b1", "anna", 5);
    let ran = office.run_with(&["act"], line.as_bytes()).failed(75);
    assert!(ran.contains("not known") && ran.contains(r#""request":"00000000000000b1""#), "{ran}");
    let listed = |office: &Branch| office.json(&["status"])["asked"][0]["request"].clone();
    assert_eq!(listed(&office), "00000000000000b1");
    let shown = office.run(&["status"]).succeeded();
    assert!(shown.contains("has no answer: document.sent in job 00000000000000a1 at branch"));
    office.kill_9();
    signal(rustix::process::Signal::CONT);
    office.start();
    assert_eq!(listed(&office), "00000000000000b1", "also after a kill");
    office.wait_synced(PATIENCE);
    let position = office.run_with(&["act"], line.as_bytes()).succeeded();
    assert_eq!(listed(&office), Value::Null);
    assert_eq!(sent(&cloud).len(), 1);
    assert_eq!(sent(&cloud)[0]["position"], position.trim());
    assert_eq!(balances(&cloud)["balance"], "97.500");
}

/// Who asks sends each line until it hears of a position, whatever dies meanwhile.
#[test]
fn killed_around_an_act_either_server_does_it_once() {
    const ACTS: u32 = 60;
    let dir = tempfile::tempdir().unwrap();
    let Three { mut cloud, mut office, .. } = three(dir.path());
    drop(cloud.run(&["grant", "anna", "1000"]).succeeded());
    let lines: Vec<String> =
        (0..ACTS).map(|number| mail(&format!("{number:016x}"), "anna", 1 + number % 3)).collect();
    let mut heard = BTreeMap::new();
    let (mut kills, mut rounds) = (0, 0);
    while heard.len() < lines.len() {
        rounds += 1;
        assert!(rounds < 200, "{} of {ACTS} acts after {kills} kills", heard.len());
        let left: Vec<usize> = (0..lines.len()).filter(|at| !heard.contains_key(at)).collect();
        let mut asking = Recording::start(&mut office.command(&["act", "--json"]));
        for at in &left {
            if !asking.write(&format!("{}\n", lines[*at])) {
                break;
            }
        }
        asking.finish();
        let most = if kills < 8 { 4 + kills as usize % 3 } else { left.len() };
        for at in left.iter().take(most) {
            match asking.answer(PATIENCE) {
                Ok(Answer::At(position)) => drop(heard.insert(*at, position)),
                Ok(Answer::Other(told)) => assert!(!told.contains("error"), "{told}"),
                Err(_) => break,
            }
        }
        if kills < 8 {
            match kills % 2 {
                0 => office.kill_9(),
                _ => cloud.kill_9(),
            }
            match kills % 2 {
                0 => office.start(),
                _ => cloud.start_again(),
            }
            kills += 1;
        }
        office.wait_synced(PATIENCE);
    }
    let events = sent(&cloud);
    assert_eq!(events.len(), lines.len(), "each once");
    for (at, position) in &heard {
        let event = events.iter().find(|event| event["position"] == position.to_string()).unwrap();
        assert_eq!(event["event"]["request"], format!("{at:016x}"));
    }
    // 20 each to one, two and three destinations, at half a credit.
    assert_eq!(balances(&cloud)["balance"], "940.000");
    for at in 0..lines.len() {
        let again = office.run_with(&["act"], lines[at].as_bytes()).succeeded();
        assert_eq!(again.trim(), heard[&at].to_string());
    }
    assert_eq!(office.json(&["status"])["asked"], Value::Null);
    assert_eq!((sent(&cloud).len(), kills), (lines.len(), 8));
}

/// Prices change: what is asked for meanwhile is done by the new card, or not yet.
#[test]
fn a_new_card_prices_at_both_ends_or_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let Three { cloud, office, .. } = three(dir.path());
    drop(cloud.run(&["grant", "anna", "100"]).succeeded());
    let card = cloud.run(&["rates", "show"]).succeeded();
    let file = dir.path().join("card.toml");
    let dearer = card.replacen("send-monochrome = \"0.500\"", "send-monochrome = \"0.700\"", 1);
    assert_ne!(dearer, card);
    std::fs::write(&file, dearer).unwrap();
    drop(cloud.run(&["rates", "publish", file.to_str().unwrap()]).succeeded());
    let line = mail("00000000000000b1", "anna", 5);
    wait_until(PATIENCE, "the card has arrived", || {
        let ran = office.run_with(&["act"], line.as_bytes());
        if ran.code() == Some(75) {
            let told = ran.failed(75);
            assert!(told.contains("rate card 2 is in force"), "{told}");
            return false;
        }
        drop(ran.succeeded());
        true
    });
    assert_eq!(balances(&cloud)["balance"], "96.500");
    assert_eq!(sent(&cloud)[0]["event"]["charge"]["card"], 2);
}
