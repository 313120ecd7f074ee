//! The control socket: how commands and local software reach the device.
//!
//! Owns the questions ([`Ask`]) and their answers, as JSON Lines over a Unix
//! socket that only the owner may open. Invariant: a question is answered the
//! same by a running agent and by a command that opened the files itself.
//! Recording is a stream of its own ([`recording`], with a right for each act [`leased`]), as is asking to act ([`acting`]); how many may ask at once is
//! [`clients`]'s.

pub mod acting;
mod answers;
pub mod clients;
mod kinds;
pub mod leased;
mod leases;
pub mod reach;
pub mod recording;

pub use leases::LeaseRow;

use crate::backup::{self, Made};
use crate::data_dir::DataDir;
use crate::identity::Enrolment;
use crate::keeper::{DiskDevice, Entry, Gone, Keeper, Recorded};
use crate::link::{Acts, LinkState};
use crate::panel::PanelPlace;
use crate::rekeying::{self, RekeyingError, Rotated};
use crate::revocation;
use answers::Answers;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tallyroll_engine::counts::{BalanceRow, Report, TotalsRow};
use tallyroll_engine::device::{Asked, KnownBalance, Rotation, Status};
use tallyroll_engine::{Error, Kind};
use tallyroll_schema::{Act, Credits};
use tokio::net::UnixListener;

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Whether anybody is there.
    Ping,
    /// How far events have come.
    Status,
    /// A row per month and user.
    Totals,
    /// A row per user.
    Balances,
    /// What is known of a user's balance.
    Balance {
        /// The user's name.
        user: String,
        /// Whether to ask the cloud for it first.
        ask: bool,
    },
    /// Record the lines that follow.
    Record,
    /// Record the lines that follow, acts only with a right to what they cost.
    RecordLeased {
        /// How long each may wait for its right.
        wait_seconds: u64,
    },
    /// Ask the account server whether what follows may be done.
    Act,
    /// Make a backup.
    Backup {
        /// Where: an absolute path, for the agent may stand elsewhere than who asks.
        to: PathBuf,
    },
    /// Change the keys.
    RotateKeys,
}

/// What is answered, but for recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Answer {
    /// To [`Ask::Ping`].
    Here {
        /// The agent's version.
        version: &'static str,
    },
    /// To [`Ask::Status`].
    Status(Box<AgentStatus>),
    /// To [`Ask::Totals`].
    Totals {
        /// The rows.
        rows: Vec<TotalsRow>,
        /// Records this build does not understand.
        incomplete: u64,
        /// Events in these figures that are pruned here.
        pruned: u64,
    },
    /// To [`Ask::Balances`].
    Balances {
        /// The rows.
        rows: Vec<BalanceRow>,
        /// Records this build does not understand.
        incomplete: u64,
        /// Events in these figures that are pruned here.
        pruned: u64,
    },
    /// To [`Ask::Balance`].
    Balance {
        /// As the cloud told it; `null` if it did not yet.
        balance: Option<KnownBalance>,
        /// Whether the cloud was asked and has not answered yet.
        asked: bool,
        /// Whether a newer one was told, which holds once the user's last job here has ended.
        waits: bool,
        /// Whether nobody of that name was here before the question.
        new: bool,
        /// Whether the cloud revoked this device, so that it tells no balances any more.
        revoked: bool,
        /// The cloud's words, if it did.
        #[serde(rename = "revoked-why", skip_serializing_if = "Option::is_none")]
        revoked_why: Option<String>,
    },
    /// To [`Ask::Backup`].
    Backup(Box<Made>),
    /// To [`Ask::RotateKeys`].
    Rotated(Rotated),
    /// It cannot be answered now; ask again.
    Busy {
        /// What takes the places, or the room.
        busy: String,
    },
    /// It could not be answered.
    Error {
        /// Why, and what to do.
        error: String,
    },
}

