//! What the demo shows while it plays: a table that lives on a terminal, plain lines elsewhere.
//!
//! Invariant: what is said stays, in order, with the seconds since the start; the
//! table is gone at the end. Elsewhere than on a terminal no line is ever rewritten.

use super::branch::Branch;
use super::fleet::Fleet;
use core::time::Duration;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// Where nothing is rewritten, progress is told this often.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Where it is shown.
pub(super) struct Stage {
    began: Instant,
    table: Option<Table>,
    told: Instant,
}

struct Table {
    all: MultiProgress,
    head: ProgressBar,
    rows: Vec<ProgressBar>,
}

impl Stage {
    /// A stage on stdout.
    pub(super) fn open() -> Self {
        let table = std::io::stdout().is_terminal().then(Table::new);
        Self { began: Instant::now(), table, told: Instant::now() }
    }

    /// Says what happens.
    pub(super) fn say(&self, what: &str) {
        let line = format!("{:>5.1} s  {what}", self.began.elapsed().as_secs_f64());
        match &self.table {
            // A terminal that is gone sees nothing; the demo goes on.
            Some(table) => drop(table.all.println(line)),
            None => println!("{line}"),
        }
    }

    /// Shows how far everybody is.
    pub(super) fn show(&mut self, fleet: &Fleet) {
        if let Some(table) = &mut self.table {
            return table.show(fleet);
        }
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            self.say(&summary(fleet));
        }
    }

    /// Takes the table away.
    pub(super) fn close(&mut self) {
        if let Some(table) = self.table.take() {
            table.rows.iter().for_each(ProgressBar::finish_and_clear);
            table.head.finish_and_clear();
        }
    }
}

impl Table {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let head = all.add(ProgressBar::new(0).with_style(style("{msg}")));
        Self { all, head, rows: Vec::new() }
    }

    fn show(&mut self, fleet: &Fleet) {
        let cloud = if fleet.cloud.runs() { "running" } else { "killed" };
        self.head.set_message(format!(
            "  {:<11} {:<9} {:>11} {:>8} {:>8} {:>6}  cloud {cloud}",
            "branch", "line", "printed", "written", "at cloud", "to go"
        ));
        while self.rows.len() < fleet.branches.len() {
            let row = ProgressBar::new(0).with_style(style("{msg}  {bar:24}"));
            self.rows.push(self.all.add(row));
        }
        for (row, branch) in self.rows.iter().zip(&fleet.branches) {
            row.set_length(branch.printed().1 as u64);
            row.set_position(branch.progress.at_cloud);
            row.set_message(describe(branch));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

fn describe(branch: &Branch) -> String {
    let (printed, in_all) = branch.printed();
    let progress = branch.progress;
    let to_go = progress.to_go();
    format!(
        "  {:<11} {:<9} {:>11} {:>8} {:>8} {to_go:>6}",
        branch.name,
        line(branch),
        format!("{printed}/{in_all}"),
        progress.written,
        progress.at_cloud,
    )
}

fn line(branch: &Branch) -> &'static str {
    match (branch.runs(), branch.relay.is_cut(), branch.progress.linked) {
        (false, _, _) => "killed",
        (true, true, _) => "cut",
        (true, false, true) => "up",
        (true, false, false) => "linking",
    }
}

fn summary(fleet: &Fleet) -> String {
    let sum = |of: fn(&Branch) -> u64| fleet.branches.iter().map(of).sum::<u64>();
    let (written, at_cloud) = (sum(|b| b.progress.written), sum(|b| b.progress.at_cloud));
    let printed = sum(|branch| branch.printed().0 as u64);
    let mut lines: Vec<String> = Vec::new();
    for state in ["up", "linking", "cut", "killed"] {
        let count = fleet.branches.iter().filter(|branch| line(branch) == state).count();
        lines.extend((count > 0).then(|| format!("{count} {state}")));
    }
    let to_go = written.saturating_sub(at_cloud);
    let lines = lines.join(", ");
    format!(
        "{printed} printed, {written} written, {at_cloud} at the cloud, {to_go} to go ({lines})"
    )
}
