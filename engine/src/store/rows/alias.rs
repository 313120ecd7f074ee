//! A name seen at this device, and the alias that events carry instead.
//!
//! Invariant: a name has one alias at a device, minted before the first event
//! with it. The sealed copy is kept until the cloud has it. Key: the name.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::UserAlias;

/// A name's alias.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AliasRow {
    /// The alias.
    #[n(0)]
    pub alias: UserAlias,
    /// The name, sealed to the tenant's directory key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
    /// Whether the cloud has confirmed it.
    #[n(2)]
    pub stored: bool,
}

cbor_row!(AliasRow, Alias, String, |name| name.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let row = AliasRow { alias: UserAlias([1; 16]), sealed: vec![2; 80], stored: true };
        super::super::assert_reads_back(&row);
    }
}
