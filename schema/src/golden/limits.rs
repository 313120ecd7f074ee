//! The tables of limits in `FORMAT.md`, made of the code that states them.
//!
//! Invariant: every constant is in its table, with the value it has and the reason that stands
//! above it; one that is missing here fails the test.

use core::time::Duration;
use std::fmt::Write;

/// A limit's value, as a person reads it.
trait Paper {
    fn paper(&self) -> String;
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Paper for $number {
            fn paper(&self) -> String {
                self.to_string()
            }
        })*
    };
}
numbers!(u8, u32, u64, i64, usize);

impl Paper for Duration {
    fn paper(&self) -> String {
        format!("{} s", self.as_secs_f64())
    }
}

macro_rules! values {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), $name.paper())),*]
    };
}

pub(super) fn formats() -> String {
    use crate::limits::*;
    let values = values![
        RECORD_BODY_BYTES_MAX,
        EVENT_BODY_BYTES_MAX,
        BATCH_RECORDS_BYTES_MAX,
        BATCH_BYTES_MAX,
        BATCH_RECORDS_MAX,
        SEAL_BYTES,
        CONTROL_BYTES_MAX,
        FRAME_BYTES_MAX,
        HEADS_PER_MESSAGE_MAX,
        DIRECTORY_ENTRIES_MAX,
        SEALED_NAME_BYTES_MAX,
        ENROLMENT_BYTES_MAX,
        ENROLMENT_PROOF_BYTES_MAX,
        PIN_BYTES_MAX,
        ACT_BYTES_MAX,
        ACT_ANSWER_BYTES_MAX,
        ACTS_UNKNOWN_MAX,
        WINDOW_BYTES,
        BURST_BYTES_MAX,
        BURST_RECORDS_BYTES_MAX,
        BURST_RECORDS_KEPT_MAX,
        AHEAD_RECORDS_MAX,
        COMMIT_RECORDS_KEPT_MAX,
        BEHIND_BYTES_MAX,
        PAST_MOVES_MAX,
        TEXT_BYTES_MAX,
        NAME_BYTES_MAX,
        GRANT_THOUSANDTHS_MAX,
        LEASE_DAYS,
        LEASE_RECALL_SECONDS,
        BALANCE_TOLD_HOURS,
        FINER_PRICES_MAX,
        JOB_STEPS_MAX,
        EVENT_COUNT_MAX,
        METER_READING_MAX,
        EPOCHS_MAX,
        OWN_EPOCHS_MAX,
        ROTATIONS_MAX,
        QUARANTINE_ENTRIES_MAX,
        QUARANTINE_BYTES_MAX
    ];
    table(include_str!("../limits/mod.rs"), &values)
}

pub(super) fn files() -> String {
    use crate::limits::files::*;
    let values = values![
        PAGE_LOG_LINE_BYTES_MAX,
        PAGE_LOG_LINE_BYTES_KEPT,
        PAGE_LOG_WORD_BYTES_MAX,
        REJECT_FILE_BYTES_MAX,
        IDENTITY_FILE_BYTES_MAX
    ];
    table(include_str!("../limits/files.rs"), &values)
}

pub(super) fn links() -> String {
    use crate::limits::links::*;
    let values = values![
        CONNECTIONS_MAX,
        CONNECTIONS_TRUSTED,
        HANDSHAKE_TIMEOUT,
        HANDSHAKES_MAX,
        WAITING_HANDSHAKES,
        WAITING_BYTES_EACH,
        WAITING_BYTES_TOTAL,
        HANDSHAKES_PER_SECOND,
        HANDSHAKES_BURST,
        ADDRESSES_MAX,
        SESSIONS_BURST,
        SESSION_EVERY,
        CLIENT_CERTIFICATE_BYTES_MAX,
        OPEN_TIMEOUT,
        HELLO_TIMEOUT,
        CONNECT_TIMEOUT,
        IDLE_TIMEOUT,
        KEEP_ALIVE,
        STALL_TIMEOUT,
        DENIAL_TIMEOUT,
        LEAVING_TIMEOUT,
        FINISH_TIMEOUT,
        LEAVE_TIMEOUT,
        STREAM_WINDOW_BYTES,
        LINK_WINDOW_BYTES,
        BIDIRECTIONAL_STREAMS,
        UNIDIRECTIONAL_STREAMS,
        WAITING_BYTES_MAX,
        UNDER_WAY_MAX,
        ACTS_UNDER_WAY_MAX,
        ACTS_PER_SECOND,
        ACTS_BURST,
        ACT_PATIENCE,
        STOPS_MAX,
        ENROLMENTS_MAX,
        READMISSIONS_MAX,
        EXCHANGE_TIMEOUT,
        REFUSAL_DELAY,
        PIN_VALID_MILLISECONDS,
        PIN_TRIES
    ];
    table(include_str!("../limits/links.rs"), &values)
}

pub(super) fn local() -> String {
    use crate::limits::local::*;
    let values = values![
        SILENCE_MAX,
        ASK_TIMEOUT,
        HOLDER_PATIENCE,
        ASKING_MAX,
        QUESTIONS_MAX,
        RECORDINGS_MAX,
        LINE_BYTES_MAX,
        GROUP_LINES_MAX,
        GROUPS_MAX,
        EVENT_BYTES_MAX,
        AGENT_QUESTION_BYTES_MAX,
        CLOUD_QUESTION_BYTES_MAX,
        PANEL_VISITS_MAX,
        PANEL_WAITING_MAX,
        PANEL_WAIT_MAX,
        PANEL_FEED_MAX,
        PANEL_BODY_BYTES_MAX,
        PANEL_SESSIONS_MAX,
        PANEL_JOBS_MAX,
        PANEL_PATIENCE,
        CLIENTS_MAX,
        CLIENT_TIMEOUT,
        VISITS_MAX,
        VISIT_TIME,
        REQUEST_BYTES_MAX,
        BODY_BYTES_MAX
    ];
    table(include_str!("../limits/local.rs"), &values)
}

fn table(code: &str, values: &[(&str, String)]) -> String {
    let mut table = "| limit | value | what, and why so much |\n| --- | --- | --- |\n".to_owned();
    let mut reason = String::new();
    for line in code.lines() {
        if let Some(more) = line.strip_prefix("/// ") {
            reason = format!("{reason} {more}");
        } else if let Some(constant) = line.strip_prefix("pub const ") {
            let name = constant.split(':').next().unwrap();
            let value = values.iter().find(|(known, _)| *known == name);
            let (_, value) = value.unwrap_or_else(|| panic!("{name} is missing in its `values`"));
            writeln!(table, "| `{name}` | {value} | {} |", reason.trim()).unwrap();
            reason.clear();
        }
    }
    table
}
