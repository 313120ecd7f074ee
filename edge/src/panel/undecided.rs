//! Jobs that are left undecided: after a time they count as discarded.
//!
//! Invariant: whoever began a job on this device, panel or not, nothing is held for it for ever. Looked
//! at when the agent starts and every so often; the time runs by the device's clock, from the job's
//! beginning, and stands still while that clock cannot be right.

use super::Panel;
use super::jobs::Ending;
use crate::keeper::{Clock, Gone};
use core::time::Duration;
use std::sync::Arc;
use tallyroll_schema::{Act, ClockQuality, JobId, Wall};
use tokio::time::sleep;
use tracing::info;

/// A job left undecided for so long counts as discarded, unless the agent is told otherwise.
pub const UNDECIDED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How often jobs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Discards what is left undecided, for ever.
pub(super) async fn watch(panel: Arc<Panel>, after: Duration) {
    let clock = Clock::start();
    loop {
        let now = clock.now();
        if now.quality != ClockQuality::Suspect {
            let Ok(left) = panel.left_since(now.wall, after).await else { return }; // the agent ends
            for job in left {
                if panel.discard_left(job).await.is_err() {
                    return;
                }
            }
        }
        sleep(LOOK_EVERY.min(after / 4).max(Duration::from_millis(100))).await;
    }
}

impl Panel {
    async fn left_since(&self, now: Wall, after: Duration) -> Result<Vec<JobId>, Gone> {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.keeper
            .query(move |device| {
                let running = device.counts().running(device.id()).filter(|job| job.undecided);
                let left = running.filter(|job| now.0.saturating_sub(job.begun_at.0) >= after);
                left.map(|job| job.job).collect()
            })
            .await
    }

    async fn discard_left(&self, job: JobId) -> Result<(), Gone> {
        if self.job(job).is_some() {
            drop(self.end(job, Ending::Discard).await); // what did not go is tried again
        } else {
            self.keeper.spend(Act::Discard { job }).await?;
            self.keeper.spend(Act::End { job }).await?;
        }
        info!(%job, "a job was left undecided for too long: it counts as discarded");
        Ok(())
    }
}
