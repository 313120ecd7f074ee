//! Acts of the processing server, at the command line: permitted, refused, repeated after a lost answer.
//! Invariant: what is answered with a position is recorded once, whatever happens to the cloud meanwhile.
//! What acts come to is told by the stories in `scenarios`.

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, run, wait_until};

const BEGUN: &[u8] = br#"{"kind":"job.begun","job":"00000000000000a1","user":"anna"}
{"kind":"pages.captured","job":"00000000000000a1","user":"anna","pages":1,"color":"monochrome"}
"#;

fn mail(device: &str, user: &str, request: &str) -> String {
    let job = r#""job":"00000000000000a1","pages":1,"destinations":5"#;
    format!(
        r#"{{"kind":"document.sent","device":"{device}","user":"{user}","request":"{request}",{job}}}"#
    )
}

#[test]
fn an_act_is_recorded_once_and_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    drop(branch.run_with(&["record"], BEGUN).succeeded());
    branch.wait_synced(PATIENCE);
    let row = |cloud: &Cloud| cloud.json(&["view", "balances"])["rows"][0].clone();
    wait_until(PATIENCE, "anna is known", || row(&cloud)["name"] == "anna");
    let act = |cloud: &Cloud, line: &str| run(&mut cloud.command(&["record"]), line.as_bytes());

    let first = mail("branch", "anna", "00000000000000b1");
    let poor = act(&cloud, &first).failed(1);
    assert!(poor.contains("0.000 left: nothing of this is done"), "{poor}");
    drop(cloud.run(&["grant", "anna", "100"]).succeeded());
    let position = act(&cloud, &first).succeeded();
    cloud.kill_9();
    cloud.start_again();
    assert_eq!(act(&cloud, &first).succeeded(), position, "its answer was lost");
    assert_eq!(row(&cloud)["balance"], "97.500");

    for (line, told) in [
        (mail("branch", "bert", "00000000000000b2"), "bert did not begin this job at branch"),
        (mail("branch", "bert", "00000000000000b1"), "another act's; take a new one"),
        (mail("elsewhere", "anna", "00000000000000b2"), "no device elsewhere"),
        (r#"{"device":"branch","kind":"job.ended","job":"00000000000000a1"}"#.into(), "tallyroll-edge record"),
        (
            r#"{"device":"branch","request":"00000000000000b1","kind":"document.discarded","job":"00000000000000a1"}"#.into(),
            "take a new one",
        ),
    ] {
        let refused = act(&cloud, &line).failed(1);
        assert!(refused.contains(told), "{refused}");
    }
    let text = format!("{}\n\n{}\n", first, mail("branch", "bert", "00000000000000b3"));
    let ran = run(&mut cloud.command(&["record", "--json"]), text.as_bytes());
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["position"], position.trim());
    assert!(lines[1]["error"].as_str().unwrap().contains("bert"));
    let sent = cloud.events().into_iter().filter(|line| line["event"]["kind"] == "document.sent");
    assert_eq!(sent.count(), 1);
}
