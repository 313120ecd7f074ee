//! Which page-log lines are counted, and how far each spooler's job is.
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
use tallyroll_schema::event::counts::{CountSource, PagesPrinted};
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
            each_record(row, &mut |seq, record| imports.take_in(rows, seq, record).map(drop))
        })?;
        imports.take_in_pruned(pruned);
        Ok(imports)
    }

    /// Takes in an event of the ledger. Returns whether it is new here: a line that
    /// is counted already is not.
    pub(super) fn take_in<S: Store>(
        &mut self,
        rows: &Rows<'_, S>,
        seq: u64,
        record: &Record<'_>,
    ) -> Result<bool> {
        let Some(printed) = line(record) else { return Ok(true) };
        let known = self.line(rows, printed.job)?;
        let pruned = known.and_then(|row| row.pruned);
        self.lines.insert(printed.job, ImportRow { seq, pruned });
        if let (Some(job), None) = (printed.spool_job, known) {
            let so_far = self.job(rows, job)?;
            self.jobs.insert(job, so_far.after(printed.impressions, printed.running_total));
        }
        Ok(known.is_none())
    }

    /// Takes in what is kept of lines whose events were pruned, in their order.
    fn take_in_pruned(&mut self, lines: PrunedLines) {
        for (key, pruned) in lines.into_values() {
            let new = self.lines.insert(key, ImportRow { seq: pruned.seq, pruned: Some(pruned) });
            if let (Some(job), None) = (pruned.spool_job, new) {
                let so_far = self.jobs.get(&job).copied().unwrap_or_default();
                self.jobs.insert(job, so_far.after(pruned.impressions, pruned.running_total));
            }
        }
    }

    /// Whether a line is counted.
    pub(super) fn holds<S: Store>(&self, rows: &Rows<'_, S>, line: JobId) -> Result<bool> {
        Ok(self.line(rows, line)?.is_some())
    }

    fn line<S: Store>(&self, rows: &Rows<'_, S>, line: JobId) -> Result<Option<ImportRow>> {
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
    let Some(printed) = line(record) else { return Ok(()) };
    let row = rows.get::<ImportRow>(&printed.job)?.unwrap_or(ImportRow { seq, pruned: None });
    let PagesPrinted { spool_job, impressions, running_total, .. } = printed;
    let pruned = PrunedLine { epoch, seq, spool_job, impressions, running_total };
    // Of a line that is there twice the first one counted.
    let first = row.pruned.filter(|kept| (kept.epoch, kept.seq) < (epoch, seq));
    rows.put(&printed.job, &ImportRow { pruned: first.or(Some(pruned)), ..row });
    Ok(())
}

/// The page-log line that an event counts, also when it is recorded again.
fn line(record: &Record<'_>) -> Option<PagesPrinted> {
    match record.event().ok()? {
        Event::PagesPrinted(printed) => {
            Some(printed).filter(|printed| printed.source == CountSource::PageLog)
        }
        Event::EventResubmitted(again) => match Record::split(&again.record.0).ok()?.0.event() {
            Ok(Event::PagesPrinted(printed)) if printed.source == CountSource::PageLog => {
                Some(printed)
            }
            _ => None,
        },
        _ => None,
    }
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
