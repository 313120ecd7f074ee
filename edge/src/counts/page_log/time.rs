//! The time CUPS writes: `[21/Nov/2026:01:02:03 +0100]`, with microseconds under `LogTimeFormat usecs`.
//!
//! Owns its one fixed shape; month names are English whatever the locale. Invariant: what is no time
//! is no match, never a guess. Leaves zones to `jiff`.

use jiff::civil::DateTime;
use jiff::tz::Offset;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Takes a time off the front: milliseconds since the Unix epoch, and what follows the `]`.
pub(super) fn take(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let rest = bytes.strip_prefix(b"[")?;
    let (day, rest) = digits(rest, 2)?;
    let (name, rest) = rest.strip_prefix(b"/")?.split_at_checked(3)?;
    let month = (1..).zip(MONTHS).find_map(|(number, month)| (month == name).then_some(number))?;
    let (year, rest) = digits(rest.strip_prefix(b"/")?, 4)?;
    let (hour, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (microsecond, rest) = match rest.strip_prefix(b".") {
        Some(rest) => digits(rest, 6)?,
        None => (0, rest),
    };
    let (offset, rest) = offset(rest.strip_prefix(b" ")?)?;
    let civil = DateTime::new(
        i16::try_from(year).ok()?,
        month,
        i8::try_from(day).ok()?,
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        // A leap second has no place on the Unix time line; it is counted as the second before.
        i8::try_from(if second == 60 { 59 } else { second }).ok()?,
        microsecond.checked_mul(1000)?,
    )
    .ok()?;
    let timestamp = offset.to_timestamp(civil).ok()?;
    Some((timestamp.as_millisecond(), rest.strip_prefix(b"]")?))
}

/// Where in `bytes` the first time stands.
pub(super) fn first_in(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|&at| bytes.get(at..).is_some_and(|rest| take(rest).is_some()))
}

/// `+0100`. West of Greenwich at a half hour, CUPS gives both parts their sign: `-03-30`.
fn offset(bytes: &[u8]) -> Option<(Offset, &[u8])> {
    let (&sign, rest) = bytes.split_first()?;
    let (hours, rest) = digits(rest, 2)?;
    let (west_minutes, rest) = rest.strip_prefix(b"-").map_or((false, rest), |rest| (true, rest));
    let (minutes, rest) = digits(rest, 2)?;
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    let seconds = match (sign, west_minutes) {
        (b'+', false) => seconds,
        (b'-', _) => -seconds,
        // `+00-30`: half an hour west, less than an hour.
        (b'+', true) if hours == 0 => -seconds,
        _ => return None,
    };
    Some((Offset::from_seconds(seconds).ok()?, rest))
}

fn digits(bytes: &[u8], count: usize) -> Option<(i32, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(count)?;
    let value = digits.iter().try_fold(0, |value: i32, digit| {
        digit.is_ascii_digit().then(|| value * 10 + i32::from(digit - b'0'))
    })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millisecond(text: &str) -> Option<i64> {
        take(text.as_bytes()).filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time)
    }

    #[test]
    fn reads_what_cups_writes() {
        assert_eq!(millisecond("[01/Jan/1970:01:00:00 +0100]"), Some(0));
        assert_eq!(millisecond("[21/Nov/2026:01:02:03 +0100]"), Some(1_795_219_323_000));
        assert_eq!(millisecond("[21/Nov/2026:01:02:03.123456 +0100]"), Some(1_795_219_323_123));
        assert_eq!(millisecond("[31/Dec/1969:20:30:00 -03-30]"), Some(0));
        assert_eq!(millisecond("[31/Dec/1969:20:30:00 -0330]"), Some(0));
        assert_eq!(millisecond("[31/Dec/1969:23:30:00 +00-30]"), Some(0));
        assert_eq!(millisecond("[01/Jan/1970:05:45:00 +0545]"), Some(0));
    }

    #[test]
    fn a_leap_second_is_the_second_before() {
        assert_eq!(
            millisecond("[31/Dec/2016:23:59:60 +0000]"),
            millisecond("[31/Dec/2016:23:59:59 +0000]")
        );
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "[31/Feb/2026:01:02:03 +0100]",
            "[21/Nov/2026:24:02:03 +0100]",
            "[21/Nov/2026:01:02:61 +0100]",
            "[21/nov/2026:01:02:03 +0100]",
            "[21/Nov/2026:01:02:03 0100]",
            "[21/Nov/2026:01:02:03 +0100",
            "[1/Nov/2026:01:02:03 +0100]",
            "[21/Nov/2026:01:02:03 +0190-]",
            "[",
            "",
        ] {
            assert_eq!(millisecond(text), None, "{text}");
        }
    }
}
