//! Joining: the one exchange that makes a machine a device of the fleet.
//!
//! Invariant: the PIN is sent only to a cloud whose authority has the fingerprint
//! in the URL. The device's keys are kept before they are shown, so that asking
//! again after a lost answer comes to the same device; a join that came to nothing
//! leaves nothing behind.

use super::{connect, tls};
use crate::data_dir::{DataDir, Lock};
use crate::identity::{Enrolment, Keys};
use core::time::Duration;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use tallyroll_schema::JoinUrl;
use tallyroll_schema::enrol::{JoinAnswer, JoinRequest, decode_answer, encode};
use tallyroll_schema::limits::ENROLMENT_BYTES_MAX;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Joins the cloud of `url` with `pin` and keeps what it answers in `dir`.
///
/// # Errors
/// The directory has joined already, the cloud cannot be reached or trusted, or it refuses.
pub async fn join(dir: &DataDir, url: &JoinUrl, pin: &str) -> Result<Enrolment> {
    let new_directory = !dir.root().exists();
    dir.create()?;
    let lock = dir.lock("join")?;
    Enrolment::refuse_if_joined(dir).into_diagnostic()?;
    let new_keys = !Keys::exist(dir);
    let mut traces = Traces { dir, lock, new_directory, new_keys, stay: false };
    let keys = Keys::load_or_create(dir).into_diagnostic()?;
    let trust = tls::join_config(url.authority, &keys.tls).into_diagnostic()?;
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let cloud = format!("{host}:{}", url.port);
    let (endpoint, connection) =
        connect(&cloud, &trust).await.map_err(|why| miette!("cannot join {cloud}: {why}"))?;

    let tls_fingerprint = keys.tls.fingerprint();
    let request = JoinRequest {
        name: url.name.clone(),
        pin: pin.to_owned(),
        signing_key: keys.signer.public_key(),
        proof: keys.signer.sign_enrolment(&url.name, tls_fingerprint.as_bytes()),
        agent: concat!("tallyroll-edge/", env!("CARGO_PKG_VERSION")).into(),
    };
    traces.stay = true; // from here on the cloud may know the keys
    let exchange = async {
        let (mut ask, mut answer) = connection.open_bi().await.into_diagnostic()?;
        ask.write_all(&encode(&request)).await.into_diagnostic()?;
        ask.finish().into_diagnostic()?;
        answer.read_to_end(ENROLMENT_BYTES_MAX).await.into_diagnostic()
    };
    let bytes = tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .map_err(|_| miette!("{cloud} did not answer; run the same command again"))?
        .wrap_err_with(|| format!("{cloud} broke off; run the same command again"))?;
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    match decode_answer(&bytes).into_diagnostic()? {
        JoinAnswer::Refused(why) => {
            traces.stay = false;
            Err(miette!("{cloud} refuses: {why}"))
        }
        JoinAnswer::Welcome(welcome) => {
            Enrolment::keep(dir, url.name.clone(), cloud, url.authority, welcome).into_diagnostic()
        }
    }
}

/// What an attempt has made, taken away with it unless the cloud may have enrolled the keys.
struct Traces<'a> {
    dir: &'a DataDir,
    lock: Lock,
    new_directory: bool,
    new_keys: bool,
    stay: bool,
}

impl Drop for Traces<'_> {
    fn drop(&mut self) {
        if !self.stay && self.new_keys {
            Keys::remove(self.dir);
        }
        if !self.stay && self.new_directory {
            self.dir.remove_if_empty(&self.lock);
        }
    }
}
