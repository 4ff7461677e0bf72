//! Against the published examples of RFC 7515, 7517 and 8037, and against whatever proptest thinks of.

mod any;
mod claims;
mod keys;

use super::key::{Published, key_of, published};
use super::*;
use jsonwebtoken::{EncodingKey, crypto};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const TENANT: &str = "01900000-0000-7000-8000-00000000000a";
const USER: &str = "01900000-0000-7000-8000-00000000000b";

// RFC 7515, appendix A.1 to A.3, and RFC 8037, appendix A: keys, and what they signed.
const HMAC: &str = r#"{"kty":"oct","kid":"hs","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const RSA: &str = r#"{"kty":"RSA","kid":"rs","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const EC: &str = r#"{"kty":"EC","kid":"es","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ED: &str = r#"{"kty":"OKP","kid":"ed","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const EC_SECRET: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
const ED_SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const SIGNED: [(&str, &str, &str, &str); 4] = [
    (HMAC, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", JOE, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    (
        RSA,
        "eyJhbGciOiJSUzI1NiJ9",
        JOE,
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        EC,
        "eyJhbGciOiJFUzI1NiJ9",
        JOE,
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
    (
        ED,
        "eyJhbGciOiJFZERTQSJ9",
        "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ),
];

fn decode64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn one(jwk: &str) -> Result<Published, &'static str> {
    published(&format!("{{\"keys\":[{jwk}]}}")).map(|mut keys| keys.remove(0))
}

fn trust(jwk: &str) -> Trust {
    Trust {
        key: key_of(&one(jwk).unwrap().jwk).unwrap(),
        audience: "storm".into(),
        bound: false,
        not_after: None,
        tenant_claim: "tenant_id".into(),
        user_claim: "sub".into(),
        role_claim: "role".into(),
    }
}

fn claims() -> Value {
    json!({"iss": "issuer", "aud": "storm", "exp": NOW + 600, "sub": USER, "tenant_id": TENANT})
}

fn signer(alg: &str) -> (EncodingKey, Algorithm) {
    match alg {
        "EdDSA" => {
            let pkcs8 = [&[0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34, 4, 32], &decode64(ED_SECRET)[..]];
            (EncodingKey::from_ed_der(&pkcs8.concat()), Algorithm::EdDSA)
        }
        "ES256" => {
            // PKCS #8 around SEC 1 around the number.
            let around = b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
            (EncodingKey::from_ec_der(&[&around[..], &decode64(EC_SECRET)].concat()), Algorithm::ES256)
        }
        _ => {
            let jwk: Value = serde_json::from_str(HMAC).unwrap();
            (EncodingKey::from_secret(&decode64(jwk["k"].as_str().unwrap())), Algorithm::HS256)
        }
    }
}

/// Signed by the key of `alg`, whatever the header says.
fn token_of(alg: &str, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let (key, algorithm) = signer(alg);
    format!("{signed}.{}", crypto::sign(signed.as_bytes(), &key, algorithm).unwrap())
}

fn token(claims: &Value) -> String {
    token_of("EdDSA", r#"{"alg":"EdDSA","kid":"ed"}"#, &claims.to_string())
}

fn login_with(token: &str, trust: &Trust, challenge: Option<&str>) -> Option<Login> {
    decode(token)?.unverified()?.verify(trust, NOW, challenge).ok()
}

fn login(token: &str) -> Option<Login> {
    login_with(token, &trust(ED), None)
}

fn with(name: &str, value: Value) -> Option<Login> {
    let mut claims = claims();
    claims[name] = value;
    login(&token(&claims))
}

#[test]
fn the_published_signatures_hold_under_their_keys_and_no_other() {
    for (jwk, header, payload, signature) in SIGNED {
        let signed = format!("{header}.{payload}");
        for (other, ..) in SIGNED {
            let key = key_of(&one(other).unwrap().jwk).unwrap();
            assert_eq!(key.verifies(&signed, signature), other == jwk, "{header} {other}");
            assert!(!key.verifies(&format!("{signed}A"), signature), "{header} {other}");
            assert!(!key.verifies(&signed, ""), "{header} {other}");
        }
    }
}

#[test]
fn the_databases_own_key_signs_as_published() {
    let seed: [u8; 32] = decode64(ED_SECRET).try_into().unwrap();
    let jwk: Value = serde_json::from_str(&sign::public_jwk(&seed)).unwrap();
    assert_eq!(jwk["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let token = sign::sign(&seed, "ed", &claims().to_string()).unwrap();
    assert!(login(&token).is_some());
}

#[test]
fn a_good_token_lets_its_user_in_by_each_algorithm() {
    for (alg, kid, jwk) in [("EdDSA", "ed", ED), ("ES256", "es", EC), ("HS256", "hs", HMAC)] {
        let token = token_of(alg, &json!({"alg": alg, "kid": kid, "typ": "JWT"}).to_string(), &claims().to_string());
        let decoded = decode(&token).unwrap();
        let unverified = decoded.unverified().unwrap();
        assert_eq!((unverified.issuer, unverified.kid), ("issuer", kid));
        let login = unverified.verify(&trust(jwk), NOW, None).unwrap();
        assert_eq!(login.tenant, uuid::Uuid::parse_str(TENANT).unwrap().into_bytes());
        assert_eq!(login.user, uuid::Uuid::parse_str(USER).unwrap().into_bytes());
        assert_eq!((login.limit, login.expires), (None, NOW + 600 + LEEWAY));
    }
}

#[test]
fn the_algorithm_is_the_keys() {
    // The header names another algorithm than the key's, and is signed as it says, or as the key does.
    for (alg, name) in [("HS256", "HS256"), ("EdDSA", "HS256"), ("EdDSA", "none"), ("EdDSA", "nOnE"), ("EdDSA", "")] {
        let token = token_of(alg, &json!({"alg": name, "kid": "ed"}).to_string(), &claims().to_string());
        assert_eq!(login(&token), None, "{name}");
    }
    // A public key as the secret of an HMAC.
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"rs"}"#),
        URL_SAFE_NO_PAD.encode(claims().to_string())
    );
    for secret in [RSA.as_bytes().to_vec(), decode64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")] {
        let signature = crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(&secret), Algorithm::HS256).unwrap();
        for jwk in [RSA, ED, EC] {
            assert_eq!(login_with(&format!("{signed}.{signature}"), &trust(jwk), None), None);
        }
    }
}

#[test]
fn the_header_neither_chooses_the_key_nor_changes_the_format() {
    let header = |member: &str| format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed\"{member}}}");
    let try_it = |header: &str| login(&token_of("EdDSA", header, &claims().to_string())).is_some();
    for member in ["", r#","typ":"jwt""#, r#","typ":"at+jwt""#, r#","x5t":"AA""#, r#","cat":"cl_B7d""#] {
        assert!(try_it(&header(member)), "{member}");
    }
    for member in [
        r#","crit":[]"#,
        r#","crit":["exp"]"#,
        r#","b64":false"#,
        r#","b64":true"#,
        &format!(",\"jwk\":{ED}"),
        r#","jku":"https://evil.example""#,
        r#","x5u":"https://evil.example""#,
        r#","x5c":[]"#,
        r#","zip":"DEF""#,
        r#","enc":"A128GCM""#,
        r#","cty":"JWT""#,
        r#","typ":"logout+jwt""#,
        r#","typ":null"#,
        r#","alg":"EdDSA""#,
        r#","kid":"ed""#,
    ] {
        assert!(!try_it(&header(member)), "{member}");
    }
    for header in [r#"{"alg":"EdDSA"}"#, r#"{"kid":"ed"}"#, r#"{"alg":"EdDSA","kid":1}"#, r#"{"alg":null,"kid":"ed"}"#]
    {
        assert!(!try_it(header), "{header}");
    }
    assert!(!try_it(&json!({"alg": "EdDSA", "kid": "k".repeat(201)}).to_string()));
}

#[test]
fn a_bound_token_names_the_challenge() {
    let bound = Trust { bound: true, ..trust(ED) };
    let mut named = claims();
    named["nonce"] = "challenge".into();
    assert!(login_with(&token(&named), &bound, Some("challenge")).is_some());
    for (token, challenge) in
        [(&named, None), (&named, Some("another")), (&claims(), Some("challenge")), (&claims(), None)]
    {
        assert_eq!(login_with(&self::token(token), &bound, challenge), None);
    }
    assert!(login_with(&token(&named), &trust(ED), None).is_some(), "a provider's nonce is its own affair");
}

#[test]
fn a_token_has_a_size() {
    let sized = |pad: usize| {
        let mut claims = claims();
        claims["pad"] = "x".repeat(pad).into();
        token(&claims)
    };
    let pads: Vec<usize> = (0..LONGEST).collect();
    let first_too_long = pads.partition_point(|pad| sized(*pad).len() <= LONGEST);
    assert!(login(&sized(first_too_long - 1)).is_some());
    assert_eq!(login(&sized(first_too_long)), None);
    assert!(decode(&"a".repeat(100_000_000)).is_none());
}

/// The heap is bounded by the size of a token, whatever is in it.
#[test]
fn the_most_members_that_fit_are_read_and_no_more() {
    let many = format!("{{{}\"z\":0}}", (0..700).map(|n| format!("\"{n}\":0,")).collect::<String>());
    assert_eq!(json::object(many.as_bytes()).unwrap().len(), 701);
    assert!(decode(&token_of("EdDSA", "{}", &many)).is_some());
}
