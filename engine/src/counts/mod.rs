//! Counts: what was printed, captured, converted and sent, by whom, for how much.
//!
//! Owns the price of an act ([`decide`], [`card`]) and the view that adds up
//! ([`Counts`]). Invariant: sums of signed records only, so any order of arrival
//! gives the same figures; impressions, sheets and pages stay apart. How names
//! come to stand beside aliases is left to the rims.

mod base;
pub mod card;
mod decide;
mod report;
mod snapshot;
mod spool;
mod state;
mod sum;

pub use decide::decide;
pub use report::{BalanceRow, Report, TotalsRow, Who, month_name};
pub use spool::SpoolJob;
pub use state::{Counts, Usage, UsageKey};
pub use sum::CreditSum;
