//! Credits at the panel while somebody else spends them, too: the server, and another branch.
//! Invariant: on a job of hundreds of pages a new balance comes when docs/panel.md says, by both sync modes; and what
//! two devices' jobs are paid from together comes to what was given, no page is lost and none charged twice.

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, run, wait_until};

use super::panel::{JOB, ask, balance, begin_job, event_where, get, page_of, with_credits};

const LONG: &str = "00000000000000c1";
const SHORT: &str = "00000000000000c2";

fn session(branch: &Branch, session: &str) -> Value {
    get(branch, &format!("/v1/sessions/{session}"))
}

/// What is shown of the balance: balance, held, available, flag.
fn account(branch: &Branch, of: &str) -> Value {
    let shown = &session(branch, of)["account"];
    json!([shown["balance"], shown["held"], shown["available"], shown["flag"]])
}

fn end(branch: &Branch, job: &str) {
    let (status, said) = ask(branch, "POST", &format!("/v1/jobs/{job}/end"), &Value::Null);
    assert_eq!((status, &said["state"]), (200, &json!("ended")), "{said}");
}

/// The server mails pages of a job that runs at `branch`.
fn mail(cloud: &Cloud, job: &str, pages: u32, destinations: u32) {
    let act = json!({
        "device": "branch", "kind": "document.sent", "job": job, "user": "anna",
        "pages": pages, "destinations": destinations, "color": "monochrome",
    });
    drop(run(&mut cloud.command(&["record"]), act.to_string().as_bytes()).succeeded());
}

/// How often the device was told a balance, was told that there is a new one, and asked for one.
fn words(cloud: &Cloud, device: &str) -> [usize; 3] {
    let events = cloud.events();
    let said = |kind: &str| {
        let of_kind = events.iter().filter(|line| line["event"]["kind"] == kind);
        of_kind.filter(|line| kind == "balance.asked" || line["event"]["device"] == device).count()
    };
    ["balance.told", "balance.sync-requested", "balance.asked"].map(said)
}

/// Mission 1, examples 2 and 10, on a job of 200 pages: the server mails another job of the user's meanwhile, and
/// another branch prints for them.
fn a_new_balance_comes_after_a_job_of_200_pages(mode: &str) {
    let flag = mode == "flag";
    let (dir, cloud, branch, anna) = with_credits(1000);
    drop(cloud.run(&["policy", "sync", mode]).succeeded());
    let other = Branch::joined(dir.path().join("other"), &cloud.enroll("other"));
    end(&branch, JOB);
    wait_until(PATIENCE, "the balance is told", || {
        account(&branch, &anna) == json!(["1000.000", "0.000", "1000.000", false])
    });
    for (job, pages) in [(SHORT, 1), (LONG, 200)] {
        let (status, said) = begin_job(&branch, &anna, job, pages);
        assert_eq!(status, 201, "{said}");
    }
    assert_eq!(page_of(&branch, SHORT, 1).0, 200);
    let told_at = session(&branch, &anna)["account"]["told-at"].clone();
    // Each page lessens what is available, and nothing else changes.
    let pages = |from: u32, to: u32, flag: bool| {
        for number in from..=to {
            let (status, said) = page_of(&branch, LONG, number);
            assert_eq!(status, 200, "{said}");
            let shown = session(&branch, &anna);
            let account = &shown["account"];
            let figures =
                ["balance", "held", "available"].map(|key| account[key].as_str().unwrap());
            let available = format!("{}.000", 999 - number);
            assert_eq!(figures, ["1000.000", "0.000", &*available], "page {number}: {shown}");
            assert_eq!((&account["flag"], &account["told-at"]), (&json!(flag), &told_at));
        }
    };
    pages(1, 100, false);
    branch.wait_synced(PATIENCE);
    pages(100, 100, false); // asked for again: the cloud has heard of it all, and it is no news
    let device = branch.json(&["status"])["device"].as_str().unwrap().to_owned();
    let before = words(&cloud, &device);
    let since = || {
        let now = words(&cloud, &device);
        [0, 1, 2].map(|at: usize| now[at] - before[at])
    };
    let mut after = get(&branch, "/v1/events")["after"].as_str().unwrap().to_owned();

    mail(&cloud, SHORT, 1, 5);
    let print = r#"{"kind":"pages.printed","user":"anna","impressions":3}"#;
    drop(other.run_with(&["record", "--leased", "--wait", "20"], print.as_bytes()).succeeded());
    other.wait_synced(PATIENCE);
    wait_until(PATIENCE, "both are charged", || balance(&cloud)["balance"] == "994.500");
    if flag {
        let is_set = |event: &Value| event["credit"]["account"]["flag"] == true;
        drop(event_where(&branch, &mut after, "credits", is_set));
    }
    end(&branch, SHORT); // it is not the last
    pages(101, 200, flag);
    branch.wait_synced(PATIENCE);
    assert_eq!(since(), [0, usize::from(flag), 0], "{mode}: told, flagged, asked");

    mail(&cloud, LONG, 200, 1);
    wait_until(PATIENCE, "that is charged", || balance(&cloud)["balance"] == "894.500");
    assert_eq!(account(&branch, &anna), json!(["1000.000", "0.000", "799.000", flag]));
    assert_eq!(since(), [0, usize::from(flag), 0], "{mode}: told, flagged, asked");
    end(&branch, LONG);
    let is_new = |event: &Value| event["credit"]["account"]["balance"] == "894.500";
    drop(event_where(&branch, &mut after, "credits", is_new));
    assert_eq!(account(&branch, &anna), json!(["894.500", "0.000", "894.500", false]));
    assert!(session(&branch, &anna)["account"]["told-at"].as_u64() > told_at.as_u64());
    assert_eq!(since(), [1, usize::from(flag), usize::from(flag)], "{mode}: told, flagged, asked");
}

#[test]
fn by_wait_the_cloud_tells_nothing_before_the_last_job_ends() {
    a_new_balance_comes_after_a_job_of_200_pages("wait");
}

#[test]
fn by_flag_the_device_hears_at_once_and_asks_after_its_last_job() {
    a_new_balance_comes_after_a_job_of_200_pages("flag");
}
