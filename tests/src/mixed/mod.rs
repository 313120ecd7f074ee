//! Versions mixed: the first one that landed and today's, as real processes, in every way that an upgrade passes through.
//! Owns which stories are played and what is told of each. Invariant: a story that cannot go on did not hold, and the
//! others are played all the same. What a story needs is `scene`'s, where the old programs come from `history`'s.

mod features;
mod history;
mod scene;
mod stories;

pub use history::{FIRST_LANDED, build};

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::fleet::Programs;

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Row {
    /// In which story.
    pub story: &'static str,
    /// What.
    pub what: String,
    /// What did not hold; nothing, if it held.
    pub wrong: Vec<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.wrong.is_empty() { "held" } else { "DID NOT HOLD" };
        write!(to, "{held:<13}{:<34}{}", self.story, self.what)?;
        self.wrong.iter().try_for_each(|wrong| write!(to, "\n{:13}{wrong}", ""))
    }
}

/// What a story is played with, and what it has shown so far.
struct Stage<'a> {
    old: &'a Programs,
    new: Programs,
    dir: PathBuf,
    story: &'static str,
    rows: &'a mut Vec<Row>,
    tell: &'a mut dyn FnMut(&Row),
}

impl Stage<'_> {
    fn show(&mut self, what: impl Into<String>, wrong: Vec<String>) {
        let row = Row { story: self.story, what: what.into(), wrong };
        (self.tell)(&row);
        self.rows.push(row);
    }
}

/// Plays the stories whose names contain `only`, each in a folder of its own in `dir`; tells each row as it is known.
pub fn run(old: &Programs, only: &str, dir: &Path, tell: &mut dyn FnMut(&Row)) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, (story, play)) in stories::ALL.iter().enumerate() {
        if !story.contains(only) {
            continue;
        }
        let dir = dir.join(format!("{number}"));
        std::fs::create_dir_all(&dir).expect("a folder for a story's files");
        let (new, rows, tell) = (Programs::default(), &mut rows, &mut *tell);
        let mut stage = Stage { old, new, dir, story, rows, tell };
        if let Err(why) = catch_unwind(AssertUnwindSafe(|| play(&mut stage))) {
            stage.show("cannot go on", vec![words(&*why)]);
        }
    }
    rows
}

fn words(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
