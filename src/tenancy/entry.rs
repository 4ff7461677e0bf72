//! By which way the transaction entered its tenant, and until when that holds.

use super::role::{Id, Role};
use std::fmt;

/// Times are those of Postgres: microseconds since 2000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A trusted application, or a superuser, set the tenant.
    Setting,
    /// A verified token.
    Token { limit: Option<Role>, expires: i64 },
    /// A grant to an operator, good for the role that opened it.
    BreakGlass { grant: Id, role: u32, expires: i64 },
}

impl Entry {
    pub fn is_break_glass(self) -> bool {
        matches!(self, Self::BreakGlass { .. })
    }

    pub fn expires(self) -> Option<i64> {
        match self {
            Self::Setting => None,
            Self::Token { expires, .. } | Self::BreakGlass { expires, .. } => Some(expires),
        }
    }

    /// Of a text that `to_string()` gave; None of any other.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Setting);
        }
        let mut words = text.split(' ');
        let kind = words.next()?;
        let (first, expires) = (words.next()?, words.next()?.parse().ok()?);
        match (kind, words.next(), words.next()) {
            ("token", None, None) if first == "-" => Some(Self::Token { limit: None, expires }),
            ("token", None, None) => Some(Self::Token { limit: Some(Role::parse(first)?), expires }),
            ("break_glass", Some(role), None) => {
                let grant = uuid::Uuid::try_parse(first).ok()?.into_bytes();
                Some(Self::BreakGlass { grant, role: role.parse().ok()?, expires })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Setting => Ok(()),
            Self::Token { limit, expires } => write!(out, "token {} {expires}", limit.map_or("-", Role::name)),
            Self::BreakGlass { grant, role, expires } => {
                write!(out, "break_glass {} {expires} {role}", uuid::Uuid::from_bytes(*grant))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        for entry in [
            Entry::Setting,
            Entry::Token { limit: None, expires: 7 },
            Entry::Token { limit: Some(Role::CrewChief), expires: -7 },
            Entry::BreakGlass { grant: [9; 16], role: 10, expires: i64::MAX },
        ] {
            assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        }
        for text in
            [" ", "token", "token -", "token - x", "token owner 7", "token - 7 8", "break_glass x 7 10", "x - 7"]
        {
            assert_eq!(Entry::parse(text), None, "{text}");
        }
    }
}
