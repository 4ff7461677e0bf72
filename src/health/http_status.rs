//! What became of a delivery, and when the next try is due.

use std::time::{Duration, SystemTime};

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// Worth another try, not before the server said so.
    Retry {
        after: Option<Duration>,
    },
    /// The same request can never succeed.
    Dead,
    /// Nothing was tried: earlier requests of this session have not ended.
    Busy,
}

/// A server that asks for more patience than this gets another try all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

impl Outcome {
    /// From the status of a response and its Retry-After. Redirects are not followed: one would
    /// carry the secret to an address that nobody chose.
    pub fn of(status: u16, retry_after: Option<&str>, now: SystemTime) -> Self {
        match status {
            200..=299 => Self::Delivered,
            408 | 425 | 429 | 500..=599 => Self::Retry { after: retry_after.and_then(|text| wait(text, now)) },
            _ => Self::Dead,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Dead => "dead",
            Self::Busy => "busy",
        }
    }
}

/// Retry-After: seconds, or a date (RFC 9110, section 10.2.3).
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_succeed_is_not_tried_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let retry = |seconds: Option<u64>| Outcome::Retry { after: seconds.map(Duration::from_secs) };
        for (status, retry_after, outcome) in [
            (200, None, Outcome::Delivered),
            (202, Some("10"), Outcome::Delivered),
            (301, None, Outcome::Dead),
            (400, None, Outcome::Dead),
            (404, Some("10"), Outcome::Dead),
            (408, None, retry(None)),
            (429, Some("7"), retry(Some(7))),
            (429, Some(" 120 "), retry(Some(120))),
            (429, Some("Sun, 06 Nov 1994 08:50:37 GMT"), retry(Some(60))),
            (429, Some("Sun, 06 Nov 1994 08:00:00 GMT"), retry(Some(0))),
            (503, Some("99999999999"), retry(Some(86_400))),
            (503, Some("-1"), retry(None)),
            (503, Some("soon"), retry(None)),
            (500, None, retry(None)),
        ] {
            assert_eq!(Outcome::of(status, retry_after, now), outcome, "{status} {retry_after:?}");
        }
    }
}
