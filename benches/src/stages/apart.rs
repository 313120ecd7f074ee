//! Many devices that come back at once, each with a day's events: connections, handshakes and all.
//!
//! Invariant: timed is from the first link's start until the cloud has the last event in its views, which is after
//! it was stored. Devices and cloud share this process and its cores, so what it takes to send is in the figure, too.

use crate::Outcome;
use crate::measure::{Plan, Spread, short};
use crate::site::{Branch, Cloud};
use crate::workload::Office;
use std::time::Instant;

/// Events of each device.
const EACH: u64 = 1_000;

/// Measures and prints.
///
/// # Errors
/// Files and sockets; each device has a handful of files open.
pub fn run(plan: &Plan) -> Outcome {
    if !plan.wants("apart") {
        return Ok(());
    }
    let devices = (plan.events / EACH).max(1);
    let mut rates = Vec::new();
    for _ in 0..plan.runs {
        let (cloud_dir, branches_dir) = (plan.temporary()?, plan.temporary()?);
        let serving = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        rates.push(serving.block_on(async {
            let cloud = Cloud::start(cloud_dir.path()).await?;
            let mut branches = Vec::new();
            for number in 0..devices {
                let name = format!("branch-{number}");
                let branch = cloud.enrol(&name, &branches_dir.path().join(&name)).await?;
                branch.fill(Office::of_one_device(number).happenings().take(EACH as usize))?;
                branches.push(branch);
            }
            let expected = cloud.events().await? + devices * EACH;
            let began = Instant::now();
            let linked = branches.iter().map(Branch::link).collect::<Outcome<Vec<_>>>()?;
            cloud.has_events(expected).await?;
            let seconds = began.elapsed().as_secs_f64();
            for device in linked {
                device.has_receipts().await?;
                device.stop().await?;
            }
            cloud.stop().await?;
            Outcome::Ok((devices * EACH) as f64 / seconds)
        })?);
    }
    let rates = Spread::of(rates);
    plan.note("apart", "tallyroll", "events/s", "fsync before the receipt, in the views", rates)?;
    println!(
        "apart: {} devices with {} events each, at once: {rates} events/s in the cloud's views, opening and handshakes \
         included",
        short(devices as f64),
        short(EACH as f64),
    );
    Ok(())
}
