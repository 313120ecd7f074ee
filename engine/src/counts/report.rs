//! What people read of the counts: balances per user, totals per user, device, month.
//!
//! Invariant: rows come in one order and in one JSON form wherever they are
//! shown, so two ends can be compared byte for byte. A user whose aliases are
//! linked is one row; an unlinked alias is its own. A group is one row with the balance that
//! its members share, and they stand within it.

use super::accounts::AccountKind;
use super::month::Month;
use super::state::Counts;
use super::sum::CreditSum;
use super::usage::{Usage, UsageKey};
use serde::Serialize;
use std::collections::BTreeMap;
use tallyroll_schema::{DeviceId, SubjectId, UserAlias};

/// Whom a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// A person or account.
    Subject(SubjectId),
    /// A user of one device whose alias is not linked.
    Alias {
        /// The device.
        device: DeviceId,
        /// The alias.
        alias: UserAlias,
    },
}

/// One user's balance. Credits are exact decimal strings in JSON, however large the sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BalanceRow {
    /// The name, where it is known and may be shown.
    pub name: Option<String>,
    /// Who.
    pub who: Who,
    /// Whether that is a user or a group.
    pub kind: AccountKind,
    /// Given.
    pub granted: CreditSum,
    /// Charged.
    pub charged: CreditSum,
    /// Given back by corrections of charges, less what they took.
    #[serde(skip_serializing_if = "CreditSum::is_zero")]
    pub corrected: CreditSum,
    /// Given less charged, and what was corrected.
    pub balance: CreditSum,
    /// Provisionally charged, by jobs that are not decided yet.
    pub held: CreditSum,
    /// The balance less what is held.
    pub available: CreditSum,
    /// Of what was charged, by events that were recorded again: no lease backed them.
    #[serde(skip_serializing_if = "CreditSum::is_zero")]
    pub unbacked: CreditSum,
    /// Of a group: what is its members' of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberRow>>,
}

/// One member's part of a group's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemberRow {
    /// The name, where it is known and may be shown.
    pub name: Option<String>,
    /// Who.
    pub who: Who,
    /// Charged.
    pub charged: CreditSum,
    /// Provisionally charged, by jobs that are not decided yet.
    pub held: CreditSum,
}

/// One user's usage of one device in one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TotalsRow {
    /// `2026-11`, in UTC.
    pub month: String,
    /// The closed month that these came of too late, which makes them an adjustment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjusts: Option<String>,
    /// The device.
    pub device: DeviceId,
    /// Its name, where it is known.
    pub device_name: Option<String>,
    /// The user's name, where it is known and may be shown.
    pub name: Option<String>,
    /// Who.
    pub who: Who,
    /// Sides of media marked.
    pub impressions: u64,
    /// Media used, where the source said.
    pub sheets: u64,
    /// Pages captured.
    pub captured: u64,
    /// Pages converted, once per kind.
    pub converted: u64,
    /// Pages sent, once per destination.
    pub sent: u64,
    /// Pages saved.
    pub saved: u64,
    /// Charged.
    pub charged: CreditSum,
    /// Of that, by events that were recorded again: no lease backed them.
    #[serde(skip_serializing_if = "CreditSum::is_zero")]
    pub unbacked: CreditSum,
}

/// Reads a view, with names where the caller has them.
pub struct Report<'a> {
    /// The view.
    pub counts: &'a Counts,
    /// The name behind an alias.
    pub user_name: &'a dyn Fn(DeviceId, UserAlias) -> Option<String>,
    /// A device's name.
    pub device_name: &'a dyn Fn(DeviceId) -> Option<String>,
}

