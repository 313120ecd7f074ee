//! `view`: figures, now or as of a past moment.
//!
//! Invariant: every view says the commit position it stands at, and how many
//! records it could not use when there are any. The rows are the engine's.

use super::out::{OutputArguments, Sheet};
use super::table::{Column, Holds, time};
use super::{CommandError, Result, ask, statement};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use tallyroll_cloud::control::people::Whose;
use tallyroll_cloud::control::{Ask, At, Figures, Period};
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_engine::counts::Month;
use tallyroll_schema::Wall;

/// Which figures, as an argument.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FiguresArgument {
    /// A row per user.
    Balances,
    /// A row per month, device and user.
    Totals,
    /// A row per device.
    Devices,
    /// What moved a user's balance, a row each.
    Statement,
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

/// What to show, of when, and how.
#[derive(Args)]
pub(crate) struct ViewArguments {
    /// Which.
    #[arg(value_enum)]
    figures: FiguresArgument,
    /// Whose statement.
    user: Option<String>,
    /// It is a group's.
    #[arg(long)]
    group: bool,
    /// A commit position (1.482) or a time (2026-11-21T08:00:00Z).
    #[arg(long, value_name = "TIME|POSITION")]
    at: Option<Moment>,
    /// Of totals: what is booked in a month (2026-10); of a statement: what arrived in it.
    #[arg(long)]
    month: Option<Month>,
    /// Of a statement: what arrived after this moment.
    #[arg(long, value_name = "TIME|POSITION", conflicts_with = "month")]
    from: Option<Moment>,
    /// Of a statement: what arrived up to and with this moment.
    #[arg(long, value_name = "TIME|POSITION", conflicts_with_all = ["month", "at"])]
    to: Option<Moment>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Shows a view.
pub(crate) async fn run(dir: &DataDir, arguments: ViewArguments) -> Result {
    let ViewArguments { figures, user, group, at, month, from, to, output } = arguments;
    let asked = match (figures, user) {
        (FiguresArgument::Statement, Some(name)) => {
            let (from, to) = (from.map(|at| at.0), to.or(at).map(|at| at.0));
            let between = Period::Between { from, to };
            if month.is_some() && at.is_some() {
                return Err(usage(
                    "--at and --month do not go together in a statement; leave one out",
                ));
            }
            let whose = Whose { name, group };
            return statement::run(dir, whose, month.map_or(between, Period::Month), &output).await;
        }
        (FiguresArgument::Statement, None) => {
            return Err(usage("whose statement? say `view statement USER`, or NAME --group"));
        }
        _ if group => {
            return Err(usage("--group goes with `view statement NAME` only; leave it out"));
        }
        (_, Some(_)) => return Err(usage("a user goes with `view statement` only; leave it out")),
        _ if from.is_some() || to.is_some() => {
            return Err(usage("--from and --to go with `view statement USER` only; say --at here"));
        }
        (FiguresArgument::Balances, None) => Figures::Balances,
        (FiguresArgument::Totals, None) => Figures::Totals,
        (FiguresArgument::Devices, None) => Figures::Devices,
    };
    let at = at.map(|at| at.0);
    let view = ask(dir, "view", Ask::View { figures: asked, at, month }).await?;
    let rows = view["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows = rows.iter().flat_map(with_members).collect::<Vec<_>>();
    tell_apart(&mut rows);
    let rows = &rows;
    let mut notes = vec![stands(&view)];
    if let Some(next) = view["lost-before"].as_str() {
        notes.push(format!(
            "this cloud lost commits here, or may have: after this one it went on with {next}; what it had taken in and lost is \
             not in these figures, and stands in later commits as far as devices brought it again"
        ));
    }
    notes.extend(unused(&view));
    if let (Figures::Balances, Some(since)) = (asked, view["accounts-since"].as_u64()) {
        notes.push(format!(
            "incomplete: the cloud was rebuilt on {}; what was granted before is lost, `granted` and `balance` lack it",
            time(since)
        ));
    }
    let (title, columns) = match asked {
        Figures::Balances => ("balances", balances(rows)),
        Figures::Totals => ("totals", totals(rows)),
        Figures::Devices => ("devices", devices()),
    };
    output.deliver(&Sheet { answer: &view, title, columns: &columns, rows, notes })
}

fn usage(why: &str) -> CommandError {
    CommandError::Usage(why.to_owned())
}

/// Which cut it is.
fn stands(view: &Value) -> String {
    let at = view["at"].as_str().unwrap_or_default();
    let closed = view["closed"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let closed = stretches(closed.filter_map(|month| month.parse().ok()));
    match (view["month"].as_str(), view["closed-at"].as_str(), closed) {
        (Some(month), Some(closed), _) => format!("{month}, closed at commit {closed}"),
        (Some(month), None, _) => format!("{month}, not closed, at commit {at}"),
        (None, _, closed) if closed.is_empty() => format!("at commit {at}"),
        (None, _, closed) => {
            format!("at commit {at}; closed: {closed} (`--month` shows the books)")
        }
    }
}

/// Months, those that follow each other as one.
pub(super) fn stretches(months: impl Iterator<Item = Month>) -> String {
    let mut all: Vec<(Month, Month)> = Vec::new();
    for month in months {
        match all.last_mut() {
            Some((_, last)) if last.next() == month => *last = month,
            _ => all.push((month, month)),
        }
    }
    let told = all.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What the figures lack.
pub(super) fn unused(view: &Value) -> Vec<String> {
    let unused = [
        ("incomplete", "records were written by a newer version; update this one"),
        (
            "misplaced",
            "records stand where their writer may not write, or say what cannot be; they are not counted",
        ),
    ];
    let told = |(key, meaning): (&str, &str)| match view[key].as_u64() {
        Some(count @ 1..) => Some(format!("{key} ({count}): {meaning}")),
        _ => None,
    };
    unused.into_iter().filter_map(told).collect()
}

fn count(key: &str) -> Column<'_> {
    Column::key(key, key).holding(Holds::Count)
}

pub(super) fn credits(key: &str) -> Column<'_> {
    Column::key(key, key).holding(Holds::Credits)
}

fn counts<'a>() -> impl Iterator<Item = Column<'a>> {
    let counted = ["impressions", "sheets", "captured", "converted", "sent", "saved"].map(count);
    counted.into_iter().chain([credits("charged")])
}

/// The user's name, or the start of what stands for it.
fn user(row: &Value) -> String {
    let who = &row["who"];
    let alias = who["alias"]["alias"].as_str().or(who["subject"].as_str());
    row["name"].as_str().map(str::to_owned).or(alias.map(nameless)).unwrap_or("-".into())
}

/// How somebody is shown whose name is not known, or forgotten; the commands that ask for a user take it.
pub(super) fn nameless(id: &str) -> String {
    format!("({})", id.get(..8).unwrap_or(id))
}

/// A column of credits, where there are any.
fn any<'a>(rows: &[Value], key: &'a str) -> Option<Column<'a>> {
    rows.iter().any(|row| !row[key].is_null()).then(|| credits(key))
}

