//! Joining: the one exchange that makes a machine a device of the fleet.
//!
//! Invariant: the PIN is sent only to a cloud whose authority has the fingerprint
//! in the URL. The device's keys are kept before they are shown, so that asking
//! again after a lost answer comes to the same device; a join that came to nothing
//! leaves nothing behind.

use super::connect::{Line, Place};
use super::tls;
use crate::data_dir::{DataDir, Lock};
use crate::identity::{Enrolment, Keys};
use core::time::Duration;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use std::io;
use tallyroll_schema::JoinUrl;
use tallyroll_schema::enrol::{JoinAnswer, JoinRequest, decode_answer, encode};
use tallyroll_schema::limits::ENROLMENT_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

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
    let cloud = url.address();
    let place = Place { cloud: cloud.clone(), tls_port: url.tls_port };
    let line = place.connect(&trust).await.map_err(|why| miette!("cannot join {cloud}: {why}"))?;

    let tls_fingerprint = keys.tls.fingerprint();
    let request = JoinRequest {
        name: url.name.clone(),
        pin: pin.to_owned(),
        signing_key: keys.signer.public_key(),
        proof: keys.signer.sign_enrolment(&url.name, tls_fingerprint.as_bytes()),
        agent: concat!("tallyroll-edge/", env!("CARGO_PKG_VERSION")).into(),
    };
    traces.stay = true; // from here on the cloud may know the keys
    let bytes = tokio::time::timeout(ANSWER_TIMEOUT, exchange(line, &encode(&request)))
        .await
        .map_err(|_| miette!("{cloud} did not answer; run the same command again"))?
        .into_diagnostic()
        .wrap_err_with(|| format!("{cloud} broke off; run the same command again"))?;
    match decode_answer(&bytes).into_diagnostic()? {
        JoinAnswer::Refused(why) => {
            traces.stay = false;
            Err(miette!("{cloud} refuses: {why}"))
        }
        JoinAnswer::Welcome(welcome) => Enrolment::keep(dir, url, welcome).into_diagnostic(),
    }
}

/// Says the request and hears the answer, each the whole of its direction.
async fn exchange(line: Line, request: &[u8]) -> io::Result<Vec<u8>> {
    match line {
        Line::Quic(endpoint, connection) => {
            let (ask, answer) = connection.open_bi().await?;
            let heard = say_and_hear(ask, answer, request).await?;
            connection.close(0u32.into(), b"");
            endpoint.wait_idle().await;
            Ok(heard)
        }
        Line::Tcp(stream) => {
            let (answer, ask) = tokio::io::split(*stream);
            say_and_hear(ask, answer, request).await
        }
    }
}

async fn say_and_hear(
    mut ask: impl AsyncWrite + Unpin,
    answer: impl AsyncRead + Unpin,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    ask.write_all(request).await?;
    ask.shutdown().await?;
    let mut heard = Vec::new();
    // One byte more is too much for whoever decodes it.
    answer.take(ENROLMENT_BYTES_MAX as u64 + 1).read_to_end(&mut heard).await?;
    Ok(heard)
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
