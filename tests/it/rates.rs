//! Rate cards as files: refused with a line, published whole, priced by where they are held.
//! Invariant: nothing of a wrong file is published, and nothing is repriced.
//! What a file may say is tested beside the code that reads it; here it is what a person sees and pays.

use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

#[test]
fn a_card_is_checked_published_once_and_reprices_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let file = dir.path().join("rates.toml");
    let path = file.to_str().unwrap();
    let first = cloud.run(&["rates", "show"]).succeeded();

    // What is shown is what would publish it: nothing changes.
    std::fs::write(&file, &first).unwrap();
    drop(cloud.run(&["rates", "check", path]).succeeded());
    let told = cloud.run(&["rates", "publish", path]).succeeded();
    assert!(told.contains("in force already, as version 1"), "{told}");

    // A wrong one is told with its line, and nothing of it is published.
    let line = 1 + first.lines().position(|line| line.starts_with("capture")).unwrap();
    std::fs::write(&file, first.replace("capture = \"1.000\"", "capture = 1.2345")).unwrap();
    for verb in ["check", "publish"] {
        let told = cloud.run(&["rates", verb, path]).failed(1);
        let expected = format!("rates.toml:{line}: capture: found `1.2345`, expected credits");
        assert!(told.contains(&expected), "{told}");
    }
    assert_eq!(cloud.run(&["rates", "show"]).succeeded(), first);

    let capture =
        br#"{"kind":"pages.captured","user":"anna","pages":2,"media":"iso_a3_297x420mm"}"#;
    let charged = || branch.json(&["view", "balances"])["rows"][0]["charged"].clone();
    drop(branch.run_with(&["record"], capture).succeeded());
    assert_eq!(charged(), "2.000");
    let finer = "\n[[price]]\nact = \"capture\"\nmedia = \"iso_a3\"\nprice = 1.75\n";
    std::fs::write(&file, format!("{first}{finer}")).unwrap();
    let told = cloud.run(&["rates", "publish", path]).succeeded();
    assert!(told.contains("published as version 2"), "{told}");
    wait_until(PATIENCE, "the branch holds the card", || branch.json(&["status"])["card"] == 2);
    drop(branch.run_with(&["record"], capture).succeeded());
    assert_eq!(charged(), "5.500", "2 pages at 1, and 2 at 1.75");

    let cards: Vec<_> = cloud.events().into_iter().map(|line| line["event"].clone()).collect();
    let cards: Vec<_> =
        cards.iter().filter(|event| event["kind"] == "rate-card.published").collect();
    assert_eq!(cards.len(), 2, "one at the start, one by us");
    assert_eq!(cloud.run(&["rates", "show", "--version", "1"]).succeeded(), first);
    let shown = cloud.run(&["rates", "show"]).succeeded();
    assert!(shown.contains("version 2") && shown.contains("price = \"1.750\""), "{shown}");
    let told = cloud.run(&["rates", "show", "--version", "3"]).failed(1);
    assert!(told.contains("no rate card 3"), "{told}");
}
