//! What the panel keeps of its sessions, where its file cannot be written.
//! Invariant shown here: what was answered holds after a restart: who logged out is out, an id that was taken over is
//! worth nothing; who cannot be kept logs in again, and a job is taken up by its id.
//! Files whose sync fails are `fsync`'s, files without room `room`'s.

use serde_json::{Value, json};
use tallyroll_tests::fleet::Branch;

use crate::panel::{JOB, ask, begin_job, get, log_in, page_of, with_credits};

fn is_logged_in(branch: &Branch, session: &str) -> bool {
    match ask(branch, "GET", &format!("/v1/sessions/{session}"), &Value::Null) {
        (200, _) => true,
        (404, said) if said["code"] == "no-session" => false,
        other => panic!("{other:?}"),
    }
}

fn restart(branch: &mut Branch) {
    branch.kill_9();
    branch.start();
}

/// From now on nothing can be written beside the file of sessions.
fn block(branch: &Branch) {
    let unfinished = branch.data().join("panel.sessions.unfinished");
    std::fs::create_dir_all(unfinished.join("in the way")).unwrap();
}

#[test]
fn who_logged_out_or_was_taken_over_is_not_there_again_after_a_restart() {
    let (_dir, _cloud, mut branch, first) = with_credits(20);
    restart(&mut branch);
    assert!(is_logged_in(&branch, &first), "sessions outlive a restart");

    block(&branch);
    let second = log_in(&branch);
    assert!(!is_logged_in(&branch, &first) && is_logged_in(&branch, &second));
    restart(&mut branch);
    assert!(!is_logged_in(&branch, &first), "the id of before is worth nothing");

    // The job goes on for who begins it again by its id.
    let third = log_in(&branch);
    assert_eq!(begin_job(&branch, &third, JOB, 1).0, 201);
    assert_eq!(page_of(&branch, JOB, 1).0, 200);
    restart(&mut branch);
    let fourth = log_in(&branch);
    let (status, said) = begin_job(&branch, &fourth, JOB, 1);
    assert_eq!((status, &said["recorded"]), (201, &json!(1)), "{said}");

    std::fs::remove_dir_all(branch.data().join("panel.sessions.unfinished")).unwrap();
    let fifth = log_in(&branch);
    block(&branch);
    let (status, said) = ask(&branch, "DELETE", &format!("/v1/sessions/{fifth}"), &Value::Null);
    assert_eq!((status, said["ended"].clone()), (200, json!([JOB])), "{said}");
    restart(&mut branch);
    assert!(!is_logged_in(&branch, &fifth), "a logout that was answered stands");
    let (status, said) = ask(&branch, "GET", &format!("/v1/jobs/{JOB}"), &Value::Null);
    assert_eq!((status, &said["state"]), (200, &json!("ended")), "{said}");
    assert_eq!(get(&branch, "/v1/events")["lost"], false);
}

/// It ended the agent, and each start of it was as good as the next login.
#[test]
fn a_file_that_cannot_be_taken_away_stops_logins_and_nothing_else() {
    let (_dir, _cloud, branch, first) = with_credits(20);
    let file = branch.data().join("panel.sessions");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir_all(file.join("in the way")).unwrap();
    let login = || ask(&branch, "POST", "/v1/sessions", &json!({ "user": "ada" }));
    let (status, said) = login();
    let told = said["error"].as_str().unwrap_or_default();
    assert!(status == 503 && told.contains("panel.sessions is neither written"), "{said}");
    let line = "{\"kind\":\"pages.captured\",\"user\":\"ada\",\"pages\":1}\n";
    drop(branch.run_with(&["record"], line.as_bytes()).succeeded());
    assert!(is_logged_in(&branch, &first), "who is in stays in");
    std::fs::remove_dir_all(file).unwrap();
    assert_eq!(login().0, 201);
}
