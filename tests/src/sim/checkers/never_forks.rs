//! Guarantee 5, never forks silently: no position ever has two contents.
//!
//! Invariant: a position is acknowledged once. No disk is copied or restored in these histories
//! (but by a planted bug), so an end that speaks of a fork, or refuses what the other one wrote, has
//! seen the engine contradict itself.

use super::Violation;
use crate::sim::network::Side;
use crate::sim::truth::Noted;
use crate::sim::world::{Step, World};
use tallyroll_engine::merge::Refusal;
use tallyroll_schema::Position;
use tallyroll_schema::wire::{ErrorCode, ErrorMessage};

/// A position is about to be noted as acknowledged.
pub(crate) fn acknowledged(world: &World, position: Position, noted: &Noted) -> Step {
    match world.truth.acknowledged.get(&position) {
        Some(earlier) => {
            let (first, second) = (earlier.event.name(), noted.event.name());
            let what = format!("{position} was {first} and is {second} now");
            Err(world.violation("never-forks", what))
        }
        None => Ok(()),
    }
}

/// An end did not admit what the other one sent.
pub(crate) fn refused(world: &mut World, side: Side, refusal: &Refusal) -> Step {
    world.trace.note(world.now, format_args!("{side:?} refuses: {refusal}"));
    match refusal {
        Refusal::Gap { .. } => Ok(()),
        Refusal::Fork { .. } => Err(found(world, "never-forks", &refusal.to_string())),
        Refusal::Poison(_) | Refusal::Denied(_) => {
            Err(found(world, "never-rewrites", &refusal.to_string()))
        }
    }
}

/// An end tells the other one of an error.
pub(crate) fn told(world: &World, error: &ErrorMessage) -> Step {
    match error.code {
        ErrorCode::Fork => Err(found(world, "never-forks", &error.text)),
        ErrorCode::Poison | ErrorCode::Denied => Err(found(world, "never-rewrites", &error.text)),
        _ => Ok(()),
    }
}

fn found(world: &World, checker: &'static str, text: &str) -> Violation {
    world.violation(checker, format!("among honest machines: {text}"))
}
