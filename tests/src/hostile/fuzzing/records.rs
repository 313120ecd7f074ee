//! Records and batches: framing, CBOR bodies, compression, and what is made of them once admitted.
//!
//! Invariant: a dressed batch is one its log's writer could have made: its records are framed, counted
//! and compressed as they should be, it continues the chain, and its head is signed. Only what the records
//! say is hostile, which is all that a stolen device needs.

use super::decoder::{Decoder, assert_reads_back};
use super::goldens::{self, Body};
use super::mutation::mutate;
use super::values::with_a_hostile_field;
use crate::hostile::place::{DEVICE_SEED, TENANT, now};
use crate::sim::entropy::Entropy;
use serde_json::Value;
use tallyroll_engine::counts::Counts;
use tallyroll_engine::fold::{Replay, View};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::{Tip, genesis, open, seal};
use tallyroll_engine::merge::{Admitted, Ahead, Burst, admit};
use tallyroll_engine::store::rows::{BatchRow, LogRow, TipRow};
use tallyroll_engine::store::{MemoryStore, Rows, Store};
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::{Batch, EpochId, Event, Head, LogId, Position, Record, Records, Timestamp};

/// Makes records with hostile bodies.
pub(super) struct Bodies {
    bodies: Vec<Body>,
    pool: Vec<Vec<u8>>,
    json: Vec<Value>,
}

impl Bodies {
    pub(super) fn new() -> Self {
        let bodies = goldens::bodies();
        let pool = bodies.iter().map(|(_, _, body)| body.clone()).collect();
        let json = goldens::texts("event", ".json").into_iter();
        let json = json.map(|(_, text)| serde_json::from_str(&text).expect("is JSON")).collect();
        Self { bodies, pool, json }
    }

    /// A framed record: hostile in what it says, or in how; now and then one as it should be.
    pub(super) fn record(&self, entropy: &mut Entropy) -> Vec<u8> {
        let said = &self.json[entropy.index(self.json.len())];
        let said = serde_json::from_value::<Event>(with_a_hostile_field(entropy, said));
        if let (Ok(event), true) = (said, entropy.percent(70)) {
            return framed(entropy, event.kind(), event.version(), &event.encode_body());
        }
        let (kind, version, body) = &self.bodies[entropy.index(self.bodies.len())];
        let body = match entropy.below(5) {
            0 => body.clone(),
            1 => mutate(entropy, &self.pool),
            _ => mutate(entropy, core::slice::from_ref(body)),
        };
        framed(entropy, *kind, *version, &body)
    }

    fn valid(&self) -> Vec<Vec<u8>> {
        let mut entropy = Entropy::new(0, 0, "valid records");
        let framed = |(kind, version, body): &Body| framed(&mut entropy, *kind, *version, body);
        self.bodies.iter().map(framed).collect()
    }
}

/// A record as the schema draws it, with any time.
fn framed(entropy: &mut Entropy, kind: u16, version: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("is small");
    let wall = now(entropy.below(1000)).wall.0.to_le_bytes();
    let wall = if entropy.percent(95) { wall } else { entropy.bytes() };
    let quality = entropy.below(4) as u8;
    let lead: [u8; 8] = if entropy.percent(90) { [0; 8] } else { entropy.bytes() };
    [&len.to_le_bytes()[..], &kind.to_le_bytes(), &[version, quality], &wall, &lead, body].concat()
}

/// Reads records and what they say; returns the last one's name.
pub(super) fn read_records(bytes: &[u8]) -> Result<String, String> {
    let mut last = "nothing";
    for record in Records::new(bytes) {
        let record = record.map_err(|why| why.to_string())?;
        let event = record.event().map_err(|why| format!("{:04x} {why}", record.header.kind))?;
        assert_reads_back(
            &event,
            &Event::decode(event.kind(), event.version(), &event.encode_body()),
        );
        let json = serde_json::to_string(&event).expect("is shown as JSON");
        assert_reads_back(&event, &serde_json::from_str(&json));
        last = event.name();
        if let Event::EventResubmitted(again) = event {
            let (inner, _) =
                Record::split(&again.record.0).map_err(|why| format!("again: {why}"))?;
            inner.event().map_err(|why| format!("again: {why}"))?;
        }
    }
    Ok(last.to_owned())
}

/// Records and their events.
pub(super) struct RecordDecoder(Bodies);

impl RecordDecoder {
    pub(super) fn new() -> Self {
        Self(Bodies::new())
    }
}

