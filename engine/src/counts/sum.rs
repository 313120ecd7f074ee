//! Sums of credits, as views show them.
//!
//! Invariant: exact. An amount is 64 bits of thousandths, so 2⁶³ of the largest
//! add up in 128; a sum is never rounded, and never shown as less than it is. Its
//! text is that of an amount. What is added up is left to the view.

use core::fmt;
use serde::{Serialize, Serializer};

use tallyroll_schema::Credits;

/// A sum of credits in thousandths. Text form: `-2.500`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CreditSum(i128);

impl CreditSum {
    /// From thousandths.
    pub const fn from_thousandths(thousandths: i128) -> Self {
        Self(thousandths)
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// As an amount, or the nearest one that an event can tell.
    pub fn nearest(self) -> Credits {
        let most = if self.0 < 0 { i64::MIN } else { i64::MAX };
        Credits::from_thousandths(i64::try_from(self.0).unwrap_or(most))
    }

    /// In thousandths.
    pub const fn thousandths(self) -> i128 {
        self.0
    }
}

/// An amount in thousandths, to add up.
pub(crate) fn thousandths(credits: Credits) -> i128 {
    i128::from(credits.thousandths())
}

/// As 16 bytes, big-endian: CBOR's integers end before it does.
impl<C> minicbor::Encode<C> for CreditSum {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0.to_be_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for CreditSum {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let wrong = |_| minicbor::decode::Error::message("a sum of credits has 16 bytes");
        d.bytes()?.try_into().map_err(wrong).map(|bytes| Self(i128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for CreditSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        f.pad(&format!("{sign}{}.{:03}", magnitude / 1000, magnitude % 1000))
    }
}

impl Serialize for CreditSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How sums are written: 16 bytes, big-endian.
pub(super) mod wide {
    use minicbor::decode::Decoder;
    use minicbor::encode::{Encoder, Write};

    pub(in crate::counts) fn encode<C, W: Write>(
        sum: &i128,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&sum.to_be_bytes())?.ok()
    }

    pub(in crate::counts) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<i128, minicbor::decode::Error> {
        let bytes = d.bytes()?.try_into();
        bytes.map(i128::from_be_bytes).map_err(|_| minicbor::decode::Error::message("no sum"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_an_amount_and_goes_on_beyond_it() {
        for thousandths in [0, 1, -1, 97_500, -2_500, i64::MAX, i64::MIN] {
            let sum = CreditSum::from_thousandths(thousandths.into()).to_string();
            assert_eq!(sum, Credits::from_thousandths(thousandths).to_string());
        }
        let beyond = CreditSum::from_thousandths(i128::from(i64::MAX) * 3);
        assert_eq!(beyond.to_string(), "27670116110564327.421");
        let nearest =
            |thousandths| CreditSum::from_thousandths(thousandths).nearest().thousandths();
        assert_eq!([-7, 0, 7].map(nearest), [-7, 0, 7]);
        assert_eq!(nearest(i128::from(i64::MAX) + 1), i64::MAX);
        assert_eq!(nearest(i128::from(i64::MIN) - 1), i64::MIN);
        let zero = |thousandths| CreditSum::from_thousandths(thousandths).is_zero();
        assert!(zero(0) && !zero(1) && !zero(-1));
    }
}