impl Report<'_> {
    /// A row per user or group, by name, then identity.
    pub fn balances(&self) -> Vec<BalanceRow> {
        let mut charged: BTreeMap<Who, Usage> = BTreeMap::new();
        let mut names: BTreeMap<Who, String> = BTreeMap::new();
        for ((device, alias), subject) in self.counts.links() {
            let who = Who::Subject(subject);
            charged.entry(who).or_default();
            if let Some(name) = (self.user_name)(device, alias) {
                names.entry(who).or_insert(name);
            }
        }
        for subject in self.counts.granted.keys() {
            charged.entry(Who::Subject(*subject)).or_default();
        }
        for (subject, _) in self.counts.books.corrections() {
            charged.entry(Who::Subject(subject)).or_default();
        }
        for (key, usage) in &self.counts.usage {
            let who = self.who(key.device, key.user);
            charged.entry(who).or_default().add(usage);
            if let (Who::Alias { device, alias }, false) = (who, names.contains_key(&who)) {
                names.extend((self.user_name)(device, alias).map(|name| (who, name)));
            }
        }
        let mut members: BTreeMap<SubjectId, Vec<MemberRow>> = BTreeMap::new();
        let mut sums: BTreeMap<Who, (Usage, i128, i128)> = BTreeMap::new();
        for (who, usage) in charged {
            let (account, granted, corrected) = self.account(who);
            let sum = sums.entry(account).or_default();
            sum.0.add(&usage);
            sum.1 += granted;
            sum.2 += corrected;
            if let (Who::Subject(group), true) = (account, account != who) {
                members.entry(group).or_default().push(MemberRow {
                    name: names.get(&who).cloned(),
                    who,
                    charged: CreditSum::from_thousandths(usage.charged),
                    held: CreditSum::from_thousandths(usage.held),
                });
            }
        }
        let row = |(who, (Usage { charged, unbacked, held, .. }, granted, corrected))| BalanceRow {
            name: names.get(&who).cloned(),
            who,
            kind: match who {
                Who::Subject(account) => self.counts.accounts.kind(account),
                Who::Alias { .. } => AccountKind::User,
            },
            granted: CreditSum::from_thousandths(granted),
            charged: CreditSum::from_thousandths(charged),
            corrected: CreditSum::from_thousandths(corrected),
            balance: CreditSum::from_thousandths(granted - charged + corrected),
            held: CreditSum::from_thousandths(held),
            available: CreditSum::from_thousandths(granted - charged + corrected - held),
            unbacked: CreditSum::from_thousandths(unbacked),
            members: match who {
                Who::Subject(group) if self.counts.accounts.is_group(group) => {
                    let mut members = members.remove(&group).unwrap_or_default();
                    members.sort_by(|a, b| (&a.name, a.who).cmp(&(&b.name, b.who)));
                    Some(members)
                }
                _ => None,
            },
        };
        let mut rows: Vec<BalanceRow> = sums.into_iter().map(row).collect();
        rows.sort_by(|a, b| (&a.name, a.who).cmp(&(&b.name, b.who)));
        rows
    }

    /// In whose row somebody stands, and what was granted to them and corrected themselves.
    fn account(&self, who: Who) -> (Who, i128, i128) {
        match who {
            Who::Subject(subject) => {
                let (granted, corrected) = self.counts.given(subject);
                (Who::Subject(self.counts.accounts.account(subject)), granted, corrected)
            }
            Who::Alias { .. } => (who, 0, 0),
        }
    }

    /// A row per month, device and user, in that order; by name where there is one.
    pub fn totals(&self) -> Vec<TotalsRow> {
        self.rows_of(self.counts.usage.iter().map(|(key, usage)| (*key, *usage)))
    }

    /// Such rows of some usage.
    pub(super) fn rows_of(&self, usage: impl Iterator<Item = (UsageKey, Usage)>) -> Vec<TotalsRow> {
        let mut sums: BTreeMap<(u32, DeviceId, Who), (Usage, UserAlias)> = BTreeMap::new();
        for (key, usage) in usage {
            let place = (key.month, key.device, self.who(key.device, key.user));
            sums.entry(place).or_insert((Usage::default(), key.user)).0.add(&usage);
        }
        let row = |((month, device, who), (usage, alias)): (_, (Usage, UserAlias))| TotalsRow {
            month: Month(month).to_string(),
            adjusts: None,
            device,
            device_name: (self.device_name)(device),
            name: (self.user_name)(device, alias),
            who,
            impressions: usage.impressions,
            sheets: usage.sheets,
            captured: usage.captured,
            converted: usage.converted,
            sent: usage.sent,
            saved: usage.saved,
            charged: CreditSum::from_thousandths(usage.charged),
            unbacked: CreditSum::from_thousandths(usage.unbacked),
        };
        let mut rows: Vec<TotalsRow> = sums.into_iter().map(row).collect();
        rows.sort_by(|a, b| order(a).cmp(&order(b)));
        rows
    }

    fn who(&self, device: DeviceId, alias: UserAlias) -> Who {
        match self.counts.subject(device, alias) {
            Some(subject) => Who::Subject(subject),
            None => Who::Alias { device, alias },
        }
    }
}

