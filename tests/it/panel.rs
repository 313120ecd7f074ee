//! The panel of a device, as the software beside it and a browser see it: docs/panel.md, through real processes.
//! Invariant: what is asked is asked over the real sockets, by bytes that this file writes itself.
//! What a person sees of the page is in `page`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tallyroll_schema::limits::LEASE_DAYS;
use tallyroll_schema::limits::local::{ASK_TIMEOUT, PANEL_BODY_BYTES_MAX, SILENCE_MAX};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_for, wait_until};
use tempfile::TempDir;

pub(super) const JOB: &str = "00000000000000a1";
/// No question takes longer: a page waits six seconds for credits, an event twenty.
const ANSWER_TIME: Duration = Duration::from_secs(40);

/// Asks over a stream; the whole answer.
fn ask_over(mut stream: impl Read + Write, request: &str) -> (u16, String, Value) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    drop(stream.read_to_string(&mut text)); // a request that was cut short is answered all the same
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

fn connect(branch: &Branch) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(branch.data().join("panel.sock"))?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    Ok(stream)
}

/// Asks at the socket, if anybody answers there.
pub(super) fn try_to_ask(
    branch: &Branch,
    method: &str,
    path: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = request(method, path, "Host: panel\r\n", &body);
    let (status, _, said) = ask_over(connect(branch).ok()?, &request);
    (status != 0).then_some((status, said))
}

/// Asks at the socket.
pub(super) fn ask(branch: &Branch, method: &str, path: &str, body: &Value) -> (u16, Value) {
    try_to_ask(branch, method, path, body).unwrap()
}

pub(super) fn get(branch: &Branch, path: &str) -> Value {
    let (status, said) = ask(branch, "GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {said}");
    said
}

pub(super) fn log_in(branch: &Branch) -> String {
    let (status, said) = ask(branch, "POST", "/v1/sessions", &json!({ "user": "anna" }));
    assert_eq!(status, 201, "{said}");
    said["session"].as_str().unwrap().to_owned()
}

pub(super) fn begin_job(branch: &Branch, session: &str, job: &str, pages: u32) -> (u16, Value) {
    let wish = json!({ "session": session, "kind": "capture", "job": job, "pages": pages });
    ask(branch, "POST", "/v1/jobs", &wish)
}

fn begin(branch: &Branch, session: &str, pages: u32) -> (u16, Value) {
    begin_job(branch, session, JOB, pages)
}

pub(super) fn page_of(branch: &Branch, job: &str, number: u32) -> (u16, Value) {
    ask(branch, "POST", &format!("/v1/jobs/{job}/pages"), &json!({ "page": number }))
}

fn page(branch: &Branch, number: u32) -> (u16, Value) {
    page_of(branch, JOB, number)
}

/// Pages from one number to another, each paid.
fn pages(branch: &Branch, from: u32, to: u32) -> Vec<Value> {
    let paid = |number| {
        let (status, said) = page(branch, number);
        assert_eq!(status, 200, "page {number}: {said}");
        assert!(said["job"]["recorded"].as_u64().unwrap() >= number.into(), "{said}");
        said["position"].clone()
    };
    (from..=to).map(paid).collect()
}

pub(super) fn grant(cloud: &Cloud, credits: u32) {
    let credits = credits.to_string();
    wait_until(PATIENCE, "anna is known", || {
        cloud.run(&["grant", "anna", &credits]).code() == Some(0)
    });
}

pub(super) fn balance(cloud: &Cloud) -> Value {
    let rows = cloud.json(&["view", "balances"]);
    rows["rows"].as_array().unwrap().iter().find(|row| row["name"] == "anna").unwrap().clone()
}

pub(super) fn session(branch: &Branch, session: &str) -> Value {
    get(branch, &format!("/v1/sessions/{session}"))
}

/// What is shown of the balance: balance, held, available, flag.
pub(super) fn account(branch: &Branch, of: &str) -> Value {
    let shown = &session(branch, of)["account"];
    json!([shown["balance"], shown["held"], shown["available"], shown["flag"]])
}

pub(super) fn end(branch: &Branch, job: &str) {
    let (status, said) = ask(branch, "POST", &format!("/v1/jobs/{job}/end"), &Value::Null);
    assert_eq!((status, &said["state"]), (200, &json!("ended")), "{said}");
}

