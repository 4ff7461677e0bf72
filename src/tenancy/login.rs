//! `login(token)`: from a signed token to a tenant, a user and a role for the transaction.

#![expect(unsafe_code, reason = "a raw function, so that its refusal hides the statement")]

use super::challenge;
use super::context::{self, Admission};
use super::entry::Entry;
use super::lookup::{By, Key, Row, Schema, table, with_row};
use super::token::{self, Trust, key};
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::rc::Rc;

/// Seconds from 1970 to 2000, where the server's time begins.
const EPOCH: i64 = 946_684_800;
/// Kept at most; a backend of more issuers and keys begins anew.
const MOST_KEYS: usize = 256;

type Keys = HashMap<(String, String), Rc<Trust>>;
thread_local! {
    /// The trusted keys that this backend has used, by issuer and kid.
    static KEYS: RefCell<Keys> = RefCell::default();
    /// The tables that they were read from, or None once one of these changed.
    static TABLES: Cell<Option<[pg_sys::Oid; 2]>> = const { Cell::new(None) };
}

pub fn on_change(table: pg_sys::Oid) {
    if TABLES.get().is_some_and(|tables| table == pg_sys::InvalidOid || tables.contains(&table)) {
        TABLES.set(None);
    }
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
    let not_after = not_after.map(|end| end.div_euclid(1_000_000) + EPOCH);
    with_row(issuers, By::PrimaryKey, &[by_issuer], |row: &Row| {
        Some((
            row.get(c"audience")?,
            row.get(c"bound")?,
            row.get(c"tenant_claim")?,
            row.get(c"user_claim")?,
            row.get(c"role_claim")?,
        ))
    })?
    .map(|(audience, bound, tenant_claim, user_claim, role_claim)| Trust {
        key,
        audience,
        bound,
        not_after,
        tenant_claim,
        user_claim,
        role_claim,
    })
}

fn verified(token: &str) -> Option<token::Login> {
    let decoded = token::decode(token)?;
    let unverified = decoded.unverified()?;
    let trust = trusted(unverified.issuer, unverified.kid)?;
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() }.div_euclid(1_000_000) + EPOCH;
    unverified.verify(&trust, now, challenge::current().as_deref())
}

#[pg_guard]
unsafe extern "C-unwind" fn admit(call: pg_sys::FunctionCallInfo) -> Admission {
    // SAFETY: a function of one text argument.
    let token = unsafe {
        let argument = pgrx::fcinfo::pg_get_nullable_datum(call, 0);
        if !argument.isnull && pg_sys::toast_raw_datum_size(argument.value) > token::LONGEST + 4 {
            None // not even unpacked
        } else {
            <&str>::from_datum(argument.value, argument.isnull)
        }
    };
    let Some(login) = token.and_then(verified) else { return Admission::Refused };
    let expires = (login.expires - EPOCH) * 1_000_000;
    context::admit(login.tenant, Some(login.user), Entry::Token { limit: login.limit, expires })
}

/// `login(token)`. Nothing here owns memory: the error of the server jumps over this frame, and
/// pgrx's own way of raising one cannot keep the statement, and with it the token, out of the log.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_login(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a guarded function, and texts that outlive the call.
    unsafe {
        match admit(call) {
            Admission::Admitted => {}
            Admission::Refused => refuse(
                PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                c"login refused",
                c"Log in with a token that is valid now, of an issuer that stormops.issuers() lists, for a user of an open tenant.",
            ),
            Admission::Pinned => refuse(
                PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
                c"this transaction already works in another tenant or for another user",
                c"One transaction, one login: COMMIT or ROLLBACK first.",
            ),
        }
    }
    pg_sys::Datum::null()
}

/// What ereport() is in C, with errhidestmt().
unsafe fn refuse(code: PgSqlErrorCode, message: &'static CStr, hint: &'static CStr) {
    unsafe extern "C-unwind" {
        fn errstart(level: c_int, domain: *const c_char) -> bool;
        fn errcode(code: c_int) -> c_int;
        fn errmsg(format: *const c_char, ...) -> c_int;
        fn errhint(format: *const c_char, ...) -> c_int;
        fn errhidestmt(hide: bool) -> c_int;
        fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    }
    // SAFETY: texts without a per cent sign, and a frame without anything to drop.
    unsafe {
        if errstart(PgLogLevel::ERROR as c_int, std::ptr::null()) {
            errcode(code as c_int);
            errmsg(message.as_ptr());
            errhint(hint.as_ptr());
            errhidestmt(true);
            errfinish(c"login.rs".as_ptr(), line!() as c_int, c"stormops_login".as_ptr());
        }
    }
}
