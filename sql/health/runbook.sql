-- What to do about an issue.

CREATE FUNCTION stormops_internal.shipped_runbook(OUT issue text, OUT step integer, OUT action text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT b.issue, s.step::integer, s.action
    FROM stormops_internal.shipped_issues() AS b
    CROSS JOIN LATERAL unnest(b.actions) WITH ORDINALITY AS s (action, step)
$$;
COMMENT ON FUNCTION stormops_internal.shipped_runbook() IS 'Every issue that the platform or its monitoring can raise, with what to do about it, in order.';

CREATE FUNCTION stormops_internal.runbook_steps(issue text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce(array_agg(s.action ORDER BY s.step), '{}') FROM stormops_internal.shipped_runbook() AS s WHERE s.issue = $1 $$;
COMMENT ON FUNCTION stormops_internal.runbook_steps(text) IS 'The shipped steps for an issue; empty if it has none.';

CREATE FUNCTION stormops.runbook(issue text DEFAULT NULL, OUT "issue_name" text, OUT step bigint, OUT action text, OUT origin text) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    named text := runbook.issue;
BEGIN
    IF stormops_internal.has_tenant() THEN
        RETURN QUERY
            SELECT a.issue, row_number() OVER (PARTITION BY a.issue ORDER BY a.own, a.step), a.action, CASE WHEN a.own THEN 'tenant' ELSE 'shipped' END
            FROM (
                SELECT s.issue, s.step, s.action, false AS own FROM stormops_internal.shipped_runbook() AS s
                UNION ALL
                SELECT t.issue, t.step, t.action, true FROM stormops.runbook_steps AS t WHERE t.tenant_id = stormops.current_tenant()
            ) AS a
            WHERE named IS NULL OR a.issue = named
            ORDER BY 1, 2;
    ELSE
        RETURN QUERY
            SELECT s.issue, s.step::bigint, s.action, 'shipped' FROM stormops_internal.shipped_runbook() AS s
            WHERE named IS NULL OR s.issue = named
            ORDER BY 1, 2;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('the runbook has no issue "%s"', left(named, 100)),
            HINT = 'SELECT DISTINCT issue_name FROM stormops.runbook(); shows the issues; a tenant adds its own in runbook_steps.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.runbook(text) IS 'What to do about an issue, step by step: the shipped steps, then those of the tenant in context (runbook_steps). Without a name: every issue. Error: P0002 no such issue.';
