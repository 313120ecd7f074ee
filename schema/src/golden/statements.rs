//! Records, batches, and what is hashed and signed: bytes that other people's
//! proofs are about.
//!
//! Invariant: both batches, plain and compressed, hold the same records and so
//! have the same place in the chain. The compressed one was made once: another
//! zstd may write other bytes, and every zstd must read these.

use super::files::{assert_golden, assert_no_others, bytes, hex, read};
use super::samples::{EPOCH, HASH, LOG, POSITION, TENANT, WALL, samples};
use crate::event::alerts::HeartbeatSent;
use crate::event::log::KeyRotated;
use crate::{
    Batch, BatchHeader, ClockQuality, Commit, CommitPosition, Compression, DeviceId, Event,
    Fingerprint, Hash, Head, HybridTime, PublicKey, Receipt, Record, Records, Timestamp,
    batch_hash, enrol::JoinRequest,
};

const FOLDER: &str = "golden/v1/log";
const PLAIN: &str = "golden/v1/log/batch-plain.hex";
const ZSTD: &str = "golden/v1/log/batch-zstd.hex";

fn time() -> Timestamp {
    let hybrid = HybridTime { wall: WALL.plus_milliseconds(1_500), counter: 7 };
    Timestamp { wall: WALL, hybrid, quality: ClockQuality::Synchronized }
}

const COUNT: u32 = 20;

/// Few kinds, so that a new field elsewhere leaves these bytes alone.
fn events() -> Vec<Event> {
    let heartbeats =
        (1..COUNT).map(|hour| HeartbeatSent { uptime_seconds: u64::from(hour) * 3600 });
    [samples().remove(0)].into_iter().chain(heartbeats.map(Event::from)).collect()
}

fn records() -> Vec<u8> {
    events().iter().flat_map(|event| Record::encode(event, time()).unwrap()).collect()
}

fn batch(compression: Compression, payload: &[u8]) -> Batch {
    let records = records();
    let header = BatchHeader {
        compression,
        dictionary: 0,
        log: LOG,
        epoch: EPOCH,
        first_seq: 4_800,
        count: COUNT,
        records_len: u32::try_from(records.len()).unwrap(),
        payload_len: 0,
    };
    Batch::encode(header, payload).unwrap()
}

fn hash() -> Hash {
    let records = records();
    batch_hash(TENANT, batch(Compression::None, &records).header(), HASH, &records)
}

fn files() -> Vec<(String, String)> {
    let record = Record::encode(&samples()[0], time()).unwrap();
    let head = Head { position: POSITION, hash: HASH };
    let commit = Commit { position: CommitPosition { epoch: 1, index: 482 }, received_at: WALL };
    let (old, new) = (PublicKey([0x99; 32]), PublicKey([0xcc; 32]));
    let plain = batch(Compression::None, &records());
    let (batch_hash, log_id) = (hash(), blake3::hash(&record));
    let device = DeviceId::of_key(TENANT, &old);
    let fingerprint = Fingerprint::of(b"a certificate's DER bytes");
    let named: [(&str, &[u8]); 10] = [
        ("record", &record),
        ("log-id", log_id.as_bytes()),
        ("batch-plain", plain.bytes()),
        ("batch-hash", batch_hash.as_bytes()),
        ("head-signed", &head.signed_bytes(TENANT)),
        ("receipt-signed", &Receipt::signed_bytes(TENANT, &head, &commit)),
        ("enrol-signed", &JoinRequest::signed_bytes("branch-7", HASH.as_bytes())),
        ("key-consent-signed", &KeyRotated::consent_bytes(TENANT, LOG, &old, &new)),
        ("device-id", device.as_bytes()),
        ("fingerprint", fingerprint.as_bytes()),
    ];
    named.map(|(name, bytes)| (format!("{FOLDER}/{name}.hex"), hex(bytes))).into()
}

#[test]
fn golden_files_are_what_this_build_writes_and_nothing_else_is_there() {
    let mut files = files();
    assert_golden(&files);
    // Made when there is none, then only read.
    let made = || {
        let payload = zstd::bulk::compress(&records(), 3).unwrap();
        hex(batch(Compression::Zstd, &payload).bytes())
    };
    files.push((ZSTD.into(), read(ZSTD).unwrap_or_else(made)));
    assert_golden(&files);
    assert_no_others(FOLDER, &files);
}

#[test]
fn both_batches_hold_the_same_records_at_the_same_place() {
    let [plain, packed] = [PLAIN, ZSTD].map(|name| Batch::decode(bytes(name)).unwrap());
    assert_eq!(packed.header().compression, Compression::Zstd);
    let unpacked =
        zstd::bulk::decompress(packed.payload(), packed.header().records_len as usize).unwrap();
    assert_eq!(unpacked, records());
    assert_eq!(plain.payload(), unpacked);
    let frozen = bytes("golden/v1/log/batch-hash.hex");
    for batch in [plain, packed] {
        assert_eq!(batch_hash(TENANT, batch.header(), HASH, &unpacked).as_bytes(), &*frozen);
        let read: Vec<_> = Records::new(&unpacked).map(|record| record.unwrap().event()).collect();
        assert_eq!(read, events().into_iter().map(Ok).collect::<Vec<_>>());
    }
}

#[test]
fn a_record_reads_back_with_its_times() {
    let bytes = bytes("golden/v1/log/record.hex");
    let (record, rest) = Record::split(&bytes).unwrap();
    assert_eq!((record.header.time, record.header.version, rest), (time(), 1, &[][..]));
    assert_eq!(record.event().as_ref(), Ok(&samples()[0]));
}

/// No statement may be the beginning of another: a signature would then fit both.
#[test]
fn every_statement_has_a_domain_of_its_own() {
    let files = files();
    let signed: Vec<&str> = files
        .iter()
        .filter(|(name, _)| name.contains("-signed"))
        .map(|(_, hex)| &hex[..24])
        .collect();
    assert_eq!(signed.len(), 4);
    for (at, one) in signed.iter().enumerate() {
        assert!(signed[at + 1..].iter().all(|other| other != one));
    }
}
