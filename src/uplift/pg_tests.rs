//! What the aggregates and their answers say to SQL, edges included.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;
    use crate::pg_tests::{fails_with, holds};

    #[pg_test]
    fn scores_are_collected_and_described() {
        holds(
            "SELECT (d.n, d.n_missing, d.n_invalid, d.mean, d.median, d.lowest, d.highest, d.distinct_scores)
                 = (4::bigint, 1::bigint, 2::bigint, 2.5::float8, 2.5::float8, 1::float8, 4::float8, 4::bigint)
             FROM (SELECT stormops.score_agg(x) AS s
                   FROM (VALUES (4::float8), (1), (NULL), ('NaN'), ('-Infinity'), (3), (2)) AS v (x)) AS a,
                 stormops.describe(a.s) AS d",
        );
        holds(
            "SELECT bool_and(abs(stormops.mean(s) - m) < 1e-12 AND abs(stormops.stddev(s) - sd) < 1e-12
                 AND stormops.quantile(s, 0.9) = q AND stormops.n(s) = n)
             FROM (SELECT stormops.score_agg(x) AS s, avg(x) AS m, stddev(x) AS sd, count(*) AS n,
                       percentile_cont(0.9) WITHIN GROUP (ORDER BY x) AS q
                   FROM (SELECT (i * 7919 % 1000) / 1000.0::float8 AS x FROM generate_series(1, 5000) AS i) AS v
                   GROUP BY (x * 10)::integer) AS a",
        );
    }

    #[pg_test]
    fn no_rows_are_an_empty_state_and_not_null() {
        holds(
            "SELECT stormops.n(s) = 0 AND stormops.mean(s) IS NULL AND stormops.stddev(s) IS NULL
                 AND stormops.quantile(s, 0.5) IS NULL AND d.mean IS NULL AND d.share_of_mode IS NULL
             FROM (SELECT stormops.score_agg(1) FILTER (WHERE false) AS s) AS a, stormops.describe(a.s) AS d",
        );
        holds(
            "SELECT count(*) = 0 FROM (SELECT stormops.score_agg(1) FILTER (WHERE false) AS s) AS a, stormops.drift(a.s, a.s)",
        );
        holds(
            "SELECT (v.severity, v.low_power) = ('low_power', true) AND v.drift_detected IS NULL AND v.ks IS NULL
             FROM (SELECT stormops.score_agg(1) FILTER (WHERE false) AS none, stormops.score_agg(1) AS one) AS a,
                 stormops.drift_verdict(a.none, a.one) AS v",
        );
        holds("SELECT stormops.n(stormops.rollup(NULL::stormops.score_sketch)) = 0");
    }

    #[pg_test]
    fn a_rollup_is_the_state_of_all_rows() {
        holds(
            "SELECT (SELECT stormops.rollup(s)::bytea FROM (
                 SELECT stormops.score_agg(x) AS s FROM generate_series(1, 1000) AS i, LATERAL (SELECT sin(i) AS x) AS v GROUP BY i % 7
             ) AS d) = (SELECT stormops.score_agg(sin(i))::bytea FROM generate_series(1, 1000) AS i)",
        );
        holds(
            "SELECT (SELECT stormops.rollup(s)::bytea FROM (
                 SELECT stormops.uplift_agg(sin(i), i % 2 = 0, i % 3, 0.5) AS s FROM generate_series(1, 1000) AS i GROUP BY i % 7
             ) AS d) = (SELECT stormops.uplift_agg(sin(i), i % 2 = 0, i % 3, 0.5)::bytea FROM generate_series(1, 1000) AS i)",
        );
        // A running state: a window function finishes the same state again and again.
        holds(
            "SELECT array_agg(n) = ARRAY[1, 2, 3]::bigint[]
             FROM (SELECT stormops.n(stormops.score_agg(4 - i) OVER (ORDER BY i)) AS n FROM generate_series(1, 3) AS i) AS w",
        );
    }

    #[pg_test]
    fn drift_is_told_with_size_and_significance() {
        holds(
            "SELECT (same.severity, moved.severity, few.severity, small.severity) = ('none', 'drift', 'low_power', 'watch')
                 AND moved.drift_detected AND abs(moved.mean_shift - 0.05) < 1e-9 AND abs(moved.wasserstein - 0.05) < 1e-9
             FROM (SELECT stormops.score_agg(x) AS s, stormops.score_agg(x + 0.05) AS more, stormops.score_agg(x + 0.005) AS bit,
                       stormops.score_agg(x + 0.01) FILTER (WHERE i % 50 = 0 AND i <= 997) AS few
                   FROM generate_series(1, 20000) AS i, LATERAL (SELECT i % 997 / 997.0::float8 * 0.4 AS x) AS v) AS a,
                 stormops.drift_verdict(a.s, a.s) AS same, stormops.drift_verdict(a.more, a.s) AS moved,
                 stormops.drift_verdict(a.few, a.s) AS few, stormops.drift_verdict(a.bit, a.s, tolerance => 0.1) AS small",
        );
        holds(
            "SELECT count(*) = 18 AND bool_and(d.p_value BETWEEN 0 AND 1) AND bool_and(d.meaning <> '')
             FROM (SELECT stormops.score_agg(sin(i)) AS a, stormops.score_agg(cos(i * i)) AS b FROM generate_series(1, 100) AS i) AS s,
                 stormops.drift(s.a, s.b) AS d",
        );
    }

    #[pg_test]
    fn a_trial_has_a_status_for_every_edge() {
        for (rows, status) in [
            ("(NULL::float8, true, 1::float8)", "no_rows"),
            ("(0.1, true, 1), (0.2, true, 0)", "no_control"),
            ("(0.1, false, 1)", "no_treatment"),
            ("(0.1, false, 0), (0.2, true, 0)", "no_events"),
            ("(0.1, false, 1), (0.2, true, 1)", "all_events"),
        ] {
            holds(&format!(
                "SELECT m.status = '{status}' AND m.small_sample
                     AND num_nonnulls(m.uplift, m.uplift_se, m.qini, m.auuc, m.qini_area, m.uplift_at_10, m.autoc, m.autoc_se,
                         m.rate_qini, m.slope, m.calibration_error) = 0
                 FROM (SELECT stormops.uplift_agg(score, treated, outcome) AS s FROM (VALUES {rows}) AS v (score, treated, outcome)) AS a,
                     stormops.uplift_metrics(a.s) AS m"
            ));
        }
        holds(
            "SELECT (m.status, m.n, m.n_invalid, m.qini, m.autoc) = ('equal_scores', 100::bigint, 2::bigint, 0::float8, 0::float8)
                 AND m.autoc_se IS NULL AND m.autoc_p IS NULL AND m.slope IS NULL AND m.uplift_at_10 = m.uplift
             FROM (SELECT stormops.uplift_agg(0.2, i % 2 = 0, (i % 5 = 0)::integer, CASE WHEN i < 3 THEN i ELSE 0.5 END)
                   AS s FROM generate_series(1, 102) AS i) AS a, stormops.uplift_metrics(a.s) AS m",
        );
    }

    #[pg_test]
    fn a_bin_counts_the_arm_that_it_has() {
        holds(
            "SELECT (treated, control, treated_rate) = (2::bigint, 0::bigint, 0.5::float8) AND num_nonnulls(control_rate, uplift) = 0
             FROM (SELECT stormops.uplift_agg(i, i > 2, i % 2) AS s FROM generate_series(1, 4) AS i) AS a, stormops.bins(a.s, 2)
             WHERE bin = 1",
        );
    }

    #[pg_test]
    fn a_share_is_of_whole_cases() {
        // Of a hundred, 0.29 is 29, not 28.999...
        holds(
            "SELECT abs(stormops.uplift_at(s, 0.29) - (14.0 / 15 - 0)) < 1e-12
             FROM (SELECT stormops.uplift_agg(-i, i % 2 = 1, (i % 2 = 1 AND i <= 28)::integer) AS s FROM generate_series(1, 100) AS i) AS a",
        );
        holds(
            "SELECT abs(stormops.stddev(stormops.score_agg(1e15 + g)) - 3.0276503540974917) < 1e-12 FROM generate_series(1, 10) AS g",
        );
        holds(
            "SELECT v.severity = 'low_power' AND abs(v.p_ks - 2.0 / 15) < 1e-12
             FROM (SELECT stormops.score_agg(x) AS s FROM unnest('{0.1,0.2}'::float8[]) AS x) AS a,
                 (SELECT stormops.score_agg(x) AS s FROM unnest('{0.3,0.4,0.5,0.6}'::float8[]) AS x) AS b,
                 stormops.drift_verdict(a.s, b.s) AS v",
        );
    }

    #[pg_test]
    fn a_trial_is_ranked() {
        holds(
            "SELECT m.status = 'ok' AND NOT m.weighted AND m.qini = stormops.qini(a.s) AND m.auuc = stormops.auuc(a.s)
                 AND m.uplift_at_30 = stormops.uplift_at(a.s, 0.3) AND m.autoc = r.estimate AND m.autoc_p = r.p_value
                 AND m.rate_qini = q.estimate AND q.estimate > 0 AND stormops.n(a.s) = 2000
                 AND (SELECT sum(n) FROM stormops.bins(a.s)) = 2000
                 AND (SELECT count(*) FROM stormops.curve(a.s, 20)) = 21
                 AND (SELECT qini = qini_random FROM stormops.curve(a.s) WHERE share = 1)
             FROM (SELECT stormops.uplift_agg(i / 2000.0, i % 2 = 0, (i * 7919 % 2000 < i / 2 AND i % 2 = 0)::integer, 0.5) AS s
                   FROM generate_series(1, 2000) AS i) AS a,
                 stormops.uplift_metrics(a.s) AS m, stormops.rate(a.s) AS r, stormops.rate(a.s, 'qini') AS q",
        );
    }

    #[pg_test]
    fn wrong_arguments_are_refused() {
        let code = PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE;
        fails_with(code, "SELECT stormops.quantile(stormops.score_agg(1), 1.5)");
        fails_with(code, "SELECT stormops.uplift_at(stormops.uplift_agg(1, true, 1), 0)");
        fails_with(code, "SELECT stormops.rate(stormops.uplift_agg(1, true, 1), 'auc')");
        fails_with(code, "SELECT stormops.curve(stormops.uplift_agg(1, true, 1), 0)");
        fails_with(code, "SELECT stormops.bins(stormops.uplift_agg(1, true, 1), 10001)");
        fails_with(code, "SELECT stormops.drift_verdict(s, s, 1) FROM (SELECT stormops.score_agg(1) AS s) AS a");
        fails_with(PgSqlErrorCode::ERRCODE_CHECK_VIOLATION, "SELECT stormops.n('\\x00'::stormops.score_sketch)");
        fails_with(
            PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
            "SELECT stormops.uplift_agg(1, true, 1)::bytea::stormops.score_sketch",
        );
        fails_with(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "SET LOCAL stormops.max_aggregate_rows = 9; SELECT stormops.score_agg(i) FROM generate_series(1, 10) AS i",
        );
    }
}
