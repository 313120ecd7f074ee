//! A name at the cloud, as the device sealed it. Key: device, alias.
//!
//! Invariant: the store never sees the name; only the holder of the tenant's
//! directory key can open it.

use super::cbor_row;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use tallyroll_schema::{DeviceId, UserAlias};

/// A sealed name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DirectoryRow {
    /// RFC 9180 (HPKE) encapsulated key and ciphertext.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
    /// The mail address, sealed likewise, of a name that was entered at the cloud.
    #[n(1)]
    pub mail: Option<ByteVec>,
}

/// Who minted an alias, and the alias.
pub type DirectoryKey = (DeviceId, UserAlias);

cbor_row!(DirectoryRow, Directory, DirectoryKey, |(device, alias)| {
    [device.as_bytes(), &alias.as_bytes()[..]].concat()
});

impl DirectoryRow {
    /// Reads a key back.
    pub fn split_key(key: &[u8]) -> Option<DirectoryKey> {
        let (device, alias) = key.split_first_chunk()?;
        Some((DeviceId(*device), UserAlias(alias.try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Row;

    #[test]
    fn reads_back() {
        super::super::assert_reads_back(&DirectoryRow { sealed: vec![3; 80], mail: None });
        let mail = Some(vec![4; 112].into());
        super::super::assert_reads_back(&DirectoryRow { sealed: vec![3; 80], mail });
        let key = (DeviceId([1; 16]), UserAlias([2; 16]));
        assert_eq!(DirectoryRow::split_key(&DirectoryRow::key(&key)), Some(key));
    }
}
