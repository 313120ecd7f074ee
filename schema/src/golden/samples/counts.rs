//! Samples of the events of counts.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::{ALIAS, DEVICE, JOB, POSITION, SUBJECT, WALL};
use crate::event::counts::*;
use crate::{Credits, Event, JobId};

const CHARGE: Charge = Charge { credits: Credits::from_thousandths(97_500), card: 7 };

pub(super) fn samples() -> Vec<Event> {
    [acts(), jobs(), credits(), audits()].concat()
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
            media: Some("iso_a4_210x297mm".into()),
            source: CountSource::PageLog,
            job_number: Some(482),
            acted_at: Some(WALL),
            charge: CHARGE,
            spool_job: Some(JobId([0x8a; 8])),
            running_total: Some(36),
        }
        .into(),
        PagesCaptured {
            job: JOB,
            user: ALIAS,
            pages: 3,
            color: ColorMode::Monochrome,
            charge: CHARGE,
        }
        .into(),
        PagesConverted {
            job: JOB,
            user: ALIAS,
            pages: 3,
            conversions: vec![Conversion::Resize, Conversion::ColorToMonochrome],
            charge: CHARGE,
            device: Some(DEVICE),
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
        }
        .into(),
        DocumentSaved { job: JOB, user: ALIAS, pages: 3, charge: CHARGE, device: Some(DEVICE) }
            .into(),
    ]
}

fn jobs() -> Vec<Event> {
    vec![
        DocumentDiscarded { job: JOB, device: Some(DEVICE) }.into(),
        JobBegun { job: JOB, user: ALIAS, policy: SettlementPolicy::Additive }.into(),
        JobEnded { job: JOB }.into(),
    ]
}

fn credits() -> Vec<Event> {
    let amount = Credits::from_thousandths;
    vec![
        RateCardPublished {
            card: RateCard {
                version: 2,
                capture: amount(500),
                print_monochrome: amount(1_000),
                print_color: amount(5_000),
                conversion: amount(250),
                send_monochrome: amount(100),
                send_color: amount(200),
                save: Credits::ZERO,
            },
        }
        .into(),
        CreditsGranted {
            subject: SUBJECT,
            credits: amount(-2_500),
            reason: "taken back: März".into(),
        }
        .into(),
        LeaseGranted {
            allocation: 70_000,
            device: DEVICE,
            subject: SUBJECT,
            credits: amount(40_000),
            spend_until: WALL,
        }
        .into(),
        LeaseClosed { allocation: 70_000, spent: amount(12_345), returned: amount(27_655) }.into(),
        LeaseWrittenOff { allocation: 70_001, reason: "device stolen".into() }.into(),
        ChargeCorrected {
            subject: SUBJECT,
            corrects: POSITION,
            credits: amount(1),
            reason: "paper jam".into(),
        }
        .into(),
    ]
}

fn audits() -> Vec<Event> {
    vec![
        MeterRead { impressions: 5_000_000_000, sheets: Some(3_000_000_000) }.into(),
        PeriodClosed { year: 2026, month: 3, cut: vec![POSITION] }.into(),
        ClockAssessed { from: POSITION, offset_milliseconds: -86_400_000 }.into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    let charge = Charge { credits: Credits::ZERO, card: 1 };
    vec![
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
        }
        .into(),
        PagesConverted {
            job: JOB,
            user: ALIAS,
            pages: 1,
            conversions: vec![],
            charge: charge.clone(),
            device: None,
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
        }
        .into(),
        DocumentSaved { job: JOB, user: ALIAS, pages: 1, charge, device: None }.into(),
        DocumentDiscarded { job: JOB, device: None }.into(),
        MeterRead { impressions: 0, sheets: None }.into(),
    ]
}
