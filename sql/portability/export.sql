CREATE FUNCTION stormops.export_tenant_data(tenant_id uuid DEFAULT NULL, OUT table_name text, OUT row_count bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
    counted record;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- The catalogue, not a list: a tenant's table cannot be forgotten.
    FOR counted IN
        SELECT c.relname::text AS name, c.oid::regclass AS relation
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        UNION ALL
        -- How many decisions there are, whatever form they are kept in.
        SELECT 'policy_decisions_log', 'stormops.policy_decisions_log'::regclass
        UNION ALL
        -- Of the database's own tables those that are protected, with their schema.
        SELECT format('%I.%I', c.relnamespace::regnamespace, c.relname), c.oid::regclass
        FROM stormops_internal.protected() AS p JOIN pg_class AS c ON c.oid = p.relation
        ORDER BY 1
    LOOP
        EXECUTE (
            SELECT format('SELECT %s', string_agg(format('(SELECT coalesce(sum(%s), 0) FROM %s AS r WHERE r.tenant_id = $1)', k.rows, k.relation), ' + '))
            FROM (
                SELECT k.rows, k.relation FROM stormops_internal.kept_in(counted.name) AS k WHERE counted.name = 'policy_decisions_log'
                UNION ALL SELECT '1', counted.relation WHERE counted.name <> 'policy_decisions_log'
            ) AS k)
        INTO row_count USING target;
        table_name := counted.name;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.export_tenant_data(uuid) IS 'Summary of a tenant''s data: one row for each table with its number of rows, in one snapshot. For operators (any tenant) and for the admins of the tenant in context (NULL or its id). Errors: 42501 another tenant; P0002 no such tenant.';

CREATE FUNCTION stormops_internal.exported_tenant(tenant_id uuid) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF NOT stormops_internal.has_tenant() AND stormops_internal.is_operator() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'an operator reads a tenant''s rows under break-glass only',
            HINT = 'SELECT * FROM stormops.open_break_glass(tenant_id, reason, ticket); and in a later transaction SELECT stormops.break_glass(grant_id);';
    END IF;
    IF tenant_id IS NOT NULL AND tenant_id IS DISTINCT FROM stormops.current_tenant() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'permission denied for another tenant',
            HINT = 'Leave tenant_id out to mean the tenant in context.';
    END IF;
    IF NOT stormops.may_read('admin') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an admin of the tenant may do this',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    RETURN stormops.current_tenant();
END
$$;
COMMENT ON FUNCTION stormops_internal.exported_tenant(uuid) IS 'The tenant whose rows the caller may take out: that in context, for its admins and for an operator under break-glass. Errors: 0B000; 42501; 55000 it is closed.';

CREATE FUNCTION stormops_internal.export_line(table_name text, row_of record) RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'stormops_export_line';
COMMENT ON FUNCTION stormops_internal.export_line(text, record) IS 'A row as a line of JSON: an array of the table''s name and the values. It enters export_sum(). Errors: 22021; 53200; 54000.';

CREATE FUNCTION stormops_internal.export_sum(OUT rows bigint, OUT sha256 text) RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'export_sum_wrapper';
COMMENT ON FUNCTION stormops_internal.export_sum() IS 'How many lines export_line() has made in this session since this was last called, and the SHA-256 of them, each with a line feed.';

CREATE FUNCTION stormops.export_tenant_rows(tenant_id uuid DEFAULT NULL) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    -- What a value looks like is nobody's to set.
    SET DateStyle = 'ISO, YMD'
    SET IntervalStyle = iso_8601
    SET TimeZone = 'UTC'
    SET bytea_output = hex
    SET extra_float_digits = 1
    SET lc_monetary = 'C'
    SET xmlbinary = base64
    SET jit = off
    AS $$
DECLARE
    target uuid := stormops_internal.exported_tenant(tenant_id);
    t record;
    sum record;
    entries text[] := '{}';
    all_rows bigint := 0;
    line text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    line := format('{"format":"stormops tenant","version":1,"tenant_id":"%s"}', target);
    RETURN NEXT line;
    FOR t IN SELECT p.* FROM stormops_internal.portable_tables() AS p ORDER BY p.place LOOP
        line := format('{"table":%s,"columns":%s}', to_json(t.name), array_to_json(t.columns));
        RETURN NEXT line;
        PERFORM FROM stormops_internal.export_sum();
        -- The function stands above the sort, and so sees the rows in their order. l.*: a column may be called l.
        RETURN QUERY EXECUTE format('SELECT stormops_internal.export_line($2, l.*) FROM (SELECT %s FROM %s AS r WHERE r.tenant_id = $1 ORDER BY %s) AS l',
            (SELECT string_agg(format('r.%I', c.name), ', ' ORDER BY c.place) FROM unnest(t.columns) WITH ORDINALITY AS c (name, place)),
            t.relation::regclass, t.row_order)
        USING target, t.name;
        SELECT s.* INTO sum FROM stormops_internal.export_sum() AS s;
        entries := entries || format('{"table":%s,"columns":%s,"rows":%s,"sha256":"%s"}', to_json(t.name), array_to_json(t.columns), sum.rows, sum.sha256);
        all_rows := all_rows + sum.rows;
    END LOOP;
    line := format('{"manifest":[%s],"tenant_id":"%s","rows":%s}', array_to_string(entries, ','), target, all_rows);
    RETURN NEXT line;
END
$$;
COMMENT ON FUNCTION stormops.export_tenant_rows(uuid) IS 'All rows of the tenant in context as lines of JSON, from one snapshot, the same bytes for the same rows: a header, each table''s columns and rows, parents first, and a manifest of counts and SHA-256. No secrets. For its admins, and operators under break-glass. Errors: 0B000 no tenant; 42501 another tenant, no admin or no break-glass; 53200; 54000 a row of over 512 MB; 55000 closed.';

CREATE FUNCTION stormops_internal.csv_term(name text, type oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format(CASE
        WHEN t.typcategory IN ('N', 'B') OR t.oid IN ('uuid'::regtype, 'date'::regtype) THEN 'coalesce(r.%1$I::text, '''')'
        WHEN t.oid = 'timestamptz'::regtype THEN 'coalesce(CASE WHEN isfinite(r.%1$I) THEN to_char(r.%1$I AT TIME ZONE ''UTC'', ''YYYY-MM-DD"T"HH24:MI:SS.US"Z"'') ELSE r.%1$I::text END, '''')'
        WHEN t.oid = 'bytea'::regtype THEN 'coalesce(stormops_internal.csv_text(replace(encode(r.%1$I, ''base64''), chr(10), '''')), '''')'
        ELSE 'coalesce(stormops_internal.csv_text(r.%1$I::text), '''')' END, $1)
    FROM pg_type AS t WHERE t.oid = $2
$$;
COMMENT ON FUNCTION stormops_internal.csv_term(text, oid) IS 'An expression over a row r: the value of a column as a field of CSV, nothing for NULL.';

CREATE FUNCTION stormops_internal.csv_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT '"' || replace(
        -- With an apostrophe before it a spreadsheet shows it, and does not run it. The wide forms are the same to some; so is
        -- what stands behind blanks.
        CASE WHEN left(ltrim($1, ' ' || chr(160) || chr(65279)), 1) = ANY (ARRAY['=', '+', '-', '@', chr(9), chr(10), chr(13), chr(65309), chr(65291), chr(65293), chr(65312)])
            THEN '''' || $1 ELSE $1 END,
        '"', '""') || '"'
$$;
COMMENT ON FUNCTION stormops_internal.csv_text(text) IS 'A text as a field of CSV that no spreadsheet takes for a formula.';

CREATE FUNCTION stormops.export_table_csv(table_name text, tenant_id uuid DEFAULT NULL) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET DateStyle = 'ISO, YMD'
    SET IntervalStyle = iso_8601
    SET TimeZone = 'UTC'
    SET bytea_output = hex
    SET extra_float_digits = 1
    SET jit = off
    AS $$
DECLARE
    target uuid := stormops_internal.exported_tenant(tenant_id);
    t record;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT p.* INTO t FROM stormops_internal.portable_tables() AS p WHERE p.name = table_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN table_name IS NULL THEN 'null_value_not_allowed' ELSE 'undefined_object' END,
            MESSAGE = format('"%s" is not a table with tenants'' rows', left(table_name, 63)),
            HINT = 'SELECT table_name FROM stormops.export_tenant_data(); lists them.';
    END IF;
    RETURN NEXT (SELECT string_agg(stormops_internal.csv_text(c.name), ',' ORDER BY c.place) FROM unnest(t.columns) WITH ORDINALITY AS c (name, place));
    RETURN QUERY EXECUTE format('SELECT concat_ws('','', %s) FROM %s AS r WHERE r.tenant_id = $1 ORDER BY %s',
        (SELECT string_agg(stormops_internal.csv_term(c.name, a.atttypid), ', ' ORDER BY c.place)
        FROM unnest(t.columns) WITH ORDINALITY AS c (name, place) JOIN pg_attribute AS a ON a.attrelid = t.relation AND a.attname = c.name),
        t.relation::regclass, t.row_order)
    USING target;
END
$$;
COMMENT ON FUNCTION stormops.export_table_csv(text, uuid) IS 'A table of the tenant in context as CSV, a header first: times in UTC, bytea in base64, NULL empty. A text that begins with = + - @, a tab or a line end has an apostrophe before it, so that no spreadsheet runs it. Callers and errors as export_tenant_rows(); 22004; 42704 no such table.';
