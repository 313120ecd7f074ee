//! The messages of an enrolment, which anybody may send who reaches the cloud's port.
//!
//! Invariant: a dressed request vouches for the connection it comes over, so that nothing but its
//! fields is hostile. Whether its PIN is right is the hub's.

use super::decoder::{Decoder, assert_reads_back};
use super::goldens;
use super::mutation::mutate;
use crate::hostile::place::DEVICE_SEED;
use crate::sim::entropy::Entropy;
use tallyroll_engine::keys::{Signer, verify_enrolment};
use tallyroll_schema::enrol::{JoinRequest, decode_answer, decode_request, encode};

const TLS: [u8; 32] = [7; 32];

/// Requests and answers.
pub(super) struct EnrolmentDecoder {
    seeds: Vec<Vec<u8>>,
    signer: Signer,
}

impl EnrolmentDecoder {
    pub(super) fn new() -> Self {
        let golden = ["join-request", "join-welcome", "join-refused"];
        let seeds = golden.map(|name| goldens::bytes("wire", name)).to_vec();
        Self { seeds, signer: Signer::from_seed(&DEVICE_SEED) }
    }
}

impl Decoder for EnrolmentDecoder {
    fn name(&self) -> &'static str {
        "enrolment"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let mut text = |usual: &str| {
            let words = [usual.as_bytes().to_vec(), "zoë \u{0} \u{202e}".into(), vec![b'n'; 255]];
            String::from_utf8_lossy(&mutate(entropy, &words)).into_owned()
        };
        let (name, pin, agent) = (text("branch-1"), text("ABCD-EFGH"), text("tallyroll-edge"));
        let proof = self.signer.sign_enrolment(&name, &TLS);
        let signing_key = self.signer.public_key();
        encode(&JoinRequest { name, pin, signing_key, proof, agent })
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        if let Ok(answer) = decode_answer(input) {
            assert_reads_back(&answer, &decode_answer(&encode(&answer)));
            return Ok("answer".into());
        }
        let request = decode_request(input).map_err(|why| why.to_string())?;
        let again = decode_request(&encode(&request));
        assert!(again.is_ok_and(|again| again == request), "a request reads back otherwise");
        match verify_enrolment(&request, &TLS) {
            true => Ok("request".into()),
            false => Err("the signing key does not vouch for the TLS key".into()),
        }
    }
}
