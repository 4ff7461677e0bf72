//! Whatever arrives is read without panic, and let in by nobody.

use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(decode(&text).is_none_or(|decoded| decoded.unverified().is_none()));
        json::object(&bytes);
        prop_assert!(published(&text).is_err());
        prop_assert!(key_of(&text).is_err());
    }

    /// Built as a token is, so that what is behind the decoding is reached too.
    #[test]
    fn any_three_parts_are_refused(
        header in r#"\{"alg":"(EdDSA|none|HS256)","kid":".{0,9}"(,"[a-z]{1,4}":(1|null|\[\]|"x"))?\}"#,
        claims in r#"(\{"iss":".{0,9}"(,"(exp|aud|sub|nbf)":(1|-1|1e9|"x"|\[\[\]\]|\{\}|null))*\}|.{0,40})"#,
        signature in "[A-Za-z0-9_=+/-]{0,100}",
    ) {
        let token = format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        for jwk in [ED, EC, RSA, HMAC] {
            prop_assert_eq!(login_with(&token, &trust(jwk), Some("x")), None);
        }
    }

    #[test]
    fn any_nesting_and_any_number_is_read_without_panic(
        open in "[\\[{\"a:,]{0,400}", number in "-?[0-9]{0,400}(\\.[0-9]{0,9})?([eE][-+]?[0-9]{0,9})?",
    ) {
        json::object(format!("{{\"a\":{open}{number}").as_bytes());
        json::object(format!("{{\"a\":{number}}}").as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_token_is_accepted(at in any::<proptest::sample::Index>(), to in any::<u8>(), kind in 0..3) {
        for (alg, kid, jwk) in [("EdDSA", "ed", ED), ("HS256", "hs", HMAC)] {
            let token = token_of(alg, &json!({"alg": alg, "kid": kid}).to_string(), &claims().to_string());
            let (mut changed, at) = (token.clone().into_bytes(), at.index(token.len()));
            match kind {
                0 => changed[at] = to,
                1 => changed.insert(at, to),
                _ => drop(changed.remove(at)),
            }
            let changed = String::from_utf8_lossy(&changed).into_owned();
            prop_assert!(changed == token || login_with(&changed, &trust(jwk), None).is_none(), "{}", changed);
        }
    }
}
