//! Frames and messages, and the session that listens to them at either end.
//!
//! Invariant: a stream gives the same messages however its bytes are cut, and a session
//! answers each with outputs or by closing; it is never asked to perform anything here.

use super::decoder::{Decoder, assert_reads_back};
use super::goldens;
use super::mutation::mutate;
use crate::hostile::place::session_config;
use crate::sim::entropy::Entropy;
use core::time::Duration;
use tallyroll_engine::sync::{Opening, Role, Session};
use tallyroll_schema::DecodeError;
use tallyroll_schema::wire::{FrameReader, Message, StreamKind};

/// Frames of any stream.
pub(super) struct WireDecoder {
    frames: Vec<Vec<u8>>,
    /// Type bytes and payloads.
    insides: Vec<Vec<u8>>,
    hello: Message,
}

impl WireDecoder {
    pub(super) fn new() -> Self {
        let golden = goldens::texts("wire", ".hex").into_iter();
        let frames = golden.filter(|(name, _)| !name.starts_with("join-"));
        let frames: Vec<Vec<u8>> = frames.map(|(_, text)| goldens::unhex(&text)).collect();
        let insides = frames.iter().map(|frame| frame[4..].to_vec()).collect();
        let hello = goldens::bytes("wire", "hello")[5..].to_vec();
        let hello = Message::decode(1, hello).expect("is golden");
        Self { frames, insides, hello }
    }
}

impl Decoder for WireDecoder {
    fn name(&self) -> &'static str {
        "wire"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.frames.clone()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..entropy.between(1, 4) {
            let golden = &self.insides[entropy.index(self.insides.len())];
            let mut inside = golden.clone();
            if entropy.percent(70) {
                inside = mutate(entropy, core::slice::from_ref(golden));
                if let (Some(tag), true) = (inside.first_mut(), entropy.percent(90)) {
                    *tag = golden[0];
                }
            }
            stream.extend_from_slice(&u32::try_from(inside.len()).expect("is small").to_le_bytes());
            stream.extend_from_slice(&inside);
        }
        stream
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let whole = messages(StreamKind::Ledger, input, input.len().max(1));
        if input.len() < 4096 {
            assert_eq!(whole, messages(StreamKind::Ledger, input, 7), "cut otherwise");
        }
        let (messages, end) = whole;
        let name = |message: &Message| format!("{message:?}");
        let last = messages.last().map_or("nothing".into(), name);
        for stream in [StreamKind::Control, StreamKind::Ledger] {
            listen(Role::Cloud, stream, &self.hello, &messages);
            listen(Role::Device, stream, &self.hello, &messages);
        }
        match end {
            None => Ok(last.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default().into()),
            Some(why) => Err(why.to_string()),
        }
    }
}

/// The messages of a stream that arrives in pieces, and why it ends early.
fn messages(stream: StreamKind, bytes: &[u8], piece: usize) -> (Vec<Message>, Option<DecodeError>) {
    let (mut reader, mut messages) = (FrameReader::new(stream), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => {
                    let (tag, payload) = message.encode();
                    assert_reads_back(&message, &Message::decode(tag, payload));
                    messages.push(message);
                }
                Ok(None) => break,
                Err(why) => return (messages, Some(why)),
            }
        }
    }
    (messages, None)
}

/// A session that hears these messages after a HELLO.
fn listen(role: Role, stream: StreamKind, hello: &Message, messages: &[Message]) {
    let Message::Hello(said) = hello else { unreachable!("the golden one is a HELLO") };
    let config = session_config(role, said.tenant, said.device);
    let mut session = Session::new(config, Opening::default(), Duration::ZERO);
    session.handle(StreamKind::Control, hello.clone());
    for message in messages {
        session.handle(stream, message.clone());
        while session.poll_output().is_some() {}
    }
}
