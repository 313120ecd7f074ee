//! Answers about devices: inviting, listing, retiring, revoking.
//!
//! Invariant: a PIN is in the one answer that made it and nowhere else. Who is
//! connected is this process's knowledge and `null` where none serves.

use super::desk::Desk;
use super::{Failure, pin};
use crate::keeper::Replica;
use crate::public::{PORT, Public};
use serde::Serialize;
use tallyroll_engine::hub::{DeviceRecord, Invitation, Standing, pin_hash};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{CommitPosition, DeviceId, Hash, JoinUrl, Wall};

/// An invitation, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Invited {
    name: String,
    url: String,
    pin: String,
    expires_at: Wall,
    /// To be run where it is to be.
    command: String,
}

/// A device, as it is now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct DeviceRow {
    device: DeviceId,
    #[serde(flatten)]
    record: DeviceRecord,
    /// Of a retired device: whether it has said that it has nothing more.
    drained: Option<bool>,
    connected: Option<bool>,
    events: u64,
    last_receipt: Option<LastReceipt>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct LastReceipt {
    commit: CommitPosition,
    received_at: Wall,
}

/// A change of a device's standing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Changed {
    device: DeviceId,
    name: String,
    position: tallyroll_schema::Position,
}

impl Desk {
    pub(super) async fn enroll(
        &self,
        name: String,
        public: Option<Public>,
        processing: bool,
    ) -> Result<Invited, Failure> {
        let Some(public) = public.or_else(|| self.public.clone()) else {
            return Err(Failure::lasting(
                "where devices reach this cloud is not known, for it listens on every address or was \
                 never served; say it here or when serving: --public HOST[:PORT]",
            ));
        };
        let port = if self.port == 0 { PORT } else { self.port };
        let (host, port) = (public.host, public.port.unwrap_or(port));
        let tls_port = public.tls_port.or(self.tls_port).filter(|tls_port| *tls_port != port);
        let pin = pin::new_pin().map_err(Failure::lasting)?;
        let mut salt = [0; Hash::LEN];
        getrandom::fill(&mut salt).map_err(Failure::lasting)?;
        let salt = Hash(salt);
        let pin_hash = pin_hash(&salt, &pin);
        let invitation = Invitation { name: name.clone(), pin_hash, salt, processing };
        let invited = self.keeper.run(|replica| replica.hub.invite(replica.now(), invitation));
        let expires_at = invited.await?;
        let authority = self.authority;
        let url = JoinUrl { host, port, tls_port, name: name.clone(), authority }.to_string();
        let command = format!("tallyroll-edge join '{url}' --pin {pin} --data {name}");
        Ok(Invited { name, url, pin, expires_at, command })
    }

    pub(super) async fn devices(&self) -> Result<Vec<DeviceRow>, Failure> {
        let mut rows = self.keeper.run(|replica| device_rows(replica)).await?;
        if let Some(live) = &self.live {
            rows.iter_mut().for_each(|row| row.connected = Some(live.has(row.device)));
        }
        Ok(rows)
    }

    pub(super) async fn retire(&self, device: String, reason: String) -> Result<Changed, Failure> {
        let retired = self.keeper.run(move |replica| {
            let (device, name) = find(replica, &device)?;
            let position = replica.hub.retire(replica.now(), device, reason)?;
            Ok(Changed { device, name, position })
        });
        Ok(retired.await?)
    }

    pub(super) async fn revoke(&self, device: String, reason: String) -> Result<Changed, Failure> {
        let revoked = self.keeper.run(move |replica| {
            let (device, name) = find(replica, &device)?;
            let position = replica.hub.revoke(replica.now(), device, reason)?;
            Ok(Changed { device, name, position })
        });
        Ok(revoked.await?)
    }
}

fn device_rows(replica: &Replica) -> Result<Vec<DeviceRow>> {
    let logs = replica.hub.logs()?;
    let row = |(device, record): (&DeviceId, &DeviceRecord)| {
        let own = logs.iter().filter(|log| log.device == Some(*device) && log.receipt.is_some());
        let last = own.clone().filter_map(|log| log.receipt).map(|receipt| receipt.commit);
        let last = last.max_by_key(|commit| commit.position);
        let retired = (record.standing == Standing::Retired).then_some(*device);
        let drained = retired.map(|device| replica.hub.is_drained(device)).transpose()?;
        Ok(DeviceRow {
            device: *device,
            record: record.clone(),
            drained,
            connected: None,
            events: own.map(|log| log.events).sum(),
            last_receipt: last.map(|commit| LastReceipt {
                commit: commit.position,
                received_at: commit.received_at,
            }),
        })
    };
    let devices = replica.hub.fleet().devices().iter();
    let mut rows: Vec<DeviceRow> = devices.map(row).collect::<Result<_>>()?;
    rows.sort_by(|a, b| (&a.record.name, a.device).cmp(&(&b.record.name, b.device)));
    Ok(rows)
}

/// An active device of that name, one of that id, or else one that was active
/// under that name last.
pub(crate) fn find(replica: &Replica, name_or_id: &str) -> Result<(DeviceId, String)> {
    let fleet = replica.hub.fleet();
    let former = || {
        let named = fleet.devices().iter().filter(|(_, record)| record.name == name_or_id);
        named.max_by_key(|(_, record)| record.enrolled_at).map(|(device, _)| *device)
    };
    let found = fleet.find(name_or_id).or_else(former);
    let known = found.and_then(|device| Some((device, fleet.device(device)?.name.clone())));
    known.ok_or_else(|| {
        let why = format!("no device {name_or_id}; `tallyroll devices` lists them");
        Error::Rejected(why)
    })
}
