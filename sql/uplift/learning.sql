-- Learning uplift from a tenant's own decisions and outcomes. The fit is Rust; here is what it is given.

CREATE FUNCTION stormops_internal.learn_collect(
    state internal, names text[], number_places integer[], text_places integer[], property_id uuid, treated boolean,
    outcome double precision, propensity double precision, numbers double precision[], texts text[]
) RETURNS internal
    LANGUAGE c IMMUTABLE AS 'MODULE_PATHNAME', 'stormops_learn_collect';
COMMENT ON FUNCTION stormops_internal.learn_collect(internal, text[], integer[], integer[], uuid, boolean, double precision, double precision, double precision[], text[]) IS 'Of learn_agg(): takes in a decision.';
CREATE FUNCTION stormops_internal.learn_finish(state internal) RETURNS jsonb
    LANGUAGE c IMMUTABLE AS 'MODULE_PATHNAME', 'stormops_learn_finish';
COMMENT ON FUNCTION stormops_internal.learn_finish(internal) IS 'Of learn_agg(): fits.';

CREATE AGGREGATE stormops_internal.learn_agg(
    names text[], number_places integer[], text_places integer[], property_id uuid, treated boolean,
    outcome double precision, propensity double precision, numbers double precision[], texts text[]
) (SFUNC = stormops_internal.learn_collect, STYPE = internal, FINALFUNC = stormops_internal.learn_finish);
COMMENT ON AGGREGATE stormops_internal.learn_agg(text[], integer[], integer[], uuid, boolean, double precision, double precision, double precision[], text[]) IS 'Fits an uplift model on decisions, which come in the order of property_id: {model, report}. names: of the features, numbers first; number_places, text_places: where each stands in numbers and texts, from 1; propensity: P(treated), also of the held. Errors: 22023 features; 53200 no memory; 54000 too many rows; 55000 the rows cannot answer.';

CREATE FUNCTION stormops_internal.feature_places(
    features text[], OUT names text[], OUT number_places integer[], OUT text_places integer[], OUT journeys boolean
)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    unknown text;
BEGIN
    -- What describes the property and what happened to it before the decision; all properties of a storm have its own
    -- features in common, and a place says nothing of another one.
    features := coalesce(features, '{building_age,roof_age,building_value,roof_style,roof_material,touches,inbound_touches,channels,conversions,days_since_touch,days_since_inbound}');
    SELECT f.feature INTO unknown FROM unnest(features) AS f (feature)
    WHERE f.feature IS NULL OR f.feature NOT IN (SELECT m.feature FROM stormops.model_features() AS m) LIMIT 1;
    IF FOUND OR cardinality(features) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown feature "%s"', left(coalesce(unknown, ''), 100)),
            HINT = 'SELECT * FROM stormops.model_features(); shows those there are.';
    END IF;
    -- In the catalogue's order, each once: the same features make the same model.
    SELECT array_agg(p.feature ORDER BY p.type, p.place),
        coalesce(array_agg(p.place ORDER BY p.place) FILTER (WHERE p.type = 'number'), '{}'),
        coalesce(array_agg(p.place ORDER BY p.place) FILTER (WHERE p.type = 'text'), '{}'),
        bool_or(p.source = 'journeys')
    INTO names, number_places, text_places, journeys
    FROM (
        SELECT m.feature, m.type, m.source, (row_number() OVER (PARTITION BY m.type ORDER BY m.place))::integer AS place
        FROM stormops.model_features() WITH ORDINALITY AS m (feature, type, source, unit, description, place)
    ) AS p
    WHERE p.feature = ANY (features);
END
$$;
COMMENT ON FUNCTION stormops_internal.feature_places(text[]) IS 'Where features stand in the arrays of learning_rows(), the names with the numbers first; journeys: whether any is of the journeys. NULL: the default ones. Error: 22023 unknown.';

