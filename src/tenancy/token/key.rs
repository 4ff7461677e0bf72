//! Keys that verify tokens, as a provider publishes them (RFC 7517), and what makes one too weak.

use super::json::{self, Json, Object};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

/// The algorithms a token may be signed with.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "EdDSA" => Some(Algorithm::EdDSA),
        "ES256" => Some(Algorithm::ES256),
        "RS256" => Some(Algorithm::RS256),
        "HS256" => Some(Algorithm::HS256),
        _ => None,
    }
}

/// A key, and the one algorithm that it verifies.
pub struct Key {
    pub algorithm: Algorithm,
    key: DecodingKey,
}

impl Key {
    /// True if this key made the signature, in base64url, of the text.
    pub fn verifies(&self, signed: &str, signature: &str) -> bool {
        crypto::verify(signature, signed.as_bytes(), &self.key, self.algorithm).unwrap_or(false)
    }
}

/// A key of a set, checked, with what of it is kept.
pub struct Published {
    pub kid: String,
    pub algorithm: &'static str,
    /// Its JWK, without the members that do not matter.
    pub jwk: String,
}

/// A key of a set that verifies no token here.
pub struct LeftOut {
    pub kid: Option<String>,
    pub algorithm: Option<String>,
    pub why: String,
}

pub const LONGEST_SET: usize = 100_000;
pub const LONGEST_KID: usize = 200;

/// The keys of a JWK set that can verify tokens. Those of other uses and algorithms are left out;
/// one that is weak or malformed is an error, as is a set without any key left.
pub fn published(jwks: &str) -> Result<Vec<Published>, &'static str> {
    if jwks.len() > LONGEST_SET {
        return Err("the set of keys is larger than 100 kB");
    }
    let set = json::object(jwks.as_bytes()).ok_or("the set of keys is not a JSON object")?;
    let Some(Json::Array(keys)) = set.get("keys") else { return Err("the set of keys has no array \"keys\"") };
    let mut published: Vec<Published> = Vec::new();
    for key in keys {
        let Json::Object(jwk) = key else { return Err("a key of the set is not a JSON object") };
        if jwk.get("use").is_some_and(|used| used.text() != Some("sig")) {
            continue;
        }
        let Some((algorithm, members)) = kind(jwk) else { continue };
        if algorithm != "HS256" && jwk.contains_key("d") {
            return Err("a key of the set is a private key");
        }
        let kid = text(jwk, "kid").filter(|kid| (1..=LONGEST_KID).contains(&kid.len()));
        let kid = kid.ok_or("a key of the set has no kid of 1 to 200 bytes")?;
        if published.iter().any(|other| other.kid == kid) {
            return Err("two keys of the set have one kid");
        }
        let jwk = serde_json::Value::from_iter(members.iter().filter_map(|name| Some((*name, text(jwk, name)?))));
        let jwk = jwk.to_string();
        key_of(&jwk)?;
        published.push(Published { kid: kid.to_owned(), algorithm, jwk });
    }
    if published.is_empty() { Err("the set of keys has none that can verify a token") } else { Ok(published) }
}

/// The keys of the same set that are not taken, each with the reason.
pub fn left_out(jwks: &str) -> Vec<LeftOut> {
    let keys = match json::object(jwks.as_bytes()).and_then(|mut set| set.remove("keys")) {
        Some(Json::Array(keys)) => keys,
        _ => Vec::new(),
    };
    let reason = |jwk: &Object| match jwk.get("use") {
        Some(used) if used.text() != Some("sig") => Some("its use is not sig".to_owned()),
        _ if kind(jwk).is_none() => {
            let of = ["kty", "crv", "alg"].iter().filter_map(|member| text(jwk, member)).collect::<Vec<_>>().join(" ");
            Some(format!("{of} is not taken: a token is signed by EdDSA (Ed25519), ES256 (P-256), RS256 or HS256"))
        }
        _ => None,
    };
    let short = |text: &str| text.chars().take(LONGEST_KID).collect::<String>();
    let left = keys.iter().filter_map(|key| match key {
        Json::Object(jwk) => Some(LeftOut {
            why: short(&reason(jwk)?),
            kid: text(jwk, "kid").map(short),
            algorithm: text(jwk, "alg").map(short),
        }),
        _ => None,
    });
    left.collect()
}

/// A key that was kept.
pub fn key_of(jwk: &str) -> Result<Key, &'static str> {
    const MALFORMED: &str = "a key of the set is malformed";
    let jwk = json::object(jwk.as_bytes()).ok_or(MALFORMED)?;
    let (name, _) = kind(&jwk).ok_or(MALFORMED)?;
    let bytes = |member| text(&jwk, member).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(MALFORMED);
    let algorithm = algorithm(name).ok_or(MALFORMED)?;
    let key = match algorithm {
        Algorithm::EdDSA => {
            let x = <[u8; 32]>::try_from(bytes("x")?).map_err(|_| MALFORMED)?;
            if VerifyingKey::from_bytes(&x).map_err(|_| MALFORMED)?.is_weak() {
                return Err("an Ed25519 key of the set is weak: a point of small order");
            }
            DecodingKey::from_ed_der(&x)
        }
        Algorithm::ES256 => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            if (x.len(), y.len()) != (32, 32) {
                return Err(MALFORMED);
            }
            DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat())
        }
        Algorithm::RS256 => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            // A small exponent forgives a careless verifier nothing; no provider uses one.
            if !(256..=512).contains(&n.len()) || n[0] == 0 || bits(&n) < 2048 {
                return Err("an RSA key of the set is weak or too large: its modulus has 2048 to 4096 bits");
            }
            if e != [1, 0, 1] {
                return Err("an RSA key of the set has another exponent than 65537");
            }
            DecodingKey::from_rsa_raw_components(&n, &e)
        }
        _ => {
            let secret = bytes("k")?;
            if secret.len() < 32 || secret.iter().all(|byte| *byte == secret[0]) {
                return Err("an HMAC key of the set is weak: it has at least 32 random bytes");
            }
            DecodingKey::from_secret(&secret)
        }
    };
    // Makes the verifier, which fails for a point that is not on its curve.
    crypto::verify("AA", b"", &key, algorithm).map_err(|_| MALFORMED)?;
    Ok(Key { algorithm, key })
}

/// The algorithm that a JWK is for, and the members that say which key it is.
fn kind(jwk: &Object) -> Option<(&'static str, &'static [&'static str])> {
    let (algorithm, members): (_, &[&str]) = match (text(jwk, "kty")?, text(jwk, "crv")) {
        ("OKP", Some("Ed25519")) => ("EdDSA", &["kty", "crv", "x"]),
        ("EC", Some("P-256")) => ("ES256", &["kty", "crv", "x", "y"]),
        ("RSA", _) => ("RS256", &["kty", "n", "e"]),
        ("oct", _) => ("HS256", &["kty", "k"]),
        _ => return None,
    };
    match jwk.get("alg") {
        // RFC 9864 also names EdDSA over this curve so.
        Some(Json::Text(alg)) if alg == algorithm || (alg == "Ed25519" && algorithm == "EdDSA") => {}
        Some(_) => return None,
        None => {}
    }
    Some((algorithm, members))
}

fn bits(number: &[u8]) -> u32 {
    number.len() as u32 * 8 - number.first().map_or(0, |first| first.leading_zeros())
}

fn text<'a>(jwk: &'a Object, member: &str) -> Option<&'a str> {
    jwk.get(member).and_then(Json::text)
}
