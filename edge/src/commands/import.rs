//! `import page-log`: a CUPS page_log into the ledger, each line once.
//!
//! Invariant: what is told as counted is durable; lines that do not parse are told
//! with number and reason, kept in the reject file, and keep no other line out.
//! What a line means is `counts`'s, whether it is new the device's.

use super::print;
use clap::Args;
use miette::{Context, IntoDiagnostic, Result, miette};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tallyroll_edge::control::reach::{NotNow, reach};
use tallyroll_edge::control::recording::LineAnswer;
use tallyroll_edge::counts::{
    Format, Importer, Keyed, Outcome, Pages, Recorder, RejectFile, Rejection, Summary,
};
use tallyroll_edge::data_dir::DataDir;
use tallyroll_schema::event::counts::{ColorMode, CountSource, Sides};
use tallyroll_schema::{Act, JobId, Wall};

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(250);

#[derive(Args)]
pub(crate) struct ImportArguments {
    /// The page_log; `-` for stdin.
    file: PathBuf,
    /// The `PageLogFormat` of its cupsd.conf, if it is not CUPS's own.
    #[arg(long)]
    format: Option<String>,
    /// Go on as the file grows and is rotated, until stopped.
    #[arg(long)]
    follow: bool,
    /// The summary as JSON.
    #[arg(long)]
    json: bool,
}

