//! Every limit on what comes from outside, in one place, each with its reason.
//!
//! Owns those of the formats; how many may come over a network, how fast and for
//! how long, is in [`links`], what may come to a machine's own sockets in [`local`],
//! and what is read from its files in [`files`].
//! Invariant: a decoder that meets a larger value refuses it before it
//! allocates. Rims and engine use these constants and state none of their own
//! for the same thing.

pub mod files;
pub mod links;
pub mod local;

/// One record's body, bytes. An event is a fact, not a document; those are blobs.
pub const RECORD_BODY_BYTES_MAX: u32 = 256 * 1024;
/// One event's body when it is first recorded, bytes: recording it again needs room for where it stood.
pub const EVENT_BODY_BYTES_MAX: u32 = RECORD_BODY_BYTES_MAX - 256;
/// One batch's records before compression, bytes: the largest record, and as much again of others.
pub const BATCH_RECORDS_BYTES_MAX: u32 = 512 * 1024;
/// One batch as stored and sent, header included, bytes: incompressible records grow a little.
pub const BATCH_BYTES_MAX: u32 = BATCH_RECORDS_BYTES_MAX + 4 * 1024;
/// Records in a batch: as many empty bodies as fit in it.
pub const BATCH_RECORDS_MAX: u32 = BATCH_RECORDS_BYTES_MAX / 24;
/// Sealing starts here, bytes of tail: small enough to send soon, large enough to compress.
pub const SEAL_BYTES: usize = 64 * 1024;
/// A control message, bytes: a few hundred heads or directory entries.
pub const CONTROL_BYTES_MAX: u32 = 64 * 1024;
/// A frame on a batch stream, bytes.
pub const FRAME_BYTES_MAX: u32 = BATCH_BYTES_MAX + 64;
/// Heads in one HAVE message; more are sent in further messages.
pub const HEADS_PER_MESSAGE_MAX: usize = 256;
/// Directory entries in one message.
pub const DIRECTORY_ENTRIES_MAX: usize = 128;
/// A sealed name, bytes: the encapsulated key, the longest name padded, the tag.
pub const SEALED_NAME_BYTES_MAX: usize = 32 + (1 + NAME_BYTES_MAX) + 16;
/// An enrolment's request or answer, bytes: a few keys and names, with room to grow.
pub const ENROLMENT_BYTES_MAX: usize = 8 * 1024;
/// What a device shows to prove its enrolment, bytes: a few batches of its log, each of an event or two.
pub const ENROLMENT_PROOF_BYTES_MAX: usize = 16 * 1024;
/// A PIN, bytes: an administrator types it.
pub const PIN_BYTES_MAX: usize = 64;
/// What a processing server asks to do, as a line of JSON, bytes: a few names and pages.
pub const ACT_BYTES_MAX: usize = 16 * 1024;
/// Why it may not, bytes: who holds how much, as far as a person reads it.
pub const ACT_ANSWER_BYTES_MAX: usize = 4 * 1024;
/// Requests whose answers were lost and that were not sent again, at a processing server; beyond, it asks for nothing new.
pub const ACTS_UNKNOWN_MAX: usize = 1024;
/// Bytes of batches a sender may have under way that are not yet durable at the receiver.
pub const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Batches' bytes that one burst (batches closed by a head) may hold.
pub const BURST_BYTES_MAX: u32 = 1024 * 1024;
/// Records of one burst, unpacked, bytes: whoever unpacks them keeps others waiting. Honest ones are three to twenty times
/// what was sent; a sender ends its bursts at half of this.
pub const BURST_RECORDS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Records of one burst that are kept unpacked until it is stored, bytes. What is beyond is unpacked
/// once more, a batch at a time.
pub const BURST_RECORDS_KEPT_MAX: usize = 8 * 1024 * 1024;
/// Records that the cloud unpacks before their burst's turn to be stored, of all sessions together, bytes. Beyond, they
/// are unpacked in their turn.
pub const AHEAD_RECORDS_MAX: usize = 32 * 1024 * 1024;
/// Records of one commit, of many bursts, that are kept unpacked until they are counted, bytes; what is beyond likewise.
pub const COMMIT_RECORDS_KEPT_MAX: usize = 32 * 1024 * 1024;
/// What is receipted at the cloud and not counted yet, bytes as stored: a second's work of counting at the most. Then no more
/// is taken until all is counted.
pub const BEHIND_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What moved usage, kept in columns for questions about the past: moves, of some 20 bytes each, besides two for each
/// line of usage. Beyond that, moments of the older half are folded anew when they are asked for.
pub const PAST_MOVES_MAX: usize = 4 * 1024 * 1024;
/// Any text field of an event, bytes: a name, a reason, a label. Kept by whoever writes it.
pub const TEXT_BYTES_MAX: usize = 1024;
/// A device's or a user's name, bytes, as POSIX login names and DNS labels stay far below it.
pub const NAME_BYTES_MAX: usize = 255;
/// One grant, thousandths of a credit, given or taken back: a billion credits. A larger one is a slip of the hand.
pub const GRANT_THOUSANDTHS_MAX: i64 = 1_000_000_000_000;
/// How long a device may spend of a lease without a word from its cloud, days: longer than a line is down.
pub const LEASE_DAYS: u64 = 30;
/// How long a request for credits waits until other devices gave theirs back, seconds: somebody stands at the panel.
pub const LEASE_RECALL_SECONDS: u64 = 3;
/// How long a device is told a user's balance by itself after it asked, or after the cloud acted for the user there,
/// hours: a working day and its night. Later the user logs in anew, and it asks.
pub const BALANCE_TOLD_HOURS: u64 = 24;
/// Finer prices on one rate card: a person keeps them in mind, every device holds every card.
pub const FINER_PRICES_MAX: usize = 256;
/// Conversions in one job that settles, each kind, and revisions of its document: a person asks for a few,
/// and all are looked at with each event of the job.
pub const JOB_STEPS_MAX: u32 = 1_000;
/// What one event may count, pages times conversions or destinations: as much as one of pages alone,
/// so that 2³² such events still add up in 64 bits.
pub const EVENT_COUNT_MAX: u64 = u32::MAX as u64;
/// What a meter may show: twelve digits, more than any printer's lifetime, so that differences add up in 64 bits.
pub const METER_READING_MAX: u64 = 999_999_999_999;
/// Epochs that a peer may announce: a device opens one each time it was restored or copied.
pub const EPOCHS_MAX: usize = 1024;
/// Epochs a device opens in one log before it asks to be enrolled anew: something copies it for ever.
pub const OWN_EPOCHS_MAX: u32 = 256;
/// Times a log's keys may change: four times a year for sixteen years. All are looked at with each burst.
pub const ROTATIONS_MAX: usize = 64;
/// Entries a device may have open in quarantine: one for each of its epochs that may be under way, and a few that it
/// invents. What it brings beyond is counted, not kept.
pub const QUARANTINE_ENTRIES_MAX: usize = 8;
/// What is kept of a device in quarantine, bytes: half a million events of a branch that was offline when it was
/// revoked; a thousand hostile devices fill 16 GiB and no more.
pub const QUARANTINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
