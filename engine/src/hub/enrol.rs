//! Enrolment: an invitation, a PIN, a new device.
//!
//! Invariant: a PIN works once, for ten minutes, five wrong tries at most, and is
//! bound to the first keys that name it rightly: only they may ask again (the
//! answer may have been lost). Making the PIN and checking the TLS key are the
//! rim's.

use super::Hub;
use crate::device::Now;
use crate::keys::verify_enrolment;
use crate::store::rows::{Guest, InviteRow};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use tallyroll_schema::enrol::{JoinRequest, Welcome};
use tallyroll_schema::event::fleet::DeviceEnrolled;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::NAME_BYTES_MAX;
use tallyroll_schema::limits::links::{PIN_TRIES, PIN_VALID_MILLISECONDS};
use tallyroll_schema::{DeviceId, Hash, PublicKey, Wall};

/// What the rim made for a new invitation.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The device's name to be.
    pub name: String,
    /// [`pin_hash`] of the PIN.
    pub pin_hash: Hash,
    /// The hash's key, random.
    pub salt: Hash,
    /// Whether it is to be a processing server.
    pub processing: bool,
}

/// What a device's join came to.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// What it is told.
    pub welcome: Welcome,
    /// Whether it was enrolled by an earlier request with the same keys.
    pub again: bool,
}

/// A PIN as it is stored.
pub fn pin_hash(salt: &Hash, pin: &str) -> Hash {
    let plain: String = pin.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    Hash(*blake3::keyed_hash(&salt.0, plain.to_ascii_uppercase().as_bytes()).as_bytes())
}

impl<S: Store> Hub<S> {
    /// Opens an invitation; an earlier unused one for the name is void.
    ///
    /// # Errors
    /// A name that is empty, over-long, oddly made or in use; storage failed.
    pub fn invite(&mut self, now: Now, invitation: Invitation) -> Result<Wall> {
        self.refuse_if_closed()?;
        let Invitation { name, pin_hash, salt, processing } = invitation;
        check_name(&name)?;
        if self.fleet().find(&name).is_some() {
            let why = format!(
                "a device named {name} is enrolled; retire or revoke it first, or take another name"
            );
            return Err(Error::Rejected(why));
        }
        let expires_at = now.wall.plus_milliseconds(PIN_VALID_MILLISECONDS);
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let (tries_left, processing) = (PIN_TRIES, processing.then_some(true));
        let row = InviteRow { pin_hash, salt, expires_at, tries_left, guest: None, processing };
        rows.put(&name, &row);
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        Ok(expires_at)
    }

    /// A device asks to join, over a connection with this TLS certificate.
    /// `nonce` is 16 random bytes for the device's log.
    ///
    /// # Errors
    /// [`Error::Rejected`] with what to tell the device; storage failed.
    pub fn join(
        &mut self,
        now: Now,
        request: &JoinRequest,
        tls_fingerprint: Hash,
        nonce: [u8; 16],
    ) -> Result<NewDevice> {
        self.refuse_if_closed()?;
        let mut rows = Rows::new(self.config.tenant, &self.store);
        // One text for all that could help a guesser.
        let refuse = || {
            let why = "no open invitation for this name and PIN: one of them is mistyped, or the invitation was used, is \
                older than ten minutes, or void after five wrong PINs; `tallyroll enroll NAME` at the cloud makes a new one";
            Error::Rejected(why.into())
        };
        let mut invite: InviteRow = rows.get(&request.name)?.ok_or_else(refuse)?;
        let guest = Guest { signing_key: request.signing_key, tls_fingerprint };
        if invite.tries_left == 0 {
            return Err(refuse());
        }
        if pin_hash(&invite.salt, &request.pin) != invite.pin_hash {
            invite.tries_left -= 1;
            rows.put(&request.name, &invite);
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
            return Err(refuse());
        }
        if !verify_enrolment(request, tls_fingerprint.as_bytes()) {
            return Err(Error::Rejected("the signing key does not vouch for the TLS key".into()));
        }
        if invite.guest == Some(guest) {
            return Ok(NewDevice { welcome: self.welcome(&guest.signing_key), again: true });
        }
        if invite.guest.is_some() || invite.expires_at < now.wall {
            return Err(refuse());
        }
        invite.guest = Some(guest);
        self.enrol(now, &request.name, invite, guest, nonce)?;
        Ok(NewDevice { welcome: self.welcome(&guest.signing_key), again: false })
    }

    fn enrol(
        &mut self,
        now: Now,
        name: &str,
        invite: InviteRow,
        guest: Guest,
        nonce: [u8; 16],
    ) -> Result<()> {
        let Guest { signing_key, tls_fingerprint } = guest;
        let device = DeviceId::of_key(self.config.tenant, &signing_key);
        let (about, name) = (Some(device), name.to_owned());
        let mut rows = self.rows();
        let mut staged = self.stage();
        let class = LogClass::Device;
        let log = self.stage_log(&mut rows, &mut staged, now, class, about, nonce)?;
        rows.put(&name, &invite);
        let (readmitted, processing) = (None, invite.processing);
        let renewed = None;
        let event = DeviceEnrolled {
            device,
            name,
            signing_key,
            tls_fingerprint,
            readmitted,
            processing,
            renewed,
        };
        // What the device holds of it proves its enrolment should the accounts be lost.
        for place in [log, self.logs.accounts] {
            self.stage_events(&mut rows, &mut staged, now, place, &[event.clone().into()])?;
        }
        let changes = rows.into_changes();
        self.finish(changes, staged)
    }

    fn welcome(&self, signing_key: &PublicKey) -> Welcome {
        Welcome {
            tenant: self.config.tenant,
            device: DeviceId::of_key(self.config.tenant, signing_key),
            cloud_key: self.public_key(),
            directory_key: self.config.directory_key,
            public_log: self.public_log(),
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // It is made a directory's name and an argument: no `..`, nothing hidden, no option.
    let leads = !name.starts_with(['.', '-']);
    if name.is_empty() || name.len() > NAME_BYTES_MAX.min(63) || !name.chars().all(plain) || !leads
    {
        let why = "a device's name has 1 to 63 of the characters a-z, A-Z, 0-9, `-`, `_`, `.` and does not begin with `-` or `.`";
        return Err(Error::Rejected(why.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `..` was a name, and the command to run at the branch made its data directory of it.
    #[test]
    fn a_name_can_be_a_directory_and_is_no_option() {
        let longest = "n".repeat(63);
        for name in ["branch-1", "B.2_c", "7", "a..", "a-", "_", longest.as_str()] {
            check_name(name).expect(name);
        }
        let long = "n".repeat(64);
        for name in ["", ".", "..", ".hidden", "-x", "--data", "a b", "a/b", "ä", "a\n", &long] {
            let refused = check_name(name).expect_err(name).to_string();
            assert!(refused.contains("does not begin with"), "{refused}");
        }
    }
}