CREATE FUNCTION stormops_internal.learning_rows(
    storm_id uuid, as_of timestamptz, journeys boolean,
    OUT property_id uuid, OUT treated boolean, OUT converted boolean, OUT propensity double precision,
    OUT numbers double precision[], OUT texts text[]
) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 100000
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    SELECT d.property_id, d.treated, d.converted, d.propensity,
        ARRAY[f.longitude, f.latitude, f.year_built, f.roof_year, f.building_age, f.roof_age, f.building_value, f.job_margin,
            f.contact_cost, f.hail_size_in, f.wind_gust_mph, f.storm_month, f.storm_days, f.touches, f.inbound_touches,
            f.storm_touches, f.channels, f.conversions, f.converted_value, f.days_since_touch, f.days_since_inbound,
            f.days_since_conversion],
        ARRAY[f.roof_style, f.roof_material, f.peril]
    FROM stormops.randomised_decisions($1) AS d
    JOIN stormops_internal.feature_rows($1, $2, NULL, NULL, $3) AS f ON f.property_id = d.property_id
$$;
COMMENT ON FUNCTION stormops_internal.learning_rows(uuid, timestamptz, boolean) IS 'The randomised decisions of a storm''s current run with the features that the properties had then, numbers and texts in the order of model_features().';

CREATE FUNCTION stormops_internal.answered_runs(
    storms uuid[], include_open boolean, OUT run_id uuid, OUT storm_id uuid, OUT decided_at timestamptz, OUT open boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.run_id, r.storm_id, r.decided_at, r.due > now()
    FROM (
        SELECT r.*, r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS due
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.superseded_at IS NULL AND ($1 IS NULL OR r.storm_id = ANY ($1))
    ) AS r
    WHERE $2 OR r.due <= now()
$$;
COMMENT ON FUNCTION stormops_internal.answered_runs(uuid[], boolean) IS 'The current runs of some storms (NULL: all) whose outcomes are all due; include_open: also those that some may still come of.';

CREATE FUNCTION stormops_internal.answered_decisions(
    include_open boolean,
    OUT run_id uuid, OUT model_version text, OUT score double precision, OUT decision text, OUT propensity double precision,
    OUT treat_chance double precision, OUT converted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT d.run_id, d.model_version, d.score, d.decision, d.propensity,
        CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END, coalesce(o.converted, false)
    FROM stormops_internal.answered_runs(NULL, $1) AS r
    JOIN stormops.policy_decisions_log AS d ON d.run_id = r.run_id
    LEFT JOIN (
        SELECT o.run_id, o.property_id, bool_or(o.converted) AS converted FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND NOT o.late
        GROUP BY o.run_id, o.property_id
    ) AS o ON o.run_id = d.run_id AND o.property_id = d.property_id
    WHERE d.tenant_id = stormops.current_tenant() AND d.decision IN ('treat', 'hold')
$$;
COMMENT ON FUNCTION stormops_internal.answered_decisions(boolean) IS 'The decisions to treat and to hold of the storms whose outcomes are complete (include_open: of all), each with the chance with which it could have been treated and whether it converted in time.';

CREATE FUNCTION stormops_internal.require_answered(storms uuid[], include_open boolean) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    storm uuid;
    first_due timestamptz;
BEGIN
    FOREACH storm IN ARRAY coalesce(storms, '{}') LOOP
        PERFORM stormops_internal.require_storm(storm);
    END LOOP;
    PERFORM FROM stormops_internal.answered_runs(storms, include_open) AS r;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT min(r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer)) INTO first_due
    FROM stormops.policy_runs AS r JOIN stormops_internal.answered_runs(storms, true) AS a ON a.run_id = r.run_id
    WHERE r.tenant_id = stormops.current_tenant();
    IF first_due IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'no policy was applied yet',
            HINT = 'SELECT * FROM stormops.apply_policy(storm_id); then record outcomes.';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'outcomes of every policy run are still due',
        DETAIL = format('The first are complete on %s.', to_char(first_due AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')),
        HINT = 'Wait until then, or pass include_open => true: what has not converted by now then counts as not converted.';
END
$$;
COMMENT ON FUNCTION stormops_internal.require_answered(uuid[], boolean) IS 'Errors: 55000 no run whose outcomes are complete; P0002 no such storm.';

CREATE FUNCTION stormops.learn_uplift(
    model_version text, features text[] DEFAULT NULL, storms uuid[] DEFAULT NULL, include_open boolean DEFAULT false,
    OUT status text, OUT n bigint, OUT properties bigint, OUT storms_used bigint, OUT treated bigint, OUT held bigint,
    OUT treated_conversions bigint, OUT held_conversions bigint, OUT uplift double precision, OUT uplift_se double precision,
    OUT qini double precision, OUT qini_area double precision, OUT autoc double precision, OUT autoc_se double precision,
    OUT autoc_p double precision, OUT slope double precision, OUT slope_se double precision, OUT intercept double precision,
    OUT calibration_error double precision, OUT calibration_by_chance double precision, OUT contributions jsonb
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- JSON has the numbers as they print: exact, whatever the caller has set
    AS $$
#variable_conflict use_variable
DECLARE
    chosen record;
    learned jsonb;
    report jsonb;
    model bytea;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    include_open := coalesce(include_open, false);
    IF NOT stormops.may_write('admin') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an admin may make a model',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    IF model_version IS NULL OR char_length(model_version) NOT BETWEEN 1 AND 100 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN model_version IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'a model''s version has 1 to 100 characters', HINT = 'SELECT * FROM stormops.learn_uplift(''2026-11'');';
    END IF;
    PERFORM FROM stormops.uplift_models AS m WHERE m.tenant_id = stormops.current_tenant() AND m.model_version = learn_uplift.model_version;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('model "%s" exists already', model_version),
            HINT = 'What a version computes never changes: give the new model a version of its own.';
    END IF;
    SELECT p.* INTO chosen FROM stormops_internal.feature_places(features) AS p;
    PERFORM stormops_internal.require_answered(storms, include_open);
    SELECT stormops_internal.learn_agg(
            chosen.names, chosen.number_places, chosen.text_places, d.property_id, d.treated, d.converted::integer::float8,
            d.propensity, d.numbers, d.texts)
    INTO learned
    FROM (
        SELECT l.* FROM stormops_internal.answered_runs(storms, include_open) AS r
        CROSS JOIN LATERAL stormops_internal.learning_rows(r.storm_id, r.decided_at, chosen.journeys) AS l
        ORDER BY l.property_id, r.run_id -- the same log gives the same model
    ) AS d;
    report := learned -> 'report';
    model := convert_to((learned -> 'model')::text, 'UTF8');
    SELECT count(*) INTO storms_used FROM stormops_internal.answered_runs(storms, include_open) AS r;
    INSERT INTO stormops.uplift_models (model_version, kind, features, model, digest, notes, made_at, made_by, acting_user)
    VALUES (
        model_version, 'linear', jsonb_build_object('features', chosen.names), model, sha256(model),
        report || jsonb_build_object('storms_used', storms_used, 'include_open', include_open),
        now(), stormops_internal.calling_role(), stormops.current_user_id()
    );
    SELECT t.* INTO status, n, properties, treated, held, treated_conversions, held_conversions, uplift, uplift_se, qini, qini_area,
        autoc, autoc_se, autoc_p, slope, slope_se, intercept, calibration_error, calibration_by_chance, contributions
    FROM jsonb_to_record(report) AS t (
        status text, n bigint, properties bigint, treated bigint, held bigint, treated_conversions bigint, held_conversions bigint,
        uplift double precision, uplift_se double precision, qini double precision, qini_area double precision,
        autoc double precision, autoc_se double precision, autoc_p double precision, slope double precision, slope_se double precision,
        intercept double precision, calibration_error double precision, calibration_by_chance double precision, contributions jsonb
    );
END
$$;
COMMENT ON FUNCTION stormops.learn_uplift(text, text[], uuid[], boolean) IS 'Fits a model (kind linear) on the randomised decisions of storms (NULL: all) whose outcomes are complete, and keeps it; nothing uses it yet. One row, judged out of fold: as uplift_metrics(), and contributions of features. docs/learning.md. Errors: 0B000; 22004; 22023 features; 23505 version exists; 42501 not an admin; 54000; 55000 the log cannot answer, suspended; P0002 no such storm.';
