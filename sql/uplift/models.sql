-- Models that users bring: registered as rows of their tenant, and run over the features of a storm's properties.

CREATE FUNCTION stormops_internal.read_model(
    onnx bytea, control bytea, given jsonb, names text[], types text[],
    OUT kind text, OUT inputs jsonb, OUT features jsonb, OUT uses text[], OUT cost bigint
) RETURNS SETOF record
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'model_read_wrapper';
COMMENT ON FUNCTION stormops_internal.read_model(bytea, bytea, jsonb, text[], text[]) IS 'What a model is: its kind, inputs, features by input, the catalogue''s features that it uses, and steps for a row. names, types: the catalogue. Errors: 0A000, 22004, 22023, 54000.';

CREATE FUNCTION stormops_internal.model_score(kind text, model bytea, control bytea, features jsonb, of_property record) RETURNS double precision[]
    LANGUAGE c WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_model_score';
COMMENT ON FUNCTION stormops_internal.model_score(text, bytea, bytea, jsonb, record) IS 'Window function: the uplift of each row, its standard deviation and the baseline, NaN where there is none; rows are scored some thousand at a time. of_property: property_id and features by their names. Errors: 0A000, 22003 no score, 22004, 22023, 54000.';

CREATE FUNCTION stormops_internal.scored_rows(
    storm_id uuid, kind text, model bytea, control bytea, features jsonb, from_id uuid, before_id uuid, journeys boolean,
    OUT property_id uuid, OUT uplift double precision, OUT uplift_sd double precision, OUT baseline double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT s.property_id, s.score[1], nullif(s.score[2], 'NaN'), nullif(s.score[3], 'NaN')
    FROM (
        SELECT f.property_id, stormops_internal.model_score($2, $3, $4, $5, f) OVER () AS score
        FROM stormops_internal.feature_rows($1, now(), $6, $7, $8) AS f
        WHERE f.in_storm
    ) AS s
$$;
COMMENT ON FUNCTION stormops_internal.scored_rows(uuid, text, bytea, bytea, jsonb, uuid, uuid, boolean) IS 'The scores that a model gives the properties of a storm, of those from from_id to before before_id; journeys: whether it uses features of the journeys. Errors as model_score().';

CREATE FUNCTION stormops_internal.require_model(
    model_version text, OUT kind text, OUT model bytea, OUT control bytea, OUT features jsonb, OUT journeys boolean
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    retired timestamptz;
BEGIN
    SELECT m.kind, m.model, m.control, m.features, m.retired_at INTO kind, model, control, features, retired
    FROM stormops.uplift_models AS m
    WHERE m.tenant_id = stormops.current_tenant() AND m.model_version = require_model.model_version;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN model_version IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('model "%s" does not exist', left(model_version, 100)),
            HINT = 'SELECT model_version, kind FROM stormops.models; shows this tenant''s models.';
    END IF;
    IF retired IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('model "%s" is retired', model_version),
            HINT = 'SELECT model_version FROM stormops.models WHERE retired_at IS NULL; shows those in use.';
    END IF;
    -- Every text in it: some are texts to compare with, which costs a look at the journeys and changes nothing.
    journeys := EXISTS (
        SELECT FROM jsonb_path_query(features, 'strict $.**') AS j (named)
        JOIN stormops.model_features() AS f ON to_jsonb(f.feature) = j.named
        WHERE f.source = 'journeys');
END
$$;
COMMENT ON FUNCTION stormops_internal.require_model(text) IS 'A model of this tenant, in use; journeys: whether its features may be of the journeys. Errors: 22004; 55000 retired; P0002 no such model.';

CREATE FUNCTION stormops.register_model(
    model_version text, onnx bytea, features jsonb DEFAULT NULL, control bytea DEFAULT NULL, notes jsonb DEFAULT NULL,
    OUT kind text, OUT inputs jsonb, OUT uses text[], OUT steps bigint, OUT digest text, OUT registered boolean
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant CONSTANT uuid := stormops.current_tenant();
    bytes CONSTANT bytea := sha256(onnx || coalesce(control, ''));
    by_input jsonb;
    kept record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    notes := coalesce(notes, '{}');
    IF NOT stormops.may_write('admin') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an admin of the tenant may register a model',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    IF model_version IS NULL OR onnx IS NULL OR char_length(model_version) NOT BETWEEN 1 AND 100 OR jsonb_typeof(notes) <> 'object' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN model_version IS NULL OR onnx IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'a model has a version of 1 to 100 characters and a file, and its notes are a JSON object',
            HINT = 'SELECT * FROM stormops.register_model(''v1'', :file::bytea, ''["roof_age", "building_value"]'');';
    END IF;
    IF pg_column_size(features) > 262144 OR pg_column_size(notes) > 262144 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'features and notes take up to 256 kB each',
            HINT = 'Keep what is longer elsewhere, and a reference to it in notes.';
    END IF;
    SELECT r.kind, r.inputs, r.features, r.uses, r.cost INTO kind, inputs, by_input, uses, steps
    FROM (SELECT array_agg(f.feature) AS names, array_agg(f.type) AS types FROM stormops.model_features() AS f) AS c
    CROSS JOIN LATERAL stormops_internal.read_model(onnx, control, features, c.names, c.types) AS r;
    digest := encode(bytes, 'hex');
    IF (SELECT count(*) >= 1000 OR sum(octet_length(m.model) + coalesce(octet_length(m.control), 0)) > 1073741824
        FROM stormops.uplift_models AS m WHERE m.tenant_id = tenant) THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'a tenant has up to 1000 models, and 1 GB of them',
            HINT = 'Ask for smaller models; versions that scored stay, since decisions name them.';
    END IF;
    INSERT INTO stormops.uplift_models (model_version, kind, features, model, control, digest, notes, made_at, made_by, acting_user)
    VALUES (model_version, kind, by_input, onnx, control, bytes, notes, now(), stormops_internal.calling_role(), stormops.current_user_id())
    ON CONFLICT ON CONSTRAINT uplift_models_pkey DO NOTHING;
    registered := FOUND;
    IF registered THEN
        RETURN;
    END IF;
    -- The same again is the same: whoever sends it a second time after a lost answer gets that answer.
    SELECT m.kind, m.digest, m.features INTO kept FROM stormops.uplift_models AS m
    WHERE m.tenant_id = tenant AND m.model_version = register_model.model_version;
    IF (kept.kind, kept.digest, kept.features) IS DISTINCT FROM (kind, bytes, by_input) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('model "%s" is another one', model_version),
            HINT = 'What a version computes never changes: give the new model another version.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.register_model(text, bytea, jsonb, bytea, jsonb) IS 'Keeps an ONNX file that predicts uplift, or the outcome with treatment, control without. features: a list for its one input or an object by input; NULL: inputs have features'' names. Returns kind, inputs, features used, steps a row, SHA-256; registered: false if there. Errors: 0A000 not supported; 22004; 22023; 42501 no admin; 42710 another of that version; 54000; 55000.';

CREATE FUNCTION stormops.retire_model(model_version text, OUT retired_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF NOT stormops.may_write('admin') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an admin of the tenant may retire a model',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    UPDATE stormops.uplift_models AS m SET retired_at = coalesce(m.retired_at, now())
    WHERE m.tenant_id = stormops.current_tenant() AND m.model_version = retire_model.model_version
    RETURNING m.retired_at INTO retired_at;
    IF NOT FOUND THEN
        PERFORM stormops_internal.require_model(model_version);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.retire_model(text) IS 'Takes a model out of use, for good: it scores no storm any more; its row stays, since scores and decisions name it. Returns when it was retired, by this call or an earlier one. Errors: 0B000; 22004; 42501 not an admin; 55000 suspended; P0002 no such model.';

CREATE FUNCTION stormops.model_scores(
    storm_id uuid, model_version text,
    OUT property_id uuid, OUT uplift double precision, OUT uplift_sd double precision, OUT baseline double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling the one large statement costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    m record;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT r.* INTO m FROM stormops_internal.require_model(model_version) AS r;
    RETURN QUERY SELECT s.property_id, s.uplift, s.uplift_sd, s.baseline
        FROM stormops_internal.scored_rows(storm_id, m.kind, m.model, m.control, m.features, NULL, NULL, m.journeys) AS s;
END
$$;
COMMENT ON FUNCTION stormops.model_scores(uuid, text) IS 'What score_storm() would write now, a row a property; writes and meters nothing, and works on a standby. Columns as in lead_uplift. Errors as score_storm(), but for roles: everybody in the tenant may.';

CREATE FUNCTION stormops.score_storm(
    storm_id uuid, model_version text,
    OUT properties bigint, OUT scored bigint, OUT outside bigint, OUT mean double precision,
    OUT lowest double precision, OUT highest double precision
)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling the one large statement costs more than it saves
    SET plan_cache_mode = force_custom_plan -- the batch's limits are then known to the planner
    AS $$
#variable_conflict use_variable
DECLARE
    tenant CONSTANT uuid := stormops.current_tenant();
    m record;
    batch record;
    of_batch record;
    total double precision := 0;
BEGIN
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may score a storm',
            HINT = 'SELECT * FROM stormops.model_scores(storm_id, model_version); writes nothing.';
    END IF;
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT r.* INTO m FROM stormops_internal.require_model(model_version) AS r;
    SELECT count(*) INTO properties FROM stormops.properties AS p WHERE p.tenant_id = tenant AND p.status = 'active';
    scored := 0;
    -- A statement's foreign keys and counts wait in memory until it ends: so a million rows are twenty statements.
    FOR batch IN
        SELECT k.property_id AS from_id, lead(k.property_id) OVER (ORDER BY k.property_id) AS before_id
        FROM (
            SELECT p.property_id, row_number() OVER (ORDER BY p.property_id) AS n
            FROM stormops.properties AS p WHERE p.tenant_id = tenant
        ) AS k
        WHERE k.n % 50000 = 1
    LOOP
        WITH written AS (
            INSERT INTO stormops.lead_uplift (storm_id, property_id, scored_at, model_version, uplift, uplift_sd, baseline)
            SELECT storm_id, s.property_id, now(), model_version, s.uplift, s.uplift_sd, s.baseline
            FROM stormops_internal.scored_rows(storm_id, m.kind, m.model, m.control, m.features, batch.from_id, batch.before_id, m.journeys) AS s
            RETURNING uplift
        )
        SELECT count(*) AS n, coalesce(sum(w.uplift), 0) AS total, min(w.uplift) AS lowest, max(w.uplift) AS highest INTO of_batch
        FROM written AS w;
        scored := scored + of_batch.n;
        total := total + of_batch.total;
        lowest := least(lowest, of_batch.lowest);
        highest := greatest(highest, of_batch.highest);
        RAISE DEBUG 'stormops: % of % properties scored', scored, properties;
    END LOOP;
    IF scored = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('storm %s has no property to score', storm_id),
            DETAIL = 'A property is scored if it is active and, where the storm has a bounding box, lies in it.',
            HINT = 'SELECT west, south, east, north FROM stormops.storms; shows the boxes.';
    END IF;
    outside := properties - scored;
    mean := total / scored;
    INSERT INTO stormops.tenant_usage (metric_name, metric_value, dimensions)
    VALUES ('model_call', scored, jsonb_build_object('model', model_version, 'storm_id', storm_id));
EXCEPTION
    WHEN unique_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('storm %s was scored by model "%s" in this transaction already', storm_id, model_version),
            HINT = 'COMMIT; then score it anew.';
END
$$;
COMMENT ON FUNCTION stormops.score_storm(uuid, text) IS 'Scores a storm''s properties with a model: a row of lead_uplift for each active one in the storm''s bounding box if it has one, all or none. Meters one model_call a property. Returns active properties, scored, outside the box or without place, mean, lowest, highest. Errors: 0B000; 22003 no score, with the property; 22004; 42501 a field_user or viewer; 53400 quota; 55000; P0002.';
