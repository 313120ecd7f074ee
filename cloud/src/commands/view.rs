//! `view`: figures, now or as of a past moment.
//!
//! Invariant: every view says the commit position it stands at, and how many
//! records it could not use when there are any. The rows are the engine's.

use super::table::{Column, Side, table, time};
use super::{Result, ask, print};
use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::str::FromStr;
use tallyroll_cloud::control::{Ask, At, Figures};
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_schema::Wall;

/// Which figures, as an argument.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FiguresArgument {
    /// A row per user.
    Balances,
    /// A row per month, device and user.
    Totals,
    /// A row per device.
    Devices,
}

/// A past moment, as an argument.
#[derive(Clone, Copy)]
pub(crate) struct Moment(At);

impl Moment {
    /// As it is asked for.
    pub(super) fn at(self) -> At {
        self.0
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Ok(position) = text.parse() {
            return Ok(Self(At::Position(position)));
        }
        let time = text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
        match time.and_then(|time| u64::try_from(time).ok()) {
            Some(time) => Ok(Self(At::Time(Wall(time)))),
            None => {
                Err("neither a commit position, as 1.482, nor a time from 1970 to 9999-12-30T22:00:00Z, as \
                     2026-11-21T08:00:00Z; leave --at out for the figures of now"
                    .into())
            }
        }
    }
}

/// Shows a view.
pub(crate) async fn run(
    dir: &DataDir,
    figures: FiguresArgument,
    at: Option<Moment>,
    json: bool,
) -> Result {
    let asked = match figures {
        FiguresArgument::Balances => Figures::Balances,
        FiguresArgument::Totals => Figures::Totals,
        FiguresArgument::Devices => Figures::Devices,
    };
    let view = ask(dir, "view", Ask::View { figures: asked, at: at.map(|at| at.0) }).await?;
    if json {
        print(&view)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = view["rows"].as_array().map_or(&[][..], Vec::as_slice);
    print(match figures {
        FiguresArgument::Balances => balances(rows),
        FiguresArgument::Totals => totals(rows),
        FiguresArgument::Devices => devices(rows),
    })?;
    print(format!("at commit {}", view["at"].as_str().unwrap_or_default()))?;
    let unused = [
        ("incomplete", "records were written by a newer version; update this one"),
        (
            "misplaced",
            "records stand where their writer may not write, or say what cannot be; they are not counted",
        ),
    ];
    for (key, meaning) in unused {
        if let Some(count @ 1..) = view[key].as_u64() {
            print(format!("{key} ({count}): {meaning}"))?;
        }
    }
    if let (FiguresArgument::Balances, Some(since)) = (figures, view["accounts-since"].as_u64()) {
        print(format!(
            "incomplete: the cloud was rebuilt on {}; what was granted before is lost, `granted` and `balance` lack it",
            time(since)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn number<'a>(key: &'a str) -> Column<'a> {
    Column::key(key, key).on(Side::Right)
}

fn counts<'a>() -> [Column<'a>; 7] {
    ["impressions", "sheets", "captured", "converted", "sent", "saved", "charged"].map(number)
}

/// The user's name, or the start of what stands for it.
fn user(row: &Value) -> String {
    let who = &row["who"];
    let alias = who["alias"]["alias"].as_str().or(who["subject"].as_str());
    let short = |id: &str| format!("({})", id.get(..8).unwrap_or(id));
    row["name"].as_str().map(str::to_owned).or(alias.map(short)).unwrap_or("-".into())
}

/// Credits that no lease backed, where there are any.
fn unbacked<'a>(rows: &[Value]) -> Option<Column<'a>> {
    let any = rows.iter().any(|row| !row["unbacked"].is_null());
    any.then(|| number("unbacked"))
}

fn balances(rows: &[Value]) -> String {
    let columns = [
        Column::of("user", &user),
        number("granted"),
        number("charged"),
        number("balance"),
        number("held"),
        number("available"),
    ];
    let rows: Vec<Value> = rows.iter().flat_map(with_members).collect();
    table(&columns.into_iter().chain(unbacked(&rows)).collect::<Vec<_>>(), &rows)
}

/// A group's row, and under it its members: their part of what was charged, no balance of their own.
fn with_members(row: &Value) -> Vec<Value> {
    let members = row["members"].as_array().into_iter().flatten().map(|member| {
        let name = format!("  {}", user(member));
        json!({ "name": name, "charged": member["charged"], "held": member["held"] })
    });
    std::iter::once(row.clone()).chain(members).collect()
}

fn totals(rows: &[Value]) -> String {
    let device = |row: &Value| {
        let of = |key: &str| row[key].as_str().map(str::to_owned);
        of("device-name").or_else(|| of("device")).unwrap_or_default()
    };
    let own =
        [Column::key("month", "month"), Column::of("device", &device), Column::of("user", &user)];
    table(&own.into_iter().chain(counts()).chain(unbacked(rows)).collect::<Vec<_>>(), rows)
}

fn devices(rows: &[Value]) -> String {
    let enrolled = |row: &Value| time(row["enrolled-at"].as_u64().unwrap_or_default());
    let own = [
        Column::key("name", "device"),
        Column::key("standing", "standing"),
        Column::of("enrolled", &enrolled),
    ];
    table(&own.into_iter().chain(counts()).collect::<Vec<_>>(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::CommitPosition;

    #[test]
    fn a_moment_is_a_position_or_a_time() {
        let of = |text: &str| text.parse::<Moment>().map(|moment| moment.0);
        assert_eq!(of("1.482"), Ok(At::Position(CommitPosition { epoch: 1, index: 482 })));
        assert_eq!(of("1970-01-01T00:00:01Z"), Ok(At::Time(Wall(1000))));
        for wrong in ["", "yesterday", "1.", "2026-11-21", "1969-01-01T00:00:00Z"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
