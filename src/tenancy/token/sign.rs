//! Tokens of the database's own, for an installation without a provider: Ed25519.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::json;

/// The JWK of the public half of a seed of 32 random bytes.
pub fn public_jwk(seed: &[u8; 32]) -> String {
    let public = SigningKey::from_bytes(seed).verifying_key();
    json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public.as_bytes())}).to_string()
}

/// A token of these claims, a JSON object.
pub fn sign(seed: &[u8; 32], kid: &str, claims: &str) -> Option<String> {
    let header = json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    // PKCS #8 around a seed, as RFC 8410, section 7, prints it.
    const PKCS8: [u8; 16] = [0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34, 4, 32];
    let key = EncodingKey::from_ed_der(&[&PKCS8[..], seed].concat());
    let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::EdDSA).ok()?;
    Some(format!("{signed}.{signature}"))
}
