//! What the statistics answer to SQL: one row for every case, a status and never an error.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;
    use crate::pg_tests::{fails_with, holds};

    #[pg_test]
    fn aggregate_is_the_one_of_postgres() {
        holds(
            "SELECT abs(m.mean - avg) + abs(m.variance - var) + abs(m.covariance - cov) + abs(m.covariate_variance - var_x) < 1e-6
            FROM (SELECT stormops.arm_agg(y, x) AS state, avg(y), var_samp(y) AS var, covar_samp(y, x) AS cov, var_samp(x) AS var_x
                FROM (SELECT sqrt(i) AS y, i % 7.5 AS x FROM generate_series(1, 10000) AS i) AS d (y, x)) AS s,
                stormops.arm_moments(s.state) AS m",
        );
        holds("SELECT stormops.arm_agg(y) = '{2,2,2,2,0,0,0}' FROM unnest('{1,NaN,NULL,3,Infinity}'::float8[]) AS y");
        holds("SELECT stormops.arm_agg(NULL, 1) = '{0,0,0,0,0,0,0}' AND stormops.arm_rollup(NULL) IS NULL");
        holds(
            "SELECT max(abs(a - b)) < 1e-6 FROM
                (SELECT stormops.arm_agg(i, i % 9) AS whole FROM generate_series(1, 1000) AS i) AS w,
                (SELECT stormops.arm_rollup(part) AS merged FROM (
                    SELECT stormops.arm_agg(i, i % 9) AS part FROM generate_series(1, 1000) AS i GROUP BY i % 13) AS p) AS m,
                unnest(whole, merged) AS u (a, b)",
        );
    }

    #[pg_test]
    fn aggregate_takes_no_foreign_state() {
        fails_with(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "SELECT stormops_internal.arm_accum('{0,0,0,0,0,0,0}', 1)",
        );
        fails_with(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "SELECT stormops_internal.arm_combine('{1}', '{1,2}')",
        );
        fails_with(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "SELECT stormops.arm_moments('{1,0,NaN,0,0,0,0}')");
        fails_with(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            "SELECT stormops.arm_agg(y) FROM unnest('{1e200,-1e200}'::float8[]) AS y",
        );
        let made = Spi::run(
            "CREATE AGGREGATE broken(double precision) (
                SFUNC = stormops_internal.arm_accum, STYPE = double precision[], INITCOND = '{1,2}')",
        );
        assert_eq!(made, Ok(()));
        fails_with(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "SELECT broken(1)");
    }

    #[pg_test]
    fn a_missing_arm_is_a_status_and_no_number() {
        for (counts, status) in
            [("3, 9, 0, 0", "no_control"), ("NULL, NULL, 3, 9", "no_treatment"), ("0, 0, 0, 0", "no_outcomes")]
        {
            holds(&format!(
                "SELECT status = '{status}' AND num_nonnulls(lift, lift_low, relative_lift, p_value, always_valid_p) = 0
                    AND verdict = 'inconclusive' AND NOT anomaly FROM stormops.compare_proportions({counts})"
            ));
        }
        holds(
            "SELECT status = 'no_control' AND difference IS NULL FROM stormops.compare_means('{5,0,1,1,0,0,0}', NULL)",
        );
    }

    #[pg_test]
    fn none_or_all_converted_has_an_interval_and_a_p_value() {
        for counts in ["0, 20, 5, 20", "20, 20, 0, 20", "0, 20, 0, 20", "20, 20, 20, 20", "1, 1, 0, 1"] {
            holds(&format!(
                "SELECT status = 'ok' AND lift_low < lift_high AND lift_low <= lift AND lift <= lift_high AND p_value > 0
                    AND score_low < score_high AND relative_low IS NOT DISTINCT FROM least(relative_low, relative_lift)
                    AND (relative_low < relative_high OR relative_lift IS NULL) AND always_valid_low < always_valid_high AND small_sample AND method = 'fisher'
                FROM stormops.compare_proportions({counts})"
            ));
        }
        holds("SELECT p_value < 1e-10 FROM stormops.compare_proportions(20, 20, 0, 20)");
        holds(
            "SELECT small_sample AND method = 'fisher' AND always_valid_method = 'beta_binomial'
            FROM stormops.compare_proportions(14, 29, 400, 1000)",
        );
        holds("SELECT relative_lift IS NULL AND lift = 0.25 FROM stormops.compare_proportions(5, 20, 0, 20)");
        holds("SELECT p_value BETWEEN 3.1e-44 AND 3.2e-44 FROM stormops.compare_proportions(3238, 21387, 2262, 21306)");
    }

    #[pg_test]
    fn nothing_varies_and_nothing_is_made_up() {
        holds(
            "SELECT difference = 0 AND se IS NULL AND p_value IS NULL AND slope IS NULL
            FROM stormops.compare_means('{50,0,1,0,0,0,0}', '{50,0,1,0,0,0,0}')",
        );
        holds("SELECT difference IS NULL FROM stormops.compare_clusters('{}', '{}', '{}', '{}')");
        holds(
            "SELECT difference = 0.5 AND clusters = 3 AND few_clusters AND num_nonnulls(se, low, high, p_value, always_valid_p) = 0
            FROM stormops.compare_clusters('{4,0,0,0}', '{2,0,0,0}', '{0,4,4,0}', '{0,0,0,0}')",
        );
        holds(
            "SELECT lift = 1 AND low = -1 AND high = 1
            FROM stormops.bounded_lift((SELECT stormops.bounded_lift_agg(1, true, 1e-9)))",
        );
        fails_with(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            "SELECT stormops.bounded_lift_agg(1, true, 1e-300)",
        );
        // Of two leads the sequence would take its error.
        holds(
            "SELECT p_value > 0 AND always_valid_p IS NULL
            FROM stormops.compare_means('{2,0,1,1,0,0,0}', '{1000,0,0.5,250,0,0,0}')",
        );
        // A covariate that is the measure leaves nothing to estimate an error from.
        holds(
            "SELECT slope IS NULL AND adjusted_low IS NULL AND se > 0 FROM
                (SELECT stormops.arm_agg(0.1 * i + 0.7, i) AS s FROM generate_series(1, 50) AS i) AS a, stormops.compare_means(s, s)",
        );
        holds(
            "SELECT num_nonnulls(stormops.leads_per_arm(0, 1), stormops.leads_per_arm(0.2, 1e-12)) = 0 AND stormops.comparison_power(0.2, 1e-12, 10) < 0.06",
        );
        holds("SELECT difference IS NULL FROM stormops.compare_clusters(NULL, NULL, NULL, NULL, NULL, NULL)");
        holds(
            "SELECT status = 'no_outcomes' FROM stormops.compare_proportions(NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        );
        holds("SELECT status = 'no_outcomes' FROM stormops.compare_means(NULL, NULL, NULL, NULL)");
        holds(
            "SELECT num_nonnulls(chi2, p_value, sequential_p, deviation) = 0 AND verdict = 'too_few' FROM stormops.check_sample_ratio('{0,0}', '{0.5,0.5}')",
        );
    }

    #[pg_test]
    fn inconclusive_says_how_many_more_leads() {
        holds(
            "SELECT verdict = 'inconclusive' AND more_leads_needed > 0 FROM stormops.compare_proportions(30, 300, 25, 300)",
        );
        // The normal distribution says that these few are enough; the exact test decides, and has not.
        for counts in ["0, 2, 2, 2", "5, 8, 0, 4", "3, 3, 7, 19", "8, 8, 60, 112"] {
            holds(&format!(
                "SELECT verdict = 'inconclusive' AND more_leads_needed > 0 FROM stormops.compare_proportions({counts})"
            ));
        }
        holds("SELECT verdict = 'anomaly' AND anomaly FROM stormops.compare_proportions(12, 200, 10, 200)");
        holds("SELECT verdict = 'ok' AND more_leads_needed = 0 FROM stormops.compare_proportions(30, 120, 9, 110)");
    }

    /// Each of these ran until the server was killed, deaf to cancel.
    #[pg_test]
    fn every_call_ends() {
        holds(
            "SELECT difference = 0 AND p_value = 1 AND low < 0 AND high > 0 AND always_valid_p IS NULL
            FROM stormops.compare_means('{1e7,0,0,1,0,0,0}', '{1e7,0,0,1,0,0,0}')",
        );
        holds(
            "SELECT p_value = 0 AND lift < 0 FROM stormops.compare_proportions(5, 100000000000000, 99999999999995, 900000000000000)",
        );
        holds(
            "SELECT low <= lift AND lift <= high FROM stormops.bounded_lift('{1,0.5,1,1,1,0,0,0.5}', 0.05, 9000000000000000000)",
        );
        holds("SELECT stormops.leads_per_arm(0, 0.1) = 74 AND stormops.leads_per_arm(0.2, 0.05) = 1094");
    }

    /// Of 270 leads 27 are worth 10,000; of 30 none is anything.
    #[pg_test]
    fn few_amounts_are_not_looked_at_often() {
        holds(
            "SELECT p_value < 0.01 AND num_nonnulls(always_valid_low, always_valid_high, always_valid_p) = 0
            FROM stormops.compare_means(
                (SELECT stormops.arm_agg(CASE WHEN i <= 27 THEN 10000 ELSE 0 END) FROM generate_series(1, 270) AS i),
                (SELECT stormops.arm_agg(0) FROM generate_series(1, 30)))",
        );
        holds(
            "SELECT always_valid_low < difference AND always_valid_p BETWEEN 0 AND 1
            FROM (SELECT stormops.arm_agg(i % 7) AS a, stormops.arm_agg(i % 5) AS b FROM generate_series(1, 300) AS i) AS s,
                stormops.compare_means(a, b)",
        );
    }

    #[pg_test]
    fn what_is_no_count_is_refused() {
        for sql in [
            "SELECT stormops.compare_proportions(4, 3, 1, 3)",
            "SELECT stormops.compare_proportions(-1, 3, 1, 3)",
            "SELECT stormops.compare_proportions(1, 3, 1, 3, alpha => 'NaN')",
            "SELECT stormops.compare_proportions(1, 3, 1, 3, min_lift => 5)",
            "SELECT stormops.compare_proportions(1, 3, 1, 3, planned_n => 0)",
            "SELECT stormops.compare_proportions(1, 3, 1, 3, alpha => 1e-300)",
            "SELECT stormops.compare_means('{2,0,1,1,0,0,0}', '{2,0,1,1,0,0,0}', alpha => 1e-300)",
            "SELECT stormops.arm_moments('{1e300,0,1,1,0,0,0}')",
            "SELECT stormops.bounded_lift('{1,0.5,1e300,1,1,0,0,0.5}')",
            "SELECT stormops.bounded_lift('{1,0.5,1,1,1,0,0,0.5}', least_propensity => 1e-200)",
            "SELECT stormops.compare_clusters('{1e300}', '{1}', '{1}', '{1}')",
            "SELECT stormops.check_sample_ratio('{1,2}', '{0.5}')",
            "SELECT stormops.check_sample_ratio('{1,2}', '{NaN,0.5}')",
            "SELECT stormops.benjamini_hochberg('{2}')",
            "SELECT stormops.compare_clusters('{1}', '{1,2}', '{1}', '{1}')",
            "SELECT stormops.compare_clusters('{-1}', '{1}', '{1}', '{1}')",
        ] {
            fails_with(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, sql);
        }
    }
}
