-- Which tables are under row security, and by what. install() and protect() make it so, attest() compares.

CREATE FUNCTION stormops_internal.granted_roles(OUT grantee oid, OUT kind text) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.oid, g.kind
    FROM stormops_internal.usage_grants AS g JOIN pg_roles AS r ON r.rolname = g.role_name
    WHERE EXISTS (
        SELECT FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
        WHERE n.nspname = 'stormops' AND a.grantee = r.oid AND a.privilege_type = 'USAGE')
$$;
COMMENT ON FUNCTION stormops_internal.granted_roles() IS 'Which role has which kind of use: the roles of usage_grants that hold USAGE of schema stormops. A grant dies with its role; a name does not, and may come back as somebody else''s.';

CREATE FUNCTION stormops_internal.protected(OUT relation oid, OUT name text, OUT least_roles jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT to_regclass(t.relation)::oid, t.relation, t.least_roles FROM stormops_internal.protected_tables AS t $$;
COMMENT ON FUNCTION stormops_internal.protected() IS 'The tables that protect() has brought under row security.';

CREATE FUNCTION stormops_internal.table_matrix(of_relation oid DEFAULT NULL, OUT relation oid, OUT ours boolean, OUT command text, OUT least_role text, OUT columns text[], OUT through text)
    RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.oid, true, k.command, m.least_role, CASE WHEN k.command <> 'UPDATE' THEN m.columns END, m.through
    FROM pg_class AS c
    CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS k (command)
    LEFT JOIN stormops.role_matrix() AS m ON m.table_name = c.relname AND m.command = k.command
    WHERE c.relnamespace = 'stormops'::regnamespace AND c.relkind IN ('r', 'p') AND ($1 IS NULL OR c.oid = $1)
        AND c.relname IN (SELECT r.table_name FROM stormops.role_matrix() AS r)
    UNION ALL
    SELECT c.oid, false, k.command, p.least_roles ->> k.command, NULL, NULL
    FROM stormops_internal.protected() AS p
    JOIN pg_class AS c ON c.oid = p.relation
    CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS k (command)
    WHERE $1 IS NULL OR c.oid = $1
$$;
COMMENT ON FUNCTION stormops_internal.table_matrix(oid) IS 'role_matrix() and the same of protected tables: for each of the four commands of a table (NULL: of each table) the least role, NULL for nobody, the columns that it may name, NULL for all, and the functions that do it. What an UPDATE may name and not change, the trigger given_once of the table says.';

CREATE FUNCTION stormops_internal.tenant_relations(OUT relation oid, OUT ours boolean, OUT root boolean) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE tree AS (
        SELECT DISTINCT m.relation, m.ours, true AS root FROM stormops_internal.table_matrix() AS m
        UNION ALL
        SELECT i.inhrelid, t.ours, false FROM tree AS t JOIN pg_inherits AS i ON i.inhparent = t.relation
    )
    SELECT t.relation, t.ours, t.root FROM tree AS t
$$;
COMMENT ON FUNCTION stormops_internal.tenant_relations() IS 'Every table that holds tenants'' rows, StormOps'' own and protected ones, and their partitions.';

CREATE FUNCTION stormops_internal.shipped_policies(
    of_relation oid DEFAULT NULL,
    OUT relation oid, OUT policy name, OUT permissive boolean, OUT command text, OUT using_text text, OUT check_text text, OUT says text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT DISTINCT m.relation, p.policy::name, p.permissive, 'ALL', p.using_text, p.check_text, p.says
    FROM stormops_internal.table_matrix($1) AS m
    CROSS JOIN (VALUES
        ('tenant', true, '(tenant_id = stormops.current_tenant())', NULL,
            'A tenant''s own rows. current_tenant() raises an error unless the transaction works in an open tenant.'),
        ('tenant_floor', false, '(tenant_id = stormops.current_tenant())', NULL,
            'The same, restrictive: no policy added later can widen it.'),
        -- Names nothing of the extension and so outlives it: when DROP EXTENSION ... CASCADE has
        -- taken the policies above, a policy that a user added opens nothing.
        ('installed', false, 'stormops.installed()', 'true', 'Without the extension nobody sees a row.')
    ) AS p (policy, permissive, using_text, check_text, says)
    UNION ALL
    SELECT m.relation, ('role_' || lower(m.command COLLATE "C"))::name, false, m.command,
        CASE WHEN m.command <> 'INSERT' THEN e.condition END, CASE WHEN m.command = 'INSERT' THEN e.condition END,
        CASE WHEN m.least_role IS NULL THEN 'Nobody does this; see role_matrix().'
            ELSE format('At least %s, in a tenant that is not suspended for writing; see role_matrix().', m.least_role) END
    FROM stormops_internal.table_matrix($1) AS m
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.least_role IS NULL THEN 'false'
            ELSE format('stormops.%s(%L::text)', CASE m.command WHEN 'SELECT' THEN 'may_read' ELSE 'may_write' END, m.least_role) END
    ) AS e (condition)
    -- Everybody in a tenant is at least a viewer.
    WHERE NOT (m.command = 'SELECT' AND m.least_role IS NOT DISTINCT FROM 'viewer')
$$;
COMMENT ON FUNCTION stormops_internal.shipped_policies(oid) IS 'The policies that a table (NULL: each table) must have, their expressions as pg_get_expr() writes them.';

CREATE FUNCTION stormops_internal.given_once() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    was jsonb;
    becomes jsonb;
    given text;
BEGIN
    IF current_user = 'stormops_owner' THEN
        RETURN NEW;
    END IF;
    was := to_jsonb(OLD);
    becomes := to_jsonb(NEW);
    FOREACH given IN ARRAY TG_ARGV LOOP
        CONTINUE WHEN was -> given IS NOT DISTINCT FROM becomes -> given;
        EXIT WHEN (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user);
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('column "%s" of table "%s" is given once and does not change', given, TG_TABLE_NAME),
            HINT = 'Leave it out of the UPDATE, or send the value that the row has.',
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = given;
    END LOOP;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.given_once() IS 'Trigger: refuses to change its arguments'' columns. What writes whole rows, as mappers of objects do, names every column with the value that is there. Error: 42501.';

CREATE FUNCTION stormops_internal.secure_table(relation regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning -- it drops what may not be there
    AS $$
#variable_conflict use_variable
DECLARE
    p record;
    given text[];
BEGIN
    FOR p IN
        SELECT i.relid AS name FROM pg_partition_tree(relation) AS i
        UNION SELECT relation
    LOOP
        -- A partition named directly has no policy, and so shows nobody a row.
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', p.name);
    END LOOP;
    FOR p IN SELECT s.* FROM stormops_internal.shipped_policies(relation) AS s LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON %s', p.policy, relation);
        EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s %s %s', p.policy, relation,
            CASE WHEN p.permissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, p.command,
            'USING (' || p.using_text || ')', 'WITH CHECK (' || p.check_text || ')');
        EXECUTE format('COMMENT ON POLICY %I ON %s IS %L', p.policy, relation, p.says);
    END LOOP;
    FOR p IN
        SELECT k.polname FROM pg_policy AS k
        WHERE k.polrelid = relation AND k.polname IN ('role_select', 'role_insert', 'role_update', 'role_delete')
            AND NOT EXISTS (SELECT FROM stormops_internal.shipped_policies(relation) AS s WHERE s.policy = k.polname)
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', p.polname, relation);
    END LOOP;
    -- Of the database's own tables what identifies a row is given once; StormOps' own say it in their files.
    IF relation IN (SELECT t.relation FROM stormops_internal.protected() AS t) THEN
        given := ARRAY(
            SELECT a.attname FROM pg_attribute AS a
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND (a.attname = 'tenant_id'
                OR EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)))
            ORDER BY a.attnum);
        EXECUTE format('CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF %s ON %s FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once(%s)',
            (SELECT string_agg(quote_ident(g.name), ', ') FROM unnest(given) AS g (name)), relation,
            (SELECT string_agg(quote_literal(g.name), ', ') FROM unnest(given) AS g (name)));
    END IF;
    IF relation <> 'stormops.tenants'::regclass THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN tenant_id SET DEFAULT stormops.current_tenant()', relation);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.secure_table(regclass) IS 'Forces row security on a table and its partitions, gives it its policies, tenant_id its default, and a table of the database''s own the trigger that keeps its key.';
