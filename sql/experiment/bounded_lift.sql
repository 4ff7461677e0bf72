-- The average effect on outcomes that have bounds, sure at every look: bounded_lift_agg() gathers cases in the order of
-- their assignment, bounded_lift() answers. The declarations; the rest is Rust.

CREATE FUNCTION stormops_internal.bounded_accum(state double precision[], outcome double precision, treated boolean, propensity double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_bounded_accum';
COMMENT ON FUNCTION stormops_internal.bounded_accum(double precision[], double precision, boolean, double precision) IS 'Transition of bounded_lift_agg(). Error: 22023 outside an aggregate, and as there.';

CREATE AGGREGATE stormops.bounded_lift_agg(outcome double precision, treated boolean, propensity double precision) (
    SFUNC = stormops_internal.bounded_accum, STYPE = double precision[], INITCOND = '{0,0,0,0,0,0,0,0.5}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.bounded_lift_agg(double precision, boolean, double precision) IS 'Collects randomised cases for bounded_lift(): bounded_lift_agg(outcome, treated, propensity ORDER BY assigned_at). outcome: 0 to 1; propensity: P(treated), inside 0 to 1. The order must not depend on outcomes. Rows with a NULL do not count. The state is a float8[8] that a table can keep. Errors: 22003 sums out of range; 22023 outcome or propensity out of range.';

CREATE FUNCTION stormops.bounded_lift(
    state double precision[], alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL,
    outcome_variance double precision DEFAULT 0.1, least_propensity double precision DEFAULT NULL
) RETURNS TABLE (
    n bigint, lift double precision, low double precision, high double precision, p_value double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1
    AS 'MODULE_PATHNAME', 'bounded_lift_wrapper';
COMMENT ON FUNCTION stormops.bounded_lift(double precision[], double precision, bigint, double precision, double precision) IS 'Mean effect of a bounded_lift_agg() state, in units of the outcome (-1 to 1). low, high and p_value hold at every look and sample size (empirical-Bernstein, Howard 2021). One row; n 0 and NULLs without cases. planned_n, outcome_variance (0 to 0.25), least_propensity (smallest chance of an arm): fix them before the first look. Error: 22023 an argument, not such a state.';
