-- How a storm's scores are distributed and whether that moved; how well they told whom to treat.
-- Readers: they run as the caller, under row security, write nothing and work on a standby.

-- The next two are SQL functions of their own, and return sets, so that each statement may run in parallel: one inside
-- PL/pgSQL may not, nor one of a SQL function that returns a value.
CREATE FUNCTION stormops_internal.batch_scores(storm_id uuid, scored_at timestamptz, model_version text)
    RETURNS TABLE (scores stormops.score_sketch, alone boolean)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- planned for a storm of any size: by the index, or a small one reads all storms
    AS $$
    SELECT stormops.score_agg(l.uplift), bool_and(l.scored_at = $2 AND l.model_version = $3)
    FROM stormops.lead_uplift AS l
    WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
$$;
COMMENT ON FUNCTION stormops_internal.batch_scores(uuid, timestamptz, text) IS 'All scores of a storm, and whether they all are of one moment and model: then no property has two.';

CREATE FUNCTION stormops_internal.latest_scores(tenant_id uuid, storm_id uuid) RETURNS TABLE (scores stormops.score_sketch, model_version text)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- planned for a storm of any size: by the index, or a small one reads all storms
    AS $$
    SELECT stormops.score_agg(u.uplift), u.model_version
    FROM (
        SELECT l.property_id, l.uplift, l.scored_at, l.model_version,
            lead(l.property_id) OVER (ORDER BY l.property_id, l.scored_at, l.model_version) AS next_property
        FROM stormops.lead_uplift AS l
        WHERE l.tenant_id = $1 AND l.storm_id = $2
    ) AS u
    WHERE u.next_property IS DISTINCT FROM u.property_id
    GROUP BY u.model_version
    ORDER BY max(u.scored_at) DESC, u.model_version DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION stormops_internal.latest_scores(uuid, uuid) IS 'Of a tenant''s storm, as far as the caller sees it: the latest score of each property, those of the model that scored last; no row without any.';

