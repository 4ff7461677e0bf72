-- What a tenant had before there was a log: entered once, in the order of time, and marked. Not again for a tenant that
-- has a log, so that installing anew never vouches for a row that somebody slipped in.
DO $$
DECLARE
    unlogged uuid[] := ARRAY(
        SELECT t.tenant_id FROM stormops.tenants AS t
        WHERE NOT EXISTS (SELECT FROM stormops.tenant_log AS l WHERE l.tenant_id = t.tenant_id));
    r record;
BEGIN
    INSERT INTO stormops.policy_run_digests (tenant_id, run_id, decisions, digest, fingerprints)
    SELECT p.tenant_id, p.run_id, d.decisions, d.digest, d.fingerprints
    FROM stormops.policy_runs AS p CROSS JOIN LATERAL stormops.decisions_digest(p.tenant_id, p.run_id) AS d
    WHERE p.tenant_id = ANY (unlogged)
    ON CONFLICT (tenant_id, run_id) DO NOTHING;
    FOR r IN
        SELECT u.tenant_id, s.log, s.subject_id, s.digest
        FROM unnest(unlogged) AS u (tenant_id) CROSS JOIN LATERAL (
            SELECT 'events' AS log, e.event_id AS subject_id, e.digest FROM stormops.event_digests(u.tenant_id) AS e
            UNION ALL
            SELECT 'runs', d.run_id, d.digest FROM stormops.run_digests(u.tenant_id) AS d
        ) AS s
        ORDER BY u.tenant_id, s.log, s.subject_id
    LOOP
        PERFORM stormops.append_entry(r.tenant_id, r.log, r.subject_id, r.digest, true);
    END LOOP;
    SET CONSTRAINTS stormops.enter_run IMMEDIATE;
    SET CONSTRAINTS stormops.enter_run DEFERRED;
END
$$;
