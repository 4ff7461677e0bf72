-- Treated and untreated rows with score and outcome as a state. The declarations; the rest is Rust.

CREATE FUNCTION stormops_internal.trial_collect(
    state internal, score double precision, treated boolean, outcome double precision
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_collect';
COMMENT ON FUNCTION stormops_internal.trial_collect(internal, double precision, boolean, double precision) IS 'Of uplift_agg(): takes in a case whose propensity is not known.';
CREATE FUNCTION stormops_internal.trial_collect(
    state internal, score double precision, treated boolean, outcome double precision, propensity double precision
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_collect';
COMMENT ON FUNCTION stormops_internal.trial_collect(internal, double precision, boolean, double precision, double precision) IS 'Of uplift_agg(): takes in a case.';
CREATE FUNCTION stormops_internal.trial_merge(state internal, stored stormops.uplift_sketch) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_merge';
COMMENT ON FUNCTION stormops_internal.trial_merge(internal, stormops.uplift_sketch) IS 'Of rollup(): takes in a stored state.';
CREATE FUNCTION stormops_internal.trial_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_combine';
COMMENT ON FUNCTION stormops_internal.trial_combine(internal, internal) IS 'Of uplift_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.trial_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_serialize';
COMMENT ON FUNCTION stormops_internal.trial_serialize(internal) IS 'Of uplift_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.trial_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_deserialize';
COMMENT ON FUNCTION stormops_internal.trial_deserialize(bytea, internal) IS 'Of uplift_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.trial_finish(state internal) RETURNS stormops.uplift_sketch
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_finish';
COMMENT ON FUNCTION stormops_internal.trial_finish(internal) IS 'Of uplift_agg(): sorts.';

CREATE AGGREGATE stormops.uplift_agg(score double precision, treated boolean, outcome double precision) (
    SFUNC = stormops_internal.trial_collect, STYPE = internal, FINALFUNC = stormops_internal.trial_finish,
    COMBINEFUNC = stormops_internal.trial_combine, SERIALFUNC = stormops_internal.trial_serialize, DESERIALFUNC = stormops_internal.trial_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.uplift_agg(double precision, boolean, double precision) IS 'As with a propensity, for a trial in which everybody had the same chance of being treated: it is taken to be the share of the treated.';

CREATE AGGREGATE stormops.uplift_agg(score double precision, treated boolean, outcome double precision, propensity double precision) (
    SFUNC = stormops_internal.trial_collect, STYPE = internal, FINALFUNC = stormops_internal.trial_finish,
    COMBINEFUNC = stormops_internal.trial_combine, SERIALFUNC = stormops_internal.trial_serialize, DESERIALFUNC = stormops_internal.trial_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.uplift_agg(double precision, boolean, double precision, double precision) IS 'Collects cases for uplift_metrics(), qini(), auuc(), uplift_at(), rate(), curve(), bins(). outcome: 0 or 1, or an amount; propensity: P(treated) of the case, treated or not. NULL, NaN, infinite or huge (1e100) values, and propensities not inside 0 to 1, are counted and left out. 24 bytes a row. Errors: 53200 out of memory; 54000 more than stormops.max_aggregate_rows.';

CREATE AGGREGATE stormops.rollup(sketch stormops.uplift_sketch) (
    SFUNC = stormops_internal.trial_merge, STYPE = internal, FINALFUNC = stormops_internal.trial_finish,
    COMBINEFUNC = stormops_internal.trial_combine, SERIALFUNC = stormops_internal.trial_serialize, DESERIALFUNC = stormops_internal.trial_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.rollup(stormops.uplift_sketch) IS 'The state of all cases of several states, as if they had been collected at once. Errors as uplift_agg().';

CREATE FUNCTION stormops.n(sketch stormops.uplift_sketch) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_n_wrapper';
COMMENT ON FUNCTION stormops.n(stormops.uplift_sketch) IS 'How many cases.';

CREATE FUNCTION stormops.qini(sketch stormops.uplift_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_qini_wrapper';
COMMENT ON FUNCTION stormops.qini(stormops.uplift_sketch) IS 'Area of the Qini curve above the random line, as a share of that of the order with treated events first and control''s last (0: says nothing; may exceed 1). NULL without events, without an arm, and of amounts.';

CREATE FUNCTION stormops.auuc(sketch stormops.uplift_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_auuc_wrapper';
COMMENT ON FUNCTION stormops.auuc(stormops.uplift_sketch) IS 'The same of the uplift curve.';

CREATE FUNCTION stormops.uplift_at(sketch stormops.uplift_sketch, share double precision) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_top_wrapper';
COMMENT ON FUNCTION stormops.uplift_at(stormops.uplift_sketch, double precision) IS 'Difference of the arms'' rates in the best share of the cases; of equal scores at the limit each counts by its chance of being within. NULL where an arm is missing there. Error: 22023 share not above 0 to 1.';

CREATE FUNCTION stormops.rate(sketch stormops.uplift_sketch, weighting text DEFAULT 'autoc') RETURNS TABLE (
    estimate double precision, se double precision, z double precision, p_value double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'trial_rate_wrapper';
COMMENT ON FUNCTION stormops.rate(stormops.uplift_sketch, text) IS 'Rank-weighted average treatment effect (arXiv 2111.07966), weighting autoc (effects in few) or qini (effects in many); 0: the order says nothing. One row. Error: 22023.';

CREATE FUNCTION stormops.uplift_metrics(sketch stormops.uplift_sketch) RETURNS TABLE (
    status text, n bigint, treated bigint, control bigint, treated_events bigint, control_events bigint,
    small_sample boolean, weighted boolean, uplift double precision, uplift_se double precision,
    qini double precision, auuc double precision, qini_area double precision,
    uplift_at_10 double precision, uplift_at_10_se double precision, uplift_at_20 double precision,
    uplift_at_20_se double precision, uplift_at_30 double precision, uplift_at_30_se double precision,
    autoc double precision, autoc_se double precision, autoc_p double precision,
    rate_qini double precision, rate_qini_se double precision, rate_qini_p double precision,
    slope double precision, slope_se double precision, intercept double precision, intercept_se double precision,
    calibration_error double precision, calibration_by_chance double precision, n_invalid bigint
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'trial_metrics_wrapper';
COMMENT ON FUNCTION stormops.uplift_metrics(stormops.uplift_sketch) IS 'What the scores were worth, in one row: status (ok, equal_scores, no_rows, no_treatment, no_control, no_events, all_events), n, uplift (all cases), uplift_at_10, 20, 30 (the best), qini_area, autoc, rate_qini, slope, intercept, calibration_error. *_se: standard errors. small_sample: do not trust them. n_invalid: cases left out.';

CREATE FUNCTION stormops.curve(sketch stormops.uplift_sketch, points integer DEFAULT 100) RETURNS TABLE (
    share double precision, n bigint, qini double precision, qini_random double precision,
    uplift double precision, gain double precision, gain_random double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'trial_points_wrapper';
COMMENT ON FUNCTION stormops.curve(stormops.uplift_sketch, integer) IS 'Points of the curves, from share 0 to 1 of the cases, the best first: qini, qini_random (the line of a random order), uplift (difference of rates so far), gain = uplift * n, gain_random. Without weights qini counts events won among the treated. No row where an arm is missing. Error: 22023 points not 1 to 10,000.';

CREATE FUNCTION stormops.bins(sketch stormops.uplift_sketch, bins integer DEFAULT 10) RETURNS TABLE (
    bin integer, n bigint, treated bigint, control bigint, mean_score double precision, treated_rate double precision,
    control_rate double precision, uplift double precision, uplift_se double precision, effect double precision, effect_se double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'trial_bins_wrapper';
COMMENT ON FUNCTION stormops.bins(stormops.uplift_sketch, integer) IS 'The ranking in bins, the best first; equal scores stay together. treated_rate, control_rate, uplift: the arms'' rates and their difference, NULL of an arm that is missing in the bin; effect: mean of the cases'' effects (augmented inverse propensity), to compare with mean_score. Errors as curve().';