fn balances(rows: &[Value]) -> Vec<Column<'static>> {
    let members = rows.iter().any(|row| !row["member-of"].is_null());
    let given = [credits("granted"), credits("charged")];
    let left = ["balance", "held", "available"].map(credits);
    [Column::of("user", &user), Column::key("kind", "kind")]
        .into_iter()
        .chain(members.then(|| Column::key("member-of", "member of")))
        .chain(given)
        .chain(any(rows, "corrected"))
        .chain(left)
        .chain(any(rows, "unbacked"))
        .collect()
}

/// A group's row, and under it its members: their part of what was charged, no balance of their own.
fn with_members(row: &Value) -> Vec<Value> {
    let members = row["members"].as_array().into_iter().flatten().map(|member| {
        let (charged, held) = (&member["charged"], &member["held"]);
        let (name, of) = (user(member), user(row));
        json!({ "name": name, "kind": "user", "member-of": of, "charged": charged, "held": held })
    });
    std::iter::once(row.clone()).chain(members).collect()
}

/// A device's name, or its id.
pub(super) fn device(row: &Value) -> String {
    let of = |key: &str| row[key].as_str().map(str::to_owned);
    of("device-name").or_else(|| of("device")).unwrap_or_default()
}

/// Adds its id to the name of a device that shares it: one that was revoked or retired, and one that followed it.
pub(super) fn tell_apart(rows: &mut [Value]) {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows.iter() {
        if let (Some(name), Some(id)) = (row["device-name"].as_str(), row["device"].as_str()) {
            ids.entry(name.to_owned()).or_default().insert(id.to_owned());
        }
    }
    for row in rows {
        let shared = row["device-name"].as_str().is_some_and(|name| ids[name].len() > 1);
        if let (true, Some(id)) = (shared, row["device"].as_str()) {
            row["device-name"] = format!("{} ({id})", device(row)).into();
        }
    }
}

fn totals(rows: &[Value]) -> Vec<Column<'static>> {
    let adjusts = rows.iter().any(|row| !row["adjusts"].is_null());
    let adjusts = adjusts.then(|| Column::key("adjusts", "adjusts"));
    let whose = [Column::of("device", &device), Column::of("user", &user)];
    [Column::key("month", "month")]
        .into_iter()
        .chain(adjusts)
        .chain(whose)
        .chain(counts())
        .chain(any(rows, "unbacked"))
        .collect()
}

fn devices() -> Vec<Column<'static>> {
    let own = [
        Column::key("name", "device"),
        Column::key("standing", "standing"),
        Column::key("enrolled-at", "enrolled").holding(Holds::Time),
    ];
    own.into_iter().chain(counts()).collect()
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

    #[test]
    fn devices_of_one_name_are_told_apart() {
        let row = |id: &str, name: Option<&str>| json!({ "device": id, "device-name": name });
        let mut rows = [
            row("1f", Some("branch")),
            row("2f", Some("other")),
            row("3f", Some("branch")),
            row("1f", Some("branch")),
            row("4f", None),
        ];
        tell_apart(&mut rows);
        let shown = rows.iter().map(device).collect::<Vec<_>>();
        assert_eq!(shown, ["branch (1f)", "other", "branch (3f)", "branch (1f)", "4f"]);
    }
}
