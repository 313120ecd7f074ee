//! Answers about people and groups: who there is, whose aliases are one person, who is forgotten.
//!
//! Invariant: a name is in an answer to who asked and in the directory, and in nothing else. What holds is
//! the engine's; who has which name is [`crate::people`]'s.

use super::desk::Desk;
use super::{Failure, fleet};
use crate::keeper::Replica;
use crate::people::entering::nobodys;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tallyroll_engine::counts::CreditSum;
use tallyroll_engine::hub::{CLOUD, Forgetting, Left};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{Credits, DeviceId, SubjectId, UserAlias};

/// An id is shown by so many digits, and found by no fewer.
const SHORT_ID: usize = 8;

/// An account, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Whose {
    /// A user's name, or a group's.
    pub name: String,
    /// Whether it is a group's.
    pub group: bool,
}

/// What an account is given each month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Monthly {
    /// How much.
    pub credits: Credits,
    /// Whether what is left is kept.
    pub carries_over: bool,
    /// With that: up to how much in all.
    pub most: Option<Credits>,
    /// The first month, year × 12 + month − 1; this one, if absent.
    pub from: Option<u32>,
}

/// What may be asked of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PeopleAsk {
    /// Everybody with a name.
    Users,
    /// Enter a user, or a mail address for one.
    Add {
        /// The name.
        name: String,
        /// A mail address.
        mail: Option<String>,
    },
    /// One user and their aliases.
    Show {
        /// The name.
        name: String,
    },
    /// Have an alias be a user's.
    Link {
        /// The user.
        name: String,
        /// A device, by name or id.
        device: String,
        /// The name that the device has for them, or the beginning of the alias.
        alias: String,
    },
    /// Have a user's alias at a device be somebody else's.
    Part {
        /// The user.
        name: String,
        /// A device, by name or id.
        device: String,
        /// The other one's new name.
        new_name: String,
    },
    /// Forget a user.
    Forget {
        /// The name.
        name: String,
    },
    /// How far everybody is forgotten who is to be.
    Forgetting,
    /// All groups and their members.
    Groups,
    /// Found a group.
    AddGroup {
        /// Its name.
        name: String,
    },
    /// Have a user's account count as a group's.
    Join {
        /// The group.
        group: String,
        /// The user.
        name: String,
    },
    /// Have a user's account be their own again.
    Leave {
        /// The user.
        name: String,
    },
}

/// A user, as listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct UserRow {
    name: Option<String>,
    subject: SubjectId,
    mail: Option<String>,
    group: Option<String>,
    /// What devices call them.
    aliases: Vec<AliasRow>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct AliasRow {
    device: DeviceId,
    device_name: Option<String>,
    alias: UserAlias,
    name: Option<String>,
}

/// How far a person is forgotten.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ForgettingRow {
    subject: SubjectId,
    device: DeviceId,
    device_name: Option<String>,
    state: Forgetting,
}

impl Desk {
    pub(super) async fn people(&self, asked: PeopleAsk) -> Result<Value, Failure> {
        Ok(self.keeper.run(move |replica| answer(replica, asked)).await?)
    }
}