/// A branch at whose panel anna is logged in, with so many credits.
pub(super) fn with_credits(credits: u32) -> (TempDir, Cloud, Branch, String) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    wait_until(PATIENCE, "the branch is linked", || branch.standing().linked);
    let session = log_in(&branch);
    let (status, said) = begin(&branch, &session, 1);
    assert_eq!((status, &said["state"]), (409, &json!("stopped")), "nobody gave any: {said}");
    grant(&cloud, credits);
    wait_until(PATIENCE, "the job may run", || begin(&branch, &session, 1).0 == 201);
    (dir, cloud, branch, session)
}

/// The next event of a kind; `after` is where the last question ended.
#[track_caller]
pub(super) fn event(branch: &Branch, after: &mut String, kind: &str) -> Value {
    event_where(branch, after, kind, |_| true)
}

/// The next one of which something holds.
#[track_caller]
pub(super) fn event_where(
    branch: &Branch,
    after: &mut String,
    kind: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    wait_for(PATIENCE, kind, || {
        let heard = get(branch, &format!("/v1/events?after={after}"));
        assert_eq!(heard["lost"], false, "{heard}");
        *after = heard["after"].as_str().unwrap().to_owned();
        let mut events = heard["events"].as_array().unwrap().iter();
        events.find(|event| event["kind"] == kind && holds(event)).cloned()
    })
}

/// All of a balance is spent here, by a job that runs, and the session says so.
#[track_caller]
fn shows(branch: &Branch, session: &str, spent: &str) {
    let shown = || get(branch, &format!("/v1/sessions/{session}"));
    wait_until(PATIENCE, "the balance shows", || {
        let account = shown()["account"].clone();
        (&account["balance"], &account["available"]) == (&json!(spent), &json!("0.000"))
    });
    let said = shown();
    let lease = &said["lease"];
    let figures = ["left", "spent", "overdrawn"].map(|key| lease[key].as_str().unwrap());
    assert_eq!(figures, ["0.000", spent, "0.000"], "{said}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let days = Duration::from_millis(lease["until"].as_u64().unwrap()).checked_sub(now).unwrap();
    assert!(days.as_secs().div_ceil(86_400) == LEASE_DAYS, "{said}");
    assert_eq!(said["here"], json!({ "charged": "0.000", "held": spent }), "{said}");
    assert_eq!(said["account"]["flag"], false, "{said}");
}

/// Mission 1, example 11, on a job of hundreds of pages, with the agent killed on the way.
#[test]
fn a_job_stops_before_the_page_that_cannot_be_paid_and_goes_on_after_a_top_up() {
    let (_dir, cloud, mut branch, session) = with_credits(203);
    let mut places = Vec::new();
    for killed_after in [3, 60, 61, 130] {
        places.extend(pages(&branch, places.len() as u32 + 1, killed_after));
        branch.kill_9();
        branch.start();
        assert_eq!(
            get(&branch, &format!("/v1/sessions/{session}"))["jobs"][0]["recorded"],
            killed_after
        );
        let again = pages(&branch, killed_after - 2, killed_after);
        assert_eq!(places[places.len() - 3..], again[..], "they have other places than before");
    }
    places.extend(pages(&branch, 131, 203));
    shows(&branch, &session, "203.000");
    let mut after = get(&branch, "/v1/events")["after"].as_str().unwrap().to_owned();
    let (status, said) = page(&branch, 204);
    assert_eq!((status, &said["state"], &said["reason"]), (409, &json!("stopped"), &json!("zero")));
    assert!(said["message"].as_str().unwrap().contains("top-up"), "{said}");
    assert_eq!(said["next"], 204);
    assert_eq!(event(&branch, &mut after, "stopped")["job"]["reason"], "zero");
    let shown = get(&branch, &format!("/v1/sessions/{session}"));
    assert_eq!(shown["messages"], json!([said["message"]]), "{shown}");
    let other = json!({ "session": session, "kind": "print" });
    assert_eq!(ask(&branch, "POST", "/v1/jobs", &other).0, 409, "a new one is refused");

    grant(&cloud, 47);
    assert_eq!(event(&branch, &mut after, "resumed")["job"]["next"], 204);
    places.extend(pages(&branch, 204, 250));
    assert_eq!(page(&branch, 251).0, 409);
    shows(&branch, &session, "250.000");
    let distinct: std::collections::BTreeSet<String> =
        places.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 250, "two pages have one place");
    branch.wait_synced(PATIENCE);
    let shown = balance(&cloud);
    let figures = ["balance", "held", "available"].map(|key| shown[key].as_str().unwrap());
    assert_eq!(figures, ["250.000", "250.000", "0.000"], "{shown}");
    let totals = cloud.json(&["view", "totals"]);
    assert_eq!(totals["rows"][0]["captured"], 250, "{totals}");
}

