//! A line of a statement: what an event says of itself.
//!
//! Invariant: pure of the event, its place and the months that were closed by then; what it moved is
//! filled in by [`super::statement`]. An event that was recorded again reads as the one that it was.

use super::month::Month;
use super::rights::charge;
use super::sum::CreditSum;
use crate::fold::{Committed, Origin};
use serde::Serialize;
use tallyroll_schema::event::counts::{Charge, ColorMode, Conversion, SettlementPolicy};
use tallyroll_schema::{
    CommitPosition, Credits, DeviceId, Event, JobId, Position, Record, SubjectId, UserAlias, Wall,
};

/// How a line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// For good.
    Settled,
    /// Provisionally: its job is not decided yet.
    Held,
    /// No more: its job was decided.
    Void,
    /// With what is sent or saved of it, in that line.
    WithDelivery,
}

/// One event that moved a balance, or could have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// The event; `correct` takes it.
    pub position: Position,
    /// The commit that brought it to this user.
    pub commit: CommitPosition,
    /// When that was, by the cloud's clock.
    pub arrived: Wall,
    /// When it happened, by its writer's.
    pub acted_at: Wall,
    /// The month it is of, where that was closed before it came.
    pub adjusts: Option<String>,
    /// Whose it is: of a group's balance, which member's.
    pub subject: Option<SubjectId>,
    /// Where.
    pub device: Option<DeviceId>,
    /// In which job.
    pub job: Option<JobId>,
    /// The event's kind; `allotment.lapsed` is what lapsed by an `allotment.given`.
    pub what: &'static str,
    /// Pages; of a print, impressions.
    pub pages: Option<u32>,
    /// Color or not.
    pub color: Option<ColorMode>,
    /// Kinds applied to each page.
    pub conversions: Vec<Conversion>,
    /// How many it was sent to.
    pub destinations: Option<u32>,
    /// What it costs by itself.
    pub price: Option<Credits>,
    /// The rate card that priced it.
    pub card: Option<u32>,
    /// How it counts, as of the statement's end.
    pub state: State,
    /// Added to the balance; with a delivery, its conversions are in here.
    pub moved: CreditSum,
    /// Added to what is held.
    pub held: CreditSum,
    /// The balance after it.
    pub balance: CreditSum,
    /// What is held after it.
    pub still_held: CreditSum,
    /// The event that it corrects.
    pub corrects: Option<Position>,
    /// The group that the correction went to, for it bore the charge.
    pub borne_by: Option<SubjectId>,
    /// Why.
    pub reason: Option<String>,
    /// By whom.
    pub by: Option<String>,
}

/// Whom a record charges.
pub(super) struct Charged {
    /// The user who is charged, if one is.
    pub(super) who: Option<(DeviceId, UserAlias)>,
    /// Recorded again: a line only if it moved something, for another copy may have said it before.
    pub(super) is_repeated: bool,
}

impl Charged {
    pub(super) fn read(origin: &Origin, record: &Record<'_>) -> Self {
        let (event, is_repeated, _) = inner(record);
        let who = event.as_ref().and_then(|event| charged_to(origin, event));
        Self { who, is_repeated }
    }
}

/// Who is charged by an event.
pub(crate) fn charged_to(origin: &Origin, event: &Event) -> Option<(DeviceId, UserAlias)> {
    let (user, _) = charge(event)?;
    Some((origin.device.or(device_of(event))?, user))
}

/// The event that a record says happened, whether it was recorded again, and the time it was written.
pub(crate) fn inner(record: &Record<'_>) -> (Option<Event>, bool, Wall) {
    match record.event() {
        Ok(Event::EventResubmitted(again)) => match Record::split(&again.record.0) {
            Ok((record, [])) => (record.event().ok(), true, record.header.time.wall),
            _ => (None, true, record.header.time.wall),
        },
        event => (event.ok(), false, record.header.time.wall),
    }
}