fn answer(replica: &mut Replica, asked: PeopleAsk) -> Result<Value> {
    let now = replica.now();
    let told = |rows: Result<Value, serde_json::Error>| {
        rows.map_err(|why| Error::Rejected(format!("this cannot be told: {why}")))
    };
    match asked {
        PeopleAsk::Users => {
            let replica = &*replica;
            let rows = replica.people.users().map(|user| user_row(replica, user));
            told(serde_json::to_value(rows.collect::<Vec<_>>()))
        }
        PeopleAsk::Show { name } => {
            let row = user_row(replica, user(replica, &name)?);
            told(serde_json::to_value(row))
        }
        PeopleAsk::Forgetting => told(serde_json::to_value(forgetting(replica))),
        PeopleAsk::Groups => Ok(groups(replica)),
        PeopleAsk::Add { name, mail } => {
            let Replica { hub, people, .. } = replica;
            let subject = people.enter(hub, now, &name, mail.as_deref())?;
            Ok(json!({ "name": name, "subject": subject }))
        }
        PeopleAsk::AddGroup { name } => {
            let subject = replica.people.found(&mut replica.hub, now, &name)?;
            Ok(json!({ "name": name, "subject": subject }))
        }
        PeopleAsk::Link { name, device, alias } => {
            let (subject, of) = (user(replica, &name)?, alias_at(replica, &device, &alias)?);
            replica.people.link(&mut replica.hub, now, of, subject)?;
            Ok(json!({ "name": name, "subject": subject, "alias": of.1 }))
        }
        PeopleAsk::Part { name, device, new_name } => {
            let of = only_alias(replica, &name, &device)?;
            let subject = replica.people.part(&mut replica.hub, now, of, &new_name)?;
            Ok(json!({ "name": new_name, "subject": subject, "alias": of.1 }))
        }
        PeopleAsk::Join { group, name } => {
            let (account, member) =
                (find(replica, &Whose { name: group, group: true })?, user(replica, &name)?);
            let (position, _) = replica.hub.join_group(now, account, member)?;
            let allotment = monthly(replica, member);
            Ok(
                json!({ "name": name, "subject": member, "allotment": allotment, "position": position }),
            )
        }
        PeopleAsk::Leave { name } => {
            let member = user(replica, &name)?;
            let Left { position, event, along } = replica.hub.leave_group(now, member)?;
            // What a statement of each shows of it.
            let of_group = CreditSum::from_thousandths(-along);
            let (group, moved) = (shown(replica, event.group), event.settled);
            Ok(json!({
                "name": name, "subject": member, "group": group, "settled": moved,
                "group-moved": of_group, "allotment": monthly(replica, member), "position": position,
            }))
        }
        PeopleAsk::Forget { name } => {
            let subject = user(replica, &name)?;
            replica.people.forget(&mut replica.hub, now, subject)?;
            replica.settle_forgotten()?;
            let pending = replica.hub.forgetting(subject);
            let pending = pending.iter().filter(|(_, state)| *state == Forgetting::Pending).count();
            Ok(json!({ "subject": subject, "pending": pending }))
        }
    }
}

/// What a person is given each month of their own, if anything.
fn monthly(replica: &Replica, person: SubjectId) -> Option<Credits> {
    replica.hub.counts().accounts().allotment(person).and_then(|allotment| allotment.monthly)
}

/// The account of a name.
pub(super) fn find(replica: &Replica, whose: &Whose) -> Result<SubjectId> {
    let name = &whose.name;
    match (whose.group, replica.people.group(name)) {
        (false, _) => user(replica, name),
        (true, Some(group)) => Ok(group),
        (true, None) => Err(Error::Rejected(format!(
            "no group {name}; `tallyroll groups list` lists them, `tallyroll groups add {name}` founds it"
        ))),
    }
}

/// The person of a name, or of the id by which those are shown who have none.
fn user(replica: &Replica, name: &str) -> Result<SubjectId> {
    if name.trim().is_empty() {
        return Err(Error::Rejected("the user's name is empty; say whose".into()));
    }
    let known = match name.starts_with('(') {
        // Whoever is named like an id does not stand before whose id it is.
        true => nameless(replica, name).or_else(|| replica.people.subject(name).map(Ok)),
        false => replica.people.subject(name).map(Ok).or_else(|| nameless(replica, name)),
    };
    known.or_else(|| nobody(replica, name).map(Err)).unwrap_or_else(|| {
        Err(Error::Rejected(format!(
            "no user {name}: no device has seen one; `tallyroll users list` lists all, `tallyroll users add {name}` enters one"
        )))
    })
}

/// The beginning of an id as it is shown, in parentheses or without; none if it is too short to mean one.
pub(super) fn begun_id(said: &str) -> Option<String> {
    let said = said.trim_start_matches('(').trim_end_matches(')').to_ascii_lowercase();
    (said.len() >= SHORT_ID).then_some(said)
}

/// Who has no name, by the beginning of their id; it is shown in parentheses.
fn nameless(replica: &Replica, said: &str) -> Option<Result<SubjectId>> {
    let said = begun_id(said)?;
    let counts = replica.hub.counts();
    let linked = counts.links().map(|(_, subject)| subject);
    let people: BTreeSet<_> = linked.chain(counts.granted().keys().copied()).collect();
    let named = |subject: &SubjectId| replica.people.title(*subject).is_some();
    let mut theirs =
        people.into_iter().filter(|one| !named(one) && one.to_string().starts_with(&said));
    let first = theirs.next()?;
    let several = || {
        let why = format!("several people have ids that begin with {said}; say more of it");
        Error::Rejected(why)
    };
    Some(theirs.next().map_or(Ok(first), |_| Err(several())))
}

