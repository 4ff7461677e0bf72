CREATE FUNCTION stormops.export_tenant_data(tenant_id uuid DEFAULT NULL, OUT table_name text, OUT row_count bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
    counted record;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- The catalogue, not a list: a tenant's table cannot be forgotten.
    FOR counted IN
        SELECT c.relname::text AS name, c.oid::regclass AS relation
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        UNION ALL
        -- How many decisions there are, whatever form they are kept in.
        SELECT 'policy_decisions_log', 'stormops.policy_decisions_log'::regclass
        UNION ALL
        -- Of the database's own tables those that are protected, with their schema.
        SELECT format('%I.%I', c.relnamespace::regnamespace, c.relname), c.oid::regclass
        FROM stormops_internal.protected() AS p JOIN pg_class AS c ON c.oid = p.relation
        ORDER BY 1
    LOOP
        EXECUTE (
            SELECT format('SELECT %s', string_agg(format('(SELECT coalesce(sum(%s), 0) FROM %s AS r WHERE r.tenant_id = $1)', k.rows, k.relation), ' + '))
            FROM (
                SELECT k.rows, k.relation FROM stormops_internal.kept_in(counted.name) AS k WHERE counted.name = 'policy_decisions_log'
                UNION ALL SELECT '1', counted.relation WHERE counted.name <> 'policy_decisions_log'
            ) AS k)
        INTO row_count USING target;
        table_name := counted.name;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.export_tenant_data(uuid) IS 'Summary of a tenant''s data: one row for each table with its number of rows, in one snapshot. For operators (any tenant) and for the admins of the tenant in context (NULL or its id). Errors: 42501 another tenant; P0002 no such tenant.';
