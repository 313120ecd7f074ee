//! Limits on peers across a network: how many, how often, how long, how much.
//!
//! Invariant: whatever a peer does or leaves undone, it has a place for a stated
//! time and memory of a stated size; who has proven nothing has less of both than
//! an enrolled device. One device has one session: a newer one takes its place.

use core::time::Duration;

/// Connections at once: a fleet, with room for those that reconnect.
pub const CONNECTIONS_MAX: usize = 4096;
/// From so many on, a peer must first show that it receives at its address.
pub const CONNECTIONS_TRUSTED: usize = CONNECTIONS_MAX / 2;
/// A peer may take so long to finish its handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// TCP handshakes at once: more than a fleet begins in a round trip, few enough for a system
/// that allows a thousand descriptors.
pub const HANDSHAKES_MAX: usize = 256;
/// QUIC handshakes that wait to be accepted. A fleet that comes back all at once is slowed by its
/// own jitter; what is beyond this is refused and tries again.
pub const WAITING_HANDSHAKES: usize = 1024;
/// A first flight with room for large key shares, for each that waits.
pub const WAITING_BYTES_EACH: u64 = 16 * 1024;
/// All of them together.
pub const WAITING_BYTES_TOTAL: u64 = 4 * 1024 * 1024;
/// Handshakes a second from one address, in the long run: a tenth of what two small cores do.
pub const HANDSHAKES_PER_SECOND: u32 = 100;
/// And so many at once: a thousand devices behind one router come back with the line, twice.
pub const HANDSHAKES_BURST: u32 = 2048;
/// Addresses whose handshakes are remembered; when there are more, all are forgotten, which costs
/// an attacker's memory nothing and ours 2 MiB.
pub const ADDRESSES_MAX: usize = 16 * 1024;
/// Sessions of one device that may begin at once: a restart, a change of address, a change of way.
pub const SESSIONS_BURST: u32 = 10;
/// And one more each so long: a device that needs more is broken, or is two.
pub const SESSION_EVERY: Duration = Duration::from_secs(1);

/// A device's certificate has a few hundred bytes. Enough for other key types, too little to be a nuisance.
pub const CLIENT_CERTIFICATE_BYTES_MAX: usize = 4 * 1024;
/// A connected peer may take so long to open its control stream.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take to say HELLO.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A cloud may take so long: QUIC and TLS retransmit their handshakes that long before it is a failure.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A link that has been silent for so long is dead; only then does who is cut off go on by itself.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Devices say that they are there so often; over TCP, where the transport does not, both ends do.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A peer that takes nothing for so long, while much waits for it, is cut.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Who is refused may take so long to hear it.
pub const DENIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// A revoked device that says nothing for so long has nothing to leave.
pub const LEAVING_TIMEOUT: Duration = Duration::from_secs(10);
/// The last messages may take so long to arrive.
pub const FINISH_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer may take so long to close what it was told is over.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The cloud's window of a stream, bytes: twice the largest batch, so that one is on its way while
/// another is stored. A thousand links that all stall then hold 2 GiB each way at the very worst,
/// and next to nothing when both ends keep up.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The cloud's window of a link, bytes.
pub const LINK_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;
/// The control stream.
pub const BIDIRECTIONAL_STREAMS: u32 = 1;
/// Ledger, telemetry, directory, and one to spare for what a newer device may bring.
pub const UNIDIRECTIONAL_STREAMS: u32 = 4;
/// Bytes that may wait to be written before a session stops reading: a burst, and replies.
pub const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Effects of one session under way; beyond, nothing is read.
pub const UNDER_WAY_MAX: usize = 16;
/// Acts of one session under way, those that wait for a recall included; others are told to come again.
pub const ACTS_UNDER_WAY_MAX: usize = 16;
/// Acts of a processing server a second, in the long run: each is a commit, and devices are to be heard, too.
pub const ACTS_PER_SECOND: u32 = 100;
/// And so many at once; what comes faster waits.
pub const ACTS_BURST: u32 = 200;
/// A processing server waits so long for an answer: a recall takes three seconds, a full queue and the way a few more.
pub const ACT_PATIENCE: Duration = Duration::from_secs(10);
/// Logs of one session whose stop is told; more stop all the same.
pub const STOPS_MAX: usize = 16;

/// Enrolments at once; others are told to come again.
pub const ENROLMENTS_MAX: usize = 8;
/// Devices at once that a cloud which lost its accounts does not know and that have proven nothing yet;
/// others are told to come again.
pub const READMISSIONS_MAX: usize = 16;
/// A device may take so long to ask to be enrolled, and so long to take the answer.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a refusal costs: with [`ENROLMENTS_MAX`], at most eight guesses of a PIN a second in all.
pub const REFUSAL_DELAY: Duration = Duration::from_secs(1);
/// How long a PIN can be used, milliseconds.
pub const PIN_VALID_MILLISECONDS: u64 = 10 * 60 * 1000;
/// Wrong PINs before an invitation is void.
pub const PIN_TRIES: u8 = 5;
