-- What is due to be judged.

CREATE FUNCTION stormops_internal.is_about_rows(rule text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT $1 NOT IN ('freshness', 'row_count') $$;
COMMENT ON FUNCTION stormops_internal.is_about_rows(text) IS 'True if a rule is judged by looking at rows; the others by the counters.';

CREATE FUNCTION stormops_internal.is_due(judged_at timestamptz, every interval) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    -- What would be due within a minute is due, or within a tenth of its interval if that is less: a schedule calls now a
    -- little sooner and now a little later, and who is missed by a second would wait for a whole turn. In seconds, since
    -- adding what a tenant wrote, months and all, could leave the calendar.
    -- What was judged in the future was judged by a clock that has been put back since: it is due.
    SELECT $1 IS NULL OR $1 > now() OR extract(epoch FROM now() - $1) >= greatest(0.9 * extract(epoch FROM $2), extract(epoch FROM $2) - 60)
$$;
COMMENT ON FUNCTION stormops_internal.is_due(timestamptz, interval) IS 'Whether an expectation that was judged then, and is to be judged that often, is due.';

CREATE FUNCTION stormops_internal.judged_before(tenant_id uuid, table_name text, name text, judged_at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE
        WHEN $4 <= now() THEN $4
        -- By a clock that was ahead: what came since it was put back lies before that. The last time that was not ahead, of
        -- what the expectation has measured.
        WHEN $4 > now() THEN (
            SELECT max(m.measured_at) FROM stormops.data_quality_metrics AS m
            WHERE m.tenant_id = $1 AND m.table_name = $2 AND m.metric_name = $3 AND m.measured_at <= now())
    END
$$;
COMMENT ON FUNCTION stormops_internal.judged_before(uuid, text, text, timestamptz) IS 'Until when an expectation''s rows are judged that was judged then, by the clock as it is now; NULL: none is.';

CREATE FUNCTION stormops_internal.claim_due(scope uuid, complete boolean) RETURNS stormops_internal.due_expectation[]
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    due stormops_internal.due_expectation[];
BEGIN
    -- Of two runs at once each takes what the other has not.
    WITH claimed AS MATERIALIZED (
        SELECT e.tenant_id, e.expectation_id, e.table_name, e.rule, e.columns, e.lowest, e.highest, e.max_age, e.threshold,
            CASE WHEN NOT complete THEN stormops_internal.judged_before(e.tenant_id, e.table_name, e.name, e.judged_at) END AS judged_before
        FROM stormops.expectations AS e JOIN stormops.tenants AS t ON t.tenant_id = e.tenant_id
        WHERE t.status = 'active' AND e.active AND (scope IS NULL OR e.tenant_id = scope)
            AND (complete OR stormops_internal.is_due(e.judged_at, e.every))
        FOR UPDATE OF e SKIP LOCKED
    ), legal AS (
        -- What no longer fits the catalogue waits. Asked once for each, not for each tenant.
        SELECT k.table_name, k.rule, k.columns
        FROM (SELECT DISTINCT c.table_name, c.rule, c.columns FROM claimed AS c OFFSET 0) AS k
        WHERE (stormops_internal.expectation_fault(k.table_name, k.rule, k.columns)).code IS NULL
    ), turns AS (
        -- A tenant may mind the same twice, within other limits.
        SELECT c.*, row_number() OVER (PARTITION BY c.tenant_id, c.table_name, c.rule, c.columns ORDER BY c.expectation_id) AS turn
        FROM claimed AS c JOIN legal AS l ON l.table_name = c.table_name AND l.rule = c.rule AND l.columns = c.columns
    ), placed AS (
        SELECT t.*, dense_rank() OVER (
            PARTITION BY t.table_name, stormops_internal.is_about_rows(t.rule) ORDER BY t.rule, t.columns, t.turn) AS place
        FROM turns AS t
    )
    SELECT coalesce(array_agg(ROW(p.tenant_id, p.expectation_id, p.table_name, p.rule, p.columns,
        round(p.lowest, 100), round(p.highest, 100), p.max_age, p.threshold, -- a float underflows from 1e-308 on
        coalesce(p.judged_before - interval '10 minutes', '-infinity'), -- transactions that were still open
        p.place)::stormops_internal.due_expectation), '{}')
    INTO due FROM placed AS p;
    RETURN due;
END
$$;
COMMENT ON FUNCTION stormops_internal.claim_due(uuid, boolean) IS 'The expectations of a tenant, or with NULL of all active ones, that are due, or with complete all, locked until the run ends; without those that another run holds.';
