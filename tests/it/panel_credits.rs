//! Credits at the panel while somebody else spends them, too: the server, and another branch.
//! Invariant: on a job of hundreds of pages a new balance comes when docs/panel.md says, by both sync modes; and what
//! two devices' jobs are paid from together comes to what was given, no page is lost and none charged twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, run, wait_for, wait_until};

use super::panel::{
    JOB, account, balance, begin_job, end, event, event_where, get, grant, log_in, page_of,
    session, with_credits,
};

const LONG: &str = "00000000000000c1";
const SHORT: &str = "00000000000000c2";

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

/// A device with a job, and the pages of it that were paid.
struct Site<'a> {
    branch: &'a Branch,
    session: String,
    job: &'static str,
    places: Vec<String>,
}

impl Site<'_> {
    /// Scans on until so many pages are there, or one is not begun; then what was said.
    fn scan(&mut self, up_to: usize) -> Option<Value> {
        while self.places.len() < up_to {
            let (status, said) = page_of(self.branch, self.job, self.places.len() as u32 + 1);
            if status == 409 {
                assert_eq!(said["recorded"], self.places.len(), "{said}");
                return Some(said);
            }
            assert_eq!(status, 200, "{said}");
            self.places.push(said["position"].to_string());
        }
        None
    }

    /// It stands because nothing is left, the display says so, and no other job is begun. Who was refused before asks
    /// again within eight seconds.
    fn stands_at_zero(&mut self) {
        let said = wait_for(PATIENCE, "it stands, for nothing is left", || {
            let said = self.scan(usize::MAX).unwrap();
            assert_eq!(said["state"], "stopped", "{said}");
            (said["reason"] == "zero").then_some(said)
        });
        let shown = session(self.branch, &self.session);
        assert_eq!(shown["messages"], json!([said["message"]]), "{shown}");
        assert_eq!(shown["lease"]["left"], "0.000", "{shown}");
        let (status, refused) = begin_job(self.branch, &self.session, LONG, 1);
        assert_eq!((status, &refused["reason"]), (409, &json!("zero")), "{refused}");
    }
}

