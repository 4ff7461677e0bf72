-- attest(): what reads the tables beside the policies: views, publications, replication, expressions of others.

CREATE FUNCTION stormops_internal.attest_views(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE ours AS MATERIALIZED (
        SELECT c.oid FROM pg_class AS c WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind NOT IN ('i', 'I', 'c')
        UNION SELECT t.relation FROM stormops_internal.tenant_relations() AS t
    ), reads AS (
        -- Views over views too: whoever asks last is asked.
        SELECT r.ev_class AS reader, d.refobjid AS source
        FROM ours AS o JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = o.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> o.oid
        UNION
        SELECT r.ev_class, s.source
        FROM reads AS s JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.reader AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> s.reader
    )
    SELECT 'views_ask_as_caller', format('%s %s over %s', CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.oid::regclass,
        string_agg(DISTINCT r.source::regclass::text, ', '))
    FROM reads AS r JOIN pg_class AS c ON c.oid = r.reader AND c.relkind IN ('v', 'm')
    WHERE c.relkind = 'm' OR NOT EXISTS (
            SELECT FROM pg_options_to_table(c.reloptions) AS v WHERE v.option_name = 'security_invoker' AND v.option_value IN ('true', 'on', 'yes', '1'))
        OR c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND NOT EXISTS (
            SELECT FROM pg_options_to_table(c.reloptions) AS v WHERE v.option_name = 'security_barrier' AND v.option_value IN ('true', 'on', 'yes', '1'))
    GROUP BY c.relkind, c.oid
    UNION ALL
    SELECT 'views_ask_as_caller', format('materialized view %s over %s', c.oid::regclass, string_agg(DISTINCT p.oid::regprocedure::text, ', '))
    FROM pg_class AS c JOIN pg_rewrite AS r ON r.ev_class = c.oid
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_proc'::regclass
    JOIN pg_proc AS p ON p.oid = d.refobjid AND p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
    WHERE c.relkind = 'm' GROUP BY c.oid
$$;
COMMENT ON FUNCTION stormops_internal.attest_views() IS 'Of attest(): views that show rows by somebody else''s rights than the caller''s, or that keep a copy of them.';

CREATE FUNCTION stormops_internal.attest_expressions(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET standard_conforming_strings = on
    AS $$
    WITH target AS MATERIALIZED (
        SELECT t.relation, t.ours FROM stormops_internal.tenant_relations() AS t
        UNION SELECT c.oid, true FROM pg_class AS c WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p')
    ), policy AS (
        SELECT p.* FROM pg_policy AS p JOIN target AS t ON t.relation = p.polrelid
        WHERE (p.polrelid, p.polname) NOT IN (SELECT s.relation, s.policy FROM stormops_internal.shipped_policies() AS s)
    ), expression AS (
        SELECT 'policy ' || p.polname AS name, p.polrelid AS relation, 'pg_policy'::regclass AS classid, p.oid FROM policy AS p
        UNION ALL
        SELECT 'constraint ' || k.conname, k.conrelid, 'pg_constraint', k.oid FROM pg_constraint AS k
        UNION ALL
        SELECT 'default of column ' || a.attname, d.adrelid, 'pg_attrdef', d.oid FROM pg_attrdef AS d JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
        UNION ALL
        SELECT 'index ' || i.indexrelid::regclass, i.indrelid, 'pg_class', i.indexrelid FROM pg_index AS i
        UNION ALL
        SELECT 'statistics ' || s.stxname, s.stxrelid, 'pg_statistic_ext', s.oid FROM pg_statistic_ext AS s
    )
    SELECT DISTINCT 'no_foreign_expression', format('%s of %s calls %s', e.name, e.relation::regclass, CASE d.refclassid
        WHEN 'pg_proc'::regclass THEN d.refobjid::regprocedure::text WHEN 'pg_operator'::regclass THEN 'operator ' || d.refobjid::regoperator ELSE 'what belongs to ' || (pg_identify_object(d.refclassid, d.refobjid, 0)).identity END)
    FROM target AS t JOIN expression AS e ON e.relation = t.relation
    JOIN pg_depend AS d ON d.classid = e.classid AND d.objid = e.oid AND d.refobjid >= 16384
        AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_type'::regclass)
    LEFT JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
    LEFT JOIN pg_roles AS o ON o.oid = p.proowner
    WHERE NOT EXISTS (
            SELECT FROM pg_depend AS m JOIN pg_extension AS x ON x.oid = m.refobjid AND x.extname = 'stormops'
            WHERE (m.classid, m.objid) = (d.refclassid, d.refobjid) AND m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e')
        AND d.refobjid IS DISTINCT FROM to_regprocedure('stormops.installed()')
        -- A policy's function is shown every tenant's rows, before or after the tenant's own policy as its cost has it. What a check
        -- or a default of a table of the database's own calls is shown one's own row, and is its people's business, if none but a superuser changes it.
        AND (t.ours OR e.classid = 'pg_policy'::regclass OR NOT o.rolsuper)
    UNION ALL
    SELECT 'no_foreign_expression', format('policy %s of %s calls %s', p.polname, p.polrelid::regclass, f.found[1])
    FROM policy AS p, LATERAL regexp_matches(concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)),
        '\m(set_config|pg_notify|pg_logical_emit_message|nextval|setval|(?:query|table|schema|database|cursor)_to_xml\w*|ts_stat|ts_rewrite|lo_\w+|pg_read_\w+|pg_ls_\w+|pg_\w*advisory\w+|pg_terminate_backend|pg_cancel_backend)\(', 'g') AS f (found)
$$;
COMMENT ON FUNCTION stormops_internal.attest_expressions() IS 'Of attest(): policies, checks, defaults, indexes and statistics that hand rows to a function which is neither the server''s nor StormOps'' own.';

CREATE FUNCTION stormops_internal.attest_replication(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET standard_conforming_strings = on
    AS $$
    SELECT 'publications_filtered', format('publication %s publishes %s.%s %s', p.pubname, p.schemaname, p.tablename,
        CASE WHEN p.rowfilter IS NULL THEN 'without a row filter' ELSE 'not by tenant: ' || p.rowfilter END)
    FROM pg_publication_tables AS p
    JOIN pg_class AS c ON c.relname = p.tablename JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = p.schemaname
    WHERE (n.nspname IN ('stormops', 'stormops_internal') OR c.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t))
        -- The outermost AND, or nothing else.
        AND p.rowfilter !~ '^\((\(tenant_id = ''[0-9a-f-]{36}''::uuid\) AND .*|tenant_id = ''[0-9a-f-]{36}''::uuid)\)$' IS NOT FALSE
    UNION ALL
    -- A standby's role is one too: whoever set it up says so in its comment.
    SELECT 'replication_known', format('%s has REPLICATION, and so reads every row', r.rolname)
    FROM pg_roles AS r
    WHERE r.rolreplication AND NOT r.rolsuper AND r.rolname <> 'stormops_owner' AND r.oid NOT IN (SELECT u.grantee FROM stormops_internal.granted_roles() AS u)
        AND coalesce(shobj_description(r.oid, 'pg_authid'), '') !~ '^replication: '
    UNION ALL
    SELECT 'replication_known', format('slot %s of %s decodes every row, whatever a publication says', s.slot_name, s.plugin)
    FROM pg_replication_slots AS s WHERE s.database = current_database() AND s.plugin <> 'pgoutput'
    UNION ALL
    -- Which libraries may decode is shown to superusers and pg_read_all_settings only, and is a setting of some versions. The server's
    -- own are pgoutput, which asks a publication, and test_decoding, whose slots are named above.
    SELECT 'replication_known', format('output_plugin_libraries allows %s', btrim(p.library))
    FROM pg_settings AS s, regexp_split_to_table(s.setting, ',') AS p (library)
    WHERE s.name = 'output_plugin_libraries' AND btrim(p.library, ' "') NOT IN ('', 'pgoutput', 'test_decoding')
    UNION ALL
    SELECT 'replication_known', format('subscription %s of %s writes %s', s.subname, s.subowner::regrole, r.srrelid::regclass)
    FROM pg_subscription_rel AS r JOIN pg_subscription AS s ON s.oid = r.srsubid JOIN pg_roles AS o ON o.oid = s.subowner AND NOT o.rolsuper
    JOIN pg_class AS c ON c.oid = r.srrelid
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t)
$$;
COMMENT ON FUNCTION stormops_internal.attest_replication() IS 'Of attest(): who takes rows out of the log, where no policy is asked.';
