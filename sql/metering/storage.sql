-- What a tenant's rows take, metered as storage_mb.

CREATE FUNCTION stormops_internal.storage_by_tenant(OUT tenant_id uuid, OUT bytes numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    every_table text;
BEGIN
    -- One statement over all tables that hold tenants' rows, each partition for itself.
    SELECT string_agg(format(
        'SELECT tenant_id, pg_total_relation_size(%1$L::regclass) * sum(r.n) / sum(sum(r.n)) OVER () AS bytes'
        ' FROM (SELECT t.tenant_id, pg_column_size(t)::numeric AS n FROM %1$s AS t) AS r GROUP BY tenant_id',
        c.oid::regclass), ' UNION ALL ')
    INTO every_table
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind = 'r';
    RETURN QUERY EXECUTE format('SELECT tenant_id, sum(bytes) FROM (%s) AS s GROUP BY tenant_id', every_table);
END
$$;
COMMENT ON FUNCTION stormops_internal.storage_by_tenant() IS 'Bytes that each tenant''s rows take on disk. Of every table or partition the tenant has the share that pg_column_size() of its rows, out-of-line values included, has in that of all rows; times pg_total_relation_size(), that is heap, TOAST, indexes, free space and maps. So the sum over tenants is the size of the tables that have rows. Reads every row.';

CREATE FUNCTION stormops.measure_storage(OUT tenant_id uuid, OUT storage_mb numeric, OUT recorded boolean) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    key text := 'stormops:storage_mb:' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD');
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        WITH measured AS MATERIALIZED (
            SELECT s.tenant_id, round(s.bytes / 1048576, 6) AS storage_mb, stormops.new_id() AS usage_id
            FROM stormops_internal.storage_by_tenant() AS s
            JOIN stormops.tenants AS t ON t.tenant_id = s.tenant_id
            WHERE t.status <> 'closed'
        ), claimed AS (
            INSERT INTO stormops.usage_keys AS k (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
            SELECT m.tenant_id, key, m.usage_id, 'storage_mb', m.storage_mb, now() FROM measured AS m ORDER BY m.tenant_id
            ON CONFLICT ON CONSTRAINT usage_keys_pkey DO NOTHING
            RETURNING k.usage_id
        ), written AS (
            INSERT INTO stormops.tenant_usage AS u (tenant_id, usage_id, metric_name, metric_value, idempotency_key, recorded_at)
            SELECT m.tenant_id, m.usage_id, 'storage_mb', m.storage_mb, key, now()
            FROM measured AS m JOIN claimed AS c ON c.usage_id = m.usage_id
            RETURNING u.usage_id
        )
        SELECT m.tenant_id, m.storage_mb, w.usage_id IS NOT NULL
        FROM measured AS m LEFT JOIN written AS w ON w.usage_id = m.usage_id
        ORDER BY m.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.measure_storage() IS 'Measures the storage of every tenant that is not closed (its rows'' share of each table, times the table''s size with indexes) and meters it as storage_mb (MB of 1,048,576 bytes): one event a tenant and day (UTC), the first measurement. Returns tenant_id, storage_mb and recorded: false if the day was metered before. For a daily schedule.';
