//! Which page-log lines are counted, and how far each spooler's job is.
//!
//! Invariant: a function of the ledger's records, kept beside them so that a line
//! can be looked up. What is here is not in the store's rows yet, or, of a whole
//! history, instead of them.

use super::divergence::each_record;
use crate::Result;
use crate::counts::SpoolJob;
use crate::store::rows::{BatchRow, ImportRow, SpoolJobRow};
use crate::store::{Row, Rows, Store};
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use tallyroll_schema::event::counts::{CountSource, PagesPrinted};
use tallyroll_schema::{Event, JobId, LogId, Record};

#[derive(Debug, Default)]
pub(super) struct Imports {
    lines: BTreeMap<JobId, u64>,
    jobs: BTreeMap<JobId, SpoolJob>,
    /// Whether the store's rows are to be replaced, not added to.
    whole: bool,
}

impl Imports {
    /// What a ledger's stored history counts.
    pub(super) fn of_history<S: Store>(rows: &Rows<'_, S>, ledger: LogId) -> Result<Self> {
        let mut imports = Self { whole: true, ..Self::default() };
        rows.scan::<BatchRow>(ledger.as_bytes(), ledger.as_bytes(), &mut |_, row| {
            each_record(row, &mut |seq, record| imports.take_in(rows, seq, record).map(drop))
        })?;
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
        let new = !self.holds(rows, printed.job)?;
        self.lines.insert(printed.job, seq);
        if let (Some(job), true) = (printed.spool_job, new) {
            let so_far = self.job(rows, job)?;
            self.jobs.insert(job, so_far.after(printed.impressions, printed.running_total));
        }
        Ok(new)
    }

    /// Whether a line is counted.
    pub(super) fn holds<S: Store>(&self, rows: &Rows<'_, S>, line: JobId) -> Result<bool> {
        Ok(self.lines.contains_key(&line)
            || (!self.whole && rows.get::<ImportRow>(&line)?.is_some()))
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
        for (line, seq) in &self.lines {
            rows.put(line, &ImportRow { seq: *seq });
        }
        for (job, so_far) in &self.jobs {
            rows.put(job, &SpoolJobRow(*so_far));
        }
        Ok(())
    }
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
