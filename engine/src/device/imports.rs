//! Which page-log lines and numbered pages are counted, and how far each spooler's job is.
//!
//! Invariant: a function of the ledger's records, kept beside them so that a line
//! can be looked up. What is here is not in the store's rows yet, or, of a whole
//! history, instead of them. Of pruned records the rows keep what that function needs.

use super::divergence::each_record;
use crate::Result;
use crate::counts::SpoolJob;
use crate::store::rows::{BatchRow, ImportRow, PrunedLine, SpoolJobRow};
use crate::store::{Row, Rows, Store};
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use tallyroll_schema::event::counts::{CountSource, PagesCaptured, PagesPrinted};
use tallyroll_schema::{EpochId, Event, JobId, LogId, Record};

#[derive(Debug, Default)]
pub(super) struct Imports {
    lines: BTreeMap<JobId, ImportRow>,
    jobs: BTreeMap<JobId, SpoolJob>,
    /// Whether the store's rows are to be replaced, not added to.
    whole: bool,
}

impl Imports {
    /// What a ledger's stored history counts.
    pub(super) fn of_history<S: Store>(rows: &Rows<'_, S>, ledger: LogId) -> Result<Self> {
        let mut imports = Self { whole: true, ..Self::default() };
        let mut pruned = pruned_lines(rows)?;
        rows.scan::<BatchRow>(ledger.as_bytes(), ledger.as_bytes(), &mut |_, row| {
            let header = row.batch.header();
            let after = pruned.split_off(&(header.epoch, header.first_seq));
            imports.take_in_pruned(core::mem::replace(&mut pruned, after));
            let epoch = header.epoch;
            each_record(row, &mut |seq, record| {
                imports.take_in(rows, (epoch, seq), record).map(drop)
            })
        })?;
        imports.take_in_pruned(pruned);
        Ok(imports)
    }

    /// Takes in an event of the ledger. Returns whether it is new here: a line that is counted already
    /// is not. A page is: two copies that both say it have both moved paper.
    pub(super) fn take_in<S: Store>(
        &mut self,
        rows: &Rows<'_, S>,
        (epoch, seq): (EpochId, u64),
        record: &Record<'_>,
    ) -> Result<bool> {
        let Some(counted) = counted(record) else { return Ok(true) };
        let known = self.line(rows, counted.key)?;
        let first = ImportRow { seq, pruned: None, epoch: Some(epoch) };
        self.lines.insert(counted.key, known.unwrap_or(first));
        if let (Some(job), None) = (counted.spool_job, known) {
            let so_far = self.job(rows, job)?;
            self.jobs.insert(job, so_far.after(counted.impressions, counted.running_total));
        }
        Ok(known.is_none() || counted.is_page)
    }

    /// Takes in what is kept of lines whose events were pruned, in their order.
    fn take_in_pruned(&mut self, lines: PrunedLines) {
        for (key, pruned) in lines.into_values() {
            let (seq, epoch) = (pruned.seq, Some(pruned.epoch));
            let new = self.lines.insert(key, ImportRow { seq, pruned: Some(pruned), epoch });
            if let (Some(job), None) = (pruned.spool_job, new) {
                let so_far = self.jobs.get(&job).copied().unwrap_or_default();
                self.jobs.insert(job, so_far.after(pruned.impressions, pruned.running_total));
            }
        }
    }

    /// What is kept of a line or a page that is counted.
    pub(super) fn line<S: Store>(
        &self,
        rows: &Rows<'_, S>,
        line: JobId,
    ) -> Result<Option<ImportRow>> {
        match self.lines.get(&line) {
            Some(row) => Ok(Some(*row)),
            None if self.whole => Ok(None),
            None => rows.get(&line),
        }
    }

    /// How far a spooler's job is counted.
    pub(super) fn job<S: Store>(&self, rows: &Rows<'_, S>, job: JobId) -> Result<SpoolJob> {
        match self.jobs.get(&job) {
            Some(so_far) => Ok(*so_far),
            None if self.whole => Ok(SpoolJob::default()),
            None => Ok(rows.get::<SpoolJobRow>(&job)?.map_or(SpoolJob::default(), |row| row.0)),
        }
    }

    /// Writes the rows.
    pub(super) fn put<S: Store>(&self, rows: &mut Rows<'_, S>) -> Result<()> {
        if self.whole {
            delete_all::<ImportRow, S>(rows)?;
            delete_all::<SpoolJobRow, S>(rows)?;
        }
        for (line, row) in &self.lines {
            rows.put(line, row);
        }
        for (job, so_far) in &self.jobs {
            rows.put(job, &SpoolJobRow(*so_far));
        }
        Ok(())
    }
}

/// By the place where they stood.
type PrunedLines = BTreeMap<(EpochId, u64), (JobId, PrunedLine)>;