CREATE FUNCTION stormops_internal.storm_scores(storm_id uuid, OUT scores stormops.score_sketch, OUT model_version text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    first_at timestamptz;
    found_scores record;
BEGIN
    SELECT l.scored_at, l.model_version INTO first_at, model_version FROM stormops.lead_uplift AS l
    WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = storm_scores.storm_id
    ORDER BY l.property_id -- by the key, or the planner would look through all storms for one row
    LIMIT 1;
    -- A storm is mostly scored in one statement. Only if not must the latest of each property be found.
    SELECT b.* INTO found_scores FROM stormops_internal.batch_scores(storm_id, first_at, model_version) AS b;
    IF NOT found_scores.alone THEN
        SELECT l.* INTO found_scores FROM stormops_internal.latest_scores(stormops.current_tenant(), storm_id) AS l;
        model_version := found_scores.model_version;
    END IF;
    scores := found_scores.scores;
END
$$;
COMMENT ON FUNCTION stormops_internal.storm_scores(uuid) IS 'A storm''s scores as a state, and the model that they are of: the latest of each property, and of several models the one that scored last. An empty state and NULL without scores.';

CREATE FUNCTION stormops_internal.earlier_scores(storm_id uuid, model_version text) RETURNS stormops.score_sketch
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stormops.rollup(s.scores)
    FROM stormops.storms AS this
    JOIN stormops.storms AS e ON e.tenant_id = this.tenant_id
        AND (coalesce(e.started_at, e.created_at), e.storm_id) < (coalesce(this.started_at, this.created_at), this.storm_id)
    CROSS JOIN LATERAL stormops_internal.storm_scores(e.storm_id) AS s
    WHERE this.tenant_id = stormops.current_tenant() AND this.storm_id = $1 AND s.model_version = $2
$$;
COMMENT ON FUNCTION stormops_internal.earlier_scores(uuid, text) IS 'The scores of all earlier storms (by started_at, else created_at) whose latest model is that one; an empty state without any.';

CREATE FUNCTION stormops_internal.uplift_reference(
    storm_id uuid, baseline text, model_version text, OUT scores stormops.score_sketch, OUT reference text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    kept record;
BEGIN
    SELECT b.sketch, b.name, b.made_at INTO kept
    FROM stormops.uplift_baselines AS b
    WHERE b.tenant_id = stormops.current_tenant() AND b.model_version = uplift_reference.model_version
        AND b.name = coalesce(baseline, 'default');
    IF FOUND THEN
        scores := kept.sketch;
        reference := format('baseline %s of %s', kept.name, to_char(kept.made_at, 'YYYY-MM-DD'));
        RETURN;
    END IF;
    IF baseline IS NOT NULL THEN
        -- Known for another model: this model is new to it. Known for none: a slip.
        PERFORM FROM stormops.uplift_baselines AS b WHERE b.tenant_id = stormops.current_tenant() AND b.name = baseline;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('baseline "%s" does not exist', left(baseline, 100)),
                HINT = 'SELECT stormops.set_baseline(storm_id, name); makes one from a storm''s scores.';
        END IF;
        RETURN;
    END IF;
    scores := stormops_internal.earlier_scores(storm_id, model_version);
    IF stormops.n(scores) > 0 THEN
        reference := 'earlier storms';
    ELSE
        scores := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.uplift_reference(uuid, text, text) IS 'What a storm''s scores are compared with: the named baseline of their model, or without a name its baseline "default", or else the earlier storms of the same model. NULL where there is none. Error: P0002 no baseline of that name.';

CREATE FUNCTION stormops.check_uplift_distribution(
    storm_id uuid, baseline text DEFAULT NULL, alpha double precision DEFAULT 0.05, tolerance double precision DEFAULT 0.02,
    design_effect double precision DEFAULT 1,
    OUT n bigint, OUT mean double precision, OUT sd double precision, OUT drift_detected boolean, OUT severity text,
    OUT mean_out_of_band boolean, OUT model_version text, OUT mean_low double precision, OUT mean_high double precision,
    OUT lowest double precision, OUT q05 double precision, OUT q25 double precision, OUT median double precision,
    OUT q75 double precision, OUT q95 double precision, OUT highest double precision, OUT share_of_mode double precision,
    OUT reference text, OUT reference_n bigint, OUT reference_mean double precision, OUT reference_sd double precision,
    OUT mean_shift double precision, OUT wasserstein double precision, OUT wasserstein_sd double precision,
    OUT ks double precision, OUT psi double precision, OUT p_ks double precision, OUT p_chi2 double precision,
    OUT p_welch double precision, OUT p_mean double precision, OUT p_adjusted double precision, OUT low_power boolean,
    OUT detectable_shift double precision, OUT share_outside double precision
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record;
    other record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    alpha := coalesce(alpha, 0.05);
    tolerance := coalesce(tolerance, 0.02);
    design_effect := coalesce(design_effect, 1);
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT s.* INTO this FROM stormops_internal.storm_scores(storm_id) AS s;
    SELECT r.* INTO other FROM stormops_internal.uplift_reference(storm_id, baseline, this.model_version) AS r;
    model_version := this.model_version;
    reference := other.reference;
    SELECT d.n, d.mean, d.mean_low, d.mean_high, d.sd, d.lowest, d.q05, d.q25, d.median, d.q75, d.q95, d.highest,
        d.share_of_mode, d.mean NOT BETWEEN 0.10 AND 0.30
    INTO n, mean, mean_low, mean_high, sd, lowest, q05, q25, median, q75, q95, highest, share_of_mode, mean_out_of_band
    FROM stormops.describe(this.scores) AS d;
    SELECT v.* INTO drift_detected, severity, mean_shift, wasserstein, wasserstein_sd, ks, psi, p_ks, p_chi2, p_welch,
        p_mean, p_adjusted, low_power, detectable_shift, share_outside, reference_n, reference_mean, reference_sd
    FROM stormops.drift_verdict(this.scores, other.scores, alpha, tolerance, design_effect) AS v;
END
$$;
COMMENT ON FUNCTION stormops.check_uplift_distribution(uuid, text, double precision, double precision, double precision) IS 'How a storm''s scores are distributed and whether that moved, in one row: n, mean with 95 % interval, sd, quantiles; mean_out_of_band (mean below 0.10 or above 0.30); drift_detected, severity and statistics as drift_verdict(); new_model: nothing to compare with. Errors: 0B000 no tenant; 22004; 22023 alpha, tolerance or design_effect; P0002 no such storm or baseline.';

CREATE FUNCTION stormops.score_design_effect(
    storm_id uuid, OUT n bigint, OUT clusters bigint, OUT design_effect double precision, OUT few_clusters boolean
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant CONSTANT uuid := stormops.current_tenant();
    lowest double precision;
    highest double precision;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    WITH latest AS (
        SELECT DISTINCT ON (l.property_id) l.property_id, l.uplift, l.model_version, l.scored_at
        FROM stormops.lead_uplift AS l
        WHERE l.tenant_id = tenant AND l.storm_id = score_design_effect.storm_id
        ORDER BY l.property_id, l.scored_at DESC, l.model_version DESC
    ), places AS (
        SELECT l.uplift, coalesce(stormops_internal.neighbourhood(p.longitude, p.latitude), p.property_id::text) AS cluster
        FROM latest AS l
        JOIN stormops.properties AS p ON p.tenant_id = tenant AND p.property_id = l.property_id
        WHERE l.model_version = (
            SELECT m.model_version FROM latest AS m ORDER BY m.scored_at DESC, m.model_version DESC LIMIT 1
        )
    ), cells AS (
        SELECT count(*) AS members, sum(c.uplift - a.mean) AS excess, sum((c.uplift - a.mean) ^ 2) AS squares,
            min(c.uplift) AS lowest, max(c.uplift) AS highest
        FROM places AS c, (SELECT avg(uplift) AS mean FROM places) AS a
        GROUP BY c.cluster
    )
    SELECT coalesce(sum(c.members), 0), count(*),
        -- The variance of the mean by clusters, over that of independent scores.
        greatest(1, sum(c.excess ^ 2) * count(*) / nullif(count(*) - 1, 0)
            / nullif(sum(c.squares) * sum(c.members)::double precision / nullif(sum(c.members) - 1, 0), 0)),
        min(c.lowest), max(c.highest)
    INTO n, clusters, design_effect, lowest, highest FROM cells AS c;
    few_clusters := clusters < 30;
    -- greatest() takes no notice of a NULL, and of equal scores rounding leaves something to divide.
    IF clusters < 2 OR lowest = highest THEN
        design_effect := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.score_design_effect(uuid) IS 'How much less a storm''s scores tell than independent ones, since neighbours (0.01 degree) are alike: a factor of at least 1 for check_uplift_distribution(design_effect => ...); NULL for fewer than two neighbourhoods or equal scores. n scores, clusters; few_clusters: fewer than 30, the factor is too small. Errors: 0B000 no tenant; 22004; P0002 no such storm.';

CREATE FUNCTION stormops.uplift_drift(
    storm_id uuid, baseline text DEFAULT NULL,
    OUT statistic text, OUT value double precision, OUT p_value double precision, OUT meaning text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN QUERY
        SELECT d.statistic, d.value, d.p_value, d.meaning
        FROM stormops_internal.storm_scores(storm_id) AS s
        CROSS JOIN LATERAL stormops_internal.uplift_reference(storm_id, baseline, s.model_version) AS r
        CROSS JOIN LATERAL stormops.drift(s.scores, r.scores) AS d;
END
$$;
COMMENT ON FUNCTION stormops.uplift_drift(uuid, text) IS 'Every drift statistic of a storm''s scores against the reference, a row each, as drift(). No row where there is nothing to compare. Errors as check_uplift_distribution().';

CREATE FUNCTION stormops.set_baseline(
    storm_id uuid, name text DEFAULT 'default',
    OUT model_version text, OUT n bigint, OUT mean double precision, OUT sd double precision, OUT replaced boolean
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    name := coalesce(nullif(name, ''), 'default');
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may set a baseline',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    PERFORM stormops_internal.require_storm(storm_id);
    IF name IS NULL OR char_length(name) NOT BETWEEN 1 AND 100 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN name IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'a baseline''s name has 1 to 100 characters', HINT = 'SELECT stormops.set_baseline(storm_id);';
    END IF;
    SELECT s.* INTO this FROM stormops_internal.storm_scores(storm_id) AS s;
    model_version := this.model_version;
    n := stormops.n(this.scores);
    mean := stormops.mean(this.scores);
    sd := stormops.stddev(this.scores);
    IF n = 0 THEN
        PERFORM stormops_internal.raise_no_scores(storm_id);
    END IF;
    INSERT INTO stormops.uplift_baselines AS b (model_version, name, storm_id, sketch, n, mean, sd, made_at, made_by, acting_user)
    VALUES (model_version, name, storm_id, this.scores, n, mean, sd, now(), stormops_internal.calling_role(), stormops.current_user_id())
    ON CONFLICT ON CONSTRAINT uplift_baselines_pkey DO UPDATE
    SET storm_id = EXCLUDED.storm_id, sketch = EXCLUDED.sketch, n = EXCLUDED.n, mean = EXCLUDED.mean, sd = EXCLUDED.sd,
        made_at = EXCLUDED.made_at, made_by = EXCLUDED.made_by, acting_user = EXCLUDED.acting_user
    RETURNING b.xmax <> 0 INTO replaced;
END
$$;
COMMENT ON FUNCTION stormops.set_baseline(uuid, text) IS 'Keeps a storm''s scores as the reference for later storms of the same model; the name "default" is what checks use without a name. One of the same name and model is replaced. Returns what was kept. Errors: 0B000; 22004; 22023; 42501 a field_user or viewer; 55000 no scores, tenant suspended; P0002 no such storm.';
