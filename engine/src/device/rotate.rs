//! New keys for a device: its logs say which, and the cloud confirms it.
//!
//! Invariant: one commit changes the keys of both logs, each by a batch of its own
//! whose head the old key has signed; before that the old key signs, after it the
//! new one. The old key is needed until the cloud has it all, and for what was
//! written with it never again: heads for that are signed here. Making and keeping
//! keys, and removing old ones, is the rim's.

use super::epoch::is_receipted;
use super::own_log::OwnLog;
use super::seal::seal_records;
use super::{Device, Now, timestamp};
use crate::keys::Signer;
use crate::log::journal::JournalFile;
use crate::log::{Tip, check_rotation, in_force};
use crate::store::rows::{
    BatchRow, HeadRow, RotationsRow, TipRow, epoch_key, seq_key, split_epoch_key,
};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::event::log::{KeyRotated, LogClass};
use tallyroll_schema::limits::BURST_BYTES_MAX;
use tallyroll_schema::{Hash, Head, Position, PublicKey, Record, SignedHead};

/// How far a change of a device's keys has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// None is under way.
    None,
    /// The next key is there, but no log names it: the old one signs.
    Prepared,
    /// The logs name the next key, and it signs; the cloud may not know.
    Written,
    /// The cloud has that.
    Confirmed,
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Has `next` sign from now on, and tells the cloud so and which TLS certificate comes
    /// with it. Does nothing where that is done.
    ///
    /// # Errors
    /// Another change is under way; the device is retired; [`Error::Full`]; the logs go on where
    /// only a key signs that is no longer here; storage failed.
    pub fn rotate_keys(&mut self, now: Now, next: Signer, tls_fingerprint: Hash) -> Result<()> {
        self.refuse_if_closed()?;
        self.refuse_if_retired()?;
        if !self.has_room() {
            return Err(self.refused());
        }
        let known = self.config.next_signer.as_ref().map(Signer::public_key);
        if known.is_some_and(|known| known != next.public_key()) {
            let why = "this device's keys are being changed already; that is done once the cloud has confirmed it";
            return Err(Error::NotYet(why.into()));
        }
        self.seal(now)?;
        self.config.next_signer = Some(next);
        let (Some(next), true) = (&self.config.next_signer, self.rotation()? == Rotation::Prepared)
        else {
            return Ok(());
        };
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let (mut hybrid, mut written) = (self.hybrid, Vec::new());
        for class in [LogClass::Ledger, LogClass::Telemetry] {
            let own = self.log(class);
            let place = own.position(own.next_seq());
            let old = in_force(&rows, &own.genesis, place, None)?.key;
            if old == next.public_key() {
                continue; // the other log's change was set aside, this one's was not
            }
            let signer = self.signer(&old)?;
            let event = KeyRotated {
                writer: next.public_key(),
                consent: next.sign_consent(self.config.tenant, place.log, &old),
                tls_fingerprint: (class == LogClass::Ledger).then_some(tls_fingerprint),
            };
            let rotations = check_rotation(&rows, &own.genesis, (place, &old), &event)?;
            sign_past(&mut rows, own, signer)?;
            let time = timestamp(hybrid, now);
            hybrid = time.hybrid;
            let record = Record::encode(&event.into(), time)?;
            let tip = seal_records(&mut rows, own.epoch, own.tip, &record)?;
            let head =
                signer.sign_head(self.config.tenant, Head { position: place, hash: tip.hash });
            rows.put(&(place.log, place.epoch, place.seq), &HeadRow(head));
            rows.put(&place.log, &rotations);
            written.push((class, tip, record));
        }
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.hybrid = hybrid;
        let tenant = self.config.tenant;
        for (class, tip, record) in written {
            let own = self.log_mut(class);
            own.sealed(tip);
            let (genesis, epoch, seq) = (own.genesis.clone(), own.epoch, tip.next_seq - 1);
            self.counts.fold_records(tenant, &genesis, epoch, seq, &record);
        }
        Ok(())
    }

    /// How far the change of this device's keys has come.
    ///
    /// # Errors
    /// Storage failed.
    pub fn rotation(&self) -> Result<Rotation> {
        let Some(next) = self.config.next_signer.as_ref().map(Signer::public_key) else {
            return Ok(Rotation::None);
        };
        let (rows, mut confirmed) = (self.rows(), true);
        for own in [&self.ledger, &self.telemetry] {
            if in_force(&rows, &own.genesis, own.position(own.next_seq()), None)?.key != next {
                return Ok(Rotation::Prepared);
            }
            let RotationsRow(changes) = rows.get(&own.epoch.0)?.unwrap_or_default();
            let Some(change) = changes.iter().find(|change| change.writer == next) else {
                return Ok(Rotation::Prepared);
            };
            confirmed &= is_receipted(&rows, own.epoch, change)?;
        }
        Ok(if confirmed { Rotation::Confirmed } else { Rotation::Written })
    }

    /// The next key is the only one from now on, if the cloud has confirmed it.
    ///
    /// # Errors
    /// Storage failed.
    pub fn drop_old_keys(&mut self) -> Result<()> {
        if self.rotation()? == Rotation::Confirmed
            && let Some(next) = self.config.next_signer.take()
        {
            self.config.signer = next;
        }
        Ok(())
    }

    /// The keys that are here.
    pub(super) fn signers(&self) -> Vec<&Signer> {
        [Some(&self.config.signer), self.config.next_signer.as_ref()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Whether the keys that are here sign what comes next in both logs.
    ///
    /// # Errors
    /// Storage failed.
    pub fn can_sign(&self) -> Result<bool> {
        let (rows, mut all) = (self.rows(), true);
        for own in [&self.ledger, &self.telemetry] {
            let key = in_force(&rows, &own.genesis, own.position(own.next_seq()), None)?.key;
            all &= self.signers().iter().any(|signer| signer.public_key() == key);
        }
        Ok(all)
    }

    fn signer(&self, key: &PublicKey) -> Result<&Signer> {
        let found = self.signers().into_iter().find(|signer| signer.public_key() == *key);
        found.ok_or_else(|| {
            let why = "this device's logs go on where only a key signs that it no longer has; join anew, \
                with a new data directory and an invitation by `tallyroll enroll`";
            Error::Rejected(why.into())
        })
    }
}

/// Signs heads for all that a key has in force of a log, so that each burst that the cloud may
/// ask for ends at one.
fn sign_past<S: Store>(rows: &mut Rows<'_, S>, own: &OwnLog, signer: &Signer) -> Result<()> {
    let (log, mut epochs, mut heads) = (own.epoch.0, Vec::new(), Vec::new());
    rows.scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, tip| {
        epochs.extend(split_epoch_key(key).map(|(_, epoch)| (epoch, Tip::from(tip))));
        Ok(ControlFlow::Continue(()))
    })?;
    let RotationsRow(changes) = rows.get(&log)?.unwrap_or_default();
    for (epoch, tip) in epochs {
        let end = Position { log, epoch, seq: tip.next_seq };
        if in_force(rows, &own.genesis, end, None)?.key != signer.public_key() {
            continue;
        }
        let here = changes.iter().filter(|change| change.epoch == epoch);
        let from = here.map(|change| change.seq + 1).max().unwrap_or(0);
        let (mut bytes, mut last): (usize, Option<Head>) = (0, None);
        let mut sign = |head: Option<Head>| {
            heads.extend(head.map(|head| signer.sign_head(rows.tenant(), head)));
        };
        let first = seq_key(log, epoch, from);
        rows.scan::<BatchRow>(&epoch_key(log, epoch), &first, &mut |_, row| {
            let len = row.batch.bytes().len();
            if bytes + len > BURST_BYTES_MAX as usize / 2 {
                sign(last);
                bytes = 0;
            }
            bytes += len;
            let seq = row.batch.header().end_seq()?.saturating_sub(1);
            last = Some(Head { position: Position { log, epoch, seq }, hash: row.hash });
            Ok(ControlFlow::Continue(()))
        })?;
        sign(last);
    }
    for SignedHead { head, signature } in heads {
        let Position { log, epoch, seq } = head.position;
        rows.put(&(log, epoch, seq), &HeadRow(SignedHead { head, signature }));
    }
    Ok(())
}
