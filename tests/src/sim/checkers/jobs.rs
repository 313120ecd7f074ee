//! What jobs come to: mission 1's settlement, page by page, for the checker `conserves`.
//!
//! Invariant: apart from the engine's rules: pages are counted one by one, by the acts that were
//! asked for and the simulator's own prices. Of an act's event only what a client left open is
//! read: the policy, the revisions, and which of an act's askings it is.

use super::{CloudRecords, counted};
use crate::sim::acts::{CAPTURED, CONVERTED, send_price};
use crate::sim::truth::{Deed, Figures};
use crate::sim::world::World;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_engine::counts::UsageKey;
use tallyroll_schema::event::counts::{Conversion, PageRange, SettlementPolicy};
use tallyroll_schema::{Act, DeviceId, Event, JobId, Record, UserAlias};

/// Whose row, and whether what stands there was recorded again.
type Payer = (bool, UserAlias, u32);

/// What rows must show of jobs.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) figures: BTreeMap<UsageKey, Figures>,
    pub(super) unbacked: BTreeMap<UsageKey, i128>,
    pub(super) held: BTreeMap<UsageKey, i128>,
}

impl Due {
    fn charge(&mut self, device: DeviceId, (again, user, month): Payer, amount: i128) {
        let key = UsageKey { device, user, month };
        self.figures.entry(key).or_default().charged += amount;
        *self.unbacked.entry(key).or_default() += if again { amount } else { 0 };
    }
}

/// One conversion of one page, as it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Converted {
    kind: Conversion,
    page: u32,
    payer: Payer,
    makes: u32,
}

/// What is due for the jobs whose events are in the cloud's logs; why not, if they cannot be.
pub(super) fn due(world: &World, held: &CloudRecords) -> Result<Due, String> {
    let stored = stored(world, held);
    let mut due = Due::default();
    for ((device, job), deeds) in &world.truth.jobs {
        let mut asked: Vec<&Deed> = deeds.iter().collect();
        let mut done = Vec::new();
        for (bytes, again) in stored.get(job).into_iter().flatten() {
            let is = |deed: &&Deed| deed.is(bytes);
            let Some(at) = asked.iter().position(is) else {
                return Err(format!(
                    "job {job} of device {device} has an event that nobody asked for, or twice"
                ));
            };
            done.push((asked.swap_remove(at), *again));
        }
        settle(&mut due, *device, &done);
    }
    Ok(due)
}

fn settle(due: &mut Due, device: DeviceId, done: &[(&Deed, bool)]) {
    let (mut provisional, mut converted) = (Vec::new(), Vec::new());
    let mut delivered: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut lineage: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut closed = false;
    for (deed, again) in done {
        let payer = (*again, deed.user, super::conserves::month(deed.wall));
        let row = UsageKey { device, user: deed.user, month: payer.2 };
        match (&deed.act, &deed.event) {
            (Act::Capture { pages, .. }, Event::PagesCaptured(event)) => {
                due.figures.entry(row).or_default().captured += u64::from(*pages);
                let amount = CAPTURED * i128::from(*pages);
                match event.policy {
                    Some(SettlementPolicy::ServerSettles) => provisional.push((row, amount)),
                    _ => due.charge(device, payer, amount),
                }
            }
            (
                Act::Convert { pages, conversions, which_pages, .. },
                Event::PagesConverted(event),
            ) => {
                let count = *pages as usize * conversions.len();
                due.figures.entry(row).or_default().converted += count as u64;
                if event.policy.is_none() {
                    due.charge(device, payer, CONVERTED * count as i128);
                    continue;
                }
                let makes = event.revision.unwrap_or(0);
                lineage.insert((makes, event.from_revision.unwrap_or(0)));
                for page in pages_of(which_pages, *pages) {
                    let one = |kind: &Conversion| Converted { kind: *kind, page, payer, makes };
                    converted.extend(conversions.iter().map(one));
                }
            }
            (
                Act::Send { pages, destinations, color, which_pages, .. },
                Event::DocumentSent(event),
            ) => {
                let count = u64::from(*pages) * u64::from(*destinations);
                due.figures.entry(row).or_default().sent += count;
                due.charge(device, payer, send_price(*color) * i128::from(count));
                deliver(&mut delivered, event.policy, event.revision, which_pages, *pages);
            }
            (Act::Save { pages, which_pages, .. }, Event::DocumentSaved(event)) => {
                due.figures.entry(row).or_default().saved += u64::from(*pages);
                deliver(&mut delivered, event.policy, event.revision, which_pages, *pages);
            }
            (Act::Discard { .. } | Act::End { .. }, _) => closed = true,
            _ => {}
        }
    }
    let decided = !delivered.is_empty();
    for (row, amount) in provisional.into_iter().filter(|_| !decided && !closed) {
        *due.held.entry(row).or_default() += amount;
    }
    go_back(&mut delivered, &lineage);
    let mut charged: BTreeMap<(Conversion, u32), Payer> = BTreeMap::new();
    for one in converted.iter().filter(|one| delivered.contains(&(one.makes, one.page))) {
        let payer = charged.entry((one.kind, one.page)).or_insert(one.payer);
        *payer = one.payer.min(*payer);
    }
    for payer in charged.into_values() {
        due.charge(device, payer, CONVERTED);
    }
}

