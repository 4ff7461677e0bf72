-- How many rows each tenant has, kept by triggers: exact in every snapshot, and read without a
-- look at the rows. A statement leaves one delta for each tenant and table that it wrote.

CREATE FUNCTION stormops_internal.count_rows() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- A restore of rows alone brings the counts too.
    IF stormops_internal.is_restore() THEN
        RETURN NULL;
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    IF TG_OP = 'INSERT' THEN
        INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted, took_ms)
        SELECT r.tenant_id, TG_TABLE_NAME, stormops.new_id(), count(*), 0,
            greatest(0, extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000)
        FROM changed_rows AS r GROUP BY r.tenant_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted)
        SELECT r.tenant_id, TG_TABLE_NAME, stormops.new_id(), 0, count(*) FROM changed_rows AS r GROUP BY r.tenant_id;
    ELSE
        LOCK TABLE stormops.row_counts IN SHARE UPDATE EXCLUSIVE MODE; -- or a fold under way would bring back what is deleted here
        DELETE FROM stormops.row_count_deltas AS d WHERE d.table_name = TG_TABLE_NAME;
        DELETE FROM stormops.row_counts AS c WHERE c.table_name = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.count_rows() IS 'Trigger: counts what a statement added, took away or truncated, for each tenant.';

