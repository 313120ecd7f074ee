//! Events of monthly allotments: what an account is given on the first of each month.
//!
//! Invariant: account and month name a gift, and so they do where a rest lapsed and no gift was due: of
//! several with the same two, the first counts. What it came to stands in the event and is never
//! computed anew. A month is one of the calendar in UTC, by the clock of the cloud.

use super::body;
use crate::{Credits, SubjectId};

body! {
    /// What an account is given each month was laid down; a later one replaces it.
    pub struct AllotmentLaidDown {
        /// A person's or a group's account.
        #[n(0)]
        pub account: SubjectId,
        /// The amount; absent: nothing any more.
        #[n(1)]
        pub monthly: Option<Credits>,
        /// Whether what is left of one month is kept in the next.
        #[n(2)]
        pub carries_over: bool,
        /// With that: the most that may be there of allotments after a gift; what was granted does not count.
        #[n(3)]
        pub most: Option<Credits>,
        /// The first month: its year.
        #[n(4)]
        pub year: u16,
        /// And which, 1 to 12.
        #[n(5)]
        pub month: u8,
    }

    /// An account was given a month's allotment, or what was left of one lapsed.
    pub struct AllotmentGiven {
        /// The account.
        #[n(0)]
        pub account: SubjectId,
        /// The month: its year.
        #[n(1)]
        pub year: u16,
        /// And which, 1 to 12.
        #[n(2)]
        pub month: u8,
        /// Given.
        #[n(3)]
        pub credits: Credits,
        /// Taken back at once: what was left of the last one, or is more than may be there.
        #[n(4)]
        pub lapsed: Credits,
        /// Charged until then, all in all, but for what members used elsewhere: by it the
        /// next one knows what was used.
        #[n(5)]
        pub used: Credits,
        /// What of the account is allotment from here on: this gift, and what of earlier ones did
        /// not lapse because a device holds it. It is used before all else.
        #[n(6)]
        pub allotted: Credits,
        /// Whether no gift was due and a rest lapsed alone; the month's gift may still come.
        #[n(7)]
        pub nothing_due: Option<bool>,
    }
}
