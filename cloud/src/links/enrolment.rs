//! Enrolment: one question, one answer, of a peer nobody knows yet, by either way.
//!
//! Invariant: few ask at once, each for a short time, and who named a wrong PIN
//! waits before it hears so: guessing is slow, whoever guesses. Whether an
//! invitation holds is the engine's; here it is bound to the key of the connection.

use super::Links;
use super::line::{Caller, Ending, Line};
use crate::keeper::Unanswered;
use std::io;
use std::net::SocketAddr;
use tallyroll_engine::Error;
use tallyroll_schema::enrol::{JoinAnswer, JoinRequest, decode_request, encode};
use tallyroll_schema::limits::ENROLMENT_BYTES_MAX;
use tallyroll_schema::limits::links::{EXCHANGE_TIMEOUT, REFUSAL_DELAY};
use tallyroll_schema::{Fingerprint, Hash};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::{info, warn};

type Ended = (Ending, String);

/// Serves a peer that wants to join.
pub(super) async fn serve(links: &Links, caller: Caller) {
    let Caller { from, fingerprint, mut line, .. } = caller;
    let Ok(_permit) = links.enrolments.try_acquire() else {
        links.metrics.refused.inc();
        return line.close(Ending::Busy, "too many devices join at once; try again");
    };
    let asking = Asking { links, from, fingerprint };
    let ended = match &mut line {
        Line::Quic(connection) => {
            let opened = tokio::time::timeout(EXCHANGE_TIMEOUT, connection.accept_bi()).await;
            match opened.map_err(|_| "no request within 10 s".to_owned()) {
                Ok(Ok((answer_to, asked))) => asking.converse(asked, answer_to).await,
                Ok(Err(why)) => Err(asking.broke_off(why.to_string())),
                Err(why) => Err(asking.broke_off(why)),
            }
        }
        Line::Tcp(stream) => {
            let (asked, answer_to) = tokio::io::split(&mut **stream);
            asking.converse(asked, answer_to).await
        }
    };
    match ended {
        Ok(()) => {
            line.left().await; // it closes once it has read
            line.close(Ending::Done, "");
        }
        Err((ending, why)) => line.close(ending, &why),
    }
}

/// Who asks.
struct Asking<'a> {
    links: &'a Links,
    from: SocketAddr,
    fingerprint: Fingerprint,
}

impl Asking<'_> {
    async fn converse(
        &self,
        asked: impl AsyncRead + Unpin,
        answer_to: impl AsyncWrite + Unpin,
    ) -> Result<(), Ended> {
        let asked = tokio::time::timeout(EXCHANGE_TIMEOUT, hear(asked)).await;
        let asked = asked.unwrap_or_else(|_| Err("no request within 10 s".into()));
        let request = asked.map_err(|why| self.broke_off(why))?;
        let answer = self.answer(request).await?;
        let told = tokio::time::timeout(EXCHANGE_TIMEOUT, tell(answer_to, &answer));
        drop(told.await); // who missed the answer asks again with the same keys
        Ok(())
    }

    async fn answer(&self, request: JoinRequest) -> Result<JoinAnswer, Ended> {
        let Self { links, from, fingerprint } = self;
        let name = request.name.clone();
        let answer = join(links, request, *fingerprint).await.map_err(|why| {
            warn!(%from, %why, "cannot enrol");
            (Ending::Stopped, "the cloud cannot go on; come again".to_owned())
        })?;
        match &answer {
            JoinAnswer::Welcome(welcome) => {
                links.metrics.enrolments.inc();
                info!(%from, device = name, id = %welcome.device, "enrolled");
            }
            JoinAnswer::Refused(why) => {
                links.metrics.enrolments_refused.inc();
                warn!(%from, why, "refused an enrolment");
                tokio::time::sleep(REFUSAL_DELAY).await;
            }
        }
        Ok(answer)
    }

    fn broke_off(&self, why: String) -> Ended {
        warn!(from = %self.from, why, "an enrolment broke off");
        (Ending::Protocol, why)
    }
}

async fn hear(asked: impl AsyncRead + Unpin) -> Result<JoinRequest, String> {
    let mut bytes = Vec::new();
    // One byte more is too much for the decoder.
    let mut asked = asked.take(ENROLMENT_BYTES_MAX as u64 + 1);
    asked.read_to_end(&mut bytes).await.map_err(|why| why.to_string())?;
    decode_request(&bytes).map_err(|why| why.to_string())
}

async fn join(
    links: &Links,
    request: JoinRequest,
    fingerprint: Fingerprint,
) -> Result<JoinAnswer, Unanswered> {
    let joined = links.keeper.run(move |replica| {
        let mut nonce = [0; 16];
        let failed = |why: getrandom::Error| Error::Storage {
            doing: "asking for entropy",
            source: why.into(),
        };
        getrandom::fill(&mut nonce).map_err(failed)?;
        replica.hub.join(replica.now(), &request, Hash(fingerprint.0), nonce)
    });
    match joined.await {
        Ok(new) => Ok(JoinAnswer::Welcome(new.welcome)),
        Err(Unanswered::Engine(Error::Rejected(why))) => Ok(JoinAnswer::Refused(why)),
        // The invitation holds still.
        Err(Unanswered::Engine(Error::Full(_))) => {
            Ok(JoinAnswer::Refused(Unanswered::Full.to_string()))
        }
        Err(why) => Err(why),
    }
}

async fn tell(mut to: impl AsyncWrite + Unpin, answer: &JoinAnswer) -> io::Result<()> {
    to.write_all(&encode(answer)).await?;
    to.shutdown().await
}
