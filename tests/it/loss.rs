//! A bad line between a branch and its cloud: one packet in five lost each way, half a second for a round trip, and
//! then no line at all for a while.
//! Everything arrives, nothing twice.

use std::time::{Duration, Instant};

use serde_json::Value;
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, wait_until};
use tallyroll_tests::proxy::{Proxy, ProxyConfig};

const SEED: u64 = 11;
/// How long all of it may take to arrive, once the line is whole again.
const CONVERGES: Duration = Duration::from_secs(90);
const CUT: Duration = Duration::from_secs(5);

#[test]
fn everything_arrives_once_over_a_line_that_loses_a_fifth() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let line = ProxyConfig {
        loss: 0.2,
        delay: Duration::from_millis(250),
        ..ProxyConfig::clean(cloud.addr(), SEED)
    };
    let proxy = runtime.block_on(Proxy::start(line)).unwrap();
    cloud.publish_as(proxy.addr());
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));

    let mut acts = Acts::new(SEED, 0);
    let mut jobs = Vec::new();
    for round in 0..6 {
        let mut lines = String::new();
        for (job, said) in acts.by_ref().take(50) {
            lines.push_str(&said.line(job));
            jobs.push(job.to_string());
        }
        let answers = branch.run_with(&["record"], lines.as_bytes()).succeeded();
        assert_eq!(answers.lines().count(), 50);
        proxy.set_cut(round == 3);
        std::thread::sleep(if round == 3 { CUT } else { Duration::from_millis(500) });
        proxy.set_cut(false);
    }
    let began = Instant::now();
    branch.wait_synced(CONVERGES);
    eprintln!("converged after {:?}; {:?}", began.elapsed(), proxy.stats());

    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = cloud.events();
    let mut arrived: Vec<String> = events
        .iter()
        .map(|line| text(&line["event"]["job"]))
        .filter(|job| !job.is_empty())
        .collect();
    arrived.sort_unstable();
    jobs.sort_unstable();
    assert_eq!(arrived, jobs, "seed {SEED}");
    drop(cloud.run(&["log", "verify"]).succeeded());
    let stats = proxy.stats();
    assert!(stats.up.lost > 0 && stats.down.lost > 0 && stats.up.cut > 0, "a good line: {stats:?}");
}

/// Names that are not stored yet were sent again at each commit: both ends had so much to write that neither read, and
/// the branch did not notice that the cloud had left it.
#[test]
fn thousands_of_new_people_stop_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    for round in 0..8 {
        let line = |number| {
            format!(
                "{{\"kind\":\"pages.captured\",\"user\":\"user-{round}-{number}\",\"pages\":1,\"color\":\"color\"}}\n"
            )
        };
        let lines: String = (0..2000).map(line).collect();
        drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
    }
    branch.wait_synced(Duration::from_secs(30));
    wait_until(Duration::from_secs(90), "each is there by name", || {
        let balances = cloud.run(&["view", "balances"]).succeeded();
        balances.lines().filter(|line| line.contains("user-")).count() == 16_000
    });
}
