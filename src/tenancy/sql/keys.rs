//! Keys as SQL handles them: a provider's set, and the database's own to sign with.

use crate::postgres::memory::need;
use crate::postgres::raise::refuse;
use crate::tenancy::challenge;
use crate::tenancy::token::{key, sign};
use pgrx::prelude::*;

/// The keys of a JWK set that can verify tokens, or an error if one is weak or malformed; then those that are left out.
#[expect(clippy::type_complexity, reason = "a row of SQL")]
#[pg_extern(sql = false)]
fn read_jwks(
    jwks: &str,
) -> TableIterator<
    'static,
    (
        name!(kid, Option<String>),
        name!(algorithm, Option<String>),
        name!(jwk, Option<String>),
        name!(left_out, Option<String>),
    ),
> {
    need(jwks.len().min(key::LONGEST_SET) * 100);
    let published = key::published(jwks).unwrap_or_else(|fault| {
        refuse(fault, "Take the provider's set as it is, from its jwks_uri; docs/tenancy.md lists what a key must be.")
    });
    let taken = published.into_iter().map(|key| (Some(key.kid), Some(key.algorithm.to_owned()), Some(key.jwk), None));
    let left = key::left_out(jwks).into_iter().map(|key| (key.kid, key.algorithm, None, Some(key.why)));
    TableIterator::new(taken.chain(left))
}

/// A new Ed25519 key pair: the private half to keep, the public one as a JWK.
#[pg_extern(sql = false)]
fn new_signing_key() -> TableIterator<'static, (name!(private_key, Vec<u8>), name!(jwk, String))> {
    let seed = challenge::random();
    TableIterator::once((seed.to_vec(), sign::public_jwk(&seed)))
}

/// A token of these claims, signed.
#[pg_extern(sql = false)]
fn sign_token(private_key: &[u8], kid: &str, claims: &str) -> Option<String> {
    sign::sign(private_key.try_into().ok()?, kid, claims)
}