CREATE FUNCTION stormops_internal.count_bucket(happened_at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE
        WHEN $1 >= date_trunc('hour', now(), 'UTC') - interval '48 hours' THEN date_trunc('hour', $1, 'UTC')
        WHEN $1 >= date_trunc('day', now(), 'UTC') - interval '60 days' THEN date_trunc('day', $1, 'UTC')
        ELSE timestamptz '1970-01-01 00:00:00+00'
    END
$$;
COMMENT ON FUNCTION stormops_internal.count_bucket(timestamptz) IS 'The bucket of row_counts that a moment belongs to as of now: its hour, its day, or all that was before.';

CREATE FUNCTION stormops.fold_row_counts() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    folded bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    -- Two at once stand in line; the second finds nothing left. Writers and readers wait for neither.
    LOCK TABLE stormops.row_counts IN SHARE UPDATE EXCLUSIVE MODE;
    WITH taken AS (
        DELETE FROM stormops.row_count_deltas AS d
        RETURNING d.tenant_id, d.table_name, d.happened_at, d.inserted, d.deleted, d.took_ms
    ), moved AS (
        -- What has grown too old for its bucket.
        DELETE FROM stormops.row_counts AS c WHERE c.bucket <> stormops_internal.count_bucket(c.bucket)
        RETURNING c.tenant_id, c.table_name, c.bucket, c.inserted, c.deleted, c.last_at
    ), timed AS (
        INSERT INTO stormops.call_durations AS d (tenant_id, table_name, day, class, calls)
        SELECT t.tenant_id, t.table_name, (t.happened_at AT TIME ZONE 'UTC')::date,
            stormops_internal.duration_class(t.took_ms), count(*)
        FROM taken AS t WHERE t.took_ms IS NOT NULL
        GROUP BY 1, 2, 3, 4
        ON CONFLICT ON CONSTRAINT call_durations_pkey DO UPDATE SET calls = d.calls + EXCLUDED.calls
    ), summed AS (
        INSERT INTO stormops.row_counts AS c (tenant_id, table_name, bucket, inserted, deleted, last_at)
        SELECT b.tenant_id, b.table_name, stormops_internal.count_bucket(b.bucket), sum(b.inserted), sum(b.deleted), max(b.last_at)
        FROM (
            SELECT t.tenant_id, t.table_name, t.happened_at AS bucket, t.inserted, t.deleted,
                CASE WHEN t.inserted > 0 THEN t.happened_at END AS last_at
            FROM taken AS t
            UNION ALL
            SELECT m.* FROM moved AS m
        ) AS b
        GROUP BY 1, 2, 3
        ON CONFLICT ON CONSTRAINT row_counts_pkey DO UPDATE
        SET inserted = c.inserted + EXCLUDED.inserted, deleted = c.deleted + EXCLUDED.deleted,
            last_at = greatest(c.last_at, EXCLUDED.last_at)
    )
    SELECT count(*) INTO folded FROM taken;
    DELETE FROM stormops.call_durations AS d WHERE d.day < current_date - 60;
    RETURN folded;
END
$$;
COMMENT ON FUNCTION stormops.fold_row_counts() IS 'Adds the deltas of all tenants to row_counts and call_durations; returns how many there were. Part of run_health_checks(); the counts are the same before and after.';

CREATE FUNCTION stormops_internal.duration_class(milliseconds numeric) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN $1 <= 0.001 THEN 0 ELSE least(240, ceil(20 * log($1 * 1000))) END::smallint $$;
COMMENT ON FUNCTION stormops_internal.duration_class(numeric) IS 'The class of call_durations that a time in milliseconds falls into.';

CREATE FUNCTION stormops_internal.counted_table(
    name text, OUT table_name text, OUT time_column text, OUT natural_key text[], OUT parents jsonb, OUT call text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    SELECT t.table_name, t.time_column, t.natural_key, t.parents, t.call INTO table_name, time_column, natural_key, parents, call
    FROM stormops.counted_tables() AS t WHERE t.table_name = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN $1 IS NULL THEN 'null_value_not_allowed' ELSE 'undefined_object' END,
            MESSAGE = format('"%s" is not a table whose health is watched', left($1, 63)),
            HINT = format('The tables are %s.', (SELECT string_agg(t.table_name, ', ') FROM stormops.counted_tables() AS t));
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.counted_table(text) IS 'A row of counted_tables(). Errors: 22004; 42704 no such row.';

CREATE FUNCTION stormops_internal.kept_in(table_name text, OUT relation regclass, OUT rows text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT to_regclass(format('stormops.%I', coalesce(k.name, $1))), coalesce(k.rows, '1')
    FROM (SELECT) AS one
    -- The log of decisions is a view of both; of blocks each is many rows.
    LEFT JOIN (VALUES ('policy_decision_rows', '1'), ('policy_decision_blocks', 'r.n')) AS k (name, rows) ON $1 = 'policy_decisions_log'
    ORDER BY k.name DESC
$$;
COMMENT ON FUNCTION stormops_internal.kept_in(text) IS 'The tables that hold the rows of a table of counted_tables(), and how many of them a row r of each is. The first has its columns and checks.';

CREATE FUNCTION stormops_internal.tenant_row_counts(
    OUT tenant_id uuid, OUT table_name text, OUT total_rows bigint, OUT recent_rows_24h bigint, OUT last_at timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT b.tenant_id, b.table_name, sum(b.inserted - b.deleted)::bigint,
        coalesce(sum(b.inserted) FILTER (WHERE b.happened_at >= b.since), 0)::bigint, max(b.last_at)
    FROM (
        SELECT c.tenant_id, c.table_name, c.inserted, c.deleted, c.bucket AS happened_at, c.last_at,
            date_trunc('hour', now() - interval '24 hours', 'UTC') AS since
        FROM stormops.row_counts AS c
        UNION ALL
        SELECT d.tenant_id, d.table_name, d.inserted, d.deleted, d.happened_at,
            CASE WHEN d.inserted > 0 THEN d.happened_at END,
            date_trunc('hour', now() - interval '24 hours', 'UTC')
        FROM stormops.row_count_deltas AS d
    ) AS b
    GROUP BY b.tenant_id, b.table_name
$$;
COMMENT ON FUNCTION stormops_internal.tenant_row_counts() IS 'Rows by tenant and table, exact in the caller''s snapshot. recent_rows_24h: added since the beginning of the hour 24 hours ago. Shows the rows that the caller may see.';
