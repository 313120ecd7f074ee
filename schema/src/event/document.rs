//! Events of jointly edited documents (device settings, address books, drafts).
//!
//! Invariant: a change is one automerge change, in its author's own log; the
//! actor is the author's log and epoch. No count is ever kept in a document.

use super::{Bytes, body};

body! {
    /// A document changed.
    pub struct DocumentChanged {
        /// Its name within the device or tenant.
        #[n(0)]
        pub document: String,
        /// One encoded automerge change.
        #[n(1)]
        pub change: Bytes,
    }
}
