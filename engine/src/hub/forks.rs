//! The story of each copy: which epochs a device's logs have, and why.
//!
//! Invariant: told from the logs alone: what opened an epoch, what was set aside,
//! what of it was recorded again and what that cost without a lease. Logs of one
//! epoch, which is nearly all of them, are not read.

use super::Hub;
use crate::Result;
use crate::counts::{Counts, CreditSum};
use crate::fold::{Origin, View};
use crate::store::Store;
use core::ops::ControlFlow;
use serde::Serialize;
use tallyroll_schema::event::log::{EpochOpened, LogClass};
use tallyroll_schema::{DeviceId, Event, LogId, Wall};

/// One epoch after the first of a device's log.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fork {
    /// The device.
    pub device: DeviceId,
    /// Its log.
    pub log: LogId,
    /// The log's class.
    pub class: LogClass,
    /// What the device said when it opened the epoch.
    pub opened: EpochOpened,
    /// When, by the device's clock.
    pub opened_at: Wall,
    /// Events in the epoch.
    pub events: u64,
    /// Of these, events of the history set aside, recorded again.
    pub resubmitted: u64,
    /// What those charged, which no lease backed.
    pub unbacked: CreditSum,
}

impl<S: Store> Hub<S> {
    /// Every epoch that a device opened because it was restored or copied.
    ///
    /// # Errors
    /// Storage failed or a batch is corrupt.
    pub fn forks(&self) -> Result<Vec<Fork>> {
        let mut forks = Vec::new();
        for log in self.logs()?.into_iter().filter(|log| log.epoch.counter > 0) {
            if !matches!(log.class, LogClass::Ledger | LogClass::Telemetry) {
                continue; // the cloud's own, renewed after a loss
            }
            let Some(device) = log.device else { continue };
            let (mut told, mut again): (Option<Fork>, _) = (None, Counts::default());
            self.read_log(log.log, log.epoch, 0, &mut |position, record| {
                match (record.event(), &mut told) {
                    (Ok(Event::EpochOpened(opened)), None) => {
                        told = Some(Fork {
                            device,
                            log: log.log,
                            class: log.class,
                            opened,
                            opened_at: record.header.time.wall,
                            events: log.events,
                            resubmitted: 0,
                            unbacked: CreditSum::default(),
                        });
                    }
                    (Ok(Event::EventResubmitted(_)), Some(fork)) => {
                        fork.resubmitted += 1;
                        let (device, class) = (Some(device), log.class);
                        again.fold(&Origin { device, class, position }, record);
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            })?;
            let unbacked = again.usage().values().map(|usage| usage.unbacked).sum();
            forks.extend(
                told.map(|fork| Fork { unbacked: CreditSum::from_thousandths(unbacked), ..fork }),
            );
        }
        Ok(forks)
    }
}
