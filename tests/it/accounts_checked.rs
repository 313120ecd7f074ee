//! What holds of random decisions about accounts, whenever anybody looks: the other half of `accounts_random`.
//! Invariant: nothing here decides anything. Figures come from the command line, and are held against each other and
//! against what the test itself counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tallyroll_tests::fleet::PATIENCE;

use super::accounts_random::{Account, MONTHS, World, accounts};
use super::leases::thousandths;

/// What a balance and what is held of it were said to be, in thousandths.
pub(super) type Stand = (i64, i64);

fn stand(standings: &Value) -> Stand {
    (thousandths(&standings["balance"]), thousandths(&standings["held"]))
}

impl World {
    pub(super) fn statement(&self, (name, group): Account, more: &[&str]) -> Value {
        let of_group: &[&str] = if group { &["--group"] } else { &[] };
        self.cloud.json(&[&["view", "statement", name], of_group, more].concat())
    }

    /// All that is recorded is counted, and nothing besides.
    fn wait_counted(&self) {
        self.branch.wait_synced(PATIENCE);
        let counted = || {
            let totals = &self.cloud.json(&["leases"])["totals"];
            ["charged", "held"].map(|key| thousandths(&totals[key]))
        };
        let (begun, expected) = (Instant::now(), [self.charged, self.held]);
        while counted() != expected {
            let late = begun.elapsed() > PATIENCE;
            assert!(!late, "{:?} where {expected:?} were counted here; {:?}", counted(), self.done);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What holds whenever anybody looks.
    pub(super) fn check(&mut self) {
        self.wait_counted();
        let stated: BTreeMap<Account, Value> =
            accounts().map(|account| (account, self.statement(account, &[]))).collect();
        for (account, stated) in &stated {
            adds_up(account, stated, (0, 0));
        }
        let stands: BTreeMap<Account, Stand> =
            stated.iter().map(|(account, stated)| (*account, stand(&stated["closing"]))).collect();

        // From a cut before, it goes on with what was said there.
        if !self.cuts.is_empty() {
            let account = self.account();
            let (at, before) = &self.cuts[self.entropy.index(self.cuts.len())];
            let since = self.statement(account, &["--from", at]);
            adds_up(&account, &since, before[&account]);
            assert_eq!(
                stand(&since["closing"]),
                stands[&account],
                "{account:?} from {at}: {since}"
            );
        }
        let [shown, leases] =
            [&["view", "balances"][..], &["leases"]].map(|of| self.cloud.json(of));
        self.shows(&shown, &leases["totals"], &stated);
        self.pools(&leases);
        self.cuts.push((shown["at"].as_str().unwrap().to_owned(), stands));
    }

    /// Balances show what the statements come to.
    fn shows(&self, shown: &Value, totals: &Value, stated: &BTreeMap<Account, Value>) {
        let rows = shown["rows"].as_array().unwrap();
        let mut all = (0, 0);
        for (account, stated) in stated {
            let ((name, group), closing) = (*account, stand(&stated["closing"]));
            let kind = if group { "group" } else { "user" };
            let row = rows.iter().find(|row| row["name"] == name && row["kind"] == kind);
            let alone = stated["group"].is_null();
            match row.filter(|_| alone) {
                Some(row) => {
                    assert_eq!(stand(row), closing, "{account:?}: {row}");
                    assert_eq!(thousandths(&row["available"]), closing.0 - closing.1, "{row}");
                    all = (all.0 + closing.0, all.1 + closing.1);
                }
                None => assert!(!alone || closing == (0, 0), "{account:?} is not shown: {shown}"),
            }
        }
        let given = thousandths(&totals["granted"]) + self.corrected;
        assert_eq!(all, (given - self.charged, self.held), "{shown} {totals}");
    }

    /// Every credit is in one place, by account and in all.
    fn pools(&self, leases: &Value) {
        let of =
            |row: &Value, keys: &[&str]| keys.iter().map(|key| thousandths(&row[key])).sum::<i64>();
        let (given, used) = (["granted", "corrected"], ["charged", "held", "pool"]);
        let totals = &leases["totals"];
        let lent = of(totals, &["leased", "frozen"]);
        assert_eq!(of(totals, &given), of(totals, &used) + lent, "{totals}");
        let users = leases["users"].as_array().unwrap();
        for key in given.iter().chain(&used) {
            let sum: i64 = users.iter().map(|row| thousandths(&row[key])).sum();
            assert_eq!(sum, thousandths(&totals[key]), "{key}: {leases}");
        }
        for row in users {
            assert!(of(row, &given) >= of(row, &used), "more in the pool than there is: {row}");
        }
        assert_eq!(thousandths(&totals["corrected"]), self.corrected);
    }

    /// At the end: the months, what was given, and how much of everything there was.
    pub(super) fn conclude(&self) {
        for (month, before) in &self.closed {
            let now = self.cloud.json(&["view", "totals", "--month", month])["rows"].clone();
            assert_eq!(now, *before, "{month} is closed, and moved");
        }
        let of_month = |month: &str| -> i64 {
            let shown = self.cloud.json(&["view", "totals", "--month", month]);
            let rows = shown["rows"].as_array().unwrap().iter();
            rows.map(|row| thousandths(&row["charged"])).sum()
        };
        assert_eq!(MONTHS.into_iter().map(of_month).sum::<i64>(), self.charged);
        for account in accounts() {
            let whole = stand(&self.statement(account, &[])["closing"]);
            let mut last = (0, 0);
            for month in MONTHS {
                let stated = self.statement(account, &["--month", month]);
                adds_up(&account, &stated, last);
                last = stand(&stated["closing"]);
            }
            assert_eq!(last, whole, "{account:?}: the months do not add up");
        }
        let given: i64 = self
            .cloud
            .events()
            .iter()
            .filter(|line| line["event"]["kind"] == "allotment.given")
            .map(|line| {
                thousandths(&line["event"]["credits"]) - thousandths(&line["event"]["lapsed"])
            })
            .sum();
        let totals = &self.cloud.json(&["leases"])["totals"];
        assert_eq!(thousandths(&totals["granted"]), self.granted + given, "{totals}");
    }
}

/// Opening, lines and closing are one; so is the balance after each line.
fn adds_up(account: &Account, stated: &Value, opening: Stand) {
    assert_eq!(stand(&stated["opening"]), opening, "{account:?} opens otherwise: {stated}");
    let mut now = opening;
    for row in stated["rows"].as_array().unwrap() {
        now = (now.0 + thousandths(&row["moved"]), now.1 + thousandths(&row["held"]));
        let after = (thousandths(&row["balance"]), thousandths(&row["still-held"]));
        assert_eq!(after, now, "{account:?}: {row}");
    }
    assert_eq!(stand(&stated["closing"]), now, "{account:?} does not add up: {stated}");
}
