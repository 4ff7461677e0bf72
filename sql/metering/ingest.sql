-- How events come in: by record_usage(), record_usages() and plain INSERT, under the same rules.

CREATE FUNCTION stormops.usage_batch() RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'usage_batch_wrapper';
COMMENT ON FUNCTION stormops.usage_batch() IS 'The id by which the events of this transaction are known until they are rolled up: a UUID of version 7, the same until the transaction ends. Gives it a number (pg_current_xact_id()).';

CREATE FUNCTION stormops_internal.usage_fault(metric_name text, value numeric, dimensions jsonb, idempotency_key text, at timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE
        WHEN $1 IS NULL OR $2 IS NULL THEN 'metric_name and value must be given'
        WHEN char_length($1) NOT BETWEEN 1 AND 100 THEN 'metric_name has not 1 to 100 characters'
        WHEN $2 NOT BETWEEN 0 AND 1e15 THEN 'value is not between 0 and 1e15' -- NaN is above
        WHEN scale($2) > 20 THEN 'value has more than 20 decimal places'
        WHEN pg_column_size($3 || '{}') > 8192 THEN 'dimensions take more than 8 kB' -- || takes it out of its row, where it may lie compressed
        WHEN jsonb_typeof($3) <> 'object' THEN 'dimensions are not a JSON object'
        WHEN char_length($4) NOT BETWEEN 1 AND 200 THEN 'idempotency_key has not 1 to 200 characters'
        WHEN starts_with($4, 'stormops:') THEN 'idempotency_key begins with stormops:, as the platform''s own do'
        WHEN $5 > now() + interval '5 minutes' THEN 'at lies more than 5 minutes in the future'
        WHEN $5 < '2000-01-01 00:00:00+00' THEN 'at lies before 2000'
    END
$$;
COMMENT ON FUNCTION stormops_internal.usage_fault(text, numeric, jsonb, text, timestamptz) IS 'What is wrong with an event by itself; NULL: nothing.';

CREATE FUNCTION stormops_internal.refuse_usage(fault text, place bigint DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = CASE WHEN fault LIKE '%must be given' THEN 'null_value_not_allowed'
            WHEN fault LIKE '%was used%' THEN 'unique_violation' ELSE 'invalid_parameter_value' END,
        MESSAGE = 'usage is not valid: ' || fault,
        DETAIL = coalesce('Element ' || place || '. ', '') || 'Nothing was recorded.',
        HINT = CASE WHEN fault LIKE '%was used%' THEN 'Give each event a key of its own; the same event keeps its key.'
            ELSE 'SELECT * FROM stormops.record_usage(''model_call'', 1, ''{"model": "v1"}'', idempotency_key => ''call-17'');' END;
END
$$;
COMMENT ON FUNCTION stormops_internal.refuse_usage(text, bigint) IS 'Errors: 22004, 22023, 23505 a key used for another event.';

CREATE FUNCTION stormops_internal.usage_writer() RETURNS uuid
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$ SELECT CASE WHEN stormops.may_write('viewer') THEN stormops.current_tenant() END $$;
COMMENT ON FUNCTION stormops_internal.usage_writer() IS 'The tenant in context, for which everybody in it may record usage, though not everybody reads: so what records writes outside row security, for this tenant. Errors as may_write().';

CREATE FUNCTION stormops.record_usage(
    metric_name text, value numeric, dimensions jsonb DEFAULT '{}', idempotency_key text DEFAULT NULL,
    at timestamptz DEFAULT pg_catalog.now(), OUT usage_id uuid, OUT status text
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops_internal.usage_writer();
    fault text := stormops_internal.usage_fault(metric_name, value, dimensions, idempotency_key, at);
    earlier record;
BEGIN
    IF fault IS NOT NULL THEN
        PERFORM stormops_internal.refuse_usage(fault);
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    usage_id := stormops.new_id();
    status := 'recorded';
    dimensions := coalesce(dimensions, '{}');
    at := coalesce(at, now());
    IF idempotency_key IS NOT NULL THEN
        INSERT INTO stormops.usage_keys (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
        VALUES (tenant, idempotency_key, usage_id, metric_name, value, at)
        ON CONFLICT ON CONSTRAINT usage_keys_pkey DO NOTHING;
        IF NOT FOUND THEN
            SELECT k.* INTO earlier FROM stormops.usage_keys AS k
            WHERE k.tenant_id = tenant AND k.idempotency_key = record_usage.idempotency_key;
            IF (earlier.metric_name, earlier.metric_value) IS DISTINCT FROM (metric_name, value) THEN
                PERFORM stormops_internal.refuse_usage('idempotency_key was used for another event');
            END IF;
            usage_id := earlier.usage_id;
            status := 'duplicate';
            RETURN;
        END IF;
    END IF;
    INSERT INTO stormops.tenant_usage (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
    VALUES (tenant, usage_id, metric_name, value, dimensions, idempotency_key, at);
END
$$;
COMMENT ON FUNCTION stormops.record_usage(text, numeric, jsonb, text, timestamptz) IS 'Records one event in the transaction. value: 0 to 1e15, 20 decimal places; dimensions: JSON object up to 8 kB; at: from 2000 to 5 minutes ahead. Returns usage_id, status (recorded, or duplicate: that key came before). Errors: 0B000 no tenant; 22004; 22023 out of range, metric not declared, too old; 23505 key used for another metric or value; 53400 hard quota; 55000 suspended or closed.';

CREATE FUNCTION stormops_internal.given_usage(
    events jsonb, OUT metric_name text, OUT value numeric, OUT dimensions jsonb, OUT idempotency_key text, OUT at timestamptz, OUT place bigint
) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT o.metric_name, o.value, coalesce(o.dimensions, '{}'), o.idempotency_key, coalesce(o.at, now()), o.place
    FROM ROWS FROM (jsonb_to_recordset($1) AS (
        metric_name text, value numeric, dimensions jsonb, idempotency_key text, at timestamptz
    )) WITH ORDINALITY AS o (metric_name, value, dimensions, idempotency_key, at, place)
    -- The first one that is wrong is refused here, so that no element is looked at twice.
    WHERE CASE WHEN stormops_internal.usage_fault(o.metric_name, o.value, o.dimensions, o.idempotency_key, o.at) IS NULL THEN true
        ELSE stormops_internal.refuse_usage(stormops_internal.usage_fault(o.metric_name, o.value, o.dimensions, o.idempotency_key, o.at), o.place) IS NULL END
$$;
COMMENT ON FUNCTION stormops_internal.given_usage(jsonb) IS 'The events of an array, with what they leave out. Errors: 22004, 22023 an element is not valid.';

CREATE FUNCTION stormops.record_usages(events jsonb, OUT recorded bigint, OUT duplicates bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
DECLARE
    tenant uuid := stormops_internal.usage_writer();
    place bigint;
    hint text;
BEGIN
    IF events IS NULL OR jsonb_typeof(events) <> 'array' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN events IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'events must be a JSON array',
            HINT = 'Each element: {"metric_name": "model_call", "value": 1, "dimensions": {}, "idempotency_key": ..., "at": ...}.';
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    BEGIN
        -- As if no key had come before, which costs a third less. The keys first: a batch that is sent again fails at its first.
        WITH given AS MATERIALIZED (
            SELECT g.*, stormops.new_id() AS usage_id FROM stormops_internal.given_usage(events) AS g
        ), claimed AS (
            INSERT INTO stormops.usage_keys (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
            SELECT tenant, g.idempotency_key, g.usage_id, g.metric_name, g.value, g.at
            FROM given AS g WHERE g.idempotency_key IS NOT NULL
            ORDER BY g.idempotency_key COLLATE "C" -- two at once wait for each other in one direction only
            RETURNING 1
        )
        INSERT INTO stormops.tenant_usage (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
        SELECT tenant, g.usage_id, g.metric_name, g.value, g.dimensions, g.idempotency_key, g.at
        FROM given AS g WHERE (SELECT count(*) FROM claimed) >= 0;
        GET DIAGNOSTICS recorded = ROW_COUNT;
        duplicates := 0;
        RETURN;
    EXCEPTION
        WHEN unique_violation THEN NULL; -- some did: one by one
        WHEN data_exception THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            IF hint <> '' THEN
                RAISE;
            END IF;
            PERFORM stormops_internal.refuse_usage(left(SQLERRM, 200)); -- what is no event at all, in the server's words
    END;
    WITH given AS MATERIALIZED (
        SELECT g.*, stormops.new_id() AS usage_id FROM stormops_internal.given_usage(events) AS g
    ), claimed AS (
        INSERT INTO stormops.usage_keys AS k (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
        SELECT tenant, g.idempotency_key, g.usage_id, g.metric_name, g.value, g.at
        FROM given AS g WHERE g.idempotency_key IS NOT NULL
        ORDER BY g.idempotency_key COLLATE "C", g.place -- the first of several counts
        ON CONFLICT ON CONSTRAINT usage_keys_pkey DO NOTHING
        RETURNING k.usage_id
    )
    INSERT INTO stormops.tenant_usage (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
    SELECT tenant, g.usage_id, g.metric_name, g.value, g.dimensions, g.idempotency_key, g.at
    FROM given AS g WHERE g.idempotency_key IS NULL OR g.usage_id IN (SELECT c.usage_id FROM claimed AS c);
    GET DIAGNOSTICS recorded = ROW_COUNT;
    duplicates := jsonb_array_length(events) - recorded;
    -- A key that was there already, from this array or another session a moment ago too, must have meant the same.
    SELECT o.place INTO place
    FROM ROWS FROM (jsonb_to_recordset(events) AS (metric_name text, value numeric, idempotency_key text))
        WITH ORDINALITY AS o (metric_name, value, idempotency_key, place)
    JOIN stormops.usage_keys AS k ON k.tenant_id = tenant AND k.idempotency_key = o.idempotency_key
    WHERE (k.metric_name, k.metric_value) IS DISTINCT FROM (o.metric_name, o.value)
    ORDER BY o.place LIMIT 1;
    IF FOUND THEN
        PERFORM stormops_internal.refuse_usage('idempotency_key was used for another event', place);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.record_usages(jsonb) IS 'Records many events of the tenant in context, all or none. events: an array of {metric_name, value, dimensions ({}), idempotency_key (NULL), at (now)}; rules and errors as record_usage(). Returns recorded and duplicates (the same key with the same content: not counted again). INSERT INTO tenant_usage ... SELECT does the same for rows, where a repeated key is an error.';
