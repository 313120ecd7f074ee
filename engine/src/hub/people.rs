//! Names that are entered at the cloud: of people whom no device has seen, and of groups.
//!
//! Invariant: such a name lies where all others do, sealed in the directory, under an alias that this
//! cloud minted; the link of that alias makes the person known to every view. In one commit, both or
//! neither. Sealing, and who has which name, is left to the rim.

use super::Hub;
use crate::Result;
use crate::device::Now;
use crate::store::Store;
use crate::store::rows::DirectoryRow;
use tallyroll_schema::event::people::{GroupFounded, SubjectLinked};
use tallyroll_schema::{DeviceId, Event, Position, SubjectId, UserAlias};

/// Stands for this cloud where a device minted an alias: no device has this id.
pub const CLOUD: DeviceId = DeviceId([0; DeviceId::LEN]);

/// A name, sealed, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Whose.
    pub subject: SubjectId,
    /// The alias it is sealed for, this cloud's.
    pub alias: UserAlias,
    /// The name, sealed to the directory key.
    pub sealed: Vec<u8>,
    /// A mail address, sealed likewise.
    pub mail: Option<Vec<u8>>,
    /// Whether it is a new group's.
    pub founds_group: bool,
}

impl<S: Store> Hub<S> {
    /// Enters names, and joins aliases of devices to subjects, in one commit.
    ///
    /// # Errors
    /// Storage failed.
    pub fn name(
        &mut self,
        now: Now,
        named: Vec<Named>,
        links: Vec<(DeviceId, UserAlias, SubjectId)>,
    ) -> Result<Position> {
        self.refuse_if_closed()?;
        let (mut rows, mut staged) = (self.rows(), self.stage());
        let mut events: Vec<Event> = Vec::new();
        for Named { subject, alias, sealed, mail, founds_group } in named {
            let mail = mail.map(Into::into);
            rows.put(&(CLOUD, alias), &DirectoryRow { sealed, mail });
            events.push(SubjectLinked { device: CLOUD, alias, subject }.into());
            if founds_group {
                events.push(GroupFounded { group: subject }.into());
            }
        }
        let linked = |(device, alias, subject)| SubjectLinked { device, alias, subject }.into();
        events.extend(links.into_iter().map(linked));
        let accounts = self.logs.accounts;
        let position = self.stage_events(&mut rows, &mut staged, now, accounts, &events)?;
        let changes = rows.into_changes();
        self.finish(changes, staged)?;
        Ok(position)
    }
}
