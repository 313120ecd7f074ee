//! Events of people: which aliases are one person, who shares a balance, who is forgotten. Names
//! are never in them.
//!
//! Invariant: balances fold through links and membership; an alias is linked to one subject and a
//! subject is in one group at most, and a later decision replaces the earlier one.

use super::body;
use crate::{Credits, DeviceId, Position, SubjectId, UserAlias};

body! {
    /// An alias of a device belongs to a subject.
    pub struct SubjectLinked {
        /// The device that minted the alias; all zeros for a name that was entered at the cloud.
        #[n(0)]
        pub device: DeviceId,
        /// The alias.
        #[n(1)]
        pub alias: UserAlias,
        /// The subject.
        #[n(2)]
        pub subject: SubjectId,
    }

    /// A subject's names are to be erased everywhere; totals and proofs stay.
    pub struct SubjectForgotten {
        /// The subject.
        #[n(0)]
        pub subject: SubjectId,
        /// In the log about a device: which of its aliases, as far as the cloud knows them.
        #[n(1)]
        pub aliases: Option<Vec<UserAlias>>,
        /// In the log about a device: which device.
        #[n(2)]
        pub device: Option<DeviceId>,
    }

    /// A device has erased what it was told to: the names, and the bytes they stood in.
    pub struct SubjectErased {
        /// The subject.
        #[n(0)]
        pub subject: SubjectId,
        /// The decision in the log about this device.
        #[n(1)]
        pub decision: Position,
    }

    /// An account that several people share came to be.
    pub struct GroupFounded {
        /// The group.
        #[n(0)]
        pub group: SubjectId,
    }

    /// A person's whole account counts as the group's from now on.
    pub struct GroupJoined {
        /// The group.
        #[n(0)]
        pub group: SubjectId,
        /// The person.
        #[n(1)]
        pub member: SubjectId,
        /// Charged to the person until then, all in all: none of it was used of the
        /// group's allotments. Absent in what was decided before it was told.
        #[n(2)]
        pub used: Option<Credits>,
        /// What they bring of an allotment that lapses; absent: nothing.
        #[n(3)]
        pub lapsing: Option<Lapsing>,
    }

    /// A person's account is their own again.
    pub struct GroupLeft {
        /// The group.
        #[n(0)]
        pub group: SubjectId,
        /// The person.
        #[n(1)]
        pub member: SubjectId,
        /// Given to the person's account out of the group's, so that what was used until now stays
        /// the group's; negative: what they brought and did not use.
        #[n(2)]
        pub settled: Credits,
        /// Charged to the person until then, all in all: what of it came since they joined
        /// stays used of the group's allotments. Absent in what was decided before it was told.
        #[n(3)]
        pub used: Option<Credits>,
        /// What devices hold for them of an allotment that lapses; absent: nothing.
        #[n(4)]
        pub lapsing: Option<Lapsing>,
    }

    /// Allotment that moves between a person and a group, and lapses where it comes to.
    pub struct Lapsing {
        /// How much moves.
        #[n(0)]
        pub credits: Credits,
        /// What of the group's account is allotment from here on.
        #[n(1)]
        pub of_group: Credits,
        /// Charged in the group's account until then, as in `allotment.given`.
        #[n(2)]
        pub used: Credits,
        /// The month of which it is: its year.
        #[n(3)]
        pub year: u16,
        /// And which, 1 to 12.
        #[n(4)]
        pub month: u8,
    }
}
