-- What came of the decisions, and the upkeep of their log.

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

CREATE FUNCTION stormops_internal.make_decisions_partitions(months date[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' -- wherever the session's tables go, a partitioned table is refused there, or the owner is
    SET default_table_access_method = heap
    AS $$
DECLARE
    month date;
    name text;
BEGIN
    FOREACH month IN ARRAY months LOOP
        name := stormops_internal.decisions_partition(month);
        EXECUTE format('CREATE TABLE stormops_internal.%I (LIKE stormops.policy_decisions_log INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE stormops_internal.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('COMMENT ON TABLE stormops_internal.%I IS %L', name, format('Decisions of the runs of %s (UTC).', to_char(month, 'YYYY-MM')));
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.make_decisions_partitions(date[]) IS 'Makes tables that are to be partitions: all that nobody needs to be held up for.';

CREATE FUNCTION stormops_internal.attach_decisions_partitions(months date[]) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' -- wherever the session's tables go, a partitioned table is refused there, or the owner is
    SET default_table_access_method = heap
    AS $$
DECLARE
    month date;
    first_id uuid;
    next_id uuid;
BEGIN
    IF months = '{}' THEN
        RETURN 0;
    END IF;
    LOCK TABLE stormops_internal.policy_decisions_log_default IN ACCESS EXCLUSIVE MODE;
    FOREACH month IN ARRAY months LOOP
        first_id := stormops_internal.first_id_of(month);
        next_id := stormops_internal.first_id_of((month + interval '1 month')::date);
        -- What the month already has lies in the default partition.
        EXECUTE format('WITH moved AS (DELETE FROM stormops_internal.policy_decisions_log_default WHERE run_id >= %L AND run_id < %L RETURNING *)'
            ' INSERT INTO stormops_internal.%I SELECT * FROM moved', first_id, next_id, stormops_internal.decisions_partition(month));
        EXECUTE format('ALTER TABLE stormops.policy_decisions_log ATTACH PARTITION stormops_internal.%I FOR VALUES FROM (%L) TO (%L)',
            stormops_internal.decisions_partition(month), first_id, next_id);
    END LOOP;
    RETURN cardinality(months);
END
$$;
COMMENT ON FUNCTION stormops_internal.attach_decisions_partitions(date[]) IS 'Attaches the tables of make_decisions_partitions() and moves to them what the default partition has of their months. To be called patiently().';

CREATE FUNCTION stormops.maintain_partitions(months_ahead integer DEFAULT 3) RETURNS integer
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    decided date[];
    used date[];
    attach text[];
    attached integer;
    made integer;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    months_ahead := coalesce(months_ahead, 3);
    PERFORM stormops_internal.visit_all_tenants();
    IF months_ahead IS NULL OR months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'months ahead must be 0 to 120',
            HINT = 'SELECT stormops.maintain_partitions(3);';
    END IF;
    -- Two at once stand in line, so that the second finds the first one's partitions.
    LOCK TABLE stormops.policy_decisions_log, stormops.tenant_usage IN SHARE UPDATE EXCLUSIVE MODE;
    decided := ARRAY(
        SELECT m.month FROM (
            SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => m))::date AS month
            FROM generate_series(0, months_ahead) AS m
            UNION
            SELECT date_trunc('month', to_timestamp(stormops_internal.milliseconds_of(d.run_id) / 1000.0) AT TIME ZONE 'UTC')::date
            FROM stormops_internal.policy_decisions_log_default AS d
        ) AS m
        WHERE to_regclass('stormops_internal.' || stormops_internal.decisions_partition(m.month)) IS NULL ORDER BY m.month);
    used := stormops_internal.missing_usage_partitions(months_ahead);
    IF decided = '{}' AND used = '{}' THEN
        RETURN 0;
    END IF;
    PERFORM stormops_internal.make_decisions_partitions(decided);
    PERFORM stormops_internal.make_usage_partitions(used);
    attach := ARRAY[
        format('SELECT stormops_internal.attach_decisions_partitions(%L)', ARRAY(SELECT to_char(m.month, 'YYYY-MM-DD') FROM unnest(decided) AS m (month))),
        format('SELECT stormops_internal.attach_usage_partitions(%L)', ARRAY(SELECT to_char(m.month, 'YYYY-MM-DD') FROM unnest(used) AS m (month)))];
    -- What is attached is locked until the end: so both together, or what can be at once.
    made := stormops_internal.patiently(format('SELECT (%s) + (%s)', attach[1], attach[2]));
    IF made IS NULL THEN
        made := 0;
        attached := stormops_internal.patiently(attach[1], now());
        made := made + coalesce(attached, 0);
        IF attached IS NULL AND decided <> '{}' THEN
            EXECUTE (SELECT 'DROP TABLE ' || string_agg('stormops_internal.' || stormops_internal.decisions_partition(m.month), ', ') FROM unnest(decided) AS m (month));
        END IF;
        attached := stormops_internal.patiently(attach[2], now());
        made := made + coalesce(attached, 0);
        IF attached IS NULL AND used <> '{}' THEN
            EXECUTE (SELECT 'DROP TABLE ' || string_agg('stormops_internal.' || stormops_internal.usage_partition(m.month), ', ') FROM unnest(used) AS m (month));
        END IF;
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION stormops.maintain_partitions(integer) IS 'Makes the partitions of the decision log and of tenant_usage for this month, for so many ahead and for whatever their default partitions have, and moves that there. Returns how many it made: those that a transaction of more than a second is in the way of are left to the next call. Run it daily; a missing partition loses nothing. Error: 22023.';

CREATE FUNCTION stormops_internal.decisions_partition(month date) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT 'policy_decisions_log_' || to_char($1, 'YYYY_MM') $$;
COMMENT ON FUNCTION stormops_internal.decisions_partition(date) IS 'Name of a month''s partition of the decision log.';

CREATE FUNCTION stormops_internal.first_id_of(month date) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.first_id_at((extract(epoch FROM $1::timestamp) * 1000)::bigint) $$;
COMMENT ON FUNCTION stormops_internal.first_id_of(date) IS 'The smallest UUID of version 7 of a month, UTC.';

CREATE FUNCTION stormops_internal.drop_decisions_partitions(partitions text[]) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition text;
BEGIN
    FOREACH partition IN ARRAY partitions LOOP
        EXECUTE format('DROP TABLE stormops_internal.%I', partition);
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION stormops_internal.drop_decisions_partitions(text[]) IS 'Of drop_decisions_before(): what nobody may read meanwhile. To be called patiently().';

CREATE FUNCTION stormops.drop_decisions_before(month date) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition name;
    dropped text[] := '{}';
    bound date;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF month IS NULL OR month > now() - interval '1 month' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'decisions of the last month are kept',
            HINT = 'SELECT stormops.drop_decisions_before((now() - interval ''7 years'')::date);';
    END IF;
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'stormops.policy_decisions_log'::regclass
            AND c.relname ~ '^policy_decisions_log_[0-9]{4}_[0-9]{2}$'
            AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month')::date <= month
        ORDER BY c.relname
    LOOP
        PERFORM stormops_internal.uncount_partition('policy_decisions_log', partition);
        dropped := dropped || partition::text;
        bound := (to_date(right(partition, 7), 'YYYY_MM') + interval '1 month')::date;
    END LOOP;
    IF dropped <> '{}' AND stormops_internal.patiently(format('SELECT stormops_internal.drop_decisions_partitions(%L)', dropped)) IS NULL THEN
        PERFORM stormops_internal.raise_in_use('policy_decisions_log');
    END IF;
    -- Whose decisions went is in each tenant's log, so that it can tell them from decisions that somebody took away.
    PERFORM stormops_internal.log_event(r.tenant_id, 'drop_decisions', NULL, bound::text,
        format('%s decisions of %s runs', sum(r.decisions), count(*)))
    FROM (
        SELECT d.tenant_id, d.decisions FROM stormops.policy_run_digests AS d
        WHERE d.run_id < stormops_internal.first_id_of(bound)
            AND stormops_internal.decisions_partition((to_timestamp(stormops_internal.milliseconds_of(d.run_id) / 1000.0) AT TIME ZONE 'UTC')::date) = ANY (dropped)
    ) AS r
    GROUP BY r.tenant_id
    ORDER BY r.tenant_id;
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION stormops.drop_decisions_before(date) IS 'Drops the decision log''s partitions that end by a date, of all tenants; runs and their counts stay. Returns their names. Errors: 22023 for the last month; 55P03 somebody has been reading for more than a second.';
