-- attest(): the tables, and whatever else could show or change their rows.

CREATE FUNCTION stormops_internal.shipped_triggers(OUT relation text, OUT trigger name, OUT definition text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT substring(d.definition FROM ' ON ([a-z_.]+)'), substring(d.definition FROM ' TRIGGER ([a-z_0-9]+)')::name, d.definition
    FROM stormops_internal.shipped_tables() AS s,
        regexp_matches(s.statements, 'CREATE (?:OR REPLACE )?((?:CONSTRAINT )?TRIGGER [^;]+);', 'g') AS m,
        LATERAL (SELECT 'CREATE ' || regexp_replace(m[1], '[[:space:]]+', ' ', 'g')) AS d (definition)
    UNION ALL
    SELECT 'stormops.' || c.table_name, c.trigger, c.definition FROM stormops_internal.counting_triggers() AS c
$$;
COMMENT ON FUNCTION stormops_internal.shipped_triggers() IS 'The triggers that must be there: as the statements that make them say, written as pg_get_triggerdef() writes them.';

CREATE FUNCTION stormops_internal.distributed_relations() RETURNS SETOF oid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- A table of the catalogue's schema only: what stands elsewhere anybody may have made.
    IF EXISTS (SELECT FROM pg_class AS c WHERE c.relname = 'pg_dist_partition' AND c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r') THEN
        RETURN QUERY EXECUTE 'SELECT p.logicalrelid::oid FROM pg_catalog.pg_dist_partition AS p';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.distributed_relations() IS 'The tables that Citus has taken over, if it is there.';

CREATE FUNCTION stormops_internal.attest_tables(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH tenant AS MATERIALIZED (
        SELECT t.relation FROM stormops_internal.tenant_relations() AS t
    )
    SELECT 'row_security_forced', format('%s %s', c.oid::regclass, CASE
        WHEN c.relkind NOT IN ('r', 'p') THEN 'is a foreign table, which has no row security'
        WHEN NOT c.relrowsecurity THEN 'has row security disabled' ELSE 'does not force row security' END)
    FROM tenant AS t JOIN pg_class AS c ON c.oid = t.relation
    WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity) OR c.relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT 'row_security_forced', format('%s has row security disabled', c.oid::regclass)
    FROM pg_class AS c
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
        AND c.oid NOT IN (SELECT t.relation FROM tenant AS t)
    UNION ALL
    -- Whoever reads a parent reads the child's rows, and is asked for the parent's policies alone.
    SELECT 'row_security_forced', format('%s is a child of %s, which shows its rows', i.inhrelid::regclass, i.inhparent::regclass)
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f') JOIN pg_class AS p ON p.oid = i.inhparent
    WHERE (c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM tenant AS t))
        AND p.relnamespace NOT IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND p.oid NOT IN (SELECT t.relation FROM tenant AS t)
    UNION ALL
    SELECT 'row_security_forced', format('%s is distributed by Citus, whose shards make restrictive policies permissive', d.relation::regclass)
    FROM stormops_internal.distributed_relations() AS d (relation) JOIN pg_class AS c ON c.oid = d.relation
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM tenant AS t)
    UNION ALL
    -- A table that was copied, or forgotten: of one whose tenant_id is left out, nothing can be known.
    SELECT 'tables_registered', format('%s has a tenant_id and no row security, and %s may read it', c.oid::regclass, string_agg(u.grantee::regrole::text, ', ' ORDER BY u.grantee::regrole::text))
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'f') AND NOT c.relrowsecurity AND c.relpersistence <> 't'
    CROSS JOIN stormops_internal.granted_roles() AS u
    WHERE a.attname = 'tenant_id' AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
        AND c.relnamespace NOT IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.oid NOT IN (SELECT t.relation FROM tenant AS t)
        AND has_schema_privilege(u.grantee, c.relnamespace, 'USAGE') AND has_any_column_privilege(u.grantee, c.oid, 'SELECT')
    GROUP BY c.oid
    UNION ALL
    SELECT 'tables_registered', format('%s is in no matrix', c.oid::regclass)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'f')
        AND c.oid NOT IN (SELECT t.relation FROM tenant AS t)
    UNION ALL
    SELECT DISTINCT 'tables_registered', format('stormops.%I is missing', m.table_name)
    FROM stormops.role_matrix() AS m WHERE to_regclass(format('stormops.%I', m.table_name)) IS NULL
    UNION ALL
    SELECT 'tables_registered', format('protected table %s is missing', p.name)
    FROM stormops_internal.protected() AS p WHERE p.relation IS NULL
    UNION ALL
    SELECT 'owned_by_owner', format('%s is %s''s', c.oid::regclass, c.relowner::regrole)
    FROM pg_class AS c
    WHERE c.relowner <> 'stormops_owner'::regrole AND c.relkind NOT IN ('i', 'I', 'c') -- neither an index nor a type holds rows of its own
        AND (c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM tenant AS t))
    UNION ALL
    SELECT 'keys_lead_with_tenant', format('%s %s', k.object, k.why)
    FROM tenant AS t CROSS JOIN LATERAL stormops_internal.unsafe_keys(t.relation) AS k
    GROUP BY k.object, k.why
    UNION ALL
    SELECT 'keys_lead_with_tenant', format('%s.tenant_id is not NOT NULL', t.relation::regclass)
    FROM tenant AS t
    WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.relation AND a.attname = 'tenant_id' AND a.attnotnull)
