//! Names at this device: random aliases, minted and sealed before their first event.
//!
//! Owns the entropy of an alias and the sealing of its name; the table is the
//! engine's. Invariant: a name leaves this device only sealed to the tenant's
//! directory key.

pub mod sealed;

use tallyroll_schema::wire::DirectoryEntry;
use tallyroll_schema::{DeviceId, PublicKey, UserAlias};

/// A new alias for `name`, with the name sealed beside it.
///
/// # Errors
/// The name is too long, the directory key is none, or there is no entropy.
pub fn mint(
    device: DeviceId,
    directory_key: &PublicKey,
    name: &str,
) -> Result<DirectoryEntry, String> {
    let mut alias = UserAlias([0; 16]);
    getrandom::fill(&mut alias.0).map_err(|why| why.to_string())?;
    let sealed =
        sealed::seal_name(directory_key.as_bytes(), alias.as_bytes(), device.as_bytes(), name)
            .map_err(|why| why.to_string())?;
    Ok(DirectoryEntry { alias, sealed })
}
