-- What was treated of late, as guardrails count it.

CREATE FUNCTION stormops_internal.treated_since(
    for_storm uuid, since timestamptz, OUT storm_id uuid, OUT property_id uuid, OUT run_id uuid, OUT decided_at timestamptz,
    OUT mode_cost double precision, OUT touched boolean
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100000
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    r record;
    ids uuid[];
BEGIN
    FOR r IN
        SELECT p.run_id, p.storm_id, p.decided_at, coalesce(p.superseded_at, 'infinity') AS until,
            p.superseded_at IS NULL AND p.storm_id <> $1 AS stands,
            CASE WHEN p.parameters ? 'contact_cost' THEN round((p.parameters ->> 'contact_cost')::float8 * 100) END AS mode_cost
        FROM stormops.policy_runs AS p WHERE p.tenant_id = stormops.current_tenant() AND p.decided_at > $2
    LOOP
        SELECT array_agg(DISTINCT j.property_id) INTO ids
        FROM (
            SELECT j.property_id FROM stormops.customer_journeys AS j
            WHERE j.tenant_id = stormops.current_tenant() AND j.storm_id = r.storm_id AND j.occurred_at >= r.decided_at AND j.occurred_at < r.until
                AND j.direction = 'outbound' AND j.touch <> 'conversion'
            UNION ALL
            SELECT j.property_id FROM stormops.customer_journeys AS j
            WHERE j.tenant_id = stormops.current_tenant() AND j.storm_id IS NULL AND j.occurred_at >= r.decided_at AND j.occurred_at < r.until
                AND j.direction = 'outbound' AND j.touch <> 'conversion'
        ) AS j;
        -- A superseded run counts by its touches alone: without any it is not read.
        CONTINUE WHEN ids IS NULL AND NOT r.stands;
        -- Executed, so that it is planned for this run and locks its partition alone: a run under way would hold up
        -- maintain_partitions() otherwise.
        RETURN QUERY EXECUTE 'SELECT $3, d.property_id, d.run_id, $4, $5, d.property_id = ANY ($6) FROM stormops.policy_decisions_log AS d'
            ' WHERE d.tenant_id = $1 AND d.run_id = $2 AND d.decision = ''treat''' || CASE WHEN r.stands THEN '' ELSE ' AND d.property_id = ANY ($6)' END
        USING stormops.current_tenant(), r.run_id, r.storm_id, r.decided_at, r.mode_cost, coalesce(ids, '{}');
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.treated_since(uuid, timestamptz) IS 'What was treated by the tenant''s runs since then: what stands decided for another storm than this one, and what any run decided, superseded ones too, if it was touched while that run stood. mode_cost: the contact cost of the run''s mode, in cents.';
