//! The tests that need real things: processes, sockets, files, the clock.
//! One binary, so that it links once; every file here is a module of this one (a house rule looks for
//! forgotten ones).
//! What can be shown without real things belongs into the simulator or beside the code.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop where it stands")]

mod accounts;
mod accounts_checked;
mod accounts_random;
mod acts;
mod backup;
mod books;
mod branch;
mod cloud;
mod control;
mod copies;
mod damaged_store;
mod demo;
mod doctor;
mod forget;
mod fsync;
mod idle;
mod kill;
mod leases;
mod leases_copied;
mod leases_offline;
mod leases_renewed;
mod loss;
mod lost_files;
mod memory;
mod money;
mod months;
mod orders;
mod page;
mod page_log;
mod panel;
mod panel_credits;
mod panel_kept;
mod panel_server;
mod permuted;
mod pressure;
mod proxy;
mod put_back;
mod quarantine;
mod rates;
mod rebuilt;
mod revoked;
mod room;
mod rotation;
mod scenarios;
mod sheets;
mod soak;
mod tampered;
mod tcp;
mod tls;
mod told;
mod traced;
mod upgrade;
mod users;
mod visitors;
