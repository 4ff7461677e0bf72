-- An arm's moments as an aggregate in two steps: arm_agg() gathers, the compare functions read.
-- The state is a float8[] of seven numbers, which a table can keep and arm_rollup() can merge.

CREATE FUNCTION stormops_internal.arm_combine(state double precision[], other double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'arm_combine_wrapper';
COMMENT ON FUNCTION stormops_internal.arm_combine(double precision[], double precision[]) IS 'Merges two states of arm_agg(). Errors: 22003 overflow, 22023 not such a state.';

CREATE FUNCTION stormops.arm_moments(state double precision[]) RETURNS TABLE (
    n bigint, n_invalid bigint, mean double precision, variance double precision, covariate_mean double precision,
    covariate_variance double precision, covariance double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'arm_moments_wrapper';
COMMENT ON FUNCTION stormops.arm_moments(double precision[]) IS 'What a state of arm_agg() holds, in one row: n, n_invalid (NaN, infinite), mean and sample variance, the covariate''s, and their covariance. Error: 22023 not such a state.';

CREATE FUNCTION stormops_internal.arm_accum(state double precision[], y double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_arm_accum';
COMMENT ON FUNCTION stormops_internal.arm_accum(double precision[], double precision) IS 'Transition of arm_agg(y). Error: 22023 outside an aggregate.';

CREATE FUNCTION stormops_internal.arm_accum(state double precision[], y double precision, x double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_arm_accum';
COMMENT ON FUNCTION stormops_internal.arm_accum(double precision[], double precision, double precision) IS 'Transition of arm_agg(y, x). Error: 22023 outside an aggregate.';

CREATE AGGREGATE stormops.arm_agg(y double precision) (
    SFUNC = stormops_internal.arm_accum, STYPE = double precision[], COMBINEFUNC = stormops_internal.arm_combine,
    INITCOND = '{0,0,0,0,0,0,0}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.arm_agg(double precision) IS 'The moments of a measure: a state of 80 bytes for arm_moments(), compare_means() and arm_rollup(). NULL does not count; NaN and infinities are counted apart. Errors: 22003 overflow.';

CREATE AGGREGATE stormops.arm_agg(y double precision, x double precision) (
    SFUNC = stormops_internal.arm_accum, STYPE = double precision[], COMBINEFUNC = stormops_internal.arm_combine,
    INITCOND = '{0,0,0,0,0,0,0}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.arm_agg(double precision, double precision) IS 'The same with a covariate x, known before the arms were drawn, for compare_means() to adjust by. A row with a NULL in either does not count.';

CREATE AGGREGATE stormops.arm_rollup(state double precision[]) (
    SFUNC = stormops_internal.arm_combine, STYPE = double precision[], COMBINEFUNC = stormops_internal.arm_combine, PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.arm_rollup(double precision[]) IS 'Merges states of arm_agg(): days into a season, without rereading the rows. NULL without any. Error: 22023 not such a state.';
