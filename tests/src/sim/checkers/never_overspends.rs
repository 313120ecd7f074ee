//! Guarantee 3, never overspends: no credit is spent twice.
//!
//! Invariant: who pays from a balance is charged no more than was ever given, but for what copies of a
//! device spent again where nobody could tell, which is named; no right is spent beyond what left the
//! pool for it; and each credit is charged, held, in the pool or with a named device.

use crate::sim::leases::{PAYERS, payer};
use crate::sim::world::{Step, World};

pub(super) fn at_the_end(world: &World) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let wrong = |what: String| Err(world.violation("never-overspends", what));
    let funds = cloud.funds();
    for (key, lease) in cloud.counts().rights().leases() {
        if lease.outstanding() < 0 {
            return wrong(format!("{key:?} spent {} of {}", lease.spent, lease.granted));
        }
        if lease.overdrawn > 0 {
            return wrong(format!("{key:?} overdrew {}, and may not", lease.overdrawn));
        }
        if lease.copied > 0 && !world.truth.copied.contains_key(&key.device) {
            return wrong(format!("{key:?} spent {} once more, uncopied", lease.copied));
        }
    }
    for subject in PAYERS.map(payer) {
        let funds = funds.get(&subject).copied().unwrap_or_default();
        let leases = cloud.counts().rights().leases().iter();
        let theirs =
            leases.filter(|(key, _)| cloud.counts().subject(key.device, key.user) == Some(subject));
        let copied: i128 = theirs.map(|(_, lease)| lease.copied).sum();
        let given = world.truth.funded.get(&subject).copied().unwrap_or(0);
        let spent = funds.charged + funds.held;
        if spent > given + copied {
            let what =
                format!("{subject} was given {given} and is charged {spent}, {copied} by copies");
            return wrong(what);
        }
        if funds.pool() < -copied && world.truth.tails_lost == 0 {
            return wrong(format!("{subject}: {} in the pool, {copied} by copies", funds.pool()));
        }
    }
    Ok(())
}
