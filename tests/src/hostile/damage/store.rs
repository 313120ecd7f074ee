//! Damage to the redb files of a device and of a cloud, closed well or killed.
//!
//! Invariant: a file that opens holds every row and gives the view that it gave; one that does not is
//! refused with an error, by which its owner knows to build it again. The flag that says which of redb's two
//! newest commits counts is the exception: a cloud without the last one is a cloud that lost its tail.

use super::{Damage, Extent, damaged};
use crate::hostile::image::Image as File;
use crate::hostile::place::{enrol, now, open_device, open_hub, talk, work};
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tallyroll_engine::counts::Counts;
use tallyroll_engine::store::{RedbStore, Row, Store, Table, rows};
use tallyroll_engine::{Kind, Result};
use tallyroll_schema::{Credits, LogId, SubjectId};

const CACHE_BYTES: usize = 1 << 20;
/// redb's own header: magic number, geometry, two commit slots.
const HEADER_BYTES: usize = 320;
/// Where its flags are.
const FLAGS_BYTE: usize = 9;
/// The one that says which slot counts.
const SLOT_BIT: u32 = 0;

/// A store's file, with what is needed to open it.
#[derive(Debug)]
pub struct Image {
    /// Whose it is, and how it was left.
    pub name: &'static str,
    bytes: Vec<u8>,
    public_log: LogId,
    owner: Owner,
}

#[derive(Debug)]
enum Owner {
    Device {
        journal: Vec<u8>,
    },
    Cloud {
        /// The file before the last commit.
        before: Vec<u8>,
    },
}

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Everything that can be read of a store.
#[derive(Debug, PartialEq)]
struct Seen {
    rows: Rows,
    counts: Counts,
}

/// A device's store and its cloud's after some months, killed and closed.
pub fn stores() -> Vec<Image> {
    let open = |file: &File| RedbStore::open(file.clone(), CACHE_BYTES).expect("opens");
    let (cloud, disk, journal) = (File::default(), File::default(), File::default());
    let mut hub = open_hub(open(&cloud)).expect("opens");
    enrol(&mut hub);
    let public_log = hub.public_log();
    let mut device = open_device(public_log, 9, journal.clone(), open(&disk)).expect("opens");
    for number in 0..300 {
        work(&mut device, number);
        if number % 7 == 6 {
            device.seal(now(400)).expect("seals");
        }
        if number % 40 == 39 {
            talk(&mut device, &mut hub);
        }
    }
    // Each one's last commit. The device's journal goes on over all that lay in it before.
    for number in [300, 301] {
        device.seal(now(500)).expect("seals");
        work(&mut device, number);
    }
    (302..306).for_each(|number| work(&mut device, number));
    let before = cloud.bytes();
    let credits = Credits::from_thousandths(1);
    hub.grant(now(500), SubjectId([1; 16]), credits, String::new()).expect("grants");

    let both = |names: [&'static str; 2]| {
        let owners =
            [Owner::Device { journal: journal.bytes() }, Owner::Cloud { before: before.clone() }];
        let files = [&disk, &cloud].map(File::bytes);
        let parts = names.into_iter().zip(files).zip(owners);
        parts.map(|((name, bytes), owner)| Image { name, bytes, public_log, owner })
    };
    let killed: Vec<Image> = both(["device, killed", "cloud, killed"]).collect();
    drop((device, hub));
    killed.into_iter().chain(both(["device, closed", "cloud, closed"])).collect()
}

/// Damages every byte of redb's header, of a batch and of a head as they lie there, and of the rest as
/// many as told.
pub fn store(image: &Image, rest: Extent) -> Damage {
    let whole = image.look(image.bytes.clone()).expect("opens undamaged");
    let mut places: Vec<usize> = (0..HEADER_BYTES).filter(|place| *place != FLAGS_BYTE).collect();
    for table in [rows::BatchRow::TABLE, rows::HeadRow::TABLE] {
        let row = whole.rows.iter().rfind(|((of, _), _)| *of == table).expect("there is one").1;
        let at = image.bytes.windows(row.len()).position(|bytes| bytes == row).expect("lies there");
        places.extend(at..at + row.len());
    }
    places.extend(rest.places(image.bytes.len(), image.name));
    let mut damage = Damage::default();
    for place in places {
        let mut bytes = image.bytes.clone();
        bytes[place] = damaged(bytes[place], place);
        damage.note(&format!("{}, byte {place}", image.name), image.judge(bytes, &whole));
    }
    for bit in 0..8 {
        let mut bytes = image.bytes.clone();
        bytes[FLAGS_BYTE] ^= 1 << bit;
        let mut end = image.judge(bytes.clone(), &whole);
        if let (Owner::Cloud { before }, SLOT_BIT, true) = (&image.owner, bit, end.is_err()) {
            let before = image.look(before.clone()).expect("opens undamaged");
            end = image.judge(bytes, &before);
        }
        damage.note(&format!("{}, bit {bit} of the flags", image.name), end);
    }
    damage
}

impl Image {
    fn judge(&self, bytes: Vec<u8>, whole: &Seen) -> Result<bool, String> {
        match catch_unwind(AssertUnwindSafe(|| self.look(bytes))) {
            Err(_) => Err("a panic".into()),
            Ok(Err(error)) if error.kind() == Kind::Corrupt => Ok(false),
            Ok(Err(error)) => Err(format!("refused as {:?}: {error}", error.kind())),
            Ok(Ok(seen)) if seen == *whole => Ok(true),
            Ok(Ok(seen)) if seen.counts == whole.counts => Err("other rows".into()),
            Ok(Ok(_)) => Err("another view".into()),
        }
    }

    /// Opens a file, reads every row of it, and starts its owner.
    fn look(&self, bytes: Vec<u8>) -> Result<Seen> {
        let store = RedbStore::open(File::of(bytes), CACHE_BYTES)?;
        let mut rows = Rows::new();
        for table in Table::ALL {
            store.scan(table, &[], &[0xff; 128], &mut |key, value| {
                rows.insert((table, key.to_vec()), value.to_vec());
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let counts = match &self.owner {
            Owner::Cloud { .. } => open_hub(store)?.counts().clone(),
            Owner::Device { journal } => {
                let journal = File::of(journal.clone());
                open_device(self.public_log, 9, journal, store)?.counts().clone()
            }
        };
        Ok(Seen { rows, counts })
    }
}
