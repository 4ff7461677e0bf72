-- Storms, as the functions of every other domain look for them.

CREATE FUNCTION stormops_internal.require_storm(storm_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = require_storm.storm_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN storm_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('storm %s does not exist', coalesce(storm_id::text, 'NULL')),
            HINT = 'SELECT storm_id, name, status FROM stormops.storms; shows this tenant''s storms.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_storm(uuid) IS 'Errors: 22004, P0002 no such storm in this tenant.';