fn pruned_lines<S: Store>(rows: &Rows<'_, S>) -> Result<PrunedLines> {
    let mut lines = PrunedLines::new();
    rows.scan::<ImportRow>(&[], &[], &mut |key, row| {
        let key = key.try_into().ok().map(JobId);
        lines.extend(key.zip(row.pruned).map(|(key, line)| ((line.epoch, line.seq), (key, line))));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(lines)
}

/// Keeps beside a counted line what its event said, which is about to be pruned.
pub(super) fn keep_line<S: Store>(
    rows: &mut Rows<'_, S>,
    epoch: EpochId,
    seq: u64,
    record: &Record<'_>,
) -> Result<()> {
    let Some(counted) = counted(record) else { return Ok(()) };
    let new = ImportRow { seq, pruned: None, epoch: Some(epoch) };
    let row = rows.get::<ImportRow>(&counted.key)?.unwrap_or(new);
    let Counted { key, spool_job, impressions, running_total, .. } = counted;
    let pruned = PrunedLine { epoch, seq, spool_job, impressions, running_total };
    // Of a line that is there twice the first one counted.
    let first = row.pruned.filter(|kept| (kept.epoch, kept.seq) < (epoch, seq));
    rows.put(&key, &ImportRow { pruned: first.or(Some(pruned)), ..row });
    Ok(())
}

/// What an event counts that is to count once.
struct Counted {
    key: JobId,
    spool_job: Option<JobId>,
    impressions: u32,
    running_total: Option<u32>,
    is_page: bool,
}

/// The page-log line or the numbered page that an event counts, also when it is recorded again.
fn counted(record: &Record<'_>) -> Option<Counted> {
    match record.event().ok()? {
        Event::EventResubmitted(again) => {
            counted_by(Record::split(&again.record.0).ok()?.0.event().ok()?)
        }
        event => counted_by(event),
    }
}

fn counted_by(event: Event) -> Option<Counted> {
    match event {
        Event::PagesPrinted(printed) if printed.source == CountSource::PageLog => {
            let PagesPrinted { job: key, spool_job, impressions, running_total, .. } = printed;
            Some(Counted { key, spool_job, impressions, running_total, is_page: false })
        }
        Event::PagesPrinted(PagesPrinted { job, page: Some(page), .. })
        | Event::PagesCaptured(PagesCaptured { job, page: Some(page), .. }) => {
            let (key, spool_job, running_total) = (page_key(job, page), None, None);
            Some(Counted { key, spool_job, impressions: 0, running_total, is_page: true })
        }
        _ => None,
    }
}

/// By what a job's numbered page is known, beside the keys of page-log lines.
pub(super) fn page_key(job: JobId, page: u32) -> JobId {
    let mut hasher = blake3::Hasher::new_derive_key("tallyroll page of a job v1");
    hasher.update(job.as_bytes()).update(&page.to_le_bytes());
    let mut key = JobId([0; 8]);
    hasher.finalize_xof().fill(&mut key.0);
    key
}

fn delete_all<R: Row<Key = JobId>, S: Store>(rows: &mut Rows<'_, S>) -> Result<()> {
    let mut keys = Vec::new();
    rows.scan::<R>(&[], &[], &mut |key, _| {
        keys.extend(key.try_into().ok().map(JobId));
        Ok(ControlFlow::Continue(()))
    })?;
    keys.iter().for_each(|key| rows.delete::<R>(key));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use tallyroll_schema::event::counts::{Charge, ColorMode};
    use tallyroll_schema::{Credits, TenantId, Timestamp, UserAlias};

    const LINE: JobId = JobId([1; 8]);

    fn printed(source: CountSource) -> Vec<u8> {
        let printed = PagesPrinted {
            job: LINE,
            user: UserAlias([2; 16]),
            impressions: 3,
            sheets: None,
            color: ColorMode::Unknown,
            sides: None,
            media: None,
            source,
            job_number: None,
            acted_at: None,
            charge: Charge { credits: Credits::ZERO, card: 1, backing: None },
            spool_job: None,
            running_total: None,
            page: None,
        };
        Record::encode(&printed.into(), Timestamp::default()).expect("encodes")
    }

    #[test]
    fn only_a_line_of_a_page_log_is_a_line() {
        for (source, line) in [(CountSource::PageLog, true), (CountSource::Device, false)] {
            let bytes = printed(source);
            let (record, _) = Record::split(&bytes).expect("is one");
            assert_eq!(counted(&record).is_some(), line, "{source:?}");
        }
    }

    /// Its spooler's job goes on from where the first one left it.
    #[test]
    fn of_a_line_that_is_there_twice_the_first_is_kept_in_whatever_order_they_go() {
        let epochs = [1, 2].map(|counter| EpochId { counter, nonce: [0; 16] });
        let places = [(epochs[0], 5), (epochs[0], 9), (epochs[1], 2)];
        let bytes = printed(CountSource::PageLog);
        let (record, _) = Record::split(&bytes).expect("is one");
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let store = MemoryStore::default();
            let mut rows = Rows::new(TenantId([7; 16]), &store);
            for (epoch, seq) in order.map(|at| places[at]) {
                keep_line(&mut rows, epoch, seq, &record).expect("keeps");
            }
            let row: ImportRow = rows.get(&LINE).expect("reads").expect("is kept");
            let kept = row.pruned.map(|kept| (kept.epoch, kept.seq));
            assert_eq!(kept, Some(places[0]), "{order:?}");
        }
    }
}
