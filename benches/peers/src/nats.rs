//! A backlog by NATS JetStream: each record a message to a file stream, its acknowledgement waited for, many
//! under way at a time. The server was started before; whether it syncs is its configuration's.
//!
//! Owns as much of its protocol as that takes. Invariant: a message counts once its acknowledgement is here;
//! bytes are those of the protocol, both ways, without TCP's and IP's headers, which favours it.

use crate::{Outcome, Plan};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::TcpStream;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Messages without an acknowledgement at a time.
const UNDER_WAY: usize = 4_096;
/// One that syncs each message is not asked for more.
const SYNCED_EVENTS: usize = 20_000;

/// `place` is `HOST:PORT=NAME`, NAME being what is said of its syncs.
pub(super) fn run(plan: &Plan, place: &str) -> Outcome {
    let (at, durable) = place.split_once('=').ok_or("say HOST:PORT=how it syncs")?;
    let syncs = durable.contains("always");
    let count = if syncs { SYNCED_EVENTS } else { plan.records.len() };
    let records = &plan.records[..count.min(plan.records.len())];
    let (mut rates, mut sizes) = (Vec::new(), Vec::new());
    for run in 0..plan.runs {
        let (seconds, bytes) = publish(at, &format!("events{run}"), records)?;
        rates.push(records.len() as f64 / seconds);
        sizes.push(bytes as f64 / records.len() as f64);
    }
    let name = if syncs { "NATS JetStream, sync always" } else { "NATS JetStream" };
    plan.tell("backlog", name, "events/s", durable, rates)?;
    if syncs {
        Ok(())
    } else {
        plan.tell("wire", name, "bytes/event", "without TCP/IP headers", sizes)
    }
}

fn publish(at: &str, stream: &str, records: &[Vec<u8>]) -> Outcome<(f64, u64)> {
    let socket = TcpStream::connect(at)?;
    socket.set_nodelay(true)?;
    let mut from = BufReader::new(socket.try_clone()?);
    let mut to = BufWriter::with_capacity(1 << 16, socket);
    let mut line = String::new();
    from.read_line(&mut line)?; // INFO
    let config = format!(r#"{{"name":"{stream}","subjects":["{stream}"],"storage":"file"}}"#);
    let create = format!("$JS.API.STREAM.CREATE.{stream}");
    write!(to, "CONNECT {{\"verbose\":false}}\r\nSUB inbox 1\r\n")?;
    write!(to, "PUB {create} inbox {}\r\n{config}\r\n", config.len())?;
    to.flush()?;
    let mut bytes = 0;
    let created = message(&mut from, &mut bytes)?;
    if created.contains("\"error\"") {
        return Err(created.into());
    }
    let (place, free) = sync_channel(UNDER_WAY);
    let (began, total) = (Instant::now(), records.len());
    let acknowledged = std::thread::spawn(move || {
        let mut bytes = 0;
        for _ in 0..total {
            let answer = message(&mut from, &mut bytes).map_err(|why| why.to_string())?;
            if answer.contains("\"error\"") {
                return Err(answer);
            }
            free.recv().map_err(|why| why.to_string())?;
        }
        Ok(bytes)
    });
    let mut sent = 0;
    for record in records {
        if place.try_send(()).is_err() {
            to.flush()?; // before waiting for what was not sent
            place.send(())?;
        }
        let head = format!("PUB {stream} inbox {}\r\n", record.len());
        to.write_all(head.as_bytes())?;
        to.write_all(record)?;
        to.write_all(b"\r\n")?;
        sent += head.len() + record.len() + 2;
    }
    to.flush()?;
    let received: u64 = acknowledged.join().map_err(|_| "the reader panicked")??;
    Ok((began.elapsed().as_secs_f64(), sent as u64 + received))
}

/// The next message's payload; answers pings with nothing, for none comes so soon.
fn message(from: &mut impl BufRead, bytes: &mut u64) -> Outcome<String> {
    let mut line = String::new();
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Err("NATS has closed the connection".into());
        }
        if line.starts_with("-ERR") {
            return Err(line.into());
        }
        if line.starts_with("MSG") {
            break;
        }
    }
    let len: usize = line.trim_end().rsplit(' ').next().unwrap_or("0").parse()?;
    let mut payload = vec![0; len + 2];
    from.read_exact(&mut payload)?;
    *bytes += (line.len() + payload.len()) as u64;
    Ok(String::from_utf8_lossy(&payload).into_owned())
}
