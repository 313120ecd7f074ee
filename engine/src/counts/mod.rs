//! Counts: what was printed, captured, converted and sent, by whom, for how much.
//!
//! Owns the price of an act ([`decide`], [`card`]) and the view that adds up
//! ([`Counts`]), settlement of jobs included ([`job`]). Invariant: figures follow
//! from the set of signed records, so any order of arrival gives the same; impressions, sheets and pages stay apart. How names
//! come to stand beside aliases is left to the rims.

mod accounts;
mod base;
pub mod card;
mod decide;
mod job;
#[cfg(test)]
mod job_tests;
mod pages;
mod report;
mod rights;
mod settle;
mod snapshot;
mod spool;
mod state;
mod sum;
mod usage;

pub use accounts::{Accounts, Allotment, Gift};
pub use decide::{Terms, decide};
pub use job::Standing;
pub use report::{BalanceRow, MemberRow, Report, TotalsRow, Who, month_name};
pub use rights::{Allocation, Lease, Request, RightKey, Rights};
pub(crate) use rights::{backed, charge_mut};
pub use spool::SpoolJob;
pub use state::Counts;
pub use sum::CreditSum;
pub use usage::{Usage, UsageKey, month_of};
