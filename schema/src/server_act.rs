//! Acts of the processing server: what a client asks the cloud to record, in a job of some device.
//!
//! Invariant: it is an [`Act`] as a device takes it, with the device and, if the client wants to repeat it
//! safely, a request id; nothing else about it differs. What only a device can do is refused as it is read.

use crate::{Act, RequestId};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An unknown kind is told up to here; those that are known are shorter.
const KIND_CHARS_TOLD: usize = 64;

/// Something the processing server is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerAct {
    /// The name (or id) of the device whose job it is.
    pub device: String,
    /// Of two with the same id only the first is done; the other one is told where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

impl ServerAct {
    /// The `kind`s that a server may do.
    pub const KINDS: [&str; 4] =
        ["pages.converted", "document.sent", "document.saved", "document.discarded"];

    /// Whether it is one that a server may do: not what only the device can know of.
    pub fn is_servers(act: &Act) -> bool {
        matches!(
            act,
            Act::Convert { .. } | Act::Send { .. } | Act::Save { .. } | Act::Discard { .. }
        )
    }
}

impl<'de> Deserialize<'de> for ServerAct {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(from)?;
        let Some(device) = fields.remove("device") else {
            return Err(D::Error::custom("missing field `device`: the name of the job's device"));
        };
        let device = serde_json::from_value(device).map_err(D::Error::custom)?;
        let request = fields.remove("request").filter(|request| !request.is_null());
        let request = request.map(serde_json::from_value).transpose().map_err(D::Error::custom)?;
        let kind = fields.get("kind").and_then(Value::as_str);
        if let Some(unknown) = kind.filter(|kind| !Act::KINDS.contains(kind)) {
            let unknown: String = unknown.chars().take(KIND_CHARS_TOLD).collect();
            let why = format!("`{unknown}` is no kind of act; the cloud records");
            return Err(D::Error::custom(format!("{why} {}", Self::KINDS.join(", "))));
        }
        let act: Act = serde_json::from_value(Value::Object(fields)).map_err(D::Error::custom)?;
        if !Self::is_servers(&act) {
            let why = "a device's to record, with `tallyroll-edge record`; the cloud records";
            return Err(D::Error::custom(format!("this is {why} {}", Self::KINDS.join(", "))));
        }
        Ok(Self { device, request, act })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ServerAct, String> {
        serde_json::from_str(text).map_err(|why| why.to_string())
    }

    #[test]
    fn an_act_with_its_device_and_request_reads_and_writes() {
        let text = r#"{"device":"branch-1","request":"00000000000000b1","kind":"document.sent","job":"00000000000000a1","user":"anna","pages":1,"destinations":5,"color":"monochrome"}"#;
        let act = read(text).expect("reads");
        assert_eq!(
            (act.device.as_str(), act.request),
            ("branch-1", Some(RequestId(*b"\0\0\0\0\0\0\0\xb1")))
        );
        assert_eq!(serde_json::to_string(&act).expect("writes"), text);
        let discard =
            r#"{"device":"branch-1","kind":"document.discarded","job":"00000000000000a1"}"#;
        assert_eq!(read(discard).expect("reads").request, None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, told) in [
            (r#"{"kind":"document.discarded","job":"00000000000000a1"}"#, "`device`"),
            (
                r#"{"device":"b","kind":"job.ended","job":"00000000000000a1"}"#,
                "tallyroll-edge record",
            ),
            (
                r#"{"device":"b","request":"1","kind":"document.discarded","job":"00000000000000a1"}"#,
                "16 hex digits",
            ),
            (
                r#"{"device":"b","surprise":1,"kind":"document.discarded","job":"00000000000000a1"}"#,
                "surprise",
            ),
            (
                r#"{"device":"b","kind":"document.send","job":"00000000000000a1"}"#,
                "`document.send` is no kind of act; the cloud records pages.converted, document.sent",
            ),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(told), "{why}");
        }
    }
}
