//! Credits: fixed-point thousandths, never a float.
//!
//! Invariant: arithmetic is exact and overflow is an error that the caller
//! sees (`checked_*`); there is no silent wrap, saturation or rounding.

use crate::cbor;
use crate::ids::IdParseError;
use core::fmt;
use std::str::FromStr;

/// An amount of credits in thousandths. Text form: `-2.500`.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    minicbor::Encode,
    minicbor::Decode
)]
#[cbor(transparent)]
pub struct Credits(#[n(0)] i64);

/// A text that is no amount of credits.
pub type CreditsParseError = IdParseError;

impl Credits {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From thousandths: `from_thousandths(2_500)` is 2.5 credits.
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// In thousandths.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// The sum, or `None` beyond ±9.2 × 10¹⁵ credits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// This price, `count` times, or `None` beyond the range.
    pub fn checked_mul(self, count: u64) -> Option<Self> {
        self.0.checked_mul(i64::try_from(count).ok()?).map(Self)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        f.pad(&format!("{sign}{}.{:03}", magnitude / 1000, magnitude % 1000))
    }
}

impl fmt::Debug for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credits({self})")
    }
}

impl FromStr for Credits {
    type Err = CreditsParseError;

    fn from_str(text: &str) -> Result<Self, CreditsParseError> {
        parse(text).map(Self).ok_or_else(|| {
            IdParseError::new(
                "amount of credits",
                "a number within 9 quadrillion, with at most three decimals",
                text,
            )
        })
    }
}

fn parse(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(decimals) || decimals.len() > 3 {
        return None;
    }
    // Wider than the result: the smallest amount has no positive counterpart.
    let thousandths: i128 = format!("{decimals:0<3}").parse().ok()?;
    let magnitude = whole.parse::<i128>().ok()?.checked_mul(1000)?.checked_add(thousandths)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

cbor::as_json_text!(Credits, "credits, exact to a thousandth", "^-?[0-9]+(\\.[0-9]{1,3})?$");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_exact() {
        for (text, thousandths) in [("2.5", 2_500), ("-0.001", -1), ("0", 0), ("97.500", 97_500)] {
            assert_eq!(text.parse(), Ok(Credits(thousandths)), "{text}");
        }
        for wrong in ["", "-", "1.", ".5", "1.2345", "+1", "1e3", "٣", "1.-1", "99999999999999999"]
        {
            assert!(wrong.parse::<Credits>().is_err(), "{wrong}");
        }
        assert_eq!(format!("[{:>9}]", Credits(-1)), "[   -0.001]");
    }

    proptest! {
        #[test]
        fn text_reads_back(thousandths in i64::MIN..=i64::MAX) {
            let credits = Credits(thousandths);
            prop_assert_eq!(credits.to_string().parse(), Ok(credits));
        }
    }
}
