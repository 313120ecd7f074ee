//! What the measurements share: the workload, counted files, a cloud and its devices on loopback.
//!
//! Invariant: every figure is printed beside a limit measured in the same run, on
//! the same disk, with the same durability. Nothing here fails for being slow.
//! What is measured, and against what, is the `stages`'.

pub mod bare;
pub mod disk;
pub mod measure;
pub mod site;
pub mod stages;
pub mod wire;
pub mod workload;

/// What ends a measurement early.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The whole run: every stage, for ours alone.
///
/// # Errors
/// Files, sockets or the engine.
pub fn run() -> Outcome {
    let plan = measure::Plan::from_environment();
    measure::print_header(&plan);
    stages::append::run(&plan)?;
    stages::writers::run(&plan)?;
    stages::freshness::run(&plan)?;
    stages::apart::run(&plan)?;
    let after = stages::backlog::run(&plan)?;
    stages::past::run(&plan, after.as_ref())?;
    stages::replay::run(&plan, after)
}
