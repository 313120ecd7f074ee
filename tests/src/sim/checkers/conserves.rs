//! Conserves: no event lost, none counted twice; the views equal a count of the inputs.
//!
//! Invariant: what is expected comes from what users, importers and administrators did, priced by
//! the simulator, with months reckoned here; nothing of the engine's folds or calendar is used. An
//! input whose recording an accident cut short may count once or not at all, as its job is stored. A
//! page-log line that copies of a device read, neither knowing of the other, in epochs of their own, counts for each.

use super::accounts::Accounts;
use super::jobs::Due;
use super::{CloudRecords, Violation, counted, recorded_again};
use crate::sim::truth::{Ask, Fate, Figures, Input};
use crate::sim::world::{Step, World};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_engine::counts::{Usage, UsageKey};
use tallyroll_schema::event::counts::{CountSource, PagesPrinted};
use tallyroll_schema::{Event, JobId, Position, Record, SubjectId, UserAlias, Wall};

/// Returns how many rows the books have that adjust closed months.
pub(super) fn at_the_end(world: &World, held: &CloudRecords) -> Result<usize, Violation> {
    let Some(cloud) = &world.cloud.process else { return Ok(0) };
    let stored = stored(held);
    let lines = world.devices.iter().flat_map(|machine| &machine.page_log);
    let lines: Vec<JobId> = lines.map(|line| line.key).collect();
    for (job, input) in &world.truth.inputs {
        let certain =
            (input.fate == Fate::Certain || lines.contains(job)) && !world.stays_out(input.device);
        match stored.times(job) {
            1 => {}
            0 if !certain => {}
            _ if world.truth.copied.contains_key(&input.device)
                && stored.by_copies(job, || {
                    // It lies in quarantine, or was lost with the cloud's tail, and a copy has it.
                    let untold = world.truth.poisoned.contains(&input.device);
                    (untold || world.truth.tails_lost > 0) && stored.are_apart(held, job)
                }) => {}
            times => {
                let what = format!("job {job} of device {} is stored {times} times", input.device);
                return Err(world.violation("conserves", what));
            }
        }
    }
    only_what_is_missing_is_recorded_again(world, held)?;
    let jobs = super::jobs::due(world, held).map_err(|why| world.violation("conserves", why))?;
    let Due { figures: mut expected, mut unbacked, held: on_hold } = jobs;
    for (job, input) in world.truth.inputs.iter().filter(|(job, _)| stored.jobs.contains_key(job)) {
        for entry in stored.jobs.get(job).into_iter().flatten() {
            let Some(ask) = entry.asked_as(input) else {
                let what = format!("job {job} is stored as nobody asked for it");
                return Err(world.violation("conserves", what));
            };
            let key = UsageKey { device: input.device, user: ask.user, month: month(ask.at) };
            add(expected.entry(key).or_default(), &ask.figures);
            if entry.again {
                *unbacked.entry(key).or_default() += ask.figures.charged;
            }
        }
    }
    let shown: BTreeMap<UsageKey, Figures> =
        cloud.counts().usage().iter().map(|(key, usage)| (*key, figures(usage))).collect();
    if expected != shown {
        let wrong = expected.iter().find(|(key, figures)| shown.get(key) != Some(figures));
        let what = match wrong {
            Some((key, figures)) => {
                format!("{key:?}: {figures:?} done, {:?} shown", shown.get(key))
            }
            None => "figures are shown that nobody worked for".into(),
        };
        return Err(world.violation("conserves", what));
    }
    for (key, usage) in cloud.counts().usage() {
        let again = unbacked.get(key).copied().unwrap_or(0);
        let on_hold = on_hold.get(key).copied().unwrap_or(0);
        if usage.held != on_hold {
            let what = format!("{key:?}: {on_hold} held for jobs, {} shown", usage.held);
            return Err(world.violation("conserves", what));
        }
        if usage.unbacked != again {
            let what =
                format!("{key:?}: {again} recorded again, {} shown as unbacked", usage.unbacked);
            return Err(world.violation("conserves", what));
        }
    }
    grants(world, &stored, &Accounts::read(held))?;
    corrections(world, &stored)?;
    if !cloud.counts().links().eq(world.truth.links.iter().map(|(alias, to)| (*alias, *to))) {
        return Err(world.violation("conserves", "the links are not those decided".into()));
    }
    super::books::at_the_end(world, &expected)
}

