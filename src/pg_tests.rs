//! What the functions in Rust answer to SQL. These run as a superuser in one transaction, so they
//! say nothing of isolation: that is `pgrx-tests/`.

use pgrx::prelude::*;

/// A query that answers true.
#[track_caller]
pub fn holds(sql: &str) {
    assert_eq!(Spi::get_one::<bool>(sql), Ok(Some(true)), "{sql}");
}

/// A statement that fails with this SQLSTATE.
#[track_caller]
pub fn fails_with(code: PgSqlErrorCode, sql: &'static str) {
    let failed =
        PgTryBuilder::new(|| Spi::run(sql).map(|()| false).unwrap_or(false)).catch_when(code, |_| true).execute();
    assert!(failed, "{sql} should fail with {code:?}");
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn ids_are_version_7_and_in_the_order_of_time() {
        holds(
            "SELECT bool_and(substr(id::text, 15, 1) = '7') FROM (SELECT stormops.new_id() AS id FROM generate_series(1, 1000)) AS i",
        );
        holds(
            "SELECT array_agg(id) = array_agg(id ORDER BY id) FROM (SELECT stormops.new_id() AS id FROM generate_series(1, 1000)) AS i",
        );
        holds(
            "SELECT stormops_internal.first_id_at((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1) < stormops.new_id()",
        );
        holds(
            "SELECT stormops_internal.first_id_at((extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000) > stormops.new_id()",
        );
    }

    #[pg_test]
    fn a_month_begins_with_its_first_id() {
        holds("SELECT stormops_internal.milliseconds_of(stormops_internal.first_id_at(1790000000123)) = 1790000000123");
        holds("SELECT stormops_internal.first_id_of('2026-11-01') = '01a19467-e800-0000-0000-000000000000'");
    }

    #[pg_test]
    fn draws_and_attitudes_are_functions_of_their_arguments() {
        holds(
            "SELECT stormops.draw('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
                '00000000-0000-0000-0000-000000000003', 'holdout') = 0.45441820666352695",
        );
        holds("SELECT stormops.draw(NULL, NULL, NULL, 'holdout') IS NULL");
        holds(
            "SELECT stormops_internal.attitude(0.5) = 0 AND stormops_internal.attitude(1) IS NULL AND stormops_internal.attitude('NaN') IS NULL",
        );
    }

    #[pg_test]
    fn a_tenant_must_be_named_and_exist() {
        fails_with(PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_INITIATION, "SELECT stormops.current_tenant()");
        fails_with(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "SET LOCAL app.current_tenant = 'abc'");
        let set = "SET LOCAL app.current_tenant = '00000000-0000-0000-0000-000000000001'";
        assert_eq!(Spi::run(set), Ok(()));
        fails_with(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "SELECT stormops.current_tenant()");
    }

    #[pg_test]
    fn only_the_owners_functions_visit_all_tenants() {
        fails_with(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, "SELECT stormops_internal.visit_all_tenants()");
    }
}
