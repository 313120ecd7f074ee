//! Events of people: which aliases are one person. Names are never in them.
//!
//! Invariant: balances fold through links; an alias is linked to one subject,
//! and a later link for it replaces the earlier one.

use super::body;
use crate::{DeviceId, SubjectId, UserAlias};

body! {
    /// An alias of a device belongs to a subject.
    pub struct SubjectLinked {
        /// The device that minted the alias.
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
    }
}
