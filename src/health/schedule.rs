//! When a cron expression is due next, in UTC, as pg_cron takes it: five fields, or @hourly and its like.

use chrono::DateTime;
use croner::parser::{CronParser, Seconds, Year};

/// In bytes; no list of moments needs as many.
const LONGEST: usize = 1000;

/// The first moment after `after` at which a schedule is due, both in seconds since 1970. None: the expression is not
/// one that pg_cron takes, or is never due.
pub fn next_run(expression: &str, after: i64) -> Option<i64> {
    if expression.len() > LONGEST {
        return None;
    }
    // What croner knows beside the standard (L, W, #, ?, +) pg_cron does not.
    let name = |word: &str| word.len() == 3 || word.is_empty();
    let standard = expression.split(|c: char| !c.is_ascii_alphabetic()).all(name)
        && expression.chars().all(|c| c.is_ascii_alphanumeric() || "*/,- ".contains(c));
    let nickname =
        ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"].contains(&expression);
    if !(standard || nickname) {
        return None;
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let schedule = parser.parse(expression).ok()?;
    let next = schedule.find_next_occurrence(&DateTime::from_timestamp(after, 0)?, false).ok()?;
    Some(next.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, after: &str) -> Option<String> {
        let after = DateTime::parse_from_rfc3339(after).expect("a time").timestamp();
        next_run(expression, after)
            .and_then(|at| DateTime::from_timestamp(at, 0))
            .map(|at| at.format("%Y-%m-%dT%H:%M").to_string())
    }

    /// Worked out by hand from crontab(5): day of month and day of week together mean either.
    #[test]
    fn the_next_run_is_what_crontab_says() {
        for (expression, after, expected) in [
            ("*/15 * * * *", "2024-02-29T23:50:00Z", "2024-03-01T00:00"),
            ("*/15 * * * *", "2024-03-01T00:00:00Z", "2024-03-01T00:15"),
            ("0 3 1 * *", "2024-12-01T03:00:00Z", "2025-01-01T03:00"),
            ("30 4 1,15 * 5", "2024-03-02T00:00:00Z", "2024-03-08T04:30"),
            ("0 0 29 2 *", "2024-03-01T00:00:00Z", "2028-02-29T00:00"),
            ("0 9 * * mon-fri", "2024-03-08T09:00:00Z", "2024-03-11T09:00"),
            ("@daily", "2024-03-08T09:00:00Z", "2024-03-09T00:00"),
        ] {
            assert_eq!(next(expression, after).as_deref(), Some(expected), "{expression}");
        }
    }

    #[test]
    fn what_pg_cron_does_not_take_is_none() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "5 seconds",
            "60 * * * *",
            "0 0 L * *",
            "0 0 * * 5#2",
            "0 0 ? * *",
            "0 0 31 2 *",
        ] {
            assert_eq!(next(bad, "2024-03-08T09:00:00Z"), None, "{bad}");
        }
    }
}