/// A device's standing, and its link's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgentStatus {
    /// Who it is.
    #[serde(flatten)]
    pub enrolment: Enrolment,
    /// The link; absent when no agent runs.
    #[serde(flatten)]
    pub link: Option<LinkState>,
    /// Where its panel is; absent when no agent runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panel: Option<PanelPlace>,
    /// How far its events have come.
    #[serde(flatten)]
    pub status: Status,
    /// What it may spend, and for whom.
    pub leases: Vec<LeaseRow>,
    /// What it may charge beyond its leases while it is cut off, as far as it knows.
    pub overdraft: Credits,
    /// Whether it is a processing server.
    pub processing: bool,
    /// Whether the cloud revoked it, as far as it has heard.
    pub revoked: bool,
    /// The cloud's words, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_why: Option<String>,
    /// Whether its keys were changed and the cloud has yet to confirm that.
    pub rotating: bool,
    /// As a processing server: requests without an answer, so that they may have been done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// Everything needed to answer.
#[derive(Clone)]
pub struct Desk {
    /// The device's files.
    pub dir: DataDir,
    /// The replica.
    pub keeper: Keeper,
    /// Who the device is.
    pub enrolment: Enrolment,
    /// The link and the way to the account server, where an agent runs.
    pub acts: Option<Acts>,
    /// Where the panel is, where an agent runs.
    pub panel: Option<PanelPlace>,
    /// What the account server answered.
    pub answers: Answers,
}

impl Desk {
    /// The cloud's words, if it revoked this device, as far as it has heard.
    pub fn revoked(&self) -> Option<String> {
        let link = self.acts.as_ref().map(Acts::link);
        let by_link = link.and_then(|link| link.borrow().revoked().map(str::to_owned));
        by_link.or_else(|| revocation::told(&self.dir))
    }

