//! Events of counts: what was done, by whom, at what price; and the credits for it.
//!
//! Invariant: a charge names the card version that priced it and is never
//! repriced. Impressions (sides marked), sheets (media used) and pages (images
//! captured, converted, sent) are three things and never added up. What acts cost is
//! in `rates`, how a job begins and ends in `jobs`.

mod jobs;
mod rates;

use super::leases::Backing;
use super::{body, words};
use crate::{
    CommitPosition, Credits, DeviceId, JobId, Position, RequestId, SubjectId, UserAlias, Wall,
};

pub use jobs::{DocumentDiscarded, JobBegun, JobEnded};
pub use rates::{FinerPrice, PricedAct, PricedUnit, RateCard, RateCardPublished};

words! {
    /// `print-color-mode` (PWG 5100.13), as far as it is priced.
    pub enum ColorMode {
        /// The source did not say; priced as monochrome.
        #[n(0)]
        Unknown,
        /// One colorant.
        #[n(1)]
        Monochrome,
        /// More than one.
        #[n(2)]
        Color,
    }

    /// `sides` (RFC 8011, section 5.2.8).
    pub enum Sides {
        /// `one-sided`.
        #[n(0)]
        OneSided,
        /// `two-sided-long-edge`.
        #[n(1)]
        TwoSidedLongEdge,
        /// `two-sided-short-edge`.
        #[n(2)]
        TwoSidedShortEdge,
    }

    /// Who counted.
    pub enum CountSource {
        /// The device's own software, through `record` or the panel.
        #[n(0)]
        Device,
        /// A CUPS page_log line.
        #[n(1)]
        PageLog,
        /// A printer's `job-impressions-completed`.
        #[n(2)]
        PrinterJob,
        /// The cloud.
        #[n(3)]
        Cloud,
    }

    /// A conversion that is priced by itself.
    pub enum Conversion {
        /// Another size.
        #[n(0)]
        Resize,
        /// Color to monochrome.
        #[n(1)]
        ColorToMonochrome,
        /// Monochrome to color.
        #[n(2)]
        MonochromeToColor,
        /// Another resolution.
        #[n(3)]
        Resolution,
    }

    /// How a provisional charge ends (mission 1).
    pub enum SettlementPolicy {
        /// The server's charges replace the device's.
        #[n(0)]
        ServerSettles,
        /// They come on top of it.
        #[n(1)]
        Additive,
    }
}

