//! Samples of the events of counts.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::leases::BACKING;
use super::{ALIAS, DEVICE, JOB, POSITION, SUBJECT, WALL};
use crate::event::counts::*;
use crate::{CommitPosition, Credits, Event, JobId, RequestId};

const CHARGE: Charge = Charge { backing: Some(BACKING), ..PLAIN };
const REQUEST: Option<RequestId> = Some(RequestId([0x99; 8]));
/// As it was before leases.
const PLAIN: Charge = Charge { credits: Credits::from_thousandths(97_500), card: 7, backing: None };

const COMMIT: CommitPosition = CommitPosition { epoch: 1, index: 482 };

pub(super) fn samples() -> Vec<Event> {
    [acts(), jobs(), credits(), audits()].concat()
}

fn media() -> Option<String> {
    Some("iso_a4_210x297mm".into())
}

pub(in crate::golden) fn which_pages() -> Option<Vec<PageRange>> {
    Some(vec![PageRange { first: 1, last: 2 }, PageRange { first: 7, last: 7 }])
}

fn acts() -> Vec<Event> {
    vec![
        PagesPrinted {
            job: JOB,
            user: ALIAS,
            impressions: 12,
            sheets: Some(6),
            color: ColorMode::Color,
            sides: Some(Sides::TwoSidedLongEdge),
            media: media(),
            source: CountSource::PageLog,
            job_number: Some(482),
            acted_at: Some(WALL),
            charge: CHARGE,
            spool_job: Some(JobId([0x8a; 8])),
            running_total: Some(36),
            page: Some(7),
        }
        .into(),
        PagesCaptured {
            job: JOB,
            user: ALIAS,
            pages: 3,
            color: ColorMode::Monochrome,
            charge: CHARGE,
            media: media(),
            policy: Some(SettlementPolicy::Additive),
            page: Some(7),
        }
        .into(),
        PagesConverted {
            job: JOB,
            user: ALIAS,
            pages: 3,
            conversions: vec![Conversion::Resize, Conversion::ColorToMonochrome],
            charge: CHARGE,
            device: Some(DEVICE),
            media: media(),
            policy: Some(SettlementPolicy::ServerSettles),
            prices: Some(vec![Credits::from_thousandths(500), Credits::from_thousandths(250)]),
            revision: Some(2),
            from_revision: Some(1),
            which_pages: which_pages(),
            request: REQUEST,
        }
        .into(),
        DocumentSent {
            job: JOB,
            user: ALIAS,
            pages: 3,
            destinations: 2,
            color: ColorMode::Monochrome,
            charge: CHARGE,
            device: Some(DEVICE),
            media: media(),
            policy: Some(SettlementPolicy::ServerSettles),
            revision: Some(2),
            which_pages: which_pages(),
            request: REQUEST,
        }
        .into(),
        DocumentSaved {
            job: JOB,
            user: ALIAS,
            pages: 3,
            charge: CHARGE,
            device: Some(DEVICE),
            media: media(),
            policy: Some(SettlementPolicy::ServerSettles),
            revision: Some(2),
            which_pages: which_pages(),
            request: REQUEST,
        }
        .into(),
    ]
}

fn jobs() -> Vec<Event> {
    vec![
        DocumentDiscarded { job: JOB, device: Some(DEVICE), request: REQUEST, user: Some(ALIAS) }
            .into(),
        JobBegun { job: JOB, user: ALIAS, policy: SettlementPolicy::Additive }.into(),
        JobEnded { job: JOB }.into(),
    ]
}

/// As it was before there were finer prices.
fn card() -> RateCard {
    let amount = Credits::from_thousandths;
    RateCard {
        version: 2,
        capture: amount(500),
        print_monochrome: amount(1_000),
        print_color: amount(5_000),
        conversion: amount(250),
        send_monochrome: amount(100),
        send_color: amount(200),
        save: Credits::ZERO,
        finer: None,
    }
}

pub(in crate::golden) fn finer_price() -> FinerPrice {
    FinerPrice {
        act: PricedAct::Conversion,
        unit: PricedUnit::Page,
        color: Some(ColorMode::Color),
        media: Some("iso_a3".into()),
        conversion: Some(Conversion::Resize),
        price: Credits::from_thousandths(750),
    }
}

fn credits() -> Vec<Event> {
    let amount = Credits::from_thousandths;
    vec![
        RateCardPublished { card: RateCard { finer: Some(vec![finer_price()]), ..card() } }.into(),
        SettlementPolicyPublished { policy: SettlementPolicy::Additive }.into(),
        CreditsGranted {
            subject: SUBJECT,
            credits: amount(-2_500),
            reason: "taken back: März".into(),
        }
        .into(),
        ChargeCorrected {
            subject: SUBJECT,
            corrects: POSITION,
            credits: amount(1),
            reason: "paper jam".into(),
            by: Some("josé".into()),
            charged: Some(SUBJECT),
        }
        .into(),
    ]
}

fn audits() -> Vec<Event> {
    vec![
        MeterRead { impressions: 5_000_000_000, sheets: Some(3_000_000_000) }.into(),
        PeriodClosed { year: 2026, month: 3, cut: vec![POSITION], commit: Some(COMMIT) }.into(),
        ClockAssessed { from: POSITION, offset_milliseconds: -86_400_000 }.into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    let charge = Charge { credits: Credits::ZERO, card: 1, backing: None };
    vec![
        RateCardPublished { card: card() }.into(),
        ChargeCorrected {
            subject: SUBJECT,
            corrects: POSITION,
            credits: Credits::from_thousandths(1),
            reason: "paper jam".into(),
            by: None,
            charged: None,
        }
        .into(),
        PeriodClosed { year: 2026, month: 3, cut: vec![POSITION], commit: None }.into(),
        PagesCaptured {
            job: JOB,
            user: ALIAS,
            pages: 3,
            color: ColorMode::Monochrome,
            charge: PLAIN,
            media: None,
            policy: None,
            page: None,
        }
        .into(),
        PagesPrinted {
            job: JOB,
            user: ALIAS,
            impressions: 1,
            sheets: None,
            color: ColorMode::Unknown,
            sides: None,
            media: None,
            source: CountSource::Device,
            job_number: None,
            acted_at: None,
            charge: charge.clone(),
            spool_job: None,
            running_total: None,
            page: None,
        }
        .into(),
        PagesConverted {
            job: JOB,
            user: ALIAS,
            pages: 1,
            conversions: vec![],
            charge: charge.clone(),
            device: None,
            media: None,
            policy: None,
            prices: None,
            revision: None,
            from_revision: None,
            which_pages: None,
            request: None,
        }
        .into(),
        DocumentSent {
            job: JOB,
            user: ALIAS,
            pages: 1,
            destinations: 1,
            color: ColorMode::Unknown,
            charge: charge.clone(),
            device: None,
            media: None,
            policy: None,
            revision: None,
            which_pages: None,
            request: None,
        }
        .into(),
        DocumentSaved {
            job: JOB,
            user: ALIAS,
            pages: 1,
            charge,
            device: None,
            media: None,
            policy: None,
            revision: None,
            which_pages: None,
            request: None,
        }
        .into(),
        DocumentDiscarded { job: JOB, device: None, request: None, user: None }.into(),
        MeterRead { impressions: 0, sheets: None }.into(),
    ]
}
