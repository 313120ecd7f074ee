//! The panel's page in a real browser, driven by its debugging pipe: what a person does and sees.
//! Owns the little of the DevTools protocol that this takes. Invariant: what is looked for is what the page
//! shows, found by what it says; nothing of the page is called by name but its buttons and fields.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

/// A browser takes its time to start on a busy machine.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A browser that shows one page; it is ended when dropped.
struct Browser {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<Value>,
    session: Value,
    asked: u64,
}

impl Browser {
    fn open(address: &str, profile: &Path) -> Self {
        let mut child = Command::new("sh")
            // It speaks by descriptors 3 and 4.
            .args([
                "-c",
                "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null",
                "sh",
            ])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--window-size=800,480"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while stdout.read_until(0, &mut message).is_ok_and(|bytes| bytes > 1) {
                message.pop();
                let sent = serde_json::from_slice(&message).map(|message| sender.send(message));
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self { child, stdin, answers, session: Value::Null, asked: 0 };
        let target = browser.ask("Target.createTarget", json!({ "url": address }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", attach)["sessionId"].clone();
        browser
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": params });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.stdin.write_all(&[message.to_string().as_bytes(), &[0]].concat()).unwrap();
        loop {
            let answer = self.answers.recv_timeout(ANSWER_TIME).expect("the browser answers");
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        self.ask("Runtime.evaluate", params)["result"]["value"].clone()
    }

    /// Waits until the page says this.
    #[track_caller]
    fn reads(&mut self, says: &str) {
        let mut text = String::new();
        let began = std::time::Instant::now();
        while !text.contains(says) {
            assert!(began.elapsed() < PATIENCE, "no `{says}` in:\n{text}");
            text = self.evaluate("document.body.innerText").as_str().unwrap_or_default().to_owned();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses the button that begins with this, once it is there.
    #[track_caller]
    fn press(&mut self, label: &str) {
        let press = format!(
            "(() => {{ const button = [...document.querySelectorAll('button')].find((button) => \
             button.checkVisibility() && button.textContent.startsWith('{label}')); \
             button?.click(); return Boolean(button); }})()"
        );
        wait_until(PATIENCE, label, || self.evaluate(&press) == true);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_person_logs_in_sees_the_stop_and_its_reason_and_goes_on_after_a_top_up() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    branch.stop();
    branch.start_with(&["--panel", "127.0.0.1:0"]);
    let grant = |credits: &str| {
        wait_until(PATIENCE, "zoë is known", || {
            cloud.run(&["grant", "<b>zoë</b>", credits]).code() == Some(0)
        });
    };
    let address = branch.run(&["panel"]).succeeded();
    let mut browser = Browser::open(address.trim(), &dir.path().join("profile"));
    browser.reads("Who are you?");
    assert_eq!(browser.evaluate("location.hash"), "", "the token stays in the address");
    let _ = browser.evaluate("document.querySelector('input').value = '<b>zoë</b>'");
    browser.press("Log in");
    browser.reads("<b>zoë</b>");
    browser.press("Begin a job");
    browser.reads("goes on");
    grant("2");
    wait_until(PATIENCE, "a job begins", || {
        browser.press("Begin a job");
        std::thread::sleep(Duration::from_secs(1));
        browser.evaluate("document.body.innerText.includes('scan, 0 pages, running')") == true
    });
    browser.press("Page 1");
    browser.press("Page 2");
    browser.press("Page 3");
    browser.reads("scan, 2 pages, stopped: no credits are left");
    let fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth <= 800";
    assert_eq!(browser.evaluate(fits), true, "it is wider than the display");
    grant("1");
    browser.reads("scan, 2 pages, running"); // by itself
    browser.press("Page 3");
    browser.reads("scan, 3 pages, running");
    browser.press("Log out");
    browser.reads("Who are you?");
}
