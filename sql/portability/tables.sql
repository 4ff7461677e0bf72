-- Which tables hold tenants' rows, in which order, and what becomes of them. From the catalogue, so that none is forgotten.

CREATE FUNCTION stormops_internal.tenants_tables(OUT relation oid, OUT name text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    SELECT c.oid, c.relname::text
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    UNION ALL
    SELECT c.oid, format('%I.%I', c.relnamespace::regnamespace::text, c.relname)
    FROM stormops_internal.protected() AS p JOIN pg_class AS c ON c.oid = p.relation
$$;
COMMENT ON FUNCTION stormops_internal.tenants_tables() IS 'Every table with tenants'' rows: StormOps'' own, and those of protect() with their schema. A table that is added is in it.';

CREATE FUNCTION stormops_internal.portable_columns(relation oid, OUT columns text[], OUT row_order text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    SELECT
        -- In an order that does not tell how old the installation is: those of the key, the others by name.
        array_agg(a.attname::text ORDER BY k.place, a.attname COLLATE "C") FILTER (WHERE a.attname <> 'tenant_id'),
        coalesce(
            string_agg(o.term, ', ' ORDER BY k.place) FILTER (WHERE k.place IS NOT NULL),
            string_agg(format('r.%I::text COLLATE "C"', a.attname), ', ' ORDER BY a.attname COLLATE "C"))
    FROM pg_attribute AS a
    LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
    LEFT JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place) ON k.attnum = a.attnum
    CROSS JOIN LATERAL (
        -- By bytes, and not by what a locale takes for an order.
        SELECT CASE WHEN a.attcollation <> 0 THEN format('r.%I COLLATE "C"', a.attname)
            WHEN a.atttypid = 'jsonb'::regtype THEN format('r.%I::text COLLATE "C"', a.attname)
            ELSE format('r.%I', a.attname) END AS term
    ) AS o
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
$$;
COMMENT ON FUNCTION stormops_internal.portable_columns(oid) IS 'The columns of a table without tenant_id, and terms over a row r that put the rows of a tenant into one order everywhere.';

CREATE FUNCTION stormops_internal.portable_tables(
    OUT relation oid, OUT name text, OUT place bigint, OUT columns text[], OUT row_order text, OUT refers_to_itself boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH RECURSIVE tenants_table AS MATERIALIZED (
        SELECT t.relation, t.name FROM stormops_internal.tenants_tables() AS t
    ), reference AS MATERIALIZED (
        SELECT DISTINCT k.conrelid AS child, k.confrelid AS parent
        FROM pg_constraint AS k JOIN tenants_table AS p ON p.relation = k.confrelid JOIN tenants_table AS c ON c.relation = k.conrelid
        WHERE k.contype = 'f' AND k.conparentid = 0
    ), depth AS (
        SELECT t.relation, 0 AS depth FROM tenants_table AS t
        UNION
        -- No chain of references is as long, unless it is a circle.
        SELECT r.child, d.depth + 1 FROM depth AS d JOIN reference AS r ON r.parent = d.relation AND r.child <> r.parent WHERE d.depth < 30
    ), deepest AS (
        SELECT d.relation, max(d.depth) AS depth FROM depth AS d GROUP BY d.relation
    )
    SELECT t.relation, t.name,
        row_number() OVER (ORDER BY t.relation <> 'stormops.tenants'::regclass, d.depth, t.name COLLATE "C"),
        c.columns, c.row_order,
        EXISTS (SELECT FROM reference AS r WHERE r.child = t.relation AND r.parent = t.relation)
    FROM tenants_table AS t JOIN deepest AS d ON d.relation = t.relation
    CROSS JOIN LATERAL stormops_internal.portable_columns(t.relation) AS c
$$;
COMMENT ON FUNCTION stormops_internal.portable_tables() IS 'tenants_tables() in an order in which parents come before their children, with portable_columns(); refers_to_itself: rows may have others of the same table for parents.';

CREATE FUNCTION stormops_internal.kept_by_law(OUT name text, OUT kept_if text, OUT pseudonymised text, OUT why text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT k.* FROM (VALUES
        ('tenants', 'true', 'org_name, name_key', 'The tombstone: it keeps the id and, as a digest, the name from being used again.'),
        ('invoices', 'r.status <> ''draft''', 'org_name, reason', 'Records of account, which commercial and tax law wants kept for years.'),
        ('invoice_lines',
            'EXISTS (SELECT FROM stormops.invoices AS i WHERE i.tenant_id = r.tenant_id AND i.invoice_id = r.invoice_id AND i.status <> ''draft'')',
            '', 'The lines of these invoices: metrics, quantities and amounts.')
    ) AS k (name, kept_if, pseudonymised, why)
$$;
COMMENT ON FUNCTION stormops_internal.kept_by_law() IS 'What erase_tenant() keeps: rows r of a table for which kept_if is true; which of their columns it overwrites; and why. Of any other table it keeps nothing but the event of the erasure and its entry in the log.';

CREATE FUNCTION stormops_internal.erased_key(name_key text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT 'erased:' || encode(sha256(convert_to($1, 'UTF8')), 'hex') $$;
COMMENT ON FUNCTION stormops_internal.erased_key(text) IS 'What stands in tenants.name_key once a tenant of that key is erased: whoever asks for the same name is recognised, and the name is not kept.';

CREATE FUNCTION stormops_internal.was_erased(name_key text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.name_key = stormops_internal.erased_key($1)) $$;
COMMENT ON FUNCTION stormops_internal.was_erased(text) IS 'True if a tenant of this key was erased: nobody is called so again.';
