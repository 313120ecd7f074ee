//! Stores of earlier versions, opened by today's binaries, which go on where those stopped.
//! Where each archive came from is in `tests/fixtures/stores`. Old programs are not here: those of the first version
//! talk to today's, killed and upgraded in every order, in a command of its own, which builds them from git's history:
//! `cargo run --release -p tallyroll-tests --bin mixed -- FOLDER`. What stands on the wire is frozen by schema's golden files.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, program, run, wait_until};

fn unpack(archive: &str, into: &Path) {
    let stores = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/stores");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(stores.join(archive)).arg("-C").arg(into);
    assert!(
        tar.status().expect("tar is part of every Debian").success(),
        "{archive} does not unpack"
    );
}

/// The branch finds the cloud where it is today.
fn redirect(branch: &Branch, cloud: &Cloud) {
    branch.edit_identity("enrolment.json", |told| told["cloud"] = cloud.addr().to_string().into());
}

fn balance(cloud: &Cloud, name: &str) -> String {
    let balances = cloud.json(&["view", "balances"]);
    let mut rows = balances["rows"].as_array().unwrap().iter();
    let row = rows.find(|row| row["name"] == name).expect("the user is known");
    row["balance"].as_str().unwrap().to_owned()
}

#[test]
fn the_first_versions_stores_are_opened_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    unpack("v0.1.0.tar.gz", dir.path());
    let cloud = Cloud::start(dir.path().join("cloud"));
    assert_eq!(balance(&cloud, "anna"), "380.000");
    assert_eq!(balance(&cloud, "björn"), "-80.000");

    let mut branch = Branch::new(dir.path().join("branch-1"));
    redirect(&branch, &cloud);
    let told = branch.run(&["rotate-keys"]).failed(75);
    assert!(told.contains("upgrade the cloud first"), "its cloud may be as old: {told}");
    branch.start();
    branch.wait_synced(PATIENCE);
    wait_until(PATIENCE, "the journal's three came", || balance(&cloud, "anna") == "371.000");
    let line = r#"{"kind":"pages.captured","user":"anna","pages":1,"color":"color"}"#;
    drop(branch.run_with(&["record"], format!("{line}\n").as_bytes()).succeeded());
    wait_until(PATIENCE, "and today's", || balance(&cloud, "anna") == "370.000");
    drop(cloud.run(&["log", "verify"]).succeeded());
    let told = cloud.events().into_iter().filter(|line| line["class"] == "device");
    let told = told.filter(|line| line["event"]["kind"] == "device.enrolled").count();
    assert_eq!(told, 1, "the branch can prove its enrolment from now on");
    assert!(cloud.json(&["forks"]).as_array().unwrap().is_empty(), "nothing was copied");

    drop(branch.run(&["rotate-keys"]).succeeded());
    drop(branch.run_with(&["record"], format!("{line}\n").as_bytes()).succeeded());
    wait_until(PATIENCE, "and with new keys", || balance(&cloud, "anna") == "369.000");
    branch.wait_synced(PATIENCE);
    drop(cloud.run(&["log", "verify"]).succeeded());
}

/// Answers every question there as a process does that does not know it.
fn answer_as_of_another_version(data: &Path, answer: &'static str) {
    let socket = UnixListener::bind(data.join("control.sock")).unwrap();
    std::thread::spawn(move || {
        for mut client in socket.incoming().map_while(Result::ok) {
            drop(BufReader::new(&client).read_line(&mut String::new())); // whatever it is
            drop(writeln!(client, "{answer}")); // who asked may have gone
        }
    });
}

#[test]
fn a_process_that_runs_on_after_an_upgrade_is_to_be_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    unpack("v0.1.0.tar.gz", dir.path());
    let [cloud, branch] = ["cloud", "branch-1"].map(|name| dir.path().join(name));
    answer_as_of_another_version(
        &branch,
        r#"{"error":"no question this agent knows: unknown variant `backup`"}"#,
    );
    let told = Branch::new(branch).run(&["backup", "elsewhere"]).failed(1);
    assert!(told.contains("end it and start it again (`tallyroll-edge run`)"), "{told}");
    answer_as_of_another_version(
        &cloud,
        r#"{"failed":{"text":"no question this cloud knows: unknown variant `doctor`","temporary":false}}"#,
    );
    let mut doctor = Command::new(program("tallyroll"));
    let told = run(doctor.arg("doctor").arg("--data").arg(&cloud), b"").failed(1);
    assert!(told.contains("end it and start it again (`tallyroll serve`)"), "{told}");
}
