-- Scores as a state: collected once, asked many things, stored, merged. What a state says of
-- itself and of another is Rust; these are the declarations.

CREATE FUNCTION stormops_internal.score_collect(state internal, score double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_collect';
COMMENT ON FUNCTION stormops_internal.score_collect(internal, double precision) IS 'Of score_agg(): takes in a score.';
CREATE FUNCTION stormops_internal.score_merge(state internal, stored stormops.score_sketch) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_merge';
COMMENT ON FUNCTION stormops_internal.score_merge(internal, stormops.score_sketch) IS 'Of rollup(): takes in a stored state.';
CREATE FUNCTION stormops_internal.score_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_combine';
COMMENT ON FUNCTION stormops_internal.score_combine(internal, internal) IS 'Of score_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.score_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_serialize';
COMMENT ON FUNCTION stormops_internal.score_serialize(internal) IS 'Of score_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.score_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_deserialize';
COMMENT ON FUNCTION stormops_internal.score_deserialize(bytea, internal) IS 'Of score_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.score_finish(state internal) RETURNS stormops.score_sketch
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_finish';
COMMENT ON FUNCTION stormops_internal.score_finish(internal) IS 'Of score_agg(): sorts.';

CREATE AGGREGATE stormops.score_agg(score double precision) (
    SFUNC = stormops_internal.score_collect, STYPE = internal, FINALFUNC = stormops_internal.score_finish,
    COMBINEFUNC = stormops_internal.score_combine, SERIALFUNC = stormops_internal.score_serialize, DESERIALFUNC = stormops_internal.score_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.score_agg(double precision) IS 'The scores as a state to ask: n(), mean(), stddev(), quantile(), describe(), drift(). NULL, NaN, infinities and numbers of 1e100 and more are counted and left out. 8 bytes a row, up to stormops.max_aggregate_rows. Never NULL: without rows, an empty state. Errors: 54000 more rows; 53200.';

CREATE AGGREGATE stormops.rollup(sketch stormops.score_sketch) (
    SFUNC = stormops_internal.score_merge, STYPE = internal, FINALFUNC = stormops_internal.score_finish,
    COMBINEFUNC = stormops_internal.score_combine, SERIALFUNC = stormops_internal.score_serialize, DESERIALFUNC = stormops_internal.score_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.rollup(stormops.score_sketch) IS 'The state of all scores of several states, as if they had been collected at once. Errors as score_agg().';

CREATE FUNCTION stormops.n(sketch stormops.score_sketch) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_n_wrapper';
COMMENT ON FUNCTION stormops.n(stormops.score_sketch) IS 'How many scores.';

CREATE FUNCTION stormops.mean(sketch stormops.score_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_mean_wrapper';
COMMENT ON FUNCTION stormops.mean(stormops.score_sketch) IS 'Mean of the scores; NULL of none.';

CREATE FUNCTION stormops.stddev(sketch stormops.score_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_sd_wrapper';
COMMENT ON FUNCTION stormops.stddev(stormops.score_sketch) IS 'Standard deviation of the sample (n - 1); NULL below two scores.';

CREATE FUNCTION stormops.quantile(sketch stormops.score_sketch, q double precision) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_quantile_wrapper';
COMMENT ON FUNCTION stormops.quantile(stormops.score_sketch, double precision) IS 'Quantile as percentile_cont: between order statistics; NULL of none. Error: 22023 outside 0 to 1.';

CREATE FUNCTION stormops.describe(sketch stormops.score_sketch) RETURNS TABLE (
    n bigint, n_missing bigint, n_invalid bigint, mean double precision, mean_low double precision, mean_high double precision,
    sd double precision, lowest double precision, q05 double precision, q25 double precision, median double precision,
    q75 double precision, q95 double precision, highest double precision, distinct_scores bigint, share_of_mode double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'score_describe_wrapper';
COMMENT ON FUNCTION stormops.describe(stormops.score_sketch) IS 'One row: n; n_missing (NULL) and n_invalid (NaN, infinite, 1e100 and more), both left out; mean with Student''s 95 % interval; sd; quantiles; distinct_scores; share_of_mode (of the most frequent score). NULL where n does not suffice.';

CREATE FUNCTION stormops.histogram(sketch stormops.score_sketch, low double precision, high double precision, bins integer)
    RETURNS bigint[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_histogram_wrapper';
COMMENT ON FUNCTION stormops.histogram(stormops.score_sketch, double precision, double precision, integer) IS 'How many scores lie in each of 1 to 1000 bins of one width from low to high; what lies outside counts in the first or last. Error: 22023.';

CREATE FUNCTION stormops.drift(current stormops.score_sketch, reference stormops.score_sketch) RETURNS TABLE (
    statistic text, value double precision, p_value double precision, meaning text
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 20 AS 'MODULE_PATHNAME', 'score_drift_wrapper';
COMMENT ON FUNCTION stormops.drift(stormops.score_sketch, stormops.score_sketch) IS 'Every drift statistic of current scores against reference scores, a row each, with its p-value where it has one. No row where a state is empty. Formulas: docs/statistics.md.';

CREATE FUNCTION stormops.drift_verdict(
    current stormops.score_sketch, reference stormops.score_sketch, alpha double precision DEFAULT 0.05,
    tolerance double precision DEFAULT 0.02, design_effect double precision DEFAULT 1
) RETURNS TABLE (
    drift_detected boolean, severity text, mean_shift double precision, wasserstein double precision,
    wasserstein_sd double precision, ks double precision, psi double precision, p_ks double precision,
    p_chi2 double precision, p_welch double precision, p_mean double precision, p_adjusted double precision, low_power boolean,
    detectable_shift double precision, share_outside double precision,
    reference_n bigint, reference_mean double precision, reference_sd double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'score_verdict_wrapper';
COMMENT ON FUNCTION stormops.drift_verdict(stormops.score_sketch, stormops.score_sketch, double precision, double precision, double precision) IS 'Did the scores move? One row: drift_detected (statistically significant at alpha, and large enough to matter), severity (none, watch, drift, low_power, new_model), p_ks, p_chi2, p_mean, wasserstein_sd, psi, mean_shift, detectable_shift. design_effect: 1 to a million, see score_design_effect(). NULL current: no scores. Errors: 22004; 22023 alpha, tolerance or design_effect.';