impl Decoder for RecordDecoder {
    fn name(&self) -> &'static str {
        "record"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = self.0.valid();
        seeds.push(goldens::bytes("log", "record"));
        seeds
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        (0..entropy.between(1, 3)).flat_map(|_| self.0.record(entropy)).collect()
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        read_records(input)
    }
}

/// Batches, as far as they go: opened, chained, signed, admitted, folded.
pub(super) struct BatchDecoder {
    bodies: Bodies,
    store: MemoryStore,
    writer: Signer,
    /// Where the log that is held ends.
    at: (LogId, EpochId, Tip),
}

impl BatchDecoder {
    pub(super) fn new() -> Self {
        let (mut store, writer) = (MemoryStore::default(), Signer::from_seed(&DEVICE_SEED));
        let epoch = EpochId { counter: 0, nonce: [5; 16] };
        let (class, about) = (LogClass::Ledger, None);
        let opened = LogOpened { tenant: TENANT, class, writer: writer.public_key(), about, epoch };
        let (log, record) = genesis(&opened, Timestamp::default()).expect("is within limits");
        let batch = seal(log, epoch, 0, 1, &record).expect("seals");
        let tip = Tip::START.advance(TENANT, &batch, &record).expect("begins there");
        let mut rows = Rows::new(TENANT, &store);
        rows.put(&log, &LogRow(opened));
        rows.put(&(log, epoch, 0), &BatchRow { hash: tip.hash, batch });
        rows.put(&(log, epoch), &TipRow::from(tip));
        let changes = rows.into_changes();
        store.commit(changes).expect("commits");
        Self { bodies: Bodies::new(), store, writer, at: (log, epoch, tip) }
    }

    /// Continues the log that is held.
    fn sealed(&self, count: u32, records: &[u8]) -> Vec<u8> {
        let (log, epoch, tip) = self.at;
        seal(log, epoch, tip.next_seq, count, records)
            .map(|batch| batch.bytes().to_vec())
            .unwrap_or_default()
    }

    /// Signs for it, as its writer would, and takes it in.
    fn admit(&self, batch: Batch, records: &[u8]) -> Result<Admitted, String> {
        let (_, _, held) = self.at;
        let header = *batch.header();
        let (log, epoch) = (header.log, header.epoch);
        let tip = held.advance(TENANT, &batch, records);
        let tip = tip.or(Tip::START.advance(TENANT, &batch, records)).unwrap_or(held);
        let (seq, hash) = (tip.next_seq - 1, tip.hash);
        let head = Head { position: Position { log, epoch, seq }, hash };
        let head = self.writer.sign_head(TENANT, head);
        let burst = Burst { batches: vec![batch], head };
        let ahead = Ahead::of(&burst);
        let mut rows = Rows::new(TENANT, &self.store);
        admit(&mut rows, (burst, ahead), &|_: LogId, _: &LogOpened| Ok(()))
            .map_err(|why| why.to_string())
    }
}

impl Decoder for BatchDecoder {
    fn name(&self) -> &'static str {
        "batch"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        let records = self.bodies.valid();
        let count = u32::try_from(records.len()).expect("is small");
        let one = records.iter().map(|record| self.sealed(1, record));
        let all = [self.sealed(count, &records.concat())];
        let golden = ["batch-plain", "batch-zstd"].map(|name| goldens::bytes("log", name));
        one.chain(all).chain(golden).collect()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let count = if entropy.percent(98) { entropy.between(1, 5) } else { 500 };
        let records: Vec<u8> = (0..count).flat_map(|_| self.bodies.record(entropy)).collect();
        self.sealed(count as u32, &records)
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let batch = Batch::decode(input.to_vec()).map_err(|why| why.to_string())?;
        let opened = open(batch).map_err(|why| why.to_string())?;
        let said = read_records(&opened.records).unwrap_or_else(|_| "unreadable".into());
        let admitted = self.admit(opened.batch, &opened.records)?;
        let mut replay = Replay::<Counts>::default();
        for checked in &admitted.new {
            let opened = checked.opened().expect("opened before");
            replay.fold_batch(TENANT, &admitted.genesis, &opened);
        }
        let counts = replay.view();
        assert_reads_back(counts, &Counts::restore(&counts.archive()).ok_or("no view"));
        let believed = counts.incomplete() == 0 && counts.misplaced() == 0;
        Ok(format!("{said}, {}", if believed { "believed" } else { "not believed" }))
    }
}