    /// Answers a question, but for recording.
    pub async fn answer(&self, ask: Ask) -> Answer {
        let answered = match ask {
            Ask::Ping => Ok(Ok(Answer::Here { version: env!("CARGO_PKG_VERSION") })),
            Ask::Status => self.status().await,
            Ask::Totals => self.report(totals).await,
            Ask::Balances => self.report(balances).await,
            Ask::Balance { user, ask } => self.balance(user, ask).await,
            Ask::Record | Ask::RecordLeased { .. } | Ask::Act => Ok(Err("this is a stream".into())),
            Ask::Backup { to } => self.backup(to).await,
            Ask::RotateKeys => Ok(match rekeying::rotate(&self.dir, &self.keeper).await {
                Ok(rotated) => Ok(Answer::Rotated(rotated)),
                Err(RekeyingError::Engine(why)) if why.kind() == Kind::Full => {
                    Ok(Answer::Busy { busy: why.to_string() })
                }
                Err(why @ (RekeyingError::Unseen(_) | RekeyingError::Unknown)) => {
                    Ok(Answer::Busy { busy: why.to_string() })
                }
                Err(RekeyingError::Identity(why)) if why.is_full() => {
                    let busy =
                        format!("{why}; free some space on the disk, then change the keys again");
                    Ok(Answer::Busy { busy })
                }
                Err(why) => Err(why.to_string()),
            }),
        };
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Error { error },
            Err(gone) => Answer::Error { error: gone.to_string() },
        }
    }

    async fn status(&self) -> Result<Result<Answer, String>, Gone> {
        let standing = |device: &mut DiskDevice| {
            let overdraft = device.counts().rights().overdraft();
            let (status, leases) = (device.status()?, leases::rows(device)?);
            let rotating = [Rotation::Prepared, Rotation::Written].contains(&device.rotation()?);
            Ok((status, leases, overdraft, device.is_processing(), rotating, device.asked()?))
        };
        let standing: Result<_, Error> = self.keeper.query(standing).await?;
        let link = self.acts.as_ref().map(|acts| acts.link().borrow().clone());
        let enrolment = self.enrolment.clone();
        let panel = self.panel.clone();
        let revoked_why = self.revoked();
        let answer = |(status, leases, overdraft, processing, rotating, asked)| {
            Answer::Status(Box::new(AgentStatus {
                enrolment,
                link,
                panel,
                status,
                leases,
                overdraft,
                processing,
                revoked: revoked_why.is_some(),
                revoked_why,
                rotating,
                asked,
            }))
        };
        Ok(standing.map(answer).map_err(|why| why.to_string()))
    }

    async fn balance(&self, user: String, ask: bool) -> Result<Result<Answer, String>, Gone> {
        let none_here = self.keeper.query(|device| device.refuse_if_processing()).await?;
        if let Err(why) = none_here {
            return Ok(Err(why.to_string()));
        }
        let (name, revoked_why) = (user.clone(), self.revoked());
        let known = match self.keeper.query(move |device| device.alias(&name)).await? {
            Ok(known) => known,
            Err(why) => return Ok(Err(why.to_string())),
        };
        match (known, &revoked_why) {
            (None, Some(why)) => {
                let none =
                    format!("{user} has not been here yet, and nobody new is asked for: {why}");
                return Ok(Err(none));
            }
            (None, None) if !ask => {
                return Ok(Err(format!("{user} has not been here yet; ask with --ask")));
            }
            _ => {}
        }
        if ask && revoked_why.is_none() {
            let login = Entry::Act(Act::Ask { user: user.clone() });
            match self.keeper.record(vec![login]).await?.pop() {
                Some(Recorded::Refused(why)) => return Ok(Err(why)),
                Some(Recorded::NotNow(busy)) => return Ok(Ok(Answer::Busy { busy })),
                _ => {}
            }
        }
        let read = move |device: &mut DiskDevice| {
            let Some(alias) = device.alias(&user)? else {
                return Err(Error::Rejected(format!("{user} has just been forgotten")));
            };
            let asked = device.counts().balances().of(device.id(), alias).is_asked();
            let (balance, waits) = (device.known_balance(alias)?, device.balance_waits(alias));
            let (new, revoked) = (known.is_none(), revoked_why.is_some());
            Ok(Answer::Balance { balance, asked, waits, new, revoked, revoked_why })
        };
        Ok(self.keeper.query(read).await?.map_err(|why| why.to_string()))
    }

    async fn backup(&self, to: PathBuf) -> Result<Result<Answer, String>, Gone> {
        let moment = self.keeper.moment().await?;
        let (dir, enrolment) = (self.dir.clone(), self.enrolment.clone());
        let make = move || {
            let (moment, made_at) = moment?;
            backup::make(&dir, &enrolment, (&moment, made_at), &to)
        };
        Ok(match tokio::task::spawn_blocking(make).await {
            Ok(Ok(made)) => Ok(Answer::Backup(Box::new(made))),
            Ok(Err(why)) if why.is_temporary() => Ok(Answer::Busy { busy: why.to_string() }),
            Ok(Err(why)) => Err(why.to_string()),
            Err(why) => Err(format!("the backup broke off: {why}")),
        })
    }

    async fn report(
        &self,
        read: fn(&Report<'_>, u64) -> Answer,
    ) -> Result<Result<Answer, String>, Gone> {
        let name = self.enrolment.name.clone();
        let read = move |device: &mut DiskDevice| {
            let names = device.names().map_err(|why| why.to_string())?;
            let own = device.id();
            let report = Report {
                counts: device.counts(),
                user_name: &|of, alias| {
                    let known = names.iter().find(|(_, known)| *known == alias && of == own);
                    known.map(|(name, _)| name.clone())
                },
                device_name: &|of| (of == own).then(|| name.clone()),
            };
            let pruned = device.pruned_from_view().map_err(|why| why.to_string())?;
            Ok(read(&report, pruned))
        };
        self.keeper.query(read).await
    }
}

fn totals(report: &Report<'_>, pruned: u64) -> Answer {
    Answer::Totals { rows: report.totals(), incomplete: report.counts.incomplete(), pruned }
}

fn balances(report: &Report<'_>, pruned: u64) -> Answer {
    Answer::Balances { rows: report.balances(), incomplete: report.counts.incomplete(), pruned }
}

/// Opens a socket for the owner alone; the caller holds the directory's lock, so a file that is
/// there was left behind.
///
/// # Errors
/// The system's.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