$$;
COMMENT ON FUNCTION stormops_internal.attest_tables() IS 'Of attest(): tables outside row security, of another owner, or with keys that tenants share.';

CREATE FUNCTION stormops_internal.attest_side_ways(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH tenant AS MATERIALIZED (
        SELECT t.relation FROM stormops_internal.tenant_relations() AS t
    ), shipped AS MATERIALIZED (
        SELECT s.* FROM stormops_internal.shipped_triggers() AS s
    )
    SELECT 'triggers_as_shipped', format('trigger %s on %s is %s', s.trigger, s.relation,
        CASE WHEN g.oid IS NULL THEN 'missing' WHEN pg_get_triggerdef(g.oid) <> s.definition THEN 'another' ELSE 'disabled' END)
    FROM shipped AS s
    LEFT JOIN pg_trigger AS g ON g.tgrelid = to_regclass(s.relation) AND g.tgname = s.trigger
    WHERE g.oid IS NULL OR pg_get_triggerdef(g.oid) <> s.definition OR g.tgenabled NOT IN ('O', 'A')
    UNION ALL
    -- On a table of the database's own its people's triggers are their business.
    SELECT 'triggers_as_shipped', format('trigger %s on %s runs %s of %s', g.tgname, g.tgrelid::regclass, g.tgfoid::regprocedure, p.proowner::regrole)
    FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_proc AS p ON p.oid = g.tgfoid
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND NOT g.tgisinternal AND g.tgparentid = 0
        AND NOT EXISTS (SELECT FROM shipped AS s WHERE to_regclass(s.relation) = g.tgrelid AND s.trigger = g.tgname)
    UNION ALL
    SELECT 'triggers_as_shipped', format('trigger %s on %s is disabled', g.tgname, g.tgrelid::regclass)
    FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND NOT g.tgisinternal AND g.tgparentid <> 0 AND g.tgenabled NOT IN ('O', 'A')
    UNION ALL
    SELECT 'triggers_as_shipped', format('a foreign key of %s is not enforced', g.tgrelid::regclass)
    FROM tenant AS t JOIN pg_trigger AS g ON g.tgrelid = t.relation AND g.tgisinternal
    WHERE g.tgenabled NOT IN ('O', 'A')
    GROUP BY g.tgrelid
    UNION ALL
    SELECT 'no_rules', format('rule %s on %s', r.rulename, r.ev_class::regclass)
    FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
    WHERE r.rulename <> '_RETURN'
        AND (c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM tenant AS t))
    UNION ALL
    SELECT 'no_foreign_event_trigger', format('event trigger %s runs %s of %s', e.evtname, e.evtfoid::regprocedure, p.proowner::regrole)
    FROM pg_event_trigger AS e
    JOIN pg_proc AS p ON p.oid = e.evtfoid
    JOIN pg_roles AS r ON r.oid = e.evtowner
    JOIN pg_roles AS o ON o.oid = p.proowner
    WHERE e.evtenabled <> 'D' AND NOT (r.rolsuper AND o.rolsuper)
$$;
COMMENT ON FUNCTION stormops_internal.attest_side_ways() IS 'Of attest(): triggers, rules and event triggers that see rows beside the policies, or do not do what they must.';

CREATE FUNCTION stormops_internal.attest_policies(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH shipped AS (
        SELECT s.relation, s.policy, s.permissive, s.command, s.using_text, s.check_text FROM stormops_internal.shipped_policies() AS s
    ), present AS (
        SELECT p.polrelid AS relation, p.polname AS policy, p.polpermissive AS permissive,
            CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END AS command,
            pg_get_expr(p.polqual, p.polrelid) AS using_text, pg_get_expr(p.polwithcheck, p.polrelid) AS check_text, p.polroles
        FROM pg_policy AS p
        WHERE p.polrelid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t)
            OR p.polrelid IN (SELECT c.oid FROM pg_class AS c WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace))
    )
    SELECT 'policies_as_shipped', format('policy %s on %s is %s', s.policy, s.relation::regclass,
        CASE WHEN p.policy IS NULL THEN 'missing' ELSE format('changed: %s for %s%s%s%s', CASE WHEN p.permissive THEN 'permissive' ELSE 'restrictive' END,
            p.command, ' using ' || p.using_text, ' with check ' || p.check_text, CASE WHEN p.polroles <> '{0}' THEN ' to ' || p.polroles::regrole[]::text END) END)
    FROM shipped AS s LEFT JOIN present AS p ON p.relation = s.relation AND p.policy = s.policy
    WHERE p.policy IS NULL OR p.polroles <> '{0}'
        OR (p.permissive, p.command, p.using_text, p.check_text) IS DISTINCT FROM (s.permissive, s.command, s.using_text, s.check_text)
    UNION ALL
    -- A restrictive one can only close.
    SELECT 'no_permissive_policy', format('policy %s on %s', p.policy, p.relation::regclass)
    FROM present AS p
    WHERE p.permissive AND NOT EXISTS (SELECT FROM shipped AS s WHERE s.relation = p.relation AND s.policy = p.policy)
$$;
COMMENT ON FUNCTION stormops_internal.attest_policies() IS 'Of attest(): policies that are not as the matrix says, and permissive ones that were added.';