/// Regression: "goes on when the line is back", at a device that nobody lends anything to any more.
#[test]
fn a_job_at_a_revoked_device_hears_that_it_is_revoked() {
    let (_dir, cloud, mut branch, _) = with_credits(20);
    drop(pages(&branch, 1, 1));
    drop(cloud.run(&["revoke", "branch"]).succeeded());
    wait_until(PATIENCE, "it is turned away", || branch.json(&["status"])["revoked"] == true);
    let (_, said) =
        (2..=21).map(|number| page(&branch, number)).find(|(status, _)| *status != 200).unwrap();
    let told = |said: &Value| {
        assert_eq!(said["reason"], "revoked", "{said}");
        assert!(said["message"].as_str().unwrap().contains("nothing more is lent to it"), "{said}");
    };
    told(&said);
    branch.kill_9();
    drop(cloud);
    branch.start(); // it knows, also where nobody answers
    let recorded = said["recorded"].as_u64().unwrap() as u32;
    told(&page(&branch, recorded + 1).1);
}

#[test]
fn what_is_undecided_at_logout_counts_as_discarded_and_what_was_saved_stands() {
    let (_dir, cloud, mut branch, session) = with_credits(20);
    drop(pages(&branch, 1, 5));
    assert_eq!(page(&branch, 7).1["code"], "order", "a page is left out");
    branch.stop();
    branch.start();
    let (status, said) = ask(&branch, "DELETE", &format!("/v1/sessions/{session}"), &Value::Null);
    assert_eq!((status, &said["ended"]), (200, &json!([JOB])), "{said}");
    assert_eq!(ask(&branch, "GET", &format!("/v1/sessions/{session}"), &Value::Null).0, 404);
    let shown = || (balance(&cloud)["balance"].clone(), balance(&cloud)["held"].clone());
    wait_until(PATIENCE, "nothing is held", || shown() == (json!("20.000"), json!("0.000")));
    assert_eq!(page(&branch, 6).0, 404);
    let (status, said) = ask(&branch, "POST", &format!("/v1/jobs/{JOB}/end"), &Value::Null);
    assert_eq!((status, &said["state"], &said["recorded"]), (200, &json!("ended"), &json!(5)));
    assert_eq!((&said["user"], &said["kind"]), (&json!("anna"), &Value::Null), "{said}");
    assert_eq!(ask(&branch, "GET", &format!("/v1/jobs/{JOB}"), &Value::Null), (200, said));

    // A second login takes over; what is printed is charged as it happens.
    let (first, second) = (log_in(&branch), log_in(&branch));
    assert_eq!(ask(&branch, "GET", &format!("/v1/sessions/{first}"), &Value::Null).0, 404);
    let wish = json!({ "session": second, "kind": "print", "job": "00000000000000b2" });
    for _ in 0..2 {
        let (status, said) = ask(&branch, "POST", "/v1/jobs", &wish);
        assert_eq!((status, &said["state"]), (201, &json!("running")), "asked twice: {said}");
    }
    let side = |page: u32| {
        let said = json!({ "page": page, "sides": "two-sided-long-edge", "color": "color" });
        assert_eq!(ask(&branch, "POST", "/v1/jobs/00000000000000b2/pages", &said).0, 200);
    };
    (1..=3).for_each(side);
    drop(ask(&branch, "DELETE", &format!("/v1/sessions/{second}"), &Value::Null));
    branch.wait_synced(PATIENCE);
    let totals = cloud.json(&["view", "totals"]);
    assert_eq!(
        (&totals["rows"][0]["impressions"], &totals["rows"][0]["sheets"]),
        (&json!(3), &json!(2))
    );
}

