//! A provider of tokens: its keys, and what it signs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Db;

pub const ISSUER: &str = "https://login.example";
pub const AUDIENCE: &str = "storm";
/// The key of RFC 8037, appendix A, in PKCS #8.
const PRIVATE: [u8; 48] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\
    \x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const SECRET: [u8; 32] = *b"a secret of thirty-two bytes: :-";

/// The provider's keys: `ed` (EdDSA) and `hs` (HS256).
pub fn jwks() -> Value {
    let secret = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlczogOi0";
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": PUBLIC}, {"kty": "oct", "kid": "hs", "k": secret}]})
}

/// Trusts the provider. `more`: further arguments of trust_issuer().
#[track_caller]
pub fn trust(db: &Db, jwks: &Value, more: &str) {
    let call = format!("SELECT FROM stormops.trust_issuer('{ISSUER}', '{AUDIENCE}', $1 {more})");
    db.superuser().execute(&call, &[jwks]).expect("a superuser");
}

/// The claims of a good token, which no other has: twins are alike in every test, and the server's log is that of all.
pub fn claims(tenant: Uuid, user: Uuid) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (tenant, user) = (tenant.to_string(), user.to_string());
    let nth = COUNT.fetch_add(1, Ordering::Relaxed);
    json!({"iss": ISSUER, "aud": AUDIENCE, "exp": now() + 600, "iat": now(), "tenant_id": tenant, "sub": user, "nth": nth})
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A token with these claims, signed by the provider's key `kid`.
pub fn signed(kid: &str, claims: &Value) -> String {
    let alg = if kid == "hs" { "HS256" } else { "EdDSA" };
    signed_as(kid, &json!({"alg": alg, "kid": kid, "typ": "JWT"}), claims)
}

/// The same with any header.
pub fn signed_as(kid: &str, header: &Value, claims: &Value) -> String {
    let (algorithm, key) = match kid {
        "hs" => (Algorithm::HS256, EncodingKey::from_secret(&SECRET)),
        _ => (Algorithm::EdDSA, EncodingKey::from_ed_der(&PRIVATE)),
    };
    let text = format!("{}.{}", base64(header), base64(claims));
    format!("{text}.{}", crypto::sign(text.as_bytes(), &key, algorithm).expect("a signature"))
}

fn base64(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
