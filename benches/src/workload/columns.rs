//! The workload as plain columns: what peers are given, and the floor for sizes.
//!
//! Invariant: little-endian numbers, one column after another, each from its first row to its last: what a
//! compressor makes of that says how much there is to know in these events. No column can be left out
//! without losing something of the event; text is left out, for it follows from the kind.

use super::Happened;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use tallyroll_schema::event::counts::ColorMode;
use tallyroll_schema::{Credits, Event, JobId};

/// The columns.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Columns {
    /// Devices, counted from 0.
    pub device: Vec<u32>,
    /// Users, counted from 0; `u32::MAX` for nobody.
    pub user: Vec<u32>,
    /// Milliseconds since 1970.
    pub at: Vec<u64>,
    /// Jobs and faults.
    pub job: Vec<u64>,
    /// The event's kind.
    pub kind: Vec<u16>,
    /// Pages or impressions; of a fault its class.
    pub pages: Vec<u32>,
    /// Sides of a print, conversion or number of destinations; what there is one of.
    pub detail: Vec<u32>,
    /// Color or not.
    pub color: Vec<u8>,
    /// The spooler's job number.
    pub number: Vec<u32>,
    /// Thousandths of credits.
    pub credits: Vec<i64>,
}

impl Columns {
    /// All of some events.
    pub fn of(events: impl IntoIterator<Item = Happened>) -> Self {
        let mut columns = Self::default();
        events.into_iter().for_each(|happened| columns.push(&happened));
        columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// One more row.
    pub fn push(&mut self, happened: &Happened) {
        let plain = ColorMode::Unknown;
        let number = |job: JobId| u64::from_le_bytes(job.0);
        let (job, pages, detail, color, job_number, credits) = match &happened.event {
            Event::PagesPrinted(e) => {
                let sides = e.sides.map_or(0, |sides| sides as u32 + 1);
                (e.job, e.impressions, sides, e.color, e.job_number.unwrap_or(0), e.charge.credits)
            }
            Event::PagesCaptured(e) => (e.job, e.pages, 0, e.color, 0, e.charge.credits),
            Event::PagesConverted(e) => {
                let conversion = e.conversions.first().map_or(0, |one| *one as u32 + 1);
                (e.job, e.pages, conversion, plain, 0, e.charge.credits)
            }
            Event::DocumentSent(e) => {
                (e.job, e.pages, e.destinations, e.color, 0, e.charge.credits)
            }
            Event::FaultRaised(e) => {
                (e.fault, e.class as u32, e.lost.len() as u32, plain, 0, Credits::ZERO)
            }
            Event::FaultCleared(e) => (e.fault, 0, 0, plain, 0, Credits::ZERO),
            other => unreachable!("no office has {}", other.name()),
        };
        self.device.push(happened.device);
        self.user.push(happened.user.unwrap_or(u32::MAX));
        self.at.push(happened.at.0);
        self.job.push(number(job));
        self.kind.push(happened.event.kind());
        self.pages.push(pages);
        self.detail.push(detail);
        self.color.push(color as u8);
        self.number.push(job_number);
        self.credits.push(credits.thousandths());
    }

    /// Writes each column after the other; the times as gaps, which is how they are drawn.
    ///
    /// # Errors
    /// The system's.
    pub fn dump(&self, to: &mut impl Write) -> io::Result<()> {
        let before = self.at.first().into_iter().chain(&self.at);
        let gaps = self.at.iter().zip(before).map(|(at, before)| at - before);
        to.write_all(&bytes(
            self.at.first().copied().into_iter().chain(gaps).map(u64::to_le_bytes),
        ))?;
        let others = self.named().into_iter().filter(|(name, _)| *name != "at");
        { others }.try_for_each(|(_, bytes)| to.write_all(&bytes))
    }

    /// Each column's name and bytes.
    pub fn named(&self) -> [(&'static str, Vec<u8>); 10] {
        [
            ("device", bytes(self.device.iter().map(|n| n.to_le_bytes()))),
            ("user", bytes(self.user.iter().map(|n| n.to_le_bytes()))),
            ("at", bytes(self.at.iter().map(|n| n.to_le_bytes()))),
            ("job", bytes(self.job.iter().map(|n| n.to_le_bytes()))),
            ("kind", bytes(self.kind.iter().map(|n| n.to_le_bytes()))),
            ("pages", bytes(self.pages.iter().map(|n| n.to_le_bytes()))),
            ("detail", bytes(self.detail.iter().map(|n| n.to_le_bytes()))),
            ("color", bytes(self.color.iter().map(|n| n.to_le_bytes()))),
            ("number", bytes(self.number.iter().map(|n| n.to_le_bytes()))),
            ("credits", bytes(self.credits.iter().map(|n| n.to_le_bytes()))),
        ]
    }

    /// Bytes of `xz -9` of the dump, by the program of that name; none, where there is no such program.
    pub fn floor(&self) -> Option<u64> {
        let mut xz = Command::new("xz");
        xz.args(["-9", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut xz = xz.spawn().ok()?;
        let (mut to, mut from) = (xz.stdin.take()?, xz.stdout.take()?);
        let mut bytes = Vec::new();
        self.dump(&mut bytes).ok()?;
        let feeding = std::thread::spawn(move || to.write_all(&bytes));
        let compressed = io::copy(&mut from, &mut io::sink()).ok()?;
        feeding.join().ok()?.ok()?;
        xz.wait().ok()?.success().then_some(compressed)
    }
}

fn bytes<const N: usize>(column: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    column.flatten().collect()
}
