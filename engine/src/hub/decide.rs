//! The cloud's decisions: committed as sealed batches, never as an open tail.
//!
//! Invariant: a decision is durable, numbered and folded before anybody hears of
//! it; what a device may be told is in its own log or in the public one.

use super::Hub;
use crate::counts::card;
use crate::device::Now;
use crate::store::Store;
use crate::{Error, Result};
use tallyroll_schema::event::counts::{
    CreditsGranted, RateCard, RateCardPublished, SettlementPolicy, SettlementPolicyPublished,
};
use tallyroll_schema::event::fleet::DeviceRevoked;
use tallyroll_schema::event::people::SubjectLinked;
use tallyroll_schema::limits::{GRANT_THOUSANDTHS_MAX, TEXT_BYTES_MAX};
use tallyroll_schema::{Credits, DeviceId, EpochId, Event, LogId, Position, SubjectId, UserAlias};

impl<S: Store> Hub<S> {
    /// Gives a subject credits; a negative amount takes them back.
    ///
    /// # Errors
    /// No credits or absurdly many, an over-long reason; storage failed.
    pub fn grant(
        &mut self,
        now: Now,
        subject: SubjectId,
        credits: Credits,
        reason: String,
    ) -> Result<Position> {
        check_text("reason", &reason)?;
        check_grant(credits)?;
        self.account(now, &[CreditsGranted { subject, credits, reason }.into()])
    }

    /// Joins aliases to subjects.
    ///
    /// # Errors
    /// Storage failed.
    pub fn link(
        &mut self,
        now: Now,
        links: Vec<(DeviceId, UserAlias, SubjectId)>,
    ) -> Result<Position> {
        let linked = |(device, alias, subject)| SubjectLinked { device, alias, subject }.into();
        let links: Vec<Event> = links.into_iter().map(linked).collect();
        self.account(now, &links)
    }

    /// Believes nothing more from a device.
    ///
    /// # Errors
    /// No such device, or it is revoked already; storage failed.
    pub fn revoke(&mut self, now: Now, device: DeviceId, reason: String) -> Result<Position> {
        check_text("reason", &reason)?;
        self.fleet().not_revoked(device)?;
        let position = self.account(now, &[DeviceRevoked { device, reason }.into()])?;
        self.thaw_if_all_reported(now)?;
        Ok(position)
    }

    /// Publishes a rate card; it holds from its position on.
    ///
    /// # Errors
    /// Not now, while the public log is frozen; storage failed.
    pub fn publish(&mut self, now: Now, card: RateCard) -> Result<Position> {
        self.decide(now, self.logs.public, &[RateCardPublished { card }.into()])
    }

    /// Publishes prices as the next version; `None` if they are in force already. Returns the
    /// version that is in force then, too.
    ///
    /// # Errors
    /// The card is wrong; not now, while the public log is frozen; storage failed.
    pub fn publish_next(&mut self, now: Now, prices: RateCard) -> Result<(u32, Option<Position>)> {
        card::check(&prices).map_err(|why| Error::Rejected(why.to_string()))?;
        let before = self.card();
        let finer = prices.finer.clone().filter(|finer| !finer.is_empty());
        let prices = RateCard { version: before.version, finer, ..prices };
        if prices == before {
            return Ok((before.version, None));
        }
        let version = before
            .version
            .checked_add(1)
            .ok_or_else(|| Error::Rejected("no version is left for another rate card".into()))?;
        let position = self.publish(now, RateCard { version, ..prices })?;
        Ok((version, Some(position)))
    }

    /// Lays down how jobs settle that begin from now on; `None` if they do so already.
    ///
    /// # Errors
    /// Not now, while the public log is frozen; storage failed.
    pub fn publish_settlement(
        &mut self,
        now: Now,
        policy: SettlementPolicy,
    ) -> Result<Option<Position>> {
        if self.counts().settlement_policy() == policy {
            return Ok(None);
        }
        self.decide(now, self.logs.public, &[SettlementPolicyPublished { policy }.into()]).map(Some)
    }

    /// Publishes the default rate card, where none is and one may be.
    pub(super) fn publish_first_card(&mut self, now: Now) -> Result<()> {
        if self.counts().newest_card().is_none() && self.recovery().is_none() {
            self.publish(now, card::default_card())?;
        }
        Ok(())
    }

    /// The rate card in force.
    pub fn card(&self) -> RateCard {
        self.counts().newest_card().cloned().unwrap_or_else(card::default_card)
    }

    pub(super) fn account(&mut self, now: Now, events: &[Event]) -> Result<Position> {
        self.decide(now, self.logs.accounts, events)
    }

    /// Commits events to one of the cloud's own logs; returns the first's position.
    pub(super) fn decide(
        &mut self,
        now: Now,
        epoch: (LogId, EpochId),
        events: &[Event],
    ) -> Result<Position> {
        self.refuse_if_closed()?;
        self.refuse_if_frozen(epoch.0)?;
        let mut rows = self.rows();
        let mut staged = self.stage();
        let position = self.stage_events(&mut rows, &mut staged, now, epoch, events)?;
        let changes = rows.into_changes();
        self.finish(changes, staged)?;
        Ok(position)
    }
}

pub(super) fn check_grant(credits: Credits) -> Result<()> {
    const MOST: Credits = Credits::from_thousandths(GRANT_THOUSANDTHS_MAX);
    match credits.thousandths().unsigned_abs() {
        0 => Err(Error::Rejected("a grant of 0 credits gives nothing; say how many".into())),
        many if many > GRANT_THOUSANDTHS_MAX.unsigned_abs() => {
            let why = format!("{credits} credits: one grant gives or takes back at most {MOST}");
            Err(Error::Rejected(why))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::Rejected(format!("{what}: at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_gives_something_and_not_absurdly_much() {
        for thousandths in [1, -1, GRANT_THOUSANDTHS_MAX, -GRANT_THOUSANDTHS_MAX] {
            check_grant(Credits::from_thousandths(thousandths)).expect("is a grant");
        }
        for (thousandths, told) in [
            (0, "say how many"),
            (GRANT_THOUSANDTHS_MAX + 1, "at most 1000000000.000"),
            (i64::MAX, "9223372036854775.807 credits"),
            (i64::MIN, "-9223372036854775.808 credits"),
        ] {
            let refused = check_grant(Credits::from_thousandths(thousandths));
            let refused = refused.expect_err("is none").to_string();
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn a_text_is_as_long_as_it_may_be_and_no_longer() {
        check_text("reason", &"x".repeat(TEXT_BYTES_MAX)).expect("fits");
        let told = check_text("reason", &"x".repeat(TEXT_BYTES_MAX + 1)).expect_err("does not");
        assert_eq!(told.to_string(), "reason: at most 1024 bytes");
    }
}