/// What stands where it stood is not recorded again, unless the cloud had forgotten why it could not stand there.
fn only_what_is_missing_is_recorded_again(world: &World, held: &CloudRecords) -> Step {
    let again = recorded_again(held);
    let stands = |(position, all): &(&Position, &BTreeSet<Vec<u8>>)| {
        held.get(position).is_some_and(|bytes| all.contains(bytes))
    };
    match again.iter().find(stands) {
        Some((position, _)) if world.truth.tails_lost == 0 => {
            let what = format!("{position} was recorded again, and is there");
            Err(world.violation("conserves", what))
        }
        _ => Ok(()),
    }
}

/// What was corrected is a sum beside all this.
fn corrections(world: &World, stored: &Stored) -> Step {
    let mut expected: BTreeMap<SubjectId, i128> = BTreeMap::new();
    for (reason, asked) in &world.truth.corrections {
        match stored.corrections.get(reason).map_or(&[][..], Vec::as_slice) {
            [subject] => *expected.entry(*subject).or_default() += i128::from(asked.thousandths),
            [] if asked.fate == Fate::Open => {}
            times => {
                let what = format!("{reason} is stored {} times", times.len());
                return Err(world.violation("conserves", what));
            }
        }
    }
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    if cloud.counts().books().corrections().eq(expected) {
        return Ok(());
    }
    Err(world.violation("conserves", "what was corrected is not what was given back".into()))
}

fn grants(world: &World, stored: &Stored, accounts: &Accounts) -> Step {
    let mut expected = accounts.moved.clone();
    for (reason, grant) in &world.truth.grants {
        match stored.grants.get(reason).copied().unwrap_or(0) {
            1 => *expected.entry(grant.subject).or_default() += i128::from(grant.thousandths),
            0 if grant.fate == Fate::Open => {}
            times => {
                return Err(
                    world.violation("conserves", format!("{reason} is stored {times} times"))
                );
            }
        }
    }
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let some = |(_, sum): &(&SubjectId, &i128)| **sum != 0; // a gift may be of nothing
    if cloud.counts().granted().iter().filter(some).eq(expected.iter().filter(some)) {
        return Ok(());
    }
    Err(world.violation("conserves", "what was granted is not what was given".into()))
}

/// How often each job and each grant is in the cloud's logs; what was recorded again, once.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) jobs: BTreeMap<JobId, Vec<Entry>>,
    grants: BTreeMap<String, u64>,
    /// By reason, for whom.
    corrections: BTreeMap<String, Vec<SubjectId>>,
}

/// A job's event.
#[derive(Debug)]
pub(super) struct Entry {
    place: Position,
    user: UserAlias,
    impressions: Option<u32>,
    page_log: bool,
    /// Recorded again after a copy was found.
    again: bool,
}

impl Entry {
    /// The asking that was recorded.
    fn asked_as(&self, input: &Input) -> Option<Ask> {
        let printed =
            |ask: &Ask| self.impressions.is_none_or(|n| u64::from(n) == ask.figures.impressions);
        input.asks.iter().find(|ask| ask.user == self.user && printed(ask)).copied()
    }
}

impl Stored {
    fn times(&self, job: &JobId) -> usize {
        self.entries(job).len()
    }

    /// Whether it is a page-log line that stands in different epochs, of which one recorded it again, or the cloud
    /// could tell nobody of one: copies read it that could not hear of each other.
    fn by_copies(&self, job: &JobId, untold: impl FnOnce() -> bool) -> bool {
        let entries = self.entries(job);
        let epochs: BTreeSet<_> = entries.iter().map(|entry| entry.place.epoch).collect();
        epochs.len() == entries.len()
            && entries.iter().all(|entry| entry.page_log)
            && (entries.iter().any(|entry| entry.again) || untold())
    }

