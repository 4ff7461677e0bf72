-- Two arms compared, and how many leads that takes. What they compute is Rust; docs/statistics.md has the formulas.

CREATE FUNCTION stormops.benjamini_hochberg(p_values double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'benjamini_hochberg_sql_wrapper';
COMMENT ON FUNCTION stormops.benjamini_hochberg(double precision[]) IS 'The p-values adjusted for being many (false discovery rate), in the order given; NULL stays NULL and does not count. Error: 22023 not p-values.';

CREATE FUNCTION stormops.compare_clusters(
    treated_n double precision[], treated_sum double precision[], control_n double precision[], control_sum double precision[],
    alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL
) RETURNS TABLE (
    clusters bigint, difference double precision, se double precision, low double precision, high double precision,
    p_value double precision, always_valid_low double precision, always_valid_high double precision, always_valid_p double precision,
    few_clusters boolean
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'compare_clusters_wrapper';
COMMENT ON FUNCTION stormops.compare_clusters(double precision[], double precision[], double precision[], double precision[], double precision, bigint) IS 'The difference of two arms'' means from n and sum by cluster, in one row: cluster-robust standard error CR2, t with Satterthwaite''s degrees of freedom. clusters: those with leads. few_clusters: below 30, or leads of an arm in effect in fewer than 15: nothing always-valid is claimed. No error where an arm is in one cluster only. Errors: 22023.';

CREATE FUNCTION stormops.compare_means(
    treated double precision[], control double precision[], alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL
) RETURNS TABLE (
    status text, treated_n bigint, control_n bigint, treated_mean double precision, control_mean double precision,
    difference double precision, se double precision, low double precision, high double precision, p_value double precision,
    always_valid_low double precision, always_valid_high double precision, always_valid_p double precision, slope double precision,
    adjusted_difference double precision, adjusted_se double precision, adjusted_low double precision, adjusted_high double precision,
    adjusted_p double precision, variance_left double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'compare_means_wrapper';
COMMENT ON FUNCTION stormops.compare_means(double precision[], double precision[], double precision, bigint) IS 'The difference of two arms'' means, states of arm_agg(), in one row: Welch''s interval and p_value; always-valid interval and p-value where amounts are many enough in each arm; adjusted_...: less slope times the covariate (CUPED), with variance_left of the plain one. status: ok, no_treatment, no_control, no_outcomes. Errors: 22023.';

CREATE FUNCTION stormops.compare_proportions(
    treated_converted bigint, treated_n bigint, control_converted bigint, control_n bigint, min_lift double precision DEFAULT 0.05,
    alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL
) RETURNS TABLE (
    status text, small_sample boolean, treated_rate double precision, control_rate double precision, lift double precision,
    lift_low double precision, lift_high double precision, score_low double precision, score_high double precision,
    relative_lift double precision, relative_low double precision, relative_high double precision, p_value double precision,
    method text, always_valid_low double precision, always_valid_high double precision, always_valid_p double precision,
    always_valid_method text, p_short double precision, verdict text, anomaly boolean, always_valid_anomaly boolean,
    more_leads_needed bigint, detectable_lift double precision, probability_better double precision, expected_loss double precision,
    boschloo_p double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'compare_proportions_wrapper';
COMMENT ON FUNCTION stormops.compare_proportions(bigint, bigint, bigint, bigint, double precision, double precision, bigint) IS 'Compares the conversions of two arms, in one row: rates, lift and relative lift with intervals, p_value by method z or fisher, always_valid_* for repeated looks, p_short and verdict (ok, inconclusive, anomaly) against min_lift, more_leads_needed, detectable_lift, probability_better. NULL counts are 0. status: ok, no_treatment, no_control, no_outcomes. Error: 22023 an argument.';

CREATE FUNCTION stormops.comparison_power(
    control_rate double precision, lift double precision, leads_per_arm bigint, alpha double precision DEFAULT 0.05
) RETURNS double precision
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'comparison_power_sql_wrapper';
COMMENT ON FUNCTION stormops.comparison_power(double precision, double precision, bigint, double precision) IS 'Power to find a lift over control_rate with so many leads in each arm, two-sided; NULL if it is no lift or leaves 0 to 1. Error: 22023 alpha.';

CREATE FUNCTION stormops.leads_per_arm(
    control_rate double precision, lift double precision, alpha double precision DEFAULT 0.05
) RETURNS bigint
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'leads_per_arm_sql_wrapper';
COMMENT ON FUNCTION stormops.leads_per_arm(double precision, double precision, double precision) IS 'Leads in each arm to find a lift over control_rate with 80 % power in a two-sided test, as comparison_power() has it; NULL if it is no lift, leaves 0 to 1, is one from none to all, or needs more than there can be. Error: 22023 alpha.';
