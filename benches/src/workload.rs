//! The workload of every measurement: an office, drawn from a seed.
//!
//! Owns who does what, how much and when: jobs of prints, scans that are converted and sent, and faults, over
//! devices and users. Events are the real ones: acts priced by the built-in card. Invariant: the same office
//! gives the same events, to the byte, in one order of time over all its devices. What peers get of them is
//! [`columns`]'s; chances are [`draw`]'s.

pub mod columns;
mod draw;

pub use draw::Draw;

use crate::workload::draw::Zipf;
use std::collections::BTreeMap;
use tallyroll_engine::counts::{Terms, decide};
use tallyroll_schema::event::alerts::{FaultClass, FaultCleared, FaultRaised, Function};
use tallyroll_schema::event::counts::{ColorMode, Conversion, CountSource, Sides};
use tallyroll_schema::{Act, Event, JobId, UserAlias, Wall};

/// Where amounts, sides and their shares are from.
const PAGE_LOG: &str = include_str!("../../tests/fixtures/page_log/page_log");
/// The first event is after this: the day of that page_log.
const BEGINS: u64 = 1_795_219_000_000;
/// What begins when a device has nothing under way, per thousand; the rest are faults.
const PRINTS: u64 = 780;
const SCANS: u64 = 190;
/// Between two events of one device, milliseconds, on average.
const GAP_MILLIS: u64 = 8_000;

/// An office.
#[derive(Debug, Clone, Copy)]
pub struct Office {
    /// How many devices it has.
    pub devices: u32,
    /// How many users.
    pub users: u32,
    /// What everything is drawn from.
    pub seed: u64,
}

/// Something that happened at a device; all of it goes into its ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// At which one, counted from 0.
    pub device: u32,
    /// By whom, counted from 0 from the busiest on; a fault is nobody's.
    pub user: Option<u32>,
    /// When, by the device's clock.
    pub at: Wall,
    /// What.
    pub event: Event,
}

/// A scan or a fault that goes on.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    job: JobId,
    user: u32,
    pages: u32,
    color: ColorMode,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Convert,
    Send,
    Clear,
}

/// An office's events, without end.
#[derive(Debug)]
pub struct Happenings {
    office: Office,
    draw: Draw,
    users: Zipf,
    amounts: Vec<(u32, Option<Sides>)>,
    terms: Terms,
    at: Wall,
    under_way: BTreeMap<u32, UnderWay>,
    /// The spooler's next job number at each device.
    job_numbers: BTreeMap<u32, u32>,
}

impl Office {
    /// One device and its users.
    pub fn of_one_device(seed: u64) -> Self {
        Self { devices: 1, users: 200, seed }
    }

    /// What happens, from the first day on.
    pub fn happenings(self) -> Happenings {
        Happenings {
            draw: Draw::new(self.seed),
            users: Zipf::new(self.users),
            amounts: amounts(),
            terms: Terms::default(),
            at: Wall(BEGINS),
            under_way: BTreeMap::new(),
            job_numbers: BTreeMap::new(),
            office: self,
        }
    }
}

impl Iterator for Happenings {
    type Item = Happened;

    fn next(&mut self) -> Option<Happened> {
        let gap = self.draw.exponential(GAP_MILLIS as f64 / f64::from(self.office.devices.max(1)));
        self.at = self.at.plus_milliseconds(gap);
        let device = self.draw.below(u64::from(self.office.devices)) as u32;
        let (user, event) = match self.under_way.remove(&device) {
            Some(job) => self.go_on(device, job),
            None => self.begin(device),
        };
        Some(Happened { device, user, at: self.at, event })
    }
}

