//! Names as people confuse them, and e-mail addresses as servers read them.

use email_address::EmailAddress;
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// The longest name and the longest address (RFC 5321) in characters.
const MAX_NAME: usize = 200;
const MAX_EMAIL: usize = 254;

/// Folds a name so that two that a person would confuse are equal: compatibility form, case,
/// runs of white space, then the skeleton of Unicode Technical Standard 39, section 4.
///
/// None if nothing visible is left, if the name is longer than 200 characters, or if it holds
/// a control, zero-width or text-direction character, which have no place in a name.
pub fn name_key(name: &str) -> Option<String> {
    if name.chars().count() > MAX_NAME || name.chars().any(is_invisible) {
        return None;
    }
    let key: String = tidy_name(name).nfkc().map(|c| look(c).to_lowercase()).collect();
    key.chars().any(char::is_alphanumeric).then_some(key)
}

/// The skeleton of a character in the case in which it looks like a Latin letter, if in either:
/// Cyrillic В passes for B, though в does not pass for b.
fn look(c: char) -> String {
    let lower: String = skeleton(&c.to_lowercase().to_string()).collect();
    let upper: String = skeleton(&c.to_uppercase().to_string()).collect();
    if upper.is_ascii() && !lower.is_ascii() { upper } else { lower }
}

/// The name with single blanks between its words and none around it.
pub fn tidy_name(name: &str) -> String {
    let mut tidy = String::new();
    for word in name.split_whitespace() {
        if !tidy.is_empty() {
            tidy.push(' ');
        }
        tidy.push_str(word);
    }
    tidy
}

/// Whether a character shows nothing, or only by what stands beside it: controls, Unicode's Default_Ignorable_Code_Point, letters and
/// signs whose form is a blank (Braille, Hangul fillers, a musical null), private use, and what is no character.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// The address with its domain in lower case, or None if it is not one that mail can reach:
/// RFC 5321 syntax, no comment or display name, a domain with a dot, at most 254 characters.
pub fn email_key(address: &str) -> Option<String> {
    let options = email_address::Options::default().with_required_tld().without_domain_literal().without_display_text();
    if address.chars().count() > MAX_EMAIL || address.chars().any(is_invisible) {
        return None;
    }
    let parsed = EmailAddress::parse_with_options(address, options).ok()?;
    Some(format!("{}@{}", parsed.local_part(), parsed.domain().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_share_a_key() {
        let key = name_key("ABC Roofing");
        assert!(key.is_some());
        for twin in ["abc roofing", " ABC  Roofing ", "АВС Roofing", "ＡＢＣ Roofing", "ABC\u{a0}Roofing"] {
            assert_eq!(name_key(twin), key, "{twin}");
        }
        for other in ["ABD Roofing", "ABC Roofing 2", "ABCRoofing"] {
            assert_ne!(name_key(other), key, "{other}");
        }
    }

    #[test]
    fn a_name_must_be_visible() {
        for bad in ["", "   ", "...", "ABC\u{200b}Roofing", "ABC\nRoofing", "\u{202e}gnifooR"] {
            assert_eq!(name_key(bad), None, "{bad:?}");
        }
        for blank in "\u{2800}\u{3164}\u{115f}\u{1160}\u{ffa0}\u{34f}\u{17b4}\u{180b}\u{180f}\u{1d159}\u{1d173}\u{1bca0}\u{e000}\u{f0000}\u{e0101}\u{fe0f}\u{ffff}".chars() {
            assert_eq!(name_key(&format!("ABC{blank} Roofing")), None, "{blank:?}");
            assert_eq!(email_key(&format!("ann{blank}@abc.test")), None, "{blank:?}");
        }
        assert!(name_key(&"a".repeat(200)).is_some());
        assert!(name_key(&"a".repeat(201)).is_none());
    }

    #[test]
    fn addresses_are_those_that_mail_can_reach() {
        assert_eq!(email_key("Ann.Lee+x@ABC.Test").as_deref(), Some("Ann.Lee+x@abc.test"));
        for bad in [
            "",
            "ann",
            "ann@",
            "@abc.test",
            "ann@abc",
            "a b@abc.test",
            "ann@abc..test",
            "Ann <ann@abc.test>",
            "ann@[127.0.0.1]",
            "ann@abc.test\n",
        ] {
            assert_eq!(email_key(bad), None, "{bad:?}");
        }
    }
}
