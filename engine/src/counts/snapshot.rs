//! The counts view as columns, for a snapshot.
//!
//! Invariant: a cache. It is checked as a whole when read (`rkyv::access`, never
//! unchecked) and dropped when it does not fit. Columns, because an archive of
//! primitive arrays is checked almost for nothing.

use super::base::{decode_nested, encode_nested};
use super::state::{Counts, Place};
use super::usage::{Usage, UsageKey};
use crate::planted::{Bug, planted};
use tallyroll_schema::event::counts::{RateCardPublished, SettlementPolicyPublished};
use tallyroll_schema::{DeviceId, EpochId, Event, Hash, LogId, Position, SubjectId, UserAlias};

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Default)]
struct Columns {
    device: Vec<[u8; 16]>,
    user: Vec<[u8; 16]>,
    month: Vec<u32>,
    impressions: Vec<u64>,
    sheets: Vec<u64>,
    captured: Vec<u64>,
    converted: Vec<u64>,
    sent: Vec<u64>,
    saved: Vec<u64>,
    charged: Vec<i128>,
    unbacked: Vec<i128>,
    link_device: Vec<[u8; 16]>,
    link_alias: Vec<[u8; 16]>,
    link_subject: Vec<[u8; 16]>,
    link_place: Vec<(u32, [u8; 16], u64)>,
    granted_subject: Vec<[u8; 16]>,
    granted: Vec<i128>,
    cards: Vec<Vec<u8>>,
    card_place: Vec<(u32, [u8; 16], u64)>,
    policy: Option<Vec<u8>>,
    policy_place: (u32, [u8; 16], u64),
    /// Jobs, rights, balances told, requests, books and accounts.
    nested: Vec<u8>,
    resubmitted_log: Vec<[u8; 32]>,
    resubmitted_epoch: Vec<(u32, [u8; 16])>,
    resubmitted_seq: Vec<u64>,
    resubmitted_hash: Vec<[u8; 32]>,
    incomplete: u64,
    misplaced: u64,
}

pub(super) fn archive(counts: &Counts) -> Vec<u8> {
    let mut columns = Columns {
        incomplete: counts.incomplete,
        misplaced: counts.misplaced,
        ..Columns::default()
    };
    for (key, usage) in &counts.usage {
        columns.device.push(key.device.0);
        columns.user.push(key.user.0);
        columns.month.push(key.month);
        columns.impressions.push(usage.impressions);
        columns.sheets.push(usage.sheets);
        columns.captured.push(usage.captured);
        columns.converted.push(usage.converted);
        columns.sent.push(usage.sent);
        columns.saved.push(usage.saved);
        columns.charged.push(usage.charged);
        columns.unbacked.push(usage.unbacked);
    }
    for ((device, alias), ((epoch, seq), subject)) in &counts.links {
        columns.link_place.push((epoch.counter, epoch.nonce, *seq));
        columns.link_device.push(device.0);
        columns.link_alias.push(alias.0);
        columns.link_subject.push(subject.0);
    }
    for (subject, granted) in counts.granted.iter().filter(|_| !planted(Bug::SnapshotWithoutGrants))
    {
        columns.granted_subject.push(subject.0);
        columns.granted.push(*granted);
    }
    for (Position { log, epoch, seq }, hash) in &counts.resubmitted {
        columns.resubmitted_log.push(log.0);
        columns.resubmitted_epoch.push((epoch.counter, epoch.nonce));
        columns.resubmitted_seq.push(*seq);
        columns.resubmitted_hash.push(hash.0);
    }
    for ((epoch, seq), card) in counts.cards.values() {
        columns.card_place.push((epoch.counter, epoch.nonce, *seq));
        let event = Event::from(RateCardPublished { card: card.clone() });
        columns.cards.push(event.encode_body());
    }
    if let Some(((epoch, seq), policy)) = counts.policy.get(&()) {
        let event = Event::from(SettlementPolicyPublished { policy: *policy });
        columns.policy = Some(event.encode_body());
        columns.policy_place = (epoch.counter, epoch.nonce, *seq);
    }
    columns.nested = encode_nested(counts);
    rkyv::to_bytes::<rkyv::rancor::Error>(&columns).map(|bytes| bytes.to_vec()).unwrap_or_default() // an empty archive is dropped when read, and refolded
}

