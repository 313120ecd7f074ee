//! A cloud made anew of its identity alone: its keys, and where its public log began.
//!
//! Invariant: the public log is the one that its devices know, from its first byte;
//! nothing else of what was lost is made up. The store is marked before anybody opens
//! it: the cloud is frozen from its first start, awaits devices that nobody can name,
//! and thaws by an administrator's word ([`super::recovery`]).

use super::recovery::commit_epoch_after;
use super::{Hub, number_first};
use crate::device::{Now, create_log, timestamp};
use crate::keys::Signer;
use crate::log::{Tip, open, read_genesis};
use crate::store::rows::{BatchRow, CloudLogs, CloudRecovery, LogRow, TipRow};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Batch, HybridTime, TenantId, Wall};

/// What of a cloud's logs is kept beside its keys, to make it anew of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The public log's genesis: devices know the log by its hash.
    pub public: Batch,
    /// The commit epoch that was open: later ones come after it.
    pub commit_epoch: u32,
}

impl<S: Store> Hub<S> {
    /// What of its logs is to be kept beside its keys.
    ///
    /// # Errors
    /// Storage failed or is damaged.
    pub fn root(&self) -> Result<Root> {
        let (rows, log) = (self.rows(), self.logs.public.0);
        let missing = || Error::corrupt("public log", "its genesis is missing");
        let LogRow(genesis) = rows.get(&log)?.ok_or_else(missing)?;
        let row: BatchRow = rows.get(&(log, genesis.epoch, 0))?.ok_or_else(missing)?;
        Ok(Root { public: row.batch, commit_epoch: self.logs.commit_epoch })
    }
}

/// Makes an empty store that of a cloud which has nothing but its identity left.
///
/// # Errors
/// The root is none of this cloud's; storage failed.
pub fn rebuild<S: Store>(
    (tenant, signer): (TenantId, &Signer),
    store: &mut S,
    root: Root,
    now: Now,
    nonces: [u8; 32],
) -> Result<()> {
    let Root { public, commit_epoch } = root;
    let header = *public.header();
    let (log, epoch) = (header.log, header.epoch);
    let opened = open(public)?;
    let genesis = read_genesis(log, epoch, &opened.records).filter(|genesis| {
        let ours = (genesis.tenant, genesis.writer) == (tenant, signer.public_key());
        ours && genesis.class == LogClass::Public && header.count == 1
    });
    let foreign = || Error::Rejected("it holds no beginning of this cloud's public log".into());
    let genesis = genesis.ok_or_else(foreign)?;
    let tip = Tip::START.advance(tenant, &opened.batch, &opened.records).ok_or_else(foreign)?;

    let mut rows = Rows::new(tenant, store);
    rows.put(&log, &LogRow(genesis));
    rows.put(&(log, epoch, 0), &BatchRow { hash: tip.hash, batch: opened.batch });
    rows.put(&(log, epoch), &TipRow::from(tip));
    let time = timestamp(HybridTime::default(), now);
    let (nonce, _) = nonces.split_first_chunk().unwrap_or((&[0; 16], &[]));
    let accounts = create_log(&mut rows, signer, LogClass::Accounts, None, time, *nonce)?;
    let commit_epoch = commit_epoch_after(commit_epoch, accounts.0, now, &nonces);
    number_first(&mut rows, now, CloudLogs { public: (log, epoch), accounts, commit_epoch });
    let recovery = CloudRecovery {
        frozen_since: Some(Wall(0)),
        why: "rebuilt from its identity alone".into(),
        awaiting: Some(true),
        rebuilt: Some(now.wall),
        ..CloudRecovery::default()
    };
    rows.put(&(), &recovery);
    let changes = rows.into_changes();
    store.commit(changes)
}