impl Happenings {
    fn begin(&mut self, device: u32) -> (Option<u32>, Event) {
        let job = JobId(self.draw.next().to_le_bytes());
        let user = self.users.draw(&mut self.draw);
        let kind = self.draw.below(1000);
        let color =
            if self.draw.below(100) < 30 { ColorMode::Color } else { ColorMode::Monochrome };
        let amount = self.draw.below(self.amounts.len() as u64) as usize;
        let (pages, sides) = self.amounts.get(amount).copied().unwrap_or((1, None));
        let mut under_way = UnderWay { job, user, pages, color, step: Step::Send };
        if kind < PRINTS {
            let act = Act::Print {
                job: Some(job),
                user: String::new(),
                impressions: pages,
                sheets: None,
                color,
                sides,
                media: None,
                source: CountSource::Device,
                job_number: Some(self.job_number(device)),
                acted_at: None,
                spool_job: None,
                running_total: None,
                page: None,
            };
            return (Some(user), self.priced(act, device, under_way));
        }
        if kind < PRINTS + SCANS {
            if self.draw.below(2) == 0 {
                under_way.step = Step::Convert;
            }
            self.under_way.insert(device, under_way);
            let (job, user_name) = (Some(job), String::new());
            let act = Act::Capture { job, user: user_name, pages, color, media: None, page: None };
            return (Some(user), self.priced(act, device, under_way));
        }
        under_way.step = Step::Clear;
        self.under_way.insert(device, under_way);
        (None, self.fault(job))
    }

    fn go_on(&mut self, device: u32, job: UnderWay) -> (Option<u32>, Event) {
        let UnderWay { user, pages, color, step, .. } = job;
        let (revision, from_revision, which_pages, media) = (None, None, None, None);
        let (id, nobody) = (job.job, String::new());
        let act = match step {
            Step::Clear => return (None, FaultCleared { fault: id }.into()),
            Step::Convert => {
                self.under_way.insert(device, UnderWay { step: Step::Send, ..job });
                let conversions = vec![match self.draw.below(3) {
                    0 => Conversion::Resize,
                    1 => Conversion::ColorToMonochrome,
                    _ => Conversion::Resolution,
                }];
                Act::Convert {
                    job: id,
                    user: nobody,
                    pages,
                    conversions,
                    media,
                    revision,
                    from_revision,
                    which_pages,
                }
            }
            Step::Send => {
                let destinations = 1 + u32::from(self.draw.below(10) == 0);
                Act::Send {
                    job: id,
                    user: nobody,
                    pages,
                    destinations,
                    color,
                    media,
                    revision,
                    which_pages,
                }
            }
        };
        (Some(user), self.priced(act, device, job))
    }

    fn priced(&self, act: Act, device: u32, of: UnderWay) -> Event {
        let alias = alias(self.office.seed, device, of.user);
        decide(&self.terms, act, of.job, Some(alias))
            .unwrap_or_else(|why| unreachable!("what is drawn counts something: {why}"))
    }

    fn fault(&mut self, fault: JobId) -> Event {
        let (code, class, lost, text) = match self.draw.below(4) {
            0 => ("media-jam-error", FaultClass::Partial, vec![Function::Print], "Paper is jammed"),
            1 => ("media-empty-error", FaultClass::Partial, vec![Function::Print], "Tray is empty"),
            2 => ("toner-low-warning", FaultClass::Sign, vec![], "Toner is low"),
            _ => ("input-cannot-feed", FaultClass::Partial, vec![Function::Scan], "Feeder is open"),
        };
        let (code, text) = (code.to_owned(), text.to_owned());
        FaultRaised { fault, code, class, lost, text }.into()
    }

    fn job_number(&mut self, device: u32) -> u32 {
        let next = self.job_numbers.entry(device).or_insert(0);
        *next += 1;
        *next
    }
}

/// A user's alias at a device: random to who looks at it, and the same each time.
fn alias(seed: u64, device: u32, user: u32) -> UserAlias {
    let mut draw = Draw::new(seed ^ u64::from(device) << 32 ^ u64::from(user) ^ 0xA11A5);
    let mut alias = [0; UserAlias::LEN];
    for (to, from) in alias.chunks_mut(8).zip([draw.next(), draw.next()]) {
        to.copy_from_slice(from.to_le_bytes().get(..to.len()).unwrap_or_default());
    }
    UserAlias(alias)
}

/// Impressions and sides of each line of the page_log.
fn amounts() -> Vec<(u32, Option<Sides>)> {
    let line = |line: &str| {
        let (_, total) = line.split_once("] total ")?;
        let impressions = total.split(' ').next()?.parse().ok()?;
        let sides = match line.rsplit(' ').next()? {
            "two-sided-long-edge" => Some(Sides::TwoSidedLongEdge),
            "two-sided-short-edge" => Some(Sides::TwoSidedShortEdge),
            _ => None,
        };
        Some((impressions, sides))
    };
    PAGE_LOG.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests;
