//! JSON as a signed document needs it: no name twice, no deep nesting, whole numbers kept apart.
//!
//! Of two members of one name some readers keep the first and some the last, so that two of them
//! could read different tenants in one token (RFC 8725, section 2.4). Here there is none to read.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

pub type Object = BTreeMap<String, Json>;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number with a point or an exponent, as far as its whole part is exact.
    Real(f64),
    /// A number that is neither.
    Number,
    Text(String),
    Array(Vec<Json>),
    Object(Object),
}

impl Json {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A NumericDate (RFC 7519, section 2), which may have a fraction, in whole seconds.
    pub fn seconds(&self, whole: fn(f64) -> f64) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            Self::Real(number) => Some(whole(*number) as i64),
            _ => None,
        }
    }
}

/// Below it every whole number is a double: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// How many arrays and objects may stand inside each other.
pub const DEEPEST: usize = 8;

/// One object and nothing after it; None for whatever else.
pub fn object(bytes: &[u8]) -> Option<Object> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Level(0).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Json::Object(object) => Some(object),
        _ => None,
    }
}

/// Reads a value that stands inside so many others.
struct Level(usize);

impl Level {
    fn deeper<E: Error>(&self) -> Result<Self, E> {
        if self.0 < DEEPEST { Ok(Self(self.0 + 1)) } else { Err(E::custom("too deep")) }
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Number, Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(if value.abs() < EXACT { Json::Real(value) } else { Json::Number })
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(self.deeper()?)? {
            array.push(element);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.deeper()?)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name twice"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_nothing() {
        let read = |number: &str| object(format!("{{\"n\":{number}}}").as_bytes()).map(|o| o["n"].clone());
        assert_eq!(read("12"), Some(Json::Integer(12)));
        assert_eq!(read("-12"), Some(Json::Integer(-12)));
        for (number, value) in [("12.0", 12.0), ("1.2e1", 12.0), ("-0.5", -0.5)] {
            assert_eq!(read(number), Some(Json::Real(value)), "{number}");
        }
        assert_eq!(
            [Json::Real(-0.5), Json::Real(12.9), Json::Integer(3)].map(|n| n.seconds(f64::floor)),
            [-1, 12, 3].map(Some)
        );
        for number in [
            "9007199254740993.0",
            "1e300",
            "18446744073709551615",
            "9223372036854775808",
            "123456789012345678901234567890",
        ] {
            assert_eq!(read(number), Some(Json::Number), "{number}");
        }
        for number in ["1e400", "012", "+1", "NaN", "Infinity", "0x1", "1_000", ""] {
            assert_eq!(read(number), None, "{number}");
        }
    }

    #[test]
    fn no_name_stands_twice_at_any_level() {
        for json in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"b":[{"a":1,"a":2}]}"#, r#"{"b":{"a":1,"a":2}}"#]
        {
            assert_eq!(object(json.as_bytes()), None, "{json}");
        }
        assert!(object(br#"{"a":1,"A":1,"b":{"a":1}}"#).is_some());
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(DEEPEST - 1).as_bytes()).is_some());
        for depth in [DEEPEST, DEEPEST + 1, 1000, 100_000] {
            assert_eq!(object(nested(depth).as_bytes()), None, "{depth}");
        }
    }

    #[test]
    fn only_one_whole_object_is_read() {
        for json in ["", "[]", "1", "null", "\"a\"", "{}{}", "{} x", "{", "{\"a\":1,}", "\u{feff}{}", "{'a':1}"] {
            assert_eq!(object(json.as_bytes()), None, "{json}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(object(b" {\n} ").unwrap(), Object::new());
    }
}
