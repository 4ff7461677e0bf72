//! Which keys are trusted.

use super::*;
use crate::tenancy::token::key::left_out;

#[test]
fn weak_and_malformed_keys_are_not_trusted() {
    let jwk = |from: &str, member: &str, value: Value| {
        let mut jwk: Value = serde_json::from_str(from).unwrap();
        jwk[member] = value;
        one(&jwk.to_string()).map(|key| key.algorithm)
    };
    let bytes = |bytes: &[u8]| Value::from(URL_SAFE_NO_PAD.encode(bytes));
    let ramp: Vec<u8> = (0..=255).collect();
    let point_of_small_order = [1].into_iter().chain([0; 31]).collect::<Vec<u8>>();
    assert_eq!(jwk(HMAC, "k", bytes(&ramp[..32])), Ok("HS256"));
    for (from, member, value) in [
        (HMAC, "k", bytes(&ramp[..31])),
        (HMAC, "k", bytes(&[7; 64])),
        (HMAC, "k", bytes(b"")),
        (RSA, "n", bytes(&[0xff; 128])),
        (RSA, "n", bytes(&[0x7f; 256])),
        (RSA, "n", bytes(&[0xff; 513])),
        (RSA, "e", bytes(&[1])),
        (RSA, "e", bytes(&[3])),
        (RSA, "d", bytes(&ramp)),
        (EC, "x", bytes(&[1; 32])),
        (EC, "x", bytes(&[1; 31])),
        (EC, "d", Value::from(EC_SECRET)),
        (ED, "x", bytes(&point_of_small_order)),
        (ED, "x", bytes(&[0; 32])),
        (ED, "x", bytes(&[1; 31])),
        (ED, "x", Value::Null),
        (ED, "x", Value::from("+/==")),
        (ED, "kid", Value::Null),
        (ED, "kid", Value::from("")),
        (ED, "kid", Value::from("k".repeat(201))),
    ] {
        assert!(jwk(from, member, value.clone()).is_err(), "{from} {member} {value}");
    }
}

#[test]
fn a_set_is_taken_for_what_of_it_can_sign() {
    let other = r#"{"kty":"EC","kid":"p384","crv":"P-384","x":"AA","y":"AA"}"#;
    let encrypt = RSA.replacen('{', r#"{"use":"enc","#, 1).replace("\"rs\"", "\"enc\"");
    let pss = RSA.replacen('{', r#"{"alg":"PS256","#, 1).replace("\"rs\"", "\"ps\"");
    let sign = ED.replacen('{', r#"{"use":"sig","alg":"EdDSA","x5c":[],"#, 1);
    let keys = published(&format!("{{\"keys\":[{other},{encrypt},{pss},{sign},{EC},{RSA}]}}")).unwrap();
    let keys: Vec<_> = keys.iter().map(|key| (key.kid.as_str(), key.algorithm)).collect();
    assert_eq!(keys, [("ed", "EdDSA"), ("es", "ES256"), ("rs", "RS256")]);
    for set in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[1]}"#] {
        assert!(published(set).is_err(), "{set}");
    }
    let left: Vec<_> = left_out(&format!("{{\"keys\":[{other},{encrypt},{pss},{sign}]}}"))
        .iter()
        .map(|key| (key.kid.clone().unwrap_or_default(), key.why.split(':').next().unwrap_or_default().to_owned()))
        .collect();
    let due = [("p384", "EC P-384 is not taken"), ("enc", "its use is not sig"), ("ps", "RSA PS256 is not taken")];
    assert_eq!(left, due.map(|(kid, why)| (kid.to_owned(), why.to_owned())));
    assert!(published(&format!("{{\"keys\":[{other}]}}")).is_err());
    assert!(published(&format!("{{\"keys\":[{ED},{ED}]}}")).is_err());
    assert!(published(&" ".repeat(100_001)).is_err());
}
