//! Answers to the processing server on this machine: whether it may do what it asks for.
//!
//! Invariant: a position is answered only once the act is durable; then it may be done. How it comes to
//! that is in [`acts`](crate::acts), for those that ask over a network, too.

use super::Failure;
use super::desk::Desk;
use crate::acts::act;
use serde::Serialize;
use tallyroll_schema::{Position, ServerAct};

/// It may be done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Permitted {
    position: Position,
}

impl Desk {
    pub(super) async fn act(&self, asked: ServerAct) -> Result<Permitted, Failure> {
        let position = act(&self.keeper, self.live.clone(), asked, None).await?;
        Ok(Permitted { position })
    }
}
