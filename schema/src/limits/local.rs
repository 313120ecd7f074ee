//! Limits on what comes to a machine's own sockets: commands, a printer's software, probes.
//!
//! Invariant: who is silent gives way to who asks, and no client makes a process grow
//! beyond a stated number of places and lines.

use core::time::Duration;

/// A visitor of the cloud may take so long to ask: a program has its question ready when it connects.
pub const SILENCE_MAX: Duration = Duration::from_secs(2);
/// A client of an agent, likewise.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Who has a directory shows a command within this time that it is there, or the command goes away with exit code 75: an
/// agent or a cloud is up within a fraction of it, also on a slow card. The answer itself may take as long as it takes.
pub const HOLDER_PATIENCE: Duration = Duration::from_secs(3);
/// Clients of an agent that have yet to ask.
pub const ASKING_MAX: usize = 64;
/// Questions an agent answers at once.
pub const QUESTIONS_MAX: usize = 64;
/// Recordings at once; each may have some hundred lines under way.
pub const RECORDINGS_MAX: usize = 64;
/// One line of a recording, bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Lines that share a commit.
pub const GROUP_LINES_MAX: usize = 512;
/// Groups of one recording under way.
pub const GROUPS_MAX: usize = 16;
/// An event that is recorded as it is, bytes: no kind needs more.
pub const EVENT_BYTES_MAX: usize = 16 * 1024;

/// A question to an agent, bytes: a word and a few numbers.
pub const AGENT_QUESTION_BYTES_MAX: usize = 4096;
/// A question to a cloud, bytes, and the file of a rate card, which is asked to be published: the finest card fits.
pub const CLOUD_QUESTION_BYTES_MAX: usize = 256 * 1024;
/// Visits of a device's panel at once, at the socket and at loopback each; more wait. Its own software, a browser, and
/// those that wait for events.
pub const PANEL_VISITS_MAX: usize = 48;
/// Of these, so many may wait for events.
pub const PANEL_WAITING_MAX: usize = 24;
/// So long one waits for an event before it is told that there was none: less than a visit may take.
pub const PANEL_WAIT_MAX: Duration = Duration::from_secs(20);
/// Events that are kept for who comes back: some minutes of a busy panel.
pub const PANEL_FEED_MAX: usize = 256;
/// A request's body at the panel, bytes: the longest name or medium in escapes, and a few words.
pub const PANEL_BODY_BYTES_MAX: usize = 8 * 1024;
/// Users logged in at a panel at once: one stands before it, software may serve a few more.
pub const PANEL_SESSIONS_MAX: usize = 64;
/// Jobs that run at a panel at once.
pub const PANEL_JOBS_MAX: usize = 256;
/// So long a page waits for credits that the cloud was asked for: a recall takes three seconds, the way there and back
/// one or two.
pub const PANEL_PATIENCE: Duration = Duration::from_secs(6);

/// Clients of a cloud at once; more wait.
pub const CLIENTS_MAX: usize = 64;
/// A client of a cloud may take so long to take a line.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// HTTP visits at once.
pub const VISITS_MAX: usize = 64;
/// How long a visit may take in all.
pub const VISIT_TIME: Duration = Duration::from_secs(30);
/// A request's first line and headers, bytes.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// A request's body, bytes: nobody has anything to send.
pub const BODY_BYTES_MAX: usize = 1024;
