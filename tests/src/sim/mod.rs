//! The simulator: the production engine under a virtual clock, network and disk.
//!
//! A history is a fleet of three to five devices and their cloud, a workload of at least two
//! hundred operations, faults of every class its plan allows, and a healing at the end. One checker
//! per guarantee looks on. Invariant: one seed gives one history, in every process and on any
//! number of threads. Reading order: `run`, `world`, `sessions`, `power`, `workload`, then `disk`
//! and the `checkers`. What needs real processes, sockets or files is left to `tests/it`.

mod accidents;
mod accounts;
pub(crate) mod acts;
mod apart;
mod books;
pub mod bugs;
pub mod checkers;
pub mod clock;
mod copies;
mod decisions;
pub mod disk;
pub mod entropy;
pub mod faults;
mod forgery;
pub mod image;
mod jobs;
mod leases;
pub mod machine;
pub mod network;
pub mod occasions;
pub mod planted;
mod power;
mod rekeying;
pub mod run;
mod sabotage;
mod server;
mod sessions;
pub mod trace;
pub mod truth;
mod workload;
mod world;

pub use run::{Options, Outcome, Summary, live, rerun_line, run};
pub use world::World;
