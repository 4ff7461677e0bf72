//! Values as JSON: exact, and the same under every setting of a session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Whole numbers up to here are the same in every reader of JSON, one that has nothing but doubles too.
const LARGEST_NUMBER: u64 = 1 << 53;
const DAY: i64 = 86_400_000_000;
/// Days from 1970 to 2000.
const EPOCH: i64 = 10_957;

pub fn text(line: &mut Vec<u8>, value: &str) {
    // Writing to a vector does not fail.
    let _ = serde_json::to_writer(line, value);
}

/// A number, or its digits as text where a reader might round it.
pub fn integer(line: &mut Vec<u8>, value: i64) {
    let quote: &[u8] = if value.unsigned_abs() > LARGEST_NUMBER { b"\"" } else { b"" };
    line.extend_from_slice(quote);
    let _ = serde_json::to_writer(&mut *line, &value);
    line.extend_from_slice(quote);
}

/// The shortest number that reads back as this one; as text where JSON has none. A zero below zero is one of these: read
/// as a decimal, it would lose its sign.
pub fn double(line: &mut Vec<u8>, value: f64) {
    let word: &[u8] = if value.is_nan() {
        b"\"NaN\""
    } else if value == f64::INFINITY {
        b"\"Infinity\""
    } else if value == f64::NEG_INFINITY {
        b"\"-Infinity\""
    } else if value == 0.0 && value.is_sign_negative() {
        b"\"-0\""
    } else {
        let _ = serde_json::to_writer(line, &value);
        return;
    };
    line.extend_from_slice(word);
}

pub fn real(line: &mut Vec<u8>, value: f32) {
    if value.is_finite() && (value != 0.0 || value.is_sign_positive()) {
        let _ = serde_json::to_writer(line, &value);
    } else {
        double(line, f64::from(value));
    }
}

pub fn uuid(line: &mut Vec<u8>, bytes: &[u8; 16]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    line.push(b'"');
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            line.push(b'-');
        }
        line.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    line.push(b'"');
}

pub fn base64(line: &mut Vec<u8>, bytes: &[u8]) {
    line.push(b'"');
    let start = line.len();
    line.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let _ = STANDARD.encode_slice(bytes, &mut line[start..]);
    line.push(b'"');
}

/// A moment in UTC, given in microseconds since 2000. False, and nothing written, where its year has not four digits.
pub fn moment(line: &mut Vec<u8>, microseconds: i64) -> bool {
    let (day, within) = (microseconds.div_euclid(DAY), microseconds.rem_euclid(DAY));
    let (year, month, day) = date(day + EPOCH);
    if !(1..=9999).contains(&year) {
        return false;
    }
    let seconds = within / 1_000_000;
    line.push(b'"');
    for (number, width, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (seconds / 3600, 2, b':'),
        (seconds / 60 % 60, 2, b':'),
        (seconds % 60, 2, b'.'),
        (within % 1_000_000, 6, b'Z'),
    ] {
        digits(line, number, width);
        line.push(after);
    }
    line.push(b'"');
    true
}

fn digits(line: &mut Vec<u8>, mut number: i64, width: usize) {
    let start = line.len();
    line.resize(start + width, b'0');
    for digit in line[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day counted from 1970, in the proleptic Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    // Counted from 1 March of a year that 400 divides, so that the leap day comes last.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    fn of(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        write(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_number_that_a_reader_would_round_is_text() {
        assert_eq!(of(|line| integer(line, 9_007_199_254_740_992)), "9007199254740992");
        assert_eq!(of(|line| integer(line, -9_007_199_254_740_993)), "\"-9007199254740993\"");
        assert_eq!(of(|line| integer(line, i64::MIN)), "\"-9223372036854775808\"");
    }

    #[test]
    fn what_json_has_no_number_for_is_text() {
        let doubles = [0.1, 1e300, 5e-324, -0.0, 0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let written = doubles.map(|value| of(|line| double(line, value)));
        let due = ["0.1", "1e+300", "5e-324", "\"-0\"", "0.0", "\"NaN\"", "\"Infinity\"", "\"-Infinity\""];
        assert_eq!(written.map(|text| text.replace("1e300", "1e+300")), due);
        assert_eq!(of(|line| real(line, 0.1)), "0.1");
        assert_eq!(of(|line| real(line, -0.0)), "\"-0\"");
    }

    #[test]
    fn text_stays_on_its_line() {
        assert_eq!(of(|line| text(line, "a\n\"\\\u{1}\t\u{e9}")), r#""a\n\"\\\u0001\t"#.to_owned() + "\u{e9}\"");
        assert_eq!(of(|line| base64(line, b"\x00\xff\xfe")), "\"AP/+\"");
        assert_eq!(of(|line| base64(line, b"")), "\"\"");
        assert_eq!(of(|line| uuid(line, &[0xab; 16])), "\"abababab-abab-abab-abab-abababababab\"");
    }

    #[test]
    fn a_year_beyond_four_digits_is_left_to_the_server() {
        let mut line = Vec::new();
        assert!(!moment(&mut line, i64::MAX) && !moment(&mut line, i64::MIN) && line.is_empty());
        assert_eq!(of(|line| assert!(moment(line, 0))), "\"2000-01-01T00:00:00.000000Z\"");
        assert_eq!(of(|line| assert!(moment(line, -1))), "\"1999-12-31T23:59:59.999999Z\"");
    }

    proptest! {
        /// chrono's calendar is another's.
        #[test]
        fn moments_are_those_of_the_calendar(microseconds in -60_000_000_000_000_000i64..250_000_000_000_000_000) {
            let theirs = DateTime::from_timestamp_micros(microseconds + EPOCH * DAY).unwrap();
            prop_assert_eq!(of(|line| assert!(moment(line, microseconds))), format!("\"{}\"", theirs.to_rfc3339_opts(SecondsFormat::Micros, true)));
        }

        #[test]
        fn doubles_read_back_exactly(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let written = of(|line| double(line, value));
            prop_assert_eq!(written.trim_matches('"').parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
