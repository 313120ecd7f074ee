//! Users as an administrator has them: entered before they are seen, joined, parted, in groups, with an allotment.
//! Invariant shown here: every credit has one account, names are in no event, and what is decided holds after a
//! kill. What the figures mean is tested beside the code; here it is what a person types and sees.

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};
use tempfile::TempDir;

fn fleet() -> (TempDir, Cloud, [Branch; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branches =
        ["one", "two"].map(|name| Branch::joined(dir.path().join(name), &cloud.enroll(name)));
    (dir, cloud, branches)
}

fn capture(branch: &Branch, user: &str, pages: u32) {
    let act = format!(r#"{{"kind":"pages.captured","user":"{user}","pages":{pages}}}"#);
    drop(branch.run_with(&["record"], act.as_bytes()).succeeded());
    branch.wait_synced(PATIENCE);
}

fn balance(cloud: &Cloud, user: &str) -> Value {
    cloud.json(&["balance", user])
}

fn rows(cloud: &Cloud) -> Vec<Value> {
    cloud.json(&["view", "balances"])["rows"].as_array().unwrap().clone()
}

fn charged(cloud: &Cloud, user: &str, credits: &str) {
    wait_until(PATIENCE, "the cloud knows whose it is", || {
        balance(cloud, user)["charged"] == credits
    });
}

#[test]
fn a_user_is_entered_before_any_device_has_seen_them() {
    let (_dir, mut cloud, [one, _two]) = fleet();
    let told = cloud.run(&["grant", "anna", "10"]).failed(1);
    assert!(told.contains("tallyroll users add anna"), "{told}");
    drop(cloud.run(&["users", "add", "anna", "--mail", "anna@example.com"]).succeeded());
    assert!(cloud.run(&["users", "add", "anna"]).failed(1).contains("already"));
    assert!(cloud.run(&["users", "add", "bob", "--mail", "bob"]).failed(1).contains("has an @"));
    drop(cloud.run(&["grant", "anna", "10"]).succeeded());
    let before = balance(&cloud, "anna");
    assert_eq!((&before["granted"], &before["pool"]), (&"10.000".into(), &"10.000".into()));
    let at = before["at"].as_str().unwrap().to_owned();

    capture(&one, "anna", 3);
    charged(&cloud, "anna", "3.000");
    let shown = cloud.json(&["users", "show", "anna"]);
    assert_eq!(shown["mail"], "anna@example.com");
    assert_eq!(shown["aliases"][0]["device-name"], "one", "{shown}");
    let past = cloud.json(&["balance", "anna", "--at", &at]);
    assert_eq!((&past["charged"], &past["balance"]), (&"0.000".into(), &"10.000".into()));
    let told = cloud.run(&["balance", "anna"]).succeeded();
    assert!(told.contains("7.000") && told.contains("at commit"), "{told}");

    cloud.kill_9();
    assert_eq!(balance(&cloud, "anna")["balance"], "7.000", "no process, the same files");
    cloud.start_again();
    let list = cloud.run(&["users", "list"]).succeeded();
    assert!(list.contains("anna@example.com"), "{list}");
    let events = cloud.run(&["log", "show", "--all", "--json"]).succeeded();
    assert!(!events.contains("anna"), "a name is in an event");
}

#[test]
fn two_people_of_one_name_are_parted_and_one_of_two_names_is_joined() {
    let (_dir, cloud, [one, two]) = fleet();
    capture(&one, "ada", 1);
    capture(&two, "ada", 2);
    charged(&cloud, "ada", "3.000");
    drop(cloud.run(&["users", "part", "ada", "two", "--as", "ada-2"]).succeeded());
    assert_eq!(balance(&cloud, "ada")["charged"], "1.000");
    capture(&two, "ada", 4);
    charged(&cloud, "ada-2", "6.000");
    let names: Vec<_> = rows(&cloud).iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["ada", "ada-2"]);
    let totals = cloud.run(&["view", "totals"]).succeeded();
    assert!(totals.contains("ada-2"), "{totals}");
    assert!(
        cloud.run(&["users", "part", "ada", "two", "--as", "x"]).failed(1).contains("has not seen")
    );

    drop(cloud.run(&["users", "link", "ada", "two", "ada"]).succeeded());
    assert_eq!(balance(&cloud, "ada")["charged"], "7.000");
    assert!(cloud.run(&["users", "link", "ada", "two", "ada"]).failed(1).contains("already"));
    assert!(cloud.run(&["users", "link", "ada", "two", "eve"]).failed(1).contains("no alias eve"));
}

#[test]
fn a_group_shares_one_balance_and_who_leaves_takes_nothing() {
    let (_dir, mut cloud, [one, two]) = fleet();
    capture(&one, "ada", 1);
    capture(&two, "bob", 2);
    charged(&cloud, "bob", "2.000");
    charged(&cloud, "ada", "1.000");
    assert!(
        cloud.run(&["grant", "--group", "office", "50"]).failed(1).contains("groups add office")
    );
    drop(cloud.run(&["groups", "add", "office"]).succeeded());
    drop(cloud.run(&["grant", "--group", "office", "50"]).succeeded());
    for user in ["ada", "bob"] {
        drop(cloud.run(&["groups", "join", "office", user]).succeeded());
    }
    assert!(cloud.run(&["groups", "join", "office", "ada"]).failed(1).contains("member"));
    capture(&two, "bob", 7);
    wait_until(PATIENCE, "it is the group's", || balance(&cloud, "ada")["balance"] == "40.000");
    assert_eq!(balance(&cloud, "bob")["group"], "office");
    let shown = rows(&cloud);
    assert_eq!(shown.len(), 1, "one balance, once: {shown:?}");
    assert_eq!((&shown[0]["name"], &shown[0]["balance"]), (&"office".into(), &"40.000".into()));
    assert_eq!(shown[0]["members"][1]["charged"], "9.000");
    let text = cloud.run(&["view", "balances"]).succeeded();
    assert!(
        text.lines().any(|line| line.contains("bob") && line.contains("office"))
            && text.matches("40.000").count() == 2,
        "{text}"
    );

    // Who did what of it, and what each brought when they joined.
    let stated = |cloud: &Cloud| cloud.json(&["view", "statement", "office", "--group"]);
    let told = |cloud: &Cloud| -> Vec<String> {
        let line = |row: &Value| {
            let [what, member, moved] = ["what", "member", "moved"].map(|key| row[key].as_str());
            format!("{} {} {}", what.unwrap(), member.unwrap_or("-"), moved.unwrap())
        };
        stated(cloud)["rows"].as_array().unwrap().iter().map(line).collect()
    };
    let lines = [
        "credits.granted - 50.000",
        "group.joined ada -1.000",
        "group.joined bob -2.000",
        "pages.captured bob -7.000",
    ];
    assert_eq!(told(&cloud), lines);
    assert_eq!(stated(&cloud)["closing"]["balance"], "40.000");
    let bob = cloud.run(&["view", "statement", "bob"]).succeeded();
    let part = "a member of office: this is their part of its balance; `view statement office --group` shows it whole";
    assert!(bob.contains(part) && bob.contains("-9.000"), "{bob}");
    let wrong = cloud.run(&["view", "statement", "bob", "--group"]).failed(1);
    assert!(wrong.contains("no group bob"), "{wrong}");
    assert!(cloud.run(&["view", "balances", "--group"]).failed(2).contains("leave it out"));

    drop(cloud.run(&["groups", "leave", "bob"]).succeeded());
    assert_eq!(told(&cloud)[4..], ["group.left bob 0.000"; 0], "it moves nothing of the group's");
    cloud.kill_9();
    cloud.start_again();
    assert_eq!(balance(&cloud, "ada")["balance"], "40.000", "what bob used stays the group's");
    assert_eq!(balance(&cloud, "bob")["balance"], "0.000");
    capture(&two, "bob", 1);
    wait_until(PATIENCE, "it is bob's own", || balance(&cloud, "bob")["balance"] == "-1.000");
    assert_eq!(cloud.json(&["groups", "list"])[0]["members"], serde_json::json!(["ada"]));
}

#[test]
fn an_allotment_is_given_once_a_month_whatever_happens_to_the_process() {
    let (_dir, mut cloud, [one, _two]) = fleet();
    capture(&one, "ada", 3);
    charged(&cloud, "ada", "3.000");
    let told = cloud.run(&["allot", "ada", "20"]).succeeded();
    assert!(told.contains("20.000 credits each month") && told.contains("lapses"), "{told}");
    for _ in 0..3 {
        assert_eq!(balance(&cloud, "ada")["balance"], "17.000");
        cloud.kill_9();
        cloud.start_again();
    }
    drop(cloud.run(&["allot", "ada", "20", "--carry-over", "50", "--from", "9999-12"]).succeeded());
    let shown = balance(&cloud, "ada");
    assert_eq!(
        (&shown["balance"], &shown["allotment"]["most"]),
        (&"17.000".into(), &"50.000".into())
    );
    assert_eq!(shown["allotment"]["from"], "9999-12");
    drop(cloud.run(&["allot", "ada", "--stop"]).succeeded());
    assert!(balance(&cloud, "ada")["allotment"].is_null());
    assert!(cloud.run(&["allot", "ada", "0"]).failed(1).contains("more than 0"));
    drop(cloud.run(&["allot", "ada"]).failed(2));
    let given =
        cloud.events().into_iter().filter(|line| line["event"]["kind"] == "allotment.given");
    assert_eq!(given.count(), 1);
}
