-- What came of the decisions.

CREATE FUNCTION stormops_internal.judge_outcomes(
    storm_id uuid, outcomes jsonb,
    OUT place bigint, OUT property_id uuid, OUT run_id uuid, OUT converted boolean, OUT value numeric,
    OUT occurred_at timestamptz, OUT late boolean, OUT idempotency_key text, OUT fault text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- how many there are the planner does not know: a hash for one costs nothing
    SET enable_mergejoin = off -- and sorts nothing
    SET work_mem = '64MB' -- fifty thousand are no reason to write to disk
    SET jit = off -- without loops its cost is beyond all measure
    AS $$
    WITH RECURSIVE run AS (
        -- From the run that is current now back to the first, by what superseded what and no clock: a run begins at the latest
        -- now, and when the one began that superseded it. It ends then too.
        SELECT r.run_id, r.supersedes, least(r.decided_at, now()) AS since, NULL::timestamptz AS until,
            make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS window
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
        UNION ALL
        SELECT r.run_id, r.supersedes, least(r.decided_at, n.since), n.since,
            make_interval(days => (r.parameters ->> 'outcome_days')::integer)
        FROM run AS n JOIN stormops.policy_runs AS r ON r.tenant_id = stormops.current_tenant() AND r.run_id = n.supersedes
    ), given AS MATERIALIZED (
        SELECT o.place, o.property_id, o.converted, round(o.value, 2) AS value, coalesce(o.occurred_at, now()) AS occurred_at,
            -- Without a key of its own an outcome is the property's one outcome of this storm.
            coalesce(o.idempotency_key, $1 || ':' || o.property_id) AS idempotency_key
        FROM ROWS FROM (jsonb_to_recordset($2) AS (
            property_id uuid, converted boolean, value numeric, occurred_at timestamptz, idempotency_key text
        )) WITH ORDINALITY AS o (property_id, converted, value, occurred_at, idempotency_key, place)
    ), placed AS MATERIALIZED (
        -- The run that was current when the outcome occurred.
        SELECT g.*, r.run_id, g.occurred_at > r.since + r.window AS late
        FROM given AS g LEFT JOIN run AS r ON r.since <= g.occurred_at AND (r.until IS NULL OR g.occurred_at < r.until)
    ), wanted AS MATERIALIZED (
        SELECT p.run_id, array_agg(DISTINCT p.property_id ORDER BY p.property_id) AS property_ids
        FROM placed AS p WHERE p.run_id IS NOT NULL AND p.property_id IS NOT NULL GROUP BY p.run_id
    ), decided AS (
        -- Each block is read once, whoever of it is asked for.
        SELECT w.run_id, f.property_id
        FROM wanted AS w
        CROSS JOIN LATERAL (
            SELECT k.first_property, k.last_property, k.property_ids, k.classes FROM stormops.policy_decision_blocks AS k
            WHERE k.tenant_id = stormops.current_tenant() AND k.run_id = w.run_id
                AND k.first_property <= w.property_ids[cardinality(w.property_ids)] AND k.last_property >= w.property_ids[1]
            OFFSET 0 -- by the key, whatever the planner knows of it
        ) AS b
        CROSS JOIN LATERAL stormops_internal.find_decisions(b.first_property, b.last_property, b.property_ids, b.classes, w.property_ids) AS f
    ), repeated AS (
        SELECT g.idempotency_key FROM given AS g GROUP BY g.idempotency_key HAVING count(*) > 1
    ), first AS MATERIALIZED (
        SELECT DISTINCT ON (g.idempotency_key COLLATE "C") g.idempotency_key, ROW (g.property_id, g.converted, g.value) AS content
        FROM given AS g WHERE g.idempotency_key IN (SELECT k.idempotency_key FROM repeated AS k)
        ORDER BY g.idempotency_key COLLATE "C", g.place
    )
    SELECT p.place, p.property_id, p.run_id, p.converted, p.value, p.occurred_at, p.late, p.idempotency_key,
        CASE
            WHEN p.property_id IS NULL OR p.converted IS NULL THEN 'property_id and converted must be given'
            WHEN p.value NOT BETWEEN 0 AND 1e11 THEN 'value is not between 0 and 1e11'
            WHEN NOT isfinite(p.occurred_at) OR p.occurred_at > now() + interval '5 minutes' THEN 'occurred_at lies in the future'
            WHEN char_length(p.idempotency_key) NOT BETWEEN 1 AND 200 THEN 'idempotency_key has not 1 to 200 characters'
            WHEN p.run_id IS NULL THEN 'no policy was applied to this storm before the outcome occurred'
            WHEN d.property_id IS NULL AND NOT EXISTS (
                -- A run that is kept row by row.
                SELECT FROM stormops.policy_decision_rows AS l
                WHERE l.tenant_id = stormops.current_tenant() AND l.run_id = p.run_id AND l.property_id = p.property_id OFFSET 0
            ) THEN 'the property has no decision in the run that was current when it occurred'
            WHEN f.idempotency_key IS NOT NULL AND ROW (p.property_id, p.converted, p.value) IS DISTINCT FROM f.content
                THEN 'idempotency_key was used for another outcome'
        END
    FROM placed AS p
    LEFT JOIN decided AS d ON d.run_id = p.run_id AND d.property_id = p.property_id
    LEFT JOIN first AS f ON f.idempotency_key = p.idempotency_key
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
    wrong text;
    wrong_place bigint;
    wrong_property uuid;
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
        -- Judged once: what is wrong is known before the first row is written.
        WITH judged AS MATERIALIZED (
            SELECT j.* FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j
        ), fault AS MATERIALIZED (
            SELECT j.place, j.property_id, j.fault FROM judged AS j WHERE j.fault IS NOT NULL ORDER BY j.place LIMIT 1
        ), written AS (
            INSERT INTO stormops.policy_outcomes AS o
                (storm_id, property_id, run_id, converted, value, occurred_at, late, idempotency_key)
            SELECT storm_id, j.property_id, j.run_id, j.converted, j.value, j.occurred_at, j.late, j.idempotency_key
            FROM judged AS j WHERE NOT EXISTS (SELECT FROM fault)
            ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
            RETURNING o.late
        )
        SELECT w.recorded, jsonb_array_length(outcomes) - w.recorded, w.late, f.place, f.property_id, f.fault
        INTO recorded, duplicates, late, wrong_place, wrong_property, wrong
        FROM (SELECT count(*) AS recorded, count(*) FILTER (WHERE w.late) AS late FROM written AS w) AS w LEFT JOIN fault AS f ON true;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, -- what is no outcome at all, in the server's words
            MESSAGE = 'outcome is not valid: ' || left(SQLERRM, 200), DETAIL = 'Nothing was recorded.',
            HINT = 'Each element: {"property_id": ..., "converted": true, "value": 12500, "occurred_at": ..., "idempotency_key": ...}.';
    END;
    IF wrong IS NULL AND duplicates > 0 THEN
        -- A key that was there already, from another session a moment ago too, must have meant the same.
        SELECT j.place, j.property_id, 'idempotency_key was used for another outcome' INTO wrong_place, wrong_property, wrong
        FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j
        JOIN stormops.policy_outcomes AS o ON o.tenant_id = stormops.current_tenant() AND o.idempotency_key = j.idempotency_key
        WHERE (o.storm_id, o.property_id, o.converted, o.value) IS DISTINCT FROM (storm_id, j.property_id, j.converted, j.value)
        ORDER BY j.place LIMIT 1;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN wrong LIKE '%was used%' THEN 'unique_violation' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'outcome is not valid: ' || wrong,
            DETAIL = format('Element %s, property %s. Nothing was recorded.', wrong_place, coalesce(wrong_property::text, 'NULL')),
            HINT = CASE WHEN wrong LIKE '%was used%' THEN 'Give each outcome a key of its own; the same outcome keeps its key.'
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
