//! A log's genesis, read. Key: the log.
//!
//! Invariant: it is the content of the record whose hash is the log's id, so
//! the writer's key in it can be trusted as far as the id is.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::LogId;
use tallyroll_schema::event::log::LogOpened;

/// A log's genesis.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct LogRow(#[n(0)] pub LogOpened);

cbor_row!(LogRow, Log, LogId, |log| log.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::event::log::LogClass;
    use tallyroll_schema::{EpochId, PublicKey, TenantId};

    #[test]
    fn reads_back() {
        super::super::assert_reads_back(&LogRow(LogOpened {
            tenant: TenantId([1; 16]),
            class: LogClass::Public,
            writer: PublicKey([2; 32]),
            about: None,
            epoch: EpochId { counter: 0, nonce: [3; 16] },
        }));
    }
}
