//! `import page-log`: a CUPS page_log into the ledger, each line once.
//!
//! Invariant: what is told as counted is durable; lines that do not parse are told
//! with number and reason, kept in the reject file, and keep no other line out.
//! What a line means is `counts`'s, whether it is new the device's.

use clap::Args;
use miette::{Context, IntoDiagnostic, Result, miette};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tallyroll_edge::control::reach::reach;
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
    let way = reach(dir, "import")?;
    let recorder = StreamRecorder::new(way.record()?)?;
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
    report(&summary, &rejects_path, json);
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
    #[error("the device refuses a line: {0}")]
    Refused(String),
}

impl StreamRecorder {
    fn new(stream: UnixStream) -> Result<Self> {
        let answers = BufReader::new(stream.try_clone().into_diagnostic()?);
        Ok(Self { entries: BufWriter::new(stream), answers })
    }
}

impl Recorder for StreamRecorder {
    type Error = RecordError;

    fn record(&mut self, lines: &[Keyed]) -> Result<Vec<Outcome>, RecordError> {
        for line in lines {
            let act = act(line);
            serde_json::to_writer(&mut self.entries, &act).map_err(std::io::Error::from)?;
            self.entries.write_all(b"\n")?;
        }
        self.entries.flush()?;
        let mut text = String::new();
        lines
            .iter()
            .map(|_| {
                text.clear();
                if self.answers.read_line(&mut text)? == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
                match serde_json::from_str(&text).map_err(std::io::Error::from)? {
                    LineAnswer::Position(_) => Ok(Outcome::Counted),
                    LineAnswer::Already(_) => Ok(Outcome::Already),
                    LineAnswer::Error(why) => Err(RecordError::Refused(why)),
                }
            })
            .collect()
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
    }
}

fn report(summary: &Summary, rejects: &str, json: bool) {
    let Summary { lines, counted, already, rejected, .. } = summary;
    if json {
        let text = serde_json::json!({
            "lines": lines, "counted": counted, "already": already, "rejected": rejected,
            "incomplete": summary.incomplete, "not-read": summary.not_read,
        });
        println!("{text}");
    } else {
        println!("{lines} lines: {counted} counted, {already} counted before, {rejected} rejected");
    }
    if *rejected > 0 {
        eprintln!("rejected lines are kept in {rejects}");
    }
    if summary.rejects_not_kept > 0 {
        eprintln!(
            "{} rejected lines were not kept, {rejects} is full; move it away",
            summary.rejects_not_kept
        );
    }
    for file in &summary.incomplete {
        eprintln!("{file}: its last line has no end yet; it is read once it has");
    }
    for file in &summary.not_read {
        eprintln!("{}: compressed, not read; unpack it and import it by name", file.display());
    }
}
