//! Changing a device's keys, in the rim's order: the next key durable, the event, the old key gone
//! once the cloud has confirmed it.
//!
//! Invariant: keys are the machine's and outlive its process; at each moment those are here that its
//! logs go by.

use super::world::{Step, World};
use tallyroll_engine::device::Rotation;
use tallyroll_engine::keys::Signer;
use tallyroll_schema::Hash;

impl World {
    /// A device gets new keys, unless that is under way.
    pub(super) fn change_keys(&mut self, index: usize) -> Step {
        if self.devices[index].next_seed.is_none() {
            self.devices[index].next_seed = Some(self.entropy.bytes());
            self.trace.note(self.now, format_args!("device {index} changes its keys"));
        }
        self.settle_keys(index)
    }

    /// Goes on with what was interrupted, as far as it can.
    pub(super) fn settle_keys(&mut self, index: usize) -> Step {
        let now = self.devices[index].clock.show(self.now);
        let machine = &mut self.devices[index];
        let (Some(process), Some(next)) = (&mut machine.process, machine.next_seed) else {
            return Ok(());
        };
        let rotation = process.rotation();
        match self.device_outcome(index, rotation)? {
            Some(Rotation::None | Rotation::Prepared) => {
                let Some(process) = &mut self.devices[index].process else { return Ok(()) };
                let changed = process.rotate_keys(now, Signer::from_seed(&next), Hash(next));
                if self.device_outcome(index, changed)?.is_some() {
                    self.seal(index)?;
                }
            }
            Some(Rotation::Confirmed) => {
                let machine = &mut self.devices[index];
                machine.former_seeds.push(core::mem::replace(&mut machine.seed, next));
                machine.next_seed = None;
                let Some(process) = &mut machine.process else { return Ok(()) };
                let dropped = process.drop_old_keys();
                self.device_outcome(index, dropped)?;
            }
            Some(Rotation::Written) | None => {}
        }
        Ok(())
    }
}
