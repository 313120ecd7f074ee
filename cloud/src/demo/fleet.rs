//! The fleet: the cloud and its branches together, and what befalls them.
//!
//! Invariant: progress is what the branches' own `status` says, never what the demo
//! believes. Nothing runs after [`Fleet::stop`], so that what is checked then comes
//! from files. When something befalls whom is the story's.

use super::branch::{Branch, Imported};
use super::cloud::Cloud;
use super::error::{Doing, Result};
use super::evidence::rows;
use super::place::Place;
use super::programs::Programs;
use super::workload::BranchWork;
use tokio::task::JoinSet;

/// All that runs.
#[derive(Debug)]
pub(super) struct Fleet {
    /// The cloud.
    pub(super) cloud: Cloud,
    /// The branches.
    pub(super) branches: Vec<Branch>,
}

impl Fleet {
    /// Starts a cloud, and enrols and starts a branch for each share of the work.
    pub(super) async fn start(
        programs: &Programs,
        place: &Place,
        work: &[BranchWork],
    ) -> Result<Self> {
        let outputs = place.folder("outputs")?;
        let data = place.root().join("cloud");
        let cloud = Cloud::start(&programs.cloud, data, &outputs).await?;
        let mut branches = Vec::with_capacity(work.len());
        for work in work {
            let folder = place.folder(&work.branch)?;
            branches.push(Branch::open(&programs.edge, folder, &outputs, work, &cloud).await?);
        }
        Ok(Self { cloud, branches })
    }

    /// The branches whose lines will be cut: half of them, at least one.
    pub(super) fn unlucky(&self) -> impl Iterator<Item = &Branch> {
        self.branches.iter().step_by(2)
    }

    /// Asks every running branch how far it is.
    pub(super) async fn look(&mut self) -> Result<()> {
        self.cloud.check()?;
        let mut asked = JoinSet::new();
        for (index, branch) in self.branches.iter_mut().enumerate() {
            branch.check()?;
            let desk = branch.desk();
            if branch.runs() {
                asked.spawn(async move { (index, desk.progress().await) });
            }
        }
        while let Some(answer) = asked.join_next().await {
            let (index, progress) = answer.doing("wait for an answer")?;
            if let Some(branch) = self.branches.get_mut(index) {
                branch.progress = progress?;
            }
        }
        Ok(())
    }

    /// Lets every importer come to the end of its page_log.
    pub(super) async fn finish_imports(&mut self) -> Result<Vec<Imported>> {
        let mut imported = Vec::with_capacity(self.branches.len());
        for branch in &mut self.branches {
            imported.push(branch.finish_import().await?);
        }
        Ok(imported)
    }

    /// Whether everything written is at the cloud, names included.
    pub(super) async fn has_converged(&self) -> Result<bool> {
        let arrived = |branch: &Branch| branch.progress.written == branch.progress.at_cloud;
        if !self.branches.iter().all(arrived) {
            return Ok(false);
        }
        let view = self.cloud.ask(&["view", "balances", "--json"], &[0]).await?;
        Ok(rows(&view)?.iter().all(|row| row["name"].is_string()))
    }

    /// Stops all processes gently.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for branch in &mut self.branches {
            branch.stop().await?;
        }
        self.cloud.stop().await
    }
}
