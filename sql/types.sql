-- What functions name in their declarations. An upgrade runs this too, and finds them there.

CREATE FUNCTION stormops_internal.score_is_state(bytes bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_is_state_wrapper';
COMMENT ON FUNCTION stormops_internal.score_is_state(bytea) IS 'True if these bytes have the form of a state of score_agg(). Whether its rows are in order is looked at when it is asked; then 22P03.';
DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops.score_sketch') IS NULL THEN
        CREATE DOMAIN stormops.score_sketch AS bytea CHECK (stormops_internal.score_is_state(VALUE));
    END IF;
END
$$;
COMMENT ON DOMAIN stormops.score_sketch IS 'Scores in ascending order, exact: 24 bytes and 8 for each. From score_agg() and rollup(). Keep it in a column of type bytea, which outlives the extension, and cast it back: sketch::stormops.score_sketch.';

CREATE FUNCTION stormops_internal.trial_is_state(bytes bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_is_state_wrapper';
COMMENT ON FUNCTION stormops_internal.trial_is_state(bytea) IS 'True if these bytes have the form of a state of uplift_agg(). Whether its rows are in order is looked at when it is asked; then 22P03.';
DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops.uplift_sketch') IS NULL THEN
        CREATE DOMAIN stormops.uplift_sketch AS bytea CHECK (stormops_internal.trial_is_state(VALUE));
    END IF;
END
$$;
COMMENT ON DOMAIN stormops.uplift_sketch IS 'Cases in descending order of score, exact: 24 bytes and 24 for each. From uplift_agg() and rollup(). Keep it in a column of type bytea, which outlives the extension, and cast it back: sketch::stormops.uplift_sketch.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops_internal.due_expectation') IS NULL THEN
        CREATE TYPE stormops_internal.due_expectation AS (
            tenant_id uuid, expectation_id uuid, table_name text, rule text, columns text[], lowest double precision, highest double precision,
            max_age interval, threshold numeric, since timestamptz, place integer
        );
    END IF;
END
$$;
COMMENT ON TYPE stormops_internal.due_expectation IS 'An expectation to judge by the rows that came since then. place: numbers what is judged by a table''s rows, from 1 on, the same for all tenants.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops_internal.judgement') IS NULL THEN
        CREATE TYPE stormops_internal.judgement AS (
            tenant_id uuid, expectation_id uuid, judged bigint, failing bigint, scores bytea, repeats bigint[], groups uuid[], by_blanks bigint
        );
    ELSIF NOT EXISTS (
        -- 0.2.0
        SELECT FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.typrelid OPERATOR(pg_catalog.=) a.attrelid
        WHERE t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype('stormops_internal.judgement') AND a.attname OPERATOR(pg_catalog.=) 'by_blanks'
    ) THEN
        ALTER TYPE stormops_internal.judgement ADD ATTRIBUTE by_blanks bigint;
    END IF;
END
$$;
COMMENT ON TYPE stormops_internal.judgement IS 'What an expectation about rows came to: how many were judged, how many fail; for drift their scores (a state of score_agg()), for unique the hashes that several rows have; for band the groups whose mean lies outside. by_blanks: how many fail only because what they hold shows nothing, or nothing else than another.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops.conversion_rates') IS NULL THEN
        CREATE TYPE stormops.conversion_rates AS (
            status text, treated_n bigint, treated_converted bigint, treated_rate double precision,
            control_n bigint, control_converted bigint, control_rate double precision,
            lift double precision, lift_low double precision, lift_high double precision,
            relative_lift double precision, relative_low double precision, relative_high double precision,
            p_value double precision, method text, small_sample boolean,
            anomaly boolean, verdict text, p_short double precision, more_leads_needed bigint,
            detectable_lift double precision, rule_anomaly boolean,
            always_valid_low double precision, always_valid_high double precision, always_valid_p double precision,
            always_valid_anomaly boolean, probability_better double precision,
            awaiting bigint, window_ends_at timestamptz, not_compared bigint, run_id uuid
        );
    END IF;
END
$$;
COMMENT ON TYPE stormops.conversion_rates IS 'What check_conversion_rates() answers.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops_internal.experiment_cell') IS NULL THEN
        CREATE TYPE stormops_internal.experiment_cell AS (
            segment text, arm text, n bigint, converted bigint, value double precision, touched bigint, early bigint,
            state double precision[], drawn bigint, clusters jsonb
        );
    END IF;
END
$$;
COMMENT ON TYPE stormops_internal.experiment_cell IS 'What became of an arm of an experiment, over all or in a segment: see experiment_cells().';
