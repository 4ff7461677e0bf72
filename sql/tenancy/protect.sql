-- A table of the database's own people under the same regime as StormOps' tables.

CREATE FUNCTION stormops_internal.unsafe_keys(relation oid, OUT object text, OUT why text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH tenant AS NOT MATERIALIZED ( -- by the table: the columns of all are many
        SELECT a.attrelid, a.attnum FROM pg_attribute AS a WHERE a.attname = 'tenant_id' AND NOT a.attisdropped
    )
    -- No tenant can insert into tenants, so its unique name is no oracle.
    SELECT format('index %s', i.indexrelid::regclass), 'does not begin with tenant_id'
    FROM pg_index AS i JOIN tenant AS t ON t.attrelid = i.indrelid
    WHERE i.indrelid = $1 AND i.indkey[0] <> t.attnum AND i.indexrelid IS DISTINCT FROM to_regclass('stormops.tenants_name_key_key')
    UNION ALL
    SELECT format('constraint %s', k.conname), 'is an exclusion without tenant_id WITH ='
    FROM pg_constraint AS k JOIN tenant AS t ON t.attrelid = k.conrelid
    WHERE k.conrelid = $1 AND k.contype = 'x' AND NOT EXISTS (
        SELECT FROM unnest(k.conkey, k.conexclop) AS e (attnum, op) WHERE e.attnum = t.attnum AND e.op = 'pg_catalog.=(uuid,uuid)'::regoperator)
    UNION ALL
    SELECT format('foreign key %s of %s', k.conname, k.conrelid::regclass),
        CASE WHEN k.confdeltype <> 'a' AND k.confdeltype <> 'r' OR k.confupdtype <> 'a' AND k.confupdtype <> 'r' THEN 'changes rows that refer to a row'
            WHEN NOT k.convalidated THEN 'is not validated'
            ELSE 'does not lead from tenant_id to tenant_id' END
    FROM pg_constraint AS k
    LEFT JOIN tenant AS c ON c.attrelid = k.conrelid
    JOIN tenant AS p ON p.attrelid = k.confrelid -- a table without tenants' rows may be shared
    WHERE k.contype = 'f' AND $1 IN (k.conrelid, k.confrelid) AND k.conparentid = 0
        -- Into the tables of the installation no tenant writes.
        AND k.conrelid NOT IN (SELECT r.oid FROM pg_class AS r WHERE r.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND r.relname IN (SELECT i.table_name FROM stormops_internal.installation_tables() AS i))
        AND (k.conkey[1] IS DISTINCT FROM c.attnum OR k.confkey[1] <> p.attnum OR NOT k.convalidated
            OR k.confdeltype NOT IN ('a', 'r') OR k.confupdtype NOT IN ('a', 'r'))
$$;
COMMENT ON FUNCTION stormops_internal.unsafe_keys(oid) IS 'The indexes, keys and references of a table through which a tenant could meet another tenant''s row, and what is wrong with each.';

CREATE FUNCTION stormops_internal.unfit_table(relation oid, OUT object text, OUT why text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH c AS (SELECT t.* FROM pg_class AS t WHERE t.oid = $1)
    SELECT 'the relation', 'is no table, or a partition of one' FROM c WHERE c.relkind NOT IN ('r', 'p') OR c.relispartition
    UNION ALL
    SELECT 'the table', 'is a system table, or one of StormOps'' own'
    FROM c WHERE c.oid < 16384 OR c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL
    SELECT 'the table', 'is temporary' FROM c WHERE c.relpersistence = 't'
    UNION ALL
    SELECT 'the table', 'has children by inheritance' FROM c JOIN pg_inherits AS i ON i.inhparent = c.oid WHERE c.relkind = 'r'
    UNION ALL
    SELECT 'column tenant_id', 'is not there as uuid NOT NULL' FROM c
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.atttypid = 'uuid'::regtype AND a.attnotnull AND NOT a.attisdropped)
    UNION ALL
    SELECT 'the table', 'has no primary key' FROM c
    WHERE NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
    UNION ALL
    SELECT format('column %s', a.attname), 'takes its values from a sequence, which counts all tenants'' rows'
    FROM c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%'
    UNION ALL
    SELECT format('rule %s', r.rulename), 'rewrites what row security judges' FROM c JOIN pg_rewrite AS r ON r.ev_class = c.oid
    UNION ALL
    SELECT format('policy %s', p.polname), 'is permissive, and would be ORed to the tenant''s'
    FROM c JOIN pg_policy AS p ON p.polrelid = c.oid WHERE p.polpermissive AND p.polname <> 'tenant'
    UNION ALL
    SELECT k.object, k.why FROM stormops_internal.unsafe_keys($1) AS k
$$;
COMMENT ON FUNCTION stormops_internal.unfit_table(oid) IS 'What must be changed in a table before protect() takes it.';

CREATE FUNCTION stormops.protect(
    relation regclass,
    least_roles jsonb DEFAULT '{"SELECT": "viewer", "INSERT": "field_user", "UPDATE": "crew_chief", "DELETE": "admin"}'
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    faults text;
    p record;
BEGIN
    IF relation IS NULL OR least_roles IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'table and least roles must be given',
            HINT = 'SELECT stormops.protect(''public.jobs'');';
    END IF;
    IF jsonb_typeof(least_roles) <> 'object' OR EXISTS (
        SELECT FROM jsonb_each_text(CASE jsonb_typeof(least_roles) WHEN 'object' THEN least_roles ELSE '{}' END) AS r (command, least_role)
        WHERE r.command NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            OR r.least_role NOT IN ('viewer', 'field_user', 'crew_chief', 'admin')
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'least roles are not valid',
            HINT = 'An object of SELECT, INSERT, UPDATE and DELETE to viewer, field_user, crew_chief or admin. A command that is left out or null is allowed to nobody.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
    SELECT string_agg(format('%s %s', f.object, f.why), '; ' ORDER BY f.object, f.why) INTO faults FROM stormops_internal.unfit_table(relation) AS f;
    IF faults IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('table %s cannot be protected as it is', relation),
            DETAIL = faults,
            HINT = 'Let each key, index and reference begin with tenant_id: PRIMARY KEY (tenant_id, job_id). Change: ' || left(faults, 1000);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint AS k
        WHERE k.conrelid = relation AND k.contype = 'f' AND k.confrelid = 'stormops.tenants'::regclass AND cardinality(k.conkey) = 1
    ) THEN
        EXECUTE format('ALTER TABLE %s ADD FOREIGN KEY (tenant_id) REFERENCES stormops.tenants', relation);
    END IF;
    INSERT INTO stormops_internal.protected_tables AS t (relation, least_roles, owner_before)
    SELECT relation::text, jsonb_strip_nulls(least_roles), pg_get_userbyid(c.relowner) FROM pg_class AS c WHERE c.oid = relation
    ON CONFLICT ON CONSTRAINT protected_tables_pkey DO UPDATE SET least_roles = EXCLUDED.least_roles, protected_at = now(), protected_by = current_user;
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO stormops_owner', (SELECT c.relnamespace::regnamespace FROM pg_class AS c WHERE c.oid = relation));
    FOR p IN SELECT i.relid AS name FROM pg_partition_tree(relation) AS i UNION SELECT relation LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO stormops_owner', p.name);
    END LOOP;
    -- Only what renew_grants() then gives: no TRUNCATE, which no policy sees, and nothing on a partition.
    FOR p IN
        SELECT DISTINCT r.relation::regclass AS name, coalesce(quote_ident(pg_get_userbyid(nullif(g.grantee, 0))), 'PUBLIC') AS grantee
        FROM stormops_internal.tenant_relations() AS r
        JOIN pg_class AS c ON c.oid = r.relation
        CROSS JOIN LATERAL (
            SELECT a.grantee FROM aclexplode(c.relacl) AS a
            UNION SELECT a.grantee FROM pg_attribute AS b, aclexplode(b.attacl) AS a WHERE b.attrelid = c.oid
        ) AS g
        WHERE r.relation IN (SELECT i.relid FROM pg_partition_tree(relation) AS i UNION SELECT relation) AND g.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %s', p.name, p.grantee);
    END LOOP;
    PERFORM stormops_internal.secure_table(relation);
    PERFORM stormops.renew_grants();
END
$$;
COMMENT ON FUNCTION stormops.protect(regclass, jsonb) IS 'Puts a table of your own under the rules of StormOps'' tables: forced row security, the same policies, and grants by least_roles (command to least role; what is left out, nobody may do). Partitions too; call it again after adding one. The table must have tenant_id uuid NOT NULL. For superusers. Errors: 22004; 22023 least_roles; 55000 the table must be changed first, the hint lists what.';

CREATE FUNCTION stormops.unprotect(relation regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    p record;
    owner_before text;
BEGIN
    DELETE FROM stormops_internal.protected_tables AS t WHERE t.relation = unprotect.relation::text RETURNING t.owner_before INTO owner_before;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('table %s is not protected', relation),
            HINT = 'SELECT * FROM stormops_internal.protected_tables;';
    END IF;
    FOR p IN SELECT r.oid, r.rolname FROM stormops_internal.granted_roles() AS u JOIN pg_roles AS r ON r.oid = u.grantee LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', relation, p.rolname);
    END LOOP;
    FOR p IN
        SELECT k.polname FROM pg_policy AS k WHERE k.polrelid = relation
            AND k.polname IN ('tenant', 'tenant_floor', 'installed', 'role_select', 'role_insert', 'role_update', 'role_delete')
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', p.polname, relation);
    END LOOP;
    EXECUTE format('DROP TRIGGER IF EXISTS given_once ON %s', relation);
    EXECUTE format('ALTER TABLE %s ALTER COLUMN tenant_id DROP DEFAULT', relation);
    FOR p IN
        SELECT i.relid AS name, r.rolname FROM pg_partition_tree(relation) AS i, pg_roles AS r WHERE r.rolname = owner_before
        UNION SELECT relation, r.rolname FROM pg_roles AS r WHERE r.rolname = owner_before
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', p.name, p.rolname);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.unprotect(regclass) IS 'Ends what protect() began: takes policies, grants and the default of tenant_id away, and gives the table back to its owner. Row security stays forced, so that nobody sees a row until you decide otherwise: ALTER TABLE ... DISABLE ROW LEVEL SECURITY. For superusers. Error: 42704 the table is not protected.';
