//! Signed tokens (RFC 7519 in the compact form of RFC 7515): what is read of one, and when it holds.
//!
//! Imports nothing of Postgres. The library `jsonwebtoken` verifies the signature; what is signed
//! is read here, more strictly than its reader does: nothing twice, nothing lenient (RFC 8725).

mod json;
pub mod key;
pub mod sign;
#[cfg(test)]
mod tests;

use super::role::{Id, Role};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use json::{Json, Object};
use jsonwebtoken::Algorithm;
use key::Key;
use std::ffi::CStr;

/// Longer ones are not looked at. In bytes.
pub const LONGEST: usize = 8192;
/// By how much the clocks of issuer and server may differ. In seconds.
pub const LEEWAY: i64 = 30;
/// The furthest end of a token from now. In seconds.
pub const LONGEST_LIFE: i64 = 86_400;

/// Header members that would choose the key or change the format.
const REFUSED: [&str; 9] = ["crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "cty"];

/// A token whose signature nobody has looked at yet.
pub struct Unverified<'a> {
    pub issuer: &'a str,
    pub kid: &'a str,
    signed: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    claims: &'a Object,
}

/// The decoded parts of a token, which `Unverified` borrows from.
pub struct Decoded<'a> {
    signed: &'a str,
    signature: &'a str,
    header: Object,
    claims: Object,
}

/// What an installation trusts an issuer's key for.
pub struct Trust {
    pub key: Key,
    pub audience: String,
    /// True if a token must name this transaction's challenge.
    pub bound: bool,
    /// When the key ends, in seconds since 1970.
    pub not_after: Option<i64>,
    pub tenant_claim: String,
    pub user_claim: String,
    pub role_claim: String,
}

/// Whom a verified token lets in.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    pub tenant: Id,
    pub user: Id,
    /// The user may do no more than this role may.
    pub limit: Option<Role>,
    /// In seconds since 1970, the leeway included.
    pub expires: i64,
}

pub fn decode(token: &str) -> Option<Decoded<'_>> {
    if token.len() > LONGEST {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let part = |text: &str| json::object(&URL_SAFE_NO_PAD.decode(text).ok()?);
    Some(Decoded { signed, signature, header: part(header)?, claims: part(claims)? })
}

impl Decoded<'_> {
    pub fn unverified(&self) -> Option<Unverified<'_>> {
        let header = &self.header;
        let typed = match header.get("typ") {
            None => true,
            Some(Json::Text(typ)) => typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt"),
            Some(_) => false,
        };
        if !typed || REFUSED.iter().any(|member| header.contains_key(*member)) {
            return None;
        }
        Some(Unverified {
            issuer: self.claims.get("iss")?.text()?,
            kid: header.get("kid")?.text().filter(|kid| kid.len() <= key::LONGEST_KID)?,
            signed: self.signed,
            signature: self.signature,
            algorithm: key::algorithm(header.get("alg")?.text()?)?,
            claims: &self.claims,
        })
    }
}

impl Unverified<'_> {
    /// `now`: seconds since 1970; `challenge`: this transaction's, if it asked for one. Error: what does not hold, for
    /// operators only; whoever sent the token learns nothing of it.
    pub fn verify(&self, trust: &Trust, now: i64, challenge: Option<&str>) -> Result<Login, &'static CStr> {
        if self.algorithm != trust.key.algorithm {
            return Err(c"its alg is not that of the key");
        }
        if !trust.key.verifies(self.signed, self.signature) {
            return Err(c"its signature is not the key's");
        }
        let expires =
            self.claims.get("exp").and_then(|end| end.seconds(f64::floor)).ok_or(c"it has no exp that is a number")?;
        let begun = |claim| match self.claims.get(claim) {
            None => true,
            Some(begin) => begin.seconds(f64::ceil).is_some_and(|begin| begin <= now.saturating_add(LEEWAY)),
        };
        let challenged = challenge.is_some() && self.claims.get("nonce").and_then(Json::text) == challenge;
        let conditions = [
            (now < expires.saturating_add(LEEWAY), c"it has expired"),
            (expires <= now.saturating_add(LONGEST_LIFE), c"it lives for more than a day"),
            (trust.not_after.is_none_or(|end| now < end), c"its key has ended"),
            (begun("nbf"), c"its nbf is not reached, or no number"),
            (begun("iat"), c"its iat lies in the future, or is no number"),
            (self.is_for(&trust.audience), c"its aud is not the audience that the issuer is trusted for"),
            (challenged || !trust.bound, c"its nonce is not this transaction's login_challenge()"),
        ];
        if let Some((_, fault)) = conditions.iter().find(|(holds, _)| !holds) {
            return Err(fault);
        }
        let limit = match self.claims.get(&trust.role_claim) {
            None => None,
            Some(role) => Some(role.text().and_then(Role::parse).ok_or(c"its role claim names no role of a tenant")?),
        };
        let id = |claim: &str| canonical(self.claims.get(claim)?.text()?);
        let tenant = id(&trust.tenant_claim).ok_or(c"its tenant claim is missing, or no UUID in small letters")?;
        let user = id(&trust.user_claim).ok_or(c"its user claim is missing, or no UUID in small letters")?;
        Ok(Login { tenant, user, limit, expires: expires.saturating_add(LEEWAY) })
    }

    fn is_for(&self, audience: &str) -> bool {
        match self.claims.get("aud") {
            Some(Json::Text(aud)) => aud == audience,
            Some(Json::Array(auds)) => auds.iter().any(|aud| aud.text() == Some(audience)),
            _ => false,
        }
    }
}

/// A UUID in the one form that is written: 36 characters, lower case.
fn canonical(text: &str) -> Option<Id> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    let mut buffer = uuid::Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut buffer) == text).then(|| id.into_bytes())
}
