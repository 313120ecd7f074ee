//! Acts: what a client asks a device to record, before aliases and prices.
//!
//! Invariant: an act carries the same `kind` as the event it becomes, and the
//! fields a client knows; the device adds job, alias, price and position. What is
//! read from text happened within [`Act::ACTED_AT`]. The name in an act stays at
//! the device (and, sealed, in the tenant's directory).

use crate::event::counts::{ColorMode, Conversion, CountSource, PageRange, Sides};
use crate::{JobId, Wall};
use core::ops::Range;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

/// Something a user did at a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// A job begins; it settles by the tenant's policy. What is done in a job that never began
    /// settles as it happens.
    #[serde(rename = "job.begun")]
    Begin {
        /// The job; a new one each time.
        job: JobId,
        /// The user's name.
        user: String,
    },
    /// Pages came out of a printer.
    #[serde(rename = "pages.printed")]
    Print {
        /// The job; a new one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
        /// The user's name.
        user: String,
        /// Sides of media marked, all copies.
        impressions: u32,
        /// Media used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sheets: Option<u32>,
        /// Color or not.
        #[serde(default = "unknown_color")]
        color: ColorMode,
        /// One or two sides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sides: Option<Sides>,
        /// `media` keyword.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<String>,
        /// Who counted.
        #[serde(default = "device_source")]
        source: CountSource,
        /// The spooler's job number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job_number: Option<u32>,
        /// When, if not now (milliseconds since the Unix epoch).
        #[serde(
            default,
            deserialize_with = "plausible_time",
            skip_serializing_if = "Option::is_none"
        )]
        acted_at: Option<Wall>,
        /// The spooler's job, for sources that speak of one job in several lines.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spool_job: Option<JobId>,
        /// That job's running total, for sources that log one; `impressions` is
        /// then worked out from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        running_total: Option<u32>,
        /// The page's number in its job, from 1, where the client counts them: a number is recorded once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<u32>,
    },
    /// Pages were scanned.
    #[serde(rename = "pages.captured")]
    Capture {
        /// The job; a new one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
        /// The user's name.
        user: String,
        /// Images captured.
        pages: u32,
        /// Color or not.
        #[serde(default = "unknown_color")]
        color: ColorMode,
        /// `media` keyword of their size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<String>,
        /// The page's number in its job, from 1, where the client counts them: a number is recorded once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<u32>,
    },
    /// Pages were converted.
    #[serde(rename = "pages.converted")]
    Convert {
        /// The job.
        job: JobId,
        /// The user's name.
        user: String,
        /// Pages converted.
        pages: u32,
        /// Each kind applied to each of them.
        conversions: Vec<Conversion>,
        /// `media` keyword of their size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<String>,
        /// The document's revision that it makes; the next, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
        /// The earlier one that it starts from; the newest, if absent. 0 is as captured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_revision: Option<u32>,
        /// Which pages; the first ones, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        which_pages: Option<Vec<PageRange>>,
    },
    /// A document was sent outside.
    #[serde(rename = "document.sent")]
    Send {
        /// The job.
        job: JobId,
        /// The user's name.
        user: String,
        /// Pages of the document as sent.
        pages: u32,
        /// How many destinations.
        destinations: u32,
        /// Color or not, as sent.
        #[serde(default = "unknown_color")]
        color: ColorMode,
        /// `media` keyword of their size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<String>,
        /// The document's revision that is delivered; its newest, if absent. 0 is as captured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
        /// Which pages; the first ones, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        which_pages: Option<Vec<PageRange>>,
    },
    /// A document was saved in the server's own store.
    #[serde(rename = "document.saved")]
    Save {
        /// The job.
        job: JobId,
        /// The user's name.
        user: String,
        /// Pages.
        pages: u32,
        /// `media` keyword of their size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<String>,
        /// The document's revision that is delivered; its newest, if absent. 0 is as captured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
        /// Which pages; the first ones, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        which_pages: Option<Vec<PageRange>>,
    },
    /// Somebody logged in, and the device wants to know their balance.
    #[serde(rename = "balance.asked")]
    Ask {
        /// The user's name.
        user: String,
    },
    /// A job's document was deleted.
    #[serde(rename = "document.discarded")]
    Discard {
        /// The job.
        job: JobId,
    },
    /// A job ended; if nothing of it was sent or saved, its document counts as discarded.
    #[serde(rename = "job.ended")]
    End {
        /// The job.
        job: JobId,
    },
}

