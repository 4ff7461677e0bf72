-- What came of the decisions.

CREATE FUNCTION stormops_internal.judge_outcomes(
    storm_id uuid, outcomes jsonb,
    OUT place bigint, OUT property_id uuid, OUT run_id uuid, OUT converted boolean, OUT value numeric,
    OUT occurred_at timestamptz, OUT late boolean, OUT idempotency_key text, OUT fault text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE run AS (
        -- From the run that is current now back to the first, by what superseded what and no clock: a run begins at the latest
        -- now, and when the one began that superseded it.
        SELECT r.run_id, r.supersedes, least(r.decided_at, now()) AS since, 1 AS back,
            make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS window
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
        UNION ALL
        SELECT r.run_id, r.supersedes, least(r.decided_at, n.since), n.back + 1,
            make_interval(days => (r.parameters ->> 'outcome_days')::integer)
        FROM run AS n JOIN stormops.policy_runs AS r ON r.tenant_id = stormops.current_tenant() AND r.run_id = n.supersedes
    ), given AS (
        SELECT o.place, o.property_id, o.converted, round(o.value, 2) AS value, coalesce(o.occurred_at, now()) AS occurred_at,
            -- Without a key of its own an outcome is the property's one outcome of this storm.
            coalesce(o.idempotency_key, $1 || ':' || o.property_id) AS idempotency_key
        FROM ROWS FROM (jsonb_to_recordset($2) AS (
            property_id uuid, converted boolean, value numeric, occurred_at timestamptz, idempotency_key text
        )) WITH ORDINALITY AS o (property_id, converted, value, occurred_at, idempotency_key, place)
    ), placed AS (
        SELECT g.*, r.run_id, g.occurred_at > r.since + r.window AS late,
            EXISTS (
                SELECT FROM stormops.policy_decisions_log AS d
                WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = r.run_id AND d.property_id = g.property_id
            ) AS decided,
            ROW (g.property_id, g.converted, g.value) AS content,
            first_value(ROW (g.property_id, g.converted, g.value)) OVER (PARTITION BY g.idempotency_key ORDER BY g.place) AS first_content
        FROM given AS g
        -- The run that was current when the outcome occurred.
        LEFT JOIN LATERAL (
            SELECT r.run_id, r.since, r.window FROM run AS r WHERE r.since <= g.occurred_at ORDER BY r.back LIMIT 1
        ) AS r ON true
    )
    SELECT p.place, p.property_id, p.run_id, p.converted, p.value, p.occurred_at, p.late, p.idempotency_key,
        CASE
            WHEN p.property_id IS NULL OR p.converted IS NULL THEN 'property_id and converted must be given'
            WHEN p.value NOT BETWEEN 0 AND 1e11 THEN 'value is not between 0 and 1e11'
            WHEN NOT isfinite(p.occurred_at) OR p.occurred_at > now() + interval '5 minutes' THEN 'occurred_at lies in the future'
            WHEN char_length(p.idempotency_key) NOT BETWEEN 1 AND 200 THEN 'idempotency_key has not 1 to 200 characters'
            WHEN p.run_id IS NULL THEN 'no policy was applied to this storm before the outcome occurred'
            WHEN NOT p.decided THEN 'the property has no decision in the run that was current when it occurred'
            WHEN p.content IS DISTINCT FROM p.first_content THEN 'idempotency_key was used for another outcome'
        END
    FROM placed AS p
$$;
COMMENT ON FUNCTION stormops_internal.judge_outcomes(uuid, jsonb) IS 'Finds for each outcome the run it belongs to, whether it is late, and what is wrong with it, whatever is recorded already.';

CREATE FUNCTION stormops.record_outcomes(
    storm_id uuid, outcomes jsonb, OUT recorded bigint, OUT duplicates bigint, OUT late bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    wrong record;
BEGIN
    IF NOT stormops.may_write('field_user') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'a viewer may not record outcomes',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    IF storm_id IS NULL OR outcomes IS NULL OR jsonb_typeof(outcomes) <> 'array' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN storm_id IS NULL OR outcomes IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'storm and outcomes must be given, outcomes as a JSON array',
            HINT = 'Each element: {"property_id": ..., "converted": true, "value": 12500, "occurred_at": ..., "idempotency_key": ...}.';
    END IF;
    BEGIN
        SELECT j.place, j.property_id, j.fault INTO wrong
        FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j WHERE j.fault IS NOT NULL ORDER BY j.place LIMIT 1;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, -- what is no outcome at all, in the server's words
            MESSAGE = 'outcome is not valid: ' || left(SQLERRM, 200), DETAIL = 'Nothing was recorded.',
            HINT = 'Each element: {"property_id": ..., "converted": true, "value": 12500, "occurred_at": ..., "idempotency_key": ...}.';
    END;
    IF wrong.place IS NULL THEN
        WITH written AS (
            INSERT INTO stormops.policy_outcomes AS o
                (storm_id, property_id, run_id, converted, value, occurred_at, late, idempotency_key)
            SELECT storm_id, j.property_id, j.run_id, j.converted, j.value, j.occurred_at, j.late, j.idempotency_key
            FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j
            ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
            RETURNING o.late
        )
        SELECT count(*), jsonb_array_length(outcomes) - count(*), count(*) FILTER (WHERE w.late)
        INTO recorded, duplicates, late
        FROM written AS w;
        -- A key that was there already, from another session a moment ago too, must have meant the same.
        SELECT j.place, j.property_id, 'idempotency_key was used for another outcome' AS fault INTO wrong
        FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j
        JOIN stormops.policy_outcomes AS o ON o.tenant_id = stormops.current_tenant() AND o.idempotency_key = j.idempotency_key
        WHERE duplicates > 0 AND (o.storm_id, o.property_id, o.converted, o.value) IS DISTINCT FROM (storm_id, j.property_id, j.converted, j.value)
        ORDER BY j.place LIMIT 1;
    END IF;
    IF wrong.fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN wrong.fault LIKE '%was used%' THEN 'unique_violation' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'outcome is not valid: ' || wrong.fault,
            DETAIL = format('Element %s, property %s. Nothing was recorded.', wrong.place, coalesce(wrong.property_id::text, 'NULL')),
            HINT = CASE WHEN wrong.fault LIKE '%was used%' THEN 'Give each outcome a key of its own; the same outcome keeps its key.'
                ELSE 'Decisions are in stormops.policy_decisions; an outcome comes after its decision.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.record_outcomes(uuid, jsonb) IS 'Records outcomes, all or none. outcomes: array of {property_id, converted, value (NULL), occurred_at (now), idempotency_key (one outcome a property)}. Returns recorded, duplicates (same key and content), late (after outcome_days). Errors: 22004; 22023 no decision by then, in the future, value; 23505 key used for another outcome; 42501 a viewer; 55000 suspended.';

CREATE FUNCTION stormops.record_outcome(
    storm_id uuid, property_id uuid, converted boolean, value numeric DEFAULT NULL,
    occurred_at timestamptz DEFAULT pg_catalog.now(), idempotency_key text DEFAULT NULL,
    OUT recorded boolean, OUT duplicate boolean, OUT late boolean
)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.recorded > 0, r.duplicates > 0, r.late > 0
    FROM stormops.record_outcomes($1, jsonb_build_array(jsonb_build_object(
        'property_id', $2, 'converted', $3, 'value', $4, 'occurred_at', $5, 'idempotency_key', $6))) AS r
$$;
COMMENT ON FUNCTION stormops.record_outcome(uuid, uuid, boolean, numeric, timestamptz, text) IS 'Records the outcome of one property. Returns recorded, duplicate, late. Rules and errors as record_outcomes().';
