//! What a view holds of batches that were pruned. Key: the view's name.
//!
//! Invariant: the fold of exactly those records, written in the commit that deletes them. Unlike a
//! snapshot it cannot be folded again, so its bytes are CBOR that later builds read.

use super::cbor_row;
use minicbor::{Decode, Encode};

/// A view's base.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BaseRow {
    /// As the view's domain writes it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub base: Vec<u8>,
}

cbor_row!(BaseRow, Base, String, |name| name.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        super::super::assert_reads_back(&BaseRow { base: vec![1, 2] });
    }
}