/// As people look things up: by month, then place, then person.
fn order(row: &TotalsRow) -> impl Ord {
    let TotalsRow { month, device, device_name, name, who, .. } = row;
    (month.clone(), device_name.clone(), *device, name.clone(), *who)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::accounts::Accounts;
    use tallyroll_schema::limits::GRANT_THOUSANDTHS_MAX;

    /// Sums beyond an amount's 64 bits were shown as its end, so that granted less charged was not the balance.
    #[test]
    fn a_row_adds_up_however_large_its_sums() {
        let (device, user, subject) = (DeviceId([1; 16]), UserAlias([2; 16]), SubjectId([3; 16]));
        let mut counts = Counts::default();
        let place = (tallyroll_schema::EpochId { counter: 0, nonce: [4; 16] }, 1);
        counts.links.insert((device, user), (place, subject));
        counts.granted.insert(subject, i128::from(GRANT_THOUSANDTHS_MAX) * 100_000_000);
        for month in 1..=3 {
            let usage = Usage { charged: i64::MAX.into(), ..Usage::default() };
            counts.usage.insert(UsageKey { device, user, month }, usage);
        }
        let none = |_| None;
        let report = Report { counts: &counts, user_name: &|_, _| None, device_name: &none };
        let row = report.balances().remove(0);
        assert_eq!(row.granted.to_string(), "100000000000000000.000");
        assert_eq!(row.charged.to_string(), "27670116110564327.421");
        assert_eq!(row.balance.to_string(), "72329883889435672.579");
    }

    fn place(seq: u64) -> (tallyroll_schema::EpochId, u64) {
        (tallyroll_schema::EpochId { counter: 0, nonce: [4; 16] }, seq)
    }

    /// A member's use stands in the group's row and in their own line of it; grants and corrections count
    /// for whose row it is, and nobody's figures get into another's.
    #[test]
    fn a_group_has_one_row_with_its_members_and_everybody_else_their_own() {
        let device = DeviceId([1; 16]);
        let [ada, bob, carl, office] = [2, 3, 4, 5].map(|byte| SubjectId([byte; 16]));
        let alias = |subject: SubjectId| UserAlias(subject.0);
        let mut counts = Counts::default();
        for (seq, subject) in (1..).zip([ada, bob, carl]) {
            counts.links.insert((device, alias(subject)), (place(seq), subject));
        }
        counts.granted.extend([(office, 10_000), (carl, 500), (ada, 70)]);
        counts.accounts = Accounts::with_group(office, &[bob, ada]);
        let used = |charged, held, unbacked| Usage { charged, held, unbacked, ..Usage::default() };
        let used = [(ada, used(100, 7, 1)), (bob, used(30, 0, 0)), (carl, used(2, 1, 2))];
        for (subject, usage) in used {
            for month in [1, 2] {
                counts.usage.insert(UsageKey { device, user: alias(subject), month }, usage);
            }
        }
        for (subject, thousandths) in [(office, 5), (carl, -3)] {
            counts.books.correct(&tallyroll_schema::event::counts::ChargeCorrected {
                subject,
                corrects: tallyroll_schema::Position {
                    log: tallyroll_schema::LogId([6; 32]),
                    epoch: place(1).0,
                    seq: 1,
                },
                credits: tallyroll_schema::Credits::from_thousandths(thousandths),
                reason: String::new(),
                by: None,
                charged: None,
            });
        }
        let name = |_, alias: UserAlias| match alias {
            UserAlias(id) if id == ada.0 => Some("ada".to_owned()),
            UserAlias(id) if id == bob.0 => Some("bob".to_owned()),
            _ => None,
        };
        let rows = Report { counts: &counts, user_name: &name, device_name: &|_| None }.balances();
        let shown = |row: &BalanceRow| {
            let sums = [row.granted, row.charged, row.corrected, row.balance, row.held];
            let sums = sums.into_iter().chain([row.available, row.unbacked]);
            (row.who, sums.map(CreditSum::thousandths).collect::<Vec<_>>())
        };
        let rows_shown: Vec<_> = rows.iter().map(shown).collect();
        assert_eq!(
            rows_shown,
            [
                (Who::Subject(carl), vec![500, 4, -3, 493, 2, 491, 4]),
                (Who::Subject(office), vec![10_070, 260, 5, 9_815, 14, 9_801, 2]),
            ]
        );
        assert!(rows[0].members.is_none(), "a person has none");
        assert_eq!(
            [&rows[0], &rows[1]].map(|row| row.kind),
            [AccountKind::User, AccountKind::Group]
        );
        let members: Vec<_> = rows[1].members.iter().flatten().collect();
        let members = members.iter().map(|member| {
            (member.name.as_deref(), member.charged.thousandths(), member.held.thousandths())
        });
        assert_eq!(members.collect::<Vec<_>>(), [(Some("ada"), 200, 14), (Some("bob"), 60, 0)]);
    }

    #[test]
    fn totals_are_by_month_device_and_person_and_an_alias_stands_for_who_is_not_known() {
        let (here, there, ada) = (DeviceId([1; 16]), DeviceId([2; 16]), SubjectId([3; 16]));
        let aliases = [4, 5, 6].map(|byte| UserAlias([byte; 16]));
        let mut counts = Counts::default();
        for alias in [aliases[0], aliases[1]] {
            counts.links.insert((here, alias), (place(1), ada));
        }
        let usage = Usage {
            impressions: 1,
            sheets: 2,
            captured: 3,
            converted: 4,
            sent: 5,
            saved: 6,
            charged: 7,
            unbacked: 8,
            held: 9,
        };
        let month = 2026 * 12 + 10;
        for (device, user, month) in [
            (here, aliases[0], month),
            (here, aliases[1], month),
            (here, aliases[0], month + 1),
            (there, aliases[2], month),
        ] {
            counts.usage.insert(UsageKey { device, user, month }, usage);
        }
        let report = Report { counts: &counts, user_name: &|_, _| None, device_name: &|_| None };
        let shown = |row: &TotalsRow| {
            let counted = [row.impressions, row.sheets, row.captured, row.converted];
            let delivered = [row.sent, row.saved];
            let sums = [row.charged.thousandths(), row.unbacked.thousandths()];
            (row.month.clone(), row.device, row.who, counted, delivered, sums)
        };
        let alias = Who::Alias { device: there, alias: aliases[2] };
        let once = ([1, 2, 3, 4], [5, 6], [7, 8]);
        assert_eq!(
            report.totals().iter().map(shown).collect::<Vec<_>>(),
            [
                ("2026-11".into(), here, Who::Subject(ada), [2, 4, 6, 8], [10, 12], [14, 16]),
                ("2026-11".into(), there, alias, once.0, once.1, once.2),
                ("2026-12".into(), here, Who::Subject(ada), once.0, once.1, once.2),
            ]
        );
    }
}
