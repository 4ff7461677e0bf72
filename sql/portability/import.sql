-- A tenant comes in from the lines that export_tenant_rows() gave. src/portability/ reads the file; what is written is here.

CREATE FUNCTION stormops_internal.is_import() RETURNS boolean
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'is_import_wrapper';
COMMENT ON FUNCTION stormops_internal.is_import() IS 'True while import_tenant_rows() writes rows, and what belongs to them comes with them.';

CREATE FUNCTION stormops_internal.import_begin(tenant_id uuid, org_name text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = import_begin.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('tenant %s is here already, or was and is erased', tenant_id),
            HINT = 'SELECT stormops.import_tenant_rows(line, stormops.new_id(), ''Another Name'' ORDER BY n) FROM lines; makes another of it. Take one id, not one for each line.';
    END IF;
    IF org_name IS NOT NULL AND stormops_internal.name_key(org_name) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'organisation name is not valid',
            DETAIL = 'A name has 1 to 200 characters, at least one letter or digit, and none that is invisible.',
            HINT = 'Use the name as people write it.';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION stormops_internal.import_begin(uuid, text) IS 'Whether a tenant may come in under this id and name. Errors: 22023; 23505.';

CREATE FUNCTION stormops_internal.import_term(place bigint, type oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE
        WHEN b.oid = 'jsonb'::regtype THEN
            format('CASE jsonb_typeof(s.j -> %1$s) WHEN ''string'' THEN (s.j ->> %1$s)::jsonb WHEN ''null'' THEN NULL ELSE s.j -> %1$s END', $1)
        WHEN b.oid = 'bytea'::regtype THEN format('decode(s.j ->> %s, ''base64'')', $1)
        WHEN b.typcategory = 'A' THEN
            format('CASE jsonb_typeof(s.j -> %1$s) WHEN ''array'' THEN ARRAY(SELECT %3$s FROM jsonb_array_elements_text(s.j -> %1$s) WITH ORDINALITY AS e (x, n) ORDER BY e.n)::%2$s ELSE (s.j ->> %1$s)::%2$s END',
                $1, format_type($2, -1), CASE b.typelem WHEN 'bytea'::regtype THEN 'decode(e.x, ''base64'')' ELSE 'e.x::' || format_type(b.typelem, -1) END)
        ELSE format('(s.j ->> %s)::%s', $1, format_type($2, -1)) END
    FROM pg_type AS t JOIN pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
    WHERE t.oid = $2
$$;
COMMENT ON FUNCTION stormops_internal.import_term(bigint, oid) IS 'An expression over a line s.j: the value at a place, of this type, as export_line() wrote it.';

CREATE FUNCTION stormops_internal.import_statement(table_name text, columns text[], OUT statement text, OUT whole boolean)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    t record;
    unknown text;
BEGIN
    SELECT n.relation, c.columns, EXISTS (SELECT FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conrelid = n.relation AND k.confrelid = n.relation) AS refers_to_itself
    INTO t FROM stormops_internal.tenants_tables() AS n CROSS JOIN LATERAL stormops_internal.portable_columns(n.relation) AS c WHERE n.name = table_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('the file has a table "%s" that is not here', left(table_name, 63)),
            HINT = 'Nothing was written. A table of your own is brought in once it is made here too, and protected: SELECT stormops.protect(''public.jobs'');';
    END IF;
    SELECT left(c.name, 63) INTO unknown FROM unnest(columns) AS c (name) WHERE c.name <> ALL (t.columns) OR c.name IS NULL LIMIT 1;
    IF FOUND OR cardinality(columns) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('the file has a column "%s" of table "%s" that is not here', unknown, table_name),
            HINT = 'Nothing was written. Add the column, or import into a version that has it. tenant_id is no column of a row.';
    END IF;
    IF cardinality(columns) <> (SELECT count(DISTINCT c.name) FROM unnest(columns) AS c (name)) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('the file has a column of table "%s" twice', table_name),
            HINT = 'Nothing was written. Export the tenant again.';
    END IF;
    whole := t.refers_to_itself;
    -- A row has the table's name at place 0. What a name may not be confused with is found out here, whatever the file says.
    statement := (
        SELECT format('INSERT INTO %s (tenant_id, %s) OVERRIDING SYSTEM VALUE SELECT $2, %s FROM (SELECT stormops_internal.import_line(l.line, %s) AS j FROM unnest($1) AS l (line) OFFSET 0) AS s',
            t.relation::regclass, string_agg(quote_ident(c.name), ', ' ORDER BY c.place),
            string_agg(CASE
                WHEN table_name = 'tenants' AND c.name = 'org_name' THEN format('coalesce(stormops_internal.tidy_name($3), s.j ->> %s)', c.place)
                WHEN table_name = 'tenants' AND c.name = 'name_key' THEN format('stormops_internal.name_key(coalesce($3, s.j ->> %s))', coalesce(array_position(columns, 'org_name'), 0))
                ELSE stormops_internal.import_term(c.place, a.atttypid) END, ', ' ORDER BY c.place),
            cardinality(columns) + 1)
        FROM unnest(columns) WITH ORDINALITY AS c (name, place) JOIN pg_attribute AS a ON a.attrelid = t.relation AND a.attname = c.name);
END
$$;
COMMENT ON FUNCTION stormops_internal.import_statement(text, text[]) IS 'How rows of a table come in: $1 their lines, $2 the tenant, $3 another name for it. whole: its rows refer to each other, and come in one statement. Error: 22023 no such table or column.';

CREATE FUNCTION stormops_internal.import_line(line text, length integer) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    j jsonb := line::jsonb;
BEGIN
    IF jsonb_array_length(j) <> length THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a row of the file has more or fewer values than its table has columns',
            DETAIL = left(line, 200), HINT = 'Nothing was written. Export the tenant again.';
    END IF;
    RETURN j;
END
$$;
COMMENT ON FUNCTION stormops_internal.import_line(text, integer) IS 'A line of the file, which has so many values. Errors: 22023; 22P02 no JSON; 54001 nested too deep.';

CREATE FUNCTION stormops_internal.import_rows(statement text, lines text[], tenant_id uuid, org_name text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET row_security = off -- as in a restore; the owner sees all rows here
    SET DateStyle = 'ISO, YMD'
    SET IntervalStyle = iso_8601
    SET TimeZone = 'UTC'
    SET jit = off
    AS $$
DECLARE
    written bigint;
BEGIN
    EXECUTE statement USING lines, tenant_id, org_name;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> cardinality(lines) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a trigger kept rows of the file out',
            HINT = 'Nothing was written. Look for triggers of your own on the tables of StormOps.';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION stormops_internal.import_rows(text, text[], uuid, text) IS 'Writes a batch of rows. Errors: 55000, and those of the tables.';

CREATE FUNCTION stormops_internal.import_end(tenant_id uuid, was uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET row_security = off
    AS $$
#variable_conflict use_variable
DECLARE
    l record;
    before bytea;
    chain text := '';
BEGIN
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = import_end.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the file has no row of its tenant', HINT = 'Nothing was written. Export the tenant again.';
    END IF;
    IF (SELECT t.status = 'closed' FROM stormops.tenants AS t WHERE t.tenant_id = import_end.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a closed tenant does not come in', HINT = 'Nothing was written. Export it before it is closed.';
    END IF;
    IF (SELECT stormops_internal.was_erased(t.name_key) FROM stormops.tenants AS t WHERE t.tenant_id = import_end.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'a tenant of this name was erased here', HINT = 'Nothing was written. Choose another name.';
    END IF;
    -- Who may read here is decided here.
    UPDATE stormops.break_glass_grants AS g SET closed_at = clock_timestamp()
    WHERE g.tenant_id = import_end.tenant_id AND g.closed_at IS NULL AND g.expires_at > clock_timestamp();
    IF was = tenant_id THEN
        RETURN true;
    END IF;
    -- Draws are of the tenant's id. Under another nobody can draw them again, and says so; back under the first one can.
    UPDATE stormops.policy_runs AS r SET parameters = jsonb_build_object('drawn_for', encode(sha256(uuid_send(was)), 'hex')) || r.parameters
    WHERE r.tenant_id = import_end.tenant_id;
    -- The hashes of the log are over the tenant's id, too. Under another they are made anew, and say so: adopted.
    -- A run stays sealed as it was, block by block or decision by decision.
    UPDATE stormops.policy_run_digests AS d SET decisions = n.decisions, digest = n.digest, fingerprints = n.fingerprints, blocks = n.blocks
    FROM stormops.policy_run_digests AS k CROSS JOIN LATERAL stormops_internal.run_seal(k.tenant_id, k.run_id, k.blocks IS NOT NULL) AS n
    WHERE k.tenant_id = import_end.tenant_id AND d.tenant_id = k.tenant_id AND d.run_id = k.run_id AND n.decisions > 0;
    FOR l IN
        SELECT k.log, k.entry, k.subject_id, coalesce(e.digest, r.digest, k.content) AS content
        FROM stormops.tenant_log AS k
        LEFT JOIN stormops_internal.event_digests(tenant_id) AS e ON k.log <> 'runs' AND e.event_id = k.subject_id
        LEFT JOIN stormops_internal.run_digests(tenant_id) AS r ON k.log = 'runs' AND r.run_id = k.subject_id
        WHERE k.tenant_id = import_end.tenant_id ORDER BY k.log, k.entry
    LOOP
        IF l.log <> chain THEN
            before := NULL;
            chain := l.log;
        END IF;
        before := stormops_internal.entry_hash(before, tenant_id, l.log, l.entry, l.subject_id, true, l.content);
        UPDATE stormops.tenant_log AS k SET adopted = true, content = l.content, hash = before
        WHERE k.tenant_id = import_end.tenant_id AND k.log = l.log AND k.entry = l.entry;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION stormops_internal.import_end(uuid, uuid) IS 'What is left to do once all rows are there: grants to read that were open are closed; under another id than it was exported with the log is made anew. Errors: 22023; 55000.';

CREATE FUNCTION stormops_internal.import_collect(state internal, line text) RETURNS internal
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stormops_import_collect';
COMMENT ON FUNCTION stormops_internal.import_collect(internal, text) IS 'Of import_tenant_rows(): takes in a line.';
CREATE FUNCTION stormops_internal.import_collect(state internal, line text, tenant_id uuid, org_name text) RETURNS internal
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stormops_import_collect';
COMMENT ON FUNCTION stormops_internal.import_collect(internal, text, uuid, text) IS 'Of import_tenant_rows(): takes in a line, for another tenant.';
CREATE FUNCTION stormops_internal.import_finish(state internal) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stormops_import_finish';
COMMENT ON FUNCTION stormops_internal.import_finish(internal) IS 'Of import_tenant_rows(): what came in.';

CREATE AGGREGATE stormops.import_tenant_rows(line text) (
    SFUNC = stormops_internal.import_collect, STYPE = internal, FINALFUNC = stormops_internal.import_finish, FINALFUNC_MODIFY = read_write
);
COMMENT ON AGGREGATE stormops.import_tenant_rows(text) IS 'Brings in a tenant from the lines of export_tenant_rows(), which must come in order: SELECT stormops.import_tenant_rows(line ORDER BY n) FROM lines; all of it, or nothing. Returns an object: tenant_id, rows, tables (name to rows). For operators. Errors: 22004; 22023 the file is not whole or not as it was; 23505 the tenant is here; 53200, 54000 too large; 55000 closed; those of the tables.';
CREATE AGGREGATE stormops.import_tenant_rows(line text, tenant_id uuid, org_name text) (
    SFUNC = stormops_internal.import_collect, STYPE = internal, FINALFUNC = stormops_internal.import_finish, FINALFUNC_MODIFY = read_write
);
COMMENT ON AGGREGATE stormops.import_tenant_rows(text, uuid, text) IS 'The same as another tenant: under this id (NULL: the one in the file), which then stands wherever the old one stood, and under this name (NULL: the one in the file). Under another id the entries of its log are made anew, marked as adopted. Errors as without these.';