impl Line {
    pub(super) fn of(
        committed: Committed,
        origin: &Origin,
        record: &Record<'_>,
        last_closed: Option<Month>,
    ) -> Self {
        let (event, _, written_at) = inner(record);
        let mut line = Self {
            position: origin.position,
            commit: committed.position,
            arrived: committed.received_at,
            acted_at: written_at,
            adjusts: None,
            subject: None,
            device: origin.device,
            job: None,
            what: "unreadable",
            pages: None,
            color: None,
            conversions: Vec::new(),
            destinations: None,
            price: None,
            card: None,
            state: State::Settled,
            moved: CreditSum::default(),
            held: CreditSum::default(),
            balance: CreditSum::default(),
            still_held: CreditSum::default(),
            corrects: None,
            borne_by: None,
            reason: None,
            by: None,
        };
        if let Some(event) = &event {
            line.describe(event);
        }
        let month = Month::at(line.acted_at);
        let closed = last_closed.is_some_and(|last| month <= last);
        line.adjusts = (closed && line.price.is_some()).then(|| month.to_string());
        line
    }

    fn describe(&mut self, event: &Event) {
        self.what = event.name();
        self.device = self.device.or(device_of(event));
        if let Some((_, Charge { credits, card, .. })) = charge(event) {
            (self.price, self.card) = (Some(*credits), Some(*card));
        }
        match event {
            Event::PagesPrinted(e) => {
                (self.job, self.pages, self.color) =
                    (Some(e.job), Some(e.impressions), Some(e.color));
                self.acted_at = e.acted_at.unwrap_or(self.acted_at);
            }
            Event::PagesCaptured(e) => {
                (self.job, self.pages, self.color) = (Some(e.job), Some(e.pages), Some(e.color));
                if e.policy == Some(SettlementPolicy::ServerSettles) {
                    self.state = State::Held;
                }
            }
            Event::PagesConverted(e) => {
                (self.job, self.pages) = (Some(e.job), Some(e.pages));
                self.conversions = e.conversions.clone();
                if e.policy.is_some() {
                    self.state = State::WithDelivery;
                }
            }
            Event::DocumentSent(e) => {
                (self.job, self.pages, self.color) = (Some(e.job), Some(e.pages), Some(e.color));
                self.destinations = Some(e.destinations);
            }
            Event::DocumentSaved(e) => (self.job, self.pages) = (Some(e.job), Some(e.pages)),
            Event::DocumentDiscarded(e) => self.job = Some(e.job),
            Event::JobBegun(e) => self.job = Some(e.job),
            Event::JobEnded(e) => self.job = Some(e.job),
            Event::CreditsGranted(e) => {
                (self.subject, self.reason) = (Some(e.subject), Some(e.reason.clone()));
            }
            Event::AllotmentGiven(e) => self.subject = Some(e.account),
            Event::GroupJoined(e) => self.subject = Some(e.member),
            Event::GroupLeft(e) => self.subject = Some(e.member),
            Event::SubjectLinked(e) => self.subject = Some(e.subject),
            Event::ChargeCorrected(e) => {
                self.subject = e.charged.or(Some(e.subject));
                self.borne_by = e.charged.map(|_| e.subject);
                (self.reason, self.by) = (Some(e.reason.clone()), e.by.clone());
                self.corrects = Some(e.corrects);
            }
            _ => {}
        }
    }

    /// The same, having moved so much.
    pub(super) fn moving(&self, moved: i128, held: i128) -> Self {
        let (moved, held) = (CreditSum::from_thousandths(moved), CreditSum::from_thousandths(held));
        Self { moved, held, ..self.clone() }
    }
}

/// The device whose job it is, for what the cloud did.
fn device_of(event: &Event) -> Option<DeviceId> {
    match event {
        Event::PagesConverted(e) => e.device,
        Event::DocumentSent(e) => e.device,
        Event::DocumentSaved(e) => e.device,
        Event::DocumentDiscarded(e) => e.device,
        _ => None,
    }
}
