//! A change of keys on a disk that fails: each of its fsyncs is answered with EIO, one a run.
//! Invariant shown here: keys that were told are those that count, at the device and at the cloud; a change that broke
//! off is taken up by who asks again, and what is recorded then counts once.
//! A change that is killed is tested in `rotation`.

use serde_json::{Value, json};
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Process, Ran, run, wait_until};

use super::strace::{Nth, Sync, attach, each, end, judge, strace, syncs, under};
use super::{Place, SEED, device, jobs};

/// One change of keys whose `nth` sync fails, by the agent or, where none runs, by the command itself.
fn change_of_keys(place: &Place, cloud: &Cloud, running: bool, nth: Nth) -> Option<Sync> {
    let name = format!("keys-{running}-{nth}");
    let (_line, invitation) = place.invite(cloud, &name);
    let mut branch = Branch::joined(place.path(&name), &invitation);
    branch.wait_synced(PATIENCE);
    branch.stop();
    let (out, stderr) =
        (place.path(&format!("{name}.trace")), place.path(&format!("{name}.failed")));
    let mut rotate = branch.command(&["rotate-keys", "--json"]);
    let keys = |told: &Ran| serde_json::from_str::<Value>(&told.stdout).unwrap_or_default();
    let (ran, told) = if running {
        let agent = Process::start(&mut branch.command(&["run"]), &stderr).unwrap();
        let mut strace = attach(&out, nth, agent.id());
        let told = run(&mut rotate, b"");
        let ran = end(agent, &stderr, || in_use(cloud, &name, &keys(&told)));
        strace.wait().unwrap();
        (ran, told)
    } else {
        let told = run(&mut under(strace(&out, Some(nth)), &rotate), b"");
        (told.clone(), told)
    };
    let failed = judge(&ran, &syncs(&out));

    branch.start();
    // What was told is durable; what broke off is taken up by who asks again.
    let again = told.code() != Some(0);
    let keys = if again { branch.json(&["rotate-keys"]) } else { keys(&told) };
    wait_until(PATIENCE, "the keys that were told are in use", || in_use(cloud, &name, &keys));
    let (job, said) = Acts::new(SEED, 0).next().unwrap();
    drop(branch.run_with(&["record"], said.line(job).as_bytes()).succeeded());
    branch.wait_synced(PATIENCE);
    branch.stop();
    assert_eq!(jobs(cloud, &name), [job.to_string()], "{failed:?}");
    failed
}

/// Whether the cloud goes by these keys and no others.
pub(crate) fn in_use(cloud: &Cloud, name: &str, keys: &Value) -> bool {
    let device = device(cloud, name);
    let named = ["signing-key", "tls-fingerprint"].iter().all(|key| device[*key] == keys[*key]);
    named && device["older-tls-fingerprints"].as_array().is_some_and(Vec::is_empty)
}

#[test]
fn a_change_of_keys_whose_sync_fails_is_none_or_is_taken_up_again() {
    let place = Place::new();
    let cloud = Cloud::start(place.path("cloud"));
    for (running, what) in [(false, "a change of keys"), (true, "one by the agent")] {
        let hits = each(what, |nth| change_of_keys(&place, &cloud, running, nth));
        for file in ["/store.redb", "keys.json"] {
            let hit = hits.iter().any(|sync| sync.path.contains(file));
            assert!(hit, "no sync of {file} failed: {hits:#?}");
        }
    }
    assert_eq!(cloud.json(&["quarantine"]), json!([]));
    drop(cloud.run(&["log", "verify"]).succeeded());
}
