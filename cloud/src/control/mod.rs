//! The control socket: how commands reach the cloud.
//!
//! Owns the questions ([`Ask`]) and the form of their answers ([`Line`]): JSON
//! Lines over a Unix socket that only the owner may open. Invariant: a question
//! is answered by the same code ([`desk`]) in a running process and in a command
//! that opened the files itself ([`reach`]).

mod accounts;
mod acts;
mod backup;
mod books;
pub mod desk;
mod doctor;
mod failure;
mod fleet;
mod forks;
mod leases;
mod logs;
pub mod people;
mod pin;
mod quarantine;
mod rates;
pub mod reach;
mod views;

pub use failure::Failure;
pub(crate) use fleet::find;
pub use leases::Offline;
pub(crate) use leases::lent;

use crate::data_dir::DataDir;
use crate::places::{ACCEPT_PAUSE, Places, Turn};
use crate::public::Public;
use desk::Desk;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tallyroll_engine::counts::Month;
use tallyroll_schema::event::balances::SyncMode;
use tallyroll_schema::event::counts::{RateCard, SettlementPolicy};
use tallyroll_schema::limits::local::{CLIENT_TIMEOUT, CLIENTS_MAX, CLOUD_QUESTION_BYTES_MAX};
use tallyroll_schema::{CommitPosition, Credits, Position, Receipt, ServerAct, Wall};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Lines made ahead of a client.
const LINES_AHEAD: usize = 64;

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Whether anybody is there.
    Ping,
    /// Invite a device.
    Enroll {
        /// Its name.
        name: String,
        /// Where it reaches this cloud, if not where `serve` says.
        public: Option<Public>,
        /// Whether it is to be a processing server.
        #[serde(default)]
        processing: bool,
    },
    /// The devices, as they are now.
    Devices,
    /// What is frozen, if anything is.
    Doctor {
        /// Whether to go on without what is missing.
        accept_loss: bool,
        /// Whether to wait for devices that the accounts do not know.
        #[serde(default)]
        await_devices: bool,
    },
    /// Which devices were restored or copied.
    Forks,
    /// What is in quarantine.
    Quarantine,
    /// An entry of it, and its events, a line each.
    QuarantineShow {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Take in what is in an entry.
    QuarantineRelease {
        /// Its id, or the beginning of it.
        id: String,
        /// Why.
        reason: String,
    },
    /// Delete what is in an entry.
    QuarantineDiscard {
        /// Its id, or the beginning of it.
        id: String,
        /// Why.
        reason: String,
    },
    /// Let a device drain and leave.
    Retire {
        /// Name or id.
        device: String,
        /// Why.
        reason: String,
    },
    /// Believe nothing more from a device.
    Revoke {
        /// Name or id.
        device: String,
        /// Why.
        reason: String,
    },
    /// Give a user credits.
    Grant {
        /// A name that some device has seen, or that was entered here.
        user: String,
        /// Whether it is a group's.
        #[serde(default)]
        group: bool,
        /// How much; negative takes back.
        credits: Credits,
        /// Why.
        reason: String,
    },
    /// May the processing server do this; if so, it is recorded.
    Act {
        /// What.
        act: ServerAct,
    },
    /// Who there is, and who is one person.
    People(people::PeopleAsk),
    /// What an account is given each month.
    Allot {
        /// Whose.
        whose: people::Whose,
        /// How much, and how; nothing any more, if absent.
        monthly: Option<people::Monthly>,
    },
    /// One account's figures, and where its credits are.
    Balance {
        /// Whose.
        whose: people::Whose,
        /// As of when; now, if absent.
        at: Option<At>,
    },
    /// Publish prices as the next rate card.
    PublishRates {
        /// The prices; its version does not matter.
        card: RateCard,
    },
    /// A rate card.
    Rates {
        /// Which; the newest, if absent.
        version: Option<u32>,
    },
    /// How jobs settle.
    Settlement {
        /// From now on; as it is, if absent.
        policy: Option<SettlementPolicy>,
    },
    /// Where users' credits are: in the pool, or with which device.
    Leases,
    /// Take off the books what a device holds.
    WriteOff {
        /// Name or id.
        device: String,
        /// Whose; everybody's, if absent.
        user: Option<String>,
        /// Why.
        reason: String,
        /// Whether also what the device may still spend.
        in_use: bool,
    },
    /// What devices may do that are cut off.
    Offline {
        /// From now on; as it is, if absent.
        policy: Option<Offline>,
    },
    /// How devices that are busy come by new balances.
    SyncMode {
        /// From now on; as it is, if absent.
        mode: Option<SyncMode>,
    },
    /// Figures.
    View {
        /// Which.
        figures: Figures,
        /// As of when; now, if absent.
        at: Option<At>,
        /// Of totals: what is booked in a month.
        #[serde(default)]
        month: Option<Month>,
    },
    /// What moved a balance.
    Statement {
        /// Whose.
        whose: people::Whose,
        /// Of which time.
        period: Period,
    },
    /// Give back credits of a charge.
    Correct {
        /// The charge's event.
        corrects: Position,
        /// How much; negative takes more.
        credits: Credits,
        /// Why.
        reason: String,
        /// By whom.
        by: String,
        /// Whether more may be given back than was charged.
        beyond: bool,
        /// Whether the same may be done once more.
        again: bool,
    },
    /// Devices' own meters against what was counted.
    Reconcile {
        /// Of one month; of all, if absent.
        month: Option<Month>,
        /// Of one device, by name or id; of all, if absent.
        device: Option<String>,
    },
    /// Fix a month's figures.
    Close {
        /// Which.
        month: Month,
        /// And those before it that are open.
        #[serde(default)]
        earlier: bool,
    },
    /// The logs held.
    Logs,
    /// Make a backup.
    Backup {
        /// Where: an absolute path, for who serves may stand elsewhere than who asks.
        to: PathBuf,
    },
    /// Write the cloud's identity to a file.
    BackupIdentity {
        /// Where: an absolute path.
        to: PathBuf,
    },
    /// Events, a line each.
    Show {
        /// An id, a unique prefix of one, or a device's name; all, if absent.
        log: Option<String>,
        /// The first seq of each epoch.
        from: u64,
        /// How many at most.
        limit: Option<u64>,
    },
    /// Recompute chains and signatures, a line for each epoch.
    Verify {
        /// As for [`Ask::Show`].
        log: Option<String>,
        /// Old receipts that the logs must bear out.
        receipts: Vec<Receipt>,
    },
}

