//! What a caller sizes ends in an error of the statement, and whatever else finds no memory in the end of its own session.

#![expect(unsafe_code, reason = "bounds this process's address space")]
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::pg_tests::{fails_with, holds};
use pgrx::prelude::*;
use std::ffi::CStr;
use std::process::Command;

/// Bounds the address space while it lives.
struct Bound(libc::rlimit);

impl Bound {
    /// To so many bytes more than it takes now.
    fn leaving(bytes: u64) -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: plain calls of the operating system.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as u64;
            assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &mut before), 0);
            let bound = libc::rlimit { rlim_cur: pages * page + bytes, ..before };
            assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &bound), 0);
        }
        Self(before)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // SAFETY: gives back what was there.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &self.0) };
    }
}

/// A statement that fails with this SQLSTATE where so many megabytes are left.
#[track_caller]
fn fails_within(megabytes: u64, code: PgSqlErrorCode, sql: &'static str) {
    // The compiler of expressions is a library of a hundred megabytes.
    assert_eq!(Spi::run("SET LOCAL jit = off"), Ok(()));
    let _bound = Bound::leaving(megabytes << 20);
    fails_with(code, sql);
}

/// The answer of another session of this server, errors included.
fn other_session(statements: &[&str]) -> String {
    let show = |setting| Spi::get_one::<String>(setting).unwrap().unwrap();
    // SAFETY: where this server was started from.
    let server = unsafe { CStr::from_ptr((&raw const pg_sys::my_exec_path).cast()) }.to_str().unwrap();
    let mut psql = Command::new(server.replace("/bin/postgres", "/bin/psql"));
    psql.args(["-X", "-v", "VERBOSITY=verbose", "-h", &show("SHOW unix_socket_directories"), "-p", &show("SHOW port")]);
    psql.args(["-d", &show("SELECT current_database()::text"), "-U", &show("SELECT session_user::text")]);
    statements.iter().for_each(|statement| {
        psql.args(["-c", statement]);
    });
    let output = psql.output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[pg_schema]
mod tests {
    use super::*;

    /// Leaves this session so many megabytes.
    #[pg_extern]
    fn leave_memory(megabytes: i64) {
        std::mem::forget(Bound::leaving((megabytes as u64) << 20));
    }

    /// Takes memory without asking before.
    #[pg_extern]
    fn take_memory(megabytes: i64) -> i64 {
        std::hint::black_box(Vec::<u8>::with_capacity((megabytes as usize) << 20)).capacity() as i64
    }

    #[pg_test]
    fn memory_that_was_not_asked_for_ends_its_own_session_only() {
        let answer = other_session(&[
            "SELECT tests.take_memory(100)",
            "SELECT tests.leave_memory(50)",
            "SELECT 'still ' || 'there'",
            "SELECT tests.take_memory(100)",
            "SELECT 'not ' || 'reached'",
        ]);
        assert!(answer.contains("104857600") && answer.contains("still there"), "{answer}");
        assert!(answer.contains("FATAL:  53200: out of memory") && !answer.contains("not reached"), "{answer}");
        holds("SELECT true");
    }

    #[pg_test]
    fn no_error_tells_where_it_came_from() {
        assert_eq!(std::backtrace::Backtrace::capture().status(), std::backtrace::BacktraceStatus::Disabled);
    }

    #[pg_test]
    fn rows_of_an_aggregate_are_asked_for() {
        let code = PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY;
        fails_within(30, code, "SELECT stormops.score_agg(i) FROM generate_series(1, 9000000) AS i");
        fails_within(30, code, "SELECT stormops.uplift_agg(i, true, 1) FROM generate_series(1, 9000000) AS i");
        fails_within(30, code, "SELECT stormops_internal.repeats_agg(i) FROM generate_series(1, 9000000) AS i");
        fails_within(
            30,
            code,
            "SELECT stormops_internal.groups_outside(md5(i::text)::uuid, now(), i, 0, 1) FROM generate_series(1, 900000) AS i",
        );
        holds("SELECT stormops.n(stormops.score_agg(i)) = 1000 FROM generate_series(1, 1000) AS i");
    }

    #[pg_test]
    fn arrays_are_bounded_and_asked_for() {
        let filled = "CREATE TEMPORARY TABLE filled AS SELECT array_fill(0.5::float8, ARRAY[2000000]) AS a";
        assert_eq!(Spi::run(filled), Ok(()));
        let code = PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY;
        fails_within(120, code, "SELECT stormops.compare_clusters(a, a, a, a) FROM filled");
        fails_within(120, code, "SELECT stormops.benjamini_hochberg(a) FROM filled");
        let code = PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED;
        fails_with(code, "SELECT stormops.benjamini_hochberg(array_fill(0.5::float8, ARRAY[10000001]))");
        fails_with(code, "SELECT stormops_internal.forecast_days(array_fill(0.5::float8, ARRAY[10000001]), 1)");
    }

    #[pg_test]
    fn documents_are_bounded_in_size_and_depth() {
        for function in ["print_invoice", "print_invoice_html", "draw_health_report", "draw_platform_report"] {
            for document in [
                "repeat('[', 5000) || repeat(']', 5000)",
                "'{\"issues\": [{\"evidence\":' || repeat('[', 130) || repeat(']', 130) || '}]}'",
            ] {
                let sql = format!("SELECT stormops_internal.{function}(({document})::jsonb)");
                fails_with(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, sql.leak());
            }
            let sql =
                format!("SELECT stormops_internal.{function}(jsonb_build_object('issues', repeat('x', 9000000)))");
            fails_with(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, sql.leak());
            let sql =
                format!("SELECT stormops_internal.{function}(jsonb_build_object('issues', repeat('x', 4000000)))");
            fails_within(100, PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, sql.leak());
        }
        holds(
            "SELECT outcome = 'dead' AND detail = 'not an alert'
             FROM stormops_internal.post_alert('webhook', 'https://x.example/', '', (repeat('[', 5000) || repeat(']', 5000))::jsonb, 1000)",
        );
    }
}