pub(super) fn restore(archive: &[u8]) -> Option<Counts> {
    // A value read from a store lies anywhere; rkyv wants its alignment.
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(archive.len());
    aligned.extend_from_slice(archive);
    let columns = rkyv::from_bytes::<Columns, rkyv::rancor::Error>(&aligned).ok()?;

    let mut counts = Counts {
        incomplete: columns.incomplete,
        misplaced: columns.misplaced,
        ..Counts::default()
    };
    for row in 0..columns.device.len() {
        let key = UsageKey {
            device: DeviceId(*columns.device.get(row)?),
            user: UserAlias(*columns.user.get(row)?),
            month: *columns.month.get(row)?,
        };
        let usage = Usage {
            impressions: *columns.impressions.get(row)?,
            sheets: *columns.sheets.get(row)?,
            captured: *columns.captured.get(row)?,
            converted: *columns.converted.get(row)?,
            sent: *columns.sent.get(row)?,
            saved: *columns.saved.get(row)?,
            charged: *columns.charged.get(row)?,
            unbacked: *columns.unbacked.get(row)?,
            held: 0,
        };
        counts.usage.insert(key, usage);
    }
    for row in 0..columns.link_device.len() {
        let device = DeviceId(*columns.link_device.get(row)?);
        let alias = UserAlias(*columns.link_alias.get(row)?);
        let place = place(*columns.link_place.get(row)?);
        let subject = SubjectId(*columns.link_subject.get(row)?);
        counts.links.insert((device, alias), (place, subject));
    }
    for (subject, granted) in columns.granted_subject.iter().zip(&columns.granted) {
        counts.granted.insert(SubjectId(*subject), *granted);
    }
    for row in 0..columns.resubmitted_log.len() {
        let (counter, nonce) = *columns.resubmitted_epoch.get(row)?;
        let log = LogId(*columns.resubmitted_log.get(row)?);
        let seq = *columns.resubmitted_seq.get(row)?;
        let position = Position { log, epoch: EpochId { counter, nonce }, seq };
        counts.resubmitted.insert((position, Hash(*columns.resubmitted_hash.get(row)?)));
    }
    for (body, at) in columns.cards.iter().zip(&columns.card_place) {
        let Ok(Event::RateCardPublished(published)) = Event::decode(0x0101, 1, body) else {
            return None;
        };
        counts.cards.insert(published.card.version, (place(*at), published.card));
    }
    if let Some(body) = &columns.policy {
        let Ok(Event::SettlementPolicyPublished(published)) = Event::decode(0x0103, 1, body) else {
            return None;
        };
        counts.policy.insert((), (place(columns.policy_place), published.policy));
    }
    decode_nested(&columns.nested, &mut counts).ok()?;
    counts.hold_again();
    Some(counts)
}

fn place((counter, nonce, seq): (u32, [u8; 16], u64)) -> Place {
    (EpochId { counter, nonce }, seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Requested;
    use crate::counts::card::default_card;
    use crate::counts::job::Job;
    use tallyroll_schema::event::counts::{ChargeCorrected, PeriodClosed, SettlementPolicy};
    use tallyroll_schema::{CommitPosition, Credits, JobId, RequestId, Wall};

    fn counts() -> Counts {
        let key = UsageKey { device: DeviceId([1; 16]), user: UserAlias([2; 16]), month: 24_322 };
        let usage = Usage { impressions: 3, charged: -5, unbacked: -2, ..Usage::default() };
        let mut counts = Counts { incomplete: 7, misplaced: 8, ..Counts::default() };
        counts.usage.insert(key, usage);
        let place = (EpochId { counter: 1, nonce: [6; 16] }, 9);
        counts.links.insert((key.device, key.user), (place, SubjectId([4; 16])));
        counts.granted.insert(SubjectId([4; 16]), 1 << 90);
        let epoch = EpochId { counter: 1, nonce: [6; 16] };
        let position = Position { log: LogId([5; 32]), epoch, seq: 9 };
        counts.resubmitted.insert((position, Hash([7; 32])));
        counts.cards.insert(1, (place, default_card()));
        counts.policy.insert((), (place, SettlementPolicy::Additive));
        let mut job = Job::default();
        job.begin(SettlementPolicy::Additive, key.user, Wall(7));
        counts.jobs.insert((key.device, JobId([8; 8])), job);
        counts.running.insert((key.device, key.user, JobId([8; 8])));
        let done = Requested { position, job: JobId([8; 8]), kind: 0x0113 };
        counts.requests.insert((key.device, RequestId([9; 8])), done);
        let (subject, credits) = (SubjectId([4; 16]), Credits::from_thousandths(7));
        let (reason, by) = (String::new(), None);
        counts.books.correct(&ChargeCorrected {
            subject,
            corrects: position,
            credits,
            reason,
            by,
            charged: None,
        });
        let commit = Some(CommitPosition { epoch: 0, index: 4 });
        let closed = PeriodClosed { year: 2026, month: 3, cut: Vec::new(), commit };
        counts.books.close(position, &closed);
        counts
    }

    #[test]
    fn reads_back() {
        assert_eq!(restore(&archive(&counts())), Some(counts()));
    }

    #[test]
    fn damage_is_dropped_or_read_without_panic() {
        let archive = archive(&counts());
        for len in 0..archive.len() {
            let _ = restore(&archive[..len]);
        }
        for at in 0..archive.len() {
            let mut changed = archive.clone();
            changed[at] ^= 0xff;
            let _ = restore(&changed);
        }
    }
}
