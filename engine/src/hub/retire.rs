//! Retiring: a device delivers what it has, closes its logs, and takes no more part.
//!
//! Invariant: it is told by its own log, once; while that is frozen the decision stands in
//! the accounts and the device is told when it thaws. That it has nothing more is known by
//! its own signed word, the last record of each of its logs.

use super::decide::check_text;
use super::{Hub, Standing};
use crate::device::Now;
use crate::log::open;
use crate::store::Store;
use crate::store::rows::{BatchRow, ChildRow, TipRow, split_epoch_key};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::event::fleet::DeviceRetired;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{DeviceId, Event, LogId, Position, Records};

impl<S: Store> Hub<S> {
    /// Lets a device deliver what it has and take no more part.
    ///
    /// # Errors
    /// No such active device, an over-long reason; storage failed.
    pub fn retire(&mut self, now: Now, device: DeviceId, reason: String) -> Result<Position> {
        check_text("reason", &reason)?;
        self.fleet().active(device)?;
        let position = self.account(now, &[DeviceRetired { device, reason }.into()])?;
        self.thaw_if_all_reported(now)?;
        self.tell_retired(now)?;
        Ok(position)
    }

    /// Whether a device has closed all its logs: nothing more can come from it.
    ///
    /// # Errors
    /// Storage failed.
    pub fn is_drained(&self, device: DeviceId) -> Result<bool> {
        let rows = self.rows();
        for class in [LogClass::Ledger, LogClass::Telemetry] {
            let Some(log) = self.written_by.get(&(device, class)) else { return Ok(false) };
            let mut drained = true;
            rows.scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, tip| {
                // An epoch that another one continues ended, whether it was closed or not.
                let child = split_epoch_key(key).map(|epoch| rows.get::<ChildRow>(&epoch));
                drained &= tip.closed == Some(true) || child.transpose()?.flatten().is_some();
                Ok(ControlFlow::Continue(()))
            })?;
            if !drained {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes into the log of each retired device that it is, where that is not there yet.
    pub(super) fn tell_retired(&mut self, now: Now) -> Result<()> {
        if self.recovery.frozen_since.is_some() {
            return Ok(());
        }
        let devices = self.fleet().devices().iter();
        let retired = devices.filter(|(_, record)| record.standing == Standing::Retired);
        let retired: Vec<DeviceId> = retired.map(|(device, _)| *device).collect();
        for device in retired {
            let Some(place) = self.device_logs.get(&device).copied() else { continue };
            if !self.tells(place.0, is_retirement)? {
                let reason = String::new(); // the accounts say it
                self.decide(now, place, &[DeviceRetired { device, reason }.into()])?;
            }
        }
        Ok(())
    }

    /// A device whose own log was given back and says so is retired in the accounts, too.
    pub(super) fn retire_if_told(&mut self, now: Now, device: DeviceId, log: LogId) -> Result<()> {
        if self.fleet().active(device).is_ok() && self.tells(log, is_retirement)? {
            let reason = "its own log says so; the accounts had lost it".into();
            self.account(now, &[DeviceRetired { device, reason }.into()])?;
        }
        Ok(())
    }

    /// Whether an event like this stands in a log.
    pub(super) fn tells(&self, log: LogId, like: impl Fn(&Event) -> bool) -> Result<bool> {
        let mut told = false;
        self.rows().scan::<BatchRow>(log.as_bytes(), log.as_bytes(), &mut |_, row| {
            let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
            let mut records = Records::new(&opened.records).flatten();
            told |= records.any(|record| record.event().is_ok_and(|event| like(&event)));
            Ok(if told { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(told)
    }
}

fn is_retirement(event: &Event) -> bool {
    matches!(event, Event::DeviceRetired(_))
}