/// Imports; exits with 1 when lines were rejected.
pub(crate) async fn run(dir: &DataDir, arguments: ImportArguments) -> Result<ExitCode> {
    let format = match &arguments.format {
        None => Format::default(),
        Some(text) => Format::parse(text).into_diagnostic().wrap_err("cannot use --format")?,
    };
    if arguments.follow && arguments.file.as_os_str() == "-" {
        return Err(miette!("stdin is followed to its end anyway; leave out --follow"));
    }
    let json = arguments.json;
    let way = reach(dir, "import").await?;
    let recorder = StreamRecorder::new(way.record(None)?)?;
    let rejects = RejectFile::open(&dir.rejects()).into_diagnostic()?;
    let rejects_path = rejects.path().display().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let reading =
        tokio::task::spawn_blocking(move || read(arguments, format, recorder, rejects, &stopping));
    let watching = tokio::spawn(stop_on_signal(stop));
    let summary = reading.await.into_diagnostic()?;
    watching.abort();
    way.close().await?;
    let summary = summary?;
    report(&summary, &rejects_path, json)?;
    Ok(if summary.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(
    arguments: ImportArguments,
    format: Format,
    mut recorder: StreamRecorder,
    rejects: RejectFile,
    stop: &AtomicBool,
) -> Result<Summary> {
    let mut importer = Importer::new(format, &mut recorder, rejects);
    if arguments.file.as_os_str() == "-" {
        importer.read_stream(&mut std::io::stdin().lock()).into_diagnostic()?;
    } else if arguments.follow {
        let stopped = || stop.load(Ordering::Relaxed);
        importer.follow(&arguments.file, POLL, &stopped).into_diagnostic()?;
    } else {
        importer.read_file(&arguments.file).into_diagnostic()?;
    }
    importer.finish().into_diagnostic()
}

async fn stop_on_signal(stop: Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    if let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.store(true, Ordering::Relaxed);
    }
}

/// Hands lines to the device as acts and reads what became of them.
struct StreamRecorder {
    entries: BufWriter<UnixStream>,
    answers: BufReader<UnixStream>,
}

/// Why the device did not take lines.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("the device went away: {0}; import the file again, nothing is counted twice")]
    Gone(#[from] std::io::Error),
    #[error("{0}")]
    NotNow(#[source] NotNow),
    #[error("the device refuses a line: {0}")]
    Refused(String),
}

impl StreamRecorder {
    fn new(stream: UnixStream) -> Result<Self> {
        let answers = BufReader::new(stream.try_clone().into_diagnostic()?);
        Ok(Self { entries: BufWriter::new(stream), answers })
    }

    fn send(&mut self, lines: &[Keyed]) -> std::io::Result<()> {
        for line in lines {
            serde_json::to_writer(&mut self.entries, &act(line))?;
            self.entries.write_all(b"\n")?;
        }
        self.entries.flush()
    }

    fn outcome(&mut self) -> Result<Outcome, RecordError> {
        let mut text = String::new();
        if self.answers.read_line(&mut text)? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_str(&text).map_err(std::io::Error::from)? {
            LineAnswer::Position(_) => Ok(Outcome::Counted),
            LineAnswer::Already(_) => Ok(Outcome::Already),
            LineAnswer::Busy(why) => Err(RecordError::NotNow(NotNow::Busy(why))),
            LineAnswer::Error(why) => Err(RecordError::Refused(why)),
        }
    }
}

impl Recorder for StreamRecorder {
    type Error = RecordError;

    fn record(&mut self, lines: &[Keyed]) -> Result<Vec<Outcome>, RecordError> {
        if let Err(why) = self.send(lines) {
            // A device that has no place for the stream says so and closes it.
            return Err(self.outcome().err().unwrap_or(why.into()));
        }
        lines.iter().map(|_| self.outcome()).collect()
    }

    fn rejected(&mut self, rejection: &Rejection) {
        eprintln!("{}:{}: {}", rejection.source, rejection.line, rejection.reason);
    }
}

fn act(line: &Keyed) -> Act {
    let entry = &line.entry;
    let (impressions, running_total) = match entry.pages {
        Pages::Total { impressions } => (impressions, Some(impressions)),
        Pages::Page { copies, .. } => (copies, None),
    };
    Act::Print {
        job: Some(JobId(line.key.0.to_le_bytes())),
        user: entry.user.clone(),
        impressions,
        sheets: None,
        color: match entry.color {
            None => ColorMode::Unknown,
            Some(false) => ColorMode::Monochrome,
            Some(true) => ColorMode::Color,
        },
        sides: match entry.sides.as_deref() {
            Some("one-sided") => Some(Sides::OneSided),
            Some("two-sided-long-edge") => Some(Sides::TwoSidedLongEdge),
            Some("two-sided-short-edge") => Some(Sides::TwoSidedShortEdge),
            _ => None,
        },
        media: entry.media.clone(),
        source: CountSource::PageLog,
        job_number: Some(entry.job_number),
        acted_at: u64::try_from(entry.printed_at).ok().map(Wall),
        spool_job: Some(JobId(entry.job.0.to_le_bytes())),
        running_total,
        page: None,
    }
}

fn report(summary: &Summary, rejects: &str, json: bool) -> Result<()> {
    let Summary { lines, counted, already, rejected, .. } = summary;
    if json {
        let text = serde_json::json!({
            "lines": lines, "counted": counted, "already": already, "rejected": rejected,
            "rejects-not-kept": summary.rejects_not_kept + summary.passed_over,
            "incomplete": summary.incomplete, "not-read": summary.not_read,
        });
        print(text)?;
    } else {
        let told = format!(
            "{lines} lines: {counted} counted, {already} counted before, {rejected} rejected"
        );
        print(told)?;
    }
    if let Some(text) = where_rejects_are(summary, rejects) {
        eprintln!("{text}");
    }
    if let over @ 1.. = summary.passed_over {
        eprintln!(
            "{over} lines before the first that could be read are not kept; if they are in another format, import the file again with that one"
        );
    }
    for file in &summary.incomplete {
        eprintln!("{file}: its last line has no end yet; it is read once it has");
    }
    for file in &summary.not_read {
        eprintln!("{}: compressed, not read; unpack it and import it by name", file.display());
    }
    Ok(())
}

fn where_rejects_are(summary: &Summary, path: &str) -> Option<String> {
    let to_keep = summary.rejected - summary.passed_over;
    let what_to_do = "move it away and import again to have them all in one";
    match (to_keep, summary.rejects_not_kept) {
        (0, _) => None,
        (_, 0) => Some(format!("rejected lines are kept in {path}")),
        (_, left_out) => Some(format!(
            "{path} is full: it has {} of the {to_keep} rejected lines and no room for {left_out}; {what_to_do}",
            to_keep - left_out,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_reject_file_is_told_without_contradiction() {
        let told = |rejected, rejects_not_kept, passed_over| {
            let summary = Summary { rejected, rejects_not_kept, passed_over, ..Summary::default() };
            where_rejects_are(&summary, "rejects").unwrap_or_default()
        };
        assert_eq!(told(0, 0, 0), "");
        assert_eq!(told(5, 0, 2), "rejected lines are kept in rejects");
        let full =
            "rejects is full: it has 0 of the 5 rejected lines and no room for 5; move it away";
        assert!(told(5, 5, 0).starts_with(full));
        assert!(told(7, 4, 2).contains("it has 1 of the 5 rejected lines and no room for 4"));
    }
}
