//! Damage to what a device says in a session, as if nothing had protected it on the way.
//!
//! Invariant: whatever the cloud hears, its view is one that the device's true bursts give, and
//! the device, connecting again once what was put into quarantine is discarded, brings it the rest.

use super::{Damage, damaged};
use crate::hostile::image::Image;
use crate::hostile::place::{
    Wire, cloud_session, enrol, now, open_device, open_hub, serve, talk, work,
};
use crate::hostile::shared::Shared;
use std::collections::BTreeMap;
use tallyroll_engine::counts::Counts;
use tallyroll_engine::store::MemoryStore;
use tallyroll_schema::wire::{FrameReader, StreamKind, encode_frame};
use tallyroll_schema::{DeviceId, LogId};

/// A device that has something to say, and what it says.
struct Story {
    cloud: MemoryStore,
    disk: MemoryStore,
    journal: Vec<u8>,
    device: DeviceId,
    public_log: LogId,
    frames: Vec<(StreamKind, Vec<u8>)>,
}

/// Damages every byte of every frame: of the opening exchange, of batches, of heads.
pub fn wire() -> Damage {
    let (story, whole) = Story::write();
    let (views, closed) = story.hear(None);
    assert!(!closed && views.last() == Some(&whole), "undamaged, all of it is heard");
    let mut damage = Damage::default();
    for (number, (stream, frame)) in story.frames.iter().enumerate() {
        for place in 0..frame.len() {
            let end = story.judge((number, place), &views, &whole);
            damage.note(&format!("{stream:?} frame {number}, byte {place}"), end);
        }
    }
    damage
}

impl Story {
    fn write() -> (Self, Counts) {
        let (cloud, disk, journal) = (Shared::default(), Shared::default(), Image::default());
        let mut hub = open_hub(cloud.clone()).expect("opens");
        enrol(&mut hub);
        let public_log = hub.public_log();
        let open = |disk| open_device(public_log, 9, journal.clone(), disk).expect("opens");
        let mut device = open(disk.clone());
        for number in 0..8 {
            work(&mut device, number);
            if number == 3 {
                device.seal(now(400)).expect("seals");
                talk(&mut device, &mut hub);
            } else if number > 3 {
                device.seal(now(400)).expect("seals");
            }
        }
        let (before, on_disk) = (cloud.copy(), disk.copy());
        let said = talk(&mut device, &mut hub);
        let frames = said.iter().map(|(stream, message)| (*stream, encode_frame(message)));
        let story = Self {
            cloud: before,
            disk: on_disk,
            journal: journal.bytes(),
            device: device.id(),
            public_log,
            frames: frames.collect(),
        };
        (story, hub.counts().clone())
    }

    /// The cloud's views as it hears all frames, and whether it closed the session.
    fn hear(&self, damage: Option<(usize, usize)>) -> (Vec<Counts>, bool) {
        let (_, views, closed) = self.cloud_that_heard(damage);
        (views, closed)
    }

    fn cloud_that_heard(&self, damage: Option<(usize, usize)>) -> (Shared, Vec<Counts>, bool) {
        let store = Shared::default();
        store.replace(self.cloud.clone());
        let mut hub = open_hub(store.clone()).expect("opens");
        let mut session = cloud_session(&hub, self.device);
        let (mut down, mut views) = (Wire::new(), vec![hub.counts().clone()]);
        let mut readers: BTreeMap<StreamKind, FrameReader> = BTreeMap::new();
        for (number, (stream, frame)) in self.frames.iter().enumerate() {
            let mut frame = frame.clone();
            if let Some((_, place)) = damage.filter(|(of, _)| *of == number) {
                frame[place] = damaged(frame[place], place);
            }
            let reader = readers.entry(*stream).or_insert_with(|| FrameReader::new(*stream));
            reader.push(&frame);
            loop {
                match reader.next_message() {
                    Ok(Some(message)) => session.handle(*stream, message),
                    Ok(None) => break,
                    Err(_) => return (store, views, true),
                }
                let closed = serve(&mut hub, &mut session, self.device, &mut down);
                views.extend((views.last() != Some(hub.counts())).then(|| hub.counts().clone()));
                if closed {
                    return (store, views, true);
                }
            }
        }
        (store, views, false)
    }

    fn judge(
        &self,
        at: (usize, usize),
        true_views: &[Counts],
        whole: &Counts,
    ) -> Result<bool, String> {
        let (cloud, views, closed) = self.cloud_that_heard(Some(at));
        if views.iter().any(|view| !true_views.contains(view)) {
            return Err("the cloud has a view that no burst gives".into());
        }
        let heard_all = !closed && views.last() == Some(whole);
        let mut hub = open_hub(cloud).map_err(|error| format!("the cloud stays shut: {error}"))?;
        for found in hub.quarantine().map_err(|error| error.to_string())? {
            let discarded = hub.discard(now(500), found.entry.id, "damaged".into());
            discarded.map_err(|error| format!("what was damaged stays: {error}"))?;
        }
        let disk = Shared::default();
        disk.replace(self.disk.clone());
        let journal = Image::of(self.journal.clone());
        let device = open_device(self.public_log, 9, journal, disk);
        talk(&mut device.map_err(|error| error.to_string())?, &mut hub);
        match hub.counts() == whole {
            true => Ok(heard_all),
            false => Err("the device cannot bring the rest".into()),
        }
    }
}
