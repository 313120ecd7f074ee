//! A job at the panel, and a processing server elsewhere that charges the same user meanwhile: three processes.
//! Invariant: the job stops before the page that cannot be paid any more, says why, and goes on after a top-up, by
//! both sync modes; pages and acts together come to what was given, none is lost and none charged twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

use super::accounts::{Three, mail, three};
use super::leases::thousandths;
use super::panel::{
    JOB, account, ask, balance, begin_job, end, event_where, get, grant, log_in, page_of,
};

/// The job that scans, and the one in which the server acts meanwhile.
const SCAN: &str = "00000000000000c1";
const SENT: &str = "00000000000000c2";

/// Anna is logged in at the branch with so many credits, and both jobs have begun.
fn scanning(three: &Three, credits: u32) -> String {
    let Three { cloud, branch, .. } = three;
    end_elsewhere(branch, JOB);
    grant(cloud, credits);
    let session = log_in(branch);
    let given = json!(format!("{credits}.000"));
    wait_until(PATIENCE, "the balance is told", || account(branch, &session)[2] == given);
    for job in [SENT, SCAN] {
        wait_until(PATIENCE, "it may run", || begin_job(branch, &session, job, 1).0 == 201);
    }
    branch.wait_synced(PATIENCE);
    session
}

/// Ends a job that did not begin at the panel.
fn end_elsewhere(branch: &Branch, job: &str) {
    let ended = format!(r#"{{"kind":"job.ended","job":"{job}"}}"#);
    drop(branch.run_with(&["record"], ended.as_bytes()).succeeded());
}

fn pages(branch: &Branch, from: u32, to: u32) {
    for number in from..=to {
        let (status, said) = page_of(branch, SCAN, number);
        assert_eq!(status, 200, "page {number}: {said}");
    }
}

/// The processing server sends one page.
fn send(office: &Branch, request: u32, destinations: u32) -> tallyroll_tests::fleet::Ran {
    let line = mail(&format!("{request:016x}"), "anna", destinations).replace(JOB, SENT);
    office.run_with(&["act"], line.as_bytes())
}

/// Balance, held and available, as an administrator sees them.
fn figures(cloud: &Cloud) -> [String; 3] {
    let shown = balance(cloud);
    ["balance", "held", "available"].map(|key| shown[key].as_str().unwrap().to_owned())
}

/// The pages of the scan that the cloud holds, in the order of the log.
fn scanned(cloud: &Cloud) -> Vec<u64> {
    let events = cloud.events();
    let of_scan =
        |line: &&Value| line["event"]["kind"] == "pages.captured" && line["event"]["job"] == SCAN;
    events.iter().filter(of_scan).map(|line| line["event"]["page"].as_u64().unwrap()).collect()
}

/// Sums over all rows of the totals: scanned, sent, charged in thousandths.
fn totals(cloud: &Cloud) -> (u64, u64, i64) {
    let shown = cloud.json(&["view", "totals"]);
    let rows = shown["rows"].as_array().unwrap();
    let count = |key: &str| rows.iter().map(|row| row[key].as_u64().unwrap()).sum();
    (count("captured"), count("sent"), rows.iter().map(|row| thousandths(&row["charged"])).sum())
}

fn stops_at_the_page_that_the_server_left_nothing_for(mode: &str) {
    let flag = mode == "flag";
    let dir = tempfile::tempdir().unwrap();
    let three = three(dir.path());
    let Three { cloud, office, branch } = &three;
    drop(cloud.run(&["policy", "sync", mode]).succeeded());
    let anna = scanning(&three, 20);
    let shows = |what: &str, expected: Value| {
        wait_until(PATIENCE, what, || account(branch, &anna) == expected);
    };
    pages(branch, 1, 5);
    branch.wait_synced(PATIENCE);
    assert_eq!(figures(cloud), ["20.000", "5.000", "15.000"]);
    let known = account(branch, &anna);
    let mut after = get(branch, "/v1/events")["after"].as_str().unwrap().to_owned();
    let mut hears = |kind: &str, reason: Option<&str>| {
        let holds = |event: &Value| event["job"]["reason"].as_str() == reason;
        event_where(branch, &mut after, kind, holds)["job"].clone()
    };

    // The server leaves half a page. Nothing new is known before the job stops, by either mode.
    let position = send(office, 1, 29).succeeded();
    assert_eq!(figures(cloud), ["5.500", "5.000", "0.500"]);
    shows("only the flag", json!([known[0], known[1], known[2], flag]));
    for _ in 0..2 {
        let (status, said) = page_of(branch, SCAN, 6);
        let expected = (409, &json!("stopped"), &json!("cannot-pay"), &json!(5));
        assert_eq!(
            (status, &said["state"], &said["reason"], &said["recorded"]),
            expected,
            "{said}"
        );
        assert!(said["message"].as_str().unwrap().contains("costs 1.000, and 0.500 is left"));
    }
    assert_eq!(hears("stopped", Some("cannot-pay"))["next"], 6);
    shows("it is told where it stands", json!(["5.500", "5.000", "0.500", false]));

    // It takes that half, too; a line that comes again is done once.
    drop(send(office, 2, 1).succeeded());
    assert_eq!(send(office, 1, 29).succeeded(), position);
    assert!(send(office, 3, 1).failed(1).contains("0.000 left: nothing of this is done"));
    let stopped = hears("stopped", Some("zero"));
    assert_eq!((&stopped["next"], &stopped["recorded"]), (&json!(6), &json!(5)));
    shows("the rest is gone", json!(["5.000", "5.000", "0.000", false]));
    let shown = get(branch, &format!("/v1/sessions/{anna}"));
    assert_eq!(shown["messages"], json!([stopped["message"]]), "{shown}");
    let (status, refused) = begin_job(branch, &anna, "00000000000000c3", 1);
    assert_eq!((status, &refused["reason"]), (409, &json!("zero")), "{refused}");
    assert_eq!(figures(cloud), ["5.000", "5.000", "0.000"]);

    grant(cloud, 10);
    assert_eq!(hears("resumed", None)["next"], 6);
    pages(branch, 4, 15); // two of them are there already
    let (status, said) = page_of(branch, SCAN, 16);
    assert_eq!((status, &said["reason"]), (409, &json!("zero")), "{said}");
    branch.wait_synced(PATIENCE);
    assert_eq!(figures(cloud), ["15.000", "15.000", "0.000"]);
    grant(cloud, 5);
    assert_eq!(hears("resumed", None)["next"], 16);
    pages(branch, 16, 18);

    // What the scan held pays for what is sent of it, though less is left than that costs.
    branch.wait_synced(PATIENCE);
    assert_eq!(figures(cloud), ["20.000", "18.000", "2.000"]);
    let whole = mail("0000000000000004", "anna", 1).replace(JOB, SCAN);
    let whole = whole.replace(r#""pages":1"#, r#""pages":18"#);
    drop(office.run_with(&["act"], whole.as_bytes()).succeeded());
    end(branch, SCAN);
    end(branch, SENT);
    shows("both ends agree", json!(["11.000", "0.000", "11.000", false]));
    assert_eq!(figures(cloud), ["11.000", "0.000", "11.000"]);
    assert_eq!(scanned(cloud), (1..=18).collect::<Vec<_>>(), "a page is lost or there twice");
    assert_eq!(totals(cloud), (18, 29 + 1 + 18, 24_000));
    states(cloud);
    assert_eq!(ask(branch, "DELETE", &format!("/v1/sessions/{anna}"), &Value::Null).0, 200);
}

/// The statement says all of it, once, and adds up.
fn states(cloud: &Cloud) {
    let stated = cloud.json(&["view", "statement", "anna"]);
    let rows = stated["rows"].as_array().unwrap();
    let line = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        [text("what"), text("state"), text("moved")].join(" ")
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.sort();
    let mut expected: Vec<String> = ["10.000", "20.000", "5.000"]
        .map(|credits| format!("credits.granted settled {credits}"))
        .into_iter()
        .chain(["-0.500", "-14.500", "-9.000"].map(|sent| format!("document.sent settled {sent}")))
        .chain(core::iter::repeat_n("pages.captured void 0.000".to_owned(), 18))
        .collect();
    expected.sort();
    assert_eq!(lines, expected);
    let places: BTreeSet<&str> = rows.iter().map(|row| row["position"].as_str().unwrap()).collect();
    assert_eq!(places.len(), rows.len(), "an event is there twice");
    let moved: i64 = rows.iter().map(|row| thousandths(&row["moved"])).sum();
    let held: i64 = rows.iter().map(|row| thousandths(&row["held"])).sum();
    assert_eq!((moved, held), (11_000, 0), "{stated}");
    assert_eq!(
        (&stated["closing"]["balance"], &stated["closing"]["held"]),
        (&json!("11.000"), &json!("0.000"))
    );
}

#[test]
fn by_wait_a_scan_stops_at_the_page_that_the_server_left_nothing_for() {
    stops_at_the_page_that_the_server_left_nothing_for("wait");
}

#[test]
fn by_flag_a_scan_stops_at_the_page_that_the_server_left_nothing_for() {
    stops_at_the_page_that_the_server_left_nothing_for("flag");
}

/// Both spend as fast as they can, until each is refused because nothing is left.
fn race(three: &Three, scanned: &mut u32, sent: &mut u32) {
    let Three { office, branch, .. } = three;
    let scan = |pages: &mut u32| {
        let (status, said) = page_of(branch, SCAN, *pages + 1);
        match (status, said["reason"].as_str()) {
            (200, _) => *pages += 1,
            (409, Some("zero" | "cannot-pay")) => return false,
            (409, Some("asked" | "held-elsewhere")) => {}
            _ => panic!("page {}: {status} {said}", *pages + 1),
        }
        true
    };
    let act = |requests: &mut u32| {
        assert!(*requests < 200, "more is sent than was given");
        let ran = send(office, *requests + 1, 1);
        let done = ran.code() == Some(0);
        match done {
            true => *requests += 1,
            false => assert!(ran.failed(1).contains("nothing of this is done")),
        }
        done
    };
    std::thread::scope(|scope| {
        let scanning = scope.spawn(|| while scan(scanned) {});
        while act(sent) || !scanning.is_finished() {}
    });
}

#[test]
fn what_a_scan_and_the_server_take_at_the_same_time_comes_to_what_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let three = three(dir.path());
    let Three { cloud, branch, .. } = &three;
    let anna = scanning(&three, 40);
    let (mut pages, mut sent, mut given) = (0, 0, 40);
    for more in [15, 20, 0] {
        race(&three, &mut pages, &mut sent);
        branch.wait_synced(PATIENCE);
        let charged = format!("{}.{}00", given - sent.div_ceil(2), 5 * (sent % 2));
        assert_eq!(figures(cloud), [charged, format!("{pages}.000"), "0.000".into()]);
        assert!(pages > 0 && sent > 0);
        given += more;
        if more > 0 {
            grant(cloud, more);
        }
    }
    assert_eq!(2 * given, 2 * pages + sent);
    assert_eq!(scanned(cloud), (1..=u64::from(pages)).collect::<Vec<_>>());
    let requests: BTreeSet<String> = cloud
        .events()
        .iter()
        .filter(|line| line["event"]["kind"] == "document.sent")
        .map(|line| line["event"]["request"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(requests.len(), sent as usize);
    let nobody_decided = ask(branch, "DELETE", &format!("/v1/sessions/{anna}"), &Value::Null);
    assert_eq!(nobody_decided.0, 200);
    let left = format!("{}.{}00", given - sent.div_ceil(2), 5 * (sent % 2));
    wait_until(PATIENCE, "nothing is held", || {
        figures(cloud) == [left.as_str(), "0.000", left.as_str()]
    });
    assert_eq!(totals(cloud), (u64::from(pages), u64::from(sent), i64::from(sent) * 500));
}
