-- The average effect on outcomes that have bounds, sure at every look: bounded_lift_agg() gathers cases in the order of
-- their assignment, bounded_lift() answers. The declarations; the rest is Rust.

CREATE FUNCTION stormops_internal.bounded_accum(state double precision[], outcome double precision, treated boolean, propensity double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_bounded_accum';
COMMENT ON FUNCTION stormops_internal.bounded_accum(double precision[], double precision, boolean, double precision) IS 'Transition of bounded_lift_agg(). Error: 22023 outside an aggregate, and as there.';

CREATE AGGREGATE stormops.bounded_lift_agg(outcome double precision, treated boolean, propensity double precision) (
    SFUNC = stormops_internal.bounded_accum, STYPE = double precision[], INITCOND = '{0,0,0,0,0,0,0,0.5}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.bounded_lift_agg(double precision, boolean, double precision) IS 'Cases of a randomised trial as a state for bounded_lift(): bounded_lift_agg(outcome, treated, propensity ORDER BY assigned_at). outcome from 0 to 1 (an amount: capped, over the cap); propensity: P(treated) of the case, inside 0 to 1. The order must not depend on the outcomes. A row with a NULL does not count. A float8[] of eight numbers, which a table can keep; no parallel parts, since each case is predicted from those before it. Errors: 22023 outcome or propensity out of range, 22003 propensity so near to 0 or 1 that the sums leave the range.';

CREATE FUNCTION stormops.bounded_lift(
    state double precision[], alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL,
    outcome_variance double precision DEFAULT 0.1, least_propensity double precision DEFAULT NULL
) RETURNS TABLE (
    n bigint, lift double precision, low double precision, high double precision, p_value double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1
    AS 'MODULE_PATHNAME', 'bounded_lift_wrapper';
COMMENT ON FUNCTION stormops.bounded_lift(double precision[], double precision, bigint, double precision, double precision) IS 'The average effect of a state of bounded_lift_agg(), in outcome units and within the -1 to 1 that are possible, with the empirical-Bernstein confidence sequence (Howard et al. 2021): low, high and p_value hold at every look and at every size. One row; n 0 and NULLs without cases. planned_n (5000) and outcome_variance (0.1; up to 0.25) say where it is narrowest; least_propensity (0.5): the least chance of either arm that a case may ever have. Fix all before the first look. Errors: 22023 arguments, not such a state.';
