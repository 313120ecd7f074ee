//! A panel's file of sessions on a disk that fails: each of its fsyncs is answered with EIO, one a run.
//! Invariant shown here: the agent ends and says why; who was told to be logged in is after the next start, and who was
//! told to be logged out is not.

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Process};

use super::Place;
use super::strace::{Nth, Sync, attach, each, end, judge, syncs};
use crate::panel::{ask, try_to_ask};

/// One login and logout, of which the `nth` sync fails.
fn visit(place: &Place, cloud: &Cloud, nth: Nth) -> Option<Sync> {
    let name = format!("panel-{nth}");
    let (_line, invitation) = place.invite(cloud, &name);
    let mut branch = Branch::joined(place.path(&name), &invitation);
    branch.wait_synced(PATIENCE);
    branch.stop();
    let (out, stderr) =
        (place.path(&format!("{name}.trace")), place.path(&format!("{name}.failed")));
    let agent = Process::start(&mut branch.command(&["run"]), &stderr).unwrap();
    let mut strace = attach(&out, nth, agent.id());
    let at_panel = |method: &str, path: &str, body: Value, done: u16| {
        let (status, said) = try_to_ask(&branch, method, path, &body)?;
        assert!([done, 503].contains(&status), "{said}");
        (status == done).then_some(said)
    };
    let login = at_panel("POST", "/v1/sessions", json!({ "user": "anna" }), 201);
    let session = login.map(|said| format!("/v1/sessions/{}", said["session"].as_str().unwrap()));
    let logout = session.as_ref().and_then(|path| at_panel("DELETE", path, Value::Null, 200));
    let ran = end(agent, &stderr, || logout.is_some());
    strace.wait().unwrap();
    let failed = judge(&ran, &syncs(&out));

    branch.start();
    if let Some(path) = session {
        let (status, said) = ask(&branch, "GET", &path, &Value::Null);
        let expected = if logout.is_some() { [404, 404] } else { [200, 404] };
        assert!(expected.contains(&status), "{said}, {failed:?}");
    }
    branch.wait_synced(PATIENCE);
    branch.stop();
    failed
}

#[test]
fn a_panel_whose_sync_fails_ends_and_answers_nothing_that_it_could_not_keep() {
    let place = Place::new();
    let cloud = Cloud::start(place.path("cloud"));
    let hits = each("a visit at the panel", |nth| visit(&place, &cloud, nth));
    let hit = hits.iter().any(|sync| sync.path.ends_with("/panel.sessions.unfinished"));
    assert!(hit, "no sync of the sessions failed: {hits:#?}");
    drop(cloud.run(&["log", "verify"]).succeeded());
}
