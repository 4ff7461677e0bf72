-- Functions of stormops_owner: who called them, and how they see every tenant's rows.

CREATE FUNCTION stormops_internal.calling_role() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calling_role_wrapper';
COMMENT ON FUNCTION stormops_internal.calling_role() IS 'The database role in force outside every SECURITY DEFINER function: who called.';

CREATE FUNCTION stormops_internal.visit_all_tenants() RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'visit_all_tenants_wrapper';
COMMENT ON FUNCTION stormops_internal.visit_all_tenants() IS 'Lets the function of stormops_owner that calls it see every tenant''s rows until it returns. Errors: 42501 from anywhere else.';

CREATE FUNCTION stormops_internal.is_restore() RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF current_setting('row_security') = 'on' THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = stormops_internal.calling_role() AND r.rolsuper)
        OR current_user = 'stormops_owner' AND stormops_internal.is_import();
END
$$;
COMMENT ON FUNCTION stormops_internal.is_restore() IS 'Whether rows come from a dump, and what belongs to them with them: pg_restore sets row_security off, and is a superuser''s. Or from a file that import_tenant_rows() reads.';

CREATE FUNCTION stormops_internal.patiently(statement text, until timestamptz DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '100ms' -- whoever comes meanwhile stands behind us, and for so long at most
    AS $$
DECLARE
    result text;
BEGIN
    until := coalesce(until, clock_timestamp() + interval '1 second');
    LOOP
        BEGIN
            EXECUTE statement INTO result;
            RETURN result;
        EXCEPTION
            WHEN lock_not_available THEN NULL; -- and all that it had locked is free again
        END;
        IF clock_timestamp() >= until THEN
            RETURN NULL;
        END IF;
        PERFORM pg_sleep(0.05 + random() / 10);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.patiently(text, timestamptz) IS 'Runs a statement of the platform that a tenant''s open transaction may be in the way of: tries, steps back, tries again, until then, or for about a second. Returns its one value, or NULL if it was never done: then it waits for the next run, and nobody for it.';

CREATE FUNCTION stormops_internal.take_restored() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    replaced boolean;
BEGIN
    IF NOT stormops_internal.is_restore() THEN
        RETURN NEW;
    END IF;
    -- Every column, as the restored row has it, where its key is that of a row that is there.
    EXECUTE (
        SELECT format('WITH replaced AS (UPDATE %s AS t SET (%s) = (SELECT %s) WHERE %s RETURNING 1) SELECT EXISTS (SELECT FROM replaced)',
            TG_RELID::regclass, string_agg(format('%I', a.attname), ', '), string_agg(format('$1.%I', a.attname), ', '),
            string_agg(format('t.%1$I = $1.%1$I', a.attname), ' AND ') FILTER (WHERE a.attnum = ANY (k.conkey)))
        FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE k.conrelid = TG_RELID AND k.contype = 'p'
    ) USING NEW INTO replaced;
    RETURN CASE WHEN NOT replaced THEN NEW END;
END
$$;
COMMENT ON FUNCTION stormops_internal.take_restored() IS 'Trigger on tables that an installation begins with rows in: where rows come from a dump, they take the place of those, whose keys they have.';
