//! What the keeper owns: logs and views, the names behind aliases, and what stands outside the store.
//!
//! Invariant: what is due (allotments, forgetting, the number of the last credits lent) is done before
//! anybody is served, and again whenever it is asked for; without room it waits and is tried again.

use crate::allocations::Allocations;
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::people::{self, People};
use crate::scrub;
use std::collections::BTreeSet;
use tallyroll_engine::Error;
use tallyroll_engine::device::Now;
use tallyroll_engine::hub::Hub;
use tallyroll_engine::store::RedbStore;
use tallyroll_schema::DeviceId;
use tracing::{info, warn};

/// What the keeper owns.
#[derive(Debug)]
pub struct Replica {
    /// Logs and views.
    pub hub: Hub<RedbStore>,
    /// The names behind aliases.
    pub people: People,
    clock: Clock,
    allocations: Allocations,
    dir: DataDir,
    /// How many people were forgotten when names were last dropped.
    forgotten: usize,
}

impl Replica {
    /// Opens the stored names, links those that a crash left unlinked, and does what is due.
    ///
    /// # Errors
    /// Storage failed.
    pub(crate) fn new(
        mut hub: Hub<RedbStore>,
        mut people: People,
        clock: Clock,
        allocations: Allocations,
        dir: DataDir,
    ) -> Result<Self, Error> {
        scrub::remove_unfinished(&dir)?;
        let stored = hub.directory()?;
        people::take_in(&mut hub, &mut people, clock.now(), stored)?;
        let mut replica = Self { hub, people, clock, allocations, dir, forgotten: 0 };
        replica.tick()?;
        Ok(replica)
    }

    /// Does what is due by the calendar, and what is left of forgetting; what finds no room waits.
    ///
    /// # Errors
    /// Storage failed.
    pub fn tick(&mut self) -> Result<(), Error> {
        match self.hub.give_allotments(self.clock.now()) {
            Ok(0) => {}
            Ok(given) => info!(given, "monthly allotments were given"),
            Err(Error::Full(why)) if !self.hub.is_closed() => {
                warn!(why, "allotments wait for room")
            }
            Err(why) => return Err(why),
        }
        self.settle_forgotten()
    }

    /// Whether devices told of more people who are forgotten than were known here.
    pub(super) fn heard_of_forgetting(&self) -> bool {
        self.hub.counts().accounts().forgotten().len() != self.forgotten
    }

    /// Does what is left of forgetting people: rows, names in memory, bytes in the store's file.
    ///
    /// # Errors
    /// Storage failed.
    pub fn settle_forgotten(&mut self) -> Result<(), Error> {
        let erased = self.hub.erase_forgotten(self.clock.now());
        let forgotten = self.hub.counts().accounts().forgotten().len();
        if core::mem::replace(&mut self.forgotten, forgotten) != forgotten {
            self.people.drop_forgotten(self.hub.counts());
        }
        match erased.and_then(|()| scrub::scrub_if_needed(&self.dir, &mut self.hub)) {
            Err(Error::Full(why)) if !self.hub.is_closed() => {
                warn!(
                    why,
                    "what was erased stays in the store's file until there is room for another one"
                );
                Ok(())
            }
            done => done,
        }
    }

    /// Notes the last allocation's number where that stands for all that was lent: a cloud that is frozen
    /// may have lost some, and one that stopped before it noted it has told nobody.
    pub(crate) fn note_allocations(&self, noted: Option<u64>) -> Result<(), Error> {
        // Of a new cloud that there were none: the file tells that there was a store.
        let stands = noted == Some(self.hub.counts().rights().allocations());
        if stands || self.hub.recovery().is_some() { Ok(()) } else { self.note_last() }
    }

    pub(super) fn note_last(&self) -> Result<(), Error> {
        let failed = |source| Error::Storage { doing: "noting an allocation", source };
        self.allocations.note(self.hub.counts().rights().allocations()).map_err(failed)
    }

    /// Answers devices that asked for credits; those `reached` can give some back.
    pub(super) fn answer_requests(&mut self, reached: &BTreeSet<DeviceId>) -> Result<(), Error> {
        self.hub.answer_requests(self.clock.now(), reached, &mut self.allocations)
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.clock.now()
    }
}
