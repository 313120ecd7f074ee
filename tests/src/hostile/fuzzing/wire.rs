//! Frames and messages, and the session that listens to them at either end.
//!
//! Invariant: a stream gives the same messages however its bytes are cut, and so do all streams on
//! one connection; a session
//! answers each with outputs or by closing; it is never asked to perform anything here.

use super::decoder::{Decoder, assert_reads_back};
use super::goldens;
use super::mutation::mutate;
use crate::hostile::place::session_config;
use crate::sim::entropy::Entropy;
use core::time::Duration;
use tallyroll_engine::sync::{Opening, Role, Session};
use tallyroll_schema::DecodeError;
use tallyroll_schema::limits::CONTROL_BYTES_MAX;
use tallyroll_schema::wire::{
    FrameReader, Message, StreamKind, TaggedReader, encode_frame, tag_frame,
};

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
        drop(tagged(input, 9));
        let (messages, end) = whole;
        assert_eq!(
            tagged(&all_on_one(&messages), 5),
            on_each_stream(&messages),
            "on one connection"
        );
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

fn on_each_stream(messages: &[Message]) -> Vec<(StreamKind, Message)> {
    let streams = [StreamKind::Control, StreamKind::Ledger, StreamKind::Telemetry];
    let each = |message: &Message| streams.map(|stream| (stream, message.clone()));
    let fit = |(stream, message): &(StreamKind, Message)| {
        *stream != StreamKind::Control || encode_frame(message).len() < CONTROL_BYTES_MAX as usize
    };
    messages.iter().flat_map(each).filter(fit).collect()
}

/// Each message on each stream that it fits, as a connection without streams carries them.
fn all_on_one(messages: &[Message]) -> Vec<u8> {
    let tagged =
        |(stream, message): &(StreamKind, Message)| tag_frame(*stream, encode_frame(message));
    on_each_stream(messages).iter().flat_map(tagged).collect()
}

/// The messages of a connection without streams that arrives in pieces, as far as they go.
fn tagged(bytes: &[u8], piece: usize) -> Vec<(StreamKind, Message)> {
    let (mut reader, mut messages) = (TaggedReader::default(), Vec::new());
    for piece in bytes.chunks(piece.max(bytes.len() / 64)) {
        reader.push(piece);
        while let Ok(Some(message)) = reader.next_message() {
            messages.push(message);
        }
    }
    messages
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
