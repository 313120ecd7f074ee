//! New keys for this device: made, said in its logs, and used, in that order.
//!
//! Invariant: at each moment the file of keys holds those that the logs and the cloud
//! go by. The next ones are durable before the event that names them; the old signing
//! key is removed, and the new certificate shown, once the cloud has receipted that
//! event; older TLS keys go once the cloud has taken a session with a newer one that
//! this device can prove to be its. What was interrupted is taken up again before the next connection.

use crate::data_dir::DataDir;
use crate::identity::{IdentityError, Keys};
use crate::keeper::{Gone, Keeper};
use crate::link::tls::DeviceTls;
use serde::Serialize;
use tallyroll_engine::Error;
use tallyroll_engine::device::Rotation;
use tallyroll_schema::{Fingerprint, PublicKey};

/// TLS keys from before the newest that are kept at most: a cloud that lost what it knew since may know one.
const OLDER_TLS_MAX: usize = 3;

/// What became of a change of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rotated {
    /// Signs from now on.
    pub signing_key: PublicKey,
    /// Of the certificate that is shown once the cloud has heard of it.
    pub tls_fingerprint: Fingerprint,
    /// Whether the cloud had confirmed an earlier call's, and this is that one's.
    pub under_way: bool,
}

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum RekeyingError {
    /// The keeper has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The keys cannot be read, made or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The device refused.
    #[error(transparent)]
    Engine(#[from] Error),
    /// Too many changes that the cloud has seen no new certificate of, or of which it has not said so.
    #[error(
        "keys were changed {0} times since the cloud last saw a new certificate of this device and told it so; \
         let it link (`tallyroll-edge run`; if that runs, start it again), then change them again; a cloud that is frozen \
         (`tallyroll doctor` there) tells nothing before it thaws"
    )]
    Unseen(usize),
    /// The cloud would not take what the next key signs, also not once it is a newer version.
    #[error(
        "this device has not yet linked with a cloud that knows a change of keys: its first version does not, and would take nothing \
         more from this device; let it link (`tallyroll-edge run`), and upgrade the cloud first if it is of that version"
    )]
    Unknown,
}

/// Changes this device's keys; durable when it returns. One change at a time: until the cloud
/// has confirmed the last one, that one is told again.
///
/// # Errors
/// Nothing was changed, but for new keys that lie ready for the next call.
pub async fn rotate(dir: &DataDir, keeper: &Keeper) -> Result<Rotated, RekeyingError> {
    let _alone = keeper.at_the_keys().await;
    settle_alone(dir, keeper).await?;
    let Keys { next, older_tls, .. } = Keys::load_or_create(dir)?;
    let under_way = next.is_some();
    if !under_way && older_tls.len() >= OLDER_TLS_MAX {
        return Err(RekeyingError::Unseen(older_tls.len()));
    }
    if !under_way && !keeper.query(|device| device.has_heard_of_accounts()).await?? {
        return Err(RekeyingError::Unknown);
    }
    let next = or_end(keeper, Keys::prepare_next(dir))?;
    let (signing_key, tls_fingerprint) = (next.signer.public_key(), next.tls.fingerprint());
    keeper.rotate_keys(next).await??;
    Ok(Rotated { signing_key, tls_fingerprint, under_way })
}

/// Brings a change that is under way as far as it can come now; returns the certificates to
/// show, the one that counts first. Older ones are for a cloud that lost what it knew since.
///
/// # Errors
/// The keys cannot be used; the device refused.
pub async fn settle(dir: &DataDir, keeper: &Keeper) -> Result<Vec<DeviceTls>, RekeyingError> {
    let _alone = keeper.at_the_keys().await;
    settle_alone(dir, keeper).await
}

/// Of keys that may be gone after a power cut nothing is to be said: after a failed sync the process ends.
pub(crate) fn or_end<T>(
    keeper: &Keeper,
    kept: Result<T, IdentityError>,
) -> Result<T, IdentityError> {
    kept.inspect_err(|why| {
        if let IdentityError::File { source, .. } = why
            && why.is_unsynced()
        {
            let source = std::io::Error::new(source.kind(), why.to_string());
            keeper.end(Error::Storage { doing: "keeping the keys", source });
        }
    })
}

async fn settle_alone(dir: &DataDir, keeper: &Keeper) -> Result<Vec<DeviceTls>, RekeyingError> {
    let mut keys = Keys::load_or_create(dir)?;
    if keys.next.is_some() {
        match keeper.query(|device| device.rotation()).await?? {
            Rotation::Written => {}
            Rotation::None | Rotation::Prepared => {
                let next = or_end(keeper, Keys::prepare_next(dir))?;
                keeper.rotate_keys(next).await??;
            }
            Rotation::Confirmed => {
                or_end(keeper, Keys::promote_next(dir))?;
                keeper.query(|device| device.drop_old_keys()).await??;
                keys = Keys::load_or_create(dir)?;
            }
        }
    }
    Ok([keys.tls].into_iter().chain(keys.older_tls).collect())
}
