-- Is the log as it was written?

CREATE FUNCTION stormops_internal.log_faults(
    tenant_id uuid, OUT log text, OUT entry bigint, OUT broken text, OUT subject_id uuid, OUT expected text, OUT actual text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH chain AS (
        SELECT l.*, l.entry - row_number() OVER (PARTITION BY l.log ORDER BY l.entry) AS gap,
            stormops_internal.entry_hash(lag(l.hash) OVER (PARTITION BY l.log ORDER BY l.entry), l.tenant_id, l.log, l.entry, l.subject_id, l.adopted, l.content) AS due
        FROM stormops.tenant_log AS l WHERE l.tenant_id = $1
    ), subject AS (
        SELECT 'events' AS log, 'tenant_events' AS kept_in, e.event_id AS subject_id, e.digest FROM stormops_internal.event_digests($1) AS e
        UNION ALL
        SELECT 'runs', 'policy_runs', r.run_id, r.digest FROM stormops_internal.run_digests($1) AS r
    ), superseded AS (
        SELECT r.run_id, r.superseded_at, s.decided_at
        FROM stormops.policy_runs AS r
        LEFT JOIN stormops.policy_runs AS s ON s.tenant_id = r.tenant_id AND s.supersedes = r.run_id
        WHERE r.tenant_id = $1 AND r.superseded_at IS DISTINCT FROM s.decided_at
    )
    SELECT f.* FROM (
        SELECT c.log, c.entry, 'tenant_log' AS broken, c.subject_id,
            CASE WHEN c.gap <> 0 THEN 'entry ' || c.entry - c.gap ELSE encode(c.due, 'hex') END,
            CASE WHEN c.gap <> 0 THEN 'entry ' || c.entry ELSE encode(c.hash, 'hex') END
        FROM chain AS c WHERE c.gap <> 0 OR c.hash <> c.due
        UNION ALL
        SELECT c.log, c.entry, CASE c.log WHEN 'runs' THEN 'policy_runs' ELSE 'tenant_events' END, c.subject_id,
            encode(c.content, 'hex'), coalesce(encode(s.digest, 'hex'), 'no row')
        FROM chain AS c LEFT JOIN subject AS s ON s.log = CASE c.log WHEN 'people' THEN 'events' ELSE c.log END AND s.subject_id = c.subject_id
        WHERE s.digest IS DISTINCT FROM c.content
        UNION ALL
        SELECT s.log, NULL, s.kept_in, s.subject_id, 'no row', encode(s.digest, 'hex')
        FROM subject AS s
        WHERE NOT EXISTS (SELECT FROM chain AS c WHERE CASE c.log WHEN 'people' THEN 'events' ELSE c.log END = s.log AND c.subject_id = s.subject_id)
        UNION ALL
        SELECT 'runs', c.entry, 'policy_runs', s.run_id,
            'superseded_at ' || coalesce(s.decided_at AT TIME ZONE 'UTC' || ' UTC', 'NULL'),
            'superseded_at ' || coalesce(s.superseded_at AT TIME ZONE 'UTC' || ' UTC', 'NULL')
        FROM superseded AS s JOIN chain AS c ON c.log = 'runs' AND c.subject_id = s.run_id
    ) AS f
    ORDER BY f.log, f.entry, f.broken <> 'tenant_log', f.broken, f.subject_id
$$;
COMMENT ON FUNCTION stormops_internal.log_faults(uuid) IS 'Every fault in the chains of a tenant and in the rows that they vouch for, decisions apart, in the order of the chains; rows that no entry knows come last.';

CREATE FUNCTION stormops_internal.decision_fault(tenant_id uuid, run_id uuid, OUT property_id uuid, OUT expected text, OUT actual text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH kept AS (
        SELECT i AS place, substr(d.fingerprints, 8 * i::integer - 7, 8) AS mark
        FROM stormops.policy_run_digests AS d, generate_series(1, d.decisions) AS i
        WHERE d.tenant_id = $1 AND d.run_id = $2
    ), now AS (
        SELECT l.property_id, row_number() OVER (ORDER BY l.property_id) AS place
        FROM stormops.policy_decisions_log AS l WHERE l.tenant_id = $1 AND l.run_id = $2
    ), marked AS (
        SELECT n.property_id, n.place, substr(d.fingerprints, 8 * n.place::integer - 7, 8) AS mark
        FROM now AS n, stormops_internal.decisions_digest($1, $2) AS d
    ), first AS (
        SELECT k.mark AS kept, m.mark AS now, m.property_id, coalesce(k.place, m.place) AS place
        FROM kept AS k FULL JOIN marked AS m ON m.place = k.place
        WHERE k.mark IS DISTINCT FROM m.mark
        ORDER BY 4 LIMIT 1
    ), judged AS (
        SELECT f.*, CASE
            WHEN substr(f.kept, 1, 4) = substr(f.now, 1, 4) THEN 'changed'
            WHEN f.kept IS NULL OR EXISTS (SELECT FROM marked AS m WHERE m.place > f.place AND substr(m.mark, 1, 4) = substr(f.kept, 1, 4)) THEN 'added'
            ELSE 'missing'
        END AS what
        FROM first AS f
    )
    SELECT
        CASE WHEN j.what = 'missing' THEN (
            -- By the end of its id, which a property of the tenant still has.
            SELECT (array_agg(p.property_id))[1] FROM stormops.properties AS p
            WHERE p.tenant_id = $1 AND substr(uuid_send(p.property_id), 13) = substr(j.kept, 1, 4)
            HAVING count(*) = 1
        ) ELSE j.property_id END,
        CASE WHEN j.what = 'added' THEN 'no row' ELSE encode(substr(j.kept, 5), 'hex') END,
        CASE WHEN j.what = 'missing' THEN 'no row' ELSE encode(substr(j.now, 5), 'hex') END
    FROM judged AS j
$$;
COMMENT ON FUNCTION stormops_internal.decision_fault(uuid, uuid) IS 'The first decision of a run, in the order of property_id, that is not as it was written: the beginnings of its digest, or no row. property_id is NULL for a missing one whose property is gone as well.';

CREATE FUNCTION stormops_internal.block_fault(
    tenant_id uuid, run_id uuid, kept bytea, now bytea, OUT property_id uuid, OUT expected text, OUT actual text
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH found AS (
        SELECT d.*, b.property_ids, b.n, format('block %s', d.block) AS place
        FROM stormops_internal.block_difference($3, $4) AS d
        LEFT JOIN LATERAL (
            SELECT l.property_ids, l.n FROM stormops.policy_decision_blocks AS l
            WHERE l.tenant_id = $1 AND l.run_id = $2 ORDER BY l.first_property OFFSET d.block LIMIT 1
        ) AS b ON d.decision IS NOT NULL
    )
    SELECT
        CASE
            WHEN f.decision IS NULL THEN f.first_property
            -- Of the tenant's properties the only one between those beside which it stood.
            WHEN f.what = 'missing' THEN (
                SELECT (array_agg(p.property_id))[1] FROM stormops.properties AS p
                WHERE p.tenant_id = $1
                    AND p.property_id > coalesce(f.property_ids[f.decision - 1], (
                        SELECT o.last_property FROM stormops.policy_decision_blocks AS o
                        WHERE o.tenant_id = $1 AND o.run_id = $2 AND o.last_property < f.property_ids[1] ORDER BY 1 DESC LIMIT 1
                    ), '00000000-0000-0000-0000-000000000000')
                    AND p.property_id < coalesce(f.property_ids[f.decision], (
                        SELECT o.first_property FROM stormops.policy_decision_blocks AS o
                        WHERE o.tenant_id = $1 AND o.run_id = $2 AND o.first_property > f.property_ids[f.n] ORDER BY 1 LIMIT 1
                    ), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                HAVING count(*) = 1)
            ELSE f.property_ids[f.decision]
        END,
        CASE WHEN f.what = 'added' THEN 'no row' ELSE concat_ws(' ', f.place, encode(f.expected, 'hex')) END,
        CASE WHEN f.what = 'missing' THEN 'no row' ELSE concat_ws(' ', f.place, encode(f.actual, 'hex')) END
    FROM found AS f
$$;
COMMENT ON FUNCTION stormops_internal.block_fault(uuid, uuid, bytea, bytea) IS 'Of the first block of a run that is not as it was written: the decision that was touched, or, where it is the block as a whole, its first property; the block''s place and digest, or no row. property_id is NULL for a missing decision that may be any of several properties.';

CREATE FUNCTION stormops.verify_log(
    tenant_id uuid DEFAULT NULL,
    OUT ok boolean, OUT entries bigint, OUT adopted bigint, OUT decisions bigint, OUT decisions_dropped bigint,
    OUT broken text, OUT broken_id uuid, OUT broken_run uuid, OUT expected text, OUT actual text
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
    run record;
    now_there record;
    fault record;
    dropped_below uuid;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- What this transaction itself has written is entered now.
    SET CONSTRAINTS stormops.enter_event, stormops.enter_run IMMEDIATE;
    SET CONSTRAINTS stormops.enter_event, stormops.enter_run DEFERRED;
    SELECT count(*), count(*) FILTER (WHERE l.adopted) INTO entries, adopted
    FROM stormops.tenant_log AS l WHERE l.tenant_id = target;
    SELECT f.broken, f.subject_id, CASE WHEN f.log = 'runs' THEN f.subject_id END AS run_id, f.expected, f.actual INTO fault
    FROM stormops_internal.log_faults(target) AS f LIMIT 1;
    IF FOUND THEN
        broken := fault.broken; broken_id := fault.subject_id; broken_run := fault.run_id;
        expected := fault.expected; actual := fault.actual;
    END IF;
    -- Retention is an event, and so in the chain.
    SELECT stormops_internal.first_id_of(max(e.to_status)::date) INTO dropped_below
    FROM stormops.tenant_events AS e WHERE e.tenant_id = target AND e.action = 'drop_decisions';
    decisions := 0;
    decisions_dropped := 0;
    FOR run IN
        SELECT d.run_id, d.decisions, d.digest, d.fingerprints, d.blocks FROM stormops.policy_run_digests AS d
        WHERE d.tenant_id = target ORDER BY d.run_id
    LOOP
        BEGIN
            SELECT d.* INTO now_there FROM stormops_internal.run_seal(target, run.run_id, run.blocks IS NOT NULL) AS d;
        EXCEPTION
            WHEN invalid_parameter_value THEN -- of decisions_seal()
                IF broken IS NULL THEN
                    broken := 'policy_decisions_log'; broken_run := run.run_id;
                    expected := encode(run.digest, 'hex'); actual := 'a property twice';
                END IF;
                CONTINUE;
        END;
        decisions := decisions + now_there.decisions;
        IF now_there.decisions = 0 AND run.run_id < dropped_below THEN
            decisions_dropped := decisions_dropped + run.decisions;
        ELSIF broken IS NULL AND (now_there.digest, now_there.fingerprints) IS DISTINCT FROM (run.digest, run.fingerprints) THEN
            IF run.blocks IS NULL THEN
                SELECT f.* INTO fault FROM stormops_internal.decision_fault(target, run.run_id) AS f;
                broken := 'policy_decisions_log';
            ELSE
                SELECT f.* INTO fault FROM stormops_internal.block_fault(target, run.run_id, run.fingerprints, now_there.fingerprints) AS f;
                broken := 'policy_decision_blocks';
            END IF;
            broken_run := run.run_id; broken_id := fault.property_id;
            expected := coalesce(fault.expected, encode(run.digest, 'hex'));
            actual := coalesce(fault.actual, encode(now_there.digest, 'hex'));
        END IF;
    END LOOP;
    -- Decisions of a run that the log does not know, or knows in the other form.
    IF broken IS NULL THEN
        SELECT f.* INTO broken, broken_id, broken_run, expected, actual
        FROM (
            SELECT 'policy_decision_blocks', b.first_property, b.run_id, 'no row', 'decisions of no run'
            FROM stormops.policy_decision_blocks AS b
            WHERE b.tenant_id = target
                AND NOT EXISTS (SELECT FROM stormops.policy_run_digests AS d WHERE d.tenant_id = target AND d.run_id = b.run_id)
            UNION ALL
            SELECT 'policy_decision_rows', r.property_id, r.run_id, 'no row', 'a decision of no run'
            FROM stormops.policy_decision_rows AS r
            WHERE r.tenant_id = target
                AND NOT EXISTS (SELECT FROM stormops.policy_run_digests AS d WHERE d.tenant_id = target AND d.run_id = r.run_id AND d.blocks IS NULL)
        ) AS f
        LIMIT 1;
    END IF;
    ok := broken IS NULL;
END
$$;
COMMENT ON FUNCTION stormops.verify_log(uuid) IS 'Reads a tenant''s events, runs and decisions again and compares them with its log, in one row: ok, entries, adopted, decisions, decisions_dropped; and the first fault: broken, broken_id, broken_run, expected, actual. Operators: any tenant; admins: their own. It cannot show a chain written anew: keep log_head() elsewhere. Errors: 42501 another tenant; P0002 no such tenant.';

CREATE FUNCTION stormops.log_head(tenant_id uuid DEFAULT NULL, OUT log text, OUT entry bigint, OUT hash text) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT DISTINCT ON (l.log) l.log, l.entry, encode(l.hash, 'hex')
        FROM stormops.tenant_log AS l WHERE l.tenant_id = target ORDER BY l.log, l.entry DESC;
END
$$;
COMMENT ON FUNCTION stormops.log_head(uuid) IS 'The last entry of each chain of a tenant, to be kept where whoever administers this database cannot write: a chain that was written anew, or shortened, no longer has that hash at that entry. hash: hexadecimal. Callers and errors as verify_log().';
