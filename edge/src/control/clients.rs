//! The clients of the control socket: those who have yet to ask, and those who are served.
//!
//! Owns how many there may be and for how long. Invariant: a client that says nothing, or takes
//! nothing, keeps nobody out: it has seconds, and the longest silent one gives way to the next.
//! Recordings, which may last, take no place from questions; who finds none is told so. All of
//! them end with [`serve`].
//! What is asked and answered is left to the desk and to [`recording`].

use super::{Answer, Ask, Desk, acting, leased, recording};
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use tallyroll_schema::limits::local::{
    AGENT_QUESTION_BYTES_MAX, ASK_TIMEOUT, ASKING_MAX, QUESTIONS_MAX, RECORDINGS_MAX,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

/// A client may take so long to take its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a command of another version is told.
pub(super) const NO_QUESTION: &str = "no question this agent knows";

/// A client and what it asked, or why that is no question.
struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    asked: Result<Ask, String>,
}

/// Serves clients for ever.
pub async fn serve(listener: UnixListener, desk: Desk) {
    let (mut asking, mut questions, mut recordings) =
        (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let mut silent = VecDeque::<AbortHandle>::new(); // the longest first
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else {
                    // Out of descriptors, most likely; it passes.
                    sleep(Duration::from_millis(100)).await;
                    continue;
                };
                silent.retain(|client| !client.is_finished());
                if silent.len() >= ASKING_MAX && let Some(longest) = silent.pop_front() {
                    longest.abort();
                }
                silent.push_back(asking.spawn(hear(client)));
                yield_now().await; // who has asked already is heard before the next comes
            }
            Some(heard) = asking.join_next() => {
                let Ok(Ok(client)) = heard else { continue };
                match client.asked {
                    Ok(Ask::Record | Ask::RecordLeased { .. } | Ask::Act)
                        if recordings.len() < RECORDINGS_MAX =>
                    {
                        drop(recordings.spawn(record(client, desk.clone())));
                    }
                    Ok(Ask::Record | Ask::RecordLeased { .. } | Ask::Act) => {
                        refuse(&client, RECORDINGS_MAX, "recordings");
                    }
                    _ if questions.len() < QUESTIONS_MAX => {
                        drop(questions.spawn(answer(client, desk.clone())));
                    }
                    _ => refuse(&client, QUESTIONS_MAX, "questions"),
                }
            }
            Some(_) = questions.join_next() => {}
            Some(_) = recordings.join_next() => {}
        }
    }
}

/// Reads the question, within its limits.
async fn hear(client: UnixStream) -> io::Result<Client> {
    let (reader, writer) = client.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut ask = (&mut reader).take(AGENT_QUESTION_BYTES_MAX as u64);
    let asked = match timeout(ASK_TIMEOUT, ask.read_until(b'\n', &mut line)).await {
        Ok(Ok(read)) if read == AGENT_QUESTION_BYTES_MAX && !line.ends_with(b"\n") => {
            Err(format!("a question has at most {AGENT_QUESTION_BYTES_MAX} bytes, this is more"))
        }
        Ok(read) => {
            read?;
            serde_json::from_slice(&line).map_err(|why| format!("{NO_QUESTION}: {why}"))
        }
        Err(_) => Err(format!("no question within {} s", ASK_TIMEOUT.as_secs())),
    };
    Ok(Client { reader, writer, asked })
}

async fn record(client: Client, desk: Desk) {
    let Client { reader, writer, asked } = client;
    let recorded = match asked {
        Ok(Ask::RecordLeased { wait_seconds }) => {
            let patience = Duration::from_secs(wait_seconds);
            leased::pump(reader, writer, &desk, patience).await
        }
        Ok(Ask::Act) => acting::pump(reader, writer, &desk).await,
        _ => recording::pump(reader, writer, &desk.keeper).await,
    };
    if let Err(why) = recorded {
        tracing::debug!(%why, "a recording broke off");
    }
}

async fn answer(mut client: Client, desk: Desk) {
    let answer = match client.asked {
        Ok(ask) => desk.answer(ask).await,
        Err(error) => Answer::Error { error },
    };
    let answer = line(&answer);
    match timeout(ANSWER_TIMEOUT, client.writer.write_all(&answer)).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::debug!(%why, "a client did not take its answer"),
        Err(_) => tracing::debug!("a client did not take its answer in time"),
    }
}

fn refuse(client: &Client, count: usize, what: &str) {
    let busy = format!("the agent serves {count} {what} already; end one, or try again");
    drop(client.writer.try_write(&line(&Answer::Busy { busy }))); // an empty socket has room for it
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).unwrap_or_default(); // an empty line is no answer
    line.push(b'\n');
    line
}
