//! Enrolment over QUIC: one question, one answer, of a peer nobody knows yet.
//!
//! Invariant: few ask at once, each for a short time, and who named a wrong PIN
//! waits before it hears so: guessing is slow, whoever guesses. Whether an
//! invitation holds is the engine's; here it is bound to the key of the connection.

use super::{Ending, Links};
use crate::keeper::Unanswered;
use core::time::Duration;
use quinn::{Connection, SendStream};
use tallyroll_engine::Error;
use tallyroll_schema::enrol::{JoinAnswer, JoinRequest, decode_request, encode};
use tallyroll_schema::limits::ENROLMENT_BYTES_MAX;
use tallyroll_schema::{Fingerprint, Hash};
use tracing::{info, warn};

/// Enrolments at once; others are told to come again.
pub(super) const AT_ONCE: usize = 8;
/// A device may take so long to ask, and so long to take the answer.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a refusal costs: with `AT_ONCE`, at most eight guesses a second in all.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// Serves a peer that wants to join.
pub(super) async fn serve(links: &Links, connection: &Connection, fingerprint: Fingerprint) {
    let from = connection.remote_address();
    let Ok(_permit) = links.enrolments.try_acquire() else {
        links.metrics.refused.inc();
        return Ending::Busy.close(connection, "too many devices join at once; try again");
    };
    let (request, answer_to) = match ask(connection).await {
        Ok(asked) => asked,
        Err(why) => {
            warn!(%from, why, "an enrolment broke off");
            return Ending::Protocol.close(connection, &why);
        }
    };
    let name = request.name.clone();
    let answer = match join(links, request, fingerprint).await {
        Ok(answer) => answer,
        Err(why) => {
            warn!(%from, %why, "cannot enrol");
            return Ending::Stopped.close(connection, "the cloud cannot go on; come again");
        }
    };
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
    let told = tokio::time::timeout(EXCHANGE_TIMEOUT, tell(connection, answer_to, &answer));
    drop(told.await); // who missed the answer asks again with the same keys
    Ending::Done.close(connection, "");
}

async fn ask(connection: &Connection) -> Result<(JoinRequest, SendStream), String> {
    let exchange = async {
        let (answer_to, mut asked) = connection.accept_bi().await.map_err(|why| why.to_string())?;
        let bytes = asked.read_to_end(ENROLMENT_BYTES_MAX).await.map_err(|why| why.to_string())?;
        Ok((decode_request(&bytes).map_err(|why| why.to_string())?, answer_to))
    };
    let asked = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await;
    asked.unwrap_or_else(|_| Err("no request within 10 s".into()))
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
        Err(why) => Err(why),
    }
}

async fn tell(connection: &Connection, mut to: SendStream, answer: &JoinAnswer) {
    if to.write_all(&encode(answer)).await.is_ok() && to.finish().is_ok() {
        drop(to.stopped().await);
        connection.closed().await; // the device closes once it has read
    }
}
