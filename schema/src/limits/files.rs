//! Limits on what is read from files of a machine that others write.
//!
//! Invariant: whatever lies there, a reader keeps a stated number of bytes of it in memory; what
//! is longer is told and not taken in. Whose files they are is the rims' to know.

/// A line of a page log, bytes; CUPS itself writes none over 2 KiB.
pub const PAGE_LOG_LINE_BYTES_MAX: usize = 64 * 1024;
/// What is kept of a longer one, bytes: enough to find it by.
pub const PAGE_LOG_LINE_BYTES_KEPT: usize = 1024;
/// A word of a page log, as a printer's or a user's name, is not looked for beyond so many bytes: CUPS fills half its buffer with one.
pub const PAGE_LOG_WORD_BYTES_MAX: usize = 1023;
/// A file of lines that could not be read takes no more at this size, bytes: thousands of them, for a person.
pub const REJECT_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A cloud's identity in a file, bytes; it has some 2 KiB.
pub const IDENTITY_FILE_BYTES_MAX: u64 = 64 * 1024;