fn unknown_color() -> ColorMode {
    ColorMode::Unknown
}

fn device_source() -> CountSource {
    CountSource::Device
}

fn plausible_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Wall>, D::Error> {
    let time = Option::<Wall>::deserialize(from)?;
    match time.filter(|time| !Act::ACTED_AT.contains(time)) {
        None => Ok(time),
        Some(Wall(beyond)) => Err(D::Error::custom(format!(
            "acted-at {beyond} is not in the years 2000 to 2199; it is in milliseconds since 1970, from {} to {}",
            Act::ACTED_AT.start.0,
            Act::ACTED_AT.end.0 - 1,
        ))),
    }
}

impl Act {
    /// The `kind`s that are acts.
    pub const KINDS: [&str; 9] = [
        "job.begun",
        "pages.printed",
        "pages.captured",
        "pages.converted",
        "document.sent",
        "document.saved",
        "balance.asked",
        "document.discarded",
        "job.ended",
    ];

    /// When something may have been done: from 2000 until 2200. What lies beyond is a broken clock, or
    /// seconds taken for milliseconds, and would be counted in a month that nobody looks at.
    pub const ACTED_AT: Range<Wall> = Wall(946_684_800_000)..Wall(7_258_118_400_000);

    /// The user's name, where the act is somebody's and not just a job's.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Begin { user, .. }
            | Self::Print { user, .. }
            | Self::Capture { user, .. }
            | Self::Convert { user, .. }
            | Self::Send { user, .. }
            | Self::Save { user, .. }
            | Self::Ask { user } => Some(user),
            Self::Discard { .. } | Self::End { .. } => None,
        }
    }

    /// The job, if the client named one.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Print { job, .. } | Self::Capture { job, .. } => *job,
            Self::Ask { .. } => None,
            Self::Begin { job, .. }
            | Self::Convert { job, .. }
            | Self::Send { job, .. }
            | Self::Save { job, .. }
            | Self::Discard { job }
            | Self::End { job } => Some(*job),
        }
    }

    /// The page, where the client counts those of a job.
    pub fn page(&self) -> Option<(JobId, u32)> {
        match self {
            Self::Print { job, page, .. } | Self::Capture { job, page, .. } => job.zip(*page),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acted_at(time: &str) -> Result<Act, String> {
        let act = r#"{"kind":"pages.printed","user":"anna","impressions":1,"acted-at":"#;
        serde_json::from_str(&format!("{act}{time}}}")).map_err(|why| why.to_string())
    }

    /// Whose name is looked up, which job's terms price it, and which page is counted once.
    #[test]
    fn an_act_says_whose_it_is_and_of_which_job_and_page() {
        let read = |text: &str| serde_json::from_str::<Act>(text).expect(text);
        let job = JobId([0x11; 8]);
        let named = format!(r#""job":"{job}","user":"anna""#);
        for (text, of, page) in [
            (format!(r#"{{"kind":"job.begun",{named}}}"#), (Some("anna"), Some(job)), None),
            (
                format!(r#"{{"kind":"pages.printed",{named},"impressions":1,"page":7}}"#),
                (Some("anna"), Some(job)),
                Some((job, 7)),
            ),
            (
                format!(r#"{{"kind":"pages.captured",{named},"pages":1,"page":8}}"#),
                (Some("anna"), Some(job)),
                Some((job, 8)),
            ),
            (
                r#"{"kind":"pages.captured","user":"anna","pages":1}"#.into(),
                (Some("anna"), None),
                None,
            ),
            (r#"{"kind":"balance.asked","user":"anna"}"#.into(), (Some("anna"), None), None),
            (format!(r#"{{"kind":"job.ended","job":"{job}"}}"#), (None, Some(job)), None),
        ] {
            let act = read(&text);
            assert_eq!(((act.user(), act.job()), act.page()), (of, page), "{text}");
        }
    }

    #[test]
    fn an_act_of_another_century_is_refused_with_what_is_meant() {
        for time in ["946684800000", "1795219323000", "7258118399999", "null"] {
            acted_at(time).expect(time);
        }
        for time in ["0", "1795219323", "946684799999", "7258118400000", "18446744073709551615"] {
            let why = acted_at(time).expect_err(time);
            assert!(
                why.contains(&format!("acted-at {time} is not in the years 2000 to 2199")),
                "{why}"
            );
            assert!(why.contains("milliseconds"), "{why}");
        }
    }
}
