//! `login(token)` and the challenge that a bound token names.

#![expect(unsafe_code, reason = "a raw function, so that its refusal hides the statement")]

use crate::postgres::call::{argument, function_info};
use crate::postgres::raise::raise_from_c;
use crate::tenancy::context::Admission;
use crate::tenancy::{challenge, login, token};
use pgrx::prelude::*;

/// `login(token)`. Nothing here owns memory: the error of the server jumps over this frame, and
/// pgrx's own way of raising one cannot keep the statement, and with it the token, out of the log.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_login(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a guarded function, and a frame without anything to drop.
    unsafe {
        match admit(call) {
            Admission::Admitted => {}
            Admission::Refused => raise_from_c(
                PgLogLevel::ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                c"login refused",
                c"Log in with a token that is valid now, of an issuer that stormops.issuers() lists, for a user of an open tenant.",
                true,
            ),
            Admission::Pinned => raise_from_c(
                PgLogLevel::ERROR,
                PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
                c"this transaction already works in another tenant or for another user",
                c"One transaction, one login: COMMIT or ROLLBACK first.",
                true,
            ),
        }
    }
    pg_sys::Datum::null()
}

function_info!(stormops_login);

#[pg_guard]
unsafe extern "C-unwind" fn admit(call: pg_sys::FunctionCallInfo) -> Admission {
    // SAFETY: a function of one text argument. One that is too long is not even unpacked.
    let token = unsafe {
        argument(call, 0)
            .filter(|token| pg_sys::toast_raw_datum_size(*token) <= token::LONGEST + pg_sys::VARHDRSZ)
            .and_then(|token| <&str>::from_datum(token, false))
    };
    token.map_or(Admission::Refused, login::login)
}

/// The challenge of this transaction: the same until it ends, and never again.
#[pg_extern(sql = false)]
fn login_challenge() -> String {
    challenge::draw()
}