/// Both scan until the pages of both together are so many.
fn scan_together(sites: &mut [Site<'_>; 2], pages: usize) {
    wait_until(PATIENCE, "all that was given is spent", || {
        for site in &mut *sites {
            drop(site.scan(site.places.len() + 5));
        }
        sites.iter().map(|site| site.places.len()).sum::<usize>() >= pages
    });
}

/// Mission 1: at 0 the user's running job stops on whichever device it runs, and a top-up resumes it.
#[test]
fn at_zero_the_jobs_of_a_user_stop_at_both_devices_and_go_on_after_a_top_up() {
    let (dir, cloud, one, anna) = with_credits(60);
    let two = Branch::joined(dir.path().join("two"), &cloud.enroll("two"));
    let there = log_in(&two);
    wait_until(PATIENCE, "it may run there, too", || begin_job(&two, &there, SHORT, 1).0 == 201);
    let mut sites = [(&one, anna, JOB), (&two, there, SHORT)].map(|(branch, session, job)| Site {
        branch,
        session,
        job,
        places: Vec::new(),
    });
    assert_eq!(sites[0].scan(20), None);
    while session(&one, &sites[0].session)["lease"]["left"] == "0.000" {
        let one_more = sites[0].places.len() + 1;
        assert_eq!(sites[0].scan(one_more), None);
    }
    let said = sites[1].scan(usize::MAX).unwrap();
    assert_eq!(said["reason"], "held-elsewhere", "{said}");
    scan_together(&mut sites, 60);
    for site in &mut sites {
        site.stands_at_zero();
    }
    let figures = |cloud: &Cloud| {
        let shown = balance(cloud);
        ["balance", "held", "available"].map(|key| shown[key].as_str().unwrap().to_owned())
    };
    for branch in [&one, &two] {
        branch.wait_synced(PATIENCE);
    }
    assert_eq!(figures(&cloud), ["60.000", "60.000", "0.000"]);

    let stood = sites.each_ref().map(|site| site.places.len());
    let mut after =
        [&one, &two].map(|at| get(at, "/v1/events")["after"].as_str().unwrap().to_owned());
    grant(&cloud, 40);
    for (at, site) in sites.iter().enumerate() {
        let resumed = event(site.branch, &mut after[at], "resumed");
        assert_eq!(resumed["job"]["job"], site.job, "{resumed}");
        assert_eq!(resumed["job"]["next"], stood[at] + 1, "{resumed}");
    }
    scan_together(&mut sites, 100);
    for site in &mut sites {
        site.stands_at_zero();
        site.branch.wait_synced(PATIENCE);
    }
    assert_eq!(figures(&cloud), ["100.000", "100.000", "0.000"]);
    let events = cloud.events();
    for site in &sites {
        let of_job = |line: &&Value| {
            let event = &line["event"];
            event["kind"] == "pages.captured" && event["job"] == site.job
        };
        let pages =
            events.iter().filter(of_job).map(|line| line["event"]["page"].as_u64().unwrap());
        let expected: Vec<u64> = (1..=site.places.len() as u64).collect();
        assert_eq!(pages.collect::<Vec<_>>(), expected, "a page is lost or there twice");
    }
    let places: BTreeSet<&String> = sites.iter().flat_map(|site| &site.places).collect();
    assert_eq!(places.len(), 100, "two pages have one place");
}

/// Regression: each of two jobs that had stopped kept the part of a page that was left at its device, for ever.
#[test]
fn what_is_left_at_two_stopped_jobs_pays_for_one_more_page() {
    let (dir, cloud, one, anna) = with_credits(3);
    let two = Branch::joined(dir.path().join("two"), &cloud.enroll("two"));
    let there = log_in(&two);
    wait_until(PATIENCE, "it may run there, too", || begin_job(&two, &there, SHORT, 1).0 == 201);
    let mut sites = [(&one, anna, JOB), (&two, there, SHORT)].map(|(branch, session, job)| Site {
        branch,
        session,
        job,
        places: Vec::new(),
    });
    for site in &mut sites {
        assert_eq!(site.scan(1), None);
        site.branch.wait_synced(PATIENCE);
    }
    scan_together(&mut sites, 3);
    for site in &mut sites {
        site.stands_at_zero();
        site.branch.wait_synced(PATIENCE);
    }
    assert_eq!(balance(&cloud)["available"], "0.000");
    assert_eq!(sites.iter().map(|site| site.places.len()).sum::<usize>(), 3);
}

/// Regression: "no credits are left", and beside it as available what another branch's job had taken since.
#[test]
fn who_stands_at_zero_is_shown_nothing_that_another_branch_has_taken() {
    let (dir, cloud, one, anna) = with_credits(30);
    let two = Branch::joined(dir.path().join("two"), &cloud.enroll("two"));
    let there = log_in(&two);
    wait_until(PATIENCE, "it may run there, too", || begin_job(&two, &there, SHORT, 1).0 == 201);
    assert_eq!(page_of(&two, SHORT, 1).0, 200);
    let mut site = Site { branch: &one, session: anna, job: JOB, places: Vec::new() };
    let said = site.scan(usize::MAX).unwrap();
    assert_eq!(said["reason"], "held-elsewhere", "the job there needs it: {said}");
    for number in 2..=30 - site.places.len() as u32 {
        assert_eq!(page_of(&two, SHORT, number).0, 200);
    }
    site.stands_at_zero();
    wait_until(PATIENCE, "nothing is available", || {
        account(&one, &site.session) == json!(["30.000", "30.000", "0.000", false])
    });
    // Who stands is asked for once, however often the page is tried.
    let asked =
        || cloud.events().iter().filter(|line| line["event"]["kind"] == "balance.asked").count();
    let before = asked();
    assert!((0..3).all(|_| site.scan(usize::MAX).is_some()));
    one.wait_synced(PATIENCE);
    assert_eq!(asked(), before);
}