body! {
    /// What an act cost, and by which card.
    pub struct Charge {
        /// The amount.
        #[n(0)]
        pub credits: Credits,
        /// The rate card's version.
        #[n(1)]
        pub card: u32,
        /// What the device spent for it; absent where no right was asked for.
        #[n(2)]
        pub backing: Option<Backing>,
    }

    /// How jobs settle that begin from this event's position on.
    pub struct SettlementPolicyPublished {
        /// The policy.
        #[n(0)]
        pub policy: SettlementPolicy,
    }

    /// Pages of a document, from one to another.
    pub struct PageRange {
        /// The first; a document's pages count from 1.
        #[n(0)]
        pub first: u32,
        /// The last.
        #[n(1)]
        pub last: u32,
    }

    /// A user was given credits (a grant, a top-up, a monthly allotment).
    pub struct CreditsGranted {
        /// To whom.
        #[n(0)]
        pub subject: SubjectId,
        /// How much; negative takes back.
        #[n(1)]
        pub credits: Credits,
        /// Why, for the statement.
        #[n(2)]
        pub reason: String,
    }

    /// Pages came out of a printer.
    pub struct PagesPrinted {
        /// The job; for a page_log line, the line's own key.
        #[n(0)]
        pub job: JobId,
        /// Who.
        #[n(1)]
        pub user: UserAlias,
        /// Sides of media marked, all copies.
        #[n(2)]
        pub impressions: u32,
        /// Media used, if the source says.
        #[n(3)]
        pub sheets: Option<u32>,
        /// Color or not.
        #[n(4)]
        pub color: ColorMode,
        /// One or two sides, if the source says.
        #[n(5)]
        pub sides: Option<Sides>,
        /// `media` keyword (PWG 5101.1), if the source says.
        #[n(6)]
        pub media: Option<String>,
        /// Who counted.
        #[n(7)]
        pub source: CountSource,
        /// The spooler's job number; reused, so for people only.
        #[n(8)]
        pub job_number: Option<u32>,
        /// When it was printed, if not at the time of the record.
        #[n(9)]
        pub acted_at: Option<Wall>,
        /// The price.
        #[n(10)]
        pub charge: Charge,
        /// The spooler's job as far as its log tells it apart, for sources that
        /// speak of one job in several lines.
        #[n(11)]
        pub spool_job: Option<JobId>,
        /// What that source gave as the job's running total; `impressions` is then
        /// what this line adds to it.
        #[n(12)]
        pub running_total: Option<u32>,
        /// The page's number in its job, from 1, where a client counts them: a number is recorded once.
        #[n(13)]
        pub page: Option<u32>,
    }

    /// Pages were scanned.
    pub struct PagesCaptured {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Who.
        #[n(1)]
        pub user: UserAlias,
        /// Images captured.
        #[n(2)]
        pub pages: u32,
        /// Color or not.
        #[n(3)]
        pub color: ColorMode,
        /// The price.
        #[n(4)]
        pub charge: Charge,
        /// `media` keyword (PWG 5101.1) of its size, if the source says.
        #[n(5)]
        pub media: Option<String>,
        /// How its job settles; absent where it settles as it happens.
        #[n(6)]
        pub policy: Option<SettlementPolicy>,
        /// The page's number in its job, from 1, where a client counts them: a number is recorded once.
        #[n(7)]
        pub page: Option<u32>,
    }

    /// Pages were converted.
    pub struct PagesConverted {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Who.
        #[n(1)]
        pub user: UserAlias,
        /// Pages converted.
        #[n(2)]
        pub pages: u32,
        /// Each kind applied to each of them.
        #[n(3)]
        pub conversions: Vec<Conversion>,
        /// The price.
        #[n(4)]
        pub charge: Charge,
        /// The device whose job it is, when the cloud converts.
        #[n(5)]
        pub device: Option<DeviceId>,
        /// `media` keyword (PWG 5101.1) of its size, if the source says.
        #[n(6)]
        pub media: Option<String>,
        /// How its job settles; absent where it settles as it happens.
        #[n(7)]
        pub policy: Option<SettlementPolicy>,
        /// The price of one page, for each of the conversions.
        #[n(8)]
        pub prices: Option<Vec<Credits>>,
        /// The document's revision that it makes.
        #[n(9)]
        pub revision: Option<u32>,
        /// The earlier one that it starts from; 0 is as captured.
        #[n(10)]
        pub from_revision: Option<u32>,
        /// Which pages it converts; the first ones, if absent.
        #[n(11)]
        pub which_pages: Option<Vec<PageRange>>,
        /// What the cloud was asked with, so that it does it once.
        #[n(12)]
        pub request: Option<RequestId>,
    }

    /// A document was sent outside.
    pub struct DocumentSent {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Who.
        #[n(1)]
        pub user: UserAlias,
        /// Pages of the document as sent.
        #[n(2)]
        pub pages: u32,
        /// How many destinations.
        #[n(3)]
        pub destinations: u32,
        /// Color or not, as sent.
        #[n(4)]
        pub color: ColorMode,
        /// The price.
        #[n(5)]
        pub charge: Charge,
        /// The device whose job it is, when the cloud sends.
        #[n(6)]
        pub device: Option<DeviceId>,
        /// `media` keyword (PWG 5101.1) of its size, if the source says.
        #[n(7)]
        pub media: Option<String>,
        /// How its job settles; absent where it settles as it happens.
        #[n(8)]
        pub policy: Option<SettlementPolicy>,
        /// The document's revision that was delivered; 0 is as captured.
        #[n(9)]
        pub revision: Option<u32>,
        /// Which pages of it; the first ones, if absent.
        #[n(10)]
        pub which_pages: Option<Vec<PageRange>>,
        /// What the cloud was asked with, so that it does it once.
        #[n(11)]
        pub request: Option<RequestId>,
    }

    /// A document was saved in the server's own store.
    pub struct DocumentSaved {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Who.
        #[n(1)]
        pub user: UserAlias,
        /// Pages.
        #[n(2)]
        pub pages: u32,
        /// The price.
        #[n(3)]
        pub charge: Charge,
        /// The device whose job it is, when the cloud saves.
        #[n(4)]
        pub device: Option<DeviceId>,
        /// `media` keyword (PWG 5101.1) of its size, if the source says.
        #[n(5)]
        pub media: Option<String>,
        /// How its job settles; absent where it settles as it happens.
        #[n(6)]
        pub policy: Option<SettlementPolicy>,
        /// The document's revision that was delivered; 0 is as captured.
        #[n(7)]
        pub revision: Option<u32>,
        /// Which pages of it; the first ones, if absent.
        #[n(8)]
        pub which_pages: Option<Vec<PageRange>>,
        /// What the cloud was asked with, so that it does it once.
        #[n(9)]
        pub request: Option<RequestId>,
    }

    /// A charge was corrected; the charge itself stays as it was.
    pub struct ChargeCorrected {
        /// Whose account bore the charge: a person's own, or a group's that they left since.
        #[n(0)]
        pub subject: SubjectId,
        /// The event corrected.
        #[n(1)]
        pub corrects: Position,
        /// Added to the balance; negative takes away.
        #[n(2)]
        pub credits: Credits,
        /// Why, for the statement.
        #[n(3)]
        pub reason: String,
        /// By whom; absent in what was written before it was asked for.
        #[n(4)]
        pub by: Option<String>,
        /// Of a group's that bore it: who was charged.
        #[n(5)]
        pub charged: Option<SubjectId>,
    }

    /// A device's own meter.
    pub struct MeterRead {
        /// Lifetime impressions (`printer-impressions-completed`).
        #[n(0)]
        pub impressions: u64,
        /// Lifetime sheets (`printer-media-sheets-completed`).
        #[n(1)]
        pub sheets: Option<u64>,
    }

    /// A month's figures are those of a cut, for ever.
    pub struct PeriodClosed {
        /// Year.
        #[n(0)]
        pub year: u16,
        /// Month, 1 to 12.
        #[n(1)]
        pub month: u8,
        /// The last position of each epoch that belongs to the cut; empty where `commit` names it.
        #[n(2)]
        pub cut: Vec<Position>,
        /// The commit whose cut it is.
        #[n(3)]
        pub commit: Option<CommitPosition>,
    }

    /// A device's clock over a stretch of its log.
    pub struct ClockAssessed {
        /// From here on.
        #[n(0)]
        pub from: Position,
        /// Add this to the device's clock, milliseconds.
        #[n(1)]
        pub offset_milliseconds: i64,
    }
}
