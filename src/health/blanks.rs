//! Values that show nothing, and values that differ by nothing that shows: a file's byte order mark, a no-break space of a
//! web form, a blank at either end.

use std::borrow::Cow;

use crate::tenancy::is_invisible;

/// Letters that are drawn as blanks: of Braille and Hangul.
const DRAWN_BLANK: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// Whether a character parts words and shows nothing else.
fn is_space(c: char) -> bool {
    c.is_whitespace() || DRAWN_BLANK.contains(&c)
}

fn is_blank(c: char) -> bool {
    is_space(c) || is_invisible(c)
}

pub fn shows_nothing(value: &str) -> bool {
    value.chars().all(is_blank)
}

/// The value as it shows: without what has no width, and with one blank between words and none around them. None if it
/// shows nothing.
pub fn fold(value: &str) -> Option<Cow<'_, str>> {
    let plain = |byte: &u8| byte.is_ascii_graphic();
    if !value.is_empty() && value.as_bytes().iter().all(plain) {
        return Some(Cow::Borrowed(value));
    }
    let mut folded = String::with_capacity(value.len());
    let mut between = false;
    for c in value.chars() {
        if !is_blank(c) {
            if between && !folded.is_empty() {
                folded.push(' ');
            }
            between = false;
            folded.push(c);
        } else if is_space(c) {
            between = true;
        }
    }
    (!folded.is_empty()).then_some(Cow::Owned(folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_show_makes_no_difference() {
        for same in ["1001", " 1001", "1001\t", "\u{feff}1001", "\u{a0}1001 \u{a0}", "10\u{200b}01", "1001\u{2800}"] {
            assert_eq!(fold(same).as_deref(), Some("1001"), "{same:?}");
            assert!(!shows_nothing(same));
        }
        for same in ["12 Elm", "12  Elm ", "12\u{a0}Elm", " 12\u{3000}\u{feff}Elm"] {
            assert_eq!(fold(same).as_deref(), Some("12 Elm"), "{same:?}");
        }
        for other in ["1001a", "10 01", "Elm", "elm"] {
            assert_eq!(fold(other).as_deref(), Some(other), "case and letters are the value's own");
        }
    }

    #[test]
    fn blanks_show_nothing() {
        for nothing in ["", " ", "\u{a0}", "\u{feff}", "\t\r\n", "\u{200b}\u{2060}", "\u{2800}"] {
            assert!(shows_nothing(nothing), "{nothing:?}");
            assert_eq!(fold(nothing), None, "{nothing:?}");
        }
        assert!(!shows_nothing("-"));
    }
}