/// Which figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figures {
    /// A row per user.
    Balances,
    /// A row per month, device and user.
    Totals,
    /// A row per device.
    Devices,
}

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// What arrived in a month.
    Month(Month),
    /// What arrived after one moment and up to another: from the beginning, until now, if absent.
    Between {
        /// After this.
        from: Option<At>,
        /// Up to and with this.
        to: Option<At>,
    },
}

/// A moment that figures may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// A commit.
    Position(CommitPosition),
    /// The last commit by then, by the cloud's clock.
    Time(Wall),
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A part of it.
    Item(Value),
    /// There is no more.
    End,
    /// It could not be answered, or no further.
    Failed(Failure),
}

/// Opens the socket; the caller holds the directory's lock, so a file that is
/// there was left behind.
///
/// # Errors
/// The system's.
pub fn listen(dir: &DataDir) -> io::Result<UnixListener> {
    let path = dir.socket();
    match std::fs::remove_file(&path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers clients until it is aborted.
pub async fn serve(listener: UnixListener, desk: Desk) {
    let mut places = Places::new(CLIENTS_MAX);
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let desk = desk.clone();
        places
            .seat(|turn| async move {
                if let Err(why) = serve_client(client, desk, turn).await {
                    tracing::debug!(%why, "control client");
                }
            })
            .await;
    }
}

/// What a command of another version is told.
const NO_QUESTION: &str = "no question this cloud knows";

/// Answers one question.
async fn serve_client(mut client: UnixStream, desk: Desk, turn: Turn) -> io::Result<()> {
    let mut asked = Vec::new();
    let most = CLOUD_QUESTION_BYTES_MAX as u64;
    BufReader::new(&mut client).take(most).read_until(b'\n', &mut asked).await?;
    if asked.is_empty() || !turn.take() {
        return Ok(());
    }
    let mut answer = match serde_json::from_slice(&asked) {
        Ok(ask) => answer(desk, ask),
        Err(why) => {
            let text = format!("{NO_QUESTION}: {why}");
            return write_line(&mut client, &Line::Failed(Failure::lasting(text))).await;
        }
    };
    while let Some(line) = answer.recv().await {
        write_line(&mut client, &line).await?;
    }
    Ok(())
}

async fn write_line(writer: &mut UnixStream, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    tokio::time::timeout(CLIENT_TIMEOUT, writer.write_all(&text)).await?
}

/// Answers a question, line by line; the last is [`Line::End`] or [`Line::Failed`].
fn answer(desk: Desk, ask: Ask) -> mpsc::Receiver<Line> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    tokio::spawn(async move {
        let items = desk::Items::new(sender.clone());
        let last = match desk.answer(ask, &items).await {
            Ok(()) => Line::End,
            Err(failure) => Line::Failed(failure),
        };
        drop(sender.send(last).await); // the client may be gone
    });
    lines
}