/// What was sent or saved; nothing in a job that does not settle.
fn deliver(
    delivered: &mut BTreeSet<(u32, u32)>,
    policy: Option<SettlementPolicy>,
    revision: Option<u32>,
    which: &Option<Vec<PageRange>>,
    pages: u32,
) {
    if let (Some(_), Some(revision)) = (policy, revision) {
        delivered.extend(pages_of(which, pages).map(|page| (revision, page)));
    }
}

/// A delivered page was delivered of every revision that it was made of.
fn go_back(delivered: &mut BTreeSet<(u32, u32)>, lineage: &BTreeSet<(u32, u32)>) {
    loop {
        let before = delivered.len();
        for (makes, from) in lineage {
            let pages: Vec<_> =
                delivered.iter().filter(|(revision, _)| revision == makes).collect();
            let back: Vec<_> = pages.into_iter().map(|(_, page)| (*from, *page)).collect();
            delivered.extend(back);
        }
        if delivered.len() == before {
            return;
        }
    }
}

fn pages_of(which: &Option<Vec<PageRange>>, pages: u32) -> impl Iterator<Item = u32> {
    let first = vec![PageRange { first: 1, last: pages }];
    let ranges = which.clone().unwrap_or(first);
    ranges.into_iter().flat_map(|range| range.first..=range.last)
}

/// The events of jobs that began or should have, and which were recorded again.
fn stored(world: &World, held: &CloudRecords) -> BTreeMap<JobId, Vec<(Vec<u8>, bool)>> {
    let known: BTreeSet<JobId> = world.truth.jobs.keys().map(|(_, job)| *job).collect();
    let mut stored: BTreeMap<JobId, Vec<(Vec<u8>, bool)>> = BTreeMap::new();
    for (_, bytes, again) in counted(held) {
        let event = Record::split(&bytes).and_then(|(record, _)| record.event());
        let job = match event {
            Ok(Event::JobBegun(event)) => event.job,
            Ok(Event::PagesCaptured(event)) => event.job,
            Ok(Event::PagesConverted(event)) => event.job,
            Ok(Event::DocumentSent(event)) => event.job,
            Ok(Event::DocumentSaved(event)) => event.job,
            Ok(Event::DocumentDiscarded(event)) => event.job,
            Ok(Event::JobEnded(event)) => event.job,
            _ => continue,
        };
        if known.contains(&job) {
            stored.entry(job).or_default().push((bytes, again));
        }
    }
    stored
}
