//! Counts: what was printed, captured, converted and sent, by whom, for how much.
//!
//! Owns the price of an act ([`decide`], [`card`]) and the view that adds up
//! ([`Counts`]), settlement of jobs included ([`job`]). Invariant: figures follow
//! from the set of signed records, so any order of arrival gives the same; impressions, sheets and pages stay apart. How names
//! come to stand beside aliases is left to the rims.

mod accounts;
mod allotments;
mod balances;
#[cfg(test)]
mod balances_tests;
mod base;
mod books;
pub mod card;
mod decide;
mod job;
#[cfg(test)]
mod job_tests;
mod line;
#[cfg(test)]
mod line_tests;
mod meter;
#[cfg(test)]
mod meter_tests;
mod month;
mod moves;
mod pages;
mod report;
mod requests;
mod rights;
#[cfg(test)]
mod rights_tests;
mod settle;
mod snapshot;
mod spool;
mod state;
mod statement;
#[cfg(test)]
mod statement_tests;
mod sum;
mod usage;

pub use accounts::{AccountKind, Accounts};
pub use allotments::{Allotment, Gift, Rest};
pub use balances::{Acquaintance, Balances, Told};
pub use books::Books;
pub use decide::{Terms, decide};
pub use job::{RunningJob, Standing};
pub use line::{Line, State};
pub(crate) use line::{charged_to, inner};
pub use meter::{Item, Meter, Reconciled, Reconciliation, Why};
pub use month::{Month, NoMonth};
pub use moves::Moves;
pub use report::{BalanceRow, MemberRow, Report, TotalsRow, Who};
pub use requests::Requested;
pub use rights::{Allocation, Lease, Recall, Request, RightKey, Rights};
pub(crate) use rights::{backed, charge, charge_mut};
pub use spool::SpoolJob;
pub use state::Counts;
pub use statement::{Holder, Standings, Stated, Statement};
pub use sum::CreditSum;
pub(crate) use sum::thousandths;
pub use usage::{Usage, UsageKey, month_of};
