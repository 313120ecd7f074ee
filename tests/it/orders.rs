//! The scenes of the stories in `tests/scenarios`, and every legitimate order of their events.
//! Legitimate is every order in which jobs begin first and conversions stand before later conversions and deliveries of
//! their job, which start from what they made, the server's also before its end, after which it takes none; credits are
//! given and users log in before all that.
//! Invariant: no order is left out, and no two lives share a user or a job. Who lives them is `permuted`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

/// What happens to a user in a story.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) user: String,
    pub(super) policy: String,
    pub(super) credits: String,
    pub(super) begun: Vec<Value>,
    pub(super) events: Vec<(Writer, Value)>,
    /// As the cloud shows them last.
    pub(super) figures: BTreeMap<String, String>,
}

/// Who has an event recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Device,
    /// A copy that knows of nothing but the beginning: a device takes no capture after an end that it knows of.
    Copy,
    Server,
    /// The server, which is refused whatever came before.
    Refused,
}

/// One order of one scene's events, with its own user and jobs.
#[derive(Debug)]
pub(super) struct Life<'a> {
    pub(super) scene: &'a Scene,
    pub(super) user: String,
    pub(super) events: Vec<(Writer, Value)>,
}

pub(super) fn scenes_of(story: &Path) -> Vec<Scene> {
    let text = std::fs::read_to_string(story).unwrap();
    let (mut scenes, mut policy) = (Vec::<Scene>::new(), String::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = |scenes: &mut Vec<Scene>, user: &str| match scenes
            .iter()
            .position(|s| s.user == user)
        {
            Some(at) => at,
            None => {
                scenes.push(Scene {
                    user: user.into(),
                    policy: policy.clone(),
                    ..Scene::default()
                });
                scenes.len() - 1
            }
        };
        match words[..] {
            ["settlement", of_jobs] => policy = of_jobs.into(),
            ["grant", user, credits] => {
                let at = of(&mut scenes, user);
                scenes[at].credits = credits.into();
            }
            ["cloud", user, ref figures @ ..] => {
                let at = of(&mut scenes, user);
                let pairs = figures.chunks(2).map(|pair| (pair[0].into(), pair[1].into()));
                scenes[at].figures.extend(pairs);
            }
            _ if line.contains('{') => {
                let (said, act) = line.split_at(line.find('{').unwrap());
                let act: Value = serde_json::from_str(act).unwrap();
                let at = match act["user"].as_str() {
                    Some(user) => of(&mut scenes, user),
                    None => scenes
                        .iter()
                        .position(|scene| {
                            scene.begun.iter().any(|begun| begun["job"] == act["job"])
                        })
                        .expect(line),
                };
                let writer = match (said.trim(), act["kind"].as_str().unwrap()) {
                    ("", "job.ended") => Writer::Copy,
                    ("", _) => Writer::Device,
                    ("server", _) => Writer::Server,
                    ("refused", _) => Writer::Refused,
                    _ => panic!("{line}: who does that?"),
                };
                match act["kind"] == "job.begun" {
                    true => scenes[at].begun.push(act),
                    false => scenes[at].events.push((writer, act)),
                }
            }
            _ => {}
        }
    }
    scenes
}

/// Whether one event of a story has to stand before a later one.
fn goes_before((writer, first): &(Writer, Value), (_, later): &(Writer, Value)) -> bool {
    let needs = ["pages.converted", "document.sent", "document.saved"];
    first["job"] == later["job"]
        && first["kind"] == "pages.converted"
        && (needs.iter().any(|kind| later["kind"] == *kind)
            || (*writer == Writer::Server && later["kind"] == "job.ended"))
}

/// Every legitimate order of a scene's events.
pub(super) fn orders(events: &[(Writer, Value)]) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in events {
        let longer = |order: &Vec<usize>| {
            let left = (0..events.len()).filter(|next| !order.contains(next));
            let may = left.filter(|next| {
                let before =
                    (0..*next).filter(|first| goes_before(&events[*first], &events[*next]));
                before.into_iter().all(|first| order.contains(&first))
            });
            may.map(|next| [&order[..], &[next]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    orders
}

/// The act, with ids that no other life has.
pub(super) fn renamed(act: &Value, user: &str, life: usize) -> Value {
    let mut act = act.clone();
    let job = u64::from_str_radix(act["job"].as_str().unwrap(), 16).unwrap();
    act["job"] = json!(format!("{:016x}", (life as u64 + 1) << 32 | job));
    if act["user"].is_string() {
        act["user"] = json!(user);
    }
    act
}

impl Life<'_> {
    /// Whether every job has ended: the device takes in nothing new while one runs.
    pub(super) fn is_over(&self) -> bool {
        let ends = self.events.iter().filter(|(_, act)| act["kind"] == "job.ended");
        ends.count() == self.scene.begun.len()
    }
}

/// All orders of all scenes, and how their jobs begin.
pub(super) fn lives(scenes: &[Scene]) -> (Vec<Life<'_>>, Vec<Value>) {
    let (mut lives, mut begun) = (Vec::new(), Vec::new());
    for scene in scenes {
        for order in orders(&scene.events) {
            let (number, user) = (lives.len(), format!("{}.{}", scene.user, lives.len()));
            begun.extend(scene.begun.iter().map(|act| renamed(act, &user, number)));
            let events = order.iter().map(|at| {
                let (writer, act) = &scene.events[*at];
                (*writer, renamed(act, &user, number))
            });
            lives.push(Life { scene, events: events.collect(), user });
        }
    }
    (lives, begun)
}
