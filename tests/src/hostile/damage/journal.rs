//! Damage to a device's journal, between two starts.
//!
//! Invariant: only the last entry may be lost without a word: power cut in the middle of it looks
//! the same, and then nobody was told that it is durable.

use super::{Damage, Extent, damaged};
use crate::hostile::image::Image;
use crate::hostile::place::{enrol, now, open_device, open_hub, work};
use crate::hostile::shared::Shared;
use tallyroll_engine::Kind;

/// Damages every byte ever written to a journal, and of those never written as many as told.
pub fn journal(rest: Extent) -> Damage {
    let (file, store) = (Image::default(), Shared::default());
    let mut hub = open_hub(Shared::default()).expect("opens");
    enrol(&mut hub);
    let log = hub.public_log();
    let mut device = open_device(log, 9, file.clone(), store.clone()).expect("opens");
    (0..12).for_each(|number| work(&mut device, number));
    device.seal(now(400)).expect("seals"); // what it leaves lies beneath the next entries
    (12..16).for_each(|number| work(&mut device, number));
    let (before, without_last) = (file.bytes(), device.counts().clone());
    work(&mut device, 16);
    let (bytes, whole) = (file.bytes(), device.counts().clone());
    let changed = (0..bytes.len()).find(|at| before[*at] != bytes[*at]).expect("is written");
    let magic = bytes[..changed + 4].windows(4).rposition(|bytes| bytes == b"TRJ1");
    let last = magic.expect("an entry begins with it");

    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |end| end + 1);
    let unwritten = rest.places(bytes.len() - written, "journal").into_iter();
    let mut damage = Damage::default();
    for place in (0..written).chain(unwritten.map(|place| written + place)) {
        let mut bytes = bytes.clone();
        bytes[place] = damaged(bytes[place], place);
        let copy = Shared::default();
        copy.replace(store.copy());
        let end = match open_device(log, 9, Image::of(bytes), copy) {
            Err(error) if error.kind() == Kind::Corrupt => Ok(false),
            Err(error) => Err(format!("refused as {:?}: {error}", error.kind())),
            Ok(device) if *device.counts() == whole => Ok(true),
            Ok(device) if *device.counts() == without_last && place >= last => Ok(true),
            Ok(_) => Err("opened with another view".into()),
        };
        damage.note(&format!("journal, byte {place}"), end);
    }
    damage
}
