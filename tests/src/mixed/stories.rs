//! The stories: in which order versions are changed, and what is done in between.
//! Invariant: after each change everything is recorded, killed, brought in sync and audited as before it; a story ends
//! with everything at today's version. What a version cannot do alone is no story: it is tested where it is made.

use super::scene::Scene;
use super::{Stage, features};
use crate::fleet::Programs;

/// A story, by its name.
type Story = (&'static str, fn(&mut Stage<'_>));

/// All of them.
pub(super) const ALL: [Story; 11] = [
    ("old branch, today's cloud", old_branch),
    ("today's branch, old cloud", new_branch),
    ("cloud first, branches go on", cloud_first),
    ("branches first, cloud last", branches_first),
    ("side by side at today's cloud", side_by_side_new),
    ("side by side at the old cloud", side_by_side_old),
    ("new keys, old cloud", features::keys),
    ("a copy of a branch, old cloud", features::copy),
    ("credits asked for, old cloud", features::credits),
    ("today's decisions, old branch", features::decisions),
    ("cloud put back, old branch", features::restored),
];

impl Stage<'_> {
    /// Records under kills, waits for everything and looks at it.
    pub(super) fn work(&mut self, scene: &mut Scene, when: &str, kills: u32) {
        let before = scene.acknowledged();
        scene.work(kills);
        let mut wrong = scene.audit();
        let acts = scene.acknowledged() - before;
        if acts == 0 {
            wrong.push("nothing was recorded".to_owned());
        }
        self.show(format!("{when}: {acts} acts, {kills} kill -9 of each"), wrong);
    }
}

fn old_branch(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &new, 1);
    scene.join(&dir, "branch-1", &old);
    stage.work(&mut scene, "joined, linked", 2);
    scene.grant_all(500);
    stage.work(&mut scene, "with grants", 1);
    scene.change_branch(0, &new, true);
    stage.work(&mut scene, "the branch upgraded", 1);
}

fn new_branch(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &old, 2);
    scene.join(&dir, "branch-1", &new);
    stage.work(&mut scene, "joined, linked", 2);
    scene.grant_all(500);
    stage.work(&mut scene, "with grants", 1);
    scene.change_cloud(&new, false);
    stage.work(&mut scene, "the cloud upgraded", 1);
}

fn cloud_first(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &old, 3);
    scene.join(&dir, "branch-1", &old);
    scene.join(&dir, "branch-2", &old);
    stage.work(&mut scene, "all old", 1);
    scene.grant_all(500);
    scene.change_cloud(&new, false);
    stage.work(&mut scene, "the cloud upgraded, agents run on", 2);
    scene.change_branch(0, &new, false);
    stage.work(&mut scene, "one branch upgraded", 1);
    scene.change_branch(1, &new, true);
    stage.work(&mut scene, "the other one, by kill -9", 1);
}

fn branches_first(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &old, 4);
    scene.join(&dir, "branch-1", &old);
    scene.join(&dir, "branch-2", &old);
    stage.work(&mut scene, "all old", 1);
    scene.grant_all(500);
    scene.change_branch(0, &new, true);
    stage.work(&mut scene, "one branch upgraded", 2);
    scene.change_branch(1, &new, false);
    stage.work(&mut scene, "the other one", 1);
    scene.change_cloud(&new, true);
    stage.work(&mut scene, "the cloud upgraded by kill -9", 1);
}

fn side_by_side_new(stage: &mut Stage<'_>) {
    let new = stage.new.clone();
    side_by_side(stage, &new);
}

fn side_by_side_old(stage: &mut Stage<'_>) {
    let old = stage.old.clone();
    side_by_side(stage, &old);
}

fn side_by_side(stage: &mut Stage<'_>, cloud: &Programs) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, cloud, 5);
    scene.join(&dir, "branch-1", &old);
    scene.join(&dir, "branch-2", &new);
    stage.work(&mut scene, "an old and a new branch, the same users", 2);
    scene.grant_all(500);
    stage.work(&mut scene, "with grants", 1);
    scene.change_cloud(&new, false);
    stage.work(&mut scene, "the cloud started anew, of today", 1);
    scene.change_branch(0, &new, false);
    stage.work(&mut scene, "all of them", 1);
}
