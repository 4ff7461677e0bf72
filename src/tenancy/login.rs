//! From a signed token to a tenant, a user and a role for the transaction.

#![expect(unsafe_code, reason = "a callback of the server, and its clock")]

use super::challenge;
use super::context::{self, Admission};
use super::entry::Entry;
use super::token::{self, Trust, key};
use crate::postgres::lookup::{By, Key, Row, Schema, table, with_row};
use crate::postgres::raise::raise_from_c;
use crate::postgres::time;
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

/// Kept at most; a backend of more issuers and keys begins anew.
const MOST_KEYS: usize = 256;

type Keys = HashMap<(String, String), Rc<Trust>>;
thread_local! {
    /// The trusted keys that this backend has used, by issuer and kid.
    static KEYS: RefCell<Keys> = RefCell::default();
    /// The tables that they were read from, or None once one of these changed.
    static TABLES: Cell<Option<[pg_sys::Oid; 2]>> = const { Cell::new(None) };
}

/// Registers the callback. Called once, when the library loads.
pub fn init() {
    // SAFETY: the callback lives as long as the library.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_change), pg_sys::Datum::null()) };
}

unsafe extern "C-unwind" fn on_change(_: pg_sys::Datum, table: pg_sys::Oid) {
    if TABLES.get().is_some_and(|tables| table == pg_sys::InvalidOid || tables.contains(&table)) {
        TABLES.set(None);
    }
}

/// Lets this transaction in where the token says, if it is one that holds. Why it does not goes to the server's log.
pub fn login(token: &str) -> Admission {
    let login = match verified(token) {
        Ok(login) => login,
        Err(fault) => return refused(fault),
    };
    let entry = Entry::Token { limit: login.limit, expires: time::from_unix(login.expires) };
    match context::admit(login.tenant, Some(login.user), entry) {
        Admission::Refused => refused(c"its tenant is closed or does not exist, or its user is no member"),
        other => other,
    }
}

/// Nobody who connects reads the server's log, and `client_min_messages` cannot ask for this. Without the statement, in which
/// a token may stand.
fn refused(fault: &'static CStr) -> Admission {
    // SAFETY: a line of the log raises no error.
    unsafe {
        raise_from_c(
            PgLogLevel::LOG_SERVER_ONLY,
            PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            c"login refused, of which the caller is not told the reason",
            fault,
            true,
        );
    }
    Admission::Refused
}

fn verified(token: &str) -> Result<token::Login, &'static CStr> {
    let decoded = token::decode(token)
        .ok_or(c"it is no token: longer than 8192 bytes, not three parts, or its JSON is not strict")?;
    let unverified =
        decoded.unverified().ok_or(c"its header is not taken: typ, alg, kid, or a member that would choose the key")?;
    let trust = trusted(unverified.issuer, unverified.kid)
        .ok_or(c"its issuer is not trusted, or its kid is no key of the issuer: stormops.issuers()")?;
    // SAFETY: reads the clock.
    let now = time::to_unix(unsafe { pg_sys::GetCurrentTimestamp() });
    unverified.verify(&trust, now, challenge::current().as_deref())
}

/// The key that an issuer is trusted with; None if it is not, at this moment.
fn trusted(issuer: &str, kid: &str) -> Option<Rc<Trust>> {
    // A login that finds everything in its caches takes no lock, and so would not hear of a
    // revocation. SAFETY: what every lock of a table does.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    let tables = TABLES.get().unwrap_or_else(|| {
        KEYS.with_borrow_mut(Keys::clear);
        // Set before they are read: a message that comes during that is not lost.
        let tables = [table(Schema::Internal, c"token_issuers"), table(Schema::Internal, c"token_keys")];
        TABLES.set(Some(tables));
        tables
    });
    let name = (issuer.to_owned(), kid.to_owned());
    if let Some(trust) = KEYS.with_borrow(|keys| keys.get(&name).cloned()) {
        return Some(trust);
    }
    let trust = Rc::new(read(tables, issuer, kid)?);
    KEYS.with_borrow_mut(|keys| {
        if keys.len() >= MOST_KEYS {
            keys.clear();
        }
        keys.insert(name, trust.clone());
    });
    Some(trust)
}

fn read([issuers, keys]: [pg_sys::Oid; 2], issuer: &str, kid: &str) -> Option<Trust> {
    let by_issuer = (c"issuer", Key::Text(issuer));
    let kept = |row: &Row| Some((row.get::<String>(c"jwk")?, row.get::<i64>(c"not_after")));
    let (jwk, not_after) = with_row(keys, By::PrimaryKey, &[by_issuer, (c"kid", Key::Text(kid))], kept)??;
    let key = key::key_of(&jwk).ok()?;
    let claims = |row: &Row| {
        let claim = |column| row.get::<String>(column);
        Some((
            claim(c"audience")?,
            row.get(c"bound")?,
            claim(c"tenant_claim")?,
            claim(c"user_claim")?,
            claim(c"role_claim")?,
        ))
    };
    let (audience, bound, tenant_claim, user_claim, role_claim) =
        with_row(issuers, By::PrimaryKey, &[by_issuer], claims)??;
    Some(Trust { key, audience, bound, not_after: not_after.map(time::to_unix), tenant_claim, user_claim, role_claim })
}
