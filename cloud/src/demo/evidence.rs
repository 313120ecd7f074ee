//! The evidence: what the files themselves say, once nothing runs.
//!
//! Owns the asking: `status` and `view` of each branch, `log show`, `log verify` and
//! `view` of the cloud, all on files. Invariant: it reports what it reads, rows twice
//! or without a name included, and judges nothing; that is the check's.

use super::branch::Desk;
use super::cloud::Cloud;
use super::error::{DemoError, Result};
use super::fleet::Fleet;
use serde_json::Value;
use std::collections::BTreeMap;
use tallyroll_schema::Credits;

/// What one place shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// User and thousandths charged, a row each.
    pub(super) charged: Vec<(String, i64)>,
    /// Month, user and impressions, a row each.
    pub(super) impressions: Vec<((String, String), u64)>,
}

/// What is found of one branch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BranchEvidence {
    /// Events in its own logs, by its own files.
    pub(super) written: u64,
    /// Of these, receipted by the cloud.
    pub(super) receipted: u64,
    /// Its own figures.
    pub(super) own: Shown,
    /// Events of its logs that the cloud has.
    pub(super) counted: u64,
    /// Prints among these.
    pub(super) prints: u64,
    /// Beginnings and ends of jobs among these.
    pub(super) jobs: u64,
    /// Questions for balances and credits among these: how many, is nobody's to foresee.
    pub(super) questions: u64,
    /// Events at the cloud whose chain and signature hold.
    pub(super) verified: u64,
    /// Its impressions, as the cloud shows them.
    pub(super) at_cloud: Vec<((String, String), u64)>,
}

/// All that is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// By branch.
    pub(super) branches: BTreeMap<String, BranchEvidence>,
    /// User and thousandths charged at the cloud, a row each.
    pub(super) charged: Vec<(String, i64)>,
    /// User and thousandths left there, a row each.
    pub(super) left: Vec<(String, i64)>,
    /// What `log verify` calls wrong.
    pub(super) wrong: Vec<String>,
}

/// Reads it all.
pub(super) async fn gather(fleet: &Fleet) -> Result<Evidence> {
    let mut evidence = Evidence::default();
    for branch in &fleet.branches {
        evidence.branches.insert(branch.name.clone(), own_evidence(&branch.desk()).await?);
    }
    cloud_evidence(&fleet.cloud, &mut evidence).await?;
    Ok(evidence)
}

async fn own_evidence(desk: &Desk) -> Result<BranchEvidence> {
    let progress = desk.progress().await?;
    let charged = credits("charged", &desk.ask(&["view", "balances", "--json"], "").await?)?;
    let totals = rows(&desk.ask(&["view", "totals", "--json"], "").await?)?;
    let impressions = totals.iter().map(impressions).collect::<Result<_>>()?;
    Ok(BranchEvidence {
        written: progress.written,
        receipted: progress.at_cloud,
        own: Shown { charged, impressions },
        ..BranchEvidence::default()
    })
}

async fn cloud_evidence(cloud: &Cloud, evidence: &mut Evidence) -> Result<()> {
    // 3 says that something does not hold; what, is in the answer.
    let verified = cloud.ask(&["log", "verify", "--json"], &[0, 3]).await?;
    let names = take_in_verified(&verified, evidence)?;
    for line in cloud.ask(&["log", "show", "--all", "--json"], &[0]).await?.lines() {
        count(&read("log show", line)?, &names, evidence);
    }
    let balances = cloud.ask(&["view", "balances", "--json"], &[0]).await?;
    evidence.charged = credits("charged", &balances)?;
    evidence.left = credits("available", &balances)?;
    for row in rows(&cloud.ask(&["view", "totals", "--json"], &[0]).await?)? {
        let branch = evidence.branches.entry(text(&row["device-name"])).or_default();
        branch.at_cloud.push(impressions(&row)?);
    }
    Ok(())
}

/// Notes what verifies; returns the branches' names by device id.
fn take_in_verified(verified: &str, evidence: &mut Evidence) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for log in array("log verify", "logs", verified)? {
        if let [Some(position), Some(why)] = ["/wrong/0", "/wrong/1"].map(|at| log.pointer(at)) {
            evidence.wrong.push(format!("{} at {}", text(why), text(position)));
        }
        if is_branch_log(&log) {
            let name = text(&log["device-name"]);
            let branch = evidence.branches.entry(name.clone()).or_default();
            branch.verified += log["signed"].as_u64().unwrap_or_default();
            names.insert(text(&log["device"]), name);
        }
    }
    Ok(names)
}

