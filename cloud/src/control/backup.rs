//! Making a backup: where the keeper says which moment, and a thread of its own copies it.
//!
//! Invariant: devices and commands are served meanwhile; what the backup holds is what was
//! committed when the keeper came to it. What is in it is left to [`crate::backup`].

use super::Failure;
use super::desk::Desk;
use crate::backup::{BackupError, Made, MadeOfIdentity, keep_identity, make};
use std::path::PathBuf;

impl Desk {
    pub(super) async fn backup(&self, to: PathBuf) -> Result<Made, Failure> {
        let moment = |replica: &mut crate::keeper::Replica| {
            Ok((replica.hub.store().moment()?, replica.now().wall))
        };
        let (moment, made_at) = self.keeper.run(moment).await?;
        let dir = self.dir.clone();
        let made = tokio::task::spawn_blocking(move || make(&dir, (&moment, made_at), &to)).await;
        let broke_off = |why| Failure::lasting(format!("the backup broke off: {why}"));
        made.map_err(broke_off)?.map_err(failure)
    }

    pub(super) async fn backup_identity(&self, to: PathBuf) -> Result<MadeOfIdentity, Failure> {
        let root =
            |replica: &mut crate::keeper::Replica| Ok((replica.hub.root()?, replica.now().wall));
        let root = self.keeper.run(root).await?;
        keep_identity(&self.dir, root, &to).map_err(failure)
    }
}

fn failure(why: BackupError) -> Failure {
    Failure { text: why.to_string(), temporary: why.is_temporary() }
}