    /// Whether none of the epochs in which it stands goes on from another of them.
    fn are_apart(&self, held: &CloudRecords, job: &JobId) -> bool {
        let entries = self.entries(job);
        let mut pairs = entries.iter().flat_map(|one| entries.iter().map(move |two| (one, two)));
        !pairs.any(|(one, two)| follows(held, one.place, two.place))
    }

    fn entries(&self, job: &JobId) -> &[Entry] {
        self.jobs.get(job).map_or(&[][..], Vec::as_slice)
    }
}

/// Whether a place's epoch goes on, over any number of others, from another place in its log.
fn follows(held: &CloudRecords, place: Position, earlier: Position) -> bool {
    let mut at = place;
    while let Some(bytes) = held.get(&Position { seq: 0, ..at }) {
        let first = Record::split(bytes).and_then(|(record, _)| record.event());
        let Ok(Event::EpochOpened(opened)) = first else { return false };
        at = Position { epoch: opened.parent, seq: opened.parent_seq, ..at };
        if (at.log, at.epoch) == (earlier.log, earlier.epoch) {
            return earlier.seq <= at.seq;
        }
    }
    false
}

pub(super) fn stored(held: &CloudRecords) -> Stored {
    let mut stored = Stored::default();
    for (place, bytes, again) in counted(held) {
        let event = Record::split(&bytes).and_then(|(record, _)| record.event());
        let page_log = matches!(
            &event,
            Ok(Event::PagesPrinted(PagesPrinted { source: CountSource::PageLog, .. }))
        );
        let (job, user, impressions) = match event {
            Ok(Event::PagesPrinted(event)) => (event.job, event.user, Some(event.impressions)),
            Ok(Event::PagesCaptured(event)) => (event.job, event.user, None),
            Ok(Event::PagesConverted(event)) => (event.job, event.user, None),
            Ok(Event::DocumentSent(event)) => (event.job, event.user, None),
            Ok(Event::DocumentSaved(event)) => (event.job, event.user, None),
            Ok(Event::CreditsGranted(event)) => {
                *stored.grants.entry(event.reason).or_default() += 1;
                continue;
            }
            Ok(Event::ChargeCorrected(event)) => {
                stored.corrections.entry(event.reason).or_default().push(event.subject);
                continue;
            }
            _ => continue,
        };
        let entry = Entry { place, user, impressions, page_log, again };
        stored.jobs.entry(job).or_default().push(entry);
    }
    stored
}

/// Year × 12 + month − 1, from days since 1970 (Hinnant, `civil_from_days`).
pub(crate) fn month(at: Wall) -> u32 {
    let days = (at.0 / 86_400_000) as u32 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (month, next_year) = if shifted < 10 { (shifted + 2, 0) } else { (shifted - 10, 1) };
    (era * 400 + year_of_era + next_year) * 12 + month
}

fn figures(usage: &Usage) -> Figures {
    Figures {
        impressions: usage.impressions,
        sheets: usage.sheets,
        captured: usage.captured,
        converted: usage.converted,
        sent: usage.sent,
        saved: usage.saved,
        charged: usage.charged,
    }
}

pub(super) fn add(sum: &mut Figures, more: &Figures) {
    sum.impressions += more.impressions;
    sum.sheets += more.sheets;
    sum.captured += more.captured;
    sum.converted += more.converted;
    sum.sent += more.sent;
    sum.saved += more.saved;
    sum.charged += more.charged;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        let day = 86_400_000;
        assert_eq!(month(Wall(0)), 1970 * 12);
        assert_eq!(month(Wall(31 * day - 1)), 1970 * 12);
        assert_eq!(month(Wall(31 * day)), 1970 * 12 + 1);
        assert_eq!(month(Wall(11_016 * day)), 2000 * 12 + 1, "29 February 2000");
        assert_eq!(month(Wall(11_017 * day)), 2000 * 12 + 2);
        assert_eq!(month(Wall(1_795_219_000_000)), 2026 * 12 + 10);
    }
}