/// Counts one event of `log show`, if a branch wrote it.
fn count(event: &Value, names: &BTreeMap<String, String>, evidence: &mut Evidence) {
    if let (true, Some(name)) = (is_branch_log(event), names.get(&text(&event["device"]))) {
        let branch = evidence.branches.entry(name.clone()).or_default();
        branch.counted += 1;
        match event["event"]["kind"].as_str() {
            Some("pages.printed") => branch.prints += 1,
            Some("job.begun" | "job.ended") => branch.jobs += 1,
            Some("balance.asked" | "lease.requested" | "lease.closed") => branch.questions += 1,
            _ => {}
        }
    }
}

/// The cloud writes logs about a device, too; they are not the branch's.
fn is_branch_log(of: &Value) -> bool {
    of["class"] == "ledger" || of["class"] == "telemetry"
}

fn credits(figure: &str, view: &str) -> Result<Vec<(String, i64)>> {
    let row = |row: &Value| {
        let credits: Credits = text(&row[figure])
            .parse()
            .map_err(|_| DemoError::answer("view balances", "no credits", &row.to_string()))?;
        Ok((text(&row["name"]), credits.thousandths()))
    };
    rows(view)?.iter().map(row).collect()
}

fn impressions(row: &Value) -> Result<((String, String), u64)> {
    let none = || DemoError::answer("view totals", "no impressions", &row.to_string());
    let count = row["impressions"].as_u64().ok_or_else(none)?;
    Ok(((text(&row["month"]), text(&row["name"])), count))
}

/// The rows of a view.
pub(super) fn rows(view: &str) -> Result<Vec<Value>> {
    array("view", "rows", view)
}

fn array(of: &'static str, key: &'static str, answer: &str) -> Result<Vec<Value>> {
    match read(of, answer)?[key].take() {
        Value::Array(values) => Ok(values),
        _ => Err(DemoError::answer(of, "without what was asked for", answer)),
    }
}

fn read(of: &'static str, answer: &str) -> Result<Value> {
    serde_json::from_str(answer).map_err(|_| DemoError::answer(of, "what is no JSON", answer))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("(no name)").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_counted_for_the_branch_that_wrote_them() {
        let mut evidence = Evidence::default();
        let verified = json!({"holds": false, "logs": [
            {"class": "ledger", "device": "d1", "device-name": "branch-1", "signed": 2, "wrong": null},
            {"class": "telemetry", "device": "d1", "device-name": "branch-1", "signed": 1, "wrong": null},
            {"class": "device", "device": "d1", "device-name": "branch-1", "signed": 9, "wrong": null},
            {"class": "accounts", "device": null, "device-name": null, "signed": 9,
             "wrong": ["L/0-e/3", "the chain differs"]},
        ]});
        let names = take_in_verified(&verified.to_string(), &mut evidence).unwrap();
        for (class, device, kind) in [
            ("ledger", json!("d1"), "log.opened"),
            ("ledger", json!("d1"), "pages.printed"),
            ("ledger", json!("d1"), "job.begun"),
            ("ledger", json!("d1"), "lease.requested"),
            ("device", json!("d1"), "device.enrolled"),
            ("accounts", json!(null), "subject.linked"),
        ] {
            let event = json!({"class": class, "device": device, "event": {"kind": kind}});
            count(&event, &names, &mut evidence);
        }
        let branch = &evidence.branches["branch-1"];
        assert_eq!((branch.counted, branch.verified), (4, 3));
        assert_eq!((branch.prints, branch.jobs, branch.questions), (1, 1, 1));
        assert_eq!(evidence.wrong, ["the chain differs at L/0-e/3"]);
    }

    #[test]
    fn rows_are_read_as_they_stand() {
        let view = json!({"rows": [
            {"name": "anna", "charged": "12.500"}, {"name": null, "charged": "0.001"}]});
        let read = credits("charged", &view.to_string()).unwrap();
        assert_eq!(read, [("anna".to_owned(), 12_500), ("(no name)".to_owned(), 1)]);
        assert!(credits("charged", "{\"error\": \"x\"}").is_err());
    }
}