/// Why an alias that nobody is known by stands for nobody.
fn nobody(replica: &Replica, said: &str) -> Option<Error> {
    let said = begun_id(said)?;
    let theirs = |(_, alias): &(DeviceId, UserAlias)| alias.to_string().starts_with(&said);
    let (device, alias) = nobodys(&replica.hub).find(theirs)?;
    let record = replica.hub.fleet().device(device);
    let device = record.map_or_else(|| device.to_string(), |record| record.name.clone());
    Some(Error::Rejected(format!(
        "({}) is what {device} calls somebody whose name did not come, or was lost here: once it is known, `tallyroll \
         users add NAME`, if they are not listed, and `tallyroll users link NAME {device} {}`",
        alias.short(),
        alias.short(),
    )))
}

fn alias_at(replica: &Replica, device: &str, said: &str) -> Result<(DeviceId, UserAlias)> {
    let (device, device_name) = fleet::find(replica, device)?;
    match replica.people.aliases_at(&replica.hub, device, said).as_slice() {
        [alias] => Ok((device, *alias)),
        [] => Err(Error::Rejected(format!(
            "{device_name} has no alias {said}; `tallyroll users show NAME` shows them"
        ))),
        _ => Err(Error::Rejected(format!(
            "{device_name} has several aliases {said}; say more of it"
        ))),
    }
}

/// The one alias that a user has at a device.
fn only_alias(replica: &Replica, name: &str, device: &str) -> Result<(DeviceId, UserAlias)> {
    let subject = user(replica, name)?;
    let (device, device_name) = fleet::find(replica, device)?;
    let links = replica.hub.counts().links();
    let theirs = links.filter(|((of, _), linked)| (*of, *linked) == (device, subject));
    let theirs: Vec<_> = theirs.map(|((_, alias), _)| alias).collect();
    match theirs.as_slice() {
        [alias] => Ok((device, *alias)),
        [] => Err(Error::Rejected(format!("{device_name} has not seen {name}"))),
        _ => Err(Error::Rejected(format!(
            "{name} has several aliases at {device_name}; `tallyroll users link NAME {device_name} ALIAS` moves one"
        ))),
    }
}

/// Somebody's name, or the id by which those are shown who have none.
pub(super) fn shown(replica: &Replica, subject: SubjectId) -> String {
    let name = replica.people.title(subject);
    name.map_or_else(|| format!("({})", subject.short()), str::to_owned)
}

fn groups(replica: &Replica) -> Value {
    let Replica { hub, people, .. } = replica;
    let accounts = hub.counts().accounts();
    let row = |group: &SubjectId| {
        let everybody: BTreeSet<_> = hub.counts().links().map(|(_, subject)| subject).collect();
        let members = everybody.into_iter().filter(|user| accounts.group_of(*user) == Some(*group));
        let mut members: Vec<String> = members.map(|user| shown(replica, user)).collect();
        members.sort();
        json!({ "name": people.title(*group), "subject": group, "members": members })
    };
    accounts.groups().iter().map(row).collect()
}

fn user_row(replica: &Replica, subject: SubjectId) -> UserRow {
    let Replica { hub, people, .. } = replica;
    let links = hub.counts().links().filter(|(_, linked)| *linked == subject);
    let links = links.filter(|((device, _), _)| *device != CLOUD);
    let alias = |((device, alias), _): ((DeviceId, UserAlias), SubjectId)| AliasRow {
        device,
        device_name: hub.fleet().device(device).map(|record| record.name.clone()),
        alias,
        name: people.name(device, alias).map(str::to_owned),
    };
    let group = hub.counts().accounts().group_of(subject);
    let shown = |subject| people.title(subject).map(str::to_owned);
    UserRow {
        name: shown(subject),
        subject,
        mail: people.mail(hub, subject).map(str::to_owned),
        group: group.and_then(shown),
        aliases: links.map(alias).collect(),
    }
}

fn forgetting(replica: &Replica) -> Vec<ForgettingRow> {
    let hub = &replica.hub;
    let of = |subject: &SubjectId| {
        let subject = *subject;
        hub.forgetting(subject).into_iter().map(move |(device, state)| ForgettingRow {
            subject,
            device,
            device_name: hub.fleet().device(device).map(|record| record.name.clone()),
            state,
        })
    };
    hub.counts().accounts().forgotten().iter().flat_map(of).collect()
}