#[test]
fn a_job_that_nobody_decides_counts_as_discarded_whoever_began_it() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let begun = |job: &str| format!(r#"{{"kind":"job.begun","job":"{job}","user":"anna"}}"#);
    let captured =
        |job: &str| format!(r#"{{"kind":"pages.captured","job":"{job}","user":"anna","pages":2}}"#);
    let saved = r#"{"kind":"document.saved","job":"00000000000000c3","user":"anna","pages":2}"#;
    let kept = "00000000000000c3";
    let lines =
        [begun(JOB), captured(JOB), begun(kept), captured(kept), saved.to_owned()].join("\n");
    drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
    let held = || branch.json(&["view", "balances"])["rows"][0]["held"].clone();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(held(), "2.000");
    branch.stop();
    branch.start_with(&["--undecided-after", "2s"]);
    let held = || branch.json(&["view", "balances"])["rows"][0]["held"].clone();
    wait_until(PATIENCE, "nothing is held", || held() == "0.000");
    branch.wait_synced(PATIENCE);
    let ends = |job: &str| {
        let events = cloud.events();
        let of_job = events.iter().filter(|event| event["event"]["job"] == job);
        of_job.filter(|event| event["event"]["kind"] == "job.ended").count()
    };
    assert_eq!((ends(JOB), ends(kept)), (1, 0), "one was decided: {:?}", cloud.events());
}

#[test]
fn by_loopback_only_who_has_the_token_comes_in_and_no_log_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let told = branch.run(&["panel"]).failed(1);
    assert!(told.contains("run --panel 127.0.0.1:PORT"), "{told}");
    for address in ["0.0.0.0:8631", "192.0.2.1:80"] {
        let told = branch.run(&["run", "--panel", address]).failed(2);
        assert!(told.contains("for this machine alone"), "{told}");
    }
    branch.stop();
    branch.start_with(&["--panel", "127.0.0.1:0"]);
    let url = branch.json(&["status"])["panel"]["url"].as_str().unwrap().to_owned();
    assert!(branch.run(&["status"]).succeeded().contains(&format!("panel.sock and {url}")));
    let address = branch.run(&["panel"]).succeeded();
    let token = address.trim().strip_prefix(&format!("{url}#")).unwrap();
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    for file in ["panel.sock", "panel.token"] {
        let mode = std::fs::metadata(branch.data().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let asked = |path: &str, headers: &str| {
        let (status, head, _) =
            ask_over(TcpStream::connect(host).unwrap(), &request("GET", path, headers, ""));
        (status, head)
    };
    let own = format!("Host: {host}\r\n");
    let with_token = format!("{own}Authorization: Bearer {token}\r\n");
    assert_eq!(asked("/v1/events", &with_token).0, 200);
    assert_eq!(asked("/v1/events", &own).0, 401);
    assert_eq!(asked("/v1/events", &format!("{with_token}Origin: http://evil.example\r\n")).0, 403);
    let rebound = format!("Host: evil.example\r\nAuthorization: Bearer {token}\r\n");
    assert_eq!(asked("/v1/events", &rebound).0, 403);
    for file in ["/", "/panel.js", "/panel.css"] {
        let (status, head) = asked(file, &own);
        assert_eq!(status, 200, "{file}");
        let head = head.to_lowercase();
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
    }
    branch.stop();
    let log = std::fs::read_to_string(branch.data().with_extension("stderr")).unwrap();
    assert!(!log.contains(token), "the token is in the log");
    branch.start_with(&["--panel", host]);
    assert_eq!(asked("/v1/events", &with_token).0, 200, "it is another token after a restart");
}

#[test]
fn who_is_silent_slow_or_says_too_much_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let long = "n".repeat(PANEL_BODY_BYTES_MAX);
    let (status, said) = ask(&branch, "POST", "/v1/sessions", &json!({ "user": long }));
    assert_eq!((status, &said["code"]), (413, &json!("large")));
    for (body, expected) in [
        (json!({ "user": "" }), 400),
        (json!({ "user": "n".repeat(256) }), 400),
        (json!({ "user": "anna\u{1b}[2J" }), 400),
        (json!({ "name": "anna" }), 400),
        (json!([]), 400),
    ] {
        assert_eq!(ask(&branch, "POST", "/v1/sessions", &body).0, expected, "{body}");
    }
    assert_eq!(ask(&branch, "POST", "/v1/jobs/zz/pages", &json!({ "page": 1 })).0, 400);
    assert_eq!(ask(&branch, "PUT", "/v1/sessions", &Value::Null).0, 405);
    assert_eq!(ask(&branch, "GET", "/v2", &Value::Null).0, 404);

    // A hundred that say nothing, and some that say half of it: the next is heard all the same.
    let silent: Vec<UnixStream> = (0..100).map(|_| connect(&branch).unwrap()).collect();
    let began = Instant::now();
    let mut slow = connect(&branch).unwrap();
    slow.write_all(b"POST /v1/sessions HTTP/1.1\r\nHost: panel\r\nContent-Length: 9\r\n\r\n{")
        .unwrap();
    assert_eq!(ask(&branch, "GET", "/v1/events", &Value::Null).0, 200);
    assert!(began.elapsed() < 5 * SILENCE_MAX, "it waited {:?}", began.elapsed());
    let mut text = String::new();
    slow.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(began.elapsed() < 5 * SILENCE_MAX + 2 * ASK_TIMEOUT, "{:?}", began.elapsed());
    drop(silent);
}
